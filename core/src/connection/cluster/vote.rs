//! The vote on the slot map: the map on which most nodes agree wins.
//!
//! All nodes are asked at once: a node that was partitioned or removed from the cluster may still claim its slots.

use super::ownership;
use super::slot_map::SlotMap;
use crate::connection::Connection;
use crate::connection::commands::{Access, Commands, Expect};
use crate::error::Error;
use crate::options::{NatMap, Node};
use futures_util::future::join_all;
use futures_util::stream::{FuturesUnordered, StreamExt};
use redis::Value;
use std::cmp::Reverse;
use std::time::Duration;
use tokio::time::{Instant, timeout, timeout_at};

/// The timeout for the replies of the nodes.
const TIMEOUT: Duration = Duration::from_secs(2);
/// The additional time for the other nodes after the first reply.
const GRACE: Duration = Duration::from_millis(50);

/// A node that answered.
struct Voter {
    node: Node,
    connection: Connection,
    /// The node's ID, which is the same at every address; `None` if the node does not return it.
    id: Option<Vec<u8>>,
}

impl Voter {
    /// Returns true if both are the same node, possibly at two addresses.
    fn is_same_node(&self, other: &Self) -> bool {
        self.node == other.node || (self.id.is_some() && self.id == other.id)
    }
}

/// Returns the slot map on which most nodes agree. `server` is the name of the cluster in errors.
pub(super) async fn slot_map(
    nodes: Vec<(Node, Connection)>,
    nat_map: NatMap,
    server: String,
) -> Result<SlotMap, Error> {
    let unknown = |cause: String| Error::Unreachable {
        server: server.clone(),
        cause,
    };
    let mut failure = unknown("no node has answered".into());
    let mut queries: FuturesUnordered<_> = nodes
        .into_iter()
        .map(|(node, connection)| async move {
            let mut commands = Commands::default();
            commands.add(Access::Read, Expect::Array, None, &[b"CLUSTER", b"SLOTS"]);
            commands.add(Access::Read, Expect::Any, None, &[b"CLUSTER", b"MYID"]);
            let mut replies = connection.query(commands).await.into_iter();
            let slots = replies.next().unwrap_or(Err(Error::Abandoned));
            // An ACL may forbid it.
            let id = match replies.next() {
                Some(Ok(Value::BulkString(id))) => Some(id),
                _ => None,
            };
            let voter = Voter {
                node,
                connection,
                id,
            };
            (voter, slots)
        })
        .collect();
    let mut views: Vec<(SlotMap, Voter)> = Vec::new();
    let begin = Instant::now();
    let mut deadline = begin + TIMEOUT;
    while let Ok(Some((voter, reply))) = timeout_at(deadline, queries.next()).await {
        let view = match reply {
            Ok(value) => SlotMap::parse(&value, &voter.node, &nat_map),
            Err(error) => {
                failure = error;
                continue;
            }
        };
        let Some(view) = view.filter(|view| !view.is_empty()) else {
            failure = unknown(format!("{} knows of no slots", voter.node));
            continue;
        };
        if views.is_empty() {
            deadline = deadline.min(Instant::now() + begin.elapsed() + GRACE);
        }
        // A node that is known by two addresses has one vote.
        if !views.iter().any(|(_, other)| other.is_same_node(&voter)) {
            views.push((view, voter));
        }
    }
    let mut groups = SlotMap::grouped(views);
    let most = groups.iter().map(|(_, voters)| voters.len()).max();
    groups.retain(|(_, voters)| Some(voters.len()) == most);
    match groups.len() {
        0 => Err(failure),
        1 => Ok(groups.remove(0).0),
        _ => Ok(newest(groups).await),
    }
}

/// Returns the slot map with the highest configuration epoch among those with equal votes: in a failover, the new
/// primary gets a higher epoch than any before. If no epoch is known, the choice is arbitrary but stable.
async fn newest(groups: Vec<(SlotMap, Vec<Voter>)>) -> SlotMap {
    let ranked = groups.into_iter().map(|(slots, voters)| async move {
        let epochs = join_all(voters.iter().map(|voter| epoch(&voter.connection)));
        let epochs = timeout(TIMEOUT, epochs).await.unwrap_or_default();
        let epoch = epochs.into_iter().flatten().max();
        let first = voters.into_iter().map(|voter| Reverse(voter.node)).max();
        ((epoch, first), slots)
    });
    let ranked = join_all(ranked).await.into_iter();
    let newest = ranked.max_by(|(one, _), (other, _)| one.cmp(other));
    newest.map(|(_, slots)| slots).unwrap_or_default()
}

/// Asks a node for the highest configuration epoch of a primary with slots.
async fn epoch(connection: &Connection) -> Option<u64> {
    let words: [&[u8]; 2] = [b"CLUSTER", b"NODES"];
    let reply = connection.ask(Access::Read, Expect::Any, None, &words);
    let text = ownership::text(reply.await.ok()?)?;
    highest_epoch(&text)
}

/// Returns the highest epoch in a reply to `CLUSTER NODES`, whose lines are
/// `id address flags primary ping pong epoch link slot…`.
fn highest_epoch(nodes: &str) -> Option<u64> {
    let epochs = nodes.lines().filter_map(|line| {
        let words: Vec<_> = line.split(' ').collect();
        let [_, _, flags, _, _, _, epoch, _, _, ..] = words.as_slice() else {
            return None;
        };
        let is_primary = flags.split(',').any(|flag| flag == "master");
        is_primary.then(|| epoch.parse().ok()).flatten()
    });
    epochs.max()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_epoch_counts_only_primaries_with_slots() {
        let nodes = "a 127.0.0.1:1@2 myself,master - 0 0 3 connected 0-8191\n\
            b 127.0.0.1:2@3 master,fail - 0 0 5 connected 8192-16383\n\
            c 127.0.0.1:3@4 master - 0 0 9 connected\n\
            d 127.0.0.1:4@5 slave b 0 0 8 connected\n";
        assert_eq!(highest_epoch(nodes), Some(5));
        assert_eq!(highest_epoch("nonsense"), None);
    }
}
