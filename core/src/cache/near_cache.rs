//! The cache: lookups, fills and invalidations.

use super::clock::{AtomicMoment, Moment};
use super::entries::{Entries, Entry, Map};
use super::freshness::Connections;
use super::pending_writes::PendingWrites;
use crate::observers::{Observation, Observers, kind};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// The time after the last lookup for which heartbeats keep idle connections fresh.
const LINGER: Duration = Duration::from_secs(10);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CacheOptions {
    pub max_bytes: u64,
    pub max_entries: u64,
    /// The time for which cached sessions may be returned without confirmation from the server.
    pub max_staleness: Duration,
}

/// Taken when a read is issued; determines if its result may be cached.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ticket {
    epoch: u64,
    serial: u64,
}

/// An invalidation: the keys that the server reports as changed.
#[derive(PartialEq, Eq)]
pub(crate) enum Invalidation {
    Keys(Vec<Vec<u8>>),
    All,
}

impl fmt::Debug for Invalidation {
    /// Omits the keys, which contain session IDs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Keys(keys) => write!(f, "{} keys", keys.len()),
            Self::All => f.write_str("all keys"),
        }
    }
}

/// The statistics of the cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    pub hits: u64,
    pub misses: u64,
    pub invalidations: u64,
    pub entries: u64,
    pub bytes: u64,
    pub evictions: u64,
    /// Cached entries that were not used, since the server had not confirmed them for `max_staleness`.
    pub stale_misses: u64,
}

#[derive(Debug)]
pub(crate) struct Cache {
    options: CacheOptions,
    observers: Arc<Observers>,
    state: Mutex<State>,
    /// Changed while `state` is locked; atomic, so that it can be read without the lock. So is `serial`.
    epoch: AtomicU64,
    serial: AtomicU64,
    /// The time of the last lookup.
    last_lookup: AtomicMoment,
    /// Notified when lookups resume after the heartbeats of idle connections have stopped.
    resumed: Notify,
    hits: AtomicU64,
    misses: AtomicU64,
    stale_misses: AtomicU64,
    invalidations: AtomicU64,
}

pub(super) struct State {
    pub(super) entries: Entries,
    pub(super) writes: PendingWrites,
    pub(super) connections: Connections,
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} sessions", self.entries.len())
    }
}

impl Cache {
    pub(crate) fn new(options: CacheOptions, observers: Arc<Observers>) -> Self {
        Self {
            state: Mutex::new(State {
                entries: Entries::new(options.max_bytes, options.max_entries),
                writes: PendingWrites::default(),
                connections: Connections::default(),
            }),
            options,
            observers,
            epoch: AtomicU64::new(0),
            serial: AtomicU64::new(0),
            last_lookup: AtomicMoment::new(Moment::now()),
            resumed: Notify::new(),
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
            stale_misses: AtomicU64::new(0),
            invalidations: AtomicU64::new(0),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        // A poisoned lock means a panic in a map operation. The entries are complete, and any inconsistency ends
        // when the connection is lost at the latest.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `change` under the lock. The caller drops the result, such as large removed entries, after the lock is
    /// released.
    pub(super) fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.lock())
    }

    // ---- Reading ----

    /// Returns the cached session under a key, if it is fresh, and the time that this
    /// was decided by.
    pub(crate) fn look_up(&self, key: &[u8]) -> Option<(Arc<Entry>, Moment)> {
        let (found, confirmed_at) =
            self.with(|state| (state.entries.get(key), state.connections.confirmed_at()));
        // Read last: a process that was stopped in between must not consider the entry fresh.
        let now = Moment::now();
        let idle = self.last_lookup.get().before(now);
        self.last_lookup.set(now);
        if idle >= self.linger() {
            self.resumed.notify_waiters();
        }
        let Some(entry) = found else {
            self.misses.fetch_add(1, Ordering::Relaxed);
            return None;
        };
        if confirmed_at
            .is_none_or(|confirmed_at| confirmed_at.before(now) > self.options.max_staleness)
        {
            self.stale_misses.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        let has_ended = entry.until.is_some_and(|until| now.is_past(until))
            || entry.ends.is_some_and(|ends| ends <= now.wall);
        if has_ended {
            self.misses.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        self.hits.fetch_add(1, Ordering::Relaxed);
        Some((entry, now))
    }

    /// Returns true if a value that was read `age` ago may be returned.
    pub(crate) fn allows(&self, age: Duration) -> bool {
        age <= self.options.max_staleness && self.is_tracking()
    }

    /// Returns the ticket of a read that is sent afterwards.
    pub(crate) fn ticket(&self) -> Ticket {
        // An outdated number only prevents the result from being cached.
        Ticket {
            epoch: self.epoch.load(Ordering::Acquire),
            serial: self.serial.load(Ordering::Acquire),
        }
    }

    /// Caches the result of a read. Calls of this and [`Self::invalidate`] must be in the order in which the server
    /// sent the replies and the invalidations.
    pub(crate) fn fill(&self, ticket: Ticket, key: &[u8], entry: Entry) {
        let removed = self.with(|state| {
            let is_current_epoch = ticket.epoch == self.epoch.load(Ordering::Relaxed);
            let may_predate_write = state.writes.any_after(key, ticket.serial);
            let may_insert =
                is_current_epoch && !may_predate_write && state.connections.are_tracked();
            may_insert.then(|| state.entries.insert(key, entry))
        });
        for (other, _) in removed.iter().flatten() {
            // An entry with the same key was replaced, not evicted.
            if **other != *key {
                self.observers
                    .report(kind::EVICTIONS, || Observation::Evicted {
                        key: other.to_vec(),
                    });
            }
        }
    }

    // ---- Writes and invalidations ----

    pub(super) fn next_serial(&self) -> u64 {
        self.serial.fetch_add(1, Ordering::AcqRel) + 1
    }

    /// Empties the cache, and prevents the results of reads in flight from being cached.
    pub(crate) fn clear(&self, reason: &'static str) {
        let removed = self.with(|state| {
            self.epoch.fetch_add(1, Ordering::AcqRel);
            state.entries.clear()
        });
        self.report_flush(removed, reason);
    }

    /// Reports that the cache was emptied, unless it was empty.
    fn report_flush(&self, removed: Map, reason: &'static str) {
        if !removed.is_empty() {
            self.observers
                .report(kind::CHANGES, || Observation::CacheFlushed { reason });
        }
    }

    /// Removes the entries that the server reports as changed.
    pub(crate) fn invalidate(&self, invalidation: &Invalidation) {
        self.invalidations.fetch_add(1, Ordering::Relaxed);
        match invalidation {
            Invalidation::Keys(keys) => {
                let remove = |state: &mut State| -> Vec<_> {
                    let removed = keys.iter().filter_map(|key| state.entries.remove(key));
                    removed.collect()
                };
                for (key, _) in self.with(remove) {
                    self.observers
                        .report(kind::INVALIDATIONS, || Observation::Invalidated {
                            key: key.into_vec(),
                        });
                }
            }
            Invalidation::All => {
                let removed = self.with(|state| state.entries.clear());
                self.report_flush(removed, "the server reports that all keys have changed");
            }
        }
    }

    // ---- The connection ----

    /// Returns true if client tracking is enabled on every connection.
    pub(crate) fn is_tracking(&self) -> bool {
        self.lock().connections.are_tracked()
    }

    /// Returns the interval of heartbeats on idle connections; `None` while there are no lookups.
    pub(super) fn heartbeat_interval(&self) -> Option<Duration> {
        let idle = self.last_lookup.get().before(Moment::now());
        (idle < self.linger()).then_some(self.options.max_staleness / 4)
    }

    fn linger(&self) -> Duration {
        LINGER.max(self.options.max_staleness)
    }

    /// Resolves when lookups resume after a while: idle connections need heartbeats again.
    pub(crate) async fn resumed(&self) {
        self.resumed.notified().await;
    }

    pub(crate) fn stats(&self) -> Stats {
        let state = self.lock();
        Stats {
            hits: self.hits.load(Ordering::Relaxed),
            misses: self.misses.load(Ordering::Relaxed),
            invalidations: self.invalidations.load(Ordering::Relaxed),
            entries: state.entries.len() as u64,
            bytes: state.entries.bytes(),
            evictions: state.entries.evictions(),
            stale_misses: self.stale_misses.load(Ordering::Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::Future;
    use std::task::{Context, Waker};
    use std::time::Instant;

    fn cache(max_bytes: u64, max_entries: u64, max_staleness: Duration) -> Arc<Cache> {
        Arc::new(Cache::new(
            CacheOptions {
                max_bytes,
                max_entries,
                max_staleness,
            },
            Arc::default(),
        ))
    }

    fn default_cache() -> Arc<Cache> {
        cache(1 << 20, 1000, Duration::from_secs(2))
    }

    fn entry(text: &str) -> Entry {
        Entry {
            text: text.as_bytes().into(),
            ends: None,
            until: None,
            in_force: None,
            clock: Default::default(),
        }
    }

    fn text(cache: &Cache, key: &[u8]) -> Option<String> {
        let (entry, _) = cache.look_up(key)?;
        Some(String::from_utf8_lossy(&entry.text).into_owned())
    }

    fn changed(key: &[u8]) -> Invalidation {
        Invalidation::Keys(vec![key.to_vec()])
    }

    #[test]
    fn an_entry_is_returned_until_it_is_invalidated() {
        let cache = default_cache();
        let _link = cache.begin(true);
        cache.fill(cache.ticket(), b"k", entry("one"));
        assert_eq!(text(&cache, b"k").as_deref(), Some("one"));
        cache.invalidate(&changed(b"other"));
        assert_eq!(text(&cache, b"k").as_deref(), Some("one"));
        cache.invalidate(&changed(b"k"));
        assert_eq!(text(&cache, b"k"), None);
        cache.fill(cache.ticket(), b"k", entry("two"));
        cache.invalidate(&Invalidation::All);
        assert_eq!(text(&cache, b"k"), None);
        let stats = cache.stats();
        assert_eq!((stats.hits, stats.misses, stats.invalidations), (2, 2, 3));
    }

    #[test]
    fn a_read_sent_before_a_write_is_not_cached() {
        let cache = default_cache();
        let _link = cache.begin(true);
        let before = cache.ticket();
        cache.fill(before, b"k", entry("old"));
        let mut first = cache.write(b"k");
        assert_eq!(text(&cache, b"k"), None, "removed when the write is issued");
        cache.fill(before, b"k", entry("old"));
        assert_eq!(text(&cache, b"k"), None, "read before the write");
        cache.fill(before, b"other", entry("other"));
        assert!(text(&cache, b"other").is_some());
        let overtaking = cache.ticket();
        cache.fill(overtaking, b"k", entry("old"));
        assert_eq!(text(&cache, b"k"), None, "issued after it, but sent before");
        let after = first.send();
        cache.fill(overtaking, b"k", entry("old"));
        assert_eq!(text(&cache, b"k"), None, "answered when it is sent");
        cache.fill(after, b"k", entry("new"));
        let cached = text(&cache, b"k");
        assert_eq!(cached.as_deref(), Some("new"), "read after the write");
        let mut second = cache.write(b"k");
        drop(first);
        cache.fill(after, b"k", entry("new"));
        assert_eq!(text(&cache, b"k"), None, "one of the writes is in flight");
        cache.fill(second.send(), b"k", entry("retried"));
        drop(second);
        assert_eq!(text(&cache, b"k"), None, "executed after the read");
        cache.fill(cache.ticket(), b"k", entry("newest"));
        assert_eq!(text(&cache, b"k").as_deref(), Some("newest"));
        drop(cache.write(b"k"));
        cache.fill(cache.ticket(), b"k", entry("unsent"));
        assert!(text(&cache, b"k").is_some(), "a write that is never sent");
        assert!(cache.lock().writes.is_empty());
    }

    #[test]
    fn a_lost_connection_empties_the_cache() {
        let cache = default_cache();
        let before = cache.ticket();
        cache.fill(before, b"k", entry("one"));
        assert_eq!(text(&cache, b"k"), None, "no connection reports changes");
        let link = cache.begin(true);
        let other = cache.begin(true);
        let before = cache.ticket();
        cache.fill(before, b"k", entry("one"));
        assert!(text(&cache, b"k").is_some());
        drop(link);
        assert_eq!(text(&cache, b"k"), None);
        cache.fill(before, b"k", entry("one"));
        assert_eq!(text(&cache, b"k"), None, "read before the loss");
        cache.fill(cache.ticket(), b"k", entry("one"));
        assert!(text(&cache, b"k").is_some());
        let untracked = cache.begin(false);
        assert_eq!(
            text(&cache, b"k"),
            None,
            "one of the connections is not tracked"
        );
        drop(untracked);
        drop(other);
        assert_eq!(cache.stats().entries, 0);
    }

    #[test]
    fn a_lookup_misses_when_a_server_is_silent_for_max_staleness() {
        let cache = cache(1 << 20, 1000, Duration::from_millis(50));
        let link = cache.begin(true);
        let quiet = cache.begin(true);
        cache.fill(cache.ticket(), b"k", entry("one"));
        assert!(text(&cache, b"k").is_some());
        std::thread::sleep(Duration::from_millis(60));
        assert_eq!(text(&cache, b"k"), None);
        let long_ago = Moment::now();
        std::thread::sleep(Duration::from_millis(60));
        link.confirmation(Moment::now()).record();
        assert_eq!(text(&cache, b"k"), None, "the other one is still silent");
        quiet.confirmation(Moment::now()).record();
        assert!(text(&cache, b"k").is_some());
        // A reply proves nothing about changes after its command was sent.
        link.confirmation(long_ago).record();
        assert_eq!(text(&cache, b"k"), None);
        let stats = cache.stats();
        assert_eq!((stats.hits, stats.misses), (2, 0));
        assert!(stats.stale_misses >= 2);
    }

    #[test]
    fn a_lookup_misses_after_the_end_of_the_session() {
        let cache = default_cache();
        let _link = cache.begin(true);
        let mut short = entry("one");
        short.until = Some(Instant::now() + Duration::from_millis(20));
        cache.fill(cache.ticket(), b"k", short);
        assert!(text(&cache, b"k").is_some());
        std::thread::sleep(Duration::from_millis(30));
        assert_eq!(text(&cache, b"k"), None);
        let mut by_wall_clock = entry("one");
        by_wall_clock.until = Some(Instant::now() + Duration::from_secs(60));
        by_wall_clock.ends = Some(Moment::now().wall);
        cache.fill(cache.ticket(), b"k", by_wall_clock);
        assert_eq!(text(&cache, b"k"), None, "the machine has slept");
    }

    #[test]
    fn idle_connections_need_heartbeats_while_there_are_lookups() {
        let cache = cache(1 << 20, 10, Duration::from_millis(200));
        let link = cache.begin(true);
        let due = link.probe_at().expect("just made");
        assert!(due <= Instant::now() + Duration::from_millis(50));
        assert!(cache.begin(false).probe_at().is_none());
    }

    #[test]
    fn resumed_resolves_when_lookups_resume() {
        let cache = default_cache();
        let link = cache.begin(true);
        let mut resumed = std::pin::pin!(cache.resumed());
        let mut context = Context::from_waker(Waker::noop());
        assert!(resumed.as_mut().poll(&mut context).is_pending());
        cache.look_up(b"k");
        assert!(resumed.as_mut().poll(&mut context).is_pending());
        cache.last_lookup.set(Moment::now().minus(LINGER));
        assert!(link.probe_at().is_none());
        cache.look_up(b"k");
        assert!(resumed.as_mut().poll(&mut context).is_ready());
        assert!(link.probe_at().is_some());
    }
}
