//! Observations: what the debug log and the diagnostics channels report, in addition to the events of a connection.
//!
//! Nothing is built or sent unless an observer wants it.

use crate::error::Error;
use crate::error_json::error_json;
use crate::options::Address;
use crate::server::Server;
use serde::{Serialize, Serializer};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, Weak};

/// The kinds of observations, which add up to the mask of an observer. `lib/observability/connection-trace.js` has the
/// same.
pub(crate) mod kind {
    /// Attempts to connect, and links that were opened or closed.
    pub(crate) const LINKS: u32 = 1;
    /// Retries, redirects, failovers and flushes of the cache.
    pub(crate) const CHANGES: u32 = 2;
    pub(crate) const INVALIDATIONS: u32 = 4;
    pub(crate) const EVICTIONS: u32 = 8;
}

/// The most observations kept for the first observer.
const MAX_EARLY: usize = 16;

/// A server, as observations name it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Place {
    /// The name of the server in errors.
    server: Server,
    /// The host or the path of the socket; `None` until Sentinels have named the primary.
    server_address: Option<String>,
    server_port: Option<u16>,
    database: i64,
}

impl Place {
    pub(crate) fn new(server: &Server, address: &Address, database: i64) -> Self {
        let (server_address, server_port) = match address {
            Address::Tcp(node) => (Some(node.host.clone()), Some(node.port)),
            Address::Unix { path } => (Some(path.clone()), None),
            Address::Sentinel(_) | Address::Cluster(_) => (None, None),
        };
        Self {
            server: server.clone(),
            server_address,
            server_port,
            database,
        }
    }

    /// Returns the address as text; `None` until it is known.
    pub(crate) fn address(&self) -> Option<String> {
        let address = self.server_address.as_ref()?;
        Some(match self.server_port {
            Some(port) => format!("{address}:{port}"),
            None => address.clone(),
        })
    }
}

/// A fact about a connection or its cache. Serialized for JavaScript with its name as `event`.
#[derive(Clone, Debug, Serialize)]
#[serde(
    tag = "event",
    rename_all = "camelCase",
    rename_all_fields = "camelCase"
)]
pub enum Observation {
    /// An attempt to connect begins.
    Connecting {
        #[serde(flatten)]
        place: Place,
        attempt: u32,
    },
    /// The attempt succeeded.
    Connected {
        #[serde(flatten)]
        place: Place,
        attempt: u32,
        milliseconds: u64,
        /// The name and the version of the server, if it reports them.
        software: Option<(String, String)>,
    },
    /// The attempt failed.
    ConnectFailed {
        #[serde(flatten)]
        place: Place,
        attempt: u32,
        reason: String,
        #[serde(serialize_with = "error_text")]
        error: Error,
    },
    /// The link was lost; or closed, without an error.
    Disconnected {
        #[serde(flatten)]
        place: Place,
        reason: String,
        #[serde(
            serialize_with = "optional_error_text",
            skip_serializing_if = "Option::is_none"
        )]
        error: Option<Error>,
    },
    /// Commands are to be sent again.
    Retrying { server: Server, commands: usize },
    /// A node named another one for a slot. `to` is `None` if it did not say which.
    Redirected {
        server: Server,
        redirect: &'static str,
        slot: u16,
        from: String,
        to: Option<String>,
    },
    /// Another server is the primary.
    FailedOver {
        server: Server,
        from: String,
        to: String,
    },
    /// The cache was emptied.
    CacheFlushed { reason: &'static str },
    /// The server reported that a cached session has changed.
    Invalidated {
        #[serde(serialize_with = "key_text")]
        key: Vec<u8>,
    },
    /// A cached session was removed to free memory.
    Evicted {
        #[serde(serialize_with = "key_text")]
        key: Vec<u8>,
    },
}

/// Serializes an error in the form in which JavaScript receives the errors of events.
fn error_text<S: Serializer>(error: &Error, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&error_json(error, None))
}

#[expect(clippy::ref_option, reason = "serde passes a reference to the field")]
fn optional_error_text<S: Serializer>(
    error: &Option<Error>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match error {
        Some(error) => error_text(error, serializer),
        None => serializer.serialize_none(),
    }
}

fn key_text<S: Serializer>(key: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&String::from_utf8_lossy(key))
}

impl Observation {
    /// Returns the observation with its key replaced by the ID of the session, if the key has the prefix; `None` if it
    /// has another. Observations without a key are returned unchanged.
    pub fn under(&self, prefix: &[u8]) -> Option<Self> {
        let id = |key: &Vec<u8>| key.strip_prefix(prefix).map(<[u8]>::to_vec);
        Some(match self {
            Self::Invalidated { key } => Self::Invalidated { key: id(key)? },
            Self::Evicted { key } => Self::Evicted { key: id(key)? },
            other => other.clone(),
        })
    }
}

/// An observer. May run on any thread, and must not block.
pub trait Observe: Send + Sync {
    /// Receives an observation. Returns false if it is about another store's session.
    fn observe(&self, observation: &Observation) -> bool;
}

/// The observers of a connection. Each observation goes to one of them: the stores of a connection would report the
/// same. Held weakly: a store that was garbage-collected stops observing.
#[derive(Default)]
pub(crate) struct Observers {
    /// The kinds that any of them wants.
    mask: AtomicU32,
    list: Mutex<Vec<(Weak<dyn Observe>, u32)>>,
    /// Observations made before there was an observer: a connection begins to connect before its first store watches.
    early: Mutex<Option<Vec<Observation>>>,
}

impl std::fmt::Debug for Observers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} observers", lock(&self.list).len())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A poisoned lock still holds a consistent list: each change is one step.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Observers {
    /// Creates the observers of a connection whose first store will observe these kinds.
    pub(crate) fn expecting(mask: u32) -> Self {
        Self {
            mask: AtomicU32::new(mask),
            list: Mutex::default(),
            early: Mutex::new((mask != 0).then(Vec::new)),
        }
    }

    /// Sets the kinds that an observer receives.
    pub(crate) fn set(&self, observer: &Weak<dyn Observe>, mask: u32) {
        let mut list = lock(&self.list);
        list.retain(|(other, _)| other.strong_count() > 0 && !other.ptr_eq(observer));
        list.push((Weak::clone(observer), mask));
        let union = list.iter().fold(0, |union, (_, mask)| union | mask);
        self.mask.store(union, Ordering::Relaxed);
        if let (Some(early), Some(observer)) = (lock(&self.early).take(), observer.upgrade()) {
            for observation in early {
                observer.observe(&observation);
            }
        }
    }

    /// Returns true if any observer wants this kind.
    pub(crate) fn want(&self, kind: u32) -> bool {
        self.mask.load(Ordering::Relaxed) & kind != 0
    }

    /// Reports an observation of a kind, which is made only if an observer wants it.
    pub(crate) fn report(&self, kind: u32, make: impl FnOnce() -> Observation) {
        if !self.want(kind) {
            return;
        }
        let observation = make();
        let list = lock(&self.list);
        if let Some(early) = &mut *lock(&self.early) {
            if early.len() < MAX_EARLY {
                early.push(observation);
            }
            return;
        }
        for (observer, mask) in &*list {
            if mask & kind != 0
                && let Some(observer) = observer.upgrade()
                && observer.observe(&observation)
            {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[derive(Default)]
    struct Record {
        prefix: &'static str,
        seen: Mutex<Vec<String>>,
    }

    impl Observe for Record {
        fn observe(&self, observation: &Observation) -> bool {
            let Some(observation) = observation.under(self.prefix.as_bytes()) else {
                return false;
            };
            let text = serde_json::to_string(&observation).expect("JSON");
            lock(&self.seen).push(text);
            true
        }
    }

    fn record(prefix: &'static str) -> (Arc<Record>, Weak<dyn Observe>) {
        let record = Arc::new(Record {
            prefix,
            seen: Mutex::default(),
        });
        let weak: Weak<Record> = Arc::downgrade(&record);
        (record, weak)
    }

    fn evicted(key: &str) -> Observation {
        Observation::Evicted { key: key.into() }
    }

    #[test]
    fn an_observation_is_not_made_unless_an_observer_wants_its_kind() {
        let observers = Observers::default();
        let (_one, weak) = record("");
        observers.report(kind::EVICTIONS, || unreachable!("no observer"));
        observers.set(&weak, kind::LINKS);
        observers.report(kind::EVICTIONS, || unreachable!("of another kind"));
        observers.set(&weak, 0);
        observers.report(kind::LINKS, || unreachable!("not any more"));
    }

    #[test]
    fn one_observer_receives_an_observation_the_one_whose_prefix_fits() {
        let observers = Observers::default();
        let (one, weak_one) = record("a:");
        let (other, weak_other) = record("b:");
        observers.set(&weak_one, kind::EVICTIONS);
        observers.set(&weak_other, kind::EVICTIONS | kind::CHANGES);
        for key in ["a:1", "b:2", "c:3"] {
            observers.report(kind::EVICTIONS, || evicted(key));
        }
        observers.report(kind::CHANGES, || Observation::CacheFlushed { reason: "x" });
        assert_eq!(*lock(&one.seen), [r#"{"event":"evicted","key":"1"}"#]);
        let seen = [
            r#"{"event":"evicted","key":"2"}"#,
            r#"{"event":"cacheFlushed","reason":"x"}"#,
        ];
        assert_eq!(*lock(&other.seen), seen);
        drop(one);
        observers.report(kind::EVICTIONS, || evicted("a:1"));
        assert_eq!(lock(&other.seen).len(), 2);
    }

    #[test]
    fn observations_made_before_the_first_observer_reach_it() {
        let observers = Observers::expecting(kind::CHANGES);
        for _ in 0..2 * MAX_EARLY {
            observers.report(kind::CHANGES, || Observation::CacheFlushed { reason: "x" });
        }
        let (one, weak) = record("");
        observers.set(&weak, kind::CHANGES);
        assert_eq!(lock(&one.seen).len(), MAX_EARLY);
    }

    #[test]
    fn an_error_has_the_form_of_an_event() {
        let server: Server = "redis://h:1".into();
        let address = Address::Tcp(crate::options::Node {
            host: "h".into(),
            port: 1,
        });
        let error = Error::from_reply(&server, "WRONGPASS", Some("no"));
        let failed = Observation::ConnectFailed {
            place: Place::new(&server, &address, 0),
            attempt: 2,
            reason: "no".into(),
            error: error.clone(),
        };
        assert_eq!(
            serde_json::to_value(failed).expect("JSON"),
            serde_json::json!({
                "event": "connectFailed",
                "server": "redis://h:1",
                "serverAddress": "h",
                "serverPort": 1,
                "database": 0,
                "attempt": 2,
                "reason": "no",
                "error": error_json(&error, None),
            })
        );
    }
}
