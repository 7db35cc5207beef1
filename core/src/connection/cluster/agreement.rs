//! The slot map on which most nodes agree.
//!
//! All nodes are asked at once: a node that was partitioned or removed from the cluster may still claim its slots.

use super::slot_map::SlotMap;
use crate::cause::Cause;
use crate::connection::commands::{Access, Commands, Expect};
use crate::connection::handle::Connection;
use crate::connection::text::text;
use crate::connection::vote::{TIMEOUT, Vote, Voter, collect, largest_groups};
use crate::error::Error;
use crate::options::{Address, NatMap, Node};
use crate::server::Server;
use futures_util::future::join_all;
use std::cmp::Reverse;
use tokio::time::timeout;

/// A node's slot map, and the connection to the node.
type View = (SlotMap, Connection);

/// Returns the slot map on which most nodes agree. `server` is the name of the cluster in errors.
pub(super) async fn slot_map(
    nodes: Vec<(Node, Connection)>,
    nat_map: NatMap,
    server: Server,
) -> Result<SlotMap, Error> {
    let unknown = |cause: Cause| Error::Unreachable {
        server: server.clone(),
        cause,
    };
    let ask = |(node, connection)| view(node, connection, &nat_map, &unknown);
    let queries = nodes.into_iter().map(ask);
    let views = collect(queries, unknown("no node replied".into())).await?;
    let agree = |one: &View, other: &View| one.0.has_same_primaries(&other.0);
    let mut groups = largest_groups(views, agree);
    let group = match groups.len() {
        1 => groups.pop(),
        _ => newest(groups).await,
    };
    // Nodes learn of replicas gradually.
    let slot_maps = group.into_iter().flatten().map(|vote| vote.choice.0);
    let fullest = slot_maps.max_by_key(SlotMap::replica_count);
    Ok(fullest.unwrap_or_default())
}

/// Asks a node for its slot map.
async fn view(
    node: Node,
    connection: Connection,
    nat_map: &NatMap,
    unknown: impl Fn(Cause) -> Error,
) -> Result<Vote<View>, Error> {
    let mut commands = Commands::default();
    commands.add(Access::Read, Expect::Array, None, &[b"CLUSTER", b"SLOTS"]);
    commands.add(Access::Read, Expect::Any, None, &[b"CLUSTER", b"MYID"]);
    let mut replies = connection.query(commands).await.into_iter();
    let slots = replies.next().unwrap_or(Err(Error::Abandoned))?;
    // An ACL may forbid it.
    let id = replies.next().and_then(Result::ok);
    let id = id.as_ref().and_then(text).map(str::to_owned);
    let view = SlotMap::parse(&slots, &node, nat_map).filter(|view| !view.is_empty());
    match view {
        Some(view) => Ok(Vote {
            voter: Voter { node, id },
            choice: (view, connection),
        }),
        None => Err(unknown(
            Cause::new(format!("{node} reports no slots")).at(&Address::Tcp(node)),
        )),
    }
}

/// Returns the group with the highest configuration epoch: in a failover, the new primary gets a higher epoch than any
/// before. If no epoch is known, the choice is arbitrary but stable.
async fn newest(groups: Vec<Vec<Vote<View>>>) -> Option<Vec<Vote<View>>> {
    let ranked = groups.into_iter().map(|group| async move {
        let epochs = join_all(group.iter().map(|vote| epoch(&vote.choice.1)));
        let epochs = timeout(TIMEOUT, epochs).await.unwrap_or_default();
        let epoch = epochs.into_iter().flatten().max();
        let first = group
            .iter()
            .map(|vote| Reverse(vote.voter.node.clone()))
            .max();
        ((epoch, first), group)
    });
    let ranked = join_all(ranked).await.into_iter();
    let newest = ranked.max_by(|(one, _), (other, _)| one.cmp(other));
    newest.map(|(_, group)| group)
}

/// Asks a node for the highest configuration epoch of a primary with slots.
async fn epoch(connection: &Connection) -> Option<u64> {
    let words: [&[u8]; 2] = [b"CLUSTER", b"NODES"];
    let reply = connection.query_one(Access::Read, Expect::Any, None, &words);
    highest_epoch(text(&reply.await.ok()?)?)
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
