//! Backoff: the pause between attempts, which doubles from a minimum to a maximum.

use std::time::Duration;

const MIN: Duration = Duration::from_millis(50);
/// Bounds the time until a recovered server is noticed.
const MAX: Duration = Duration::from_millis(500);

/// The pause before the next attempt; zero before the first.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Backoff(Duration);

impl Backoff {
    /// Returns the pause before the next attempt.
    pub(super) fn pause(self) -> Duration {
        self.0
    }

    /// Doubles the pause.
    pub(super) fn grow(&mut self) {
        self.0 = (2 * self.0).clamp(MIN, MAX);
    }

    /// Makes the next attempt follow at once.
    pub(super) fn reset(&mut self) {
        self.0 = Duration::ZERO;
    }

    /// Sets the pause before the next attempt.
    pub(super) fn set(&mut self, pause: Duration) {
        self.0 = pause;
    }
}

/// Adds jitter: returns a random duration between half of `pause` and all of it, so that many processes do not
/// reconnect at the same moment.
pub(super) fn jittered(pause: Duration) -> Duration {
    use std::hash::{BuildHasher, RandomState};
    // Each `RandomState` hashes differently, which is random enough here.
    let fraction = (RandomState::new().hash_one(0) % 1024) as u32;
    pause / 2 + pause / 2 * fraction / 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_doubles_from_50_to_500_ms() {
        let mut backoff = Backoff::default();
        let pauses = [(); 7].map(|()| {
            let pause = backoff.pause().as_millis();
            backoff.grow();
            pause
        });
        assert_eq!(pauses, [0, 50, 100, 200, 400, 500, 500]);
        backoff.reset();
        assert_eq!(backoff.pause(), Duration::ZERO);
    }

    #[test]
    fn jitter_stays_between_half_and_all_of_the_pause() {
        for _ in 0..1000 {
            let pause = jittered(Duration::from_millis(100));
            assert!((50..=100).contains(&pause.as_millis()), "{pause:?}");
        }
    }
}
