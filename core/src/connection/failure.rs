//! The reason why a connection could not be made, or was lost.

use super::io_cause;
use crate::cause::Cause;
use crate::error::Error;
use crate::options::{Address, Node};
use redis::RedisError;
use std::error::Error as _;
use std::io;
use std::sync::Arc;

/// Node's code for a server that does not reply.
pub(super) const TIMED_OUT: &str = "ETIMEDOUT";

/// A failed attempt to connect, or a lost connection.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) cause: Cause,
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
    fn new(kind: FailureKind, cause: impl Into<Cause>) -> Self {
        Self {
            cause: cause.into(),
            kind,
        }
    }

    pub(super) fn lost(cause: impl Into<Cause>) -> Self {
        Self::new(FailureKind::Lost, cause)
    }

    pub(super) fn unreadable(cause: impl Into<Cause>) -> Self {
        Self::new(FailureKind::Unreadable, cause)
    }

    pub(super) fn hung_up(cause: impl Into<Cause>) -> Self {
        Self::new(FailureKind::HungUp, cause)
    }

    pub(super) fn upstream(cause: impl Into<Cause>) -> Self {
        Self::new(FailureKind::Upstream, cause)
    }

    pub(super) fn timed_out(cause: impl Into<Cause>) -> Self {
        Self::new(FailureKind::TimedOut, cause.into().with_code(TIMED_OUT))
    }

    pub(super) fn refused(refusal: Error) -> Self {
        let cause = Cause::from(&refusal);
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

    /// Adds the role and the address of the server that failed.
    pub(super) fn of(self, role: &str, node: &Node) -> Self {
        let cause = self
            .cause
            .map_message(|message| format!("{role} {node}: {message}"))
            .at(&Address::Tcp(node.clone()));
        Self::new(self.kind, cause)
    }

    /// Creates the failure of a connection whose commands and replies are out of step: a later reply would complete
    /// another request.
    pub(super) fn out_of_step() -> Self {
        Self::unreadable("the server sent a reply that does not fit the command")
    }

    pub(super) fn closed() -> Self {
        Self::lost(io_cause::closed())
    }

    /// Adds a hint if the server closed a connection without TLS before its first reply, as it does on a TLS port.
    pub(super) fn with_tls_hint(mut self) -> Self {
        let is_closed = self.cause.code() == io_cause::closed().code();
        if matches!(self.kind, FailureKind::HungUp) && is_closed {
            self.cause = self.cause.map_message(|message| {
                format!("{message} (does it expect TLS: rediss:// or the \"tls\" option?)")
            });
        }
        self
    }
}

impl From<RedisError> for Failure {
    /// Converts an error of the codec: an I/O error, or bytes that are not RESP.
    fn from(error: RedisError) -> Self {
        match io_error(&error) {
            Some(error) => Self::lost(error),
            // Omits the codec's message, which quotes the bytes.
            None if !error.is_io_error() => {
                Self::unreadable("the server sent bytes that are not RESP")
            }
            None => Self::lost("the connection failed"),
        }
    }
}

/// Returns the I/O error inside an error of the codec.
fn io_error(error: &RedisError) -> Option<&io::Error> {
    let inner = error.source()?;
    inner
        .downcast_ref::<Arc<dyn std::error::Error + Send + Sync>>()?
        .downcast_ref()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_io_error_of_the_codec_keeps_its_code() {
        let error = io::Error::from_raw_os_error(if cfg!(windows) { 10054 } else { 104 });
        let failure = Failure::from(RedisError::from(error));
        assert!(matches!(failure.kind, FailureKind::Lost));
        if cfg!(any(windows, target_os = "linux")) {
            assert_eq!(failure.cause.code(), Some("ECONNRESET"));
        }
        let damaged = RedisError::from((redis::ErrorKind::Parse, "quotes the bytes"));
        let failure = Failure::from(damaged);
        assert!(matches!(failure.kind, FailureKind::Unreadable));
        assert!(!failure.cause.to_string().contains("quotes"));
    }

    #[test]
    fn a_failure_of_a_node_names_it_and_has_its_address() {
        let node = Node {
            host: "h".into(),
            port: 1,
        };
        let failure = Failure::closed().of("the primary", &node);
        assert_eq!(
            failure.cause.to_string(),
            "the primary h:1: the server closed the connection"
        );
        assert_eq!(failure.cause.address(), Some(&Address::Tcp(node)));
        assert_eq!(failure.cause.code(), Some("ECONNRESET"));
    }
}
