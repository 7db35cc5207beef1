//! Hot paths of a connection, for `cargo bench`.

pub use super::cluster::bench::slot;
use super::codec::Codec;
use super::commands::{Access, Commands, Expect};
use tokio_util::bytes::BytesMut;
use tokio_util::codec::Decoder;

/// Decodes a stream of replies. Returns their number.
pub fn decode(stream: &[u8]) -> usize {
    let mut codec = Codec::default();
    let mut bytes = BytesMut::from(stream);
    std::iter::from_fn(|| codec.decode(&mut bytes).ok().flatten()).count()
}

/// Encodes the commands of a `get` and a `set`. Returns their length.
pub fn encode(key: &[u8], text: &[u8]) -> usize {
    let mut commands = Commands::with_capacity(3, text.len() + 256);
    commands.add(Access::Read, Expect::Text, Some(1), &[b"GET", key]);
    commands.add_companion(Access::Read, Expect::Integer, Some(1), &[b"PTTL", key]);
    let words: [&[u8]; 5] = [b"SET", key, text, b"PX", b"86400000"];
    commands.add(Access::Write, Expect::Okay, Some(1), &words);
    commands.all_bytes().len()
}
