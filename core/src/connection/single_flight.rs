//! Single-flight reads: a leader sends the commands of a read, and waiters of the same key share its replies.

use super::Reply;
use super::origin::Delivery;
use crate::cache::{Cache, Moment};
use std::collections::HashMap;
use std::fmt;
use std::hash::RandomState;
use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The time for which others may join a read. They share its deadline, which must not be much earlier than their own.
const JOINABLE: Duration = Duration::from_millis(10);

/// Takes the replies to the commands of a read.
type Waiter = Box<dyn FnOnce(&Reply, &Reply, Delivery) + Send>;

/// The single-flight reads of a connection, for all stores that share it.
///
/// A `get` must return every write that another process had acknowledged before the `get` began. A read that is
/// still queued guarantees that, since the server executes it later. One that has been sent does not, so it is joined
/// only where a cache allows values of its age.
///
/// The runtime's thread reports reads and writes in the order in which they are sent, and replies in the order in
/// which they arrive: no one joins a read that has been answered, or one that was queued before a write to its key.
#[derive(Default)]
pub(crate) struct SingleFlight {
    /// Allows reads in flight to be shared.
    cache: Option<Arc<Cache>>,
    reads: Mutex<Reads>,
}

/// A flag that the reads of one pipeline share: it has been sent, at least in part. It stays set if the pipeline is
/// sent again: some of its replies may have arrived before.
#[derive(Clone, Default)]
pub(crate) struct SentFlag(Arc<AtomicBool>);

#[derive(Default)]
struct Reads {
    /// The latest read of each key, unless the key was written since.
    open: HashMap<Arc<[u8]>, Read, RandomState>,
    /// The waiters of reads that cannot be joined any more, by the number of the read.
    closed: HashMap<u64, Vec<Waiter>>,
    last: u64,
    /// The waiters of all reads, open and closed.
    waiters: usize,
}

struct Read {
    number: u64,
    since: Moment,
    sent: SentFlag,
    waiters: Vec<Waiter>,
}

impl fmt::Debug for SingleFlight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SingleFlight")
    }
}

/// Held by the sender of the commands. Dropping it without replies drops the waiters as well.
pub(crate) struct Leader {
    single_flight: Arc<SingleFlight>,
    key: Arc<[u8]>,
    number: u64,
    is_over: bool,
}

impl SentFlag {
    /// To be called before any bytes reach the socket.
    pub(crate) fn set(&self) {
        self.0.store(true, Ordering::Release);
    }

    fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

impl SingleFlight {
    pub(super) fn new(cache: Option<Arc<Cache>>) -> Self {
        Self {
            cache,
            reads: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Reads> {
        // A poisoned lock still holds usable maps: each change is one step.
        self.reads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Joins a read of the key, if there is one that may be shared. The waiter that is made receives the replies, or is
    /// dropped if none arrive.
    pub(crate) fn join<F>(&self, key: &[u8], now: Moment, waiter: impl FnOnce() -> F) -> bool
    where
        F: FnOnce(&Reply, &Reply, Delivery) + Send + 'static,
    {
        let mut reads = self.lock();
        match reads.open.get_mut(key) {
            Some(read) if self.is_shareable(read, now) => {
                read.waiters.push(Box::new(waiter()));
                reads.waiters += 1;
                true
            }
            _ => false,
        }
    }

    fn is_shareable(&self, read: &Read, now: Moment) -> bool {
        let age = read.since.before(now);
        let may_be_old = || self.cache.as_ref().is_some_and(|cache| cache.allows(age));
        age < JOINABLE && (!read.sent.is_set() || may_be_old())
    }

    /// Returns the number of operations that wait for reads of others, without commands of their own.
    pub(super) fn waiters(&self) -> usize {
        self.lock().waiters
    }

    /// Begins a read that others may join. `sent` is the flag of its pipeline.
    pub(crate) fn begin(self: &Arc<Self>, key: &[u8], now: Moment, sent: SentFlag) -> Leader {
        let key: Arc<[u8]> = key.into();
        let mut reads = self.lock();
        reads.last += 1;
        let number = reads.last;
        let read = Read {
            number,
            since: now,
            sent,
            waiters: Vec::new(),
        };
        if let Some(earlier) = reads.open.insert(Arc::clone(&key), read) {
            reads.close(earlier);
        }
        drop(reads);
        Leader {
            single_flight: Arc::clone(self),
            key,
            number,
            is_over: false,
        }
    }

    /// Keeps reads that follow a write to the key from joining one that precedes it.
    pub(crate) fn close(&self, key: &[u8]) {
        let mut reads = self.lock();
        if let Some(read) = reads.open.remove(key) {
            reads.close(read);
        }
    }

    /// Does the same for all keys.
    pub(crate) fn close_all(&self) {
        let mut reads = self.lock();
        for (_, read) in mem::take(&mut reads.open) {
            reads.close(read);
        }
    }
}

impl Reads {
    fn close(&mut self, read: Read) {
        if !read.waiters.is_empty() {
            self.closed.insert(read.number, read.waiters);
        }
    }

    /// Ends a read and returns its waiters.
    fn end(&mut self, key: &Arc<[u8]>, number: u64) -> Vec<Waiter> {
        let waiters = self.take(key, number);
        self.waiters -= waiters.len();
        waiters
    }

    fn take(&mut self, key: &Arc<[u8]>, number: u64) -> Vec<Waiter> {
        // Removing it first is cheaper in the usual case than looking it up.
        if let Some(read) = self.open.remove(key) {
            if read.number == number {
                return read.waiters;
            }
            self.open.insert(Arc::clone(key), read);
        }
        if self.closed.is_empty() {
            return Vec::new();
        }
        self.closed.remove(&number).unwrap_or_default()
    }
}

impl Leader {
    pub(crate) fn key(&self) -> &[u8] {
        &self.key
    }

    /// Passes the replies to the waiters.
    pub(crate) fn share(mut self, first: &Reply, second: &Reply, delivery: Delivery) {
        self.is_over = true;
        for waiter in self.end() {
            waiter(first, second, delivery);
        }
    }

    fn end(&self) -> Vec<Waiter> {
        self.single_flight.lock().end(&self.key, self.number)
    }
}

impl Drop for Leader {
    fn drop(&mut self) {
        if !self.is_over {
            // Outside the lock: dropped waiters complete their operations with an error.
            drop(self.end());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::CacheOptions;
    use crate::connection::origin::Origin;
    use redis::Value;
    use std::sync::atomic::AtomicUsize;

    fn join(reads: &SingleFlight, key: &[u8], count: &Arc<AtomicUsize>) -> bool {
        let count = Arc::clone(count);
        reads.join(key, Moment::now(), || {
            move |first: &Reply, _: &Reply, _: Delivery| {
                assert!(matches!(first, Ok(Value::Int(1))));
                count.fetch_add(1, Ordering::Relaxed);
            }
        })
    }

    fn begin(reads: &Arc<SingleFlight>) -> Leader {
        reads.begin(b"k", Moment::now(), SentFlag::default())
    }

    fn joins_at(reads: &SingleFlight, now: Moment) -> bool {
        reads.join(b"k", now, || |_: &Reply, _: &Reply, _: Delivery| {})
    }

    fn cache(max_staleness: Duration) -> Arc<Cache> {
        Arc::new(Cache::new(
            CacheOptions {
                max_bytes: 1024,
                max_entries: 1,
                max_staleness,
            },
            Arc::default(),
        ))
    }

    #[test]
    fn a_queued_read_is_joined_until_it_is_answered_or_its_key_is_written() {
        let reads = Arc::new(SingleFlight::default());
        let count = Arc::default();
        assert!(!join(&reads, b"k", &count));
        let first = begin(&reads);
        assert!(join(&reads, b"k", &count));
        assert!(!join(&reads, b"other", &count));
        reads.close(b"k");
        assert!(!join(&reads, b"k", &count));
        let second = begin(&reads);
        first.share(
            &Ok(Value::Int(1)),
            &Ok(Value::Nil),
            Delivery::now(Origin::default()),
        );
        assert_eq!(count.load(Ordering::Relaxed), 1, "it had joined before");
        assert!(join(&reads, b"k", &count), "the second is queued");
        second.share(
            &Ok(Value::Int(1)),
            &Ok(Value::Nil),
            Delivery::now(Origin::default()),
        );
        assert_eq!(count.load(Ordering::Relaxed), 2);
        assert!(!join(&reads, b"k", &count));
        let third = begin(&reads);
        assert!(join(&reads, b"k", &count));
        assert_eq!(reads.waiters(), 1);
        drop(third);
        assert_eq!(reads.waiters(), 0);
        let state = reads.lock();
        assert!(state.open.is_empty(), "left without an answer");
        assert!(state.closed.is_empty());
    }

    #[test]
    fn a_read_that_has_been_sent_is_not_joined_and_keeps_its_waiters() {
        let reads = Arc::new(SingleFlight::default());
        let count = Arc::default();
        let sent = SentFlag::default();
        let leader = reads.begin(b"k", Moment::now(), sent.clone());
        assert!(join(&reads, b"k", &count));
        sent.set();
        assert!(!join(&reads, b"k", &count));
        let next = begin(&reads);
        assert!(join(&reads, b"k", &count), "the next one is queued");
        leader.share(
            &Ok(Value::Int(1)),
            &Ok(Value::Nil),
            Delivery::now(Origin::default()),
        );
        assert_eq!(count.load(Ordering::Relaxed), 1);
        next.share(
            &Ok(Value::Int(1)),
            &Ok(Value::Nil),
            Delivery::now(Origin::default()),
        );
        assert_eq!(count.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn a_read_that_has_been_sent_is_joined_where_the_cache_allows_its_age() {
        let cache = cache(Duration::from_millis(5));
        let reads = Arc::new(SingleFlight::new(Some(Arc::clone(&cache))));
        let sent = SentFlag::default();
        sent.set();
        let now = Moment::now();
        let fresh = now.minus(Duration::from_millis(4));
        let old = now.minus(Duration::from_millis(6));
        let _leader = reads.begin(b"k", fresh, sent.clone());
        assert!(!joins_at(&reads, now), "no connection is tracked");
        let tracked = cache.begin(true);
        assert!(joins_at(&reads, now));
        let _leader = reads.begin(b"k", old, sent);
        assert!(!joins_at(&reads, now));
        let _leader = reads.begin(b"k", old, SentFlag::default());
        assert!(joins_at(&reads, now), "it is queued");
        drop(tracked);
    }

    #[test]
    fn a_queued_read_is_joined_only_while_its_deadline_is_near_that_of_the_waiter() {
        let reads = Arc::new(SingleFlight::default());
        let now = Moment::now();
        let ago = |time| now.minus(time);
        for (since, is_joined) in [
            (ago(JOINABLE - Duration::from_millis(1)), true),
            (ago(JOINABLE), false),
        ] {
            let _leader = reads.begin(b"k", since, SentFlag::default());
            assert_eq!(joins_at(&reads, now), is_joined);
        }
    }
}
