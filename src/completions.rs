//! CompletionSink on their way to JavaScript: joined off the event loop, handed over in [slices](super::slice).

use crate::slice::{FIELDS, MOST_RECORDS, Slice};
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

/// Numbers before the records: how many records, whether there is a wide text, whether more waits.
const HEAD: usize = 3;
/// How many empty slices are kept for their room. What one thread allocates and another one frees has both
/// wait for the allocator.
const SPARE_SLICES: usize = 4;

#[derive(Debug, Default)]
struct Waiting {
    slices: VecDeque<Slice>,
    spare: Vec<Slice>,
    /// The event loop has been woken and has not yet found the queue empty.
    woken: bool,
}

/// Filled on the runtime's thread, emptied on the event loop.
#[derive(Debug)]
pub(crate) struct Queue {
    waiting: Mutex<Waiting>,
    wake: Wake,
    /// Requests under way. Changed on the event loop only.
    under_way: AtomicU32,
    deferred: Deferred,
}

/// CompletionSink that wait in their lane for one that the worker makes ready.
#[derive(Debug, Default)]
struct Deferred {
    lanes: Mutex<HashMap<Lane, VecDeque<(RequestId, Completion)>>>,
    /// How many lanes there are, for those who only look.
    count: AtomicUsize,
}

impl Deferred {
    fn lock(&self) -> MutexGuard<'_, HashMap<Lane, VecDeque<(RequestId, Completion)>>> {
        // A poisoned lock still holds a usable map: each change is one step.
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    /// `count` more requests are under way: the event loop must live until they are answered.
    pub(crate) fn expect(&self, env: &Env, count: u32) -> Result<()> {
        if count > 0 && self.under_way.fetch_add(count, Ordering::Relaxed) == 0 {
            self.wake.hold(env)?;
        }
        Ok(())
    }

    fn finished(&self, env: &Env, count: u32) -> Result<()> {
        if count > 0 && self.under_way.fetch_sub(count, Ordering::Relaxed) == count {
            self.wake.release(env)?;
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // A poisoned lock still holds whole slices.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next slice and whether more are waiting.
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

    /// An empty slice.
    fn slice(&self) -> Slice {
        self.lock().spare.pop().unwrap_or_default()
    }

    /// The slice that is to be filled: the last, or a new one once that is full.
    fn last_of<'a>(&self, slices: &'a mut Vec<Slice>) -> &'a mut Slice {
        if slices.last().is_none_or(Slice::is_full) {
            slices.push(self.slice());
        }
        let last = slices.len() - 1;
        &mut slices[last]
    }

    /// Keeps the room of a slice that was given out.
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
    fn answer(self: &Arc<Self>, answers: Vec<(RequestId, Lane, Completion)>) {
        let is_long = |(_, _, answer): &(RequestId, Lane, Completion)| answer.is_long();
        if self.deferred.count.load(Ordering::Acquire) == 0 && !answers.iter().any(is_long) {
            self.push(
                answers
                    .into_iter()
                    .map(|(request, _, answer)| (request, answer)),
            );
            return;
        }
        let mut ready = Vec::new();
        let mut begun = Vec::new();
        let mut lanes = self.deferred.lock();
        for (request, lane, answer) in answers {
            match lanes.entry(lane) {
                Entry::Occupied(mut waiting) => waiting.get_mut().push_back((request, answer)),
                Entry::Vacant(place) if answer.is_long() => {
                    place.insert(VecDeque::from([(request, answer)]));
                    begun.push(lane);
                }
                Entry::Vacant(_) => ready.push((request, answer)),
            }
        }
        self.deferred.count.store(lanes.len(), Ordering::Release);
        drop(lanes);
        self.push(ready);
        for lane in begun {
            let queue = Arc::clone(self);
            worker::spawn(move || queue.catch_up(lane));
        }
    }
}

impl Queue {
    /// Gives out what waits in a lane.
    fn catch_up(&self, lane: Lane) {
        loop {
            let mut lanes = self.deferred.lock();
            let Some(answer) = lanes.get_mut(&lane).and_then(VecDeque::pop_front) else {
                lanes.remove(&lane);
                self.deferred.count.store(lanes.len(), Ordering::Release);
                return;
            };
            drop(lanes);
            self.push([answer]);
        }
    }

    fn push(&self, answers: impl IntoIterator<Item = (RequestId, Completion)>) {
        // Joined before the lock is taken: the event loop may be waiting for it.
        let mut slices = Vec::new();
        for (request, answer) in answers {
            match answer {
                // They may be more than one slice takes.
                Completion::Ids(ids) => {
                    for id in ids.iter() {
                        self.last_of(&mut slices).add_id(request, id);
                    }
                }
                answer => self.last_of(&mut slices).add(request, answer),
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
    /// Tells one module instance from another.
    instance: u32,
    /// The wide text of the slice that was collected last.
    wide: Vec<u16>,
}

#[napi]
impl Completions {
    /// `drain` is called on the event loop when completions are waiting.
    #[napi(constructor, catch_unwind)]
    pub fn new(env: Env, drain: Function<(), ()>) -> Result<Self> {
        Ok(Self {
            queue: Arc::new(Queue {
                waiting: Mutex::default(),
                wake: Wake::new(&env, &drain.create_ref()?)?,
                under_way: AtomicU32::new(0),
                deferred: Deferred::default(),
            }),
            instance: INSTANCES.fetch_add(1, Ordering::Relaxed),
            wide: Vec::new(),
        })
    }

    pub(crate) fn instance(&self) -> u32 {
        self.instance
    }

    pub(crate) fn queue(&self) -> Arc<Queue> {
        Arc::clone(&self.queue)
    }

    /// How many numbers `collect` may write.
    #[napi(getter, catch_unwind)]
    pub fn capacity(&self) -> u32 {
        (HEAD + MOST_RECORDS * FIELDS) as u32
    }

    /// Lets go of `drain`, once nobody is answered any more.
    #[napi(catch_unwind)]
    pub fn end(&self) {
        self.queue.wake.end();
    }

    /// Writes the next slice's records and returns its narrow text. No records: nothing is waiting,
    /// and `drain` will be called again when something is.
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
        let Some(room) = records.get_mut(..numbers) else {
            return Err(Error::new(Status::InvalidArg, "too small for a slice"));
        };
        room[0] = (slice.records.len() / FIELDS) as u32;
        room[1] = u32::from(!slice.wide.is_empty());
        room[2] = u32::from(more);
        room[HEAD..].copy_from_slice(&slice.records);
        self.wide = mem::take(&mut slice.wide);
        self.queue.finished(env, slice.finished)?;
        let narrow = env.create_string_latin1(&slice.narrow);
        self.queue.recycle(slice);
        narrow.map(Some)
    }

    /// The wide text of the slice collected last.
    #[napi(catch_unwind)]
    pub fn collect_wide<'env>(&mut self, env: &'env Env) -> Result<JsString<'env>> {
        env.create_string_utf16(mem::take(&mut self.wide))
    }
}

impl Drop for Completions {
    /// At teardown, requests that are still in flight must not keep the event loop alive: nothing will answer them.
    fn drop(&mut self) {
        self.end();
    }
}
