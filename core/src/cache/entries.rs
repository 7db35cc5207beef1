//! The entries of the cache, within its limits.

use crate::session::Clock;
use quick_cache::unsync;
use quick_cache::{Lifecycle, OptionsBuilder, Weighter};
use std::fmt;
use std::hash::RandomState;
use std::sync::Arc;
use std::time::Instant;

/// The memory of an entry in addition to its key and text: two allocations, and its place in the tables.
const ENTRY_BYTES: u64 = 224;

/// A stored session.
#[derive(PartialEq, Eq)]
pub(crate) struct Entry {
    pub text: Box<[u8]>,
    /// The end of the key, in milliseconds since 1970 by the machine's clock; `None` for never.
    pub ends: Option<u64>,
    /// The end of the key by the steady clock.
    pub until: Option<Instant>,
    /// The expiry in force if the text has another, by JavaScript's clock.
    pub in_force: Option<u64>,
    /// JavaScript's clock when the session was read.
    pub clock: Clock,
}

impl fmt::Debug for Entry {
    /// Writes only the size: the text is a session.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.text.len())
    }
}

/// A removed entry and its key. Dropped by the caller once it has released the lock.
pub(super) type Removed = (Box<[u8]>, Arc<Entry>);

/// Sessions by key. When the capacity is exceeded, the least used ones are evicted.
pub(super) struct Entries {
    max_bytes: u64,
    max_entries: u64,
    map: Map,
    /// The memory of all entries.
    bytes: u64,
    evictions: u64,
}

pub(super) type Map = unsync::Cache<Box<[u8]>, Arc<Entry>, Weight, RandomState, CollectEvicted>;

impl Entries {
    pub(super) fn new(max_bytes: u64, max_entries: u64) -> Self {
        Self {
            max_bytes,
            max_entries,
            map: empty(max_bytes, max_entries),
            bytes: 0,
            evictions: 0,
        }
    }

    pub(super) fn get(&self, key: &[u8]) -> Option<Arc<Entry>> {
        self.map.get(key).map(Arc::clone)
    }

    /// Inserts an entry, unless it exceeds the capacity. Returns the entries that were evicted or replaced.
    pub(super) fn insert(&mut self, key: &[u8], entry: Entry) -> Vec<Removed> {
        let mut removed = Vec::new();
        let size_of_new = size(key, &entry);
        if size_of_new > self.max_bytes {
            return removed;
        }
        self.map
            .insert_with_lifecycle(key.into(), Arc::new(entry), &mut removed);
        self.bytes += size_of_new;
        self.bytes -= removed.iter().map(|(key, old)| size(key, old)).sum::<u64>();
        // An entry with the same key was replaced, not evicted.
        let evictions = removed.iter().filter(|(other, _)| **other != *key).count();
        self.evictions += evictions as u64;
        removed
    }

    pub(super) fn remove(&mut self, key: &[u8]) -> Option<Removed> {
        let removed = self.map.remove(key)?;
        self.bytes -= size(&removed.0, &removed.1);
        Some(removed)
    }

    /// Removes all entries. The caller drops them once it has released the lock.
    pub(super) fn clear(&mut self) -> Map {
        self.bytes = 0;
        std::mem::replace(&mut self.map, empty(self.max_bytes, self.max_entries))
    }

    pub(super) fn len(&self) -> usize {
        self.map.len()
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn evictions(&self) -> u64 {
        self.evictions
    }
}

/// Returns the memory of an entry, in bytes.
fn size(key: &[u8], entry: &Entry) -> u64 {
    key.len() as u64 + entry.text.len() as u64 + ENTRY_BYTES
}

/// Weighs an entry by its bytes, but at least by a share of the capacity, which limits the number of entries.
#[derive(Clone)]
pub(super) struct Weight {
    min_weight: u64,
}

impl Weighter<Box<[u8]>, Arc<Entry>> for Weight {
    fn weight(&self, key: &Box<[u8]>, entry: &Arc<Entry>) -> u64 {
        size(key, entry).max(self.min_weight)
    }
}

#[derive(Clone)]
pub(super) struct CollectEvicted;

impl Lifecycle<Box<[u8]>, Arc<Entry>> for CollectEvicted {
    /// The evicted entries. Dropped by the caller once it has released the lock.
    type RequestState = Vec<(Box<[u8]>, Arc<Entry>)>;

    fn on_evict(&self, evicted: &mut Self::RequestState, key: Box<[u8]>, entry: Arc<Entry>) {
        evicted.push((key, entry));
    }
}

fn empty(max_bytes: u64, max_entries: u64) -> Map {
    let max = max_entries.max(1);
    let weight = Weight {
        min_weight: max_bytes / max,
    };
    // If the number of entries is the limit, the remainder of the division could fit one more.
    let capacity = if weight.min_weight > ENTRY_BYTES {
        weight.min_weight * max
    } else {
        max_bytes
    };
    // The expected number of items limits the list of recently evicted keys; it allocates no memory.
    let expected = (capacity / 1024).clamp(16, max_entries.max(16));
    let mut options = OptionsBuilder::new();
    options
        .estimated_items_capacity(usize::try_from(expected).unwrap_or(usize::MAX))
        .weight_capacity(capacity);
    // Normally, a part of the capacity is reserved for entries that were not yet used twice, and no entry may be
    // larger than the rest: a single entry needs the whole capacity.
    if max == 1 {
        options.hot_allocation(1.0);
    }
    match options.build() {
        Ok(options) => Map::with_options(options, weight, RandomState::new(), CollectEvicted),
        // `build` fails only for missing options, and none is missing.
        Err(_) => Map::with(16, capacity, weight, RandomState::new(), CollectEvicted),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(text: &str) -> Entry {
        Entry {
            text: text.as_bytes().into(),
            ends: None,
            until: None,
            in_force: None,
            clock: Clock::default(),
        }
    }

    #[test]
    fn entries_stay_within_the_limits_of_bytes_and_number() {
        let mut small = Entries::new(100_000, 1_000_000);
        let mut few = Entries::new(1 << 30, 10);
        for number in 0..10_000 {
            let key = format!("sess:{number}");
            small.insert(key.as_bytes(), entry(&"x".repeat(400)));
            few.insert(key.as_bytes(), entry(&"x".repeat(400)));
            assert!(small.bytes() <= 100_000);
            assert!(few.len() <= 10);
        }
        assert!(small.len() > 100);
        assert_eq!(small.evictions() + small.len() as u64, 10_000);
        assert_eq!(few.len(), 10);
        let before = small.len();
        small.insert(b"huge", entry(&"x".repeat(100_000)));
        assert_eq!(small.len(), before, "too large to keep");
    }

    #[test]
    fn entries_fill_the_limit_of_their_number_exactly() {
        for max in (1..=40).chain([100, 3000]) {
            let mut entries = Entries::new(1_000_003, max);
            for number in 0..max * 3 {
                let key = number.to_string();
                entries.insert(key.as_bytes(), entry("text"));
                assert!(entries.get(key.as_bytes()).is_some(), "of {max}");
            }
            assert_eq!(entries.len() as u64, max);
            assert_eq!(entries.evictions(), max * 2);
        }
    }

    #[test]
    fn bytes_is_the_sum_of_the_entries_sizes() {
        let mut entries = Entries::new(10_000, 3);
        let of = |length: u64| 1 + length + ENTRY_BYTES;
        entries.insert(b"a", entry("1234"));
        assert_eq!(entries.bytes(), of(4));
        entries.insert(b"a", entry("12345678"));
        assert_eq!(entries.bytes(), of(8), "replaced");
        entries.insert(b"b", entry("12"));
        entries.insert(b"c", entry("12"));
        assert_eq!(entries.bytes(), of(8) + of(2) + of(2));
        for key in [b"d", b"e", b"f", b"g"] {
            entries.insert(key, entry("12"));
        }
        let has_first = entries.get(b"a").is_some();
        assert_eq!(entries.bytes() - 3 * of(2), if has_first { 6 } else { 0 });
        entries.insert(b"h", entry(&"x".repeat(9700)));
        let before = entries.bytes();
        entries.insert(b"h", entry(&"x".repeat(10_000)));
        assert_eq!(entries.bytes(), before, "too large to keep");
        entries.clear();
        assert_eq!((entries.bytes(), entries.len()), (0, 0));
        entries.insert(b"a", entry("1234"));
        entries.insert(b"b", entry("1234"));
        assert!(entries.remove(b"a").is_some());
        assert!(entries.remove(b"a").is_none());
        assert_eq!(entries.bytes(), of(4));
    }

    #[test]
    fn a_replaced_entry_is_not_counted_as_evicted() {
        let mut entries = Entries::new(10_000, 3);
        for text in ["one", "two", "three"] {
            entries.insert(b"k", entry(text));
        }
        assert_eq!((entries.len(), entries.evictions()), (1, 0));
    }
}
