//! Client tracking: a connection receives invalidations of the keys read over it, for the cache.
//!
//! It uses the server's default tracking mode, without options. The server then reports the next change of each key
//! that this connection has read, whichever client makes it, and of no other keys. `OPTIN` would cost a command with
//! every read, `BCAST` a message with every write of every process. With `NOLOOP` the server would not report changes
//! by this connection's own commands, which include the keys that it evicts to free memory for them: those would stay
//! in the cache forever, as the server forgets which clients to notify.

use super::commands::{Access, Commands, Expect};
use super::link::Link;
use crate::cache::{Cache, Confirmation, Invalidation, Moment, TrackedLink};
use crate::error::Error;
use crate::server::Server;
use redis::{PushKind, Value};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// A message to the cache, in order with the replies.
pub(super) enum TrackingEvent {
    /// Keys have changed.
    Changed(Invalidation),
    /// A reply confirmed that all earlier invalidations have arrived.
    Answered(Confirmation),
}

impl TrackingEvent {
    /// Applies the message to the cache.
    pub(super) fn apply(self, cache: &Cache) {
        match self {
            Self::Changed(invalidation) => cache.invalidate(&invalidation),
            Self::Answered(confirmation) => confirmation.record(),
        }
    }
}

/// Forwards messages to the cache.
type Relay = Box<dyn Fn(TrackingEvent) + Send>;

/// The client tracking of one connection.
pub(super) struct Tracking {
    cache: Arc<Cache>,
    /// Set for a node of a cluster: its replies pass through the cluster's task, and messages to the cache must stay in
    /// order with them.
    relay: Option<Relay>,
    /// Set while a link is open.
    link: Option<TrackedLink>,
    /// A key that a command was sent for since the node last refused to serve one.
    probe_key: Option<Vec<u8>>,
    slots: SlotCheck,
}

/// Confirms that a node of a cluster still owns the slots of the keys that were read from it.
///
/// A node that has handed over a slot no longer reports changes in it, while it may still hold the keys and work
/// normally otherwise. So only a reply about its slots confirms freshness.
#[derive(Default)]
struct SlotCheck {
    /// The time of the last query, and true while its reply is outstanding.
    last_query: Option<(Instant, bool)>,
    /// The fingerprint of the slot map in the last reply.
    map: Option<u64>,
    /// True if the last reply contained a slot map.
    is_confirmed: bool,
}

impl Tracking {
    pub(super) fn new(cache: Arc<Cache>, relay: Option<Relay>) -> Self {
        Self {
            cache,
            relay,
            link: None,
            probe_key: None,
            slots: SlotCheck::default(),
        }
    }

    /// Starts tracking on a new link. Fails if the server did not enable client tracking.
    pub(super) fn begin(&mut self, link: &Link, server: &Server) -> Result<(), Error> {
        let cause = link.tracking_failure();
        self.link = Some(self.cache.begin(cause.is_none()));
        self.probe_key = None;
        self.slots = SlotCheck::default();
        match cause {
            None => Ok(()),
            Some(cause) => Err(Error::CacheOff {
                server: server.clone(),
                cause: cause.clone(),
            }),
        }
    }

    /// Ends tracking: the link is lost, or is about to be closed.
    pub(super) fn end(&mut self) {
        self.link = None;
    }

    /// Handles a push message. Earlier replies must have been handled before.
    pub(super) fn take(&self, kind: &PushKind, data: Vec<Value>) {
        if *kind != PushKind::Invalidate || self.link.is_none() {
            return;
        }
        self.forward(TrackingEvent::Changed(parse_invalidation(data)));
    }

    /// Passes a message to the cache, through the relay if there is one.
    fn forward(&self, event: TrackingEvent) {
        match &self.relay {
            Some(relay) => relay(event),
            None => event.apply(&self.cache),
        }
    }

    /// Records that commands are sent; `key` is that of the first one, if it has a key. Returns the time if a reply
    /// will confirm that all earlier invalidations have arrived. In a cluster, only [`Self::query_slots`] gets such a
    /// reply.
    pub(super) fn note_sent(&mut self, key: Option<&[u8]>) -> Option<Moment> {
        if self.relay.is_none() {
            return Some(Moment::now());
        }
        if let Some(key) = key {
            let probe_key = self.probe_key.get_or_insert_default();
            probe_key.clear();
            probe_key.extend_from_slice(key);
        }
        None
    }

    /// Returns the time at which to ask a node of a cluster for its slots; `None` outside of a cluster, and while a
    /// reply is outstanding.
    pub(super) fn slots_at(&self) -> Option<Instant> {
        self.relay.as_ref()?;
        match self.slots.last_query {
            None => self.link.as_ref().map(|_| Instant::now()),
            Some((_, true)) => None,
            Some((sent, false)) => {
                let due: Instant = self.link.as_ref()?.probe_at()?.into();
                Some(due.max(sent + MIN_SLOTS_INTERVAL))
            }
        }
    }

    /// Returns the query that confirms the keys read from a node: `CLUSTER SLOTS`, and a read of one key. A partitioned
    /// node replies to the first, but refuses the second.
    pub(super) fn query_slots(&mut self) -> (Commands, Moment) {
        let mut query = Commands::default();
        query.add(Access::Read, Expect::Any, None, &[b"CLUSTER", b"SLOTS"]);
        if let Some(key) = &self.probe_key {
            query.add(Access::Read, Expect::Integer, Some(1), &[b"PTTL", key]);
        }
        self.slots.last_query = Some((Instant::now(), true));
        self.slots.is_confirmed = false;
        (query, Moment::now())
    }

    /// Handles the slot map of the node. Clears the cache if the map has changed.
    pub(super) fn take_slots(&mut self, reply: &Value) {
        let map = fingerprint(reply);
        if self.slots.map.is_some() && self.slots.map != map {
            self.cache.clear("the slots of a node have changed");
        }
        self.slots.map = map;
        self.slots.is_confirmed = map.is_some();
    }

    /// Handles the end of a slot query that was sent at this moment.
    pub(super) fn slots_answered(&mut self, sent: Option<Moment>) {
        if let Some((_, is_outstanding)) = &mut self.slots.last_query {
            *is_outstanding = false;
        }
        self.answered(sent.filter(|_| self.slots.is_confirmed));
    }

    /// Handles a reply. Clears the cache if the node refuses to serve a key: it may no longer report changes.
    pub(super) fn note_reply(&mut self, value: &Value) {
        if let Value::ServerError(error) = value
            && matches!(
                error.code(),
                "MOVED" | "CLUSTERDOWN" | "MASTERDOWN" | "LOADING"
            )
            && self.probe_key.take().is_some()
        {
            self.cache.clear("a node refused to serve a key");
        }
    }

    /// Handles the reply to commands that were sent at this moment.
    pub(super) fn answered(&self, sent: Option<Moment>) {
        if let (Some(link), Some(sent)) = (&self.link, sent) {
            self.forward(TrackingEvent::Answered(link.confirmation(sent)));
        }
    }

    /// Returns the key to use in a heartbeat to a node of a cluster.
    pub(super) fn probe_key(&self) -> Option<&[u8]> {
        self.probe_key.as_deref()
    }

    pub(super) fn cache(&self) -> &Arc<Cache> {
        &self.cache
    }

    /// Returns the time of the next heartbeat to an idle server that keeps cached sessions fresh.
    pub(super) fn probe_at(&self) -> Option<Instant> {
        if self.relay.is_some() {
            return None;
        }
        self.link.as_ref()?.probe_at().map(Into::into)
    }
}

/// The shortest interval between two slot queries.
const MIN_SLOTS_INTERVAL: Duration = Duration::from_millis(25);

/// Hashes the primaries of all slots in a reply to `CLUSTER SLOTS`; `None` if the reply is not a slot map.
fn fingerprint(reply: &Value) -> Option<u64> {
    let Value::Array(ranges) = reply else {
        return None;
    };
    let mut owners = Vec::with_capacity(ranges.len());
    for range in ranges {
        let Value::Array(parts) = range else {
            return None;
        };
        let [
            Value::Int(first),
            Value::Int(last),
            Value::Array(primary),
            ..,
        ] = parts.as_slice()
        else {
            return None;
        };
        // Host, port and ID.
        let names = primary.iter().take(3).map(|part| match part {
            Value::BulkString(text) => text.clone(),
            Value::Int(port) => port.to_be_bytes().to_vec(),
            _ => Vec::new(),
        });
        owners.push((*first, *last, names.collect::<Vec<_>>()));
    }
    // The order of the ranges may vary.
    owners.sort_unstable();
    let mut hasher = DefaultHasher::new();
    owners.hash(&mut hasher);
    Some(hasher.finish())
}

/// Parses an invalidation: a list of keys, or nil for all. Treats anything else as all, since it may mean that.
fn parse_invalidation(data: Vec<Value>) -> Invalidation {
    let mut data = data.into_iter();
    let (Some(Value::Array(keys)), None) = (data.next(), data.next()) else {
        return Invalidation::All;
    };
    let keys: Option<Vec<_>> = keys
        .into_iter()
        .map(|key| match key {
            Value::BulkString(key) => Some(key),
            _ => None,
        })
        .collect();
    keys.map_or(Invalidation::All, Invalidation::Keys)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::{CacheOptions, Entry};
    use std::sync::mpsc;

    fn reply(bytes: &[u8]) -> Value {
        redis::parse_redis_value(bytes).expect("a reply")
    }

    /// Returns the tracking of a cluster node, its cache with one entry, and the relayed messages.
    fn node() -> (Tracking, Arc<Cache>, mpsc::Receiver<TrackingEvent>) {
        let cache = Arc::new(Cache::new(
            CacheOptions {
                max_bytes: 1 << 20,
                max_entries: 10,
                max_staleness: Duration::from_millis(50),
            },
            Arc::default(),
        ));
        let (sender, relayed) = mpsc::channel();
        let relay = Box::new(move |event| sender.send(event).expect("a receiver"));
        let mut tracking = Tracking::new(Arc::clone(&cache), Some(relay));
        tracking.link = Some(cache.begin(true));
        let entry = Entry {
            text: b"{}"[..].into(),
            ends: None,
            until: None,
            in_force: None,
            clock: Default::default(),
        };
        cache.fill(cache.ticket(), b"k", entry);
        (tracking, cache, relayed)
    }

    #[test]
    fn tracking_of_a_cluster_node_changes_the_cache_only_through_the_relay() {
        let (mut tracking, cache, relayed) = node();
        std::thread::sleep(Duration::from_millis(60));
        let (_, sent) = tracking.query_slots();
        tracking.take(&PushKind::Invalidate, vec![reply(b"*1\r\n$5\r\nother\r\n")]);
        tracking.take_slots(&slots("a"));
        tracking.slots_answered(Some(sent));
        assert!(
            cache.look_up(b"k").is_none(),
            "the confirmation has not been relayed yet"
        );
        let (changed, answered) = (
            relayed.recv().expect("event"),
            relayed.recv().expect("event"),
        );
        changed.apply(&cache);
        assert!(cache.look_up(b"k").is_none());
        answered.apply(&cache);
        assert!(cache.look_up(b"k").is_some());
    }

    #[test]
    fn note_reply_clears_the_cache_when_a_node_refuses_to_serve_a_key() {
        let (mut tracking, cache, _relayed) = node();
        assert_eq!(
            tracking.query_slots().0.len(),
            1,
            "no key was read from the node"
        );
        assert!(tracking.note_sent(Some(b"k")).is_none());
        assert_eq!(tracking.probe_key(), Some(&b"k"[..]));
        assert_eq!(tracking.query_slots().0.len(), 2);
        for harmless in [&b"$2\r\n{}\r\n"[..], b"-ASK 1 h:1\r\n", b"-OOM no\r\n"] {
            tracking.note_reply(&reply(harmless));
            assert!(cache.look_up(b"k").is_some());
        }
        tracking.note_reply(&reply(b"-CLUSTERDOWN The cluster is down\r\n"));
        assert!(cache.look_up(b"k").is_none());
        assert_eq!(tracking.probe_key(), None);
    }

    fn slots(owner: &str) -> Value {
        let text = format!("*1\r\n*3\r\n:0\r\n:9\r\n*3\r\n$1\r\nh\r\n:1\r\n$1\r\n{owner}\r\n");
        reply(text.as_bytes())
    }

    #[test]
    fn cached_sessions_are_fresh_only_while_the_node_confirms_its_slots() {
        let (mut tracking, cache, relayed) = node();
        let mut confirm = |reply: &Value| {
            std::thread::sleep(Duration::from_millis(60));
            assert!(tracking.slots_at().is_some_and(|at| at <= Instant::now()));
            let (_, sent) = tracking.query_slots();
            assert!(tracking.slots_at().is_none(), "one query at a time");
            tracking.take_slots(reply);
            tracking.slots_answered(Some(sent));
            relayed.try_iter().for_each(|event| event.apply(&cache));
            cache.look_up(b"k").is_some()
        };
        assert!(confirm(&slots("a")));
        assert!(confirm(&slots("a")));
        assert!(!confirm(&slots("b")), "another node owns the slots");
        assert_eq!(cache.stats().entries, 0);
        let (mut tracking, cache, _relayed) = node();
        std::thread::sleep(Duration::from_millis(60));
        let (_, sent) = tracking.query_slots();
        tracking.take_slots(&reply(b"-NOPERM no\r\n"));
        tracking.slots_answered(Some(sent));
        assert!(
            cache.look_up(b"k").is_none(),
            "an error reply confirms nothing"
        );
    }

    #[test]
    fn parse_invalidation_returns_the_keys_or_all() {
        let parsed = |bytes: &[u8]| match redis::parse_redis_value(bytes) {
            Ok(Value::Push { kind, data }) => {
                assert_eq!(kind, PushKind::Invalidate);
                parse_invalidation(data)
            }
            other => panic!("{other:?}"),
        };
        assert_eq!(
            parsed(b">2\r\n$10\r\ninvalidate\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n"),
            Invalidation::Keys(vec![b"a".to_vec(), b"b".to_vec()])
        );
        for all in [
            &b">2\r\n$10\r\ninvalidate\r\n_\r\n"[..],
            b">2\r\n$10\r\ninvalidate\r\n*1\r\n:1\r\n",
            b">1\r\n$10\r\ninvalidate\r\n",
        ] {
            assert_eq!(parsed(all), Invalidation::All);
        }
    }
}
