//! What a connection does for the cache: it hears which of the keys that were read over it change.
//!
//! The server's plain tracking is used, without options. It tells of every key that this connection has
//! read, once, and of no others, whoever changes it. `OPTIN` would cost a command with every read, `BCAST`
//! a message with every write of every process. With `NOLOOP` the server would say nothing of what our own
//! commands change, which are also the keys that it evicts to make room for them: those would be kept
//! here for ever, as it forgets whom to tell.

use super::commands::{Access, Commands, Expect};
use super::link::Link;
use crate::cache::{Cache, Invalidation, Line, Moment, Proof};
use crate::error::Error;
use redis::{PushKind, Value};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// What a connection tells the cache, in its place among the replies.
pub(super) enum TrackingEvent {
    Changed(Invalidation),
    Answered(Proof),
}

impl TrackingEvent {
    pub(super) fn reach(self, cache: &Cache) {
        match self {
            Self::Changed(invalidation) => cache.invalidate(&invalidation),
            Self::Answered(proof) => proof.count(),
        }
    }
}

type Relay = Box<dyn Fn(TrackingEvent) + Send>;

pub(super) struct Tracking {
    cache: Arc<Cache>,
    /// Of a node of a cluster, whose replies take another way: what the cache is told must take it, too.
    relay: Option<Relay>,
    /// For as long as a link is open.
    line: Option<Line>,
    /// A key that the node was asked about since it last refused to serve one.
    witness: Option<Vec<u8>>,
    slots: SlotCheck,
}

/// Confirms that the nodes of a cluster own the slots that they did when keys were read from them.
///
/// A node that has given a slot away no longer tells of changes in it, while it may keep its keys for a while and is
/// well otherwise. So what a node says of anything else than its slots proves nothing.
#[derive(Default)]
struct SlotCheck {
    /// When the last question was sent, and whether its answer is still to come.
    asked: Option<(Instant, bool)>,
    /// Fingerprint of the slot map that the node last told.
    map: Option<u64>,
    is_confirmed: bool,
}

impl Tracking {
    pub(super) fn new(cache: Arc<Cache>, relay: Option<Relay>) -> Self {
        Self {
            cache,
            relay,
            line: None,
            witness: None,
            slots: SlotCheck::default(),
        }
    }

    /// A link is open. An error tells why it hears nothing.
    pub(super) fn begin(&mut self, link: &Link, server: &str) -> Result<(), Error> {
        let cause = link.deafness();
        self.line = Some(self.cache.begin(cause.is_none()));
        self.witness = None;
        self.slots = SlotCheck::default();
        match cause {
            None => Ok(()),
            Some(cause) => Err(Error::CacheOff {
                server: server.to_owned(),
                cause: cause.to_owned(),
            }),
        }
    }

    /// The link is lost, or about to be.
    pub(super) fn end(&mut self) {
        self.line = None;
    }

    /// Takes what the server sent without being asked. What it sent before must have been settled.
    pub(super) fn take(&self, kind: &PushKind, data: Vec<Value>) {
        if *kind != PushKind::Invalidate || self.line.is_none() {
            return;
        }
        self.tell(TrackingEvent::Changed(read(data)));
    }

    fn tell(&self, told: TrackingEvent) {
        match &self.relay {
            Some(relay) => relay(told),
            None => told.reach(&self.cache),
        }
    }

    /// Something is sent; `key` is that of the first command, if it has one. When that was, if an answer is proof
    /// that the messages of before have come. In a cluster, only [`Self::ask_for_slots`] asks for proof.
    pub(super) fn note_sent(&mut self, key: Option<&[u8]>) -> Option<Moment> {
        if self.relay.is_none() {
            return Some(Moment::now());
        }
        if let Some(key) = key {
            let witness = self.witness.get_or_insert_default();
            witness.clear();
            witness.extend_from_slice(key);
        }
        None
    }

    /// When to ask a node of a cluster for its slots; `None` elsewhere, and while an answer is due.
    pub(super) fn slots_at(&self) -> Option<Instant> {
        self.relay.as_ref()?;
        match self.slots.asked {
            None => self.line.as_ref().map(|_| Instant::now()),
            Some((_, true)) => None,
            Some((sent, false)) => {
                let due: Instant = self.line.as_ref()?.probe_at()?.into();
                Some(due.max(sent + SLOTS_PAUSE))
            }
        }
    }

    /// The question that confirms what was read from a node: which slots are whose, and whether it serves a key. One
    /// that is cut off from the others answers the first, but not the second.
    pub(super) fn ask_for_slots(&mut self) -> (Commands, Moment) {
        let mut question = Commands::default();
        question.add(Access::Read, Expect::Any, None, &[b"CLUSTER", b"SLOTS"]);
        if let Some(key) = &self.witness {
            question.add(Access::Read, Expect::Integer, Some(1), &[b"PTTL", key]);
        }
        self.slots.asked = Some((Instant::now(), true));
        self.slots.is_confirmed = false;
        (question, Moment::now())
    }

    /// Takes the slots that the node told. Where they are others than before, nothing is kept.
    pub(super) fn take_slots(&mut self, reply: &Value) {
        let map = fingerprint(reply);
        if self.slots.map.is_some() && self.slots.map != map {
            self.cache.clear();
        }
        self.slots.map = map;
        self.slots.is_confirmed = map.is_some();
    }

    /// The question for the slots, sent at this moment, has been answered.
    pub(super) fn slots_answered(&mut self, sent: Option<Moment>) {
        if let Some((_, is_due)) = &mut self.slots.asked {
            *is_due = false;
        }
        self.answered(sent.filter(|_| self.slots.is_confirmed));
    }

    /// A reply has come. A node that does not serve a key has nothing to say of those that were read from it.
    pub(super) fn note_reply(&mut self, value: &Value) {
        if let Value::ServerError(error) = value
            && matches!(
                error.code(),
                "MOVED" | "CLUSTERDOWN" | "MASTERDOWN" | "LOADING"
            )
            && self.witness.take().is_some()
        {
            self.cache.clear();
        }
    }

    /// What was sent at this moment has been answered.
    pub(super) fn answered(&self, sent: Option<Moment>) {
        if let (Some(line), Some(sent)) = (&self.line, sent) {
            self.tell(TrackingEvent::Answered(line.proof(sent)));
        }
    }

    /// By a question about which key a node of a cluster is to give a sign of life.
    pub(super) fn witness(&self) -> Option<&[u8]> {
        self.witness.as_deref()
    }

    pub(super) fn cache(&self) -> &Arc<Cache> {
        &self.cache
    }

    /// When to ask an idle server for a sign of life.
    pub(super) fn probe_at(&self) -> Option<Instant> {
        if self.relay.is_some() {
            return None;
        }
        self.line.as_ref()?.probe_at().map(Into::into)
    }
}

/// Between two questions for the slots, at least.
const SLOTS_PAUSE: Duration = Duration::from_millis(25);

/// A number for the primaries of all slots, as `CLUSTER SLOTS` tells them; `None` if the reply is none.
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
    // A node may tell the same in another order.
    owners.sort_unstable();
    let mut hasher = DefaultHasher::new();
    owners.hash(&mut hasher);
    Some(hasher.finish())
}

/// A list of keys, or nil for all. What is neither cannot be understood, so it may mean all.
fn read(data: Vec<Value>) -> Invalidation {
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

    /// A node of a cluster, its cache, and what it has told.
    fn node() -> (Tracking, Arc<Cache>, mpsc::Receiver<TrackingEvent>) {
        let cache = Arc::new(Cache::new(CacheOptions {
            max_bytes: 1 << 20,
            max_entries: 10,
            max_staleness: Duration::from_millis(50),
        }));
        let (sender, told) = mpsc::channel();
        let relay = Box::new(move |told| sender.send(told).expect("somebody listens"));
        let mut tracking = Tracking::new(Arc::clone(&cache), Some(relay));
        tracking.line = Some(cache.begin(true));
        let entry = Entry {
            text: b"{}"[..].into(),
            ends: None,
            until: None,
            in_force: None,
            clock: Default::default(),
        };
        cache.keep(cache.ticket(), b"k", entry);
        (tracking, cache, told)
    }

    #[test]
    fn what_a_node_tells_reaches_the_cache_in_its_place() {
        let (mut tracking, cache, told) = node();
        std::thread::sleep(Duration::from_millis(60));
        let (_, sent) = tracking.ask_for_slots();
        tracking.take(&PushKind::Invalidate, vec![reply(b"*1\r\n$5\r\nother\r\n")]);
        tracking.take_slots(&slots("a"));
        tracking.slots_answered(Some(sent));
        assert!(
            cache.look_up(b"k").is_none(),
            "it is proof of a message that is on its way"
        );
        let (changed, answered) = (told.recv().expect("told"), told.recv().expect("told"));
        changed.reach(&cache);
        assert!(cache.look_up(b"k").is_none());
        answered.reach(&cache);
        assert!(cache.look_up(b"k").is_some());
    }

    #[test]
    fn a_node_is_trusted_for_what_it_says_of_keys() {
        let (mut tracking, cache, _told) = node();
        assert_eq!(
            tracking.ask_for_slots().0.len(),
            1,
            "nothing was read there"
        );
        assert!(tracking.note_sent(Some(b"k")).is_none());
        assert_eq!(tracking.witness(), Some(&b"k"[..]));
        assert_eq!(tracking.ask_for_slots().0.len(), 2);
        for fine in [&b"$2\r\n{}\r\n"[..], b"-ASK 1 h:1\r\n", b"-OOM no\r\n"] {
            tracking.note_reply(&reply(fine));
            assert!(cache.look_up(b"k").is_some());
        }
        tracking.note_reply(&reply(b"-CLUSTERDOWN The cluster is down\r\n"));
        assert!(cache.look_up(b"k").is_none());
        assert_eq!(tracking.witness(), None);
    }

    fn slots(owner: &str) -> Value {
        let text = format!("*1\r\n*3\r\n:0\r\n:9\r\n*3\r\n$1\r\nh\r\n:1\r\n$1\r\n{owner}\r\n");
        reply(text.as_bytes())
    }

    #[test]
    fn a_node_is_trusted_for_as_long_as_it_confirms_its_slots() {
        let (mut tracking, cache, told) = node();
        let mut confirm = |reply: &Value| {
            std::thread::sleep(Duration::from_millis(60));
            assert!(tracking.slots_at().is_some_and(|at| at <= Instant::now()));
            let (_, sent) = tracking.ask_for_slots();
            assert!(tracking.slots_at().is_none(), "one at a time");
            tracking.take_slots(reply);
            tracking.slots_answered(Some(sent));
            told.try_iter().for_each(|told| told.reach(&cache));
            cache.look_up(b"k").is_some()
        };
        assert!(confirm(&slots("a")));
        assert!(confirm(&slots("a")));
        assert!(!confirm(&slots("b")), "another one owns them");
        assert_eq!(cache.stats().entries, 0);
        let (mut tracking, cache, _told) = node();
        std::thread::sleep(Duration::from_millis(60));
        let (_, sent) = tracking.ask_for_slots();
        tracking.take_slots(&reply(b"-NOPERM no\r\n"));
        tracking.slots_answered(Some(sent));
        assert!(
            cache.look_up(b"k").is_none(),
            "what is not told is not confirmed"
        );
    }

    #[test]
    fn messages_name_keys_or_mean_all() {
        let parsed = |bytes: &[u8]| match redis::parse_redis_value(bytes) {
            Ok(Value::Push { kind, data }) => {
                assert_eq!(kind, PushKind::Invalidate);
                read(data)
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
