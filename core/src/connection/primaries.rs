//! The primaries to scan, and whether keys have moved between them.
//!
//! A node knows its own slots at once, but learns of changes at other nodes with a delay. So every primary is asked.

use super::commands::{Access, Expect};
use super::handle::Connection;
use super::text::text;
use crate::error::Error;
use futures_util::future::join_all;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::oneshot;
use tokio::time::timeout;

/// The primaries, which together hold every key once.
#[derive(Debug)]
pub(crate) struct Primaries {
    pub nodes: Vec<Connection>,
    /// The version of the slot map. If it changes, keys may have moved between nodes.
    pub version: u64,
}

impl Primaries {
    /// Returns the primaries of a connection: in a cluster, those of the current slot map.
    pub(crate) async fn of(connection: &Connection) -> Result<Self, Error> {
        if !connection.is_cluster() {
            return Ok(Self {
                nodes: vec![connection.clone()],
                version: 0,
            });
        }
        let (sender, receiver) = oneshot::channel();
        connection.request_primaries(sender);
        let limit = connection.command_timeout();
        let nodes = match timeout(limit, receiver).await {
            Ok(Ok(nodes)) => nodes?,
            Ok(Err(_)) => return Err(Error::Closed),
            Err(_) => return Err(connection.shared.unavailable(limit)),
        };
        let version = version(&nodes).await;
        Ok(Self { nodes, version })
    }
}

/// Returns a version of the slot ownership. Two calls return the same version only if no key has moved between nodes in
/// the meantime.
async fn version(primaries: &[Connection]) -> u64 {
    let views = join_all(primaries.iter().map(slot_view)).await;
    // While a slot moves, or a primary does not answer, each version is unique.
    let Some(mut views) = views.into_iter().collect::<Option<Vec<_>>>() else {
        return unique();
    };
    views.sort_unstable();
    let mut hasher = DefaultHasher::new();
    views.hash(&mut hasher);
    // Hashes of views are odd, unique versions even.
    hasher.finish() | 1
}

/// Returns a version that is never returned again.
fn unique() -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(0);
    LAST.fetch_add(2, Ordering::Relaxed)
}

/// Asks a primary for its own slots.
async fn slot_view(primary: &Connection) -> Option<String> {
    let words: [&[u8]; 2] = [b"CLUSTER", b"NODES"];
    let reply = primary
        .query_one(Access::Read, Expect::Any, None, &words)
        .await;
    stable_slots(text(&reply.ok()?)?)
}

/// Returns the ID, configuration epoch and slots of the node that sent `nodes`; `None` while one of its slots moves.
fn stable_slots(nodes: &str) -> Option<String> {
    // The word must be among the flags: a host name may contain it.
    let is_own = |words: &Vec<&str>| words.get(2).is_some_and(|flags| flags.contains("myself"));
    let mut lines = nodes.lines().map(|line| line.split(' ').collect());
    let words: Vec<_> = lines.find(is_own)?;
    let [id, _, _, _, _, _, epoch, _, slots @ ..] = words.as_slice() else {
        return None;
    };
    // A moving slot is listed as `[93->-id]` or `[93-<-id]`.
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
    fn a_view_changes_only_with_slots_and_epoch() {
        let view = stable_slots(&nodes(1, 3, " 0-92 94-5460"));
        assert_eq!(view.as_deref(), Some("07c3 3 0-92 94-5460"));
        assert_eq!(view, stable_slots(&nodes(2, 3, " 0-92 94-5460")));
        // A slot that moved away and back has another epoch.
        assert_ne!(view, stable_slots(&nodes(1, 4, " 0-92 94-5460")));
        assert_ne!(view, stable_slots(&nodes(1, 3, " 0-5460")));
        assert_eq!(stable_slots(&nodes(1, 3, "")).as_deref(), Some("07c3 3 "));
    }

    #[test]
    fn a_moving_slot_has_no_stable_view() {
        assert_eq!(stable_slots(&nodes(1, 3, " 0-5460 [93->-67ed]")), None);
        assert_eq!(stable_slots(&nodes(1, 3, " 0-92 [93-<-67ed]")), None);
        assert_eq!(stable_slots(OTHER), None);
        assert_eq!(stable_slots("nonsense myself"), None);
    }

    #[test]
    fn unique_versions_differ_and_are_even() {
        assert_ne!(unique(), unique());
        assert_eq!(unique() % 2, 0);
    }
}
