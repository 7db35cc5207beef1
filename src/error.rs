//! Why an operation or an option failed, in words that a developer can act on.
//!
//! Nothing here ever holds a password, a session's data or a session's id.

use std::time::Duration;

/// The one error type of the crate; [`Error::code`] is what JavaScript sees as `error.code`.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("The \"{field}\" option must be {expected}")]
    Option {
        field: &'static str,
        expected: String,
    },
    #[error(
        "no connection to {server} within {} ms ({}; the last: {cause})",
        .waited.as_millis(), counted(*.attempts)
    )]
    Unavailable {
        server: String,
        waited: Duration,
        attempts: u32,
        cause: String,
    },
    /// The server was connected all the time.
    #[error("{server} did not answer within {} ms", .waited.as_millis())]
    Timeout { server: String, waited: Duration },
    /// The server kept silent for so long that it was connected to anew, in vain.
    #[error(
        "{server} did not answer within {} ms ({} to connect; the last: {cause})",
        .waited.as_millis(), counted(*.attempts)
    )]
    Silent {
        server: String,
        waited: Duration,
        attempts: u32,
        cause: String,
    },
    /// It was sent, but the connection was lost each time, or the server put it off.
    #[error(
        "{server} did not serve it within {} ms (sent {}; the last: {cause})",
        .waited.as_millis(), times(*.sent)
    )]
    Unserved {
        server: String,
        waited: Duration,
        sent: u32,
        cause: String,
    },
    /// What was lost alone so often is the cause of it.
    #[error("{server} hung up on it {}, when nothing else was under way; the last: {cause}", times(*.count))]
    HungUp {
        server: String,
        count: u32,
        cause: String,
    },
    #[error(
        "no connection to {server}, and {most} operations wait for one, which is \"maxQueue\" \
         ({}; the last: {cause})",
        counted(*.attempts)
    )]
    QueueFull {
        server: String,
        most: usize,
        attempts: u32,
        cause: String,
    },
    /// A command that only the link before could send.
    #[error("the connection to {server} was replaced")]
    LinkReplaced { server: String },
    #[error(
        "the scan was interrupted before all keys were read ({server}; {restarts} restarts; last error: {cause})"
    )]
    ScanInterrupted {
        server: String,
        restarts: u32,
        cause: String,
    },
    /// A single attempt to connect, or a connection that was lost.
    #[error("no connection to {server}: {cause}")]
    Unreachable { server: String, cause: String },
    #[error("the \"credentials\" function did not let the store in at {server}: {cause}")]
    Credentials { server: String, cause: String },
    #[error("{server} answered {reply}: {message}")]
    Reply {
        server: String,
        /// The first word of the server's error, such as `WRONGTYPE`.
        reply: String,
        message: String,
    },
    #[error("{server} gave a reply that does not fit the command: {reply}")]
    UnexpectedReply { server: String, reply: &'static str },
    #[error(
        "the session in {server} was changed by others again and again for {} ms",
        .waited.as_millis()
    )]
    Contended { server: String, waited: Duration },
    /// The connection serves, but does not hear what changes.
    #[error("nothing is cached: {server} does not tell what changes: {cause}")]
    CacheOff { server: String, cause: String },
    /// Thrown by the app's client, and no reply of the server.
    #[error("{server} failed: {cause}")]
    Client { server: String, cause: String },
    #[error("the store is closed")]
    Closed,
    #[error("the operation was given up inside the addon; please report this")]
    Abandoned,
}

impl Error {
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Option { .. } => "ERR_INVALID_ARG_VALUE",
            Self::Unavailable { .. }
            | Self::Unserved { .. }
            | Self::HungUp { .. }
            | Self::Unreachable { .. }
            | Self::LinkReplaced { .. }
            | Self::ScanInterrupted { .. }
            | Self::Client { .. } => "ERR_REDIS_UNAVAILABLE",
            Self::QueueFull { .. } => "ERR_REDIS_QUEUE_FULL",
            Self::Credentials { .. } => "ERR_CREDENTIALS",
            Self::Timeout { .. } | Self::Silent { .. } => "ERR_REDIS_TIMEOUT",
            Self::Reply { .. } | Self::UnexpectedReply { .. } => "ERR_REDIS_REPLY",
            Self::Contended { .. } => "ERR_SESSION_CONFLICT",
            Self::CacheOff { .. } => "ERR_CACHE_OFF",
            Self::Closed => "ERR_STORE_CLOSED",
            Self::Abandoned => "ERR_INTERNAL",
        }
    }

    /// The first word of the server's error, where the server gave one.
    pub(crate) fn reply(&self) -> &str {
        match self {
            Self::Reply { reply, .. } => reply,
            _ => "",
        }
    }

    /// Whether a server that answers so will answer otherwise soon: it loads its data, runs somebody's script,
    /// looks for its primary, was made a replica, has too many clients.
    pub(crate) fn is_passing(&self) -> bool {
        match self {
            Self::Reply { reply, message, .. } => {
                matches!(
                    reply.as_str(),
                    "LOADING" | "BUSY" | "TRYAGAIN" | "CLUSTERDOWN" | "MASTERDOWN" | "READONLY"
                ) || message.starts_with("max number of clients")
            }
            _ => false,
        }
    }

    /// Whether the command did not fail as such: the connection was lost under it.
    pub(crate) fn is_loss(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::HungUp { .. })
    }

    /// Returns true if a scan that fails by it may start over: with another link, or once the node serves again.
    pub(crate) fn interrupts_scan(&self) -> bool {
        matches!(self, Self::LinkReplaced { .. }) || self.is_loss() || self.is_passing()
    }

    /// Whether the server does not accept who we say we are.
    pub(crate) fn is_about_credentials(&self) -> bool {
        matches!(self.reply(), "WRONGPASS" | "NOAUTH" | "NOPERM")
    }

    /// An error reply of the server. Redis quotes the arguments of commands it does not know, which
    /// may be ids and session data: that part is cut off.
    pub(crate) fn from_reply(server: &str, reply: &str, details: Option<&str>) -> Self {
        let details = details.unwrap_or("no details");
        let message = details
            .split_once(", with args beginning with")
            .map_or(details, |(before, _)| before);
        Self::Reply {
            server: server.to_owned(),
            reply: reply.to_owned(),
            message: message.to_owned(),
        }
    }
}

fn counted(attempts: u32) -> String {
    let plural = if attempts == 1 { "" } else { "s" };
    format!("{attempts} attempt{plural}")
}

fn times(count: u32) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} time{plural}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_quoted_by_the_server_are_cut_off() {
        let error = Error::from_reply(
            "redis://h:1",
            "ERR",
            Some("unknown command 'PEXPIRE', with args beginning with: 'sess:secret' '5'"),
        );
        assert_eq!(
            error.to_string(),
            "redis://h:1 answered ERR: unknown command 'PEXPIRE'"
        );
        assert_eq!(error.reply(), "ERR");
        assert_eq!(error.code(), "ERR_REDIS_REPLY");
    }

    #[test]
    fn an_outage_names_server_wait_attempts_and_cause() {
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
                    "no connection to redis://h:1 within 5000 ms ({counted}; the last: connection refused)"
                )
            );
        }
    }
}
