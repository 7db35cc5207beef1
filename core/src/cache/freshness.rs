//! The freshness of the cache: the time up to which every connection has reported all changes.

use super::clock::{AtomicMoment, Moment};
use std::sync::Arc;

/// The open connections that the cache depends on.
#[derive(Default)]
pub(super) struct Connections {
    /// For each connection with client tracking: the time at which the command was sent whose reply arrived last.
    confirmed: Vec<Arc<AtomicMoment>>,
    /// The number of connections without client tracking.
    untracked: usize,
}

impl Connections {
    /// Adds a connection; `None` for one without client tracking.
    pub(super) fn add(&mut self, tracked: Option<&Arc<AtomicMoment>>) {
        match tracked {
            Some(confirmed_at) => self.confirmed.push(Arc::clone(confirmed_at)),
            None => self.untracked += 1,
        }
    }

    /// Removes a connection that was added with the same argument.
    pub(super) fn remove(&mut self, tracked: Option<&Arc<AtomicMoment>>) {
        match tracked {
            Some(lost) => self.confirmed.retain(|other| !Arc::ptr_eq(other, lost)),
            None => self.untracked -= 1,
        }
    }

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

/// Confirms that a connection has reported all changes up to a time.
#[derive(Debug)]
pub(crate) struct Confirmation {
    pub(super) confirmed_at: Arc<AtomicMoment>,
    pub(super) sent: Moment,
}

impl Confirmation {
    /// Makes the cache as fresh as the confirmation.
    pub(crate) fn record(self) {
        self.confirmed_at.set(self.sent);
    }
}
