//! Where Redis is and how to be let in.

mod url;

pub(crate) use self::url::parse_url;

use std::fmt;
use std::time::Duration;

/// How long one attempt to connect may take, TLS and authentication included.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long an operation may take, waiting for a connection included.
pub(crate) const COMMAND_TIMEOUT: Duration = Duration::from_secs(5);
/// How many operations may wait for a connection.
pub(crate) const MAX_QUEUE: usize = 20_000;
/// Redis's own default port.
pub(crate) const DEFAULT_PORT: u16 = 6379;

/// A text that never shows itself.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Secret(String);

impl Secret {
    pub(crate) fn new(text: String) -> Self {
        Self(text)
    }

    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Address {
    Tcp { host: String, port: u16 },
    Unix { path: String },
}

/// TLS settings with the meaning that Node's `tls.connect` gives them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct TlsOptions {
    /// PEM; replaces the system's roots.
    pub(crate) ca: Option<Vec<u8>>,
    /// PEM; the client's own certificate chain.
    pub(crate) cert: Option<Vec<u8>>,
    /// PEM; the key of `cert`.
    pub(crate) key: Option<Secret>,
    /// The name asked for and checked instead of the host.
    pub(crate) servername: Option<String>,
    pub(crate) reject_unauthorized: bool,
}

impl Default for TlsOptions {
    fn default() -> Self {
        Self {
            ca: None,
            cert: None,
            key: None,
            servername: None,
            reject_unauthorized: true,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ConnectionOptions {
    pub(crate) address: Address,
    pub(crate) database: i64,
    pub(crate) username: Option<String>,
    pub(crate) password: Option<Secret>,
    pub(crate) tls: Option<TlsOptions>,
    /// Names the function of the app that gives user and password for each attempt to connect.
    /// Stores with the same function can share a connection.
    pub(crate) credentials: Option<CredentialsId>,
    pub(crate) connect_timeout: Duration,
    pub(crate) command_timeout: Duration,
    /// How many commands may wait for a connection.
    pub(crate) max_queue: usize,
}

/// Unique in the process.
pub(crate) type CredentialsId = u64;

impl Default for ConnectionOptions {
    fn default() -> Self {
        Self {
            address: Address::Tcp {
                host: "127.0.0.1".into(),
                port: DEFAULT_PORT,
            },
            database: 0,
            username: None,
            password: None,
            tls: None,
            credentials: None,
            connect_timeout: CONNECT_TIMEOUT,
            command_timeout: COMMAND_TIMEOUT,
            max_queue: MAX_QUEUE,
        }
    }
}

impl ConnectionOptions {
    /// The server as errors name it: a URL without user and password.
    pub(crate) fn server(&self) -> String {
        let database = match self.database {
            0 => String::new(),
            n => format!("/{n}"),
        };
        match &self.address {
            Address::Unix { path } => format!("redis+unix://{path}"),
            Address::Tcp { host, port } => {
                let scheme = if self.tls.is_some() {
                    "rediss"
                } else {
                    "redis"
                };
                // An IPv6 address needs brackets beside a port.
                if host.contains(':') {
                    format!("{scheme}://[{host}]:{port}{database}")
                } else {
                    format!("{scheme}://{host}:{port}{database}")
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_is_named_without_secrets() {
        let mut options = ConnectionOptions {
            address: Address::Tcp {
                host: "::1".into(),
                port: 7000,
            },
            database: 2,
            username: Some("ann".into()),
            password: Some(Secret::new("hunter2".into())),
            tls: Some(TlsOptions::default()),
            ..ConnectionOptions::default()
        };
        assert_eq!(options.server(), "rediss://[::1]:7000/2");
        assert!(!format!("{options:?}").contains("hunter2"));
        options.address = Address::Unix {
            path: "/run/redis.sock".into(),
        };
        assert_eq!(options.server(), "redis+unix:///run/redis.sock");
    }
}
