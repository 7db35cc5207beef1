//! The status of a connection, and the events that report its changes.

use crate::cause::Cause;
use crate::error::Error;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, Weak};

/// A change of a connection's status.
#[derive(Clone, Debug)]
pub enum Event {
    /// The connection serves.
    Ready,
    /// The connection was lost, and is being reconnected.
    Reconnecting(Error),
    /// An attempt to connect failed, and another one follows; or the connection serves with a problem.
    Failed(Error),
    /// An attempt to connect waits for [`super::Connection::provide_credentials`].
    CredentialsWanted,
}

/// An observer of a connection's events. Runs on the runtime's thread, and must not block.
pub trait Watch: Send + Sync {
    fn event(&self, event: &Event);
}

/// The observers of a connection. Held weakly: a store that was garbage-collected stops observing.
#[derive(Clone, Default)]
pub(super) struct Watches {
    list: Vec<Weak<dyn Watch>>,
    /// A problem of a connection that serves. Reported to later observers, too.
    warning: Option<Error>,
}

impl Watches {
    /// Adds an observer, and reports the current status to it. `wants_credentials` is true while credentials are
    /// awaited: no store may have been watching when they were requested.
    pub(super) fn add(&mut self, watch: Weak<dyn Watch>, is_ready: bool, wants_credentials: bool) {
        if let Some(watch) = watch.upgrade() {
            if wants_credentials {
                watch.event(&Event::CredentialsWanted);
            }
            if is_ready {
                watch.event(&Event::Ready);
                if let Some(warning) = &self.warning {
                    watch.event(&Event::Failed(warning.clone()));
                }
            }
        }
        self.list.push(watch);
    }

    /// Sets and reports a problem of a connection that serves; `None` if it has none, or was lost.
    pub(super) fn set_warning(&mut self, warning: Option<Error>) {
        if let Some(warning) = &warning {
            self.notify(&Event::Failed(warning.clone()));
        }
        self.warning = warning;
    }

    /// Reports an event to all observers.
    pub(super) fn notify(&mut self, event: &Event) {
        self.list.retain(|watch| match watch.upgrade() {
            Some(watch) => {
                watch.event(event);
                true
            }
            None => false,
        });
    }

    /// Makes one observer ask the app for credentials. All observers have the same function, so one is enough.
    pub(super) fn ask_for_credentials(&self) {
        if let Some(watch) = self.list.iter().find_map(Weak::upgrade) {
            watch.event(&Event::CredentialsWanted);
        }
    }
}

/// The reason why there is no connection.
#[derive(Clone, Debug)]
pub(super) struct Down {
    /// The number of attempts to connect since the connection was lost.
    pub(super) attempts: u32,
    pub(super) cause: Cause,
    /// True if the server did not answer in time, rather than being unreachable.
    pub(super) timed_out: bool,
}

/// The health of a connection: ready, or down with a reason.
#[derive(Debug)]
pub(super) struct Health {
    ready: AtomicBool,
    /// The number of links opened so far.
    connections: AtomicU64,
    /// True if an attempt to connect failed, or the connection was lost, since it was last ready.
    failed: AtomicBool,
    down: Mutex<Down>,
}

impl Default for Health {
    fn default() -> Self {
        Self {
            ready: AtomicBool::new(false),
            connections: AtomicU64::new(0),
            failed: AtomicBool::new(false),
            down: Mutex::new(Down {
                attempts: 0,
                cause: "still connecting".into(),
                timed_out: false,
            }),
        }
    }
}

impl Health {
    pub(super) fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed)
    }

    pub(super) fn set_ready(&self, ready: bool) {
        if ready {
            self.note_connection();
        }
        self.ready.store(ready, Ordering::Relaxed);
        if ready {
            self.failed.store(false, Ordering::Relaxed);
        }
    }

    pub(super) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }

    /// Counts a link that was opened; in a cluster, to any of the nodes.
    pub(super) fn note_connection(&self) {
        self.connections.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }

    pub(super) fn down(&self) -> Down {
        self.lock().clone()
    }

    pub(super) fn set_down(&self, down: Down) {
        self.failed.store(true, Ordering::Relaxed);
        *self.lock() = down;
    }

    /// Records that the connection was lost.
    pub(super) fn set_lost(&self, cause: Cause, timed_out: bool) {
        self.set_ready(false);
        self.set_down(Down {
            attempts: 0,
            cause,
            timed_out,
        });
    }

    /// Records the number of attempts, when another one starts.
    pub(super) fn attempted(&self, attempts: u32) {
        self.lock().attempts = attempts;
    }

    fn lock(&self) -> MutexGuard<'_, Down> {
        // A poisoned lock still holds a consistent value.
        self.down.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
