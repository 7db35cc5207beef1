//! Which keys a walk has seen: `SCAN` may give one several times.

use std::collections::HashSet;
use std::hash::{BuildHasher, BuildHasherDefault, Hasher, RandomState};

const SHARDS: usize = 256;

/// Keys by 64-bit hashes: 20 MB for a million. Among as many, two share one, and one is taken for the
/// other, with a probability of 3 in 100 million.
///
/// Shards grow one by one: no growth copies all at once, which would take time and twice the memory.
#[derive(Debug)]
pub(super) struct SeenKeys {
    hashing: RandomState,
    shards: Vec<HashSet<u64, BuildHasherDefault<Ready>>>,
}

impl Default for SeenKeys {
    fn default() -> Self {
        Self {
            hashing: RandomState::new(),
            shards: vec![HashSet::default(); SHARDS],
        }
    }
}

impl SeenKeys {
    /// Leaves the keys that are new.
    pub(super) fn retain_new(&mut self, keys: &mut Vec<Vec<u8>>) {
        // Apart from what else is done with a key: so close together, many of the look-ups, each of which waits for
        // memory, wait at once.
        let hashes: Vec<u64> = keys.iter().map(|key| self.hashing.hash_one(key)).collect();
        let are_new: Vec<bool> = hashes.iter().map(|&hash| self.insert(hash)).collect();
        let mut are_new = are_new.into_iter();
        keys.retain(|_| are_new.next().unwrap_or(true));
    }

    fn insert(&mut self, hash: u64) -> bool {
        // Bits that a set of its size does not place its hashes by.
        let shard = (hash >> 40) as usize % SHARDS;
        self.shards[shard].insert(hash)
    }

    pub(super) fn len(&self) -> usize {
        self.shards.iter().map(HashSet::len).sum()
    }
}

/// Takes hashes as they are.
#[derive(Debug, Default)]
struct Ready(u64);

impl Hasher for Ready {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_new_once() {
        let mut seen = SeenKeys::default();
        let keys = |numbers: std::ops::Range<usize>| -> Vec<Vec<u8>> {
            numbers
                .map(|number| format!("sess:{number}").into_bytes())
                .collect()
        };
        let mut first = keys(0..100_000);
        seen.retain_new(&mut first);
        assert_eq!(first, keys(0..100_000));

        let mut next = [keys(99_990..100_010), keys(100_005..100_006)].concat();
        seen.retain_new(&mut next);
        assert_eq!(next, keys(100_000..100_010));
        assert_eq!(seen.len(), 100_010);
    }
}
