//! Staggered attempts: while one hangs, others start, and the first success counts.

use futures_util::stream::{FuturesUnordered, StreamExt};
use std::future::Future;
use std::pin::pin;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Runs the attempts that `next` returns. It is asked for another one after `delay`, and whenever one has failed.
/// Returns the first success, or the last failure once all attempts have failed and `next` returns no more; `None`
/// without any attempt.
pub(super) async fn first_success<F, T, E>(
    delay: Duration,
    mut next: impl FnMut() -> Option<F>,
) -> Option<Result<T, E>>
where
    F: Future<Output = Result<T, E>>,
{
    let mut attempts = FuturesUnordered::new();
    let mut failure = None;
    let mut timer = pin!(sleep(delay));
    loop {
        if let Some(attempt) = next() {
            attempts.push(attempt);
            timer.as_mut().reset(Instant::now() + delay);
        }
        tokio::select! {
            biased;
            ended = attempts.next() => match ended {
                Some(Ok(success)) => return Some(Ok(success)),
                Some(Err(error)) => failure = Some(Err(error)),
                None => return failure,
            },
            () = &mut timer => timer.as_mut().reset(Instant::now() + delay),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DELAY: Duration = Duration::from_millis(100);

    /// Runs attempts that end after a number of milliseconds. Returns the outcome and the milliseconds that passed.
    async fn run(attempts: &[(u64, Result<u32, u32>)]) -> (Option<Result<u32, u32>>, u128) {
        let begin = Instant::now();
        let mut attempts = attempts.iter().copied();
        let next = || {
            let (ms, outcome) = attempts.next()?;
            Some(async move {
                sleep(Duration::from_millis(ms)).await;
                outcome
            })
        };
        let outcome = first_success(DELAY, next).await;
        (outcome, begin.elapsed().as_millis())
    }

    #[tokio::test(start_paused = true)]
    async fn another_attempt_starts_when_one_hangs_or_fails() {
        assert_eq!(run(&[(5000, Ok(1)), (50, Ok(2))]).await, (Some(Ok(2)), 150));
        assert_eq!(run(&[(150, Ok(1)), (80, Ok(2))]).await, (Some(Ok(1)), 150));
        assert_eq!(run(&[(10, Err(1)), (50, Ok(2))]).await, (Some(Ok(2)), 60));
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_failure_is_returned_when_all_attempts_fail() {
        let failed = run(&[(150, Err(1)), (10, Err(2)), (5, Err(3))]).await;
        assert_eq!(failed, (Some(Err(1)), 150));
        assert_eq!(run(&[]).await, (None, 0));
    }
}
