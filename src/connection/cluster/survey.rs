//! Which slots are whose, as most of the nodes have it.
//!
//! All are asked at once: one that was cut off from the others, or left by them, may still claim its own.

use super::slots::Slots;
use crate::connection::Connection;
use crate::connection::commands::{Access, Expect};
use crate::error::Error;
use crate::options::{NatMap, Node};
use futures_util::stream::{FuturesUnordered, StreamExt};
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// How long the nodes may take.
const LIMIT: Duration = Duration::from_secs(2);
/// What others may take longer than the first.
const GRACE: Duration = Duration::from_millis(50);

/// `server` is the cluster, as errors name it.
pub(super) async fn slots(
    nodes: Vec<(Node, Connection)>,
    nat_map: NatMap,
    server: String,
) -> Result<Slots, Error> {
    let unknown = |cause: String| Error::Unreachable {
        server: server.clone(),
        cause,
    };
    let mut failure = unknown("no node has answered".into());
    let mut asked: FuturesUnordered<_> = nodes
        .into_iter()
        .map(|(node, connection)| async move {
            let words: [&[u8]; 2] = [b"CLUSTER", b"SLOTS"];
            let reply = connection.ask(Access::Read, Expect::Array, None, &words);
            (node, reply.await)
        })
        .collect();
    let mut views = Vec::new();
    let begin = Instant::now();
    let mut deadline = begin + LIMIT;
    while let Ok(Some((node, reply))) = timeout_at(deadline, asked.next()).await {
        let view = match reply {
            Ok(value) => Slots::parse(&value, &node, &nat_map),
            Err(error) => {
                failure = error;
                continue;
            }
        };
        let Some(view) = view.filter(|view| !view.is_empty()) else {
            failure = unknown(format!("{node} knows of no slots"));
            continue;
        };
        if views.is_empty() {
            deadline = deadline.min(Instant::now() + begin.elapsed() + GRACE);
        }
        views.push(view);
    }
    Slots::of_most(views).ok_or(failure)
}
