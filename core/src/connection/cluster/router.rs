//! The task that routes: its state, its messages and events, and its restart after a panic.

use super::events::RouterEvent;
use super::jobs::Jobs;
use super::nodes::ClusterNodes;
use super::parked::Parked;
use super::refresh::RefreshSchedule;
use super::slot_map::{SLOT_COUNT, SlotMap};
use crate::cache::Cache;
use crate::cause::Cause;
use crate::connection::clock;
use crate::connection::handle::{Connection, Message, PrimariesSender};
use crate::connection::mailbox::Mailbox;
use crate::connection::network::Network;
use crate::connection::shared::Shared;
use crate::connection::status::{Event, Watches};
use crate::error::Error;
use crate::observers::Observers;
use crate::options::{Cluster, ConnectionOptions, Membership};
use futures_util::FutureExt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

/// The longest sleep of the router when no work is due.
const MAX_SLEEP: Duration = Duration::from_secs(60);

/// Opens a connection to a cluster, which connects in the background.
pub(in crate::connection) fn spawn(
    tasks: &Handle,
    network: Arc<dyn Network>,
    cluster: Cluster,
    options: ConnectionOptions,
    cache: Option<Arc<Cache>>,
    observers: Arc<Observers>,
) -> Connection {
    let (connection, messages) = Connection::new(Shared::new(&options, cache, observers));
    let shared = Arc::clone(&connection.shared);
    tasks.spawn(async move {
        let mut router = Router::new(cluster, network, options, shared, Mailbox::new(messages));
        while AssertUnwindSafe(router.run()).catch_unwind().await.is_err() {
            router = router.restarted();
        }
        router.finish();
    });
    connection
}

/// The state of the cluster router.
pub(super) struct Router {
    pub(super) cluster: Cluster,
    pub(super) shared: Arc<Shared>,
    network: Arc<dyn Network>,
    options: ConnectionOptions,
    mailbox: Mailbox,
    /// Sends to `events`; cloned for nodes and refreshes.
    pub(super) sender: mpsc::UnboundedSender<RouterEvent>,
    events: mpsc::UnboundedReceiver<RouterEvent>,
    pub(super) nodes: ClusterNodes,
    pub(super) slot_map: SlotMap,
    pub(super) jobs: Jobs,
    /// The number of in-flight commands per slot.
    pub(super) in_flight: Vec<u32>,
    pub(super) parked: Parked,
    pub(super) refresh: RefreshSchedule,
    /// The error of the last topology refresh, if it failed.
    pub(super) refresh_error: Option<Error>,
    pub(super) watches: Watches,
    /// Callers that wait for a topology refresh that has not started yet: the slot map may be as old as the pause
    /// between refreshes.
    pub(super) next_waiters: Vec<PrimariesSender>,
    /// Callers that wait for the current topology refresh.
    pub(super) current_waiters: Vec<PrimariesSender>,
    /// A counter that selects replicas round-robin.
    pub(super) next_replica: usize,
}

impl Router {
    fn new(
        cluster: Cluster,
        network: Arc<dyn Network>,
        options: ConnectionOptions,
        shared: Arc<Shared>,
        mailbox: Mailbox,
    ) -> Self {
        let (sender, events) = mpsc::unbounded_channel();
        let membership = if cluster.reads_from_replicas {
            Membership::Reader
        } else {
            Membership::Member
        };
        let nodes = ClusterNodes::new(
            Arc::clone(&network),
            options.clone(),
            membership,
            shared.cache.clone(),
            Arc::clone(&shared.observers),
            Arc::clone(&shared.counters),
            sender.clone(),
        );
        Self {
            cluster,
            network,
            options,
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
    fn restarted(mut self) -> Self {
        let server = self.shared.server.clone();
        let error = Error::Interrupted { server };
        self.nodes.abort();
        self.fail_waiting(&error);
        self.shared.health.set_lost(Cause::from(&error), false);
        self.clear_cache("the connection task was restarted");
        self.watches.notify(&Event::Failed(error));
        let mut router = Self::new(
            self.cluster,
            self.network,
            self.options,
            self.shared,
            self.mailbox,
        );
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
            // Handled by the mailbox.
            Message::Close(_) => {}
        }
    }

    fn handle_event(&mut self, event: RouterEvent) {
        match event {
            RouterEvent::Replies(node, replies, server) => {
                self.handle_replies(&node, replies, server);
            }
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

    /// Stores the number of parked operations as the queue length that `max_queue` bounds.
    fn update_queue_length(&mut self) {
        // With messages pending, their operations are subtracted when they are handled.
        if self.mailbox.len() == 0 {
            let parked = self.parked.operations();
            self.shared.queued.store(parked, Ordering::Relaxed);
        }
    }
}
