//! The freshness of the cache: the time up to which every connection has reported all changes.

use super::Cache;
use super::clock::{AtomicMoment, Moment};
use std::sync::Arc;
use std::time::Instant;

/// The open connections that the cache depends on.
#[derive(Default)]
pub(super) struct Connections {
    /// For each connection with client tracking: the time at which the command was sent whose reply arrived last.
    confirmed: Vec<Arc<AtomicMoment>>,
    /// The number of connections without client tracking.
    untracked: usize,
}

impl Connections {
    pub(super) fn are_tracked(&self) -> bool {
        self.untracked == 0 && !self.confirmed.is_empty()
    }

    /// Returns the time up to which every connection has reported all changes.
    pub(super) fn confirmed_at(&self) -> Option<Moment> {
        if !self.are_tracked() {
            return None;
        }
        let moments = self.confirmed.iter().map(|confirmed_at| confirmed_at.get());
        moments.reduce(Moment::earlier)
    }
}

/// A connection that the cache depends on, until it is lost. Dropping it empties the cache.
#[derive(Debug)]
pub(crate) struct TrackedLink {
    cache: Arc<Cache>,
    confirmed_at: Arc<AtomicMoment>,
    is_tracked: bool,
}

impl TrackedLink {
    pub(super) fn begin(cache: Arc<Cache>, is_tracked: bool) -> Self {
        let confirmed_at = Arc::new(AtomicMoment::new(Moment::now()));
        let mut state = cache.lock();
        if is_tracked {
            state.connections.confirmed.push(Arc::clone(&confirmed_at));
        } else {
            state.connections.untracked += 1;
        }
        drop(state);
        Self {
            cache,
            confirmed_at,
            is_tracked,
        }
    }

    /// Returns the confirmation by the reply to a command sent at `sent`. It may be recorded once the invalidations
    /// that arrived before the reply have been passed to [`Cache::invalidate`].
    pub(crate) fn confirmation(&self, sent: Moment) -> Confirmation {
        Confirmation {
            confirmed_at: Arc::clone(&self.confirmed_at),
            sent,
        }
    }

    /// Returns the time at which the connection needs a heartbeat, if it stays idle until then.
    pub(crate) fn probe_at(&self) -> Option<Instant> {
        let interval = self
            .cache
            .heartbeat_interval()
            .filter(|_| self.is_tracked)?;
        let age = self.confirmed_at.get().before(Moment::now());
        Some(Instant::now() + interval.saturating_sub(age))
    }
}

impl Drop for TrackedLink {
    fn drop(&mut self) {
        let mut state = self.cache.lock();
        if self.is_tracked {
            state
                .connections
                .confirmed
                .retain(|confirmed_at| !Arc::ptr_eq(confirmed_at, &self.confirmed_at));
        } else {
            state.connections.untracked -= 1;
        }
        drop(state);
        self.cache.clear();
    }
}

/// Confirms that a connection has reported all changes up to a time.
#[derive(Debug)]
pub(crate) struct Confirmation {
    confirmed_at: Arc<AtomicMoment>,
    sent: Moment,
}

impl Confirmation {
    /// Makes the cache as fresh as the confirmation.
    pub(crate) fn record(self) {
        self.confirmed_at.set(self.sent);
    }
}
