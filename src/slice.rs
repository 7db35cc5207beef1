//! The layout of a slice of answers, as `lib/boundary/completions.js` takes it apart.
//!
//! The texts of a slice are one string (two when some are not ASCII), which JavaScript cuts up by the
//! lengths in the records: one string to make instead of one per answer.

use connect_redis_core::{Completion, RequestId};

/// Numbers per record: request, kind, length of the text in UTF-16 units (or the count).
pub(crate) const FIELDS: usize = 3;
/// Bounds of a slice, so that the event loop gets to other work in between.
const SLICE_RECORDS: usize = 512;
/// A slice is closed once it is full, and a full one exceeds the bound by no more than the answer that filled it: of
/// its two records, the second.
pub(crate) const MOST_RECORDS: usize = SLICE_RECORDS + 1;
/// V8 keeps strings beyond 128 KB in a space of their own, which is dearer to collect.
const SLICE_TEXT: usize = 96 * 1024;
/// V8 makes no strings of more than 2^29 - 24 units, and others may come before it in its slice. Tests do with less.
const LONGEST_TEXT: usize = if cfg!(test) {
    1024
} else {
    (1 << 29) - 24 - SLICE_TEXT
};

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
/// In the place of an item whose text is too long for a string.
const TOO_LONG: u32 = 12;
/// Added to a kind whose text is in the wide string.
const WIDE: u32 = 16;
/// Added to a kind whose record is followed by another of the time when a session ends: the lower and the
/// higher half of the milliseconds since 1970, and 0.
const TIMED: u32 = 32;

/// Records and their texts, ready for JavaScript.
#[derive(Debug, Default)]
pub(crate) struct Slice {
    pub(crate) records: Vec<u32>,
    /// ASCII, which is Latin-1 as it stands.
    pub(crate) narrow: Vec<u8>,
    pub(crate) wide: Vec<u16>,
    /// How many requests are over with this slice.
    pub(crate) finished: u32,
}

impl Slice {
    pub(crate) fn add(&mut self, request: RequestId, answer: Completion) {
        self.finished += u32::from(answer.is_last());
        match answer {
            Completion::Done => self.records.extend([request, DONE, 0]),
            Completion::Missing => self.records.extend([request, MISSING, 0]),
            Completion::Count(count) => {
                self.records
                    .extend([request, COUNT, u32::try_from(count).unwrap_or(u32::MAX)])
            }
            Completion::More => self.records.extend([request, MORE, 0]),
            Completion::Session(bytes, _) if is_too_long(&bytes) => self.refuse(request, "get"),
            Completion::Session(bytes, ends) => {
                self.add_text(request, SESSION, &bytes);
                self.add_end(ends);
            }
            Completion::Item(bytes, _) if is_too_long(&bytes) => {
                self.records.extend([request, TOO_LONG, 0]);
            }
            Completion::Item(bytes, ends) => {
                self.add_text(request, ITEM, &bytes);
                self.add_end(ends);
            }
            Completion::Id(bytes) => self.add_id(request, &bytes),
            Completion::Ids(ids) => ids.iter().for_each(|id| self.add_id(request, id)),
            Completion::Conflict(_, stored) if is_too_long(&stored) => self.refuse(request, "set"),
            Completion::Conflict(reason, stored) => {
                let text = [reason.as_bytes(), b"\n", &stored].concat();
                self.add_text(request, CONFLICT, &text);
            }
            Completion::Failed(name, error) => {
                let text = format!("{}\n{}\n{name}: {error}", error.code(), error.reply());
                self.add_text(request, FAILED, text.as_bytes());
            }
            Completion::Event(name, error) => {
                let text = match error {
                    Some(error) => format!("{name}\n{}\n{}\n{error}", error.code(), error.reply()),
                    None => name.to_owned(),
                };
                self.add_text(request, EVENT, text.as_bytes());
            }
            Completion::Commands(batch) => self.add_text(request, COMMANDS, &batch),
            Completion::Ended => self.records.extend([request, ENDED, 0]),
            unread @ Completion::Unread(_) => {
                self.finished -= 1;
                self.add(request, unread.read());
            }
        }
    }

    /// An id of many.
    pub(crate) fn add_id(&mut self, request: RequestId, id: &[u8]) {
        // No JavaScript string is the id in so long a key.
        let id = if is_too_long(id) { b"" } else { id };
        self.add_text(request, ID, id);
    }

    /// Fails a request whose text is too long for a string.
    fn refuse(&mut self, request: RequestId, name: &str) {
        let text = format!(
            "ERR_SESSION_CORRUPT\n\n{name}: the stored value is longer than a JavaScript string"
        );
        self.add_text(request, FAILED, text.as_bytes());
    }

    fn add_text(&mut self, request: RequestId, kind: u32, bytes: &[u8]) {
        // Both lengths fit: they are at most a little more than LONGEST_TEXT.
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

    pub(crate) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    pub(crate) fn fits(&self, other: &Self) -> bool {
        self.records.len() + other.records.len() <= SLICE_RECORDS * FIELDS
            && self.narrow.len() + other.narrow.len() + 2 * (self.wide.len() + other.wide.len())
                <= SLICE_TEXT
    }

    pub(crate) fn append(&mut self, other: &mut Self) {
        self.records.append(&mut other.records);
        self.narrow.append(&mut other.narrow);
        self.wide.append(&mut other.wide);
        self.finished += other.finished;
    }

    /// The same room with nothing in it; `None` if it is too much to be kept.
    pub(crate) fn emptied(mut self) -> Option<Self> {
        self.records.clear();
        self.narrow.clear();
        self.wide.clear();
        self.finished = 0;
        (self.narrow.capacity() + 2 * self.wide.capacity() <= 2 * SLICE_TEXT).then_some(self)
    }

    pub(crate) fn is_full(&self) -> bool {
        self.records.len() >= SLICE_RECORDS * FIELDS
            || self.narrow.len() + 2 * self.wide.len() >= SLICE_TEXT
    }
}

fn is_too_long(text: &[u8]) -> bool {
    text.len() > LONGEST_TEXT
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_joined_by_width_and_measured_in_utf16_units() {
        let mut slice = Slice::default();
        slice.add(1, Completion::Session(b"abc".to_vec(), None));
        slice.add(2, Completion::Session("\u{e9}\u{1f600}".into(), None));
        slice.add(3, Completion::Id(b"d".to_vec()));
        slice.add(3, Completion::Done);
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
        slice.add(1, Completion::Item(b"abc".to_vec(), Some((1 << 53) - 1)));
        assert_eq!(
            slice.records,
            [1, ITEM + TIMED, 3, u32::MAX, (1 << 21) - 1, 0]
        );
        assert_eq!(slice.finished, 0);
    }

    #[test]
    fn a_text_that_is_too_long_is_one_failed_record() {
        let text = || vec![b'x'; LONGEST_TEXT + 1];
        let mut slice = Slice::default();
        slice.add(1, Completion::Id(b"a".to_vec()));
        slice.add(1, Completion::Item(text(), Some(1)));
        slice.add(1, Completion::Item(b"{}".to_vec(), None));
        assert_eq!(slice.finished, 0, "more of the page follows");
        slice.add(1, Completion::Done);
        assert_eq!(
            slice.records,
            [1, ID, 1, 1, TOO_LONG, 0, 1, ITEM, 2, 1, DONE, 0]
        );
        for (answer, name) in [
            (Completion::Session(text(), Some(1)), "get"),
            (Completion::Conflict("changed", text()), "set"),
        ] {
            let mut slice = Slice::default();
            slice.add(2, answer);
            assert_eq!(slice.records[..2], [2, FAILED]);
            assert_eq!((slice.records.len(), slice.finished), (FIELDS, 1));
            let text = String::from_utf8_lossy(&slice.narrow).into_owned();
            assert!(
                text.starts_with(&format!("ERR_SESSION_CORRUPT\n\n{name}: ")),
                "{text}"
            );
        }
    }

    #[test]
    fn bytes_that_are_not_utf8_are_replaced_as_node_does() {
        let mut slice = Slice::default();
        slice.add(1, Completion::Session(b"a\xff\xe2\x82b".to_vec(), None));
        assert_eq!(String::from_utf16_lossy(&slice.wide), "a\u{fffd}\u{fffd}b");
    }
}
