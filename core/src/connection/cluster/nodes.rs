//! The nodes of a cluster: a connection to each, and how it is.

use super::News;
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
const REPLICA_PAUSE: Duration = Duration::from_secs(1);

pub(super) struct ClusterNodes {
    tasks: Handle,
    /// Of each connection, but for the address.
    options: ConnectionOptions,
    /// Where what is read is kept.
    cache: Option<Arc<Cache>>,
    news: mpsc::UnboundedSender<News>,
    nodes: HashMap<Node, Member>,
    /// Those that wait for credentials, once these have been asked for.
    wanting: HashSet<Node>,
}

struct Member {
    connection: Connection,
    task: AbortHandle,
    /// Why it does not serve, once it is known that it does not.
    trouble: Option<Error>,
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
    news: mpsc::UnboundedSender<News>,
}

impl Watch for NodeEvents {
    fn event(&self, event: &Event) {
        // The router is gone only when nobody needs to know.
        let _ = self
            .news
            .send(News::Event(self.node.clone(), event.clone()));
    }
}

impl ClusterNodes {
    /// None yet; `options` are those of the cluster.
    pub(super) fn new(
        tasks: Handle,
        options: ConnectionOptions,
        membership: Membership,
        cache: Option<Arc<Cache>>,
        news: mpsc::UnboundedSender<News>,
    ) -> Self {
        Self {
            tasks,
            options: ConnectionOptions {
                membership,
                // The router bounds what waits.
                max_queue: usize::MAX,
                ..options
            },
            cache,
            news,
            nodes: HashMap::new(),
            wanting: HashSet::new(),
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
            let news = self.news.clone();
            let relay = move |told| {
                // The router is gone only when nobody needs to know.
                let _ = news.send(News::TrackingEvent(told));
            };
            Tracking::new(cache, Some(Box::new(relay)))
        });
        let (connection, task) = Connection::open_with(&self.tasks, options, None, tracking);
        let watch = Arc::new(NodeEvents {
            node: node.clone(),
            news: self.news.clone(),
        });
        let weak: Weak<NodeEvents> = Arc::downgrade(&watch);
        connection.watch(weak);
        let member = Member {
            connection,
            task,
            trouble: None,
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

    pub(super) fn trouble(&self, node: &Node) -> Option<&Error> {
        self.nodes.get(node)?.trouble.as_ref()
    }

    pub(super) fn note_trouble(&mut self, node: &Node, trouble: Option<Error>) {
        if let Some(member) = self.nodes.get_mut(node) {
            member.trouble = trouble;
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
            member.avoided_until = Some(Instant::now() + REPLICA_PAUSE);
        }
    }

    // ---- Who to be for them ----

    /// Some have asked for credentials and were given none yet.
    pub(super) fn want_credentials(&self) -> bool {
        !self.wanting.is_empty()
    }

    /// A node wants credentials; whether the app is to be asked. One that wants them again has waited in vain.
    pub(super) fn note_wanting(&mut self, node: Node) -> bool {
        let is_asked = self.want_credentials();
        !self.wanting.insert(node) || !is_asked
    }

    /// To those that want them.
    pub(super) fn give_credentials(&mut self, given: &Result<Credentials, String>) {
        for node in mem::take(&mut self.wanting) {
            if let Some(connection) = self.connection(&node) {
                connection.give_credentials(given.clone());
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
