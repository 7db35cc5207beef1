//! The sessions under one prefix on one connection.

use super::cas_support::CasSupport;
use super::in_flight::InFlight;
use super::keys::Keys;
use super::meter::Meter;
use super::running_bulk::RunningBulk;
use super::scans::Scans;
use crate::connection::{Connection, ConnectionFigures, Lease};
use crate::stats::{OperationFigures, StoreStats};
use std::sync::Arc;
use tokio::time::Instant;

/// The sessions under one prefix on one connection.
#[derive(Clone, Debug)]
pub struct Sessions {
    pub(super) lease: Arc<Lease>,
    pub(super) keys: Arc<Keys>,
    /// The `COUNT` of a `SCAN`.
    pub(super) scan_count: u32,
    pub(super) cas_support: Arc<CasSupport>,
    pub(super) scans: Arc<Scans>,
    pub(super) in_flight: InFlight,
    pub(super) running_bulk: RunningBulk,
    pub(super) stats: Arc<StoreStats>,
    /// The sums of the connections before this one.
    past: ConnectionFigures,
}

impl Sessions {
    pub fn new(lease: Lease, prefix: &str, scan_count: u32) -> Self {
        Self {
            lease: Arc::new(lease),
            keys: Arc::new(Keys::new(prefix)),
            scan_count,
            cas_support: Arc::default(),
            scans: Arc::default(),
            in_flight: InFlight::default(),
            running_bulk: RunningBulk::default(),
            stats: Arc::default(),
            past: ConnectionFigures::default(),
        }
    }

    /// Sets the prefix of later requests.
    pub fn set_prefix(&mut self, prefix: &str) {
        self.keys = Arc::new(Keys::new(prefix));
    }

    /// Returns the prefix of the keys.
    pub fn prefix(&self) -> &[u8] {
        self.keys.prefix()
    }

    pub fn connection(&self) -> &Connection {
        self.lease.connection()
    }

    /// Takes another lease on the same connection.
    pub fn renewed_lease(&self, observed: u32) -> Lease {
        self.lease.renew(observed)
    }

    /// Returns the same sessions on another lease.
    pub fn on(&self, lease: Lease) -> Self {
        let mut past = self.past.clone();
        if !lease.connection().is_same(self.connection()) {
            past.add_past(&self.connection().figures());
        }
        Self {
            past,
            lease: Arc::new(lease),
            cas_support: Arc::default(),
            in_flight: InFlight::default(),
            ..self.clone()
        }
    }

    /// Creates the meter of operations that were issued at `since`.
    pub(super) fn meter(&self, since: Instant) -> Meter {
        Meter {
            stats: Arc::clone(&self.stats),
            counters: Arc::clone(self.connection().counters()),
            since,
        }
    }

    /// Returns the statistics of the operations, in the order of [`OPERATIONS`](crate::OPERATIONS).
    pub fn operation_figures(&self) -> Vec<OperationFigures> {
        self.stats.figures().into()
    }

    /// Returns the statistics of the connection, including those before it.
    pub fn connection_figures(&self) -> ConnectionFigures {
        let connection = self.connection();
        let mut figures = connection.figures();
        figures.add_past(&self.past);
        let method = self.cas_support.method(connection);
        figures.features.extend(method.map(str::to_owned));
        figures
    }

    pub fn set_scan_count(&mut self, scan_count: u32) {
        self.scan_count = scan_count;
    }
}
