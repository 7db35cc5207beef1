//! The bulk operations that run, so that they can be stopped.

use super::request::RequestId;
use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The requests of the bulk operations that run. One that is removed stops.
#[derive(Clone, Debug, Default)]
pub(super) struct RunningBulk(Arc<Mutex<HashSet<RequestId>>>);

impl RunningBulk {
    fn lock(&self) -> MutexGuard<'_, HashSet<RequestId>> {
        // A poisoned lock still holds a usable set: each change is one step.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn begin(&self, request: RequestId) {
        self.lock().insert(request);
    }

    /// Stops the operation, if it runs.
    pub(super) fn stop(&self, request: RequestId) {
        self.lock().remove(&request);
    }

    pub(super) fn is_stopped(&self, request: RequestId) -> bool {
        !self.lock().contains(&request)
    }
}
