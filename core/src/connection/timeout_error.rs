//! The error of an operation that reached its deadline.

use super::shared::Shared;
use crate::cause::Cause;
use crate::error::Error;

/// A job that expired, and what is known about its attempts.
#[derive(Default)]
pub(super) struct ExpiredJob {
    /// The number of times that its commands were sent.
    pub(super) sent: u32,
    /// True if its last reply is outstanding.
    pub(super) awaits_reply: bool,
    /// The error of the last failed attempt.
    pub(super) last_error: Option<Cause>,
    /// The reason why it cannot be sent, if that is not the state of the whole connection.
    pub(super) unsendable: Option<Cause>,
}

impl ExpiredJob {
    /// Builds the timeout error.
    pub(super) fn error(self, shared: &Shared) -> Error {
        let server = shared.server.clone();
        let waited = shared.command_timeout;
        if let Some(cause) = self.last_error {
            let sent = self.sent;
            return Error::Unserved {
                server,
                waited,
                sent,
                cause,
            };
        }
        match self.unsendable {
            _ if self.awaits_reply => Error::Timeout { server, waited },
            Some(cause) => Error::Unavailable {
                server,
                waited,
                attempts: shared.health.down().attempts,
                cause,
            },
            None if shared.health.is_ready() => Error::Timeout { server, waited },
            None => shared.unavailable(waited),
        }
    }
}
