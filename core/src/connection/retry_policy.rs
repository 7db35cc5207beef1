//! The retry policy: the errors after which a command is sent again.

use crate::error::Error;

/// The number of links that may be lost while a command is the first without a reply. A server may hang up on a
/// command, for example because its reply would be too long: the command then fails, and the others are served.
pub(super) const MAX_HANG_UPS: u32 = 3;

/// The errors after which a command is sent again.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum RetryPolicy {
    /// None: every reply completes its command.
    Never,
    /// Transient errors. A lost link needs no error here: commands without a reply are always queued again.
    TransientErrors,
    /// Transient errors and lost links, of a node that retries neither.
    LostLinks,
}

impl RetryPolicy {
    /// Returns true if a command that failed with `error` is sent again.
    pub(super) fn retries(self, error: &Error) -> bool {
        match self {
            Self::Never => false,
            Self::TransientErrors => error.is_transient(),
            Self::LostLinks => error.is_transient() || error.is_loss(),
        }
    }
}
