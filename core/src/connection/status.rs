//! What a connection tells those who watch it.

use crate::error::Error;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, Weak};

/// What happened to a connection.
#[derive(Clone, Debug)]
pub enum Event {
    /// It serves.
    Ready,
    /// It was lost and is being made again.
    Reconnecting(Error),
    /// An attempt to connect failed; another follows.
    Failed(Error),
    /// An attempt waits for [`super::Connection::give_credentials`].
    CredentialsWanted,
}

/// TrackingEvent of a connection's events on the runtime's thread; must neither block nor wait.
pub trait Watch: Send + Sync {
    fn event(&self, event: &Event);
}

/// Those who watch a connection. Held weakly: a store that was forgotten watches no more.
#[derive(Clone, Default)]
pub(super) struct Watches {
    list: Vec<Weak<dyn Watch>>,
    /// What is amiss although the connection serves. Those who come later are told, too.
    amiss: Option<Error>,
}

impl Watches {
    /// Adds one and tells it the state that the connection is in.
    pub(super) fn add(&mut self, watch: Weak<dyn Watch>, is_ready: bool) {
        if let Some(watch) = watch.upgrade()
            && is_ready
        {
            watch.event(&Event::Ready);
            if let Some(amiss) = &self.amiss {
                watch.event(&Event::Failed(amiss.clone()));
            }
        }
        self.list.push(watch);
    }

    /// What is amiss with a connection that serves; `None` if nothing is, or it was lost.
    pub(super) fn set_amiss(&mut self, amiss: Option<Error>) {
        if let Some(amiss) = &amiss {
            self.tell(&Event::Failed(amiss.clone()));
        }
        self.amiss = amiss;
    }

    pub(super) fn tell(&mut self, event: &Event) {
        self.list.retain(|watch| match watch.upgrade() {
            Some(watch) => {
                watch.event(event);
                true
            }
            None => false,
        });
    }

    /// Has one of them ask the app for credentials. All have the same function, so one will do.
    pub(super) fn ask_for_credentials(&self) {
        if let Some(watch) = self.list.iter().find_map(Weak::upgrade) {
            watch.event(&Event::CredentialsWanted);
        }
    }
}

/// Why there is no connection.
#[derive(Clone, Debug)]
pub(super) struct Down {
    /// Attempts to connect since there was none.
    pub(super) attempts: u32,
    pub(super) cause: String,
    /// The server keeps silent, rather than being away.
    pub(super) silent: bool,
}

/// Whether a connection serves, and if not, why.
#[derive(Debug)]
pub(super) struct Health {
    ready: AtomicBool,
    /// Counts the connections that were made.
    connections: AtomicU64,
    /// An attempt to connect has failed, or the connection was lost, since it last served.
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
                silent: false,
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

    /// A connection was made; in a cluster, one to any of the nodes.
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

    /// One more attempt has begun.
    pub(super) fn attempted(&self, attempts: u32) {
        self.lock().attempts = attempts;
    }

    fn lock(&self) -> MutexGuard<'_, Down> {
        // A poisoned lock still holds a whole value.
        self.down.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
