//! The slot map of a cluster: the primary and replicas of each slot.
//!
//! See <https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/>.

use crate::error::Error;
use crate::options::{NatMap, Node};
use crc::{CRC_16_XMODEM, Crc};
use redis::Value;

pub(super) const SLOT_COUNT: u16 = 16384;

static CRC: Crc<u16> = Crc::<u16>::new(&CRC_16_XMODEM);

/// Returns the slot of a key, computed from its hash tag if it has one.
pub(super) fn slot(key: &[u8]) -> u16 {
    let tag = key
        .iter()
        .position(|&byte| byte == b'{')
        .and_then(|open| {
            let rest = &key[open + 1..];
            let length = rest.iter().position(|&byte| byte == b'}')?;
            (length > 0).then(|| &rest[..length])
        })
        .unwrap_or(key);
    CRC.checksum(tag) % SLOT_COUNT
}

/// A primary and its replicas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shard {
    pub(super) primary: Node,
    pub(super) replicas: Vec<Node>,
}

impl Shard {
    fn nodes(&self) -> impl Iterator<Item = &Node> {
        [&self.primary].into_iter().chain(&self.replicas)
    }
}

/// The slot map: the shard that serves each slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SlotMap {
    shards: Vec<Shard>,
    /// The index of each slot's shard.
    by_slot: Vec<Option<u16>>,
}

impl Default for SlotMap {
    fn default() -> Self {
        Self {
            shards: Vec::new(),
            by_slot: vec![None; SLOT_COUNT.into()],
        }
    }
}

impl SlotMap {
    /// Returns the shard that serves a slot.
    pub(super) fn shard(&self, slot: u16) -> Option<&Shard> {
        let index = self.by_slot.get(usize::from(slot)).copied().flatten()?;
        self.shards.get(usize::from(index))
    }

    pub(super) fn primary(&self, slot: u16) -> Option<&Node> {
        self.shard(slot).map(|shard| &shard.primary)
    }

    pub(super) fn shards(&self) -> &[Shard] {
        &self.shards
    }

    pub(super) fn is_primary(&self, node: &Node) -> bool {
        self.primaries().any(|primary| primary == node)
    }

    /// Moves a slot to a primary. Its replicas are unknown until the next topology refresh.
    pub(super) fn move_slot(&mut self, slot: u16, primary: Node) {
        let known = self
            .shards
            .iter()
            .position(|shard| shard.primary == primary);
        let index = known.unwrap_or_else(|| {
            self.shards.push(Shard {
                primary,
                replicas: Vec::new(),
            });
            self.shards.len() - 1
        });
        if let Some(entry) = self.by_slot.get_mut(usize::from(slot)) {
            // There are never more shards than slots.
            *entry = u16::try_from(index).ok();
        }
    }

    /// Parses the reply of `source` to `CLUSTER SLOTS`. Returns `None` if it is malformed.
    pub(super) fn parse(reply: &Value, source: &Node, nat_map: &NatMap) -> Option<Self> {
        let Value::Array(ranges) = reply else {
            return None;
        };
        // Nodes list ranges in different orders, and equal views must compare equal.
        let mut ranges: Vec<_> = ranges.iter().collect();
        ranges.sort_by_key(|range| match range {
            Value::Array(parts) => parts.first().and_then(as_int),
            _ => None,
        });
        let mut slots = Self::default();
        for range in ranges {
            let Value::Array(parts) = range else {
                return None;
            };
            let [Value::Int(first), Value::Int(last), primary, replicas @ ..] = parts.as_slice()
            else {
                return None;
            };
            let node = |value: &Value| Some(parse_node(value, source)?.reached(nat_map));
            let mut replicas: Vec<_> = replicas.iter().filter_map(node).collect();
            replicas.sort_unstable();
            // Another node's view may contain the address.
            let Some(primary) = node(primary) else {
                continue;
            };
            let shard = Shard { primary, replicas };
            let known = slots.shards.iter().position(|other| *other == shard);
            let index = known.unwrap_or_else(|| {
                slots.shards.push(shard);
                slots.shards.len() - 1
            });
            let index = u16::try_from(index).ok()?;
            let first = usize::try_from(*first).ok()?;
            let last = usize::try_from(*last).ok()?;
            slots.by_slot.get_mut(first..=last)?.fill(Some(index));
        }
        Some(slots)
    }

    /// Returns the node that listens on `port`, if exactly one known node does.
    fn only_node_at(&self, port: u16) -> Option<&Node> {
        let mut nodes = self.shards.iter().flat_map(Shard::nodes);
        let first = nodes.find(|node| node.port == port)?;
        nodes
            .all(|node| node.port != port || node == first)
            .then_some(first)
    }

    /// Returns true if each slot has the same primary in both maps. Reliable for parsed maps only: after
    /// [`Self::move_slot`], it may return false for equal primaries.
    pub(super) fn has_same_primaries(&self, other: &Self) -> bool {
        self.by_slot == other.by_slot && self.primaries().eq(other.primaries())
    }

    fn primaries(&self) -> impl Iterator<Item = &Node> {
        self.shards.iter().map(|shard| &shard.primary)
    }

    pub(super) fn replica_count(&self) -> usize {
        self.shards.iter().map(|shard| shard.replicas.len()).sum()
    }

    /// Returns true if no node serves any slot.
    pub(super) fn is_empty(&self) -> bool {
        self.shards.is_empty()
    }
}

fn as_int(value: &Value) -> Option<i64> {
    match value {
        Value::Int(int) => Some(*int),
        _ => None,
    }
}

/// Parses a node: `[host, port, id, more]`. A nil or empty host is that of `source`. The host `?` means that the node
/// has no host name, although it should: `more` may contain its IP address, otherwise the address is unknown.
fn parse_node(value: &Value, source: &Node) -> Option<Node> {
    let Value::Array(parts) = value else {
        return None;
    };
    let host = match parts.first()? {
        Value::Nil => source.host.clone(),
        Value::BulkString(host) => match host.as_slice() {
            b"" => source.host.clone(),
            b"?" => parts.get(3).and_then(ip)?,
            host => String::from_utf8(host.to_vec()).ok()?,
        },
        _ => return None,
    };
    let Value::Int(port) = parts.get(1)? else {
        return None;
    };
    Some(Node {
        host,
        port: u16::try_from(*port).ok()?,
    })
}

/// Returns the address in `{ip: …}`, which is an array in RESP2.
fn ip(more: &Value) -> Option<String> {
    let is_ip = |name: &Value| *name == Value::BulkString(b"ip".to_vec());
    let value = match more {
        Value::Map(pairs) => pairs
            .iter()
            .find(|(name, _)| is_ip(name))
            .map(|(_, value)| value),
        Value::Array(parts) => parts
            .chunks_exact(2)
            .find(|pair| is_ip(&pair[0]))
            .map(|pair| &pair[1]),
        _ => None,
    };
    match value {
        Some(Value::BulkString(ip)) if !ip.is_empty() => String::from_utf8(ip.clone()).ok(),
        _ => None,
    }
}

/// A redirect to another node. The node is `None` if the server does not name it: then the slot map decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Redirect {
    /// The slot has moved permanently.
    Moved(Option<Node>),
    /// The slot is being moved: only this command goes to the node.
    Ask(Option<Node>),
}

impl Redirect {
    /// Parses an error reply of `server`: `MOVED slot host:port` or `ASK slot host:port`.
    pub(super) fn parse(
        error: &Error,
        server: &Node,
        nat_map: &NatMap,
        slots: &SlotMap,
    ) -> Option<Self> {
        let Error::Reply { reply, message, .. } = error else {
            return None;
        };
        if !matches!(reply.as_str(), "MOVED" | "ASK") {
            return None;
        }
        let address = message.split(' ').nth(1)?;
        let (host, port) = address.rsplit_once(':')?;
        let port = port.parse().ok()?;
        let at = |host: &str| {
            let host = host.to_owned();
            Some(Node { host, port }.reached(nat_map))
        };
        let node = match host.trim_matches(['[', ']']) {
            "" => at(&server.host),
            // The host name is unknown. A server on that port of another host may not belong to this cluster.
            "?" => None,
            host => at(host),
        };
        Some(match reply.as_str() {
            "MOVED" => Self::Moved(node),
            // No slot map contains the target of a move. A wrong node of the cluster answers with a redirect.
            _ => Self::Ask(node.or_else(|| slots.only_node_at(port).cloned())),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(port: u16) -> Node {
        Node {
            host: "127.0.0.1".into(),
            port,
        }
    }

    #[test]
    fn slots_match_the_cluster_specification() {
        assert_eq!(slot(b"123456789"), 0x31c3);
        // Examples from the documentation of CLUSTER KEYSLOT.
        assert_eq!(slot(b"somekey"), 11058);
        assert_eq!(slot(b"foo{hash_tag}"), 2515);
        assert_eq!(slot(b"bar{hash_tag}"), 2515);
        assert_eq!(slot(b""), 0);
        assert_eq!(slot(b"{user1000}.following"), slot(b"{user1000}.followers"));
        assert_eq!(slot(b"foo{}{bar}"), 8363, "the slot of the whole key");
        assert_eq!(slot(b"foo{{bar}}zap"), slot(b"{bar"));
    }

    fn reply(text: &str) -> Value {
        redis::parse_redis_value(text.replace(' ', "\r\n").as_bytes()).expect("a reply")
    }

    #[test]
    fn parse_returns_the_shards_of_a_reply() {
        let text = "*2 *4 :0 :8191 *2 $9 127.0.0.1 :7001 *2 $9 127.0.0.1 :7002 *3 :8192 :16383 *2 $-1 :7003 ";
        let nat_map = vec![(at(7002), at(8002))];
        let slots = SlotMap::parse(&reply(text), &at(7001), &nat_map).expect("slots");
        assert_eq!(
            slots.shard(8191),
            Some(&Shard {
                primary: at(7001),
                replicas: vec![at(8002)]
            })
        );
        assert_eq!(
            slots.shard(8192).map(|shard| shard.primary.port),
            Some(7003)
        );
        assert!(SlotMap::parse(&Value::Nil, &at(7001), &Vec::new()).is_none());
        assert!(
            SlotMap::parse(&reply("*1 *3 :0 :99999 *2 $1 h :1 "), &at(1), &Vec::new()).is_none()
        );
    }

    #[test]
    fn nodes_without_a_host_name_are_reached_by_their_ip_address() {
        for more in ["%1 $2 ip $3 ::2 ", "*4 $4 port $1 1 $2 ip $3 ::2 "] {
            let text = format!(
                "*2 *3 :0 :8191 *4 $1 ? :1 $2 id {more}*3 :8192 :16383 *4 $1 h :1 $2 id *0 "
            );
            let slots = SlotMap::parse(&reply(&text), &at(1), &Vec::new()).expect("slots");
            let hosts = [0, 8192].map(|slot| slots.primary(slot).map(|node| node.host.as_str()));
            assert_eq!(hosts, [Some("::2"), Some("h")]);
        }
        // A node without any address is not mistaken for the source.
        let text = "*2 *3 :0 :1 *2 $1 ? :1 *3 :2 :3 *2 $0  :2 ";
        let slots = SlotMap::parse(&reply(text), &at(1), &Vec::new()).expect("slots");
        assert_eq!(slots.primary(0), None);
        assert_eq!(slots.primary(2), Some(&at(2)));
    }

    #[test]
    fn views_with_the_same_content_are_equal() {
        let one = "*2 *5 :0 :8191 *2 $1 a :1 *2 $1 b :2 *2 $1 c :3 *3 :8192 :16383 *2 $1 d :4 ";
        let other = "*2 *3 :8192 :16383 *2 $1 d :4 *5 :0 :8191 *2 $1 a :1 *2 $1 c :3 *2 $1 b :2 ";
        let view = |text| SlotMap::parse(&reply(text), &at(1), &Vec::new()).expect("slots");
        assert!(view(one) == view(other));
        let fewer = view("*2 *3 :0 :8191 *2 $1 a :1 *3 :8192 :16383 *2 $1 d :4 ");
        assert!(fewer != view(one) && fewer.has_same_primaries(&view(one)));
        let stale = view("*1 *3 :0 :16383 *2 $1 a :1 ");
        assert!(!stale.has_same_primaries(&fewer));
    }

    #[test]
    fn a_slot_can_move_to_an_unknown_node() {
        let mut slots = SlotMap::default();
        slots.move_slot(3, at(7001));
        slots.move_slot(4, at(7002));
        slots.move_slot(3, at(7002));
        assert_eq!(slots.shard(3), slots.shard(4));
        assert_eq!(slots.shard(5), None);
    }

    #[test]
    fn parse_returns_the_target_of_a_redirect() {
        let mut slots = SlotMap::default();
        let error = |word: &str, text: &str| Error::from_reply("redis://h", word, Some(text));
        let read = |slots: &SlotMap, word, text| {
            Redirect::parse(&error(word, text), &at(1), &Vec::new(), slots)
        };
        let moved = |slots: &SlotMap, text| read(slots, "MOVED", text);
        let to = |node| Some(Redirect::Moved(node));
        assert_eq!(moved(&slots, "3999 127.0.0.1:6381"), to(Some(at(6381))));
        assert_eq!(moved(&slots, "3999 :6381"), to(Some(at(6381))));
        assert_eq!(moved(&slots, "3999 ?:6381"), to(None));
        assert_eq!(moved(&slots, "nonsense"), None);
        let other = Node {
            host: "::1".into(),
            port: 6381,
        };
        let ask = |node| Some(Redirect::Ask(node));
        assert_eq!(
            read(&slots, "ASK", "1 [::1]:6381"),
            ask(Some(other.clone()))
        );
        assert_eq!(read(&slots, "ASK", "1 ?:6381"), ask(None));
        slots.move_slot(3, other.clone());
        assert_eq!(read(&slots, "ASK", "1 ?:6381"), ask(Some(other)));
        assert_eq!(moved(&slots, "1 ?:6381"), to(None));
        slots.move_slot(4, at(6381));
        assert_eq!(
            read(&slots, "ASK", "1 ?:6381"),
            ask(None),
            "two nodes listen on the port"
        );
    }
}
