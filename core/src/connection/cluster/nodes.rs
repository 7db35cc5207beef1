//! The nodes of a cluster: a connection to each, and how it is.

use super::RouterEvent;
use crate::cache::Cache;
use crate::connection::status::{Event, Watch};
use crate::connection::tracking::Tracking;
use crate::connection::{Connection, Credentials};
use crate::error::Error;
use crate::options::{Address, ConnectionOptions, Membership, Node};
use std::collections::{HashMap, HashSet};
use std::mem;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::Instant;

/// A replica that has put something off is not read from for this time.
const REPLICA_AVOIDANCE: Duration = Duration::from_secs(1);

pub(super) struct ClusterNodes {
    runtime: Handle,
    /// Of each connection, but for the address.
    options: ConnectionOptions,
    /// Where what is read is kept.
    cache: Option<Arc<Cache>>,
    events: mpsc::UnboundedSender<RouterEvent>,
    nodes: HashMap<Node, Member>,
    /// Those that wait for credentials, once these have been asked for.
    awaiting_credentials: HashSet<Node>,
}

struct Member {
    connection: Connection,
    task: AbortHandle,
    /// Why it does not serve, once it is known that it does not.
    last_error: Option<Error>,
    /// Until when it is not read from as a replica.
    avoided_until: Option<Instant>,
    /// Held, since connections hold theirs weakly.
    _watch: Arc<NodeEvents>,
}

impl Member {
    fn is_ready(&self) -> bool {
        self.connection.shared.health.is_ready()
    }
}

struct NodeEvents {
    node: Node,
    events: mpsc::UnboundedSender<RouterEvent>,
}

impl Watch for NodeEvents {
    fn event(&self, event: &Event) {
        // The router is gone only when nobody needs to know.
        let _ = self
            .events
            .send(RouterEvent::Node(self.node.clone(), event.clone()));
    }
}

impl ClusterNodes {
    /// None yet; `options` are those of the cluster.
    pub(super) fn new(
        runtime: Handle,
        options: ConnectionOptions,
        membership: Membership,
        cache: Option<Arc<Cache>>,
        events: mpsc::UnboundedSender<RouterEvent>,
    ) -> Self {
        Self {
            runtime,
            options: ConnectionOptions {
                membership,
                // The router bounds what waits.
                max_queue: usize::MAX,
                ..options
            },
            cache,
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
            address: Address::Tcp {
                host: node.host.clone(),
                port: node.port,
            },
            ..self.options.clone()
        };
        let tracking = self.cache.clone().map(|cache| {
            let events = self.events.clone();
            let relay = move |event| {
                // The router is gone only when nobody needs to know.
                let _ = events.send(RouterEvent::Tracking(event));
            };
            Tracking::new(cache, Some(Box::new(relay)))
        });
        let (connection, task) = Connection::open_with(&self.runtime, options, None, tracking);
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

    /// Leaves those that are of no use any more.
    pub(super) fn retain(&mut self, is_needed: impl Fn(&Node) -> bool) {
        self.nodes.retain(|node, _| is_needed(node));
    }

    /// Ends the connections at once, whatever is under way.
    pub(super) fn abort(&self) {
        for member in self.nodes.values() {
            member.task.abort();
        }
    }

    // ---- How they are ----

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

    /// Whether a replica serves, and has put nothing off lately.
    pub(super) fn is_readable(&self, replica: &Node) -> bool {
        let member = self.nodes.get(replica).filter(|member| member.is_ready());
        member.is_some_and(|member| {
            member
                .avoided_until
                .is_none_or(|time| time <= Instant::now())
        })
    }

    /// A replica has put something off: it is not read from for a while.
    pub(super) fn avoid(&mut self, replica: &Node) {
        if let Some(member) = self.nodes.get_mut(replica) {
            member.avoided_until = Some(Instant::now() + REPLICA_AVOIDANCE);
        }
    }

    // ---- Who to be for them ----

    /// Some have asked for credentials and were given none yet.
    pub(super) fn is_awaiting_credentials(&self) -> bool {
        !self.awaiting_credentials.is_empty()
    }

    /// A node wants credentials; whether the app is to be asked. One that wants them again has waited in vain.
    pub(super) fn add_awaiting_credentials(&mut self, node: Node) -> bool {
        let was_requested = self.is_awaiting_credentials();
        !self.awaiting_credentials.insert(node) || !was_requested
    }

    /// To those that want them.
    pub(super) fn deliver_credentials(&mut self, result: &Result<Credentials, String>) {
        for node in mem::take(&mut self.awaiting_credentials) {
            if let Some(connection) = self.connection(&node) {
                connection.give_credentials(result.clone());
            }
        }
    }

    /// To all.
    pub(super) fn renew_credentials(&self, credentials: &Credentials) {
        for (_, connection) in self.connections() {
            connection.renew_credentials(credentials.clone());
        }
    }
}
