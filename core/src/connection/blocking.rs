//! Work that blocks a thread: name lookups, and reading the system's certificates.
//!
//! Each piece of work has a thread of its own. A thread that cannot be started, such as under a limit on processes, is
//! an error of that piece of work alone: tokio's own pool panics then.

use std::io;
use std::thread::Builder;
use tokio::sync::{Semaphore, oneshot};

/// Such as those of a large cluster, when nobody answers for them.
const MOST_THREADS: usize = 128;

static PERMITS: Semaphore = Semaphore::const_new(MOST_THREADS);

/// Runs `work` on a thread of its own.
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
    async fn slow_lookups_do_not_delay_others() {
        let mut hanging = Vec::new();
        for _ in 1..MOST_THREADS / 2 {
            let (end, ended) = channel::<()>();
            tokio::spawn(run(move || ended.recv()));
            hanging.push(end);
        }
        tokio::task::yield_now().await;
        let answer = timeout(Duration::from_secs(10), run(|| 5)).await;
        assert!(matches!(answer, Ok(Ok(5))));
    }

    #[tokio::test]
    async fn a_panic_is_an_error() {
        assert!(run(|| panic!("expected by this test")).await.is_err());
    }
}
