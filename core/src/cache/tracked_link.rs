//! A connection that the cache depends on.

use super::clock::{AtomicMoment, Moment};
use super::freshness::Confirmation;
use super::near_cache::Cache;
use std::sync::Arc;
use std::time::Instant;

/// A connection that the cache depends on, until it is lost. Dropping it empties the cache.
#[derive(Debug)]
pub(crate) struct TrackedLink {
    cache: Arc<Cache>,
    confirmed_at: Arc<AtomicMoment>,
    is_tracked: bool,
}

impl Cache {
    /// Registers a new connection. `is_tracked` is false if client tracking is not enabled on it; while such a
    /// connection is open, nothing is cached.
    pub(crate) fn begin(self: &Arc<Self>, is_tracked: bool) -> TrackedLink {
        let confirmed_at = Arc::new(AtomicMoment::new(Moment::now()));
        let tracked = is_tracked.then_some(&confirmed_at);
        self.with(|state| state.connections.add(tracked));
        TrackedLink {
            cache: Arc::clone(self),
            confirmed_at,
            is_tracked,
        }
    }
}

impl TrackedLink {
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
        let tracked = self.is_tracked.then_some(&self.confirmed_at);
        self.cache.with(|state| state.connections.remove(tracked));
        self.cache.clear("connection lost");
    }
}
