//! Ties commands to one link.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Ties commands to the link that sends the first of them. What a later link cannot continue, such as a `SCAN` whose
/// cursor is valid only for the server process that returned it, then fails with [`crate::error::Error::LinkReplaced`].
#[derive(Clone, Debug, Default)]
pub(crate) struct LinkPin(Arc<AtomicU64>);

impl LinkPin {
    /// Returns true if a command may go over this link. Links are counted from 1.
    pub(super) fn admits(&self, link: u64) -> bool {
        // Only the task that owns the connection asks, so no ordering with other data is needed.
        let pinned = self
            .0
            .compare_exchange(0, link, Ordering::Relaxed, Ordering::Relaxed);
        pinned.is_ok() || pinned == Err(link)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_link_is_the_only_one() {
        let pin = LinkPin::default();
        assert!(pin.admits(3));
        assert!(pin.clone().admits(3));
        assert!(!pin.admits(4));
        assert!(LinkPin::default().admits(4));
    }
}
