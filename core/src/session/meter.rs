//! Measures operations: records their statistics when they complete.

use super::completion::Completion;
use super::request::Name;
use crate::connection::Counters;
use crate::stats::{StoreStats, Tally};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::time::Instant;

/// The start of operations that were issued together, and where their statistics are recorded.
#[derive(Clone)]
pub(super) struct Meter {
    pub(super) stats: Arc<StoreStats>,
    pub(super) counters: Arc<Counters>,
    pub(super) since: Instant,
}

impl Meter {
    /// Counts operations that begin.
    pub(super) fn begin(&self, count: usize) {
        self.counters.pending.fetch_add(count, Ordering::Relaxed);
    }

    /// Records operations that complete at `now`. `count` is the number of their requests.
    pub(super) fn end(&self, count: usize, tally: &Tally, now: Instant) {
        self.counters.pending.fetch_sub(count, Ordering::Relaxed);
        let latency = now.saturating_duration_since(self.since);
        self.stats.record(tally, latency);
    }
}

/// Counts a completion, if it ends an operation: after a conflict, or a page of several, another request continues it.
pub(super) fn count(tally: &mut Tally, name: Name, completion: &Completion) {
    let continues = match completion {
        Completion::Conflict(_) => true,
        // The app's own time lies between the pages of a `scan`, so each counts.
        Completion::More => name != Name::Scan,
        _ => false,
    };
    if !continues {
        tally.add(name as usize);
    }
}
