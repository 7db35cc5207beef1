//! One connection to Redis that outlives every loss of its socket.
//!
//! [`Connection`] is the handle: it takes commands and has each answered exactly once, by the
//! deadline. Behind it one [`supervisor`] owns the socket, from the first attempt to the last.
//!
//! - [`commands`]: what is sent; [`codec`]: what comes back.
//! - [`registry`]: which stores share a connection.
//! - [`client`]: the app's own JavaScript client in place of all that follows.
//! - [`cluster`]: many connections behind one handle.
//! - [`sentinel`]: which server is the primary.
//! - [`supervisor`]: connect, serve, notice the loss, back off, connect again.
//! - [`attempt`]: one attempt to connect.
//! - [`inbox`]: what the handles say to whatever is behind them.
//! - [`link`]: an open connection: bytes out, replies in; [`handshake`]: what is said on it first; [`failure`]: why
//!   there is none, or none any more.
//! - [`socket`] and [`tls`]: from an address to a byte stream; [`names`]: from a host's name to addresses,
//!   [`trust`]: whether the server is the one that is meant.
//! - [`flights`]: reads that share a command.
//! - [`tracking`]: what the server tells of keys that were read.
//! - [`status`]: what a connection tells those who watch it.

mod attempt;
mod client;
mod cluster;
mod codec;
mod commands;
mod failure;
mod flights;
mod handshake;
mod inbox;
mod link;
mod names;
mod registry;
pub(crate) mod runtime;
mod sentinel;
mod socket;
mod status;
mod supervisor;
pub(crate) mod tls;
mod tracking;
mod trust;

pub(crate) use self::client::{Executor, Port, Said};
pub(crate) use self::commands::{Access, Commands, Expect};
pub(crate) use self::flights::{Flights, Flying};
pub(crate) use self::registry::Lease;
pub(crate) use self::status::{Event, Watch};

use self::inbox::Inbox;
use self::status::{Down, Health};
use self::tracking::Tracking;
use crate::cache::Cache;
use crate::error::Error;
use crate::options::{Address, ConnectionOptions, Membership, Secret};
use redis::Value;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout};

/// What became of a command. An error reply of the server is an error.
pub(crate) type Reply = Result<Value, Error>;

/// Takes the replies to commands, each exactly once, in one call or several. Called on the runtime's
/// thread; must neither block nor wait.
pub(crate) trait Settle: Send {
    /// Each reply comes with the place of its command.
    fn settle(&mut self, replies: Vec<(usize, Reply)>);
}

/// Commands on their way. They enter the socket in the order in which they were sent.
///
/// What was cut off by a lost connection is sent again within the deadline. That is right since every
/// command of a session store may be repeated: GET, PTTL and SCAN only read; SET, PEXPIRE, DEL and
/// UNLINK leave the same state the second time; a compare-and-set that finds its own value in place
/// has succeeded before. Order is kept.
struct Job {
    commands: Commands,
    /// The places of those that are not answered yet, in order.
    pending: Vec<usize>,
    deadline: Instant,
    settle: Box<dyn Settle>,
    /// How often it was sent in vain: the connection was lost, or the server put it off.
    in_vain: u32,
    /// How often the connection was lost when the first that is pending was all that it owed an answer to.
    hang_ups: u32,
}

impl Job {
    /// Of the first `count` of the commands.
    fn new(commands: Commands, count: usize, deadline: Instant, settle: Box<dyn Settle>) -> Self {
        Self {
            commands,
            pending: (0..count).collect(),
            deadline,
            settle,
            in_vain: 0,
            hang_ups: 0,
        }
    }

    /// How many operations are still to be answered.
    fn operations(&self) -> usize {
        self.commands.operations(self.pending.iter().copied())
    }

    /// Answers the first that is still to be answered; gives what is left, if anything.
    fn fail_first(mut self, error: Error) -> Option<Self> {
        if !self.pending.is_empty() {
            let at = self.pending.remove(0);
            self.hang_ups = 0;
            self.settle.settle(vec![(at, Err(error))]);
        }
        (!self.pending.is_empty()).then_some(self)
    }

    /// Answers all that is still to be answered.
    fn fail(mut self, error: &Error) {
        let replies = self.pending.drain(..).map(|at| (at, Err(error.clone())));
        self.settle.settle(replies.collect());
    }
}

/// Waits for the nodes that hold keys.
type Walker = oneshot::Sender<Result<Vec<Connection>, Error>>;

/// What a handle tells the task behind it.
enum Message {
    Job(Job),
    /// Which nodes hold keys; asked of clusters only.
    Primaries(Walker),
    Watch(Weak<dyn Watch>),
    /// What was asked for, or why it is not to be had.
    Credentials(Result<Credentials, String>),
    /// What takes the place of the credentials so far.
    Renewal(Credentials),
    /// Of the app's client only: it, and what it says.
    Executor(Arc<dyn Executor>),
    Said(Said),
    /// Finish what came before, then end.
    Close(oneshot::Sender<()>),
}

/// The nodes that together hold every key once.
#[derive(Debug)]
pub(crate) struct Primaries {
    pub(crate) nodes: Vec<Connection>,
    /// Another number than before means that keys may have moved from node to node.
    pub(crate) version: u64,
}

/// Who to be for the server, as a function of the app gave it.
#[derive(Clone, Debug)]
pub(crate) struct Credentials {
    pub(crate) username: Option<String>,
    /// `None` for nobody.
    pub(crate) password: Option<Secret>,
    /// After this time they are not valid any more.
    pub(crate) expires_in: Option<Duration>,
}

/// A handle; the connection ends when the last handle is gone, or by [`Lease`].
#[derive(Clone)]
pub(crate) struct Connection {
    messages: mpsc::UnboundedSender<Message>,
    shared: Arc<Shared>,
    /// Of the app's client only: the number of the node to send to; 0 for any.
    node: u32,
}

/// What handles and supervisor both know.
struct Shared {
    server: Arc<str>,
    /// Keys are spread over several nodes.
    is_cluster: bool,
    /// Some of what is sent may have to wait while the rest is served, and a router knows which.
    is_routed: bool,
    takes_many_keys: bool,
    /// How long an operation may take, waiting for a connection included.
    command_timeout: Duration,
    /// How many operations may wait for a connection.
    max_queue: usize,
    /// Operations that were sent by a handle and are not in a socket yet.
    queued: AtomicUsize,
    health: Health,
    /// What was read over the connection, where that is kept.
    cache: Option<Arc<Cache>>,
    flights: Arc<Flights>,
}

impl Shared {
    /// The error of what finds no room to wait for a connection. `cause` is why, where more is known of it than that
    /// the last attempt to connect failed.
    fn full(&self, cause: Option<String>) -> Error {
        let down = self.health.down();
        Error::QueueFull {
            server: self.server.to_string(),
            most: self.max_queue,
            attempts: down.attempts,
            cause: cause.unwrap_or(down.cause),
        }
    }

    /// The error of what waited for a connection in vain.
    fn unavailable(&self, waited: Duration) -> Error {
        let Down {
            attempts,
            cause,
            silent,
        } = self.health.down();
        let server = self.server.to_string();
        if silent {
            Error::Silent {
                server,
                waited,
                attempts,
                cause,
            }
        } else {
            Error::Unavailable {
                server,
                waited,
                attempts,
                cause,
            }
        }
    }
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
    pub(crate) fn number(&self) -> usize {
        Arc::as_ptr(&self.shared).addr()
    }

    /// Begins to connect in the background.
    fn open(tasks: &Handle, options: ConnectionOptions) -> Self {
        let cache = options
            .cache
            .clone()
            .map(|cache| Arc::new(Cache::new(cache)));
        let tracking = cache.clone().map(|cache| Tracking::new(cache, None));
        Self::open_with(tasks, options, cache, tracking).0
    }

    /// The task behind it ends by itself; the second handle ends it at once.
    fn open_with(
        tasks: &Handle,
        options: ConnectionOptions,
        cache: Option<Arc<Cache>>,
        tracking: Option<Tracking>,
    ) -> (Self, AbortHandle) {
        let (messages, inbox) = mpsc::unbounded_channel();
        let inbox = Inbox::new(inbox);
        let shared = Arc::new(Shared {
            server: options.server().into(),
            is_cluster: options.is_cluster(),
            is_routed: matches!(options.address, Address::Cluster(_)),
            takes_many_keys: match options.address {
                Address::Cluster(_) | Address::Client(_) => false,
                _ => options.membership == Membership::None,
            },
            command_timeout: options.command_timeout,
            max_queue: options.max_queue,
            queued: AtomicUsize::new(0),
            health: Health::default(),
            cache,
            flights: Arc::default(),
        });
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

    pub(crate) fn flights(&self) -> &Arc<Flights> {
        &self.shared.flights
    }

    /// Sends commands; each is answered exactly once.
    pub(crate) fn send(&self, mut commands: Commands, mut settle: Box<dyn Settle>) {
        if commands.is_empty() {
            return;
        }
        let accepted = self.accepted(&commands);
        if accepted < commands.len() {
            let error = self.shared.full(None);
            settle.settle(
                (accepted..commands.len())
                    .map(|at| (at, Err(error.clone())))
                    .collect(),
            );
            if accepted == 0 {
                return;
            }
        }
        commands.node = self.node;
        let deadline = Instant::now() + self.shared.command_timeout;
        let job = Job::new(commands, accepted, deadline, settle);
        self.shared
            .queued
            .fetch_add(job.operations(), Ordering::Relaxed);
        if let Err(mpsc::error::SendError(Message::Job(job))) =
            self.messages.send(Message::Job(job))
        {
            job.fail(&Error::Closed);
        }
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
        self.shared.max_queue.saturating_sub(waiting)
    }

    /// Whether one more operation may wait for the answer to a read, beside those that are about to be sent.
    pub(crate) fn may_follow(&self, unsent: usize) -> bool {
        self.shared.health.is_ready() || unsent < self.room()
    }

    /// The same for callers that can wait: a reply per command, in order.
    pub(crate) async fn query(&self, commands: Commands) -> Vec<Reply> {
        let (sender, receiver) = oneshot::channel();
        let count = commands.len();
        self.send(
            commands,
            Box::new(Gather {
                replies: Vec::with_capacity(count),
                count,
                sender: Some(sender),
            }),
        );
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
            let version = cluster::views::version(&nodes).await;
            return Ok(Primaries { nodes, version });
        }
        Ok(Primaries {
            nodes: vec![self.clone()],
            version: 0,
        })
    }

    /// Has the connection's events told to `watch`, beginning with the state it is in.
    pub(crate) fn watch(&self, watch: Weak<dyn Watch>) {
        // A connection that has ended has nothing to tell.
        let _ = self.messages.send(Message::Watch(watch));
    }

    /// Who to be for the server, as was asked for, or why that could not be found out.
    pub(crate) fn give_credentials(&self, credentials: Result<Credentials, String>) {
        // A connection that has ended needs none.
        let _ = self.messages.send(Message::Credentials(credentials));
    }

    /// Who to be for the server from here on.
    pub(crate) fn renew_credentials(&self, credentials: Credentials) {
        // A connection that has ended needs none.
        let _ = self.messages.send(Message::Renewal(credentials));
    }

    /// Has the app's client run the commands; the port is for its answers. The first one offered counts.
    pub(crate) fn offer(&self, executor: Arc<dyn Executor>) -> Port {
        // A connection that has ended runs none.
        let _ = self.messages.send(Message::Executor(executor));
        Port::new(&self.messages)
    }

    /// Lets what was sent before finish, then ends the connection. Resolves when it has ended.
    async fn close(&self) {
        let (done, ended) = oneshot::channel();
        if self.messages.send(Message::Close(done)).is_ok() {
            // An error means that the supervisor is gone already, which is what was asked for.
            let _ = ended.await;
        }
    }
}

/// Waits until every command is answered.
struct Gather {
    replies: Vec<(usize, Reply)>,
    count: usize,
    sender: Option<oneshot::Sender<Vec<(usize, Reply)>>>,
}

impl Settle for Gather {
    fn settle(&mut self, mut replies: Vec<(usize, Reply)>) {
        self.replies.append(&mut replies);
        if self.replies.len() >= self.count
            && let Some(sender) = self.sender.take()
        {
            // The receiver is gone only when the caller was: nobody is left to tell.
            let _ = sender.send(std::mem::take(&mut self.replies));
        }
    }
}
