//! The task that owns a connection: its state, its messages, and its restart after a panic.

use super::credentials::{CredentialRenewal, RenewalHandler};
use super::heartbeat::Heartbeat;
use super::in_flight::InFlight;
use super::queue::JobQueue;
use crate::cache::Cache;
use crate::cause::Cause;
use crate::connection::attempt::Connector;
use crate::connection::backoff::Backoff;
use crate::connection::clock;
use crate::connection::counters::Counters;
use crate::connection::handle::{Connection, Credentials, Message};
use crate::connection::handshake::User;
use crate::connection::job::Job;
use crate::connection::mailbox::Mailbox;
use crate::connection::network::Network;
use crate::connection::retry_policy::RetryPolicy;
use crate::connection::shared::Shared;
use crate::connection::status::{Event, Watches};
use crate::connection::tracking::Tracking;
use crate::error::Error;
use crate::observers::{Observers, Place};
use crate::options::{ConnectionOptions, Membership};
use futures_util::FutureExt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use tokio::runtime::Handle;
use tokio::task::AbortHandle;

/// Opens a connection to a single server, which connects in the background. Its task ends with the last handle; the
/// abort handle ends it at once. `counters` are those of its cluster.
pub(in crate::connection) fn spawn(
    tasks: &Handle,
    network: Arc<dyn Network>,
    options: ConnectionOptions,
    cache: Option<Arc<Cache>>,
    tracking: Option<Tracking>,
    observers: Arc<Observers>,
    counters: Option<Arc<Counters>>,
) -> (Connection, AbortHandle) {
    let mut shared = Shared::new(&options, cache, observers);
    shared.counters = counters.unwrap_or(shared.counters);
    let (connection, messages) = Connection::new(shared);
    let shared = Arc::clone(&connection.shared);
    let policy = match options.membership {
        Membership::None => RetryPolicy::TransientErrors,
        // The cluster router retries them.
        Membership::Member | Membership::Reader => RetryPolicy::Never,
    };
    let supervisor = Supervisor {
        connector: Connector::new(options.clone(), network),
        backoff: Backoff::default(),
        credentials: CredentialRenewal::new(shared.server.clone()),
        queue: JobQueue::new(Arc::clone(&shared), policy),
        in_flight: InFlight::default(),
        heartbeat: Heartbeat::new(options.command_timeout),
        tracking,
        place: Place::new(&shared.server, &options.address, options.database),
        link_count: 0,
        has_served: false,
        counted_bytes: (0, 0),
        watches: Watches::default(),
        mailbox: Mailbox::new(messages),
        shared,
        options,
    };
    let task = tasks.spawn(run(supervisor));
    (connection, task.abort_handle())
}

/// Runs the task until the connection is closed; restarts it after a panic.
async fn run(mut supervisor: Supervisor) {
    while AssertUnwindSafe(supervisor.run())
        .catch_unwind()
        .await
        .is_err()
    {
        supervisor.recover();
    }
    supervisor.finish();
}

/// The state of the task.
pub(super) struct Supervisor {
    pub(super) options: ConnectionOptions,
    pub(super) shared: Arc<Shared>,
    pub(super) mailbox: Mailbox,
    pub(super) watches: Watches,
    pub(super) connector: Connector,
    /// The pause before the next attempt to connect.
    pub(super) backoff: Backoff,
    pub(super) credentials: CredentialRenewal,
    pub(super) queue: JobQueue,
    pub(super) in_flight: InFlight,
    pub(super) heartbeat: Heartbeat,
    /// Client tracking, if the connection has a cache.
    pub(super) tracking: Option<Tracking>,
    /// The server, as observations name it.
    pub(super) place: Place,
    /// The number of links that have served, including the current one.
    pub(super) link_count: u64,
    /// True once the current link has replied.
    pub(super) has_served: bool,
    /// The numbers of bytes read and written over the current link that are counted.
    pub(super) counted_bytes: (u64, u64),
}

impl Supervisor {
    /// Connects and serves until the connection is closed.
    async fn run(&mut self) {
        while let Some((link, primary)) = self.connect().await {
            if self.serve(link, primary).await.is_none() {
                break;
            }
        }
    }

    /// Recovers from a panic, which closed the socket: in-flight commands are queued again.
    fn recover(&mut self) {
        let server = self.shared.server.clone();
        let error = Error::Interrupted { server };
        self.end_tracking();
        if self.shared.health.is_ready() {
            self.report_lost_link(Some((&error.to_string(), &error)));
        }
        self.shared.health.set_lost(Cause::from(&error), false);
        let in_flight = self.in_flight.take();
        self.queue.requeue_in_flight(in_flight, &error, None);
        self.queue.take_transient_error();
        self.credentials.end_wait();
        self.watches.notify(&Event::Failed(error));
    }

    /// Fails the jobs that arrived last and reports the end to the callers of `close`.
    fn finish(mut self) {
        self.mailbox.shut();
        while let Some(message) = self.mailbox.try_next() {
            self.handle_message(message);
        }
        self.mailbox.notify_ended();
    }

    /// Returns true if the connection is closing and no job is left.
    pub(super) fn is_done(&self) -> bool {
        self.mailbox.is_closing() && self.queue.is_empty()
    }

    pub(super) fn handle_message(&mut self, message: Message) {
        match message {
            Message::Job(job) if self.mailbox.is_closing() => {
                self.queue.note_dequeued(&job);
                job.fail(&Error::Closed);
            }
            Message::Job(job) => self.queue.push(job),
            // These are for clusters, or handled by the mailbox.
            Message::Primaries(_) | Message::Close(_) => {}
            Message::Watch(watch) => {
                let is_ready = self.shared.health.is_ready();
                self.watches
                    .add(watch, is_ready, self.credentials.is_awaited());
            }
            Message::Credentials(provided) => self.receive_credentials(provided),
            Message::Renewal(credentials) => self.receive_credentials(Ok(credentials)),
        }
    }

    fn receive_credentials(&mut self, provided: Result<Credentials, String>) {
        match self.credentials.receive(provided) {
            Ok(Some(renewed)) if self.shared.health.is_ready() => self.authenticate(&renewed),
            Ok(_) => {}
            Err(error) => self.watches.notify(&Event::Failed(error)),
        }
    }

    /// Authenticates an open link with a job of its own, in order with the others.
    pub(super) fn authenticate(&mut self, credentials: &Credentials) {
        let authentication = User::new(&self.options, Some(credentials)).authentication();
        // The credentials may name neither a user nor a password.
        if authentication.is_empty() {
            return;
        }
        let handler = RenewalHandler {
            watches: self.watches.clone(),
            server: self.shared.server.clone(),
        };
        let count = authentication.len();
        let deadline = clock::now() + self.options.command_timeout;
        let job = Job::new(authentication, count, deadline, Box::new(handler));
        self.queue.push_own(job);
    }
}
