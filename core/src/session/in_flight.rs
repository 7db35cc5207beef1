//! The operations in flight, which `close` waits for.

use std::sync::Arc;
use tokio::sync::{OwnedRwLockReadGuard, RwLock};

/// A lock that operations in flight hold for reading.
#[derive(Clone, Debug, Default)]
pub(super) struct InFlight(Arc<RwLock<()>>);

/// Held by an operation in flight.
pub(super) type InFlightGuard = Option<Arc<OwnedRwLockReadGuard<()>>>;

impl InFlight {
    /// Registers an operation in flight. Returns `None` only while the store closes, when it receives no operations.
    pub(super) fn begin(&self) -> InFlightGuard {
        let guard = Arc::clone(&self.0).try_read_owned();
        guard.ok().map(Arc::new)
    }

    /// Resolves when all operations in flight have ended.
    pub(super) async fn ended(&self) {
        drop(self.0.write().await);
    }
}
