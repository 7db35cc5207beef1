//! Own writes under way, and the reads that they outdate.

use super::{Cache, Ticket};
use std::collections::HashMap;
use std::sync::Arc;

/// Those that are not answered yet, by their keys.
#[derive(Default)]
pub(super) struct PendingWrites(HashMap<Box<[u8]>, Write>);

#[derive(Default)]
struct Write {
    /// The number of the last of them that was sent.
    serial: u64,
    count: usize,
    /// How many of them are still to be sent: another thread may send a read before them that it issued after.
    unsent: usize,
}

impl PendingWrites {
    /// One is issued.
    pub(super) fn begin(&mut self, key: &[u8]) {
        let write = self.0.entry(key.into()).or_default();
        write.count += 1;
        write.unsent += 1;
    }

    /// One is sent, and this is its number.
    fn send(&mut self, key: &[u8], serial: u64) {
        if let Some(write) = self.0.get_mut(key) {
            write.serial = serial;
            write.unsent -= 1;
        }
    }

    /// One is answered, or never was sent.
    fn end(&mut self, key: &[u8], is_sent: bool) {
        if let Some(write) = self.0.get_mut(key) {
            write.count -= 1;
            write.unsent -= usize::from(!is_sent);
            if write.count == 0 {
                self.0.remove(key);
            }
        }
    }

    /// Whether a read that was sent when the last write that had been sent had this number may have been sent before
    /// one that is under way.
    pub(super) fn outdate(&self, key: &[u8], serial: u64) -> bool {
        let write = self.0.get(key);
        write.is_some_and(|write| write.unsent > 0 || write.serial > serial)
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// An own write under way. Dropped when it is answered, and what was read before it has come.
#[derive(Debug)]
pub struct PendingWrite {
    cache: Arc<Cache>,
    key: Box<[u8]>,
    is_sent: bool,
}

impl PendingWrite {
    pub(super) fn new(cache: Arc<Cache>, key: &[u8]) -> Self {
        Self {
            cache,
            key: key.into(),
            is_sent: false,
        }
    }

    /// It is sent, in its place among the reads. The ticket is that of one that is sent right after it.
    pub(crate) fn send(&mut self) -> Ticket {
        let mut state = self.cache.lock();
        state.writes.send(&self.key, self.cache.next_serial());
        drop(state);
        self.is_sent = true;
        self.cache.ticket()
    }
}

impl Drop for PendingWrite {
    fn drop(&mut self) {
        let mut state = self.cache.lock();
        state.writes.end(&self.key, self.is_sent);
        // Read after it was sent, but before it was done: the server may have put it off.
        let removed = state.entries.remove(&self.key);
        drop(state);
        drop(removed);
    }
}
