//! When the nodes of a cluster are asked which of them has which slots.
//!
//! One question at a time. While something is wrong, they are asked again after a part of the time for which it has
//! been so: what is mended is noticed later by that part at most, and a node that is gone for good costs the others
//! little.

use crate::connection::supervisor::jittered;
use std::time::Duration;
use tokio::time::Instant;

/// The part.
const AGE_DIVISOR: u32 = 10;
/// Pauses while something is wrong.
const MIN_PAUSE: Duration = Duration::from_millis(100);
const MAX_PAUSE: Duration = Duration::from_secs(1);
/// The pause otherwise.
const HEALTHY_PAUSE: Duration = Duration::from_secs(30);
/// A question that something calls for comes after this time, when the last is long ago.
const SHORT_DELAY: Duration = Duration::from_millis(10);

pub(super) struct RefreshSchedule {
    is_running: bool,
    /// When the next is due.
    due_at: Instant,
    /// When the last was answered, and how long after that the next may come.
    ended_at: Option<Instant>,
    pause: Duration,
    /// Since when something has been wrong; begins anew whenever that changes.
    failing_since: Option<Instant>,
}

impl RefreshSchedule {
    /// The first is due at once.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            is_running: false,
            due_at: now,
            ended_at: None,
            pause: MIN_PAUSE,
            failing_since: None,
        }
    }

    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.next_due().is_some_and(|at| at <= now)
    }

    /// When the next is due, unless one is under way.
    pub(super) fn next_due(&self) -> Option<Instant> {
        (!self.is_running).then_some(self.due_at)
    }

    pub(super) fn begin(&mut self) {
        self.is_running = true;
    }

    /// The answer has come, if only that there is none.
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

    /// Something is wrong: the next comes soon, though not again and again at once.
    pub(super) fn schedule_soon(&mut self, now: Instant) {
        self.failing_since.get_or_insert(now);
        let earliest = self.ended_at.map(|time| time + self.pause);
        let soon = now + SHORT_DELAY;
        self.due_at = self
            .due_at
            .min(earliest.map_or(soon, |earliest| earliest.max(soon)));
    }

    /// What is wrong has begun, or has changed: it may be over soon.
    pub(super) fn reset_backoff(&mut self, now: Instant) {
        self.failing_since = Some(now);
        self.pause = MIN_PAUSE;
    }

    /// Somebody needs an answer to a question that is yet to be asked.
    pub(super) fn schedule_now(&mut self, now: Instant) {
        self.due_at = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TICK: Duration = Duration::from_millis(1);

    /// When questions are asked for as long as `time` from `now`, while something else calls for them all the time.
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
    fn what_lasts_is_asked_about_ever_less_until_something_changes() {
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
    fn calm_makes_up_for_trouble() {
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
