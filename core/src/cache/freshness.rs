//! The connections behind the cache, and up to when each has told of all changes.

use super::Cache;
use super::clock::{Moment, Stamp};
use std::sync::Arc;
use std::time::Instant;

/// Those that are open.
#[derive(Default)]
pub(super) struct Lines {
    /// When what was last answered had been sent, of each that hears what changes.
    heard: Vec<Arc<Stamp>>,
    /// How many cannot hear it.
    deaf: usize,
}

impl Lines {
    pub(super) fn can_hear(&self) -> bool {
        self.deaf == 0 && !self.heard.is_empty()
    }

    /// Up to when every connection has told of all changes.
    pub(super) fn heard(&self) -> Option<Moment> {
        if !self.can_hear() {
            return None;
        }
        let moments = self.heard.iter().map(|heard| heard.get());
        moments.reduce(Moment::earlier)
    }
}

/// A connection, from its begin to its loss, for the cache. Its end empties the cache.
#[derive(Debug)]
pub(crate) struct Line {
    cache: Arc<Cache>,
    heard: Arc<Stamp>,
    hears: bool,
}

impl Line {
    pub(super) fn begin(cache: Arc<Cache>, hears: bool) -> Self {
        let heard = Arc::new(Stamp::new(Moment::now()));
        let mut state = cache.lock();
        if hears {
            state.lines.heard.push(Arc::clone(&heard));
        } else {
            state.lines.deaf += 1;
        }
        drop(state);
        Self {
            cache,
            heard,
            hears,
        }
    }

    /// That what was sent at this moment has been answered. To be counted when the messages about changes that
    /// came before the answer have been given to [`Cache::invalidate`].
    pub(crate) fn proof(&self, sent: Moment) -> Proof {
        Proof {
            heard: Arc::clone(&self.heard),
            sent,
        }
    }

    /// When the connection, if it is idle, is to be asked for a sign of life.
    pub(crate) fn probe_at(&self) -> Option<Instant> {
        let pause = self.cache.probe_pause().filter(|_| self.hears)?;
        let age = self.heard.get().before(Moment::now());
        Some(Instant::now() + pause.saturating_sub(age))
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let mut state = self.cache.lock();
        if self.hears {
            state
                .lines
                .heard
                .retain(|heard| !Arc::ptr_eq(heard, &self.heard));
        } else {
            state.lines.deaf -= 1;
        }
        drop(state);
        self.cache.clear();
    }
}

/// Up to when a connection has told of all changes.
#[derive(Debug)]
pub(crate) struct Proof {
    heard: Arc<Stamp>,
    sent: Moment,
}

impl Proof {
    pub(crate) fn count(self) {
        self.heard.set(self.sent);
    }
}
