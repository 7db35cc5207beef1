//! Reads of one key that share one command: who asks while the answer is on its way is given the same.

use super::Reply;
use std::collections::HashMap;
use std::fmt;
use std::hash::RandomState;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// For how long others may join a read. They share its deadline, which must not be much before theirs; and
/// its answer, which may be by this much older than their begin: another process's write in between was
/// acknowledged before they began, and is not in it. A browser's requests for one page come closer together.
const JOINABLE: Duration = Duration::from_millis(10);

/// Takes the answers to the commands of a read.
type Waiter = Box<dyn FnOnce(&Reply, &Reply) + Send>;

/// The reads that are under way on a connection, of all stores that share it. TrackingEvent of reads and writes by the
/// runtime's thread, in the order in which they are sent, and of answers in the order in which they come: so
/// nobody joins a read whose answer has come, nor one that was sent before a write to its key.
#[derive(Default)]
pub(crate) struct SingleFlight(Mutex<Reads>);

#[derive(Default)]
struct Reads {
    /// Those that may be joined, if they are young enough.
    open: HashMap<Arc<[u8]>, Flight, RandomState>,
    /// Who follows a read that may not be joined any more, by its number.
    closed: HashMap<u64, Vec<Waiter>>,
    last: u64,
    /// Of all reads, those that may not be joined included.
    followers: usize,
}

struct Flight {
    number: u64,
    since: Instant,
    followers: Vec<Waiter>,
}

impl fmt::Debug for SingleFlight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SingleFlight")
    }
}

/// Kept by the one that sends the command. If it is dropped without an answer, so are the followers.
pub(crate) struct Leader {
    flights: Arc<SingleFlight>,
    key: Arc<[u8]>,
    number: u64,
    is_over: bool,
}

impl SingleFlight {
    fn lock(&self) -> MutexGuard<'_, Reads> {
        // A poisoned lock still holds usable maps: each change is one step.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Joins a read of the key that is under way, if there is one: the follower that is made is given the
    /// answers, or dropped if none come.
    pub(crate) fn join<F>(&self, key: &[u8], now: Instant, follower: impl FnOnce() -> F) -> bool
    where
        F: FnOnce(&Reply, &Reply) + Send + 'static,
    {
        let mut reads = self.lock();
        match reads.open.get_mut(key) {
            Some(flight) if now.saturating_duration_since(flight.since) < JOINABLE => {
                flight.followers.push(Box::new(follower()));
                reads.followers += 1;
                true
            }
            _ => false,
        }
    }

    /// How many follow reads that are under way: operations without commands of their own.
    pub(super) fn followers(&self) -> usize {
        self.lock().followers
    }

    /// Begins a read that others may join.
    pub(crate) fn begin(self: &Arc<Self>, key: &[u8], now: Instant) -> Leader {
        let key: Arc<[u8]> = key.into();
        let mut reads = self.lock();
        reads.last += 1;
        let number = reads.last;
        let flight = Flight {
            number,
            since: now,
            followers: Vec::new(),
        };
        if let Some(earlier) = reads.open.insert(Arc::clone(&key), flight) {
            reads.close(earlier);
        }
        drop(reads);
        Leader {
            flights: Arc::clone(self),
            key,
            number,
            is_over: false,
        }
    }

    /// The key is written: who reads it from here on must not be given what was there before.
    pub(crate) fn close(&self, key: &[u8]) {
        let mut reads = self.lock();
        if let Some(flight) = reads.open.remove(key) {
            reads.close(flight);
        }
    }

    /// The same for all keys.
    pub(crate) fn close_all(&self) {
        let mut reads = self.lock();
        for (_, flight) in mem::take(&mut reads.open) {
            reads.close(flight);
        }
    }
}

impl Reads {
    fn close(&mut self, flight: Flight) {
        if !flight.followers.is_empty() {
            self.closed.insert(flight.number, flight.followers);
        }
    }

    /// Nobody joins a read any more. Those who have.
    fn end(&mut self, key: &Arc<[u8]>, number: u64) -> Vec<Waiter> {
        let followers = self.take(key, number);
        self.followers -= followers.len();
        followers
    }

    fn take(&mut self, key: &Arc<[u8]>, number: u64) -> Vec<Waiter> {
        // The other way round, to look it up, would be dearer in the usual case.
        if let Some(flight) = self.open.remove(key) {
            if flight.number == number {
                return flight.followers;
            }
            self.open.insert(Arc::clone(key), flight);
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

    /// The answer has come.
    pub(crate) fn land(mut self, first: &Reply, second: &Reply) {
        self.is_over = true;
        for follower in self.end() {
            follower(first, second);
        }
    }

    fn end(&self) -> Vec<Waiter> {
        self.flights.lock().end(&self.key, self.number)
    }
}

impl Drop for Leader {
    fn drop(&mut self) {
        if !self.is_over {
            // Outside the lock: being dropped, they tell that there is no answer.
            drop(self.end());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use redis::Value;
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn join(flights: &SingleFlight, key: &[u8], count: &Arc<AtomicUsize>) -> bool {
        let count = Arc::clone(count);
        flights.join(key, Instant::now(), || {
            move |first: &Reply, _: &Reply| {
                assert!(matches!(first, Ok(Value::Int(1))));
                count.fetch_add(1, Ordering::Relaxed);
            }
        })
    }

    #[test]
    fn a_read_is_joined_until_its_answer_comes_or_its_key_is_written() {
        let flights = Arc::new(SingleFlight::default());
        let count = Arc::default();
        assert!(!join(&flights, b"k", &count));
        let flying = flights.begin(b"k", Instant::now());
        assert!(join(&flights, b"k", &count));
        assert!(!join(&flights, b"other", &count));
        flights.close(b"k");
        assert!(!join(&flights, b"k", &count));
        let second = flights.begin(b"k", Instant::now());
        flying.land(&Ok(Value::Int(1)), &Ok(Value::Nil));
        assert_eq!(count.load(Ordering::Relaxed), 1, "it had joined before");
        assert!(join(&flights, b"k", &count), "the second is under way");
        second.land(&Ok(Value::Int(1)), &Ok(Value::Nil));
        assert_eq!(count.load(Ordering::Relaxed), 2);
        assert!(!join(&flights, b"k", &count));
        let third = flights.begin(b"k", Instant::now());
        assert!(join(&flights, b"k", &count));
        assert_eq!(flights.followers(), 1);
        drop(third);
        assert_eq!(flights.followers(), 0);
        let reads = flights.lock();
        assert!(reads.open.is_empty(), "left without an answer");
        assert!(reads.closed.is_empty());
    }

    #[test]
    fn a_read_is_joined_only_while_it_is_young() {
        let flights = Arc::new(SingleFlight::default());
        let began = Instant::now();
        let _flying = flights.begin(b"k", began);
        let joins = |later| flights.join(b"k", began + later, || |_: &Reply, _: &Reply| {});
        assert!(joins(JOINABLE - Duration::from_micros(1)));
        assert!(!joins(JOINABLE));
    }
}
