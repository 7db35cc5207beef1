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

pub(crate) use self::clock::Moment;

use self::clock::Stamp;
use quick_cache::unsync;
use quick_cache::{Lifecycle, OptionsBuilder, Weighter};
use std::collections::HashMap;
use std::fmt;
use std::hash::RandomState;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// For how long after the last look-up an idle connection is kept fresh.
const LINGER: Duration = Duration::from_secs(10);
/// What an entry takes beside its key and its text: two allocations, its place in the tables.
const ENTRY_BYTES: u64 = 224;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct CacheOptions {
    pub(crate) max_bytes: u64,
    pub(crate) max_entries: u64,
    /// For how long a server that is not heard is taken at its last word.
    pub(crate) max_staleness: Duration,
}

/// A stored session.
#[derive(PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) text: Box<[u8]>,
    /// When the key ends, in milliseconds since 1970; `None` for never.
    pub(crate) ends: Option<u64>,
    /// The same by the steady clock.
    pub(crate) until: Option<Instant>,
    /// The end that goes in the place of the one in the text, where that is another.
    pub(crate) in_force: Option<u64>,
}

impl fmt::Debug for Entry {
    /// Its size alone: it is a session.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.text.len())
    }
}

/// Taken when a read is issued; says whether its value may be kept when it comes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ticket {
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
pub(crate) struct Stats {
    pub(crate) hits: u64,
    pub(crate) misses: u64,
    pub(crate) invalidations: u64,
    pub(crate) entries: u64,
    pub(crate) bytes: u64,
    pub(crate) evictions: u64,
    pub(crate) distrusted: u64,
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
    /// What they take.
    bytes: u64,
    evictions: u64,
    /// Our own writes that are not answered yet.
    writes: HashMap<Box<[u8]>, Write>,
    /// The connections that hear what changes.
    lines: Vec<Arc<Stamp>>,
    /// How many connections cannot hear it.
    deaf: usize,
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} sessions", self.entries.len())
    }
}

#[derive(Default)]
struct Write {
    /// The number of the last of them that was sent.
    serial: u64,
    count: usize,
    /// How many of them are still to be sent: another thread may send a read before them that it issued after.
    unsent: usize,
}

type Entries = unsync::Cache<Box<[u8]>, Arc<Entry>, Weight, RandomState, Evictions>;

/// The bytes that an entry takes.
fn size(key: &[u8], entry: &Entry) -> u64 {
    key.len() as u64 + entry.text.len() as u64 + ENTRY_BYTES
}

/// Bytes, or more, so that no more than the wanted number of entries fit.
#[derive(Clone)]
struct Weight {
    least: u64,
}

impl Weighter<Box<[u8]>, Arc<Entry>> for Weight {
    fn weight(&self, key: &Box<[u8]>, entry: &Arc<Entry>) -> u64 {
        size(key, entry).max(self.least)
    }
}

#[derive(Clone)]
struct Evictions;

impl Lifecycle<Box<[u8]>, Arc<Entry>> for Evictions {
    /// To be dropped when the lock is free.
    type RequestState = Vec<(Box<[u8]>, Arc<Entry>)>;

    fn on_evict(&self, evicted: &mut Self::RequestState, key: Box<[u8]>, entry: Arc<Entry>) {
        evicted.push((key, entry));
    }
}

impl CacheOptions {
    fn empty(&self) -> Entries {
        let most = self.max_entries.max(1);
        let weight = Weight {
            least: self.max_bytes / most,
        };
        // Where the number of entries may be what bounds them, a remainder would have room for one more.
        let capacity = if weight.least > ENTRY_BYTES {
            weight.least * most
        } else {
            self.max_bytes
        };
        // What is expected bounds the list of keys that were evicted lately, no memory is taken for it.
        let expected = (capacity / 1024).clamp(16, self.max_entries.max(16));
        let mut options = OptionsBuilder::new();
        options
            .estimated_items_capacity(usize::try_from(expected).unwrap_or(usize::MAX))
            .weight_capacity(capacity);
        // Ordinarily a part is set aside for those that have yet to be asked for twice, and no entry may be
        // larger than the rest: a single one has to have all.
        if most == 1 {
            options.hot_allocation(1.0);
        }
        match options.build() {
            Ok(options) => Entries::with_options(options, weight, RandomState::new(), Evictions),
            // Only what is left out can be missing, and nothing is.
            Err(_) => Entries::with(16, capacity, weight, RandomState::new(), Evictions),
        }
    }
}

impl Cache {
    pub(crate) fn new(options: CacheOptions) -> Self {
        Self {
            state: Mutex::new(State {
                entries: options.empty(),
                bytes: 0,
                evictions: 0,
                writes: HashMap::new(),
                lines: Vec::new(),
                deaf: 0,
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
        let found = state.entries.get(key).map(Arc::clone);
        let heard = state.heard();
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
        let size_of_new = size(key, &entry);
        if size_of_new > self.options.max_bytes {
            return;
        }
        let mut evicted = Vec::new();
        let mut state = self.lock();
        let is_of_now = ticket.epoch == self.epoch.load(Ordering::Relaxed);
        let is_overtaken = cfg!(not(feature = "unsound-cache"))
            && state
                .writes
                .get(key)
                .is_some_and(|write| write.unsent > 0 || write.serial > ticket.serial);
        if is_of_now && !is_overtaken && state.can_hear() {
            state
                .entries
                .insert_with_lifecycle(key.into(), Arc::new(entry), &mut evicted);
            state.bytes += size_of_new;
            state.bytes -= evicted.iter().map(|(key, old)| size(key, old)).sum::<u64>();
            // What was kept under the same key is among them.
            let evictions = evicted.iter().filter(|(other, _)| **other != *key).count();
            state.evictions += evictions as u64;
        }
        drop(state);
    }

    // ---- Writing ----

    /// A write is issued: what is kept under the key is not to be read any more, and what was read
    /// before is not to be kept.
    pub(crate) fn write(self: &Arc<Self>, key: &[u8]) -> Writing {
        let mut state = self.lock();
        let write = state.writes.entry(key.into()).or_default();
        write.count += 1;
        write.unsent += 1;
        let removed = state.remove(key);
        drop(state);
        drop(removed);
        Writing {
            cache: Arc::clone(self),
            key: key.into(),
            is_sent: false,
        }
    }

    fn next_serial(&self) -> u64 {
        self.serial.fetch_add(1, Ordering::AcqRel) + 1
    }

    /// Empties it, and keeps out what reads that are under way will give.
    pub(crate) fn clear(&self) {
        let empty = self.options.empty();
        let mut state = self.lock();
        self.epoch.fetch_add(1, Ordering::AcqRel);
        let entries = state.replace(empty);
        drop(state);
        drop(entries);
    }

    /// What the server says has changed.
    pub(crate) fn invalidate(&self, invalidation: &Invalidation) {
        self.invalidations.fetch_add(1, Ordering::Relaxed);
        match invalidation {
            Invalidation::Keys(keys) => {
                let mut state = self.lock();
                let removed: Vec<_> = keys.iter().filter_map(|key| state.remove(key)).collect();
                drop(state);
                drop(removed);
            }
            Invalidation::All => {
                let empty = self.options.empty();
                let entries = self.lock().replace(empty);
                drop(entries);
            }
        }
    }

    // ---- The connection ----

    /// A connection begins to hear what changes, or, if it `hears` nothing, to be used all the same.
    pub(crate) fn begin(self: &Arc<Self>, hears: bool) -> Line {
        let heard = Arc::new(Stamp::new(Moment::now()));
        let mut state = self.lock();
        if hears {
            state.lines.push(Arc::clone(&heard));
        } else {
            state.deaf += 1;
        }
        drop(state);
        Line {
            cache: Arc::clone(self),
            heard,
            hears,
        }
    }

    /// Every connection tells of changes.
    pub(crate) fn hears(&self) -> bool {
        self.lock().can_hear()
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
            bytes: state.bytes,
            evictions: state.evictions,
            distrusted: self.distrusted.load(Ordering::Relaxed),
        }
    }
}

impl State {
    /// Takes one out, to be dropped when the lock is free.
    fn remove(&mut self, key: &[u8]) -> Option<(Box<[u8]>, Arc<Entry>)> {
        let removed = self.entries.remove(key)?;
        self.bytes -= size(&removed.0, &removed.1);
        Some(removed)
    }

    /// Takes out all, to be dropped when the lock is free.
    fn replace(&mut self, empty: Entries) -> Entries {
        self.bytes = 0;
        std::mem::replace(&mut self.entries, empty)
    }

    fn can_hear(&self) -> bool {
        self.deaf == 0 && !self.lines.is_empty()
    }

    /// Up to when every connection has told of all changes.
    fn heard(&self) -> Option<Moment> {
        if !self.can_hear() {
            return None;
        }
        let moments = self.lines.iter().map(|line| line.get());
        moments.reduce(Moment::earlier)
    }
}

/// An own write under way. Dropped when it is answered, and what was read before it has come.
#[derive(Debug)]
pub(crate) struct Writing {
    cache: Arc<Cache>,
    key: Box<[u8]>,
    is_sent: bool,
}

impl Writing {
    /// It is sent, in its place among the reads. The ticket is that of one that is sent right after it.
    pub(crate) fn send(&mut self) -> Ticket {
        let mut state = self.cache.lock();
        let serial = self.cache.next_serial();
        if let Some(write) = state.writes.get_mut(&self.key) {
            write.serial = serial;
            write.unsent -= usize::from(!self.is_sent);
        }
        drop(state);
        self.is_sent = true;
        self.cache.ticket()
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        let mut state = self.cache.lock();
        if let Some(write) = state.writes.get_mut(&self.key) {
            write.count -= 1;
            write.unsent -= usize::from(!self.is_sent);
            if write.count == 0 {
                state.writes.remove(&self.key);
            }
        }
        // Read after it was sent, but before it was done: the server may have put it off.
        let removed = state.remove(&self.key);
        drop(state);
        drop(removed);
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

impl Drop for Line {
    fn drop(&mut self) {
        let mut state = self.cache.lock();
        if self.hears {
            state.lines.retain(|line| !Arc::ptr_eq(line, &self.heard));
        } else {
            state.deaf -= 1;
        }
        drop(state);
        self.cache.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::Future;
    use std::task::{Context, Waker};

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
    }

    #[test]
    fn it_stays_within_its_bounds() {
        let small = cache(100_000, 1_000_000, Duration::from_secs(2));
        let few = cache(1 << 30, 10, Duration::from_secs(2));
        let _lines = (small.begin(true), few.begin(true));
        for number in 0..10_000 {
            let key = format!("sess:{number}");
            for cache in [&small, &few] {
                cache.keep(cache.ticket(), key.as_bytes(), entry(&"x".repeat(400)));
            }
        }
        let stats = small.stats();
        assert!(stats.bytes <= 100_000, "{stats:?}");
        assert!(stats.entries > 100, "{stats:?}");
        assert_eq!(stats.evictions + stats.entries, 10_000);
        assert_eq!(few.stats().entries, 10);
        small.keep(small.ticket(), b"huge", entry(&"x".repeat(100_000)));
        assert_eq!(small.stats().entries, stats.entries, "too large to keep");
    }

    #[test]
    fn few_may_be_kept_and_no_more() {
        for most in (1..=40).chain([100, 3000]) {
            let cache = cache(1_000_003, most, Duration::from_secs(2));
            let _line = cache.begin(true);
            for number in 0..most * 3 {
                let key = number.to_string();
                cache.keep(cache.ticket(), key.as_bytes(), entry("text"));
                assert!(text(&cache, key.as_bytes()).is_some(), "of {most}");
            }
            assert_eq!(cache.stats().entries, most);
            assert_eq!(cache.stats().evictions, most * 2);
        }
    }

    #[test]
    fn bytes_are_those_of_the_entries() {
        let cache = cache(10_000, 3, Duration::from_secs(2));
        let _line = cache.begin(true);
        let bytes = || cache.stats().bytes;
        let of = |length: u64| 1 + length + ENTRY_BYTES;
        cache.keep(cache.ticket(), b"a", entry("1234"));
        assert_eq!(bytes(), of(4));
        cache.keep(cache.ticket(), b"a", entry("12345678"));
        assert_eq!(bytes(), of(8), "replaced");
        cache.keep(cache.ticket(), b"b", entry("12"));
        cache.keep(cache.ticket(), b"c", entry("12"));
        assert_eq!(bytes(), of(8) + of(2) + of(2));
        for key in [b"d", b"e", b"f", b"g"] {
            cache.keep(cache.ticket(), key, entry("12"));
        }
        assert_eq!(
            bytes() - 3 * of(2),
            if text(&cache, b"a").is_some() { 6 } else { 0 }
        );
        cache.keep(cache.ticket(), b"h", entry(&"x".repeat(9700)));
        let before = bytes();
        cache.keep(cache.ticket(), b"h", entry(&"x".repeat(10_000)));
        assert_eq!(bytes(), before, "too large to keep");
        cache.invalidate(&Invalidation::All);
        assert_eq!(bytes(), 0);
        cache.keep(cache.ticket(), b"a", entry("1234"));
        cache.keep(cache.ticket(), b"b", entry("1234"));
        cache.invalidate(&changed(b"a"));
        cache.invalidate(&changed(b"a"));
        assert_eq!(bytes(), of(4));
        drop(cache.write(b"b"));
        assert_eq!(bytes(), 0);
        cache.keep(cache.ticket(), b"a", entry("1234"));
        cache.clear();
        assert_eq!(bytes(), 0);
    }

    #[test]
    fn what_is_replaced_was_not_evicted() {
        let cache = usual();
        let _line = cache.begin(true);
        for text in ["one", "two", "three"] {
            cache.keep(cache.ticket(), b"k", entry(text));
        }
        let stats = cache.stats();
        assert_eq!((stats.entries, stats.evictions), (1, 0));
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
