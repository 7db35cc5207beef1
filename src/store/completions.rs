//! Answers on their way to JavaScript: joined off the event loop, handed over in slices.
//!
//! The texts of a slice are one string (two when some are not ASCII), which JavaScript cuts up by the
//! lengths in the records: one string to make instead of one per answer.

use super::wake::Wake;
use crate::session::{Answer, Answers, RequestId};
use napi::bindgen_prelude::{Env, Function, Uint32ArraySlice};
use napi::{Error, JsString, Result, Status};
use napi_derive::napi;
use std::collections::VecDeque;
use std::mem;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Numbers per record: request, kind, length of the text in UTF-16 units (or the count).
const FIELDS: usize = 3;
/// Numbers before the records: how many records, whether there is a wide text, whether more waits.
const HEAD: usize = 3;
/// Bounds of a slice, so that the event loop gets to other work in between.
const SLICE_RECORDS: usize = 512;
/// V8 keeps strings beyond 128 KB in a space of their own, which is dearer to collect.
const SLICE_TEXT: usize = 96 * 1024;
/// How many empty slices are kept for their room. What one thread allocates and another one frees has both
/// wait for the allocator.
const SPARE_SLICES: usize = 4;
/// V8 makes no strings of more than 2^29 - 24 units, and others may come before it in its slice.
const LONGEST_TEXT: usize = (1 << 29) - 24 - SLICE_TEXT;

/// The kinds of records; `lib/boundary/request.js` knows the same numbers.
const DONE: u32 = 0;
const MISSING: u32 = 1;
const SESSION: u32 = 2;
const ITEM: u32 = 3;
const ID: u32 = 4;
const COUNT: u32 = 5;
const FAILED: u32 = 6;
const EVENT: u32 = 7;
const ENDED: u32 = 8;
const MORE: u32 = 9;
const CONFLICT: u32 = 10;
const COMMANDS: u32 = 11;
/// Added to a kind whose text is in the wide string.
const WIDE: u32 = 16;
/// Added to a kind whose record is followed by another of the time when a session ends: the lower and the
/// higher half of the milliseconds since 1970, and 0.
const TIMED: u32 = 32;

/// Records and their texts, ready for JavaScript.
#[derive(Debug, Default)]
struct Slice {
    records: Vec<u32>,
    /// ASCII, which is Latin-1 as it stands.
    narrow: Vec<u8>,
    wide: Vec<u16>,
    /// How many requests are over with this slice.
    finished: u32,
}

impl Slice {
    fn add(&mut self, request: RequestId, answer: Answer) {
        self.finished += u32::from(answer.is_last());
        match answer {
            Answer::Done => self.records.extend([request, DONE, 0]),
            Answer::Missing => self.records.extend([request, MISSING, 0]),
            Answer::Count(count) => {
                self.records
                    .extend([request, COUNT, u32::try_from(count).unwrap_or(u32::MAX)])
            }
            Answer::More => self.records.extend([request, MORE, 0]),
            Answer::Session(bytes, ends) => {
                self.add_text(request, SESSION, &bytes);
                self.add_end(ends);
            }
            Answer::Item(bytes, ends) => {
                self.add_text(request, ITEM, &bytes);
                self.add_end(ends);
            }
            Answer::Id(bytes) => self.add_text(request, ID, &bytes),
            Answer::Ids(ids) => ids.iter().for_each(|id| self.add_text(request, ID, id)),
            Answer::Conflict(reason, stored) => {
                let text = [reason.as_bytes(), b"\n", &stored].concat();
                self.add_text(request, CONFLICT, &text);
            }
            Answer::Failed(name, error) => {
                let text = format!("{}\n{}\n{name}: {error}", error.code(), error.reply());
                self.add_text(request, FAILED, text.as_bytes());
            }
            Answer::Event(name, error) => {
                let text = match error {
                    Some(error) => format!("{name}\n{}\n{}\n{error}", error.code(), error.reply()),
                    None => name.to_owned(),
                };
                self.add_text(request, EVENT, text.as_bytes());
            }
            Answer::Commands(batch) => self.add_text(request, COMMANDS, &batch),
            Answer::Ended => self.records.extend([request, ENDED, 0]),
        }
    }

    fn add_text(&mut self, request: RequestId, kind: u32, bytes: &[u8]) {
        if bytes.len() > LONGEST_TEXT {
            let text = "ERR_SESSION_CORRUPT\n\nthe stored value is longer than a JavaScript string";
            return self.add_text(request, FAILED, text.as_bytes());
        }
        // Both lengths fit: they are at most LONGEST_TEXT.
        if bytes.is_ascii() {
            self.records.extend([request, kind, bytes.len() as u32]);
            self.narrow.extend_from_slice(bytes);
        } else {
            let start = self.wide.len();
            // What is not UTF-8 becomes U+FFFD, as Node's own decoding has it.
            self.wide
                .extend(String::from_utf8_lossy(bytes).encode_utf16());
            let length = (self.wide.len() - start) as u32;
            self.records.extend([request, kind + WIDE, length]);
        }
    }

    /// When the session of the last record ends.
    fn add_end(&mut self, ends: Option<u64>) {
        if let Some(ends) = ends {
            let flags = self.records.len() - FIELDS + 1;
            self.records[flags] += TIMED;
            self.records.extend([ends as u32, (ends >> 32) as u32, 0]);
        }
    }

    fn fits(&self, other: &Self) -> bool {
        self.records.len() + other.records.len() <= SLICE_RECORDS * FIELDS
            && self.narrow.len() + other.narrow.len() + 2 * (self.wide.len() + other.wide.len())
                <= SLICE_TEXT
    }

    fn append(&mut self, other: &mut Self) {
        self.records.append(&mut other.records);
        self.narrow.append(&mut other.narrow);
        self.wide.append(&mut other.wide);
        self.finished += other.finished;
    }

    /// The same room with nothing in it; `None` if it is too much to be kept.
    fn emptied(mut self) -> Option<Self> {
        self.records.clear();
        self.narrow.clear();
        self.wide.clear();
        self.finished = 0;
        (self.narrow.capacity() + 2 * self.wide.capacity() <= 2 * SLICE_TEXT).then_some(self)
    }

    fn is_full(&self) -> bool {
        self.records.len() >= SLICE_RECORDS * FIELDS
            || self.narrow.len() + 2 * self.wide.len() >= SLICE_TEXT
    }
}

/// A text as a string. What is not UTF-8 becomes U+FFFD, as Node's own decoding has it.
pub(super) fn text<'env>(env: &'env Env, bytes: &[u8]) -> Result<JsString<'env>> {
    if bytes.is_ascii() {
        env.create_string_latin1(bytes)
    } else {
        let units: Vec<u16> = String::from_utf8_lossy(bytes).encode_utf16().collect();
        env.create_string_utf16(units)
    }
}

#[derive(Debug, Default)]
struct Waiting {
    slices: VecDeque<Slice>,
    spare: Vec<Slice>,
    /// The event loop has been woken and has not yet found the queue empty.
    woken: bool,
}

/// Filled on the runtime's thread, emptied on the event loop.
#[derive(Debug)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    wake: Wake,
    /// Requests under way. Changed on the event loop only.
    under_way: AtomicU32,
}

impl Queue {
    /// `count` more requests are under way: the event loop must live until they are answered.
    pub(super) fn expect(&self, env: &Env, count: u32) -> Result<()> {
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
        if slice.records.is_empty() {
            return;
        }
        match self.slices.back_mut() {
            Some(last) if last.fits(&slice) => last.append(&mut slice),
            _ => self.slices.push_back(slice),
        }
    }
}

impl Answers for Queue {
    fn answer(&self, answers: Vec<(RequestId, Answer)>) {
        // Joined before the lock is taken: the event loop may be waiting for it.
        let mut slices = Vec::new();
        for (request, answer) in answers {
            match answer {
                // They may be more than one slice takes.
                Answer::Ids(ids) => {
                    for id in ids.iter() {
                        self.last_of(&mut slices).add_text(request, ID, id);
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
            }),
            instance: INSTANCES.fetch_add(1, Ordering::Relaxed),
            wide: Vec::new(),
        })
    }

    pub(super) fn instance(&self) -> u32 {
        self.instance
    }

    pub(super) fn queue(&self) -> Arc<Queue> {
        Arc::clone(&self.queue)
    }

    /// How many numbers `collect` may write.
    #[napi(getter, catch_unwind)]
    pub fn capacity(&self) -> u32 {
        // A slice is closed once it is full, and a full one exceeds the bound by no more than the
        // answer that filled it: of its two records, the second.
        (HEAD + (SLICE_RECORDS + 1) * FIELDS) as u32
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_joined_by_width_and_measured_in_utf16_units() {
        let mut slice = Slice::default();
        slice.add(1, Answer::Session(b"abc".to_vec(), None));
        slice.add(2, Answer::Session("\u{e9}\u{1f600}".into(), None));
        slice.add(3, Answer::Id(b"d".to_vec()));
        slice.add(3, Answer::Done);
        assert_eq!(slice.narrow, b"abcd");
        assert_eq!(slice.wide.len(), 3);
        assert_eq!(
            slice.records,
            [1, SESSION, 3, 2, SESSION + WIDE, 3, 3, ID, 1, 3, DONE, 0]
        );
        assert_eq!(slice.finished, 3);
    }

    #[test]
    fn the_end_of_a_session_follows_it_in_two_halves() {
        let mut slice = Slice::default();
        slice.add(1, Answer::Item(b"abc".to_vec(), Some((1 << 53) - 1)));
        assert_eq!(
            slice.records,
            [1, ITEM + TIMED, 3, u32::MAX, (1 << 21) - 1, 0]
        );
        assert_eq!(slice.finished, 0);
    }

    #[test]
    fn bytes_that_are_not_utf8_are_replaced_as_node_does() {
        let mut slice = Slice::default();
        slice.add(1, Answer::Session(b"a\xff\xe2\x82b".to_vec(), None));
        assert_eq!(String::from_utf16_lossy(&slice.wide), "a\u{fffd}\u{fffd}b");
    }
}
