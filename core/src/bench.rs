//! The hot paths, for `cargo bench` (`core/benches/hot_paths.rs`).

pub use crate::connection::bench::{decode, encode, slot};
pub use crate::session::bench::in_force;

use crate::cache::{Cache, CacheOptions, Entry, TrackedLink};
use crate::stats::{StoreStats, Tally};
use std::sync::Arc;
use std::time::Duration;

/// A cache on a connection.
#[derive(Debug)]
pub struct BenchCache {
    cache: Arc<Cache>,
    _line: TrackedLink,
}

impl Default for BenchCache {
    fn default() -> Self {
        let cache = Arc::new(Cache::new(
            CacheOptions {
                max_bytes: 64 << 20,
                max_entries: 10_000,
                max_staleness: Duration::from_secs(3600),
            },
            Arc::default(),
        ));
        let _line = cache.begin(true);
        Self { cache, _line }
    }
}

impl BenchCache {
    pub fn fill(&self, key: &[u8], text: &[u8]) {
        let entry = Entry {
            text: text.into(),
            ends: None,
            until: None,
            in_force: None,
            clock: Default::default(),
        };
        self.cache.fill(self.cache.ticket(), key, entry);
    }

    pub fn look_up(&self, key: &[u8]) -> bool {
        self.cache.look_up(key).is_some()
    }
}

/// The statistics of a store.
#[derive(Debug, Default)]
pub struct BenchStats(StoreStats);

impl BenchStats {
    /// Records a batch of `count` operations that complete together.
    pub fn record(&self, count: usize) {
        let mut tally = Tally::default();
        for _ in 0..count {
            tally.add(2);
        }
        self.0.record(&tally, Duration::from_micros(70));
    }
}
