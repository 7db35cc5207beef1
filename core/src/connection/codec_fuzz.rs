//! Decoding of replies, compared with the redis crate.

use super::codec::Codec;
use redis::{RedisError, Value, ValueCodec};
use tokio_util::bytes::{Buf, BytesMut};
use tokio_util::codec::Decoder;

/// The result of decoding a stream: its replies, and the error that ended it.
type Decoded = (Vec<Value>, Option<RedisError>);

/// Decodes a stream that arrives in chunks.
fn decode<'a, D>(codec: &mut D, chunks: impl Iterator<Item = &'a [u8]>) -> Decoded
where
    D: Decoder<Item = Value, Error = RedisError>,
{
    let mut bytes = BytesMut::new();
    let mut values = Vec::new();
    for chunk in chunks {
        bytes.extend_from_slice(chunk);
        loop {
            let before = bytes.len();
            match codec.decode(&mut bytes) {
                Ok(Some(value)) => {
                    assert!(bytes.len() < before, "a reply takes bytes");
                    values.push(value);
                }
                Ok(None) => break,
                Err(error) => return (values, Some(error)),
            }
        }
    }
    (values, None)
}

/// The first byte of the input determines the sizes of the chunks, the rest is the stream.
pub fn run(input: &[u8]) {
    let Some((&seed, stream)) = input.split_first() else {
        return;
    };
    let (values, error) = decode(&mut Codec::default(), [stream].into_iter());

    let mut rest = stream;
    let mut state = u32::from(seed);
    let chunks = std::iter::from_fn(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let most = usize::from(seed % 32) + 1;
        let size = ((state >> 16) as usize % most + 1).min(rest.len());
        let chunk = &rest[..size];
        rest.advance(size);
        (!chunk.is_empty()).then_some(chunk)
    });
    let (in_chunks, error_in_chunks) = decode(&mut Codec::default(), chunks);
    // A damaged stream may fail later in chunks: the redis crate skips an unknown type at the end of what has arrived.
    if error.is_none() {
        assert!(error_in_chunks.is_none());
        assert_eq!(text(&values), text(&in_chunks));
    }
    assert!(text(&in_chunks).starts_with(&text(&values)));

    let (expected, expected_error) = decode(&mut ValueCodec::default(), [stream].into_iter());
    let same = values.len().min(expected.len());
    assert_eq!(text(&values[..same]), text(&expected[..same]));
    if values.len() > same {
        // The redis crate requires UTF-8 in error replies.
        assert!(expected_error.is_some() && matches!(values[same], Value::ServerError(_)));
    } else if expected.len() > same {
        // It accepts a nil with any text, and simple strings with half a line end.
        let error = error.map(|error| error.to_string()).unwrap_or_default();
        assert!(error.contains("line without an end"), "{error}");
    }
}

/// Returns a text that is equal for equal values: NaN differs from itself.
fn text(values: &[Value]) -> String {
    values.iter().map(|value| format!("{value:?}\n")).collect()
}
