//! The reason why a connection could not be made, or was lost.

use crate::error::Error;
use redis::RedisError;

/// A failed attempt to connect, or a lost connection.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) cause: String,
    pub(super) kind: FailureKind,
}

#[derive(Debug)]
pub(super) enum FailureKind {
    /// The server was unreachable, or the connection was lost.
    Lost,
    /// The server closed the connection during the handshake. It may not know a command of the handshake.
    HungUp,
    /// A proxy lost the connection to its server, or to one of several.
    Upstream,
    /// The server sent bytes that are not RESP, or a reply that does not fit the command.
    Unreadable,
    /// The server did not answer in time.
    TimedOut,
    /// The server refused with an error that another attempt alone does not change.
    Refused(Error),
}

impl Failure {
    fn new(kind: FailureKind, cause: impl ToString) -> Self {
        Self {
            cause: cause.to_string(),
            kind,
        }
    }

    pub(super) fn lost(cause: impl ToString) -> Self {
        Self::new(FailureKind::Lost, cause)
    }

    pub(super) fn unreadable(cause: impl ToString) -> Self {
        Self::new(FailureKind::Unreadable, cause)
    }

    pub(super) fn hung_up(cause: impl ToString) -> Self {
        Self::new(FailureKind::HungUp, cause)
    }

    pub(super) fn upstream(cause: impl ToString) -> Self {
        Self::new(FailureKind::Upstream, cause)
    }

    pub(super) fn timed_out(cause: impl ToString) -> Self {
        Self::new(FailureKind::TimedOut, cause)
    }

    pub(super) fn refused(refusal: Error) -> Self {
        let cause = refusal.to_string();
        Self::new(FailureKind::Refused(refusal), cause)
    }

    /// Creates the failure of an error reply: lost after a transient error, refused after any other.
    pub(super) fn replied(refusal: Error) -> Self {
        if refusal.is_transient() {
            Self::lost(refusal)
        } else {
            Self::refused(refusal)
        }
    }

    /// Adds the name of the server that failed.
    pub(super) fn of(self, server: &str) -> Self {
        Self::new(self.kind, format!("{server}: {}", self.cause))
    }

    /// Creates the failure of a connection whose commands and replies are out of step: a later reply would complete
    /// another request.
    pub(super) fn out_of_step() -> Self {
        Self::unreadable("the server sent a reply that does not fit the command")
    }

    pub(super) fn closed() -> Self {
        Self::lost("the server closed the connection")
    }
}

impl From<RedisError> for Failure {
    /// Converts an error of the codec: an I/O error, or bytes that are not RESP.
    fn from(error: RedisError) -> Self {
        if error.is_io_error() {
            Self::lost(error)
        } else {
            // Omits the codec's message, which quotes the bytes.
            Self::unreadable("the server sent bytes that are not RESP")
        }
    }
}
