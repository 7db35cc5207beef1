//! The state that the handles of a connection share with the task behind it.

use super::counters::Counters;
use super::origin::ServerId;
use super::single_flight::SingleFlight;
use super::status::{Down, Health};
use crate::cache::Cache;
use crate::cause::Cause;
use crate::error::Error;
use crate::observers::{Observation, Observers, kind};
use crate::options::{Address, ConnectionOptions, Membership};
use crate::server::Server;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

/// The state of a connection, seen from both sides.
pub(super) struct Shared {
    pub(super) server: Server,
    /// True if the keys are spread over several nodes.
    pub(super) is_cluster: bool,
    /// True if a command may have several keys.
    pub(super) takes_many_keys: bool,
    /// The time within which an operation completes or fails, including the time that it waits for a connection.
    pub(super) command_timeout: Duration,
    /// The most operations that may wait for a connection.
    max_queue: usize,
    /// True if operations fail at once while the connection is down.
    fails_offline: bool,
    /// The number of operations that a handle sent and that are not written to a socket yet.
    pub(super) queued: AtomicUsize,
    pub(super) health: Health,
    /// The observers of this connection; for a node of a cluster, those of the cluster.
    pub(super) observers: Arc<Observers>,
    /// The near-cache, if the connection has one.
    pub(super) cache: Option<Arc<Cache>>,
    pub(super) single_flight: Arc<SingleFlight>,
    pub(super) counters: Arc<Counters>,
}

impl Shared {
    pub(super) fn new(
        options: &ConnectionOptions,
        cache: Option<Arc<Cache>>,
        observers: Arc<Observers>,
    ) -> Self {
        let counters = Arc::<Counters>::default();
        counters.set_server(ServerId::of(&options.address));
        Self {
            server: options.server(),
            is_cluster: options.is_cluster(),
            takes_many_keys: match options.address {
                Address::Cluster(_) => false,
                _ => options.membership == Membership::None,
            },
            command_timeout: options.command_timeout,
            max_queue: options.max_queue,
            fails_offline: options.fails_offline,
            queued: AtomicUsize::new(0),
            health: Health::default(),
            observers,
            single_flight: Arc::new(SingleFlight::new(cache.clone())),
            cache,
            counters,
        }
    }

    /// Reports that this number of commands are to be sent again.
    pub(super) fn report_retries(&self, commands: usize) {
        if commands > 0 {
            self.observers
                .report(kind::CHANGES, || Observation::Retrying {
                    server: self.server.clone(),
                    commands,
                });
        }
    }

    /// Returns true while operations are refused: the connection is down, and the app's client is configured not to
    /// queue commands offline.
    fn is_refusing(&self) -> bool {
        self.fails_offline && !self.health.is_ready() && self.health.has_failed()
    }

    /// Returns the number of operations that may currently wait for a connection.
    pub(super) fn queue_limit(&self) -> usize {
        if self.is_refusing() {
            0
        } else {
            self.max_queue
        }
    }

    /// Builds the error of an operation that exceeds the queue limit. `cause` replaces the failure of the last attempt
    /// to connect, if a more specific cause is known.
    pub(super) fn full(&self, cause: Option<Cause>) -> Error {
        let down = self.health.down();
        let server = self.server.clone();
        let cause = cause.unwrap_or(down.cause);
        if self.is_refusing() {
            return Error::Unreachable { server, cause };
        }
        Error::QueueFull {
            server,
            most: self.max_queue,
            attempts: down.attempts,
            cause,
        }
    }

    /// Builds the error of an operation that reached its deadline without a connection.
    pub(super) fn unavailable(&self, waited: Duration) -> Error {
        let Down {
            attempts,
            cause,
            timed_out,
        } = self.health.down();
        let server = self.server.clone();
        if timed_out {
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
