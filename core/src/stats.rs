//! The statistics of a store's operations.
//!
//! They are recorded on the runtime's thread, when a [reply guard](crate::session) completes its requests: one reading
//! of the clock and a few atomic additions per delivery, which has up to a batch of completions.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The names of the operations, in the order of their statistics.
pub const OPERATIONS: [&str; 9] = [
    "get", "set", "touch", "destroy", "all", "ids", "length", "clear", "scan",
];

/// The upper bounds of the latencies that a histogram counts together, in microseconds. It counts longer ones as well.
pub const BOUNDS_MICROS: [u64; 17] = [
    50, 100, 250, 500, 1000, 2500, 5000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
    1_000_000, 2_500_000, 5_000_000, 10_000_000,
];
const BUCKETS: usize = BOUNDS_MICROS.len() + 1;

/// The statistics of one operation.
#[derive(Debug, Default)]
struct Cell {
    nanos: AtomicU64,
    counts: [AtomicU64; BUCKETS],
}

/// The statistics of a store's operations.
#[derive(Debug, Default)]
pub(crate) struct StoreStats {
    cells: [Cell; OPERATIONS.len()],
}

/// The statistics of one operation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OperationFigures {
    /// The sum of all latencies.
    pub sum: Duration,
    /// The number of operations up to each bound, and that of the others. Not cumulative.
    pub counts: [u64; BUCKETS],
}

/// Counts operations that complete together.
#[derive(Debug, Default)]
pub(crate) struct Tally([u32; OPERATIONS.len()]);

impl Tally {
    /// Counts an operation by its index in [`OPERATIONS`].
    pub(crate) fn add(&mut self, operation: usize) {
        if let Some(count) = self.0.get_mut(operation) {
            *count += 1;
        }
    }
}

impl StoreStats {
    /// Records operations that took `latency`.
    pub(crate) fn record(&self, tally: &Tally, latency: Duration) {
        let bucket = bucket(latency);
        let nanos = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        for (cell, &count) in self.cells.iter().zip(&tally.0) {
            if count == 0 {
                continue;
            }
            if let Some(counter) = cell.counts.get(bucket) {
                counter.fetch_add(count.into(), Ordering::Relaxed);
            }
            let sum = nanos.saturating_mul(count.into());
            cell.nanos.fetch_add(sum, Ordering::Relaxed);
        }
    }

    /// Returns the statistics of each operation.
    pub(crate) fn figures(&self) -> [OperationFigures; OPERATIONS.len()] {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        self.cells.each_ref().map(|cell| OperationFigures {
            sum: Duration::from_nanos(load(&cell.nanos)),
            counts: cell.counts.each_ref().map(load),
        })
    }
}

/// Returns the index of the histogram's count of a latency.
fn bucket(latency: Duration) -> usize {
    let is_below = |&bound: &u64| Duration::from_micros(bound) < latency;
    BOUNDS_MICROS.partition_point(is_below)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_latency_counts_up_to_the_bound_that_it_does_not_exceed() {
        for (micros, expected) in [
            (0, 0),
            (50, 0),
            (51, 1),
            (10_000_000, BUCKETS - 2),
            (u64::MAX, BUCKETS - 1),
        ] {
            assert_eq!(bucket(Duration::from_micros(micros)), expected, "{micros}");
        }
    }

    #[test]
    fn record_adds_operations_that_complete_together() {
        let stats = StoreStats::default();
        let mut tally = Tally::default();
        tally.add(0);
        tally.add(0);
        tally.add(8);
        tally.add(99);
        stats.record(&tally, Duration::from_micros(60));
        stats.record(&tally, Duration::from_secs(20));
        let figures = stats.figures();
        assert_eq!(figures[0].sum, Duration::from_nanos(40_000_120_000));
        assert_eq!((figures[0].counts[1], figures[0].counts[17]), (2, 2));
        assert_eq!(figures[8].counts.iter().sum::<u64>(), 2);
        assert_eq!(figures[1], OperationFigures::default());
    }
}
