//! The tokio runtime of the process, on one thread.
//!
//! The thread starts with the first store and ends with the last, in whatever env. Only napi objects hold the runtime.
//! Node drops them on their JavaScript thread, at the latest when the env is torn down: so the thread is joined there,
//! before the addon can be unloaded, and never joins itself.

use super::registry::{Lease, Registry};
use crate::options::ConnectionOptions;
use std::future::Future;
use std::io;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread::JoinHandle;
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

/// The runtime, and the connections that it runs.
#[derive(Debug)]
pub struct Runtime {
    registry: Arc<Registry>,
    handle: Handle,
    /// Dropped to end the thread.
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

static SHARED: Mutex<Weak<Runtime>> = Mutex::new(Weak::new());

impl Runtime {
    /// Returns the runtime of the process, and starts it if there is none.
    pub fn shared() -> io::Result<Arc<Self>> {
        // A poisoned lock still holds a consistent value: it is written in one step.
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(runtime) = shared.upgrade() {
            return Ok(runtime);
        }
        let runtime = Arc::new(Self::start()?);
        *shared = Arc::downgrade(&runtime);
        Ok(runtime)
    }

    fn start() -> io::Result<Self> {
        let runtime = Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = std::thread::Builder::new()
            .name("redis-sessions".into())
            .spawn(move || {
                // Ends when the sender is dropped. Tasks that still run are dropped with the runtime.
                let _ = runtime.block_on(stopped);
                runtime.shutdown_background();
            })?;
        Ok(Self {
            registry: Arc::new(Registry::new(handle.clone())),
            handle,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// Returns a handle that spawns tasks. It does not keep the runtime alive.
    pub fn spawner(&self) -> Handle {
        self.handle.clone()
    }

    /// Takes a share in the connection with these options, and opens it if there is none. `observed` are the kinds of
    /// observations that the caller will [observe](super::Connection::observe).
    pub fn lease(&self, options: ConnectionOptions, observed: u32) -> Lease {
        Lease::take(Arc::clone(&self.registry), options, observed)
    }

    /// Spawns a task.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.handle.spawn(task);
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been reported already.
            let _ = thread.join();
        }
        crate::worker::stop();
    }
}
