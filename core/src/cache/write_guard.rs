//! A guard that is held while a write of this process is in flight.

use super::near_cache::{Cache, Ticket};
use std::sync::Arc;

/// A write of this process in flight. Dropped when it is answered: by then, the replies to earlier reads have arrived.
#[derive(Debug)]
pub(crate) struct PendingWrite {
    cache: Arc<Cache>,
    key: Box<[u8]>,
    is_sent: bool,
}

impl Cache {
    /// Records that a write is issued: removes the entry under the key, and prevents the results of earlier reads from
    /// being cached.
    pub(crate) fn write(self: &Arc<Self>, key: &[u8]) -> PendingWrite {
        drop(self.with(|state| {
            state.writes.begin(key);
            state.entries.remove(key)
        }));
        PendingWrite {
            cache: Arc::clone(self),
            key: key.into(),
            is_sent: false,
        }
    }
}

impl PendingWrite {
    /// Records that the write is sent, in its place among the reads. Returns the ticket of a read sent right after it.
    pub(crate) fn send(&mut self) -> Ticket {
        self.cache
            .with(|state| state.writes.send(&self.key, self.cache.next_serial()));
        self.is_sent = true;
        self.cache.ticket()
    }
}

impl Drop for PendingWrite {
    fn drop(&mut self) {
        drop(self.cache.with(|state| {
            state.writes.end(&self.key, self.is_sent);
            // The entry may have been read after the write was sent, but before it was executed: after a transient
            // error, the write was sent again later.
            state.entries.remove(&self.key)
        }));
    }
}
