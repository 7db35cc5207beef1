//! When the nodes of a cluster are asked which of them has which slots.
//!
//! One question at a time. While something is wrong, they are asked again after a part of the time for which it has
//! been so: what is mended is noticed later by that part at most, and a node that is gone for good costs the others
//! little.

use crate::connection::supervisor::jittered;
use std::time::Duration;
use tokio::time::Instant;

/// The part.
const REPAIR_PART: u32 = 10;
/// Pauses while something is wrong.
const SHORTEST_REPAIR: Duration = Duration::from_millis(100);
const LONGEST_REPAIR: Duration = Duration::from_secs(1);
/// The pause otherwise.
const CALM: Duration = Duration::from_secs(30);
/// A question that something calls for comes after this time, when the last is long ago.
const HURRY: Duration = Duration::from_millis(10);

pub(super) struct RefreshSchedule {
    is_asking: bool,
    /// When the next is due.
    at: Instant,
    /// When the last was answered, and how long after that the next may come.
    answered: Option<Instant>,
    pause: Duration,
    /// Since when something has been wrong; begins anew whenever that changes.
    since: Option<Instant>,
}

impl RefreshSchedule {
    /// The first is due at once.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            is_asking: false,
            at: now,
            answered: None,
            pause: SHORTEST_REPAIR,
            since: None,
        }
    }

    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.alarm().is_some_and(|at| at <= now)
    }

    /// When the next is due, unless one is under way.
    pub(super) fn alarm(&self) -> Option<Instant> {
        (!self.is_asking).then_some(self.at)
    }

    pub(super) fn begin(&mut self) {
        self.is_asking = true;
    }

    /// The answer has come, if only that there is none.
    pub(super) fn end(&mut self, now: Instant, is_calm: bool) {
        self.is_asking = false;
        self.answered = Some(now);
        if is_calm {
            self.since = None;
            self.pause = SHORTEST_REPAIR;
            self.at = now + CALM;
            return;
        }
        let since = *self.since.get_or_insert(now);
        let part = now.saturating_duration_since(since) / REPAIR_PART;
        self.pause = jittered(part.min(LONGEST_REPAIR)).max(SHORTEST_REPAIR);
        self.at = now + self.pause;
    }

    /// Something is wrong: the next comes soon, though not again and again at once.
    pub(super) fn hurry(&mut self, now: Instant) {
        self.since.get_or_insert(now);
        let again = self.answered.map(|time| time + self.pause);
        let soon = now + HURRY;
        self.at = self.at.min(again.map_or(soon, |again| again.max(soon)));
    }

    /// What is wrong has begun, or has changed: it may be over soon.
    pub(super) fn begin_anew(&mut self, now: Instant) {
        self.since = Some(now);
        self.pause = SHORTEST_REPAIR;
    }

    /// Somebody needs an answer to a question that is yet to be asked.
    pub(super) fn demand(&mut self, now: Instant) {
        self.at = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOMENT: Duration = Duration::from_millis(1);

    /// When questions are asked for as long as `time` from `now`, while something else calls for them all the time.
    fn asked(questions: &mut RefreshSchedule, mut now: Instant, time: Duration) -> Vec<Instant> {
        let end = now + time;
        let mut asked = Vec::new();
        while now < end {
            questions.hurry(now);
            if questions.is_due(now) {
                questions.begin();
                assert!(!questions.is_due(now), "one at a time");
                asked.push(now);
                now += MOMENT;
                questions.end(now, false);
            }
            now += MOMENT;
        }
        asked
    }

    #[test]
    fn what_lasts_is_asked_about_ever_less_until_something_changes() {
        let now = Instant::now();
        let mut questions = RefreshSchedule::new(now);
        let second = Duration::from_secs(1);
        let first = asked(&mut questions, now, second).len();
        assert!((8..=11).contains(&first), "{first} in the first second");
        let all = asked(&mut questions, now + second, 60 * second);
        let last = all
            .iter()
            .filter(|time| **time >= now + 31 * second)
            .count();
        assert!((25..=60).contains(&last), "{last} in half a minute");
        for pair in all.windows(2) {
            let since = pair[0] - now;
            let most = (since / REPAIR_PART).clamp(SHORTEST_REPAIR, LONGEST_REPAIR) + 3 * MOMENT;
            assert!(pair[1] - pair[0] <= most, "{since:?}");
        }
        let later = now + 61 * second;
        questions.begin_anew(later);
        let first = asked(&mut questions, later, second).len();
        assert!((8..=11).contains(&first), "{first} in the second after");
    }

    #[test]
    fn calm_makes_up_for_trouble() {
        let now = Instant::now();
        let minute = Duration::from_secs(60);
        let mut questions = RefreshSchedule::new(now);
        questions.hurry(now);
        questions.end(now + minute, false);
        questions.end(now + minute, true);
        assert_eq!(questions.alarm(), Some(now + minute + CALM));
        let later = now + minute + SHORTEST_REPAIR;
        questions.hurry(later);
        assert_eq!(questions.alarm(), Some(later + HURRY));
        questions.demand(later);
        assert!(questions.is_due(later));
    }
}
