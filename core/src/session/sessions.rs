//! The sessions under one prefix on one connection.

use super::bulk::RunningBulk;
use super::cas_support::CasSupport;
use super::in_flight::InFlight;
use super::keys::Keys;
use super::scans::Scans;
use crate::connection::{Connection, Lease};
use std::sync::Arc;

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
        Self {
            lease: Arc::new(lease),
            cas_support: Arc::default(),
            in_flight: InFlight::default(),
            ..self.clone()
        }
    }

    pub fn set_scan_count(&mut self, scan_count: u32) {
        self.scan_count = scan_count;
    }
}
