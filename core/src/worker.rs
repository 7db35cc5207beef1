//! A background thread for long computations, which would block the event loop or the runtime's thread.
//!
//! The thread starts with the first task and ends with the last.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use tokio::sync::oneshot;

/// The size in bytes above which a text is processed on the worker: converting or comparing it takes about 1 ms.
pub const LONG: usize = 256 * 1024;

type Task = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct State {
    tasks: VecDeque<Task>,
    is_running: bool,
    thread: Option<JoinHandle<()>>,
}

static STATE: Mutex<State> = Mutex::new(State {
    tasks: VecDeque::new(),
    is_running: false,
    thread: None,
});

fn lock() -> MutexGuard<'static, State> {
    // Tasks run outside the lock, and each change is atomic.
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs a task after those before it. If no thread can be started, runs it at once on the calling thread.
pub fn spawn(task: impl FnOnce() + Send + 'static) {
    let mut state = lock();
    state.tasks.push_back(Box::new(task));
    if state.is_running {
        return;
    }
    match thread::Builder::new()
        .name("redis-sessions-worker".into())
        .spawn(run_all)
    {
        Ok(thread) => {
            state.is_running = true;
            // The previous thread has finished its tasks.
            state.thread = Some(thread);
        }
        Err(_) => {
            let tasks = std::mem::take(&mut state.tasks);
            drop(state);
            tasks.into_iter().for_each(run);
        }
    }
}

/// Runs `work` and resolves with its result; `None` if it panics or is dropped.
pub async fn compute<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (sender, receiver) = oneshot::channel();
    spawn(move || {
        // The caller may have stopped waiting.
        let _ = sender.send(work());
    });
    receiver.await.ok()
}

/// Drops the waiting tasks, and waits for the one that runs: the addon may be unloaded afterwards.
pub fn stop() {
    let mut state = lock();
    let tasks = std::mem::take(&mut state.tasks);
    let thread = state.thread.take();
    drop(state);
    drop(tasks);
    if let Some(thread) = thread.filter(|thread| thread.thread().id() != thread::current().id()) {
        // The thread catches panics of its tasks.
        let _ = thread.join();
    }
}

fn run_all() {
    loop {
        let mut state = lock();
        let Some(task) = state.tasks.pop_front() else {
            state.is_running = false;
            return;
        };
        drop(state);
        run(task);
    }
}

/// Runs a task. Its panic is caught after the panic hook has reported it; the reply guards that it owned are dropped,
/// and so complete their requests.
fn run(task: Task) {
    let _ = catch_unwind(AssertUnwindSafe(task));
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    #[tokio::test]
    async fn tasks_run_in_order_on_another_thread_even_after_a_panic() {
        let here = thread::current().id();
        assert_ne!(compute(|| thread::current().id()).await, Some(here));
        let (sender, receiver) = channel();
        for number in 0..100 {
            let sender = sender.clone();
            spawn(move || sender.send(number).expect("a receiver"));
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
