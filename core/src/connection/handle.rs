//! The handle of a connection: by which commands are given to it, and all else that it is told or asked.

use super::commands::{Access, Commands, Expect};
use super::job::{Gather, Job, Reply, ReplyHandler};
use super::mailbox::{Credentials, Mailbox, Message};
use super::shared::Shared;
use super::single_flight::SingleFlight;
use super::status::Watch;
use super::tracking::Tracking;
use super::{Executor, Port, client, clock, cluster, supervisor};
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

/// The nodes that together hold every key once.
#[derive(Debug)]
pub(crate) struct Primaries {
    pub nodes: Vec<Connection>,
    /// Another number than before means that keys may have moved from node to node.
    pub version: u64,
}

/// A handle; the connection ends when the last handle is gone, or by [`super::Lease`].
#[derive(Clone)]
pub struct Connection {
    pub(super) messages: mpsc::UnboundedSender<Message>,
    pub(super) shared: Arc<Shared>,
    /// Of the app's client only: the number of the node to send to; 0 for any.
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
    /// Another one for each connection that is open.
    pub fn number(&self) -> usize {
        Arc::as_ptr(&self.shared).addr()
    }

    /// Returns true if both lead to the same node.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared) && self.node == other.node
    }

    /// Returns true if keys are spread over several nodes.
    pub fn is_cluster(&self) -> bool {
        self.shared.is_cluster
    }

    /// Begins to connect in the background.
    pub(super) fn open(tasks: &Handle, options: ConnectionOptions) -> Self {
        let cache = options
            .cache
            .clone()
            .map(|cache| Arc::new(Cache::new(cache)));
        let tracking = cache.clone().map(|cache| Tracking::new(cache, None));
        Self::open_with(tasks, options, cache, tracking).0
    }

    /// The task behind it ends by itself; the second handle ends it at once.
    pub(super) fn open_with(
        tasks: &Handle,
        options: ConnectionOptions,
        cache: Option<Arc<Cache>>,
        tracking: Option<Tracking>,
    ) -> (Self, AbortHandle) {
        let (messages, inbox) = mpsc::unbounded_channel();
        let inbox = Mailbox::new(inbox);
        let shared = Arc::new(Shared::new(&options, cache));
        let task = match options.address.clone() {
            Address::Cluster(cluster) => {
                tasks.spawn(cluster::run(cluster, options, Arc::clone(&shared), inbox))
            }
            Address::Client(_) => {
                let handle = messages.downgrade();
                tasks.spawn(client::run(options, Arc::clone(&shared), handle, inbox))
            }
            _ => tasks.spawn(supervisor::run(
                options,
                Arc::clone(&shared),
                inbox,
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

    /// Returns how many connections to the server, or to nodes of the cluster, have been made.
    pub(crate) fn connections(&self) -> u64 {
        self.shared.health.connections()
    }

    /// The server as errors name it.
    pub(crate) fn server(&self) -> &str {
        &self.shared.server
    }

    /// Whether a command may have several keys: there are no slots that they would have to share, and the
    /// server gets it as it stands.
    pub(crate) fn takes_many_keys(&self) -> bool {
        self.shared.takes_many_keys
    }

    /// How long an operation may take.
    pub(crate) fn command_timeout(&self) -> Duration {
        self.shared.command_timeout
    }

    /// What was read over the connection, where that is kept.
    pub(crate) fn cache(&self) -> Option<&Arc<Cache>> {
        self.shared.cache.as_ref()
    }

    pub(crate) fn flights(&self) -> &Arc<SingleFlight> {
        &self.shared.flights
    }

    /// Sends commands; each is answered exactly once.
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

    /// How many of the commands may be sent: a queue without a bound would grow for as long as Redis is
    /// away.
    fn accepted(&self, commands: &Commands) -> usize {
        if self.shared.health.is_ready() || self.shared.is_routed {
            return commands.len();
        }
        commands.of_first(self.room())
    }

    /// How many more operations may wait for a connection. Those that follow a read wait as well.
    fn room(&self) -> usize {
        let waiting = self.shared.queued.load(Ordering::Relaxed) + self.shared.flights.followers();
        self.shared.queue_limit().saturating_sub(waiting)
    }

    /// Whether one more operation may wait for the answer to a read, beside those that are about to be sent.
    pub(crate) fn may_follow(&self, unsent: usize) -> bool {
        self.shared.health.is_ready() || unsent < self.room()
    }

    /// The same for callers that can wait: a reply per command, in order.
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

    /// A single command, for callers that can wait.
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

    /// The nodes to walk over. In a cluster, as it is at the moment.
    pub(crate) async fn primaries(&self) -> Result<Primaries, Error> {
        if self.shared.is_cluster {
            let (sender, receiver) = oneshot::channel();
            // The receiver tells if nobody is there to answer.
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

    /// Has the connection's events told to `watch`, beginning with the state it is in.
    pub fn watch(&self, watch: Weak<dyn Watch>) {
        // A connection that has ended has nothing to tell.
        let _ = self.messages.send(Message::Watch(watch));
    }

    /// Who to be for the server, as was asked for, or why that could not be found out.
    pub fn give_credentials(&self, credentials: Result<Credentials, String>) {
        // A connection that has ended needs none.
        let _ = self.messages.send(Message::Credentials(credentials));
    }

    /// Who to be for the server from here on.
    pub fn renew_credentials(&self, credentials: Credentials) {
        // A connection that has ended needs none.
        let _ = self.messages.send(Message::Renewal(credentials));
    }

    /// Has the app's client run the commands; the port is for its answers. The first one offered counts.
    pub fn offer(&self, executor: Arc<dyn Executor>) -> Port {
        // A connection that has ended runs none.
        let _ = self.messages.send(Message::Executor(executor));
        Port::new(&self.messages)
    }

    /// Has what waits for this connection, if it has never served, sent over another one.
    pub fn hand_over(&self, other: &Self) {
        // A connection that has ended has nothing that waits.
        let _ = self.messages.send(Message::HandOver(other.clone()));
    }

    /// Sends a job, which may have waited for another connection.
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

    /// Lets what was sent before finish, then ends the connection. Resolves when it has ended.
    pub(super) async fn close(&self) {
        let (done, ended) = oneshot::channel();
        if self.messages.send(Message::Close(done)).is_ok() {
            // An error means that the supervisor is gone already, which is what was asked for.
            let _ = ended.await;
        }
    }
}
