//! What a connection does for the cache: it hears which of the keys that were read over it change.
//!
//! The server's plain tracking is used, without options. It tells of every key that this connection has
//! read, once, and of no others, whoever changes it. `OPTIN` would cost a command with every read, `BCAST`
//! a message with every write of every process. With `NOLOOP` the server would say nothing of what our own
//! commands change, which are also the keys that it evicts to make room for them: those would be kept
//! here for ever, as it forgets whom to tell.

use super::link::Link;
use crate::cache::{Cache, Invalidation, Line, Moment};
use crate::error::Error;
use redis::{PushKind, Value};
use std::sync::Arc;
use tokio::time::Instant;

/// Takes a message, in its place among the replies.
type Relay = Box<dyn Fn(Invalidation) + Send>;

pub(super) struct Tracking {
    cache: Arc<Cache>,
    /// Where replies take another way, the messages must take it, too.
    relay: Option<Relay>,
    /// For as long as a link is open.
    line: Option<Line>,
    /// The server has said that it is a replica.
    is_replica: bool,
}

impl Tracking {
    pub(super) fn new(cache: Arc<Cache>, relay: Option<Relay>) -> Self {
        Self {
            cache,
            relay,
            line: None,
            is_replica: false,
        }
    }

    /// A link is open. An error tells why it hears nothing.
    pub(super) fn begin(&mut self, link: &Link, server: &str) -> Result<(), Error> {
        let cause = link.deafness();
        self.line = Some(self.cache.begin(cause.is_none()));
        self.is_replica = false;
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
        let invalidation = read(data);
        match &self.relay {
            Some(relay) => relay(invalidation),
            None => self.cache.invalidate(&invalidation),
        }
    }

    /// What was sent at this moment has been answered.
    pub(super) fn answered(&self, sent: Option<Moment>) {
        if let (Some(line), Some(sent)) = (&self.line, sent) {
            line.answered(sent);
        }
    }

    /// The question by which a node of a cluster gives a sign of life: one that has become a replica, and
    /// is cut off from its primary, tells of no changes and is well otherwise.
    pub(super) const ROLE: &[u8] = b"ROLE";

    /// Takes the answer. One that is refused tells nothing.
    pub(super) fn note_role(&mut self, answer: &Value) {
        let is_replica = match answer {
            Value::Array(parts) => parts.first() == Some(&Value::BulkString(b"slave".to_vec())),
            _ => false,
        };
        if is_replica && !self.is_replica {
            self.cache.clear();
        }
        self.is_replica = is_replica;
    }

    /// When to ask an idle server for a sign of life.
    pub(super) fn probe_at(&self) -> Option<Instant> {
        self.line.as_ref()?.probe_at().map(Into::into)
    }
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
