//! The open scans of a store.

use super::completion::Completion;
use super::in_flight::InFlightGuard;
use super::key_scan::KeyScan;
use super::keys::Keys;
use super::request::{Name, ScanId};
use super::strings::Strings;
use crate::connection::Origin;
use crate::error::Error;
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::time::Instant;

/// The maximum number of `SCAN`s for one page. If few of the keys are sessions, a page ends before it is full.
const PAGE_SCANS: usize = 64;

/// The content of a scan's pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScanKind {
    /// Session IDs.
    Ids,
    /// Sessions, with their end if their text has another expiry.
    All,
    /// Sessions with their end.
    Scan,
}

impl ScanKind {
    pub(super) fn name(self) -> Name {
        match self {
            Self::Ids => Name::Ids,
            Self::All => Name::All,
            Self::Scan => Name::Scan,
        }
    }
}

/// The open scans of a store.
#[derive(Debug, Default)]
pub struct Scans {
    last: AtomicU32,
    open: Mutex<HashMap<ScanId, Arc<OpenScan>>>,
}

impl Scans {
    pub(super) fn lock(&self) -> MutexGuard<'_, HashMap<ScanId, Arc<OpenScan>>> {
        // A poisoned lock still holds a usable map: each change is one step.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn begin(&self, scan: OpenScan) -> ScanId {
        let number = self.last.fetch_add(1, Ordering::Relaxed);
        self.lock().insert(number, Arc::new(scan));
        number
    }

    pub(super) fn get(&self, scan: ScanId) -> Option<Arc<OpenScan>> {
        self.lock().get(&scan).map(Arc::clone)
    }

    /// Removes a scan that is complete or abandoned.
    pub fn close(&self, scan: ScanId) {
        self.lock().remove(&scan);
    }
}

#[derive(Debug)]
pub(super) struct OpenScan {
    pub(super) kind: ScanKind,
    pub(super) since: Instant,
    pub(super) state: tokio::sync::Mutex<ScanState>,
}

/// The state of a scan between two pages.
#[derive(Debug)]
pub(super) struct ScanState {
    pub(super) scan: KeyScan,
    /// Found, but not returned yet.
    pub(super) found: Found,
    /// The next page, prepared while JavaScript processes the last one.
    pub(super) ready: Option<Page>,
    /// `close` waits for `ids` and `all`. A `scan` may be abandoned, so `close` does not wait for it.
    pub(super) _in_flight: InFlightGuard,
}

/// The sessions found: their IDs alone if only IDs are wanted, otherwise their keys.
#[derive(Debug)]
pub(super) enum Found {
    Ids(Strings),
    Keys(VecDeque<Vec<u8>>),
}

impl Found {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Ids(ids) => ids.len(),
            Self::Keys(keys) => keys.len(),
        }
    }

    pub(super) fn add(&mut self, keys: Vec<Vec<u8>>, prefix: &Keys) {
        match self {
            Self::Ids(ids) => {
                for key in &keys {
                    ids.push(prefix.id(key).unwrap_or(key));
                }
            }
            Self::Keys(found) => found.extend(keys),
        }
    }
}

/// The completions of a page: its items, and the last one.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) items: Vec<Completion>,
    pub(super) last: Completion,
    pub(super) origin: Origin,
}

impl ScanState {
    /// Scans until `enough` sessions are found, the scan ends, or the page has taken its maximum number of `SCAN`s.
    pub(super) async fn find(&mut self, enough: usize) -> Result<(), Error> {
        for _ in 0..PAGE_SCANS {
            if self.found.len() >= enough || self.scan.is_at_end() {
                break;
            }
            let keys = self.scan.next_new().await?;
            self.found.add(keys, &self.scan.keys);
        }
        Ok(())
    }
}
