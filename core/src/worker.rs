//! Runs long work off the threads on which others wait.
//!
//! One thread, which starts with the first job and ends with the last.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use tokio::sync::oneshot;

/// Bytes that take about a millisecond to convert or to compare: with more, it is long work.
pub const LONG: usize = 256 * 1024;

type Job = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    is_running: bool,
    thread: Option<JoinHandle<()>>,
}

static STATE: Mutex<State> = Mutex::new(State {
    jobs: VecDeque::new(),
    is_running: false,
    thread: None,
});

fn lock() -> MutexGuard<'static, State> {
    // Jobs run outside the lock, and each change is one step.
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs a job after those before it. Where no thread can be started, at once and here.
pub fn spawn(job: impl FnOnce() + Send + 'static) {
    let mut state = lock();
    state.jobs.push_back(Box::new(job));
    if state.is_running {
        return;
    }
    match thread::Builder::new()
        .name("redis-sessions-worker".into())
        .spawn(run_all)
    {
        Ok(thread) => {
            state.is_running = true;
            // The one before it has nothing left to do.
            state.thread = Some(thread);
        }
        Err(_) => {
            let jobs = std::mem::take(&mut state.jobs);
            drop(state);
            jobs.into_iter().for_each(run);
        }
    }
}

/// The same for callers that can wait for a result; `None` if there is none, as after a panic.
pub async fn compute<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (sender, receiver) = oneshot::channel();
    spawn(move || {
        // The caller may have stopped waiting.
        let _ = sender.send(work());
    });
    receiver.await.ok()
}

/// Drops the jobs that wait, and waits for the one that runs: the addon may be unloaded after that.
pub fn stop() {
    let mut state = lock();
    let jobs = std::mem::take(&mut state.jobs);
    let thread = state.thread.take();
    drop(state);
    drop(jobs);
    if let Some(thread) = thread.filter(|thread| thread.thread().id() != thread::current().id()) {
        // It catches the panics of its jobs.
        let _ = thread.join();
    }
}

fn run_all() {
    loop {
        let mut state = lock();
        let Some(job) = state.jobs.pop_front() else {
            state.is_running = false;
            return;
        };
        drop(state);
        run(job);
    }
}

/// A job that panics has reported it. What it owned is dropped, and so answered.
fn run(job: Job) {
    let _ = catch_unwind(AssertUnwindSafe(job));
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    #[tokio::test]
    async fn work_runs_in_order_and_elsewhere_and_survives_a_panic() {
        let here = thread::current().id();
        assert_ne!(compute(|| thread::current().id()).await, Some(here));
        let (sender, receiver) = channel();
        for number in 0..100 {
            let sender = sender.clone();
            spawn(move || sender.send(number).expect("somebody waits"));
        }
        let panicked: Option<()> = compute(|| panic!("on purpose")).await;
        assert_eq!(panicked, None);
        drop(sender);
        assert_eq!(
            receiver.into_iter().collect::<Vec<_>>(),
            (0..100).collect::<Vec<_>>()
        );
        stop();
        assert_eq!(compute(|| 1).await, Some(1), "after a stop");
    }
}
