//! The handle of a connection: sends commands and other messages to the task behind it.

use super::commands::{Access, Commands, Expect};
use super::job::{Gather, Job, Reply, ReplyHandler};
use super::mailbox::{Credentials, Mailbox, Message};
use super::shared::Shared;
use super::single_flight::SingleFlight;
use super::status::Watch;
use super::tracking::Tracking;
use super::{client, clock, cluster, supervisor};
use crate::cache::Cache;
use crate::error::Error;
use crate::options::{Address, ConnectionOptions};
use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio::time::{Duration, timeout};

/// The primaries, which together hold every key once.
#[derive(Debug)]
pub(crate) struct Primaries {
    pub nodes: Vec<Connection>,
    /// The version of the slot map. If it changes, keys may have moved between nodes.
    pub version: u64,
}

/// A handle of a connection. The connection ends when its last handle is dropped, or through [`super::Lease`].
#[derive(Clone)]
pub struct Connection {
    pub(super) messages: mpsc::UnboundedSender<Message>,
    pub(super) shared: Arc<Shared>,
    /// The number of the node to send to, for the client transport; 0 for any.
    pub(super) node: u32,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("server", &self.shared.server)
            .finish_non_exhaustive()
    }
}

impl Connection {
    /// Returns a number that is unique among the open connections.
    pub fn number(&self) -> usize {
        Arc::as_ptr(&self.shared).addr()
    }

    /// Returns true if both handles lead to the same node.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared) && self.node == other.node
    }

    /// Returns true if the keys are spread over several nodes.
    pub fn is_cluster(&self) -> bool {
        self.shared.is_cluster
    }

    /// Opens a connection, which connects in the background.
    pub(super) fn open(tasks: &Handle, options: ConnectionOptions) -> Self {
        let cache = options
            .cache
            .clone()
            .map(|cache| Arc::new(Cache::new(cache)));
        let tracking = cache.clone().map(|cache| Tracking::new(cache, None));
        Self::open_with(tasks, options, cache, tracking).0
    }

    /// Opens a connection with a given cache and tracking. Its task ends with the last handle; the abort handle ends it
    /// at once.
    pub(super) fn open_with(
        tasks: &Handle,
        options: ConnectionOptions,
        cache: Option<Arc<Cache>>,
        tracking: Option<Tracking>,
    ) -> (Self, AbortHandle) {
        let (messages, mailbox) = mpsc::unbounded_channel();
        let mailbox = Mailbox::new(mailbox);
        let shared = Arc::new(Shared::new(&options, cache));
        let task = match options.address.clone() {
            Address::Cluster(cluster) => {
                tasks.spawn(cluster::run(cluster, options, Arc::clone(&shared), mailbox))
            }
            Address::Client(_) => {
                let handle = messages.downgrade();
                tasks.spawn(client::run(options, Arc::clone(&shared), handle, mailbox))
            }
            _ => tasks.spawn(supervisor::run(
                options,
                Arc::clone(&shared),
                mailbox,
                tracking,
            )),
        };
        let connection = Self {
            messages,
            shared,
            node: 0,
        };
        (connection, task.abort_handle())
    }

    /// Returns the number of links opened so far, to the server or to the nodes of the cluster.
    pub(crate) fn connections(&self) -> u64 {
        self.shared.health.connections()
    }

    /// Returns the name of the server in error messages.
    pub fn server(&self) -> &str {
        &self.shared.server
    }

    /// Returns true if a command may have several keys: there are no slots that the keys would have to share, and the
    /// command reaches the server unchanged.
    pub(crate) fn takes_many_keys(&self) -> bool {
        self.shared.takes_many_keys
    }

    /// Returns the time within which an operation completes or fails.
    pub(crate) fn command_timeout(&self) -> Duration {
        self.shared.command_timeout
    }

    /// Returns the near-cache of the connection, if it has one.
    pub(crate) fn cache(&self) -> Option<&Arc<Cache>> {
        self.shared.cache.as_ref()
    }

    /// Returns the single-flight reads of the connection.
    pub(crate) fn flights(&self) -> &Arc<SingleFlight> {
        &self.shared.flights
    }

    /// Sends commands. The handler receives exactly one reply to each.
    pub(crate) fn send(&self, mut commands: Commands, mut handler: Box<dyn ReplyHandler>) {
        if commands.is_empty() {
            return;
        }
        let accepted = self.accepted(&commands);
        if accepted < commands.len() {
            let error = self.shared.full(None);
            handler.on_replies(
                (accepted..commands.len())
                    .map(|at| (at, Err(error.clone())))
                    .collect(),
            );
            if accepted == 0 {
                return;
            }
        }
        commands.node = self.node;
        let deadline = clock::now() + self.shared.command_timeout;
        let job = Job::new(commands, accepted, deadline, handler);
        self.take_over(job);
    }

    /// Returns the number of commands that are accepted: while Redis is unreachable, an unbounded queue would grow
    /// without limit.
    fn accepted(&self, commands: &Commands) -> usize {
        if self.shared.health.is_ready() || self.shared.is_routed {
            return commands.len();
        }
        commands.len_of_first(self.free_capacity())
    }

    /// Returns the number of further operations that may wait for a connection. Waiters of single-flight reads count as
    /// waiting.
    fn free_capacity(&self) -> usize {
        let waiting = self.shared.queued.load(Ordering::Relaxed) + self.shared.flights.followers();
        self.shared.queue_limit().saturating_sub(waiting)
    }

    /// Returns true if another operation may wait for the reply to a single-flight read, in addition to `unsent`
    /// operations that are about to be sent.
    pub(crate) fn may_follow(&self, unsent: usize) -> bool {
        self.shared.health.is_ready() || unsent < self.free_capacity()
    }

    /// Sends commands, and returns their replies in order.
    pub(crate) async fn query(&self, commands: Commands) -> Vec<Reply> {
        let (sender, receiver) = oneshot::channel();
        let count = commands.len();
        self.send(commands, Box::new(Gather::new(count, sender)));
        match receiver.await {
            Ok(mut replies) => {
                replies.sort_unstable_by_key(|(at, _)| *at);
                replies.into_iter().map(|(_, reply)| reply).collect()
            }
            Err(_) => (0..count).map(|_| Err(Error::Abandoned)).collect(),
        }
    }

    /// Sends a single command, and returns its reply.
    pub(crate) async fn ask(
        &self,
        access: Access,
        expect: Expect,
        key_at: Option<usize>,
        words: &[&[u8]],
    ) -> Reply {
        let mut replies = self
            .query(Commands::of(access, expect, key_at, words))
            .await;
        replies.pop().unwrap_or(Err(Error::Abandoned))
    }

    /// Returns the primaries to scan: in a cluster, those of the current slot map.
    pub(crate) async fn primaries(&self) -> Result<Primaries, Error> {
        if self.shared.is_cluster {
            let (sender, receiver) = oneshot::channel();
            // If the task has ended, the receiver returns an error.
            let _ = self.messages.send(Message::Primaries(sender));
            let nodes = match timeout(self.shared.command_timeout, receiver).await {
                Ok(Ok(nodes)) => nodes?,
                Ok(Err(_)) => return Err(Error::Closed),
                Err(_) => return Err(self.shared.unavailable(self.shared.command_timeout)),
            };
            let version = cluster::ownership::version(&nodes).await;
            return Ok(Primaries { nodes, version });
        }
        Ok(Primaries {
            nodes: vec![self.clone()],
            version: 0,
        })
    }

    /// Reports the connection's events to `watch`, starting with the current state.
    pub fn watch(&self, watch: Weak<dyn Watch>) {
        // A connection that has ended has no events.
        let _ = self.messages.send(Message::Watch(watch));
    }

    /// Passes the credentials that the connection asked for, or the reason why the app's function failed.
    pub fn give_credentials(&self, credentials: Result<Credentials, String>) {
        // A connection that has ended needs none.
        let _ = self.messages.send(Message::Credentials(credentials));
    }

    /// Replaces the credentials of the connection.
    pub fn renew_credentials(&self, credentials: Credentials) {
        // A connection that has ended needs none.
        let _ = self.messages.send(Message::Renewal(credentials));
    }

    /// Sends the waiting commands over another connection, if this one has never served.
    pub fn hand_over(&self, other: &Self) {
        // A connection that has ended has no waiting commands.
        let _ = self.messages.send(Message::HandOver(other.clone()));
    }

    /// Sends a job, which may come from another connection.
    pub(super) fn take_over(&self, job: Job) {
        self.shared
            .queued
            .fetch_add(job.operations(), Ordering::Relaxed);
        if let Err(mpsc::error::SendError(Message::Job(job))) =
            self.messages.send(Message::Job(job))
        {
            job.fail(&Error::Closed);
        }
    }

    /// Ends the connection after the commands sent so far have completed. Resolves when it has ended.
    pub(super) async fn close(&self) {
        let (done, ended) = oneshot::channel();
        if self.messages.send(Message::Close(done)).is_ok() {
            // An error means that the task has ended already.
            let _ = ended.await;
        }
    }
}
