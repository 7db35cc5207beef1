//! The queue of completions: they are joined off the event loop, and passed to JavaScript in [slices](super::slice).

use crate::slice::{FIELDS, MOST_RECORDS, Slice, Text};
use crate::wake::Wake;
use connect_redis_core::worker;
use connect_redis_core::{Completion, CompletionSink, Lane, RequestId};
use napi::bindgen_prelude::{Env, Function, Uint32ArraySlice};
use napi::{Error, JsString, Result, Status};
use napi_derive::napi;
use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::mem;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The numbers before the records: the number of records, 1 if there is a two-byte string, 1 if more slices wait.
const HEAD: usize = 3;
/// The maximum number of empty slices kept for reuse. Memory that one thread allocates and another one frees makes both
/// wait for the allocator.
const SPARE_SLICES: usize = 4;

/// The slices that wait for the event loop, and empty ones for reuse.
#[derive(Debug, Default)]
struct Waiting {
    slices: VecDeque<Slice>,
    spare: Vec<Slice>,
    /// The event loop has been woken and has not yet found the queue empty.
    woken: bool,
}

/// The queue of completions, filled on the runtime's thread and drained on the event loop.
#[derive(Debug)]
pub(crate) struct Queue {
    waiting: Mutex<Waiting>,
    wake: Wake,
    /// The number of requests in flight. Changed on the event loop only.
    in_flight: AtomicU32,
    deferred: Deferred,
}

/// Completions that wait in their lane for one that the worker thread processes.
#[derive(Debug, Default)]
struct Deferred {
    lanes: Mutex<HashMap<Lane, VecDeque<(RequestId, Completion)>>>,
    /// The number of lanes, readable without the lock.
    count: AtomicUsize,
}

impl Deferred {
    fn lock(&self) -> MutexGuard<'_, HashMap<Lane, VecDeque<(RequestId, Completion)>>> {
        // A poisoned lock still holds a consistent map: each change is atomic.
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    /// Registers `count` more requests in flight, which keep the event loop alive until they are completed.
    pub(crate) fn expect(&self, env: &Env, count: u32) -> Result<()> {
        if count > 0 && self.in_flight.fetch_add(count, Ordering::Relaxed) == 0 {
            self.wake.add_ref(env)?;
        }
        Ok(())
    }

    /// Registers that `count` requests were completed.
    fn finished(&self, env: &Env, count: u32) -> Result<()> {
        if count > 0 && self.in_flight.fetch_sub(count, Ordering::Relaxed) == count {
            self.wake.unref(env)?;
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // A poisoned lock still holds complete slices.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Removes the next slice. Returns it, and true if more are waiting.
    fn take(&self) -> Option<(Slice, bool)> {
        let mut waiting = self.lock();
        match waiting.slices.pop_front() {
            Some(slice) => Some((slice, !waiting.slices.is_empty())),
            None => {
                waiting.woken = false;
                None
            }
        }
    }

    /// Returns an empty slice, reused or new.
    fn slice(&self) -> Slice {
        self.lock().spare.pop().unwrap_or_default()
    }

    /// Returns the slice to append to: the last one, or a new one once that is full.
    fn last_of<'a>(&self, slices: &'a mut Vec<Slice>) -> &'a mut Slice {
        if slices.last().is_none_or(Slice::is_full) {
            slices.push(self.slice());
        }
        let last = slices.len() - 1;
        &mut slices[last]
    }

    /// Keeps the memory of a collected slice for reuse.
    fn recycle(&self, slice: Slice) {
        if let Some(slice) = slice.emptied() {
            let mut waiting = self.lock();
            if waiting.spare.len() < SPARE_SLICES {
                waiting.spare.push(slice);
            }
        }
    }
}

impl Waiting {
    fn push(&mut self, mut slice: Slice) {
        if slice.is_empty() {
            return;
        }
        match self.slices.back_mut() {
            Some(last) if last.fits(&slice) => last.append(&mut slice),
            _ => self.slices.push_back(slice),
        }
    }
}

impl CompletionSink for Queue {
    fn complete(self: &Arc<Self>, completions: Vec<(RequestId, Lane, Completion)>) {
        let is_long = |(_, _, completion): &(RequestId, Lane, Completion)| completion.is_long();
        if self.deferred.count.load(Ordering::Acquire) == 0 && !completions.iter().any(is_long) {
            self.push(
                completions
                    .into_iter()
                    .map(|(request, _, completion)| (request, completion)),
            );
            return;
        }
        let mut ready = Vec::new();
        let mut started = Vec::new();
        let mut lanes = self.deferred.lock();
        for (request, lane, completion) in completions {
            match lanes.entry(lane) {
                Entry::Occupied(mut waiting) => waiting.get_mut().push_back((request, completion)),
                Entry::Vacant(vacant) if completion.is_long() => {
                    vacant.insert(VecDeque::from([(request, completion)]));
                    started.push(lane);
                }
                Entry::Vacant(_) => ready.push((request, completion)),
            }
        }
        self.deferred.count.store(lanes.len(), Ordering::Release);
        drop(lanes);
        self.push(ready);
        for lane in started {
            let queue = Arc::clone(self);
            worker::spawn(move || queue.catch_up(lane));
        }
    }
}

impl Queue {
    /// Processes the completions that wait in a lane.
    fn catch_up(&self, lane: Lane) {
        loop {
            let mut lanes = self.deferred.lock();
            let Some(completion) = lanes.get_mut(&lane).and_then(VecDeque::pop_front) else {
                lanes.remove(&lane);
                self.deferred.count.store(lanes.len(), Ordering::Release);
                return;
            };
            drop(lanes);
            self.push([completion]);
        }
    }

    fn push(&self, completions: impl IntoIterator<Item = (RequestId, Completion)>) {
        // The completions are joined before the lock is taken, since the event loop may be waiting for it.
        let mut slices = Vec::new();
        for (request, completion) in completions {
            match completion {
                // There may be more IDs than fit into a slice.
                Completion::Ids(ids) => {
                    for id in ids.iter() {
                        self.last_of(&mut slices).add_id(request, id);
                    }
                }
                completion => self.last_of(&mut slices).add(request, completion),
            }
        }
        let must_wake = {
            let mut waiting = self.lock();
            for slice in slices {
                waiting.push(slice);
            }
            !mem::replace(&mut waiting.woken, true)
        };
        if must_wake {
            self.wake.wake();
        }
    }
}

#[expect(
    unsafe_code,
    reason = "napi-rs lends typed arrays mutably no other way"
)]
fn lend<'a>(records: &'a mut Uint32ArraySlice) -> &'a mut [u32] {
    // SAFETY: called on the event loop, so no JavaScript touches the array while it is lent.
    unsafe { records.as_mut() }
}

static INSTANCES: AtomicU32 = AtomicU32::new(0);

/// The completions of all stores of one JavaScript module instance.
#[napi]
#[derive(Debug)]
pub struct Completions {
    queue: Arc<Queue>,
    /// Identifies the module instance.
    instance: u32,
    /// The other strings of the slice collected last.
    texts: VecDeque<Text>,
}

#[napi]
impl Completions {
    /// Creates the queue. `drain` is called on the event loop when completions are waiting.
    #[napi(constructor, catch_unwind)]
    pub fn new(env: Env, drain: Function<(), ()>) -> Result<Self> {
        Ok(Self {
            queue: Arc::new(Queue {
                waiting: Mutex::default(),
                wake: Wake::new(&env, &drain.create_ref()?)?,
                in_flight: AtomicU32::new(0),
                deferred: Deferred::default(),
            }),
            instance: INSTANCES.fetch_add(1, Ordering::Relaxed),
            texts: VecDeque::new(),
        })
    }

    pub(crate) fn instance(&self) -> u32 {
        self.instance
    }

    pub(crate) fn queue(&self) -> Arc<Queue> {
        Arc::clone(&self.queue)
    }

    /// The maximum number of numbers that `collect` writes.
    #[napi(getter, catch_unwind)]
    pub fn capacity(&self) -> u32 {
        (HEAD + MOST_RECORDS * FIELDS) as u32
    }

    /// Releases `drain` when there are no more requests to complete.
    #[napi(catch_unwind)]
    pub fn end(&self) {
        self.queue.wake.end();
    }

    /// Writes the records of the next slice and returns its one-byte string. Without records, no slice is waiting, and
    /// `drain` will be called again when one is.
    #[napi(catch_unwind)]
    pub fn collect<'env>(
        &mut self,
        env: &'env Env,
        mut records: Uint32ArraySlice,
    ) -> Result<Option<JsString<'env>>> {
        let records = lend(&mut records);
        let Some((mut slice, more)) = self.queue.take() else {
            if let Some(count) = records.first_mut() {
                *count = 0;
            }
            return Ok(None);
        };
        let numbers = HEAD + slice.records.len();
        let Some(target) = records.get_mut(..numbers) else {
            return Err(Error::new(Status::InvalidArg, "too small for a slice"));
        };
        target[0] = (slice.records.len() / FIELDS) as u32;
        target[1] = u32::from(!slice.two_byte.is_empty());
        target[2] = u32::from(more);
        target[HEAD..].copy_from_slice(&slice.records);
        self.texts = mem::take(&mut slice.large);
        if !slice.two_byte.is_empty() {
            self.texts
                .push_front(Text::TwoByte(mem::take(&mut slice.two_byte)));
        }
        self.queue.finished(env, slice.finished)?;
        let one_byte = env.create_string_latin1(&slice.one_byte);
        self.queue.recycle(slice);
        one_byte.map(Some)
    }

    /// Returns the next string of the slice collected last: first its two-byte string, if it has one, then the large
    /// texts in the order of their records.
    #[napi(catch_unwind)]
    pub fn next_text<'env>(&mut self, env: &'env Env) -> Result<Option<JsString<'env>>> {
        let text = self.texts.pop_front();
        text.map(|text| match text {
            Text::OneByte(bytes) => env.create_string_latin1(bytes),
            Text::TwoByte(units) => env.create_string_utf16(units),
        })
        .transpose()
    }
}

impl Drop for Completions {
    /// Stops requests in flight from keeping the event loop alive after teardown: nothing will complete them.
    fn drop(&mut self) {
        self.end();
    }
}
