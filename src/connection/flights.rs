//! Reads of one key that share one command: who asks while the answer is on its way is given the same.

use super::Reply;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// For how long others may join a read: they share its deadline, which must not be much before theirs.
const JOINABLE: Duration = Duration::from_millis(100);

/// Takes the answers to the commands of a read.
type Follower = Box<dyn FnOnce(&Reply, &Reply) + Send>;

/// The reads that are under way on a connection, of all stores that share it. Touched by the runtime's
/// thread alone, in the order in which commands are sent and replies are settled. So nobody joins a read
/// whose answer has come, nor one that was sent before a write to its key.
#[derive(Default)]
pub(crate) struct Flights {
    open: Mutex<HashMap<Arc<[u8]>, Arc<Flight>>>,
}

impl fmt::Debug for Flights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Flights")
    }
}

pub(crate) struct Flight {
    since: Instant,
    followers: Mutex<Vec<Follower>>,
}

/// Kept by the one that sends the command. If it is dropped without an answer, so are the followers.
pub(crate) struct Flying {
    flights: Arc<Flights>,
    key: Arc<[u8]>,
    flight: Arc<Flight>,
    is_over: bool,
}

impl Flights {
    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<[u8]>, Arc<Flight>>> {
        // A poisoned lock still holds a usable map: each change is one step.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The read of a key that is under way and may be joined.
    pub(crate) fn find(&self, key: &[u8], now: Instant) -> Option<Arc<Flight>> {
        let flight = self.lock().get(key).map(Arc::clone)?;
        (now.saturating_duration_since(flight.since) < JOINABLE).then_some(flight)
    }

    /// Begins a read that others may join.
    pub(crate) fn begin(self: &Arc<Self>, key: &[u8], now: Instant) -> Flying {
        let flight = Arc::new(Flight {
            since: now,
            followers: Mutex::default(),
        });
        let key: Arc<[u8]> = key.into();
        self.lock().insert(Arc::clone(&key), Arc::clone(&flight));
        Flying {
            flights: Arc::clone(self),
            key,
            flight,
            is_over: false,
        }
    }

    /// The key is written: who reads it from here on must not be given what was there before.
    pub(crate) fn close(&self, key: &[u8]) {
        self.lock().remove(key);
    }

    /// The same for all keys.
    pub(crate) fn close_all(&self) {
        self.lock().clear();
    }
}

impl Flight {
    /// `follower` is given the answers, or dropped if none come.
    pub(crate) fn join(&self, follower: impl FnOnce(&Reply, &Reply) + Send + 'static) {
        self.followers().push(Box::new(follower));
    }

    fn followers(&self) -> MutexGuard<'_, Vec<Follower>> {
        self.followers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Flying {
    pub(crate) fn key(&self) -> &[u8] {
        &self.key
    }

    /// The answer has come.
    pub(crate) fn land(mut self, first: &Reply, second: &Reply) {
        self.leave();
        self.is_over = true;
        let followers = std::mem::take(&mut *self.flight.followers());
        for follower in followers {
            follower(first, second);
        }
    }

    fn leave(&self) {
        let mut flights = self.flights.lock();
        // The other way round, to look it up, would be dearer in the usual case.
        if let Some(flight) = flights.remove(&self.key)
            && !Arc::ptr_eq(&flight, &self.flight)
        {
            flights.insert(Arc::clone(&self.key), flight);
        }
    }
}

impl Drop for Flying {
    fn drop(&mut self) {
        if !self.is_over {
            self.leave();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use redis::Value;
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn join(flights: &Flights, key: &[u8], count: &Arc<AtomicUsize>) -> bool {
        let count = Arc::clone(count);
        let flight = flights.find(key, Instant::now());
        let found = flight.is_some();
        if let Some(flight) = flight {
            flight.join(move |first, _| {
                assert!(matches!(first, Ok(Value::Int(1))));
                count.fetch_add(1, Ordering::Relaxed);
            });
        }
        found
    }

    #[test]
    fn a_read_is_joined_until_its_answer_comes_or_its_key_is_written() {
        let flights = Arc::new(Flights::default());
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
        drop(flights.begin(b"k", Instant::now()));
        assert!(flights.lock().is_empty(), "left without an answer");
    }
}
