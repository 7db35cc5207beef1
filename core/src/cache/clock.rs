//! Time measurement that counts every pause of the process, and sleep of the machine.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// A time by both clocks of the machine. The steady clock runs while the process is stopped, but not while the machine
/// sleeps; the wall clock includes such a sleep, but may be set back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moment {
    /// Microseconds since the process started to use this clock.
    steady: u64,
    /// Milliseconds since 1970.
    pub wall: u64,
}

impl Moment {
    pub(crate) fn now() -> Self {
        let steady = START.elapsed().as_micros();
        let wall = SystemTime::now().duration_since(UNIX_EPOCH);
        Self {
            steady: u64::try_from(steady).unwrap_or(u64::MAX),
            wall: wall.map_or(0, |since| since.as_millis() as u64),
        }
    }

    #[cfg(test)]
    pub(crate) fn minus(self, time: Duration) -> Self {
        Self {
            steady: self.steady,
            wall: self.wall - time.as_millis() as u64,
        }
    }

    /// Returns true if this time is at `instant` or later, by the steady clock.
    pub(super) fn is_past(self, instant: Instant) -> bool {
        let since = instant.saturating_duration_since(*START).as_micros();
        u128::from(self.steady) >= since
    }

    /// Returns the earlier of two times, separately for each clock.
    pub(super) fn earlier(self, other: Self) -> Self {
        Self {
            steady: self.steady.min(other.steady),
            wall: self.wall.min(other.wall),
        }
    }

    /// Returns the time from this moment to `now`: the longer one of those that the two clocks measure.
    pub(crate) fn before(self, now: Self) -> Duration {
        let steady = now.steady.saturating_sub(self.steady);
        let wall = now.wall.saturating_sub(self.wall);
        Duration::from_micros(steady).max(Duration::from_millis(wall))
    }
}

/// A moment that one thread writes and others read. A concurrent reader may get the two clocks of different moments,
/// each of which was correct.
#[derive(Debug)]
pub(super) struct AtomicMoment {
    steady: AtomicU64,
    wall: AtomicU64,
}

impl AtomicMoment {
    pub(super) fn new(moment: Moment) -> Self {
        Self {
            steady: AtomicU64::new(moment.steady),
            wall: AtomicU64::new(moment.wall),
        }
    }

    pub(super) fn set(&self, moment: Moment) {
        self.steady.store(moment.steady, Ordering::Release);
        self.wall.store(moment.wall, Ordering::Release);
    }

    pub(super) fn get(&self) -> Moment {
        Moment {
            steady: self.steady.load(Ordering::Acquire),
            wall: self.wall.load(Ordering::Acquire),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longer_of_the_two_measured_times_is_returned() {
        let at = |steady, wall| Moment { steady, wall };
        let then = at(5_000_000, 1_000_000);
        assert_eq!(
            then.before(at(5_500_000, 1_000_500)),
            Duration::from_millis(500)
        );
        // The machine slept.
        assert_eq!(
            then.before(at(5_000_000, 1_009_000)),
            Duration::from_secs(9)
        );
        // The clock was set back.
        assert_eq!(then.before(at(8_000_000, 900_000)), Duration::from_secs(3));
    }
}
