//! What the primaries of a cluster say of their own slots: whether keys stay where they are.
//!
//! Each node knows this of itself at once, of others only by and by; so each is asked.

use crate::connection::{Access, Connection, Expect};
use futures_util::future::join_all;
use redis::Value;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};

/// A number that is the same twice only if no key has moved from node to node in between.
pub(in crate::connection) async fn version(primaries: &[Connection]) -> u64 {
    let views = join_all(primaries.iter().map(slot_view)).await;
    // What is moving, or could not be asked, is never the same.
    let Some(mut views) = views.into_iter().collect::<Option<Vec<_>>>() else {
        return unique();
    };
    views.sort_unstable();
    let mut hasher = DefaultHasher::new();
    views.hash(&mut hasher);
    // Odd numbers are those of views, even ones are unique.
    hasher.finish() | 1
}

fn unique() -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(0);
    LAST.fetch_add(2, Ordering::Relaxed)
}

async fn slot_view(primary: &Connection) -> Option<String> {
    let words: [&[u8]; 2] = [b"CLUSTER", b"NODES"];
    let reply = primary.ask(Access::Read, Expect::Any, None, &words).await;
    stable_slots(&text(reply.ok()?)?)
}

/// The text of a reply.
pub(super) fn text(reply: Value) -> Option<String> {
    match reply {
        Value::BulkString(text) => String::from_utf8(text).ok(),
        // RESP3.
        Value::VerbatimString { text, .. } => Some(text),
        _ => None,
    }
}

/// The node's id, the epoch of its slots and the slots themselves; `None` while one of them is moving.
fn stable_slots(nodes: &str) -> Option<String> {
    // Among a node's flags, not in its name.
    let is_own = |words: &Vec<&str>| words.get(2).is_some_and(|flags| flags.contains("myself"));
    let mut lines = nodes.lines().map(|line| line.split(' ').collect());
    let words: Vec<_> = lines.find(is_own)?;
    let [id, _, _, _, _, _, epoch, _, slots @ ..] = words.as_slice() else {
        return None;
    };
    // `[93->-id]` and `[93-<-id]`.
    let is_moving = slots.iter().any(|slot| slot.starts_with('['));
    (!is_moving).then(|| format!("{id} {epoch} {}", slots.join(" ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OTHER: &str = "67ed 127.0.0.1:7002@17002,myself.example master - 0 1700000000000 2 connected 5461-10922\n";

    fn nodes(pong: u32, epoch: u32, slots: &str) -> String {
        format!(
            "{OTHER}07c3 127.0.0.1:7001@17001 myself,master - 0 {pong} {epoch} connected{slots}\n"
        )
    }

    #[test]
    fn a_view_changes_with_the_slots_alone() {
        let view = stable_slots(&nodes(1, 3, " 0-92 94-5460"));
        assert_eq!(view.as_deref(), Some("07c3 3 0-92 94-5460"));
        assert_eq!(view, stable_slots(&nodes(2, 3, " 0-92 94-5460")));
        // A slot that went and came back is taken with another epoch.
        assert_ne!(view, stable_slots(&nodes(1, 4, " 0-92 94-5460")));
        assert_ne!(view, stable_slots(&nodes(1, 3, " 0-5460")));
        assert_eq!(stable_slots(&nodes(1, 3, "")).as_deref(), Some("07c3 3 "));
    }

    #[test]
    fn nothing_is_settled_while_a_slot_moves() {
        assert_eq!(stable_slots(&nodes(1, 3, " 0-5460 [93->-67ed]")), None);
        assert_eq!(stable_slots(&nodes(1, 3, " 0-92 [93-<-67ed]")), None);
        assert_eq!(stable_slots(OTHER), None);
        assert_eq!(stable_slots("nonsense myself"), None);
    }

    #[test]
    fn a_unique_number_is_no_views() {
        assert_ne!(unique(), unique());
        assert_eq!(unique() % 2, 0);
    }
}
