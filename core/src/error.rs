//! The errors of operations and options.
//!
//! Errors never contain passwords, session data or session IDs.

use crate::cause::Cause;
use crate::options::Address;
use crate::redaction::{redact, redact_arguments};
use crate::server::Server;
use std::iter::empty;
use std::time::Duration;

/// The error type of the crate. [`Error::code`] becomes `error.code` in JavaScript.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    #[error("The \"{field}\" option must be {expected}")]
    Option {
        field: &'static str,
        expected: String,
    },
    #[error(
        "no connection within {} ms ({server}; {}; last error: {cause})",
        .waited.as_millis(), count_attempts(*.attempts)
    )]
    Unavailable {
        server: Server,
        waited: Duration,
        attempts: u32,
        cause: Cause,
    },
    /// The server did not reply in time, over a link that stayed open.
    #[error("no reply within {} ms ({server})", .waited.as_millis())]
    Timeout { server: Server, waited: Duration },
    /// The server was silent until the read timeout, and the attempts to reconnect failed.
    #[error(
        "no reply within {} ms ({server}; {} to connect; last error: {cause})",
        .waited.as_millis(), count_attempts(*.attempts)
    )]
    Silent {
        server: Server,
        waited: Duration,
        attempts: u32,
        cause: Cause,
    },
    /// The command was sent, but each time the connection was lost or the server replied with a transient error.
    #[error(
        "no success within {} ms ({server}; {}; last error: {cause})",
        .waited.as_millis(), count_attempts(*.sent)
    )]
    Unserved {
        server: Server,
        waited: Duration,
        sent: u32,
        cause: Cause,
    },
    /// The connection was lost repeatedly while the command was the first without a reply.
    #[error(
        "the connection was lost during each attempt ({server}; {}; last error: {cause})",
        count_attempts(*.count)
    )]
    HungUp {
        server: Server,
        count: u32,
        cause: Cause,
    },
    /// The server's replies to the command could not be used.
    #[error(
        "no readable reply to any attempt ({server}; {}; last error: {cause})",
        count_attempts(*.count)
    )]
    UnreadableReply {
        server: Server,
        count: u32,
        cause: Cause,
    },
    #[error(
        "no connection, and {most} operations (\"maxQueue\") wait for one \
         ({server}; {}; last error: {cause})",
        count_attempts(*.attempts)
    )]
    QueueFull {
        server: Server,
        most: usize,
        attempts: u32,
        cause: Cause,
    },
    /// A command was pinned to a link that was replaced.
    #[error("the connection was replaced ({server})")]
    LinkReplaced { server: Server },
    #[error(
        "the scan was interrupted before all keys were read ({server}; {restarts} restarts; last error: {cause})"
    )]
    ScanInterrupted {
        server: Server,
        restarts: u32,
        cause: Cause,
    },
    /// An attempt to connect failed, or the connection was lost.
    #[error("no connection ({server}; last error: {cause})")]
    Unreachable { server: Server, cause: Cause },
    #[error(
        "authentication with the \"credentials\" function failed ({server}; last error: {cause})"
    )]
    Credentials { server: Server, cause: Cause },
    #[error(
        "the server replied {reply}: {message}{} ({server})",
        hint(reply, server)
    )]
    Reply {
        server: Server,
        /// The first word of the server's error, such as `WRONGTYPE`.
        reply: String,
        message: String,
    },
    #[error("the reply is {reply}, which does not fit the command ({server})")]
    UnexpectedReply { server: Server, reply: &'static str },
    /// The connection works, but client tracking could not be enabled.
    #[error(
        "the cache is off, since the server does not report changed keys ({server}; last error: {cause})"
    )]
    CacheOff { server: Server, cause: Cause },
    /// The connection task panicked.
    #[error("the connection task panicked and was restarted; please report this ({server})")]
    Interrupted { server: Server },
    /// A JavaScript string cannot hold the stored value.
    #[error("the stored value is longer than a JavaScript string")]
    TooLong,
    #[error("the store is closed")]
    Closed,
    #[error("the operation was abandoned inside the addon; please report this")]
    Abandoned,
}

impl Error {
    /// Returns the error code that JavaScript sees.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Option { .. } => "ERR_INVALID_ARG_VALUE",
            Self::Unavailable { .. }
            | Self::Unserved { .. }
            | Self::HungUp { .. }
            | Self::Unreachable { .. }
            | Self::LinkReplaced { .. }
            | Self::ScanInterrupted { .. } => "ERR_REDIS_UNAVAILABLE",
            Self::QueueFull { .. } => "ERR_REDIS_QUEUE_FULL",
            Self::Credentials { .. } => "ERR_CREDENTIALS",
            Self::Timeout { .. } | Self::Silent { .. } => "ERR_REDIS_TIMEOUT",
            Self::Reply { .. } | Self::UnexpectedReply { .. } | Self::UnreadableReply { .. } => {
                "ERR_REDIS_REPLY"
            }
            Self::CacheOff { .. } => "ERR_CACHE_OFF",
            Self::TooLong => "ERR_SESSION_CORRUPT",
            Self::Closed => "ERR_STORE_CLOSED",
            Self::Interrupted { .. } | Self::Abandoned => "ERR_INTERNAL",
        }
    }

    /// Returns the first word of the server's error reply; `None` for other errors.
    pub fn reply(&self) -> Option<&str> {
        match self {
            Self::Reply { reply, .. } => Some(reply),
            _ => None,
        }
    }

    /// Returns the reason for the last failure, if the error follows from others.
    pub fn cause(&self) -> Option<&Cause> {
        match self {
            Self::Unavailable { cause, .. }
            | Self::Silent { cause, .. }
            | Self::Unserved { cause, .. }
            | Self::HungUp { cause, .. }
            | Self::UnreadableReply { cause, .. }
            | Self::QueueFull { cause, .. }
            | Self::ScanInterrupted { cause, .. }
            | Self::Unreachable { cause, .. }
            | Self::Credentials { cause, .. }
            | Self::CacheOff { cause, .. } => Some(cause),
            _ => None,
        }
    }

    /// Returns the address of the server that failed, if it is known.
    pub fn address(&self) -> Option<Address> {
        let failed = self.cause().and_then(Cause::address).cloned();
        failed.or_else(|| self.server()?.address())
    }

    fn server(&self) -> Option<&Server> {
        match self {
            Self::Unavailable { server, .. }
            | Self::Timeout { server, .. }
            | Self::Silent { server, .. }
            | Self::Unserved { server, .. }
            | Self::HungUp { server, .. }
            | Self::UnreadableReply { server, .. }
            | Self::QueueFull { server, .. }
            | Self::LinkReplaced { server }
            | Self::ScanInterrupted { server, .. }
            | Self::Unreachable { server, .. }
            | Self::Credentials { server, .. }
            | Self::Reply { server, .. }
            | Self::UnexpectedReply { server, .. }
            | Self::CacheOff { server, .. }
            | Self::Interrupted { server } => Some(server),
            Self::Option { .. } | Self::TooLong | Self::Closed | Self::Abandoned => None,
        }
    }

    /// Returns the number of failed attempts that the message counts.
    pub fn attempts(&self) -> Option<u32> {
        match self {
            Self::Unavailable { attempts, .. }
            | Self::Silent { attempts, .. }
            | Self::QueueFull { attempts, .. } => Some(*attempts),
            Self::Unserved { sent, .. } => Some(*sent),
            Self::HungUp { count, .. } | Self::UnreadableReply { count, .. } => Some(*count),
            _ => None,
        }
    }

    /// Returns true for a transient error: the server loads its data, runs a script, has no primary, became a replica,
    /// or has too many clients; or a proxy has lost its server.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Self::Reply { reply, message, .. } => {
                matches!(
                    reply.as_str(),
                    "LOADING" | "BUSY" | "TRYAGAIN" | "CLUSTERDOWN" | "MASTERDOWN" | "READONLY"
                ) || message.starts_with("max number of clients")
                    || self.is_upstream()
            }
            _ => false,
        }
    }

    /// Returns true for the errors of proxies that cannot reach a server.
    pub(crate) fn is_upstream(&self) -> bool {
        let Self::Reply { reply, message, .. } = self else {
            return false;
        };
        match reply.as_str() {
            // Envoy.
            "upstream" => message == "failure",
            "no" => message == "upstream host",
            "ERR" => UPSTREAM_ERRORS.contains(&message.as_str()),
            _ => false,
        }
    }

    /// Returns true if the server does not offer the command, or does not allow it to this user.
    pub(crate) fn is_command_denied(&self) -> bool {
        let Self::Reply { reply, message, .. } = self else {
            return false;
        };
        let says = |words: &str| message.contains(words);
        match reply.as_str() {
            "NOPERM" => says("command"),
            "ERR" => {
                says("unknown command")
                    || says("nsupported command")
                    || says("command")
                        && (says("not support") || says("not allowed") || says("disabled"))
            }
            _ => false,
        }
    }

    /// Returns true if the connection was lost while the command was in flight.
    pub(crate) fn is_loss(&self) -> bool {
        matches!(
            self,
            Self::Unreachable { .. }
                | Self::HungUp { .. }
                | Self::UnreadableReply { .. }
                | Self::Interrupted { .. }
        )
    }

    /// Returns true if a scan that fails with this error may start over, on another link or once the node serves again.
    pub(crate) fn interrupts_scan(&self) -> bool {
        matches!(self, Self::LinkReplaced { .. }) || self.is_loss() || self.is_transient()
    }

    /// Returns true if the server rejected the credentials.
    pub(crate) fn is_about_credentials(&self) -> bool {
        matches!(self.reply(), Some("WRONGPASS" | "NOAUTH" | "NOPERM"))
    }

    /// Creates an error from an error reply of the server.
    pub(crate) fn from_reply(
        server: impl Into<Server>,
        reply: &str,
        details: Option<&str>,
    ) -> Self {
        Self::from_reply_to(server, empty(), reply, details)
    }

    /// Creates an error from the error reply to a command with these `arguments`. Servers quote arguments, which may be
    /// passwords, IDs and session data; they are removed.
    pub(crate) fn from_reply_to<'a>(
        server: impl Into<Server>,
        arguments: impl IntoIterator<Item = &'a [u8]>,
        reply: &str,
        details: Option<&str>,
    ) -> Self {
        let (reply, message) = in_script(reply, details.unwrap_or("no details"));
        // Servers describe the commands, not what is missing.
        let message = match (reply, message.starts_with("HELLO must be called")) {
            ("NOAUTH", true) => "a password is needed".to_owned(),
            _ => redact_arguments(without_quoted(message), arguments),
        };
        Self::Reply {
            server: server.into(),
            reply: match reply.bytes().all(|byte| byte.is_ascii_uppercase()) {
                true => reply.to_owned(),
                false => redact(reply),
            },
            message,
        }
    }
}

impl From<&Error> for Cause {
    /// Creates the cause of an error that follows from another one.
    fn from(error: &Error) -> Self {
        let inner = error.cause();
        let code = inner.and_then(Self::code);
        let mut cause = Self::new(error.to_string()).with_code(code.unwrap_or(error.code()));
        if let Some(reply) = inner.and_then(Self::reply).or(error.reply()) {
            cause = cause.with_reply(reply);
        }
        match error.address() {
            Some(address) => cause.at(&address),
            None => cause,
        }
    }
}

impl From<Error> for Cause {
    fn from(error: Error) -> Self {
        Self::from(&error)
    }
}

/// Error replies of a twemproxy that has lost its server: the operating system's messages.
const UPSTREAM_ERRORS: [&str; 7] = [
    "Connection refused",
    "Connection reset by peer",
    "Connection timed out",
    "Broken pipe",
    "Host is down",
    "No route to host",
    "Network is unreachable",
];

/// Returns the error that ended a script, which servers before 7.0 wrap as
/// `ERR Error running script (…): @user_script: 2: -READONLY …`.
fn in_script<'a>(reply: &'a str, message: &'a str) -> (&'a str, &'a str) {
    let location = |byte: char| byte == ':' || byte == ' ' || byte.is_ascii_digit();
    let inner = match message.rsplit_once("@user_script") {
        Some((before, inner)) if before.starts_with("Error running script") => {
            inner.trim_start_matches(location).trim_start_matches('-')
        }
        _ => return (reply, message),
    };
    match inner.split_once(' ') {
        Some((code, rest))
            if code.len() > 1 && code.bytes().all(|byte| byte.is_ascii_uppercase()) =>
        {
            (code, rest)
        }
        _ => (reply, message),
    }
}

/// Returns the part of a message about an unknown command that quotes none of its arguments.
fn without_quoted(message: &str) -> &str {
    let end = ["with arg", "args:", "args beginning"]
        .iter()
        .filter_map(|words| message.find(words))
        .min();
    match end {
        Some(end) => message[..end].trim_end_matches([' ', ',']),
        None => message,
    }
}

/// Returns what the error reply says about a likely mistake in the options.
fn hint(reply: &str, server: &Server) -> &'static str {
    match reply {
        "NOAUTH" => " (set the password, as in redis://:password@host)",
        "MOVED" | "ASK" | "CROSSSLOT" if !server.is_cluster_node() => {
            " (the server belongs to a cluster: use the \"cluster\" option or redis+cluster://)"
        }
        _ => "",
    }
}

fn count_attempts(attempts: u32) -> String {
    let plural = if attempts == 1 { "" } else { "s" };
    format!("{attempts} attempt{plural}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_quoted_by_the_server_are_removed() {
        let error = Error::from_reply(
            "redis://h:1",
            "ERR",
            Some("unknown command 'PEXPIRE', with args beginning with: 'sess:secret' '5'"),
        );
        assert_eq!(
            error.to_string(),
            "the server replied ERR: unknown command 'PEXPIRE' (redis://h:1)"
        );
        assert_eq!(error.reply(), Some("ERR"));
        assert_eq!(error.code(), "ERR_REDIS_REPLY");
        let error = Error::from_reply(
            "redis://h:1",
            "ERR",
            Some("unknown command `HELLO`, with args: `3` `AUTH` `default` `pw`"),
        );
        assert_eq!(
            error.to_string(),
            "the server replied ERR: unknown command `HELLO` (redis://h:1)"
        );
    }

    #[test]
    fn the_error_inside_a_script_error_is_extracted() {
        for (details, code, is_transient) in [
            (
                "@user_script: 4: -READONLY You can't write against a read only replica.",
                "READONLY",
                true,
            ),
            (
                "@user_script:2: @user_script: 2: -MASTERDOWN Link with MASTER is down",
                "MASTERDOWN",
                true,
            ),
            (
                "@user_script:3: @user_script: 3: -OOM command not allowed when used memory > 'maxmemory'.",
                "OOM",
                false,
            ),
            (
                "@user_script:1: WRONGTYPE Operation against a key holding the wrong kind of value",
                "WRONGTYPE",
                false,
            ),
            ("@user_script:1: attempt to index a nil value", "ERR", false),
        ] {
            let details = format!("Error running script (call to f_995f2c55): {details}");
            let error = Error::from_reply("redis://h:1", "ERR", Some(&details));
            assert_eq!(
                (error.reply(), error.is_transient()),
                (Some(code), is_transient),
                "{details}"
            );
        }
    }

    #[test]
    fn errors_of_a_proxy_without_its_server_are_transient() {
        for (code, details, is_transient) in [
            ("upstream", "failure", true),
            ("no", "upstream host", true),
            ("ERR", "Connection refused", true),
            ("ERR", "Host is down", true),
            ("ERR", "Invalid argument", false),
            ("no", "such key", false),
        ] {
            let error = Error::from_reply("redis://h:1", code, Some(details));
            assert_eq!(error.is_transient(), is_transient, "{code} {details}");
        }
    }

    #[test]
    fn errors_about_forbidden_or_unknown_commands_are_denials() {
        for (code, details, is_denied) in [
            (
                "NOPERM",
                "User app has no permissions to run the 'pexpire' command",
                true,
            ),
            (
                "NOPERM",
                "this user has no permissions to run the 'pttl' command or its subcommand",
                true,
            ),
            ("NOPERM", "No permissions to access a key", false),
            (
                "ERR",
                "unknown command 'PEXPIRE', with args beginning with: 'k' '5'",
                true,
            ),
            ("ERR", "unsupported command 'unlink'", true),
            ("ERR", "syntax error", false),
            (
                "OOM",
                "command not allowed when used memory > 'maxmemory'.",
                false,
            ),
        ] {
            let error = Error::from_reply("redis://h:1", code, Some(details));
            assert_eq!(error.is_command_denied(), is_denied, "{code} {details}");
        }
    }

    #[test]
    fn unavailable_contains_server_wait_attempts_and_cause() {
        for (attempts, counted) in [(1, "1 attempt"), (3, "3 attempts")] {
            let error = Error::Unavailable {
                server: "redis://h:1".into(),
                waited: Duration::from_secs(5),
                attempts,
                cause: "connection refused".into(),
            };
            assert_eq!(
                error.to_string(),
                format!(
                    "no connection within 5000 ms (redis://h:1; {counted}; last error: connection refused)"
                )
            );
        }
    }
}
