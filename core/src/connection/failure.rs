//! The reason why a connection could not be made, or was lost.

use crate::error::Error;
use redis::RedisError;
use std::io;

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

    /// Adds a hint if the server closed a connection without TLS before its first reply, as it does on a TLS port.
    pub(super) fn with_tls_hint(mut self) -> Self {
        let is_closed = self.cause == Self::closed().cause || self.cause.ends_with("(ECONNRESET)");
        if matches!(self.kind, FailureKind::HungUp) && is_closed {
            self.cause
                .push_str(" (does it expect TLS: rediss:// or the \"tls\" option?)");
        }
        self
    }
}

impl From<RedisError> for Failure {
    /// Converts an error of the codec: an I/O error, or bytes that are not RESP.
    fn from(error: RedisError) -> Self {
        if error.is_io_error() {
            Self::lost(with_code(&error.to_string()))
        } else {
            // Omits the codec's message, which quotes the bytes.
            Self::unreadable("the server sent bytes that are not RESP")
        }
    }
}

/// Returns the message of a system error with the code that Node has for it, in place of its number.
pub(super) fn with_code(text: &str) -> String {
    let (reason, number) = text.split_once(" (os error ").unwrap_or((text, ""));
    let kind = number
        .trim_end_matches(')')
        .parse()
        .map(|number| io::Error::from_raw_os_error(number).kind());
    let code = match kind {
        Ok(io::ErrorKind::ConnectionRefused) => "ECONNREFUSED",
        Ok(io::ErrorKind::ConnectionReset) => "ECONNRESET",
        Ok(io::ErrorKind::TimedOut) => "ETIMEDOUT",
        Ok(io::ErrorKind::HostUnreachable) => "EHOSTUNREACH",
        Ok(io::ErrorKind::NetworkUnreachable) => "ENETUNREACH",
        Ok(io::ErrorKind::PermissionDenied) => "EACCES",
        Ok(io::ErrorKind::NotFound) => "ENOENT",
        _ if reason.ends_with("Name or service not known") => "ENOTFOUND",
        _ if reason.ends_with("Temporary failure in name resolution") => "EAI_AGAIN",
        _ => return text.to_owned(),
    };
    format!("{reason} ({code})")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn with_code_replaces_the_number_of_a_system_error() {
        let unused = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let refused = TcpStream::connect(unused.expect("an address")).expect_err("a closed port");
        let refused = refused.to_string();
        assert!(with_code(&refused).ends_with(" (ECONNREFUSED)"));
        let unknown = "failed to lookup address information: Name or service not known";
        assert_eq!(with_code(unknown), format!("{unknown} (ENOTFOUND)"));
        for other in ["unexpected end of file", "x (os error 9999)", "x (os error"] {
            assert_eq!(with_code(other), other);
        }
    }
}
