//! Decodes RESP replies.
//!
//! The redis crate's codec decodes the whole protocol, at a cost that shows at hundreds of thousands of replies. Nearly
//! all replies to a session store are bulk strings, integers, `OK`, nil, and arrays of these from `SCAN`: this module
//! decodes them itself, and leaves everything else to the general codec.

use redis::{ErrorKind, RedisError, Value, ValueCodec};
use tokio_util::bytes::{Buf, BytesMut};
use tokio_util::codec::Decoder;

/// The longest line of a length or an integer: type, sign, digits and line end.
const MAX_LINE: usize = 24;
/// The longest error reply. Redis quotes 128 bytes of a command; scripts and modules have longer messages.
const MAX_ERROR: usize = 64 * 1024;
/// The longest bulk string: Redis's default limit.
const MAX_BULK: usize = 512 * 1024 * 1024;
/// The most capacity reserved in advance for a reply: its announced length may be corrupt. It is also the most that is
/// kept for the next reply.
const MAX_RESERVE: usize = 1024 * 1024;

/// The deepest nesting of arrays: the reply to `SCAN` contains an array.
const MAX_DEPTH: usize = 2;
/// The most elements reserved in advance, for the same reason. It also bounds the decoded elements of an incomplete
/// array: they may take many times the memory of their bytes.
const MAX_ELEMENTS: usize = 16 * 1024;

/// The decoder of a link.
#[derive(Default)]
pub(super) struct Codec {
    general: ValueCodec,
    /// True while the general codec holds a part of a reply.
    is_in_general: bool,
    /// The received part of an incomplete array.
    array: Option<PartialArray>,
}

/// The received part of an array. Its bytes stay in the buffer until it is complete: the general codec may have to
/// decode them from the start.
#[derive(Default)]
struct PartialArray {
    /// The position of the next element in the buffer.
    position: usize,
    /// The incomplete arrays, the innermost last.
    open: Vec<OpenArray>,
    /// The number of elements received.
    received: usize,
    /// True if the elements are too many to be kept: they are only counted, and decoded once all have arrived.
    only_counts: bool,
}

struct OpenArray {
    values: Vec<Value>,
    remaining: usize,
}

impl PartialArray {
    /// Opens an array of `length` elements.
    fn open(&mut self, length: usize) {
        let capacity = if self.only_counts { 0 } else { length };
        self.open.push(OpenArray {
            values: Vec::with_capacity(capacity.min(MAX_ELEMENTS)),
            remaining: length,
        });
    }

    /// Adds an element to the innermost array.
    fn push(&mut self, element: Element<'_>) {
        if let Some(array) = self.open.last_mut() {
            if !self.only_counts {
                array.values.push(element.value());
            }
            array.remaining = array.remaining.saturating_sub(1);
            self.received += 1;
        }
    }

    /// Returns the state to keep until more bytes arrive.
    fn suspend(mut self) -> Option<Self> {
        if self.received > MAX_ELEMENTS && !self.only_counts {
            self.only_counts = true;
            for array in &mut self.open {
                array.values = Vec::new();
            }
        }
        Some(self)
    }

    /// Moves complete arrays into the arrays around them. Returns the outermost once it is complete.
    fn close(&mut self) -> Option<Value> {
        while let Some(array) = self.open.pop_if(|array| array.remaining == 0) {
            let value = Value::Array(array.values);
            if self.open.is_empty() {
                return Some(value);
            }
            self.push(Element::Value(value));
        }
        None
    }
}

/// The result of parsing the start of the buffer.
enum Parsed<T> {
    /// A complete item, and its length in bytes.
    Complete(T, usize),
    /// An incomplete item, and the length that the buffer needs at least.
    Incomplete(usize),
    /// The first line is incomplete.
    NeedsLine,
    /// An item for the general codec.
    Other,
    /// No reply, though the general codec may take it for one, together with what follows.
    Damaged,
}

impl Decoder for Codec {
    type Item = Value;
    type Error = RedisError;

    fn decode(&mut self, bytes: &mut BytesMut) -> Result<Option<Value>, RedisError> {
        if !self.is_in_general {
            let reply = if bytes.first() == Some(&b'*') {
                self.array(bytes)
            } else {
                parse_element(bytes).map(Element::value)
            };
            match reply {
                Parsed::Complete(value, length) => {
                    bytes.advance(length);
                    if length > MAX_RESERVE {
                        shrink(bytes);
                    }
                    return Ok(Some(value));
                }
                Parsed::Incomplete(length) => {
                    bytes.reserve((length - bytes.len()).min(MAX_RESERVE));
                    return Ok(None);
                }
                Parsed::NeedsLine => return Ok(None),
                Parsed::Damaged => {
                    return Err((
                        ErrorKind::Parse,
                        "an unknown type, or a line without an end",
                    )
                        .into());
                }
                Parsed::Other if bytes.first() == Some(&b'-') => return error_reply(bytes),
                Parsed::Other => {}
            }
        }
        let value = self.general.decode(bytes)?;
        self.is_in_general = value.is_none();
        Ok(value)
    }

    fn decode_eof(&mut self, bytes: &mut BytesMut) -> Result<Option<Value>, RedisError> {
        // Ignores an incomplete reply: the caller sees the closed connection next.
        self.decode(bytes)
    }
}

impl Codec {
    /// Parses an array, as far as it has arrived.
    fn array(&mut self, bytes: &[u8]) -> Parsed<Value> {
        let mut partial = self.array.take().unwrap_or_default();
        loop {
            match parse_element(&bytes[partial.position..]) {
                Parsed::Complete(Element::Array(_), _) if partial.open.len() == MAX_DEPTH => {
                    return Parsed::Other;
                }
                Parsed::Complete(element, size) => {
                    partial.position += size;
                    match element {
                        Element::Array(length) => partial.open(length),
                        element => partial.push(element),
                    }
                }
                Parsed::Incomplete(size) => {
                    let size = partial.position + size;
                    self.array = partial.suspend();
                    return Parsed::Incomplete(size);
                }
                Parsed::NeedsLine => {
                    self.array = partial.suspend();
                    return Parsed::NeedsLine;
                }
                Parsed::Other => return Parsed::Other,
                Parsed::Damaged => return Parsed::Damaged,
            }
            if let Some(value) = partial.close() {
                if partial.only_counts {
                    partial = PartialArray::default();
                    continue;
                }
                return Parsed::Complete(value, partial.position);
            }
        }
    }
}

/// Decodes an error reply. It may quote a command, cut off in the middle of a character, and the redis crate requires
/// UTF-8.
fn error_reply(bytes: &mut BytesMut) -> Result<Option<Value>, RedisError> {
    let Some(end) = bytes.windows(2).position(|two| two == b"\r\n") else {
        return if bytes.len() < MAX_ERROR {
            Ok(None)
        } else {
            Err((ErrorKind::Parse, "an error reply without an end").into())
        };
    };
    let line = bytes.split_to(end + 2);
    redis::parse_redis_value(String::from_utf8_lossy(&line).as_bytes()).map(Some)
}

/// Reduces the buffer to the capacity that its unread bytes need.
fn shrink(bytes: &mut BytesMut) {
    *bytes = BytesMut::from(&bytes[..]);
}

/// An element of the protocol that needs no general codec.
enum Element<'a> {
    Value(Value),
    Bulk(&'a [u8]),
    /// The header of an array of this many elements.
    Array(usize),
}

impl Element<'_> {
    fn value(self) -> Value {
        match self {
            Self::Value(value) => value,
            Self::Bulk(text) => Value::BulkString(text.to_vec()),
            // Not reached: arrays have a path of their own.
            Self::Array(_) => Value::Array(Vec::new()),
        }
    }
}

impl<T> Parsed<T> {
    fn map<U>(self, change: impl FnOnce(T) -> U) -> Parsed<U> {
        match self {
            Self::Complete(value, length) => Parsed::Complete(change(value), length),
            Self::Incomplete(length) => Parsed::Incomplete(length),
            Self::NeedsLine => Parsed::NeedsLine,
            Self::Other => Parsed::Other,
            Self::Damaged => Parsed::Damaged,
        }
    }
}

/// Parses one element: a value, a bulk string or the header of an array.
fn parse_element(bytes: &[u8]) -> Parsed<Element<'_>> {
    let Some(&kind) = bytes.first() else {
        return Parsed::NeedsLine;
    };
    match kind {
        b'$' | b':' | b'+' | b'_' | b'*' => {}
        b'-' | b'%' | b'>' | b'~' | b'|' | b',' | b'#' | b'(' | b'!' | b'=' => {
            return Parsed::Other;
        }
        // The redis crate skips an unknown type if nothing has arrived behind it.
        _ => return Parsed::Damaged,
    }
    if kind == b'_' && bytes.get(1).is_some_and(|&byte| byte != b'\r') {
        return Parsed::Damaged;
    }
    let line = &bytes[1..bytes.len().min(MAX_LINE)];
    let Some(end) = line.iter().position(|&byte| byte == b'\r') else {
        // The general codec handles a longer line, or a malformed one.
        return if bytes.len() < MAX_LINE {
            Parsed::NeedsLine
        } else {
            Parsed::Other
        };
    };
    // After the type, the text and the line end.
    let body = end + 3;
    match bytes.get(body - 1) {
        None => return Parsed::NeedsLine,
        Some(b'\n') => {}
        Some(_) => return Parsed::Damaged,
    }
    let text = &line[..end];
    let number = || std::str::from_utf8(text).ok()?.parse::<i64>().ok();
    let length = || number().and_then(|length| usize::try_from(length).ok());
    let value = |value| Parsed::Complete(Element::Value(value), body);
    match (kind, text) {
        (b'_', b"") | (b'$', b"-1") => value(Value::Nil),
        (b'+', b"OK") => value(Value::Okay),
        (b':', _) => number().map_or(Parsed::Other, |number| value(Value::Int(number))),
        (b'$', _) => match length() {
            Some(length) if length <= MAX_BULK => parse_bulk(bytes, body, length),
            _ => Parsed::Other,
        },
        (b'*', _) => match length() {
            // The redis crate accepts more elements than a buffer has bytes.
            Some(length) if length <= MAX_BULK => Parsed::Complete(Element::Array(length), body),
            _ => Parsed::Other,
        },
        _ => Parsed::Other,
    }
}

/// Parses the content of a bulk string, which starts at `start`.
fn parse_bulk(bytes: &[u8], start: usize, length: usize) -> Parsed<Element<'_>> {
    let end = start + length;
    match bytes.get(end..end + 2) {
        Some(b"\r\n") => Parsed::Complete(Element::Bulk(&bytes[start..end]), end + 2),
        // The general codec reports the error.
        Some(_) => Parsed::Other,
        None => Parsed::Incomplete(end + 2),
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

    /// Decodes the same bytes with the redis crate.
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
    fn decode_returns_the_same_replies_as_the_redis_crate() {
        let mut bytes = BytesMut::from(REPLIES);
        assert_eq!(decode_all(&mut Codec::default(), &mut bytes), expected());
        assert!(bytes.is_empty());
    }

    #[test]
    fn decode_returns_the_same_replies_when_bytes_arrive_in_parts() {
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
    fn array_parses_nested_arrays_of_simple_values_without_the_general_codec() {
        let simple = b"*2\r\n$2\r\n17\r\n*3\r\n$1\r\na\r\n:5\r\n*0\r\n";
        let mut codec = Codec::default();
        assert!(matches!(codec.array(simple), Parsed::Other), "three deep");
        let simple = b"*2\r\n$2\r\n17\r\n*3\r\n$1\r\na\r\n:5\r\n$-1\r\n";
        for end in 0..simple.len() {
            let reply = codec.array(&simple[..end]);
            assert!(matches!(reply, Parsed::Incomplete(_) | Parsed::NeedsLine));
        }
        let text = |text: &str| Value::BulkString(text.into());
        let inner = Value::Array(vec![text("a"), Value::Int(5), Value::Nil]);
        let expected = Value::Array(vec![text("17"), inner]);
        let Parsed::Complete(value, length) = codec.array(simple) else {
            panic!("parsed by the general codec");
        };
        assert_eq!((value, length), (expected, simple.len()));
        // The second element needs the general codec, the first does not.
        assert!(matches!(
            codec.array(b"*2\r\n:1\r\n-ERR no\r\n"),
            Parsed::Other
        ));
        assert!(matches!(codec.array(b"*-1\r\n"), Parsed::Other));
    }

    #[test]
    fn decode_accepts_an_error_reply_that_ends_within_a_character() {
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
        let mut bytes = BytesMut::from(&[b'-'; MAX_ERROR][..]);
        assert!(codec.decode(&mut bytes).is_err());
    }

    #[test]
    fn decode_keeps_few_elements_of_a_long_array_that_arrives_in_parts() {
        let count = 3 * MAX_ELEMENTS;
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
                assert!(kept <= 2 * MAX_ELEMENTS);
            }
            assert!(values == [expected.clone()] && bytes.is_empty());
        }
    }

    #[test]
    fn decode_fails_when_a_reply_is_malformed() {
        for malformed in [
            &b"$3\r\nabcd\r\n"[..],
            b"$x\r\nabc\r\n",
            b":1x\r\n",
            b"$99999999999999999999999999\r\n",
            b"?what\r\n",
            b"?",
            b"*2\r\n:1\r\n$x\r\n",
            b"*x\r\n",
            b":1\rX\r\n",
            // The redis crate parses these as nil, together with the reply that follows.
            b"_\x0f\n:1\r\n",
            b"_\r\x02:1\r\n",
            b"_\r\x02",
            b"_x\r\n",
            b"*2\r\n:1\r\n_\r\x02:1\r\n",
        ] {
            let mut bytes = BytesMut::from(malformed);
            let result = Codec::default().decode(&mut bytes);
            assert!(result.is_err(), "{:?}", String::from_utf8_lossy(malformed));
        }
    }

    #[test]
    fn decode_shrinks_the_buffer_after_a_long_reply() {
        let text = "x".repeat(4 * MAX_RESERVE);
        for begin in ["$", "*1\r\n$"] {
            let reply = format!("{begin}{}\r\n{text}\r\n:1\r\n", text.len());
            let mut bytes = BytesMut::from(reply.as_bytes());
            let mut codec = Codec::default();
            assert!(matches!(codec.decode(&mut bytes), Ok(Some(_))));
            assert_eq!(&bytes[..], b":1\r\n");
            bytes.clear();
            // `try_reclaim` also counts the capacity before the read position.
            assert!(!bytes.try_reclaim(MAX_RESERVE));
        }
    }

    #[test]
    fn decode_does_not_reserve_the_announced_length_in_advance() {
        let mut bytes = BytesMut::from(&b"$500000000\r\nabc"[..]);
        assert!(matches!(Codec::default().decode(&mut bytes), Ok(None)));
        assert!(bytes.capacity() < 2 * MAX_RESERVE);
        let mut bytes = BytesMut::from(&b"*500000000\r\n$1\r\na\r\n"[..]);
        assert!(matches!(Codec::default().decode(&mut bytes), Ok(None)));
        assert!(bytes.capacity() < 2 * MAX_RESERVE);
    }
}
