//! What is kept, within its bounds.

use crate::session::Clock;
use quick_cache::unsync;
use quick_cache::{Lifecycle, OptionsBuilder, Weighter};
use std::fmt;
use std::hash::RandomState;
use std::sync::Arc;
use std::time::Instant;

/// What an entry takes beside its key and its text: two allocations, its place in the tables.
const ENTRY_BYTES: u64 = 224;

/// A stored session.
#[derive(PartialEq, Eq)]
pub(crate) struct Entry {
    pub text: Box<[u8]>,
    /// When the key ends, in milliseconds since 1970 by the clock of the machine; `None` for never.
    pub ends: Option<u64>,
    /// The same by the steady clock.
    pub until: Option<Instant>,
    /// The end that goes in the place of the one in the text, where that is another, by the clock of JavaScript.
    pub in_force: Option<u64>,
    /// That clock.
    pub clock: Clock,
}

impl fmt::Debug for Entry {
    /// Its size alone: it is a session.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.text.len())
    }
}

/// An entry that is not kept any more, and its key. To be dropped when the lock is free.
pub(super) type Removed = (Box<[u8]>, Arc<Entry>);

/// Sessions by their keys: of more than there is room for, those that were asked for least.
pub(super) struct Entries {
    max_bytes: u64,
    max_entries: u64,
    kept: Kept,
    /// What they take.
    bytes: u64,
    evictions: u64,
}

pub(super) type Kept = unsync::Cache<Box<[u8]>, Arc<Entry>, Weight, RandomState, Evictions>;

impl Entries {
    pub(super) fn new(max_bytes: u64, max_entries: u64) -> Self {
        Self {
            max_bytes,
            max_entries,
            kept: empty(max_bytes, max_entries),
            bytes: 0,
            evictions: 0,
        }
    }

    pub(super) fn get(&self, key: &[u8]) -> Option<Arc<Entry>> {
        self.kept.get(key).map(Arc::clone)
    }

    /// Puts one in, if it is not too large; gives what had to make room.
    pub(super) fn insert(&mut self, key: &[u8], entry: Entry) -> Vec<Removed> {
        let mut removed = Vec::new();
        let size_of_new = size(key, &entry);
        if size_of_new > self.max_bytes {
            return removed;
        }
        self.kept
            .insert_with_lifecycle(key.into(), Arc::new(entry), &mut removed);
        self.bytes += size_of_new;
        self.bytes -= removed.iter().map(|(key, old)| size(key, old)).sum::<u64>();
        // What was kept under the same key is among them.
        let evictions = removed.iter().filter(|(other, _)| **other != *key).count();
        self.evictions += evictions as u64;
        removed
    }

    pub(super) fn remove(&mut self, key: &[u8]) -> Option<Removed> {
        let removed = self.kept.remove(key)?;
        self.bytes -= size(&removed.0, &removed.1);
        Some(removed)
    }

    /// Takes out all, to be dropped when the lock is free.
    pub(super) fn clear(&mut self) -> Kept {
        self.bytes = 0;
        std::mem::replace(&mut self.kept, empty(self.max_bytes, self.max_entries))
    }

    pub(super) fn len(&self) -> usize {
        self.kept.len()
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn evictions(&self) -> u64 {
        self.evictions
    }
}

/// The bytes that an entry takes.
fn size(key: &[u8], entry: &Entry) -> u64 {
    key.len() as u64 + entry.text.len() as u64 + ENTRY_BYTES
}

/// Bytes, or more, so that no more than the wanted number of entries fit.
#[derive(Clone)]
pub(super) struct Weight {
    least: u64,
}

impl Weighter<Box<[u8]>, Arc<Entry>> for Weight {
    fn weight(&self, key: &Box<[u8]>, entry: &Arc<Entry>) -> u64 {
        size(key, entry).max(self.least)
    }
}

#[derive(Clone)]
pub(super) struct Evictions;

impl Lifecycle<Box<[u8]>, Arc<Entry>> for Evictions {
    /// To be dropped when the lock is free.
    type RequestState = Vec<(Box<[u8]>, Arc<Entry>)>;

    fn on_evict(&self, evicted: &mut Self::RequestState, key: Box<[u8]>, entry: Arc<Entry>) {
        evicted.push((key, entry));
    }
}

fn empty(max_bytes: u64, max_entries: u64) -> Kept {
    let most = max_entries.max(1);
    let weight = Weight {
        least: max_bytes / most,
    };
    // Where the number of entries may be what bounds them, a remainder would have room for one more.
    let capacity = if weight.least > ENTRY_BYTES {
        weight.least * most
    } else {
        max_bytes
    };
    // What is expected bounds the list of keys that were evicted lately, no memory is taken for it.
    let expected = (capacity / 1024).clamp(16, max_entries.max(16));
    let mut options = OptionsBuilder::new();
    options
        .estimated_items_capacity(usize::try_from(expected).unwrap_or(usize::MAX))
        .weight_capacity(capacity);
    // Ordinarily a part is set aside for those that have yet to be asked for twice, and no entry may be
    // larger than the rest: a single one has to have all.
    if most == 1 {
        options.hot_allocation(1.0);
    }
    match options.build() {
        Ok(options) => Kept::with_options(options, weight, RandomState::new(), Evictions),
        // Only what is left out can be missing, and nothing is.
        Err(_) => Kept::with(16, capacity, weight, RandomState::new(), Evictions),
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
    fn they_stay_within_their_bounds() {
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
    fn few_may_be_kept_and_no_more() {
        for most in (1..=40).chain([100, 3000]) {
            let mut entries = Entries::new(1_000_003, most);
            for number in 0..most * 3 {
                let key = number.to_string();
                entries.insert(key.as_bytes(), entry("text"));
                assert!(entries.get(key.as_bytes()).is_some(), "of {most}");
            }
            assert_eq!(entries.len() as u64, most);
            assert_eq!(entries.evictions(), most * 2);
        }
    }

    #[test]
    fn bytes_are_those_of_the_entries() {
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
    fn what_is_replaced_was_not_evicted() {
        let mut entries = Entries::new(10_000, 3);
        for text in ["one", "two", "three"] {
            entries.insert(b"k", entry(text));
        }
        assert_eq!((entries.len(), entries.evictions()), (1, 0));
    }
}
