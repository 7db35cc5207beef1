//! From bytes to replies.
//!
//! The redis crate's codec reads all of the protocol, at a price that shows when replies come by the hundred
//! thousand. Nearly all that a session store gets is bulk strings, integers, `OK` and nil, and arrays of these
//! from `SCAN`: those are read here as soon as they are whole, everything else is left to it.

use redis::{ErrorKind, RedisError, Value, ValueCodec};
use tokio_util::bytes::{Buf, BytesMut};
use tokio_util::codec::Decoder;

/// The digits of a length or an integer, its sign and the line's end are no longer than this.
const LONGEST_LINE: usize = 24;
/// Redis quotes 128 bytes of what it was asked; scripts and modules have words of their own.
const LONGEST_REFUSAL: usize = 64 * 1024;
/// Redis's own bound on bulk strings, unless it is configured otherwise.
const LONGEST_BULK: usize = 512 * 1024 * 1024;
/// Room that is made at once for a reply that announces more: the announcement may be damaged. No more than that
/// is kept for the next reply.
const MOST_ROOM: usize = 1024 * 1024;

/// Arrays within arrays: that of `SCAN` is one level deeper than its reply.
const DEEPEST: usize = 2;
/// Room for elements that is made at once, for the same reason. Of an array that has not come whole, no more are
/// kept either: they may take many times the room of their bytes.
const MOST_ELEMENTS: usize = 16 * 1024;

#[derive(Default)]
pub(super) struct Codec {
    general: ValueCodec,
    /// The general codec has read a part of a reply, and keeps it.
    is_midway: bool,
    /// What there is of an array that has not come as a whole.
    array: Option<Partial>,
}

/// An array as far as it has come. Its bytes are kept until it is whole: the general codec may have to read
/// them from the first.
#[derive(Default)]
struct Partial {
    /// The place of the next element.
    at: usize,
    /// The arrays that are not whole yet, the innermost last.
    open: Vec<Open>,
    /// How many elements have come.
    come: usize,
    /// The elements are too many to be kept: they are read when all of them have come.
    is_count: bool,
}

struct Open {
    values: Vec<Value>,
    missing: usize,
}

impl Partial {
    fn begin(&mut self, length: usize) {
        let room = if self.is_count { 0 } else { length };
        self.open.push(Open {
            values: Vec::with_capacity(room.min(MOST_ELEMENTS)),
            missing: length,
        });
    }

    fn add(&mut self, element: Element<'_>) {
        if let Some(array) = self.open.last_mut() {
            if !self.is_count {
                array.values.push(element.value());
            }
            array.missing = array.missing.saturating_sub(1);
            self.come += 1;
        }
    }

    /// What is kept until more comes.
    fn kept(mut self) -> Option<Self> {
        if self.come > MOST_ELEMENTS && !self.is_count {
            self.is_count = true;
            for array in &mut self.open {
                array.values = Vec::new();
            }
        }
        Some(self)
    }

    /// Puts arrays that are whole where they belong; gives the outermost once it is.
    fn close(&mut self) -> Option<Value> {
        while let Some(array) = self.open.pop_if(|array| array.missing == 0) {
            let value = Value::Array(array.values);
            if self.open.is_empty() {
                return Some(value);
            }
            self.add(Element::Value(value));
        }
        None
    }
}

enum Simple<T> {
    /// A reply and its length in bytes.
    Whole(T, usize),
    /// One of this length, of which more is to come.
    Begun(usize),
    /// The line has not ended yet.
    Unknown,
    /// Something for the general codec.
    Other,
    /// No reply, though the general codec may take it for one, together with what follows.
    Damaged,
}

impl Decoder for Codec {
    type Item = Value;
    type Error = RedisError;

    fn decode(&mut self, bytes: &mut BytesMut) -> Result<Option<Value>, RedisError> {
        if !self.is_midway {
            let reply = if bytes.first() == Some(&b'*') {
                self.array(bytes)
            } else {
                simple(bytes).map(Element::value)
            };
            match reply {
                Simple::Whole(value, length) => {
                    bytes.advance(length);
                    if length > MOST_ROOM {
                        give_back_room(bytes);
                    }
                    return Ok(Some(value));
                }
                Simple::Begun(length) => {
                    bytes.reserve((length - bytes.len()).min(MOST_ROOM));
                    return Ok(None);
                }
                Simple::Unknown => return Ok(None),
                Simple::Damaged => return Err((ErrorKind::Parse, "a line without an end").into()),
                Simple::Other if bytes.first() == Some(&b'-') => return refusal(bytes),
                Simple::Other => {}
            }
        }
        let value = self.general.decode(bytes)?;
        self.is_midway = value.is_none();
        Ok(value)
    }

    fn decode_eof(&mut self, bytes: &mut BytesMut) -> Result<Option<Value>, RedisError> {
        // A part of a reply is of no use: what follows is that the connection is closed.
        self.decode(bytes)
    }
}

impl Codec {
    /// Reads an array, as far as it has come.
    fn array(&mut self, bytes: &[u8]) -> Simple<Value> {
        let mut partial = self.array.take().unwrap_or_default();
        loop {
            match simple(&bytes[partial.at..]) {
                Simple::Whole(Element::Array(_), _) if partial.open.len() == DEEPEST => {
                    return Simple::Other;
                }
                Simple::Whole(element, size) => {
                    partial.at += size;
                    match element {
                        Element::Array(length) => partial.begin(length),
                        element => partial.add(element),
                    }
                }
                Simple::Begun(size) => {
                    let size = partial.at + size;
                    self.array = partial.kept();
                    return Simple::Begun(size);
                }
                Simple::Unknown => {
                    self.array = partial.kept();
                    return Simple::Unknown;
                }
                Simple::Other => return Simple::Other,
                Simple::Damaged => return Simple::Damaged,
            }
            if let Some(value) = partial.close() {
                if partial.is_count {
                    partial = Partial::default();
                    continue;
                }
                return Simple::Whole(value, partial.at);
            }
        }
    }
}

/// Reads an error reply. It may quote what it was asked, cut off in the midst of a character, and the redis crate
/// insists on UTF-8.
fn refusal(bytes: &mut BytesMut) -> Result<Option<Value>, RedisError> {
    let Some(end) = bytes.windows(2).position(|two| two == b"\r\n") else {
        return if bytes.len() < LONGEST_REFUSAL {
            Ok(None)
        } else {
            Err((ErrorKind::Parse, "an error reply without an end").into())
        };
    };
    let line = bytes.split_to(end + 2);
    redis::parse_redis_value(String::from_utf8_lossy(&line).as_bytes()).map(Some)
}

/// Leaves what has been read no more room than the rest needs.
fn give_back_room(bytes: &mut BytesMut) {
    *bytes = BytesMut::from(&bytes[..]);
}

/// What a line begins, with what belongs to it.
enum Element<'a> {
    Value(Value),
    Text(&'a [u8]),
    /// So many elements follow.
    Array(usize),
}

impl Element<'_> {
    fn value(self) -> Value {
        match self {
            Self::Value(value) => value,
            Self::Text(text) => Value::BulkString(text.to_vec()),
            // Read by those who look for arrays.
            Self::Array(_) => Value::Array(Vec::new()),
        }
    }
}

impl<T> Simple<T> {
    fn map<U>(self, change: impl FnOnce(T) -> U) -> Simple<U> {
        match self {
            Self::Whole(value, length) => Simple::Whole(change(value), length),
            Self::Begun(length) => Simple::Begun(length),
            Self::Unknown => Simple::Unknown,
            Self::Other => Simple::Other,
            Self::Damaged => Simple::Damaged,
        }
    }
}

fn simple(bytes: &[u8]) -> Simple<Element<'_>> {
    let Some(&kind) = bytes.first() else {
        return Simple::Unknown;
    };
    if !matches!(kind, b'$' | b':' | b'+' | b'_' | b'*') {
        return Simple::Other;
    }
    if kind == b'_' && bytes.get(1).is_some_and(|&byte| byte != b'\r') {
        return Simple::Damaged;
    }
    let line = &bytes[1..bytes.len().min(LONGEST_LINE)];
    let Some(end) = line.iter().position(|&byte| byte == b'\r') else {
        // A longer line, or a damaged one, is the general codec's.
        return if bytes.len() < LONGEST_LINE {
            Simple::Unknown
        } else {
            Simple::Other
        };
    };
    // Behind the kind, the text and the line's end.
    let begin = end + 3;
    match bytes.get(begin - 1) {
        None => return Simple::Unknown,
        Some(b'\n') => {}
        Some(_) => return Simple::Damaged,
    }
    let text = &line[..end];
    let number = || std::str::from_utf8(text).ok()?.parse::<i64>().ok();
    let length = || number().and_then(|length| usize::try_from(length).ok());
    let value = |value| Simple::Whole(Element::Value(value), begin);
    match (kind, text) {
        (b'_', b"") | (b'$', b"-1") => value(Value::Nil),
        (b'+', b"OK") => value(Value::Okay),
        (b':', _) => number().map_or(Simple::Other, |number| value(Value::Int(number))),
        (b'$', _) => match length() {
            Some(length) if length <= LONGEST_BULK => bulk(bytes, begin, length),
            _ => Simple::Other,
        },
        (b'*', _) => match length() {
            // As many as the redis crate takes are more than there can be bytes.
            Some(length) if length <= LONGEST_BULK => Simple::Whole(Element::Array(length), begin),
            _ => Simple::Other,
        },
        _ => Simple::Other,
    }
}

fn bulk(bytes: &[u8], begin: usize, length: usize) -> Simple<Element<'_>> {
    let end = begin + length;
    match bytes.get(end..end + 2) {
        Some(b"\r\n") => Simple::Whole(Element::Text(&bytes[begin..end]), end + 2),
        // The general codec says what is wrong.
        Some(_) => Simple::Other,
        None => Simple::Begun(end + 2),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPLIES: &[u8] = b"$3\r\nabc\r\n:-2\r\n+OK\r\n$-1\r\n_\r\n*2\r\n$1\r\n0\r\n*1\r\n$1\r\nk\r\n\
        -ERR no\r\n+PONG\r\n$0\r\n\r\n%1\r\n+a\r\n:1\r\n>2\r\n+invalidate\r\n*1\r\n$1\r\nk\r\n$2\r\n\r\n\r\n";

    fn decode_all(codec: &mut Codec, bytes: &mut BytesMut) -> Vec<Value> {
        std::iter::from_fn(|| codec.decode(bytes).expect("Redis's protocol")).collect()
    }

    /// What the redis crate makes of the same bytes.
    fn expected() -> Vec<Value> {
        let mut codec = ValueCodec::default();
        let mut bytes = BytesMut::from(REPLIES);
        let mut values = Vec::new();
        while !bytes.is_empty() {
            values.extend(codec.decode(&mut bytes).expect("Redis's protocol"));
        }
        values
    }

    #[test]
    fn replies_are_those_that_the_redis_crate_reads() {
        let mut bytes = BytesMut::from(REPLIES);
        assert_eq!(decode_all(&mut Codec::default(), &mut bytes), expected());
        assert!(bytes.is_empty());
    }

    #[test]
    fn replies_may_come_in_any_parts() {
        for size in 1..REPLIES.len() {
            let mut codec = Codec::default();
            let mut bytes = BytesMut::new();
            let mut values = Vec::new();
            for part in REPLIES.chunks(size) {
                bytes.extend_from_slice(part);
                values.append(&mut decode_all(&mut codec, &mut bytes));
            }
            assert_eq!(values, expected(), "{size} bytes at a time");
        }
    }

    #[test]
    fn arrays_of_what_is_simple_are_read_here() {
        let simple = b"*2\r\n$2\r\n17\r\n*3\r\n$1\r\na\r\n:5\r\n*0\r\n";
        let mut codec = Codec::default();
        assert!(matches!(codec.array(simple), Simple::Other), "three deep");
        let simple = b"*2\r\n$2\r\n17\r\n*3\r\n$1\r\na\r\n:5\r\n$-1\r\n";
        for end in 0..simple.len() {
            let reply = codec.array(&simple[..end]);
            assert!(matches!(reply, Simple::Begun(_) | Simple::Unknown));
        }
        let text = |text: &str| Value::BulkString(text.into());
        let inner = Value::Array(vec![text("a"), Value::Int(5), Value::Nil]);
        let expected = Value::Array(vec![text("17"), inner]);
        let Simple::Whole(value, length) = codec.array(simple) else {
            panic!("left to the general codec");
        };
        assert_eq!((value, length), (expected, simple.len()));
        // An element that is left to the general codec, after others that were not.
        assert!(matches!(
            codec.array(b"*2\r\n:1\r\n-ERR no\r\n"),
            Simple::Other
        ));
        assert!(matches!(codec.array(b"*-1\r\n"), Simple::Other));
    }

    #[test]
    fn error_replies_may_quote_the_half_of_a_character() {
        let mut codec = Codec::default();
        let reply = b"-ERR unknown command 'PTTL', with args: '\xe2\x82\xac\xe2\x82\r\n:1\r\n";
        let mut bytes = BytesMut::from(&reply[..20]);
        assert!(matches!(codec.decode(&mut bytes), Ok(None)));
        bytes.extend_from_slice(&reply[20..]);
        let Ok(Some(Value::ServerError(error))) = codec.decode(&mut bytes) else {
            panic!("no error reply");
        };
        assert_eq!(error.code(), "ERR");
        assert_eq!(
            error.details(),
            Some("unknown command 'PTTL', with args: '\u{20ac}\u{fffd}")
        );
        assert_eq!(decode_all(&mut codec, &mut bytes), [Value::Int(1)]);
        let mut bytes = BytesMut::from(&[b'-'; LONGEST_REFUSAL][..]);
        assert!(codec.decode(&mut bytes).is_err());
    }

    #[test]
    fn an_array_of_many_elements_may_come_in_any_parts() {
        let count = 3 * MOST_ELEMENTS;
        let elements = "$1\r\nx\r\n:7\r\n".repeat(count / 2);
        let reply = format!("*2\r\n$1\r\n0\r\n*{count}\r\n{elements}");
        let expected = redis::parse_redis_value(reply.as_bytes()).expect("an array");
        for size in [reply.len(), 100_001, 5000] {
            let mut codec = Codec::default();
            let mut bytes = BytesMut::new();
            let mut values = Vec::new();
            for part in reply.as_bytes().chunks(size) {
                bytes.extend_from_slice(part);
                values.append(&mut decode_all(&mut codec, &mut bytes));
                let kept = codec.array.iter().flat_map(|partial| &partial.open);
                let kept: usize = kept.map(|array| array.values.capacity()).sum();
                assert!(kept <= 2 * MOST_ELEMENTS);
            }
            assert!(values == [expected.clone()] && bytes.is_empty());
        }
    }

    #[test]
    fn damaged_replies_are_errors() {
        for damaged in [
            &b"$3\r\nabcd\r\n"[..],
            b"$x\r\nabc\r\n",
            b":1x\r\n",
            b"$99999999999999999999999999\r\n",
            b"?what\r\n",
            b"*2\r\n:1\r\n$x\r\n",
            b"*x\r\n",
            b":1\rX\r\n",
            // What the redis crate takes for nil, together with the reply behind it.
            b"_\x0f\n:1\r\n",
            b"_\r\x02:1\r\n",
            b"_\r\x02",
            b"_x\r\n",
            b"*2\r\n:1\r\n_\r\x02:1\r\n",
        ] {
            let mut bytes = BytesMut::from(damaged);
            let result = Codec::default().decode(&mut bytes);
            assert!(result.is_err(), "{:?}", String::from_utf8_lossy(damaged));
        }
    }

    #[test]
    fn the_room_of_a_long_reply_is_not_kept() {
        let text = "x".repeat(4 * MOST_ROOM);
        for begin in ["$", "*1\r\n$"] {
            let reply = format!("{begin}{}\r\n{text}\r\n:1\r\n", text.len());
            let mut bytes = BytesMut::from(reply.as_bytes());
            let mut codec = Codec::default();
            assert!(matches!(codec.decode(&mut bytes), Ok(Some(_))));
            assert_eq!(&bytes[..], b":1\r\n");
            bytes.clear();
            // What has been passed counts again when room is asked for.
            assert!(!bytes.try_reclaim(MOST_ROOM));
        }
    }

    #[test]
    fn an_announcement_is_not_believed_before_it_comes_true() {
        let mut bytes = BytesMut::from(&b"$500000000\r\nabc"[..]);
        assert!(matches!(Codec::default().decode(&mut bytes), Ok(None)));
        assert!(bytes.capacity() < 2 * MOST_ROOM);
        let mut bytes = BytesMut::from(&b"*500000000\r\n$1\r\na\r\n"[..]);
        assert!(matches!(Codec::default().decode(&mut bytes), Ok(None)));
        assert!(bytes.capacity() < 2 * MOST_ROOM);
    }
}
