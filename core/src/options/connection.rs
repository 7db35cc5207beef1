//! The options of a connection, and their defaults.

use super::address::{Address, Cluster, DEFAULT_PORT, Node, Sentinel};
use super::secret::Secret;
use super::tls::TlsOptions;
use crate::cache::CacheOptions;
use crate::server::Server;
use std::time::Duration;

/// The role of a connection in a cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Membership {
    /// Not part of a cluster: the connection handles all errors itself.
    #[default]
    None,
    /// Returns the commands that it cannot run to the cluster, which sends them to other nodes.
    Member,
    /// A member that may be connected to a replica, for reads.
    Reader,
}

/// The options of a connection. Stores with equal options share one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ConnectionOptions {
    pub address: Address,
    /// The app has set no address, which errors mention: it may have meant another one.
    pub is_default_address: bool,
    pub database: i64,
    pub username: Option<String>,
    pub password: Option<Secret>,
    pub tls: Option<TlsOptions>,
    /// Identifies the app's function that returns user name and password for each attempt to connect.
    /// Stores with the same function can share a connection.
    pub credentials: Option<CredentialsId>,
    pub connect_timeout: Duration,
    pub command_timeout: Duration,
    /// The maximum number of operations that wait for a connection.
    pub max_queue: usize,
    /// Makes operations fail immediately while there is no connection, except during the first attempt.
    pub fails_offline: bool,
    /// The number of retries of a failed attempt to connect, after which the operations that wait fail.
    pub max_retries: Option<u32>,
    pub membership: Membership,
    /// Enables the cache of sessions in this process.
    pub cache: Option<CacheOptions>,
}

/// Identifies a `credentials` function; unique in the process.
pub(crate) type CredentialsId = u64;

impl Default for ConnectionOptions {
    fn default() -> Self {
        Self {
            address: Address::Tcp(Node {
                host: "127.0.0.1".into(),
                port: DEFAULT_PORT,
            }),
            is_default_address: false,
            database: 0,
            username: None,
            password: None,
            tls: None,
            credentials: None,
            // The addon replaces these by the defaults of `lib/options.js`.
            connect_timeout: Duration::from_secs(5),
            command_timeout: Duration::from_secs(5),
            max_queue: 20_000,
            fails_offline: false,
            max_retries: None,
            membership: Membership::None,
            cache: None,
        }
    }
}

impl ConnectionOptions {
    /// Returns the name of the server in errors: a URL without user name and password.
    pub(crate) fn server_name(&self) -> String {
        let database = match self.database {
            0 => String::new(),
            n => format!("/{n}"),
        };
        let secure = if self.tls.is_some() { "s" } else { "" };
        match &self.address {
            Address::Unix { path } => format!("redis+unix://{path}"),
            Address::Tcp(node) => {
                let note = match self.is_default_address {
                    true => " (the default address: no url is set)",
                    false => "",
                };
                format!("redis{secure}://{node}{database}{note}")
            }
            Address::Sentinel(Sentinel { name, nodes, .. }) => {
                format!("redis{secure}+sentinel://{}/{name}{database}", list(nodes))
            }
            Address::Cluster(Cluster { nodes, .. }) => {
                format!("redis{secure}+cluster://{}{database}", list(nodes))
            }
        }
    }

    /// Returns the server, as errors name it.
    pub(crate) fn server(&self) -> Server {
        let address = match &self.address {
            Address::Tcp(_) | Address::Unix { .. } => Some(self.address.clone()),
            Address::Sentinel(_) | Address::Cluster(_) => None,
        };
        let is_cluster_node = self.membership != Membership::None;
        Server::new(self.server_name(), address, is_cluster_node)
    }

    /// Returns true if the operations that wait for a connection fail after this number of failed attempts.
    pub(crate) fn gives_up_after(&self, attempts: u32) -> bool {
        self.max_retries
            .is_some_and(|most| attempts > 0 && attempts.is_multiple_of(most.saturating_add(1)))
    }

    /// Returns true if keys are spread over several nodes.
    pub fn is_cluster(&self) -> bool {
        matches!(self.address, Address::Cluster(_))
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
    fn server_contains_no_secrets() {
        let mut options = ConnectionOptions {
            address: Address::Tcp(Node {
                host: "::1".into(),
                port: 7000,
            }),
            database: 2,
            username: Some("ann".into()),
            password: Some(Secret::new("hunter2".into())),
            tls: Some(TlsOptions::default()),
            ..ConnectionOptions::default()
        };
        assert_eq!(options.server_name(), "rediss://[::1]:7000/2");
        assert!(!format!("{options:?}").contains("hunter2"));
        options.address = Address::Unix {
            path: "/run/redis.sock".into(),
        };
        assert_eq!(options.server_name(), "redis+unix:///run/redis.sock");
        let options = ConnectionOptions {
            is_default_address: true,
            ..ConnectionOptions::default()
        };
        let server = "redis://127.0.0.1:6379 (the default address: no url is set)";
        assert_eq!(options.server_name(), server);
    }
}
