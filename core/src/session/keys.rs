//! From ids to keys and back.

/// The keys of one prefix: `prefix + id`, as connect-redis makes them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Keys {
    prefix: Vec<u8>,
    /// The prefix as a glob that matches nothing else.
    pattern: Vec<u8>,
}

impl Keys {
    pub(super) fn new(prefix: &str) -> Self {
        let mut pattern = Vec::with_capacity(prefix.len());
        for byte in prefix.bytes() {
            // The characters that Redis's glob matching gives a meaning.
            if matches!(byte, b'*' | b'?' | b'[' | b']' | b'\\') {
                pattern.push(b'\\');
            }
            pattern.push(byte);
        }
        Self {
            prefix: prefix.as_bytes().to_vec(),
            pattern,
        }
    }

    pub(super) fn key(&self, id: &[u8]) -> Vec<u8> {
        [&self.prefix, id].concat()
    }

    /// The same, in the room of another key.
    pub(super) fn key_into(&self, id: &[u8], key: &mut Vec<u8>) {
        key.clear();
        key.extend_from_slice(&self.prefix);
        key.extend_from_slice(id);
    }

    /// Matches the keys that are the prefix, taken literally, and what matches `ids`, a glob.
    pub(super) fn pattern(&self, ids: &[u8]) -> Vec<u8> {
        [&self.pattern, ids].concat()
    }

    /// The id in a key; `None` for a key of somebody else.
    pub(super) fn id<'key>(&self, key: &'key [u8]) -> Option<&'key [u8]> {
        key.strip_prefix(self.prefix.as_slice())
    }

    /// The same, in the key's own room. A key of somebody else stays as it is.
    pub(super) fn strip(&self, mut key: Vec<u8>) -> Vec<u8> {
        if key.starts_with(&self.prefix) {
            key.drain(..self.prefix.len());
        }
        key
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_the_prefix_and_the_id() {
        let keys = Keys::new("sess:");
        assert_eq!(keys.key(b"abc"), b"sess:abc");
        assert_eq!(keys.id(b"sess:abc"), Some(&b"abc"[..]));
        assert_eq!(keys.id(b"other:abc"), None);
        assert_eq!(Keys::new("").key(b""), b"");
    }

    #[test]
    fn patterns_take_the_prefix_literally() {
        assert_eq!(Keys::new(r"a*?[b]\:").pattern(b"*"), br"a\*\?\[b\]\\:*");
        assert_eq!(Keys::new("é").pattern(b"[ab]?"), "é[ab]?".as_bytes());
    }
}
