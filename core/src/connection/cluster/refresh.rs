//! The schedule of topology refreshes.
//!
//! One refresh runs at a time. During a failure, the pause between refreshes is a fraction of the failure's age: a
//! recovery is noticed with a delay of at most that fraction, and a node that never returns costs the others little.

use crate::connection::backoff::jittered;
use std::time::Duration;
use tokio::time::Instant;

/// The pause is the age of the failure divided by this.
const AGE_DIVISOR: u32 = 10;
/// The bounds of the pause during a failure.
const MIN_PAUSE: Duration = Duration::from_millis(100);
const MAX_PAUSE: Duration = Duration::from_secs(1);
/// The pause while the cluster is healthy.
const HEALTHY_PAUSE: Duration = Duration::from_secs(30);
/// The delay of a requested refresh when the last one is long ago.
const SHORT_DELAY: Duration = Duration::from_millis(10);

/// The schedule of topology refreshes.
pub(super) struct RefreshSchedule {
    /// True while a refresh runs.
    is_running: bool,
    /// The time at which the next refresh is due.
    due_at: Instant,
    /// The end of the last refresh, and the shortest pause after it.
    ended_at: Option<Instant>,
    pause: Duration,
    /// The start of the current failure; restarts whenever the failure changes.
    failing_since: Option<Instant>,
}

impl RefreshSchedule {
    /// Creates a schedule whose first refresh is due at once.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            is_running: false,
            due_at: now,
            ended_at: None,
            pause: MIN_PAUSE,
            failing_since: None,
        }
    }

    /// Returns true if a refresh is due.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.next_due().is_some_and(|at| at <= now)
    }

    /// Returns the time of the next refresh, unless one is running.
    pub(super) fn next_due(&self) -> Option<Instant> {
        (!self.is_running).then_some(self.due_at)
    }

    /// Notes that a refresh begins.
    pub(super) fn begin(&mut self) {
        self.is_running = true;
    }

    /// Notes that the refresh has ended, successfully or not, and schedules the next one.
    pub(super) fn end(&mut self, now: Instant, is_healthy: bool) {
        self.is_running = false;
        self.ended_at = Some(now);
        if is_healthy {
            self.failing_since = None;
            self.pause = MIN_PAUSE;
            self.due_at = now + HEALTHY_PAUSE;
            return;
        }
        let failing_since = *self.failing_since.get_or_insert(now);
        let pause = now.saturating_duration_since(failing_since) / AGE_DIVISOR;
        self.pause = jittered(pause.min(MAX_PAUSE)).max(MIN_PAUSE);
        self.due_at = now + self.pause;
    }

    /// Schedules the next refresh soon after a failure, but not before the pause has passed.
    pub(super) fn schedule_soon(&mut self, now: Instant) {
        self.failing_since.get_or_insert(now);
        let earliest = self.ended_at.map(|time| time + self.pause);
        let soon = now + SHORT_DELAY;
        self.due_at = self
            .due_at
            .min(earliest.map_or(soon, |earliest| earliest.max(soon)));
    }

    /// Resets the pause, since a failure has begun or changed and may be short.
    pub(super) fn reset_backoff(&mut self, now: Instant) {
        self.failing_since = Some(now);
        self.pause = MIN_PAUSE;
    }

    /// Schedules a refresh at once, for a caller that needs its result.
    pub(super) fn schedule_now(&mut self, now: Instant) {
        self.due_at = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TICK: Duration = Duration::from_millis(1);

    /// Returns the times of refreshes within `time` from `now`, while refreshes are requested all the time.
    fn refresh_times(
        schedule: &mut RefreshSchedule,
        mut now: Instant,
        time: Duration,
    ) -> Vec<Instant> {
        let end = now + time;
        let mut times = Vec::new();
        while now < end {
            schedule.schedule_soon(now);
            if schedule.is_due(now) {
                schedule.begin();
                assert!(!schedule.is_due(now), "one at a time");
                times.push(now);
                now += TICK;
                schedule.end(now, false);
            }
            now += TICK;
        }
        times
    }

    #[test]
    fn the_pause_grows_with_the_failure_until_the_failure_changes() {
        let now = Instant::now();
        let mut schedule = RefreshSchedule::new(now);
        let second = Duration::from_secs(1);
        let first = refresh_times(&mut schedule, now, second).len();
        assert!((8..=11).contains(&first), "{first} in the first second");
        let all = refresh_times(&mut schedule, now + second, 60 * second);
        let last = all
            .iter()
            .filter(|time| **time >= now + 31 * second)
            .count();
        assert!((25..=60).contains(&last), "{last} in half a minute");
        for pair in all.windows(2) {
            let since = pair[0] - now;
            let most = (since / AGE_DIVISOR).clamp(MIN_PAUSE, MAX_PAUSE) + 3 * TICK;
            assert!(pair[1] - pair[0] <= most, "{since:?}");
        }
        let later = now + 61 * second;
        schedule.reset_backoff(later);
        let first = refresh_times(&mut schedule, later, second).len();
        assert!((8..=11).contains(&first), "{first} in the second after");
    }

    #[test]
    fn a_healthy_refresh_ends_the_failure() {
        let now = Instant::now();
        let minute = Duration::from_secs(60);
        let mut schedule = RefreshSchedule::new(now);
        schedule.schedule_soon(now);
        schedule.end(now + minute, false);
        schedule.end(now + minute, true);
        assert_eq!(schedule.next_due(), Some(now + minute + HEALTHY_PAUSE));
        let later = now + minute + MIN_PAUSE;
        schedule.schedule_soon(later);
        assert_eq!(schedule.next_due(), Some(later + SHORT_DELAY));
        schedule.schedule_now(later);
        assert!(schedule.is_due(later));
    }
}
