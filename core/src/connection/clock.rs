//! Running time: the system's monotonic time without the periods in which this process did not run.
//!
//! A process may be stopped (SIGSTOP, a frozen container) while replies wait in its sockets. That time must not
//! count against an operation, so deadlines are in running time. A timer that fires late reveals a stop.

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// The longest sleep while an operation is in flight: that much of a stop may go unrecorded.
const MAX_SLEEP: Duration = Duration::from_millis(250);
/// A timer that fires later than this fired after a stop. A smaller delay comes from a busy machine, or from a server
/// that floods this process.
const LATE: Duration = Duration::from_secs(1);
/// Timers that detect the same stop fire within this time of each other.
const SAME_STOP: Duration = Duration::from_millis(100);

/// The stops of the process.
struct Stops {
    total_micros: AtomicU64,
    /// The last stop that was detected. Several timers may detect the same one.
    last: Mutex<Option<(Instant, Instant)>>,
}

impl Stops {
    const fn none() -> Self {
        Self {
            total_micros: AtomicU64::new(0),
            last: Mutex::new(None),
        }
    }
}

#[cfg(not(test))]
fn stops() -> &'static Stops {
    static STOPS: Stops = Stops::none();
    &STOPS
}

/// A test stops the time of its own thread only.
#[cfg(test)]
fn stops() -> &'static Stops {
    thread_local!(static STOPS: &'static Stops = Box::leak(Box::new(Stops::none())));
    STOPS.with(|stops| *stops)
}

/// Returns the total time of all stops.
fn stopped() -> Duration {
    Duration::from_micros(stops().total_micros.load(Ordering::Relaxed))
}

/// Returns the present running time.
pub(crate) fn now() -> Instant {
    running(Instant::now())
}

/// Converts a recent system time into running time.
pub(crate) fn running(system: Instant) -> Instant {
    system.checked_sub(stopped()).unwrap_or(system)
}

/// Converts a running time into the system time at which it is reached, if the process is not stopped until then.
pub(crate) fn system(running: Instant) -> Instant {
    running + stopped()
}

/// Returns the system time at which to check `deadline` again: not before now, since a timer set in the past would seem
/// to fire late.
pub(crate) fn wake(deadline: Instant) -> Instant {
    let now = Instant::now();
    system(deadline).clamp(now, now + MAX_SLEEP)
}

/// Records a wake-up that was due at the system time `expected`. Returns true if the process was stopped.
pub(crate) fn note_wake(expected: Instant) -> bool {
    let now = Instant::now();
    if now < expected + LATE {
        return false;
    }
    let stops = stops();
    let mut last = stops.last.lock().unwrap_or_else(PoisonError::into_inner);
    let (stop, unrecorded) = extend(*last, expected, now);
    *last = Some(stop);
    let micros = unrecorded.as_micros() as u64;
    stops.total_micros.fetch_add(micros, Ordering::Relaxed);
    true
}

/// Returns the stop that ended with a wake-up, and the part of it that was not recorded before.
fn extend(
    last: Option<(Instant, Instant)>,
    expected: Instant,
    now: Instant,
) -> ((Instant, Instant), Duration) {
    match last {
        // Another timer has recorded the same stop.
        Some((start, end)) if now < end + SAME_STOP => {
            let before = start.saturating_duration_since(expected);
            let after = now.saturating_duration_since(end);
            ((start.min(expected), now.max(end)), before + after)
        }
        Some((_, end)) => ((expected.max(end), now), now - expected.max(end)),
        None => ((expected, now), now - expected),
    }
}

/// Resolves with the future's result, or with `None` once the running time `deadline` has passed.
pub(crate) async fn timeout_at<T>(deadline: Instant, future: impl Future<Output = T>) -> Option<T> {
    let mut future = std::pin::pin!(future);
    loop {
        let wake = wake(deadline);
        match tokio::time::timeout_at(wake, &mut future).await {
            Ok(result) => return Some(result),
            Err(_) => {
                note_wake(wake);
                if now() >= deadline {
                    return None;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::advance;

    #[test]
    fn extend_counts_a_stop_once_when_several_timers_detect_it() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let ms = Duration::from_millis;
        let (stop, unrecorded) = extend(None, at(4000), at(9000));
        assert_eq!(unrecorded, ms(5000));
        let (stop, unrecorded) = extend(Some(stop), at(2000), at(9001));
        assert_eq!(unrecorded, ms(2001));
        let (stop, unrecorded) = extend(Some(stop), at(3000), at(9002));
        assert_eq!((stop, unrecorded), ((at(2000), at(9002)), ms(1)));
        let (stop, unrecorded) = extend(Some(stop), at(20_000), at(21_000));
        assert_eq!((stop, unrecorded), ((at(20_000), at(21_000)), ms(1000)));
    }

    #[tokio::test(start_paused = true)]
    async fn timeout_at_moves_the_deadline_when_the_process_was_stopped() {
        let deadline = now() + Duration::from_millis(200);
        let sleep = timeout_at(deadline, std::future::pending::<()>());
        let stop = advance(Duration::from_millis(1500));
        let start = Instant::now();
        let (ended, ()) = tokio::join!(sleep, stop);
        assert!(ended.is_none());
        assert!(start.elapsed() >= Duration::from_millis(1500));
        assert!(now() + Duration::from_secs(1) < Instant::now());
    }
}
