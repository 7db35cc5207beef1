//! The nodes of a cluster: a connection to each, and its state.

use super::events::RouterEvent;
use crate::cache::Cache;
use crate::connection::counters::Counters;
use crate::connection::handle::{Connection, Credentials};
use crate::connection::network::Network;
use crate::connection::status::{Event, Watch};
use crate::connection::supervisor;
use crate::connection::tracking::Tracking;
use crate::error::Error;
use crate::observers::{Observation, Observers, Place, kind};
use crate::options::{Address, ConnectionOptions, Membership, Node};
use std::collections::{HashMap, HashSet};
use std::mem;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::Instant;

/// The time for which no command is read from a replica after a transient error.
const REPLICA_AVOIDANCE: Duration = Duration::from_secs(1);

/// The connections to the nodes of a cluster.
pub(super) struct ClusterNodes {
    network: Arc<dyn Network>,
    /// The options of each connection, except the address.
    options: ConnectionOptions,
    cache: Option<Arc<Cache>>,
    observers: Arc<Observers>,
    /// The counters of the cluster.
    counters: Arc<Counters>,
    events: mpsc::UnboundedSender<RouterEvent>,
    nodes: HashMap<Node, Member>,
    /// Nodes that wait for requested credentials.
    awaiting_credentials: HashSet<Node>,
}

/// A connected node.
struct Member {
    connection: Connection,
    task: AbortHandle,
    /// The last error of its connection, until it is ready again.
    last_error: Option<Error>,
    /// The time until which it is not used as a replica.
    avoided_until: Option<Instant>,
    /// Keeps the watch alive: the connection holds a weak reference.
    _watch: Arc<NodeEvents>,
}

impl Member {
    fn is_ready(&self) -> bool {
        self.connection.shared.health.is_ready()
    }
}

/// Forwards the events of a node's connection to the router.
struct NodeEvents {
    node: Node,
    events: mpsc::UnboundedSender<RouterEvent>,
}

impl Watch for NodeEvents {
    fn event(&self, event: &Event) {
        // The router ends only when no caller is left.
        let _ = self
            .events
            .send(RouterEvent::Node(self.node.clone(), event.clone()));
    }
}

impl ClusterNodes {
    /// Creates an empty set of nodes. `options` are those of the cluster.
    pub(super) fn new(
        network: Arc<dyn Network>,
        options: ConnectionOptions,
        membership: Membership,
        cache: Option<Arc<Cache>>,
        observers: Arc<Observers>,
        counters: Arc<Counters>,
        events: mpsc::UnboundedSender<RouterEvent>,
    ) -> Self {
        Self {
            network,
            options: ConnectionOptions {
                membership,
                // The router bounds the queue.
                max_queue: usize::MAX,
                ..options
            },
            cache,
            observers,
            counters,
            events,
            nodes: HashMap::new(),
            awaiting_credentials: HashSet::new(),
        }
    }

    /// Opens a connection to a node, if there is none.
    pub(super) fn open(&mut self, node: &Node) {
        if self.nodes.contains_key(node) {
            return;
        }
        let options = ConnectionOptions {
            address: Address::Tcp(node.clone()),
            ..self.options.clone()
        };
        let tracking = self.cache.clone().map(|cache| {
            let events = self.events.clone();
            let relay = move |event| {
                // The router ends only when no caller is left.
                let _ = events.send(RouterEvent::Tracking(event));
            };
            Tracking::new(cache, Some(Box::new(relay)))
        });
        let (connection, task) = supervisor::spawn(
            &Handle::current(),
            Arc::clone(&self.network),
            options,
            None,
            tracking,
            Arc::clone(&self.observers),
            Some(Arc::clone(&self.counters)),
        );
        let watch = Arc::new(NodeEvents {
            node: node.clone(),
            events: self.events.clone(),
        });
        let weak: Weak<NodeEvents> = Arc::downgrade(&watch);
        connection.watch(weak);
        let member = Member {
            connection,
            task,
            last_error: None,
            avoided_until: None,
            _watch: watch,
        };
        self.nodes.insert(node.clone(), member);
    }

    pub(super) fn connection(&self, node: &Node) -> Option<&Connection> {
        self.nodes.get(node).map(|member| &member.connection)
    }

    pub(super) fn connections(&self) -> impl Iterator<Item = (&Node, &Connection)> {
        let members = self.nodes.iter();
        members.map(|(node, member)| (node, &member.connection))
    }

    /// Closes the connections to nodes that are no longer needed.
    pub(super) fn retain(&mut self, is_needed: impl Fn(&Node) -> bool) {
        self.nodes.retain(|node, _| is_needed(node));
    }

    /// Aborts all connections at once, even with commands in flight.
    pub(super) fn abort(&self) {
        for (node, member) in &self.nodes {
            if member.is_ready() {
                let server = &member.connection.shared.server;
                self.observers
                    .report(kind::LINKS, || Observation::Disconnected {
                        place: Place::new(
                            server,
                            &Address::Tcp(node.clone()),
                            self.options.database,
                        ),
                        reason: "the store was closed".to_owned(),
                        error: None,
                    });
            }
            member.task.abort();
        }
    }

    // ---- State ----

    pub(super) fn is_ready(&self, node: &Node) -> bool {
        self.nodes.get(node).is_some_and(Member::is_ready)
    }

    pub(super) fn last_error(&self, node: &Node) -> Option<&Error> {
        self.nodes.get(node)?.last_error.as_ref()
    }

    pub(super) fn set_last_error(&mut self, node: &Node, last_error: Option<Error>) {
        if let Some(member) = self.nodes.get_mut(node) {
            member.last_error = last_error;
        }
    }

    /// Returns true if a replica is ready and has not returned a transient error lately.
    pub(super) fn is_readable(&self, replica: &Node) -> bool {
        let member = self.nodes.get(replica).filter(|member| member.is_ready());
        member.is_some_and(|member| {
            member
                .avoided_until
                .is_none_or(|time| time <= Instant::now())
        })
    }

    /// Avoids a replica for a while, after a transient error.
    pub(super) fn avoid(&mut self, replica: &Node) {
        if let Some(member) = self.nodes.get_mut(replica) {
            member.avoided_until = Some(Instant::now() + REPLICA_AVOIDANCE);
        }
    }

    // ---- Credentials ----

    /// Returns true if any node waits for credentials.
    pub(super) fn is_awaiting_credentials(&self) -> bool {
        !self.awaiting_credentials.is_empty()
    }

    /// Adds a node that waits for credentials. Returns true if the app must be asked for them: for the first node, and
    /// for one that waited before and received none.
    pub(super) fn add_awaiting_credentials(&mut self, node: Node) -> bool {
        let was_requested = self.is_awaiting_credentials();
        !self.awaiting_credentials.insert(node) || !was_requested
    }

    /// Passes credentials to the nodes that wait for them.
    pub(super) fn deliver_credentials(&mut self, result: &Result<Credentials, String>) {
        for node in mem::take(&mut self.awaiting_credentials) {
            if let Some(connection) = self.connection(&node) {
                connection.provide_credentials(result.clone());
            }
        }
    }

    /// Passes renewed credentials to all nodes.
    pub(super) fn renew_credentials(&self, credentials: &Credentials) {
        for (_, connection) in self.connections() {
            connection.renew_credentials(credentials.clone());
        }
    }
}
