//! Where Redis is and how to be let in.

mod url;

pub use self::url::parse_url;

use crate::cache::CacheOptions;
use crate::redaction::register;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// How long one attempt to connect may take, TLS and authentication included.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long an operation may take, waiting for a connection included.
pub(crate) const COMMAND_TIMEOUT: Duration = Duration::from_secs(5);
/// How many operations may wait for a connection.
pub(crate) const MAX_QUEUE: usize = 20_000;
/// Redis's own default port.
pub const DEFAULT_PORT: u16 = 6379;
/// The port at which sentinels listen where nothing else is said.
const SENTINEL_PORT: u16 = 26379;

/// A text that never shows itself, and that [`redact`](crate::redaction::redact) removes from other texts.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Secret(Arc<str>);

impl Secret {
    pub fn new(text: String) -> Self {
        let text = text.into();
        register(&text);
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

/// Where to find Redis.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    Tcp {
        host: String,
        port: u16,
    },
    Unix {
        path: String,
    },
    /// The primary that these sentinels watch.
    Sentinel(Sentinel),
    /// The cluster that these nodes belong to.
    Cluster(Cluster),
    /// Whatever the app's own client is connected to.
    Client(Client),
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Node {
    pub host: String,
    pub port: u16,
}

impl Node {
    /// At the address at which we reach it, where servers announce another.
    pub fn reached(self, nat_map: &NatMap) -> Self {
        let mapped = nat_map.iter().find(|(announced, _)| *announced == self);
        mapped.map(|(_, reached)| reached.clone()).unwrap_or(self)
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // An IPv6 address needs brackets beside a port.
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// From addresses as the servers announce them to those at which we reach them.
pub type NatMap = Vec<(Node, Node)>;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Sentinel {
    /// What the sentinels call the primary and its replicas.
    pub name: String,
    pub nodes: Vec<Node>,
    pub username: Option<String>,
    pub password: Option<Secret>,
    pub tls: Option<TlsOptions>,
    pub nat_map: NatMap,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Cluster {
    pub nodes: Vec<Node>,
    pub nat_map: NatMap,
    /// Whether reads go to replicas where there are any.
    pub reads_from_replicas: bool,
}

/// A client of the app that runs the commands itself.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Client {
    /// Unique in the process.
    pub id: u64,
    /// As errors name it.
    pub name: String,
    /// Its keys are spread over several nodes.
    pub is_cluster: bool,
}

/// What a connection is to a cluster, if it belongs to one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Membership {
    /// The connection alone sees to what is sent over it.
    #[default]
    None,
    /// What it cannot do goes back to the cluster, which knows other nodes.
    Member,
    /// The same, and a replica may be read over it.
    Reader,
}

/// TLS settings with the meaning that Node's `tls.connect` gives them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TlsOptions {
    /// PEM; replaces the system's roots.
    pub ca: Option<Vec<u8>>,
    /// PEM; adds to the system's roots.
    pub roots: Option<Arc<[u8]>>,
    /// PEM; the client's own certificate chain.
    pub cert: Option<Vec<u8>>,
    /// PEM; the key of `cert`.
    pub key: Option<Secret>,
    /// The name asked for and checked instead of the host.
    pub servername: Option<String>,
    pub reject_unauthorized: bool,
}

impl Default for TlsOptions {
    fn default() -> Self {
        Self {
            ca: None,
            roots: None,
            cert: None,
            key: None,
            servername: None,
            reject_unauthorized: true,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ConnectionOptions {
    pub address: Address,
    pub database: i64,
    pub username: Option<String>,
    pub password: Option<Secret>,
    pub tls: Option<TlsOptions>,
    /// Names the function of the app that gives user and password for each attempt to connect.
    /// Stores with the same function can share a connection.
    pub credentials: Option<CredentialsId>,
    pub connect_timeout: Duration,
    pub command_timeout: Duration,
    /// How many operations may wait for a connection.
    pub max_queue: usize,
    /// Operations fail at once while there is no connection, except during the first attempt.
    pub fails_offline: bool,
    /// Operations that wait for a connection fail after so many failed attempts, and one.
    pub max_retries: Option<u32>,
    pub membership: Membership,
    /// Whether sessions that were read are kept in this process.
    pub cache: Option<CacheOptions>,
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
            fails_offline: false,
            max_retries: None,
            membership: Membership::None,
            cache: None,
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
        let secure = if self.tls.is_some() { "s" } else { "" };
        match &self.address {
            Address::Unix { path } => format!("redis+unix://{path}"),
            Address::Tcp { host, port } => {
                let (host, port) = (host.clone(), *port);
                format!("redis{secure}://{}{database}", Node { host, port })
            }
            Address::Sentinel(Sentinel { name, nodes, .. }) => {
                format!("redis{secure}+sentinel://{}/{name}{database}", list(nodes))
            }
            Address::Cluster(Cluster { nodes, .. }) => {
                format!("redis{secure}+cluster://{}{database}", list(nodes))
            }
            Address::Client(Client { name, .. }) => format!("Redis through {name}"),
        }
    }

    /// Whether operations that wait for a connection fail after this number of failed attempts.
    pub(crate) fn gives_up_after(&self, attempts: u32) -> bool {
        self.max_retries
            .is_some_and(|most| attempts > 0 && attempts.is_multiple_of(most.saturating_add(1)))
    }

    /// Whether keys are spread over several nodes.
    pub fn is_cluster(&self) -> bool {
        match &self.address {
            Address::Cluster(_) => true,
            Address::Client(client) => client.is_cluster,
            _ => false,
        }
    }
}

fn list(nodes: &[Node]) -> String {
    let nodes: Vec<_> = nodes.iter().map(Node::to_string).collect();
    nodes.join(",")
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
