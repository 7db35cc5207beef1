//! Runs work that blocks a thread: DNS lookups, and reading the system's certificates.
//!
//! Each call has a thread of its own. If a thread cannot be started, for instance under a limit on processes, only that
//! call fails; tokio's own pool would panic.

use std::io;
use std::thread::Builder;
use tokio::sync::{Semaphore, oneshot};

/// The most threads at a time. A large cluster whose DNS server does not answer needs many.
const MAX_THREADS: usize = 128;

static PERMITS: Semaphore = Semaphore::const_new(MAX_THREADS);

/// Runs `work` on a thread of its own, and returns its result.
pub(super) async fn run<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    let permit = PERMITS.acquire().await.map_err(io::Error::other)?;
    let (sender, receiver) = oneshot::channel();
    Builder::new()
        .name("redis-blocking".into())
        .spawn(move || {
            // The caller may have stopped waiting.
            let _ = sender.send(work());
            drop(permit);
        })?;
    let result = receiver.await;
    result.map_err(|_| io::Error::other("a thread ended unexpectedly"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;
    use std::time::Duration;
    use tokio::time::timeout;

    #[tokio::test]
    async fn run_is_not_delayed_by_hanging_work() {
        let mut hanging = Vec::new();
        for _ in 1..MAX_THREADS / 2 {
            let (end, ended) = channel::<()>();
            tokio::spawn(run(move || ended.recv()));
            hanging.push(end);
        }
        tokio::task::yield_now().await;
        let result = timeout(Duration::from_secs(10), run(|| 5)).await;
        assert!(matches!(result, Ok(Ok(5))));
    }

    #[tokio::test]
    async fn run_fails_when_the_work_panics() {
        assert!(run(|| panic!("expected by this test")).await.is_err());
    }
}
