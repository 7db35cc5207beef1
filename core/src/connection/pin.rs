//! Ties commands to one link.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Ties commands to the link that sends the first of them. On any later link they fail with
/// [`crate::error::Error::LinkReplaced`]: a `SCAN`, for instance, cannot continue there, since its cursor is valid only
/// for the server process that returned it.
#[derive(Clone, Debug, Default)]
pub(crate) struct LinkPin(Arc<AtomicU64>);

impl LinkPin {
    /// Returns true if this link may send the commands. Link numbers start at 1.
    pub(super) fn admits(&self, link: u64) -> bool {
        // Only the task that owns the connection calls this, so no ordering with other data is needed.
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
    fn admits_accepts_only_the_first_link() {
        let pin = LinkPin::default();
        assert!(pin.admits(3));
        assert!(pin.clone().admits(3));
        assert!(!pin.admits(4));
        assert!(LinkPin::default().admits(4));
    }
}
