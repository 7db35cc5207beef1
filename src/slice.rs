//! The layout of a slice of completions, which `lib/boundary/completions.js` decodes.
//!
//! The short texts of a slice are joined into one string (two if some are not ASCII), which JavaScript splits by the
//! lengths in the records: creating one string is cheaper than one per completion. A large text is a string of its own.

use connect_redis_core::error_json;
use connect_redis_core::{Completion, Error, RequestId};
use std::borrow::Cow;
use std::collections::VecDeque;

/// The numbers per record: request, kind, length of the text in UTF-16 units (or the count).
pub(crate) const FIELDS: usize = 3;
/// The number of records after which a slice is full: between slices, the event loop does other work.
const SLICE_RECORDS: usize = 512;
/// The maximum number of records of a slice. It exceeds the limit by at most the second of the two records of the
/// completion that filled it.
pub(crate) const MOST_RECORDS: usize = SLICE_RECORDS + 1;
/// The size in bytes of the joined texts after which a slice is full. With one more text, they fit into 128 KB: V8
/// allocates longer strings in the large-object space, which took 80 µs instead of 3, nearly half as long as parsing
/// 64 KB (Node 20 to 24).
const JOINED_TEXT: usize = 96 * 1024;
/// The size in bytes from which a text is large.
const LARGE_TEXT: usize = 16 * 1024;
/// The size in bytes of all texts after which a slice is full: less than a millisecond of `JSON.parse`, and enough to
/// share a wake-up of the event loop.
const SLICE_TEXT: usize = 256 * 1024;
/// The maximum length of a text. V8's limit for strings is 2^29 - 24 units, and other texts may precede an ID in its
/// slice. Smaller in tests.
const LONGEST_TEXT: usize = if cfg!(test) {
    128 * 1024
} else {
    (1 << 29) - 24 - JOINED_TEXT
};

/// The kinds of records. `__test__/contract/boundary.test.js` compares them with those of `lib/boundary/request.js`.
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
/// Replaces an item whose text is too long for a string.
const TOO_LONG: u32 = 12;
/// The server that served the request, of which more records follow: the number of attempts, 256 if the request shared
/// the command of another one, and 512 times the number of the server.
const SERVED: u32 = 13;
/// Added to a kind whose text is in the two-byte string.
const TWO_BYTE: u32 = 16;
/// Added to a kind whose text is a string of its own.
const LARGE: u32 = 64;
/// Added to a kind whose record is followed by one with the end of the session: the lower and the higher half of the
/// milliseconds since 1970, and 0.
const TIMED: u32 = 32;

/// The content of a JavaScript string.
#[derive(Debug, PartialEq)]
pub(crate) enum Text {
    /// ASCII, which is a subset of Latin-1.
    OneByte(Vec<u8>),
    TwoByte(Vec<u16>),
}

impl Text {
    /// Returns the size in bytes.
    fn size(&self) -> usize {
        match self {
            Self::OneByte(bytes) => bytes.len(),
            Self::TwoByte(units) => 2 * units.len(),
        }
    }
}

impl From<Vec<u8>> for Text {
    fn from(bytes: Vec<u8>) -> Self {
        if bytes.is_ascii() {
            Self::OneByte(bytes)
        } else {
            Self::TwoByte(utf16(&bytes))
        }
    }
}

/// Decodes UTF-8. What is invalid becomes U+FFFD, as in Node's own decoding.
fn utf16(bytes: &[u8]) -> Vec<u16> {
    String::from_utf8_lossy(bytes).encode_utf16().collect()
}

/// Records and their texts, encoded for JavaScript.
#[derive(Debug, Default)]
pub(crate) struct Slice {
    pub(crate) records: Vec<u32>,
    /// The one-byte string: ASCII, which is a subset of Latin-1.
    pub(crate) one_byte: Vec<u8>,
    pub(crate) two_byte: Vec<u16>,
    pub(crate) large: VecDeque<Text>,
    /// The number of requests that end with this slice.
    pub(crate) finished: u32,
}

impl Slice {
    pub(crate) fn add(&mut self, request: RequestId, completion: Completion) {
        self.finished += u32::from(completion.is_last());
        match completion {
            Completion::Done => self.records.extend([request, DONE, 0]),
            Completion::Missing => self.records.extend([request, MISSING, 0]),
            Completion::Count(count) => {
                self.records
                    .extend([request, COUNT, u32::try_from(count).unwrap_or(u32::MAX)])
            }
            Completion::More => self.records.extend([request, MORE, 0]),
            Completion::Session(bytes, _) if is_too_long(&bytes) => {
                self.add_too_long(request, "get")
            }
            Completion::Session(bytes, ends) => {
                self.add_text(request, SESSION, bytes);
                self.add_end(ends);
            }
            Completion::Item(bytes, _) if is_too_long(&bytes) => {
                self.records.extend([request, TOO_LONG, 0]);
            }
            Completion::Item(bytes, ends) => {
                self.add_text(request, ITEM, bytes);
                self.add_end(ends);
            }
            Completion::Id(bytes) => self.add_id(request, &bytes),
            Completion::Ids(ids) => ids.iter().for_each(|id| self.add_id(request, id)),
            Completion::Conflict(stored) if is_too_long(&stored) => {
                self.add_too_long(request, "set")
            }
            Completion::Conflict(stored) => self.add_text(request, CONFLICT, stored),
            Completion::Failed(name, error) => {
                let text = error_json(&error, Some(name));
                self.add_text(request, FAILED, text.as_bytes());
            }
            Completion::Event(name, error) => {
                let text = match error {
                    Some(error) => format!("{name}\n{}", error_json(&error, None)),
                    None => name.to_owned(),
                };
                self.add_text(request, EVENT, text.as_bytes());
            }
            Completion::Observed(json) => {
                self.add_text(request, EVENT, format!("observed\n{json}").as_bytes());
            }
            Completion::Served { origin, is_shared } => {
                let attempts = origin.attempts.min(u8::MAX.into());
                let served = attempts | u32::from(is_shared) << 8 | origin.server.number() << 9;
                self.records.extend([request, SERVED, served]);
            }
            Completion::Ended => self.records.extend([request, ENDED, 0]),
            unread @ Completion::Unread(_) => {
                self.finished -= 1;
                self.add(request, unread.read());
            }
        }
    }

    /// Adds the ID of a session.
    pub(crate) fn add_id(&mut self, request: RequestId, id: &[u8]) {
        // No JavaScript string can be an ID this long.
        let id = if is_too_long(id) { b"" } else { id };
        self.add_text(request, ID, id);
    }

    /// Fails a request whose text is too long for a string.
    fn add_too_long(&mut self, request: RequestId, name: &'static str) {
        let text = error_json(&Error::TooLong, Some(name));
        self.add_text(request, FAILED, text.as_bytes());
    }

    /// Adds a record with a text.
    fn add_text<'a>(&mut self, request: RequestId, kind: u32, text: impl Into<Cow<'a, [u8]>>) {
        let bytes = text.into();
        // All lengths fit: they are at most a little more than LONGEST_TEXT.
        if bytes.len() >= LARGE_TEXT {
            self.records.extend([request, kind + LARGE, 0]);
            self.large.push_back(bytes.into_owned().into());
        } else if bytes.is_ascii() {
            self.records.extend([request, kind, bytes.len() as u32]);
            self.one_byte.extend_from_slice(&bytes);
        } else {
            let start = self.two_byte.len();
            self.two_byte.append(&mut utf16(&bytes));
            let length = (self.two_byte.len() - start) as u32;
            self.records.extend([request, kind + TWO_BYTE, length]);
        }
    }

    /// Adds the end of the session in the last record.
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

    /// Returns the size of the texts in bytes.
    fn size(&self) -> usize {
        self.joined_size() + self.large.iter().map(Text::size).sum::<usize>()
    }

    fn joined_size(&self) -> usize {
        self.one_byte.len() + 2 * self.two_byte.len()
    }

    pub(crate) fn fits(&self, other: &Self) -> bool {
        self.records.len() + other.records.len() <= SLICE_RECORDS * FIELDS
            && self.joined_size() + other.joined_size() <= JOINED_TEXT
            && self.size() + other.size() <= SLICE_TEXT
    }

    pub(crate) fn append(&mut self, other: &mut Self) {
        self.records.append(&mut other.records);
        self.one_byte.append(&mut other.one_byte);
        self.two_byte.append(&mut other.two_byte);
        self.large.append(&mut other.large);
        self.finished += other.finished;
    }

    /// Returns the slice emptied, for reuse; `None` if its memory is too large to keep.
    pub(crate) fn emptied(mut self) -> Option<Self> {
        self.records.clear();
        self.one_byte.clear();
        self.two_byte.clear();
        self.large.clear();
        self.finished = 0;
        (self.one_byte.capacity() + 2 * self.two_byte.capacity() <= 2 * JOINED_TEXT).then_some(self)
    }

    pub(crate) fn is_full(&self) -> bool {
        self.records.len() >= SLICE_RECORDS * FIELDS
            || self.joined_size() >= JOINED_TEXT
            || self.size() >= SLICE_TEXT
    }
}

fn is_too_long(text: &[u8]) -> bool {
    text.len() > LONGEST_TEXT
}

#[cfg(test)]
mod tests {
    use super::*;
    use connect_redis_core::{Origin, ServerId};

    #[test]
    fn texts_are_joined_by_representation_and_measured_in_utf16_units() {
        let mut slice = Slice::default();
        slice.add(1, Completion::Session(b"abc".to_vec(), None));
        slice.add(2, Completion::Session("\u{e9}\u{1f600}".into(), None));
        slice.add(3, Completion::Id(b"d".to_vec()));
        slice.add(3, Completion::Done);
        assert_eq!(slice.one_byte, b"abcd");
        assert_eq!(slice.two_byte.len(), 3);
        assert_eq!(
            slice.records,
            [
                1,
                SESSION,
                3,
                2,
                SESSION + TWO_BYTE,
                3,
                3,
                ID,
                1,
                3,
                DONE,
                0
            ]
        );
        assert_eq!(slice.finished, 3);
    }

    #[test]
    fn the_server_of_a_request_is_a_record_of_its_own() {
        let mut slice = Slice::default();
        for (server, attempts, is_shared) in [(3, 1, false), (0, 999, true)] {
            let server = ServerId::from_number(server);
            let origin = Origin { server, attempts };
            slice.add(1, Completion::Served { origin, is_shared });
        }
        slice.add(1, Completion::Done);
        let served = [1, SERVED, 3 << 9 | 1, 1, SERVED, 256 + 255];
        assert_eq!(slice.records[..6], served);
        assert_eq!(slice.finished, 1);
    }

    #[test]
    fn a_large_text_is_a_string_of_its_own_in_the_order_of_the_records() {
        let large = "a".repeat(LARGE_TEXT);
        let mut slice = Slice::default();
        slice.add(1, Completion::Session(large.clone().into(), Some(5)));
        slice.add(2, Completion::Session(b"short".to_vec(), None));
        slice.add(
            3,
            Completion::Session(format!("{large}\u{e9}").into(), None),
        );
        assert_eq!(
            slice.records[..FIELDS * 3],
            [1, SESSION + LARGE + TIMED, 0, 5, 0, 0, 2, SESSION, 5]
        );
        assert_eq!(slice.records[FIELDS * 3..], [3, SESSION + LARGE, 0]);
        assert_eq!(slice.one_byte, b"short");
        let units = format!("{large}\u{e9}").encode_utf16().collect();
        let texts = [Text::OneByte(large.into()), Text::TwoByte(units)];
        assert_eq!(Vec::from(slice.large), texts);
    }

    #[test]
    fn a_slice_takes_no_more_texts_once_its_strings_or_their_sum_are_large() {
        let session = |size| Completion::Session(vec![b'a'; size], None);
        for (size, count) in [
            (LARGE_TEXT - 1, JOINED_TEXT / LARGE_TEXT + 1),
            (4 * LARGE_TEXT, SLICE_TEXT / LARGE_TEXT / 4),
        ] {
            let mut slice = Slice::default();
            for request in 0..count {
                assert!(!slice.is_full(), "{request} texts of {size} bytes");
                slice.add(request as u32, session(size));
            }
            assert!(slice.is_full(), "{count} texts of {size} bytes");
            assert!(slice.one_byte.len() < 128 * 1024);
        }
    }

    #[test]
    fn the_end_of_a_session_is_a_second_record_of_two_halves() {
        let mut slice = Slice::default();
        slice.add(1, Completion::Item(b"abc".to_vec(), Some((1 << 53) - 1)));
        assert_eq!(
            slice.records,
            [1, ITEM + TIMED, 3, u32::MAX, (1 << 21) - 1, 0]
        );
        assert_eq!(slice.finished, 0);
    }

    #[test]
    fn a_text_that_is_too_long_becomes_one_failed_record() {
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
        for (completion, name) in [
            (Completion::Session(text(), Some(1)), "get"),
            (Completion::Conflict(text()), "set"),
        ] {
            let mut slice = Slice::default();
            slice.add(2, completion);
            assert_eq!(slice.records[..2], [2, FAILED]);
            assert_eq!((slice.records.len(), slice.finished), (FIELDS, 1));
            let text = String::from_utf8_lossy(&slice.one_byte).into_owned();
            let error: serde_json::Value = serde_json::from_str(&text).expect("JSON");
            assert_eq!(error["code"], "ERR_SESSION_CORRUPT");
            assert_eq!(error["operation"], name);
        }
    }

    #[test]
    fn invalid_utf8_is_replaced_as_in_node() {
        let mut slice = Slice::default();
        slice.add(1, Completion::Session(b"a\xff\xe2\x82b".to_vec(), None));
        assert_eq!(
            String::from_utf16_lossy(&slice.two_byte),
            "a\u{fffd}\u{fffd}b"
        );
    }
}
