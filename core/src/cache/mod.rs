//! Sessions that were read and are kept in this process, coherent with the server.
//!
//! The server remembers which keys a connection has read (`CLIENT TRACKING`) and tells it, among its
//! replies, when one of them changes. What is kept here is what such a connection read, so long as all of
//! this holds:
//!
//! - **In the server's order.** A value is put in, and taken out again, in the order in which the server
//!   sent the reply and the message about the change. So a message finds the value that it is about.
//! - **Not across our own writes.** The value is gone when a write is issued, and again when it is answered. A
//!   read that was sent before the write puts nothing in ([`Ticket::serial`]).
//! - **On one connection.** What a lost connection had read is forgotten, and a read that was issued
//!   before the loss puts nothing in ([`Ticket::epoch`]).
//! - **With a server that is there.** A value is given out only if a command that was sent less than
//!   `max_staleness` ago has been answered: until then, at least, every message about a change has come.
//!
//! Read by the threads of JavaScript, written by them and the runtime's. Every lock is held for the time of
//! a few map operations, and what is large is dropped outside.

mod clock;
mod entries;
mod freshness;
mod pending_writes;

pub(crate) use self::clock::Moment;
pub(crate) use self::entries::Entry;
pub(crate) use self::freshness::{Line, Proof};
pub(crate) use self::pending_writes::PendingWrite;

use self::clock::Stamp;
use self::entries::Entries;
use self::freshness::Lines;
use self::pending_writes::PendingWrites;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// For how long after the last look-up an idle connection is kept fresh.
const LINGER: Duration = Duration::from_secs(10);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CacheOptions {
    pub max_bytes: u64,
    pub max_entries: u64,
    /// For how long a server that is not heard is taken at its last word.
    pub max_staleness: Duration,
}

/// Taken when a read is issued; says whether its value may be kept when it comes.
#[derive(Clone, Copy, Debug)]
pub struct Ticket {
    epoch: u64,
    serial: u64,
}

/// What the server says has changed.
#[derive(PartialEq, Eq)]
pub(crate) enum Invalidation {
    Keys(Vec<Vec<u8>>),
    All,
}

impl fmt::Debug for Invalidation {
    /// Keys hold ids.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Keys(keys) => write!(f, "{} keys", keys.len()),
            Self::All => f.write_str("all keys"),
        }
    }
}

/// What the app is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    pub hits: u64,
    pub misses: u64,
    pub invalidations: u64,
    pub entries: u64,
    pub bytes: u64,
    pub evictions: u64,
    pub distrusted: u64,
}

#[derive(Debug)]
pub(crate) struct Cache {
    options: CacheOptions,
    state: Mutex<State>,
    /// Changed under the lock of the state, beside which they are for those who only look.
    epoch: AtomicU64,
    serial: AtomicU64,
    /// When something was last looked up.
    used: Stamp,
    /// Something is looked up again, after idle connections have ceased to be asked.
    resumed: Notify,
    hits: AtomicU64,
    misses: AtomicU64,
    distrusted: AtomicU64,
    invalidations: AtomicU64,
}

struct State {
    entries: Entries,
    writes: PendingWrites,
    lines: Lines,
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} sessions", self.entries.len())
    }
}

impl Cache {
    pub(crate) fn new(options: CacheOptions) -> Self {
        Self {
            state: Mutex::new(State {
                entries: Entries::new(options.max_bytes, options.max_entries),
                writes: PendingWrites::default(),
                lines: Lines::default(),
            }),
            options,
            epoch: AtomicU64::new(0),
            serial: AtomicU64::new(0),
            used: Stamp::new(Moment::now()),
            resumed: Notify::new(),
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
            distrusted: AtomicU64::new(0),
            invalidations: AtomicU64::new(0),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A poisoned lock means a panic among the map operations. What is lost is emptied with the
        // connection at the latest; what is kept is whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    // ---- Reading ----

    /// The session that is kept under a key, if the server has been heard lately; and the time by which
    /// that was decided.
    pub(crate) fn look_up(&self, key: &[u8]) -> Option<(Arc<Entry>, Moment)> {
        let state = self.lock();
        let found = state.entries.get(key);
        let heard = state.lines.heard();
        drop(state);
        // Read last: a process that was stopped in between must not take itself for fresh.
        let now = Moment::now();
        let unused = self.used.get().before(now);
        self.used.set(now);
        if unused >= self.linger() {
            self.resumed.notify_waiters();
        }
        let Some(entry) = found else {
            self.misses.fetch_add(1, Ordering::Relaxed);
            return None;
        };
        if heard.is_none_or(|heard| heard.before(now) > self.options.max_staleness) {
            self.distrusted.fetch_add(1, Ordering::Relaxed);
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

    /// Returns true if a value may be returned that was read so long ago.
    pub(crate) fn allows(&self, age: Duration) -> bool {
        age <= self.options.max_staleness && self.hears()
    }

    /// To be taken before a read is sent.
    pub(crate) fn ticket(&self) -> Ticket {
        // An older number than there is keeps a value out, no more.
        Ticket {
            epoch: self.epoch.load(Ordering::Acquire),
            serial: self.serial.load(Ordering::Acquire),
        }
    }

    /// Puts in what a read gave. To be called before a message about a change that the server sent
    /// after the reply is given to [`Self::invalidate`], and after one that it sent before.
    pub(crate) fn keep(&self, ticket: Ticket, key: &[u8], entry: Entry) {
        let mut removed = Vec::new();
        let mut state = self.lock();
        let is_of_now = ticket.epoch == self.epoch.load(Ordering::Relaxed);
        let is_outdated =
            cfg!(not(feature = "unsound-cache")) && state.writes.outdate(key, ticket.serial);
        if is_of_now && !is_outdated && state.lines.can_hear() {
            removed = state.entries.insert(key, entry);
        }
        drop(state);
        drop(removed);
    }

    // ---- PendingWrite ----

    /// A write is issued: what is kept under the key is not to be read any more, and what was read
    /// before is not to be kept.
    pub(crate) fn write(self: &Arc<Self>, key: &[u8]) -> PendingWrite {
        let mut state = self.lock();
        state.writes.begin(key);
        let removed = state.entries.remove(key);
        drop(state);
        drop(removed);
        PendingWrite::new(Arc::clone(self), key)
    }

    fn next_serial(&self) -> u64 {
        self.serial.fetch_add(1, Ordering::AcqRel) + 1
    }

    /// Empties it, and keeps out what reads that are under way will give.
    pub(crate) fn clear(&self) {
        let mut state = self.lock();
        self.epoch.fetch_add(1, Ordering::AcqRel);
        let removed = state.entries.clear();
        drop(state);
        drop(removed);
    }

    /// What the server says has changed.
    pub(crate) fn invalidate(&self, invalidation: &Invalidation) {
        self.invalidations.fetch_add(1, Ordering::Relaxed);
        match invalidation {
            Invalidation::Keys(keys) => {
                let mut state = self.lock();
                let removed = keys.iter().filter_map(|key| state.entries.remove(key));
                let removed: Vec<_> = removed.collect();
                drop(state);
                drop(removed);
            }
            Invalidation::All => {
                let removed = self.lock().entries.clear();
                drop(removed);
            }
        }
    }

    // ---- The connection ----

    /// A connection begins to hear what changes, or, if it `hears` nothing, to be used all the same.
    pub(crate) fn begin(self: &Arc<Self>, hears: bool) -> Line {
        Line::begin(Arc::clone(self), hears)
    }

    /// Every connection tells of changes.
    pub(crate) fn hears(&self) -> bool {
        self.lock().lines.can_hear()
    }

    /// When an idle connection is to be asked for a sign of life; `None` while nobody reads.
    fn probe_pause(&self) -> Option<Duration> {
        let unused = self.used.get().before(Moment::now());
        (unused < self.linger()).then_some(self.options.max_staleness / 4)
    }

    fn linger(&self) -> Duration {
        LINGER.max(self.options.max_staleness)
    }

    /// Resolves when somebody reads again after a while: idle connections are to be asked anew.
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
            distrusted: self.distrusted.load(Ordering::Relaxed),
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
        Arc::new(Cache::new(CacheOptions {
            max_bytes,
            max_entries,
            max_staleness,
        }))
    }

    fn usual() -> Arc<Cache> {
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
    fn what_was_read_is_kept_until_it_changes() {
        let cache = usual();
        let _line = cache.begin(true);
        cache.keep(cache.ticket(), b"k", entry("one"));
        assert_eq!(text(&cache, b"k").as_deref(), Some("one"));
        cache.invalidate(&changed(b"other"));
        assert_eq!(text(&cache, b"k").as_deref(), Some("one"));
        cache.invalidate(&changed(b"k"));
        assert_eq!(text(&cache, b"k"), None);
        cache.keep(cache.ticket(), b"k", entry("two"));
        cache.invalidate(&Invalidation::All);
        assert_eq!(text(&cache, b"k"), None);
        let stats = cache.stats();
        assert_eq!((stats.hits, stats.misses, stats.invalidations), (2, 2, 3));
    }

    #[test]
    fn what_was_read_before_a_write_is_not_kept() {
        let cache = usual();
        let _line = cache.begin(true);
        let before = cache.ticket();
        cache.keep(before, b"k", entry("old"));
        let mut writing = cache.write(b"k");
        assert_eq!(text(&cache, b"k"), None, "gone when the write is issued");
        cache.keep(before, b"k", entry("old"));
        assert_eq!(text(&cache, b"k"), None, "read before the write");
        cache.keep(before, b"other", entry("other"));
        assert!(text(&cache, b"other").is_some());
        let overtaking = cache.ticket();
        cache.keep(overtaking, b"k", entry("old"));
        assert_eq!(text(&cache, b"k"), None, "issued after it, but sent before");
        let after = writing.send();
        cache.keep(overtaking, b"k", entry("old"));
        assert_eq!(text(&cache, b"k"), None, "answered when it is sent");
        cache.keep(after, b"k", entry("new"));
        let kept = text(&cache, b"k");
        assert_eq!(kept.as_deref(), Some("new"), "read after the write");
        let mut second = cache.write(b"k");
        drop(writing);
        cache.keep(after, b"k", entry("new"));
        assert_eq!(text(&cache, b"k"), None, "one of the writes is under way");
        cache.keep(second.send(), b"k", entry("put off"));
        drop(second);
        assert_eq!(text(&cache, b"k"), None, "done later than the read");
        cache.keep(cache.ticket(), b"k", entry("newest"));
        assert_eq!(text(&cache, b"k").as_deref(), Some("newest"));
        drop(cache.write(b"k"));
        cache.keep(cache.ticket(), b"k", entry("kept"));
        assert!(text(&cache, b"k").is_some(), "a write that is never sent");
        assert!(cache.lock().writes.is_empty());
    }

    #[test]
    fn a_lost_connection_empties_it() {
        let cache = usual();
        let before = cache.ticket();
        cache.keep(before, b"k", entry("one"));
        assert_eq!(text(&cache, b"k"), None, "nobody tells of changes");
        let line = cache.begin(true);
        let other = cache.begin(true);
        let before = cache.ticket();
        cache.keep(before, b"k", entry("one"));
        assert!(text(&cache, b"k").is_some());
        drop(line);
        assert_eq!(text(&cache, b"k"), None);
        cache.keep(before, b"k", entry("one"));
        assert_eq!(text(&cache, b"k"), None, "read before the loss");
        cache.keep(cache.ticket(), b"k", entry("one"));
        assert!(text(&cache, b"k").is_some());
        let deaf = cache.begin(false);
        assert_eq!(
            text(&cache, b"k"),
            None,
            "one of the connections hears nothing"
        );
        drop(deaf);
        drop(other);
        assert_eq!(cache.stats().entries, 0);
    }

    #[test]
    fn a_server_that_is_not_heard_is_not_trusted() {
        let cache = cache(1 << 20, 1000, Duration::from_millis(50));
        let line = cache.begin(true);
        let quiet = cache.begin(true);
        cache.keep(cache.ticket(), b"k", entry("one"));
        assert!(text(&cache, b"k").is_some());
        std::thread::sleep(Duration::from_millis(60));
        assert_eq!(text(&cache, b"k"), None);
        let long_ago = Moment::now();
        std::thread::sleep(Duration::from_millis(60));
        line.proof(Moment::now()).count();
        assert_eq!(text(&cache, b"k"), None, "the other one is still silent");
        quiet.proof(Moment::now()).count();
        assert!(text(&cache, b"k").is_some());
        // An answer tells nothing of what came after its command was sent.
        line.proof(long_ago).count();
        assert_eq!(text(&cache, b"k"), None);
        let stats = cache.stats();
        assert_eq!((stats.hits, stats.misses), (2, 0));
        assert!(stats.distrusted >= 2);
    }

    #[test]
    fn a_session_is_not_kept_beyond_its_end() {
        let cache = usual();
        let _line = cache.begin(true);
        let mut short = entry("one");
        short.until = Some(Instant::now() + Duration::from_millis(20));
        cache.keep(cache.ticket(), b"k", short);
        assert!(text(&cache, b"k").is_some());
        std::thread::sleep(Duration::from_millis(30));
        assert_eq!(text(&cache, b"k"), None);
        let mut by_wall_clock = entry("one");
        by_wall_clock.until = Some(Instant::now() + Duration::from_secs(60));
        by_wall_clock.ends = Some(Moment::now().wall);
        cache.keep(cache.ticket(), b"k", by_wall_clock);
        assert_eq!(text(&cache, b"k"), None, "the machine has slept");
    }

    #[test]
    fn idle_connections_are_asked_while_somebody_reads() {
        let cache = cache(1 << 20, 10, Duration::from_millis(200));
        let line = cache.begin(true);
        let due = line.probe_at().expect("just made");
        assert!(due <= Instant::now() + Duration::from_millis(50));
        assert!(cache.begin(false).probe_at().is_none());
    }

    #[test]
    fn idle_connections_learn_that_somebody_reads_again() {
        let cache = usual();
        let line = cache.begin(true);
        let mut resumed = std::pin::pin!(cache.resumed());
        let mut context = Context::from_waker(Waker::noop());
        assert!(resumed.as_mut().poll(&mut context).is_pending());
        cache.look_up(b"k");
        assert!(resumed.as_mut().poll(&mut context).is_pending());
        cache.used.set(Moment::now().minus(LINGER));
        assert!(line.probe_at().is_none());
        cache.look_up(b"k");
        assert!(resumed.as_mut().poll(&mut context).is_ready());
        assert!(line.probe_at().is_some());
    }
}
