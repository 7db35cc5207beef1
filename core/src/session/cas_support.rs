//! The support of servers for `SET … IFEQ`.

use crate::connection::Connection;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Remembers that a server does not support `SET … IFEQ`. The first attempt over each link finds out: after a
/// reconnect, it may be another server.
#[derive(Debug)]
pub(super) struct CasSupport {
    /// The number of the link whose server needs the script.
    scripted_link: AtomicU64,
    /// `SET … IFEQ` has succeeded.
    is_native: AtomicBool,
}

impl Default for CasSupport {
    fn default() -> Self {
        Self {
            scripted_link: AtomicU64::new(u64::MAX),
            is_native: AtomicBool::new(false),
        }
    }
}

impl CasSupport {
    pub(super) fn needs_script(&self, connection: &Connection) -> bool {
        self.scripted_link.load(Ordering::Relaxed) == connection.connections()
    }

    pub(super) fn note_script(&self, connection: &Connection) {
        self.scripted_link
            .store(connection.connections(), Ordering::Relaxed);
    }

    pub(super) fn note_native(&self) {
        self.is_native.store(true, Ordering::Relaxed);
    }

    /// Returns the method in use, once a save has found it out.
    pub(super) fn method(&self, connection: &Connection) -> Option<&'static str> {
        if self.needs_script(connection) {
            return Some("script");
        }
        self.is_native.load(Ordering::Relaxed).then_some("set-ifeq")
    }
}
