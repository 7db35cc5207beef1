//! Why there is no connection, or none any more.

use crate::error::Error;
use redis::RedisError;

#[derive(Debug)]
pub(super) struct Failure {
    pub(super) cause: String,
    pub(super) kind: FailureKind,
}

#[derive(Debug)]
pub(super) enum FailureKind {
    /// The server could not be reached, or the connection was cut.
    Lost,
    /// The server ended a connection on which it was greeted. It may not know a command of the greeting.
    HungUp,
    /// A proxy has lost its server, or one of several.
    Upstream,
    /// The server's bytes make no reply, or not one to what it was asked.
    Unreadable,
    /// The server did not answer in time.
    Silent,
    /// The server's answer, where a further attempt will not change it by itself.
    Refused(Error),
}

impl Failure {
    pub(super) fn lost(cause: impl ToString) -> Self {
        Self {
            cause: cause.to_string(),
            kind: FailureKind::Lost,
        }
    }

    pub(super) fn unreadable(cause: impl ToString) -> Self {
        Self {
            cause: cause.to_string(),
            kind: FailureKind::Unreadable,
        }
    }

    pub(super) fn hung_up(cause: impl ToString) -> Self {
        Self {
            cause: cause.to_string(),
            kind: FailureKind::HungUp,
        }
    }

    pub(super) fn upstream(cause: impl ToString) -> Self {
        Self {
            cause: cause.to_string(),
            kind: FailureKind::Upstream,
        }
    }

    pub(super) fn silent(cause: impl ToString) -> Self {
        Self {
            cause: cause.to_string(),
            kind: FailureKind::Silent,
        }
    }

    pub(super) fn refused(refusal: Error) -> Self {
        Self {
            cause: refusal.to_string(),
            kind: FailureKind::Refused(refusal),
        }
    }

    /// An error reply of the server: one that it will give again, or only now.
    pub(super) fn replied(refusal: Error) -> Self {
        if refusal.is_passing() {
            Self::lost(refusal)
        } else {
            Self::refused(refusal)
        }
    }

    /// The same, with who it was that failed.
    pub(super) fn of(self, who: &str) -> Self {
        Self {
            cause: format!("{who}: {}", self.cause),
            kind: self.kind,
        }
    }

    /// Commands and replies are out of step: a later reply would reach another's request.
    pub(super) fn out_of_step() -> Self {
        Self::unreadable("the server sent a reply that does not fit")
    }

    pub(super) fn closed() -> Self {
        Self::lost("the server closed the connection")
    }
}

impl From<RedisError> for Failure {
    /// Of the codec: either the socket's error, or bytes that are not Redis's protocol.
    fn from(error: RedisError) -> Self {
        if error.is_io_error() {
            Self::lost(error)
        } else {
            // The codec's own words quote what it read.
            Self::unreadable("the server sent what is not Redis's protocol")
        }
    }
}
