//! The address of Redis: of one server, or of several.

use super::secret::Secret;
use super::tls::TlsOptions;
use std::fmt;

/// Redis's own default port.
pub const DEFAULT_PORT: u16 = 6379;
/// The default port of a Sentinel.
pub(super) const SENTINEL_PORT: u16 = 26379;

/// The address of Redis.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    Tcp(Node),
    Unix {
        path: String,
    },
    /// The primary monitored by these sentinels.
    Sentinel(Sentinel),
    /// The cluster of these seed nodes.
    Cluster(Cluster),
}

/// The address of a server.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Node {
    pub host: String,
    pub port: u16,
}

impl Node {
    /// Returns the address at which this process reaches the node, if servers announce another one.
    pub fn reached(self, nat_map: &NatMap) -> Self {
        let mapped = nat_map.iter().find(|(announced, _)| *announced == self);
        mapped.map(|(_, reached)| reached.clone()).unwrap_or(self)
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // An IPv6 address before a port needs brackets.
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// Maps the addresses that servers announce to those at which this process reaches them.
pub type NatMap = Vec<(Node, Node)>;

/// The options for Sentinel.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Sentinel {
    /// The name under which the sentinels monitor the primary.
    pub name: String,
    pub nodes: Vec<Node>,
    pub username: Option<String>,
    pub password: Option<Secret>,
    pub tls: Option<TlsOptions>,
    pub nat_map: NatMap,
}

/// The options for a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Cluster {
    pub nodes: Vec<Node>,
    pub nat_map: NatMap,
    /// Sends reads to replicas, if there are any.
    pub reads_from_replicas: bool,
}
