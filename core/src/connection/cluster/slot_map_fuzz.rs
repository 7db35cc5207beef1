//! Slots of keys, slot maps and redirects, compared with their definitions.

#![expect(clippy::expect_used, reason = "a fuzz target reports by a panic")]

use super::slot_map::{Redirect, SLOT_COUNT, SlotMap, slot};
use crate::error::Error;
use crate::options::Node;
use redis::Value;
use std::collections::HashMap;

/// Reads the input as a key, a reply, the ranges of a reply, and a text.
pub fn run(input: &[u8]) {
    assert_eq!(slot(input), expected_slot(input));
    if let Ok(reply) = redis::parse_redis_value(input) {
        check_reply(&reply);
    }
    check_ranges(input);
    if let Ok(text) = std::str::from_utf8(input) {
        check_redirect(text);
    }
}

fn source() -> Node {
    node("source", 1)
}

fn node(host: &str, port: u16) -> Node {
    let host = host.to_owned();
    Node { host, port }
}

/// Returns the slot of a key by the cluster specification: CRC16 bit by bit.
fn expected_slot(key: &[u8]) -> u16 {
    let mut parts = key.splitn(2, |&byte| byte == b'{');
    let behind = parts.nth(1).unwrap_or_default();
    let mut tags = behind.splitn(2, |&byte| byte == b'}');
    let hashed = match (tags.next(), tags.next()) {
        (Some(tag), Some(_)) if !tag.is_empty() => tag,
        _ => key,
    };
    let crc = hashed.iter().fold(0u16, |crc, &byte| {
        (0..8).fold(crc ^ u16::from(byte) << 8, |crc, _| {
            crc << 1 ^ if crc & 0x8000 != 0 { 0x1021 } else { 0 }
        })
    });
    crc % 16384
}

/// Checks the slot map of any reply.
fn check_reply(reply: &Value) {
    let Some(map) = SlotMap::parse(reply, &source(), &Vec::new()) else {
        return;
    };
    assert!(
        [0, SLOT_COUNT - 1]
            .iter()
            .filter_map(|&slot| map.primary(slot))
            .all(|node| map.is_primary(node))
    );
    assert!(map.has_same_primaries(&map.clone()));
    // Nodes list their ranges in different orders.
    if let Value::Array(ranges) = reply {
        let starts = ranges.iter().map(|range| match range {
            Value::Array(parts) => format!("{:?}", parts.first()),
            _ => String::new(),
        });
        let mut starts: Vec<_> = starts.collect();
        starts.sort_unstable();
        starts.dedup();
        let reversed = Value::Array(ranges.iter().rev().cloned().collect());
        if starts.len() == ranges.len() {
            assert_eq!(
                Some(&map),
                SlotMap::parse(&reversed, &source(), &Vec::new()).as_ref()
            );
        }
    }
}

/// Builds a reply of ranges that do not overlap, and checks the slots at their ends.
fn check_ranges(input: &[u8]) {
    let mut ranges = Vec::new();
    let mut expected = HashMap::new();
    let mut next = 0;
    for bytes in input.chunks_exact(4) {
        let first = next + u16::from(bytes[0]);
        let last = first + u16::from(bytes[1]) * 16;
        if last >= SLOT_COUNT {
            break;
        }
        let primary = node(&format!("h{}", bytes[2] % 8), u16::from(bytes[2]) + 1);
        let mut range = vec![Value::Int(first.into()), Value::Int(last.into())];
        range.push(to_value(&primary));
        range.extend((0..bytes[3] % 3).map(|at| to_value(&node("replica", at.into()))));
        ranges.push(Value::Array(range));
        expected.extend((next..first).take(1).map(|slot| (slot, None)));
        expected.extend([first, last].map(|slot| (slot, Some(primary.clone()))));
        next = last + 1;
    }
    expected.extend((next..SLOT_COUNT).take(1).map(|slot| (slot, None)));
    ranges.reverse();
    let reply = Value::Array(ranges);
    check_reply(&reply);
    let mut map = SlotMap::parse(&reply, &source(), &Vec::new()).expect("a slot map");
    let check = |map: &SlotMap, expected: &HashMap<u16, Option<Node>>| {
        for (&slot, primary) in expected {
            assert_eq!(map.primary(slot), primary.as_ref());
        }
    };
    check(&map, &expected);
    // Slots move one by one.
    for bytes in input.chunks_exact(2) {
        let slot = u16::from_le_bytes([bytes[0], bytes[1]]) % SLOT_COUNT;
        let primary = node("moved", u16::from(bytes[1] % 5) + 1);
        map.move_slot(slot, primary.clone());
        expected.insert(slot, Some(primary));
    }
    check(&map, &expected);
}

fn to_value(node: &Node) -> Value {
    let host = Value::BulkString(node.host.clone().into_bytes());
    Value::Array(vec![host, Value::Int(node.port.into())])
}

/// Checks the redirect of any error reply, and that of a correct one.
fn check_redirect(text: &str) {
    let map = SlotMap::default();
    let redirect = |code: &str, text: &str| {
        let error = Error::from_reply("redis://h", code, Some(text));
        Redirect::parse(&error, &source(), &Vec::new(), &map)
    };
    for code in ["MOVED", "ASK"] {
        if let Some(Redirect::Moved(Some(node)) | Redirect::Ask(Some(node))) = redirect(code, text)
        {
            assert!(!node.host.is_empty());
            let moved = redirect("MOVED", &format!("1 {node}"));
            assert_eq!(moved, Some(Redirect::Moved(Some(node))));
        }
    }
    assert!(redirect(text, "1 h:1").is_none() || ["MOVED", "ASK"].contains(&text));
}
