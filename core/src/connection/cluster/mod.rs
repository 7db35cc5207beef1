//! The cluster router: one handle for all nodes of a cluster. It sends each command to the node that serves its slot.
//!
//! A single task routes. Each node has a connection with a [`super::supervisor`] of its own, which returns the commands
//! that it could not complete. After a redirect, a lost link or a transient error, the command's slot is parked: the
//! router waits for the in-flight commands of the slot, and then sends all of its commands again in their order. A
//! write that succeeded although an earlier command of its slot did not is sent again as well. When a slot moves to
//! another node, the router waits for the in-flight commands at the previous node first. So the order is kept per key,
//! and no slot waits for another. On a failover, the topology refresh finds the new primary, and the parked commands go
//! there.
//!
//! - [`jobs`]: unanswered jobs; [`routing`]: the target node of each command; [`parked`]: parked commands.
//! - [`node_batch`]: commands sent to a node together; [`replies`]: replies, redirects and retries; [`timeouts`]:
//!   expired jobs and their errors.
//! - [`nodes`]: a connection to each node, and its state.
//! - [`slot_map`]: the primary and replicas of each slot; [`refresh`]: the schedule of topology refreshes; [`vote`]:
//!   the slot map on which most nodes agree; [`topology`]: applies a new slot map.
//! - [`ownership`]: detects slots that move during a scan.

#[cfg(feature = "bench")]
pub(crate) mod bench;
mod jobs;
mod node_batch;
mod nodes;
pub(super) mod ownership;
mod parked;
#[cfg(test)]
mod parked_model;
mod refresh;
mod replies;
mod routing;
mod slot_map;
#[cfg(any(test, fuzzing))]
pub mod slot_map_fuzz;
mod timeouts;
mod topology;
mod vote;

use self::jobs::{Jobs, Routed};
use self::nodes::ClusterNodes;
use self::parked::Parked;
use self::refresh::RefreshSchedule;
use self::slot_map::{SLOT_COUNT, SlotMap};
use super::mailbox::Mailbox;
use super::status::{Down, Event, Watch, Watches};
use super::tracking::TrackingEvent;
use super::{Message, PrimariesSender, Reply, Shared, clock};
use crate::error::Error;
use crate::options::{Cluster, ConnectionOptions, Membership, Node};
use futures_util::FutureExt;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

/// The longest sleep of the router when no work is due.
const MAX_SLEEP: Duration = Duration::from_secs(60);

/// Runs the cluster router until the connection is closed; restarts it after a panic.
pub(super) async fn run(
    cluster: Cluster,
    options: ConnectionOptions,
    shared: Arc<Shared>,
    mailbox: Mailbox,
) {
    let mut router = Router::new(cluster, &options, shared, mailbox);
    while AssertUnwindSafe(router.run()).catch_unwind().await.is_err() {
        router = router.restarted(&options);
    }
    router.finish();
}

/// An event from a node's connection or from a topology refresh.
enum RouterEvent {
    /// Replies of a node.
    Replies(Node, Vec<(Routed, Reply)>),
    /// A change in the state of a node's connection.
    Node(Node, Event),
    /// A client tracking event, in order with the replies.
    Tracking(TrackingEvent),
    /// The result of a topology refresh.
    SlotMap(Result<SlotMap, Error>),
}

/// The state of the cluster router.
struct Router {
    cluster: Cluster,
    shared: Arc<Shared>,
    mailbox: Mailbox,
    /// Sends to `events`; cloned for nodes and refreshes.
    sender: mpsc::UnboundedSender<RouterEvent>,
    events: mpsc::UnboundedReceiver<RouterEvent>,
    nodes: ClusterNodes,
    slot_map: SlotMap,
    jobs: Jobs,
    /// The number of in-flight commands per slot.
    in_flight: Vec<u32>,
    parked: Parked,
    refresh: RefreshSchedule,
    /// The error of the last topology refresh, if it failed.
    refresh_error: Option<Error>,
    watches: Watches,
    /// Callers that wait for a topology refresh that has not started yet: the slot map may be as old as the pause
    /// between refreshes.
    next_waiters: Vec<PrimariesSender>,
    /// Callers that wait for the current topology refresh.
    current_waiters: Vec<PrimariesSender>,
    /// A counter that selects replicas round-robin.
    next_replica: usize,
}

impl Router {
    fn new(
        cluster: Cluster,
        options: &ConnectionOptions,
        shared: Arc<Shared>,
        mailbox: Mailbox,
    ) -> Self {
        let (sender, events) = mpsc::unbounded_channel();
        let membership = if cluster.reads_from_replicas {
            Membership::Reader
        } else {
            Membership::Member
        };
        let cache = shared.cache.clone();
        let nodes = ClusterNodes::new(
            Handle::current(),
            options.clone(),
            membership,
            cache,
            sender.clone(),
        );
        Self {
            cluster,
            shared,
            mailbox,
            sender,
            events,
            nodes,
            slot_map: SlotMap::default(),
            jobs: Jobs::default(),
            in_flight: vec![0; SLOT_COUNT.into()],
            parked: Parked::default(),
            refresh: RefreshSchedule::new(Instant::now()),
            refresh_error: None,
            watches: Watches::default(),
            next_waiters: Vec::new(),
            current_waiters: Vec::new(),
            next_replica: 0,
        }
    }

    /// Restarts after a panic. In-flight commands are dropped, which completes them with an error.
    fn restarted(mut self, options: &ConnectionOptions) -> Self {
        let server = self.shared.server.to_string();
        let error = Error::Interrupted { server };
        self.nodes.abort();
        self.fail_waiting(&error);
        self.shared.health.set_ready(false);
        self.shared.health.set_down(Down {
            attempts: 0,
            cause: error.to_string(),
            timed_out: false,
        });
        if let Some(cache) = &self.shared.cache {
            cache.clear();
        }
        self.watches.notify(&Event::Failed(error));
        let mut router = Self::new(self.cluster, options, self.shared, self.mailbox);
        router.watches = self.watches;
        router
    }

    /// Routes until the connection is closed and all jobs are answered.
    async fn run(&mut self) {
        loop {
            self.expire();
            self.send_parked();
            self.update_queue_length();
            if self.mailbox.is_closing() && self.jobs.is_empty() {
                return;
            }
            if self.refresh.is_due(Instant::now()) {
                self.refresh_topology();
            }
            let wake = self.next_wake().max(Instant::now());
            tokio::select! {
                biased;
                Some(event) = self.events.recv() => {
                    self.handle_event(event);
                    while let Ok(event) = self.events.try_recv() {
                        self.handle_event(event);
                    }
                }
                message = self.mailbox.next() => {
                    let mut next = message;
                    while let Some(message) = next {
                        self.handle_message(message);
                        next = self.mailbox.try_next();
                    }
                }
                () = sleep_until(wake) => {}
            }
            clock::note_wake(wake);
        }
    }

    /// Closes the nodes' connections, then reports the end to the callers of `close`.
    fn finish(mut self) {
        self.mailbox.shut();
        while let Some(message) = self.mailbox.try_next() {
            self.handle_message(message);
        }
        // They are left with topology queries and expired commands, which no caller waits for.
        self.nodes.abort();
        self.mailbox.notify_ended();
    }

    /// Returns the system time at which work is due next.
    fn next_wake(&self) -> Instant {
        [
            self.jobs.deadline().map(clock::wake),
            self.parked.next_retry(),
            self.refresh.next_due(),
        ]
        .into_iter()
        .flatten()
        .min()
        .unwrap_or_else(|| Instant::now() + MAX_SLEEP)
    }

    // ---- Messages and events ----

    fn handle_message(&mut self, message: Message) {
        match message {
            Message::Job(job) => {
                self.shared
                    .queued
                    .fetch_sub(job.operations(), Ordering::Relaxed);
                if self.mailbox.is_closing() {
                    job.fail(&Error::Closed);
                } else {
                    self.dispatch(job);
                }
            }
            Message::Primaries(waiter) => {
                self.next_waiters.push(waiter);
                self.refresh.schedule_now(Instant::now());
            }
            Message::Watch(watch) => self.add_watch(watch),
            Message::Credentials(result) => self.nodes.deliver_credentials(&result),
            Message::Renewal(credentials) => self.nodes.renew_credentials(&credentials),
            // These are for other transports, or handled by the mailbox.
            Message::Executor(_) | Message::Said(_) | Message::HandOver(_) | Message::Close(_) => {}
        }
    }

    fn add_watch(&mut self, watch: Weak<dyn Watch>) {
        let cache = self.shared.cache.as_ref();
        if cache.is_some_and(|cache| cache.hears()) {
            self.watches.set_warning(None);
        }
        if self.nodes.is_awaiting_credentials()
            && let Some(watch) = watch.upgrade()
        {
            // No store may have been watching when the credentials were requested.
            watch.event(&Event::CredentialsWanted);
        }
        self.watches.add(watch, self.shared.health.is_ready());
    }

    fn handle_event(&mut self, event: RouterEvent) {
        match event {
            RouterEvent::Replies(node, replies) => self.handle_replies(&node, replies),
            RouterEvent::Tracking(event) => {
                if let Some(cache) = &self.shared.cache {
                    event.apply(cache);
                }
            }
            RouterEvent::Node(node, event) => self.handle_node_event(node, event),
            RouterEvent::SlotMap(Ok(slot_map)) => self.apply_slot_map(slot_map),
            RouterEvent::SlotMap(Err(error)) => self.handle_refresh_error(error),
        }
    }

    fn handle_node_event(&mut self, node: Node, event: Event) {
        match event {
            Event::CredentialsWanted => {
                if self.nodes.add_awaiting_credentials(node) {
                    self.watches.ask_for_credentials();
                }
            }
            Event::Ready => {
                self.shared.health.note_connection();
                self.nodes.set_last_error(&node, None);
                self.parked.mark_all_due(Instant::now());
                self.update_health(None);
                // A node that reconnects may have become a replica.
                if !self.parked.is_empty() || self.slot_map.is_empty() {
                    self.refresh.reset_backoff(Instant::now());
                    self.refresh_soon();
                }
            }
            // The node serves, although without client tracking.
            Event::Failed(error @ Error::CacheOff { .. }) => {
                self.watches.set_warning(Some(error));
            }
            Event::Reconnecting(error) => {
                self.refresh.reset_backoff(Instant::now());
                self.handle_node_error(&node, error);
            }
            Event::Failed(error) => self.handle_node_error(&node, error),
        }
    }

    fn handle_node_error(&mut self, node: &Node, error: Error) {
        self.refresh_soon();
        if self.slot_map.is_primary(node) {
            self.update_health(Some(&error));
        }
        self.nodes.set_last_error(node, Some(error));
        if self.parked.has_redirect_to(node) {
            self.parked.mark_all_due(Instant::now());
        }
    }

    // ---- Health ----

    /// Updates the health of the cluster and reports changes. The cluster is ready when all primaries are.
    fn update_health(&mut self, error: Option<&Error>) {
        let shards = self.slot_map.shards();
        let is_node_ready = |node| self.nodes.is_ready(node);
        let is_ready =
            !shards.is_empty() && shards.iter().all(|shard| is_node_ready(&shard.primary));
        if let Some(error) = error {
            let attempts = self.shared.health.down().attempts.saturating_add(1);
            self.shared.health.set_down(Down {
                attempts,
                cause: error.to_string(),
                timed_out: false,
            });
        }
        if is_ready != self.shared.health.is_ready() {
            self.shared.health.set_ready(is_ready);
            if is_ready {
                self.shared.health.attempted(0);
                self.watches.notify(&Event::Ready);
            } else if let Some(error) = error {
                self.watches.notify(&Event::Reconnecting(error.clone()));
            }
        }
    }

    /// Stores the number of parked operations as the queue length that `max_queue` bounds.
    fn update_queue_length(&mut self) {
        // With messages pending, their operations are subtracted when they are handled.
        if self.mailbox.len() == 0 {
            let parked = self.parked.operations();
            self.shared.queued.store(parked, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::Connection;
    use crate::connection::commands::{Access, Commands, Expect};
    use crate::connection::test_observers::{Errors, Panicking};
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use tokio::time::timeout;

    const ENOUGH: Duration = Duration::from_secs(30);

    /// Serves a client as a cluster with a single node.
    fn serve(mut client: TcpStream, port: u16) -> std::io::Result<()> {
        let mut bytes = vec![0; 64 * 1024];
        loop {
            let count = client.read(&mut bytes)?;
            if count == 0 {
                return Ok(());
            }
            let text = String::from_utf8_lossy(&bytes[..count]).into_owned();
            for command in text.split('*').skip(1) {
                let name = command.split("\r\n").nth(2).unwrap_or_default();
                let slots = format!(
                    "*1\r\n*3\r\n:0\r\n:16383\r\n*3\r\n$9\r\n127.0.0.1\r\n:{port}\r\n$1\r\na\r\n"
                );
                let reply = match name {
                    "HELLO" => "-ERR unknown command\r\n",
                    "CLUSTER" if command.contains("SLOTS") => &slots,
                    "PING" => "+PONG\r\n",
                    "GET" => "$1\r\nx\r\n",
                    _ => "+OK\r\n",
                };
                client.write_all(reply.as_bytes())?;
            }
        }
    }

    #[tokio::test]
    async fn a_router_that_panics_is_reported_and_restarted() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        // The thread ends with the process: it accepts clients until then.
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                std::thread::spawn(move || serve(client, port));
            }
        });
        let url = format!("redis+cluster://127.0.0.1:{port}");
        let options = crate::options::parse_url(&url).expect("a URL");
        let connection = Connection::open(&Handle::current(), options);
        let (report, mut errors) = mpsc::unbounded_channel();
        let watch: Arc<dyn Watch> = Arc::new(Errors(report));
        connection.watch(Arc::downgrade(&watch));
        let words: [&[u8]; 2] = [b"GET", b"k"];
        let get = Commands::of(Access::Read, Expect::Text, Some(1), &words);
        connection.send(get, Box::new(Panicking));
        let error = timeout(ENOUGH, errors.recv()).await;
        assert!(
            matches!(&error, Ok(Some(error)) if error.contains("ended unexpectedly")),
            "{error:?}"
        );
        let reply = connection.ask(Access::Read, Expect::Text, Some(1), &words);
        let reply = timeout(ENOUGH, reply).await;
        assert!(matches!(reply, Ok(Ok(_))), "{reply:?}");
        assert!(timeout(ENOUGH, connection.close()).await.is_ok());
    }
}
