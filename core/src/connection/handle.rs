//! The handle of a connection: sends commands and other messages to the task behind it.

use super::clock;
use super::commands::{Access, Commands, Expect};
use super::counters::{ConnectionFigures, Counters};
use super::job::{Gather, Job, Reply, ReplyHandler};
use super::origin::Origin;
use super::shared::Shared;
use super::single_flight::SingleFlight;
use super::status::Watch;
use crate::cache::Cache;
use crate::error::Error;
use crate::observers::Observe;
use crate::options::Secret;
use crate::server::Server;
use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// Receives the primaries, for a caller that scans their keys.
pub(super) type PrimariesSender = oneshot::Sender<Result<Vec<Connection>, Error>>;

/// The messages of a handle.
pub(super) type Messages = mpsc::UnboundedReceiver<Message>;

/// A message from a handle to the task behind it.
pub(super) enum Message {
    Job(Job),
    /// Requests the primaries; sent to clusters only.
    Primaries(PrimariesSender),
    Watch(Weak<dyn Watch>),
    /// The credentials that the task asked for, or the reason why the app's function failed.
    Credentials(Result<Credentials, String>),
    /// Replaces the credentials.
    Renewal(Credentials),
    /// Ends the task after the commands sent so far have completed.
    Close(oneshot::Sender<()>),
}

/// Credentials, as the app's function returned them.
#[derive(Clone, Debug)]
pub struct Credentials {
    pub username: Option<String>,
    /// `None` for no authentication.
    pub password: Option<Secret>,
    /// The time after which the credentials expire.
    pub expires_in: Option<Duration>,
}

/// A handle of a connection. The connection ends when its last handle is dropped, or through [`super::Lease`].
#[derive(Clone)]
pub struct Connection {
    messages: mpsc::UnboundedSender<Message>,
    pub(super) shared: Arc<Shared>,
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
        Arc::ptr_eq(&self.shared, &other.shared)
    }

    /// Returns true if the keys are spread over several nodes.
    pub fn is_cluster(&self) -> bool {
        self.shared.is_cluster
    }

    /// Creates a handle, and the receiver of its messages.
    pub(super) fn new(shared: Shared) -> (Self, Messages) {
        let (messages, receiver) = mpsc::unbounded_channel();
        let connection = Self {
            messages,
            shared: Arc::new(shared),
        };
        (connection, receiver)
    }

    /// Returns the number of links opened so far, to the server or to the nodes of the cluster.
    pub(crate) fn connections(&self) -> u64 {
        self.shared.health.connections()
    }

    /// Returns the server, as errors name it.
    pub fn server(&self) -> &Server {
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
    pub(crate) fn single_flight(&self) -> &Arc<SingleFlight> {
        &self.shared.single_flight
    }

    /// Sends commands. The handler receives exactly one reply to each.
    pub(crate) fn send(&self, commands: Commands, mut handler: Box<dyn ReplyHandler>) {
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
                Origin::default(),
            );
            if accepted == 0 {
                return;
            }
        }
        let deadline = clock::now() + self.shared.command_timeout;
        let job = Job::new(commands, accepted, deadline, handler);
        self.take_over(job);
    }

    /// Returns the number of commands that are accepted: while Redis is unreachable, an unbounded queue would grow
    /// without limit.
    fn accepted(&self, commands: &Commands) -> usize {
        if self.shared.health.is_ready() || self.shared.is_cluster {
            return commands.len();
        }
        commands.len_of_first(self.free_capacity())
    }

    /// Returns the number of further operations that may wait for a connection. Waiters of single-flight reads count as
    /// waiting.
    fn free_capacity(&self) -> usize {
        self.shared.queue_limit().saturating_sub(self.queued())
    }

    /// Returns the number of operations that wait to be sent, including the waiters of single-flight reads.
    fn queued(&self) -> usize {
        self.shared.queued.load(Ordering::Relaxed) + self.shared.single_flight.waiters()
    }

    pub(crate) fn counters(&self) -> &Arc<Counters> {
        &self.shared.counters
    }

    /// Returns the statistics of the connection.
    pub fn figures(&self) -> ConnectionFigures {
        self.shared.counters.figures(self.queued())
    }

    /// Returns true if another operation may wait for the reply to a single-flight read, in addition to `unsent`
    /// operations that are about to be sent.
    pub(crate) fn may_join_read(&self, unsent: usize) -> bool {
        self.shared.health.is_ready() || unsent < self.free_capacity()
    }

    /// Sends commands, and returns their replies in order.
    pub(crate) async fn query(&self, commands: Commands) -> Vec<Reply> {
        self.query_with_origin(commands).await.0
    }

    /// Sends commands, and returns their replies in order, with their origin.
    pub(crate) async fn query_with_origin(&self, commands: Commands) -> (Vec<Reply>, Origin) {
        let (sender, receiver) = oneshot::channel();
        let count = commands.len();
        self.send(commands, Box::new(Gather::new(count, sender)));
        match receiver.await {
            Ok((mut replies, origin)) => {
                replies.sort_unstable_by_key(|(at, _)| *at);
                let replies = replies.into_iter().map(|(_, reply)| reply);
                (replies.collect(), origin)
            }
            Err(_) => {
                let replies = (0..count).map(|_| Err(Error::Abandoned));
                (replies.collect(), Origin::default())
            }
        }
    }

    /// Sends a single command, and returns its reply.
    pub(crate) async fn query_one(
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

    /// Requests the primaries of a cluster.
    pub(super) fn request_primaries(&self, sender: PrimariesSender) {
        // If the task has ended, the receiver returns an error.
        let _ = self.messages.send(Message::Primaries(sender));
    }

    /// Reports the connection's events to `watch`, starting with the current state.
    pub fn watch(&self, watch: Weak<dyn Watch>) {
        // A connection that has ended has no events.
        let _ = self.messages.send(Message::Watch(watch));
    }

    /// Sets the kinds of observations that `observer` receives, in addition to the events.
    pub fn observe(&self, observer: &Weak<dyn Observe>, kinds: u32) {
        self.shared.observers.set(observer, kinds);
    }

    /// Passes the credentials that the connection requested, or the reason why the app's function failed.
    pub fn provide_credentials(&self, credentials: Result<Credentials, String>) {
        // A connection that has ended needs none.
        let _ = self.messages.send(Message::Credentials(credentials));
    }

    /// Replaces the credentials of the connection.
    pub fn renew_credentials(&self, credentials: Credentials) {
        // A connection that has ended needs none.
        let _ = self.messages.send(Message::Renewal(credentials));
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
