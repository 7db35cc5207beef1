//! The keys that a scan has returned: `SCAN` may return a key several times.

use nohash_hasher::IntSet;
use std::hash::{BuildHasher, RandomState};

const SHARDS: usize = 256;

/// A set of keys by their 64-bit hashes: 20 MB for a million. The probability that any two of a million keys share a
/// hash, so that one of them is missed, is 3 in 100 million.
///
/// The shards grow one at a time: growth never copies all hashes at once, which would take time and twice the memory.
#[derive(Debug)]
pub(super) struct SeenKeys {
    hashing: RandomState,
    shards: Vec<IntSet<u64>>,
}

impl Default for SeenKeys {
    fn default() -> Self {
        Self {
            hashing: RandomState::new(),
            shards: vec![IntSet::default(); SHARDS],
        }
    }
}

impl SeenKeys {
    /// Removes the keys that were seen before, and adds the others to the set.
    pub(super) fn retain_new(&mut self, keys: &mut Vec<Vec<u8>>) {
        // A loop of its own: each look-up waits for memory, and with nothing else in between, the CPU overlaps
        // many of these waits.
        let hashes: Vec<u64> = keys.iter().map(|key| self.hashing.hash_one(key)).collect();
        let are_new: Vec<bool> = hashes.iter().map(|&hash| self.insert(hash)).collect();
        let mut are_new = are_new.into_iter();
        keys.retain(|_| are_new.next().unwrap_or(true));
    }

    fn insert(&mut self, hash: u64) -> bool {
        // Uses bits that a set of this size does not use for the position of a hash.
        let shard = (hash >> 40) as usize % SHARDS;
        self.shards[shard].insert(hash)
    }

    pub(super) fn len(&self) -> usize {
        self.shards.iter().map(IntSet::len).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_returned_once() {
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
