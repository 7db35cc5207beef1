//! The statistics of a connection.

use super::origin::ServerId;
use super::substitutes::Denied;
use super::text::text;
use redis::Value;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The counters of a connection. A cluster shares them with the connections to its nodes, so they are sums.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    read: AtomicU64,
    written: AtomicU64,
    reconnects: AtomicU64,
    /// The number of operations that were issued and are not completed.
    pub(crate) pending: AtomicUsize,
    peer: Mutex<Peer>,
}

/// The server behind the last link that was opened.
#[derive(Clone, Debug, Default)]
pub(super) struct Peer {
    pub(super) id: ServerId,
    pub(super) greeting: PeerInfo,
    /// The commands that were replaced by their substitutes; in a cluster, by any of its nodes.
    denied: Denied,
}

/// The server as it introduces itself in the reply to `HELLO`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct PeerInfo {
    /// Such as `redis` or `valkey`.
    pub(super) name: Option<String>,
    pub(super) version: Option<String>,
    pub(super) has_resp3: bool,
    pub(super) has_tracking: bool,
}

impl PeerInfo {
    /// Reads the reply to `HELLO`.
    pub(super) fn from_hello(reply: &Value) -> Self {
        let Value::Map(fields) = reply else {
            return Self::default();
        };
        let field = |name| {
            let mut fields = fields.iter();
            let value = fields.find_map(|(key, value)| (text(key)? == name).then_some(value));
            let text = value.and_then(text).filter(|text| is_word(text));
            text.map(str::to_owned)
        };
        Self {
            name: field("server"),
            version: field("version"),
            has_resp3: true,
            has_tracking: false,
        }
    }

    /// Returns the name and the version, if the server has reported both.
    pub(super) fn software(&self) -> Option<(String, String)> {
        self.name.clone().zip(self.version.clone())
    }
}

/// Returns true for a short word, which may be shown to the app and in its logs.
fn is_word(text: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-+".contains(c);
    (1..=64).contains(&text.len()) && text.chars().all(is_plain)
}

/// The statistics of a connection.
#[derive(Clone, Debug, Default)]
pub struct ConnectionFigures {
    pub read: u64,
    pub written: u64,
    /// The number of links that replaced a lost one.
    pub reconnects: u64,
    /// The number of operations that wait to be sent.
    pub queued: usize,
    /// The number of operations that were sent and are not answered.
    pub in_flight: usize,
    /// The server; unknown for a cluster, and before the first connection to a primary behind sentinels.
    pub server: ServerId,
    pub server_name: Option<String>,
    pub version: Option<String>,
    pub features: Vec<String>,
}

impl ConnectionFigures {
    /// Adds the sums of an earlier connection.
    pub(crate) fn add_past(&mut self, past: &Self) {
        self.read += past.read;
        self.written += past.written;
        self.reconnects += past.reconnects;
    }
}

impl Counters {
    fn peer(&self) -> MutexGuard<'_, Peer> {
        // A poisoned lock still holds a usable value.
        self.peer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the server that the first link will lead to.
    pub(super) fn set_server(&self, id: ServerId) {
        self.peer().id = id;
    }

    /// Notes an open link. `is_member` is true for a node of a cluster.
    pub(super) fn note_link(
        &self,
        id: ServerId,
        greeting: PeerInfo,
        denied: Denied,
        is_member: bool,
    ) {
        let mut peer = self.peer();
        peer.greeting = greeting;
        if is_member {
            peer.denied.add(denied);
        } else {
            (peer.id, peer.denied) = (id, denied);
        }
    }

    /// Notes that a link has replaced a lost one.
    pub(super) fn note_reconnect(&self) {
        self.reconnects.fetch_add(1, Ordering::Relaxed);
    }

    /// Notes that commands are replaced by their substitutes.
    pub(super) fn note_denied(&self, denied: Denied) {
        self.peer().denied.add(denied);
    }

    /// Counts bytes.
    pub(super) fn note_bytes(&self, read: u64, written: u64) {
        self.read.fetch_add(read, Ordering::Relaxed);
        self.written.fetch_add(written, Ordering::Relaxed);
    }

    /// Returns the statistics of a connection with `queued` waiting operations.
    pub(super) fn figures(&self, queued: usize) -> ConnectionFigures {
        let peer = self.peer().clone();
        let PeerInfo {
            name,
            version,
            has_resp3,
            has_tracking,
        } = peer.greeting;
        let mut features = Vec::new();
        features.extend(has_resp3.then(|| "RESP3".to_owned()));
        features.extend(has_tracking.then(|| "client-tracking".to_owned()));
        features.extend(peer.denied.names());
        ConnectionFigures {
            read: self.read.load(Ordering::Relaxed),
            written: self.written.load(Ordering::Relaxed),
            reconnects: self.reconnects.load(Ordering::Relaxed),
            queued,
            in_flight: self.pending.load(Ordering::Relaxed).saturating_sub(queued),
            server: peer.id,
            server_name: name,
            version,
            features,
        }
    }
}
