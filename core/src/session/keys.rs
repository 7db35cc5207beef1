//! Converts session IDs to keys and back.

/// The keys under one prefix: `prefix + id`, as in connect-redis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Keys {
    prefix: Vec<u8>,
    /// The prefix, escaped for use in a glob pattern.
    pattern: Vec<u8>,
}

impl Keys {
    pub(super) fn new(prefix: &str) -> Self {
        let mut pattern = Vec::with_capacity(prefix.len());
        for byte in prefix.bytes() {
            // The special characters of Redis's glob patterns.
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

    pub(super) fn prefix(&self) -> &[u8] {
        &self.prefix
    }

    pub(super) fn key(&self, id: &[u8]) -> Vec<u8> {
        [&self.prefix, id].concat()
    }

    /// Writes the key to a buffer, and replaces its content.
    pub(super) fn key_into(&self, id: &[u8], key: &mut Vec<u8>) {
        key.clear();
        key.extend_from_slice(&self.prefix);
        key.extend_from_slice(id);
    }

    /// Returns the pattern of keys under the prefix whose IDs match `ids`, a glob.
    pub(super) fn pattern(&self, ids: &[u8]) -> Vec<u8> {
        [&self.pattern, ids].concat()
    }

    /// Returns the ID in a key; `None` for a key without the prefix.
    pub(super) fn id<'key>(&self, key: &'key [u8]) -> Option<&'key [u8]> {
        key.strip_prefix(self.prefix.as_slice())
    }

    /// Removes the prefix in place. A key without it is returned unchanged.
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
    fn keys_consist_of_prefix_and_id() {
        let keys = Keys::new("sess:");
        assert_eq!(keys.key(b"abc"), b"sess:abc");
        assert_eq!(keys.id(b"sess:abc"), Some(&b"abc"[..]));
        assert_eq!(keys.id(b"other:abc"), None);
        assert_eq!(Keys::new("").key(b""), b"");
    }

    #[test]
    fn patterns_match_the_prefix_literally() {
        assert_eq!(Keys::new(r"a*?[b]\:").pattern(b"*"), br"a\*\?\[b\]\\:*");
        assert_eq!(Keys::new("é").pattern(b"[ab]?"), "é[ab]?".as_bytes());
    }
}
