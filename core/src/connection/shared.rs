//! What the handles of a connection and the task behind it both know.

use super::single_flight::SingleFlight;
use super::status::{Down, Health};
use crate::cache::Cache;
use crate::error::Error;
use crate::options::{Address, ConnectionOptions, Membership};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

pub(super) struct Shared {
    pub(super) server: Arc<str>,
    /// Keys are spread over several nodes.
    pub(super) is_cluster: bool,
    /// Some of what is sent may have to wait while the rest is served, and a router knows which.
    pub(super) is_routed: bool,
    pub(super) takes_many_keys: bool,
    /// How long an operation may take, waiting for a connection included.
    pub(super) command_timeout: Duration,
    /// How many operations may wait for a connection.
    max_queue: usize,
    fails_offline: bool,
    /// Operations that were sent by a handle and are not in a socket yet.
    pub(super) queued: AtomicUsize,
    pub(super) health: Health,
    /// What was read over the connection, where that is kept.
    pub(super) cache: Option<Arc<Cache>>,
    pub(super) flights: Arc<SingleFlight>,
}

impl Shared {
    pub(super) fn new(options: &ConnectionOptions, cache: Option<Arc<Cache>>) -> Self {
        Self {
            server: options.server().into(),
            is_cluster: options.is_cluster(),
            is_routed: matches!(options.address, Address::Cluster(_)),
            takes_many_keys: match options.address {
                Address::Cluster(_) | Address::Client(_) => false,
                _ => options.membership == Membership::None,
            },
            command_timeout: options.command_timeout,
            max_queue: options.max_queue,
            fails_offline: options.fails_offline,
            queued: AtomicUsize::new(0),
            health: Health::default(),
            flights: Arc::new(SingleFlight::new(cache.clone())),
            cache,
        }
    }

    /// Returns true while operations are refused, as the connection is down and the client that was adopted has none
    /// wait.
    fn is_refusing(&self) -> bool {
        self.fails_offline && !self.health.is_ready() && self.health.has_failed()
    }

    /// How many operations may wait for a connection at the moment.
    pub(super) fn queue_limit(&self) -> usize {
        if self.is_refusing() {
            0
        } else {
            self.max_queue
        }
    }

    /// The error of what finds no room to wait for a connection. `cause` is why, where more is known of it than that
    /// the last attempt to connect failed.
    pub(super) fn full(&self, cause: Option<String>) -> Error {
        let down = self.health.down();
        let server = self.server.to_string();
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

    /// The error of what waited for a connection in vain.
    pub(super) fn unavailable(&self, waited: Duration) -> Error {
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
