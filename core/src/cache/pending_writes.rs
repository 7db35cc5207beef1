//! The writes of this process in flight, and the reads whose results may predate them.

use std::collections::HashMap;

/// The writes without a reply, by key.
#[derive(Default)]
pub(super) struct PendingWrites(HashMap<Box<[u8]>, KeyWrites>);

/// The writes to one key.
#[derive(Default)]
struct KeyWrites {
    /// The serial number of the last write that was sent.
    serial: u64,
    count: usize,
    /// The number of writes that were issued but not sent: another thread may send a read before them that it issued
    /// later.
    unsent: usize,
}

impl PendingWrites {
    /// Records that a write is issued.
    pub(super) fn begin(&mut self, key: &[u8]) {
        let writes = self.0.entry(key.into()).or_default();
        writes.count += 1;
        writes.unsent += 1;
    }

    /// Records that a write is sent under a serial number.
    pub(super) fn send(&mut self, key: &[u8], serial: u64) {
        if let Some(writes) = self.0.get_mut(key) {
            writes.serial = serial;
            writes.unsent -= 1;
        }
    }

    /// Records that a write is answered, or will never be sent.
    pub(super) fn end(&mut self, key: &[u8], is_sent: bool) {
        if let Some(writes) = self.0.get_mut(key) {
            writes.count -= 1;
            writes.unsent -= usize::from(!is_sent);
            if writes.count == 0 {
                self.0.remove(key);
            }
        }
    }

    /// Returns true if a read stamped `serial` may predate a write to `key` that is still in flight.
    pub(super) fn any_after(&self, key: &[u8], serial: u64) -> bool {
        let writes = self.0.get(key);
        writes.is_some_and(|writes| writes.unsent > 0 || writes.serial > serial)
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
