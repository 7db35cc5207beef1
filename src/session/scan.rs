//! All keys under a prefix, by `SCAN`: step by step, one node after the other.

use super::eager::begun;
use super::seen::Seen;
use super::{Keys, Sessions, unexpected};
use crate::connection::{Access, Connection, Expect, Reply};
use crate::error::Error;
use redis::Value;
use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

/// A `SCAN` from its begin to its end.
#[derive(Debug)]
pub(super) struct Scan {
    pub(super) keys: Arc<Keys>,
    pattern: Vec<u8>,
    count: u32,
    connection: Connection,
    round: Round,
    cursor: Vec<u8>,
    ahead: Option<Ahead>,
    seen: Seen,
}

/// Nodes are walked one after the other. Keys that moved meanwhile, as when a cluster is given another
/// node, may be where the walk has been: then it goes round once more.
#[derive(Debug)]
enum Round {
    /// Which nodes there are is to be asked. What was the version, and how often it changed.
    Due {
        before: Option<u64>,
        changes: u32,
    },
    /// The nodes that are still to be walked; the first is begun.
    Begun {
        nodes: VecDeque<Connection>,
        version: u64,
        changes: u32,
    },
    Ended,
}

const START: &[u8] = b"0";
/// After so many rounds, a cluster that is still changing is left to itself.
const MOST_ROUNDS: u32 = 5;

impl Scan {
    pub(super) fn is_at_end(&self) -> bool {
        matches!(self.round, Round::Ended)
    }

    /// The node to ask next; none at the end.
    async fn node(&mut self) -> Result<Option<Connection>, Error> {
        loop {
            match &mut self.round {
                Round::Ended => return Ok(None),
                Round::Begun { nodes, .. } if !nodes.is_empty() => {
                    return Ok(nodes.front().cloned());
                }
                Round::Begun {
                    version, changes, ..
                } => {
                    self.round = Round::Due {
                        before: Some(*version),
                        changes: *changes,
                    };
                }
                Round::Due { before, changes } => {
                    let (before, changes) = (*before, *changes);
                    let primaries = self.connection.primaries().await?;
                    let is_over = before == Some(primaries.version) || changes == MOST_ROUNDS;
                    self.round = if is_over {
                        Round::Ended
                    } else {
                        Round::Begun {
                            nodes: primaries.nodes.into(),
                            version: primaries.version,
                            changes: changes + 1,
                        }
                    };
                }
            }
        }
    }

    /// One `SCAN`: the keys under the prefix that it found, which another may have found before.
    pub(super) async fn next(&mut self) -> Result<Vec<Vec<u8>>, Error> {
        let Some(connection) = self.node().await? else {
            return Ok(Vec::new());
        };
        let reply = match self.ahead.take() {
            Some(Ahead(reply)) => reply.await?,
            None => self.ask(&connection).await?,
        };
        let misfit = |value: &Value| unexpected(connection.server(), value);
        let Value::Array(parts) = reply else {
            return Err(misfit(&reply));
        };
        let Ok([Value::BulkString(next), Value::Array(keys)]) = <[Value; 2]>::try_from(parts)
        else {
            return Err(misfit(&Value::Array(Vec::new())));
        };
        if next == START
            && let Round::Begun { nodes, .. } = &mut self.round
        {
            nodes.pop_front();
        }
        self.cursor = next;
        // Known at once whether this was the last.
        if let Some(connection) = self.node().await? {
            self.ahead = Ahead::begin(self.ask(&connection));
            // Lets it get into the socket before we go to work.
            tokio::task::yield_now().await;
        }
        let ours = keys.into_iter().filter_map(|key| match key {
            Value::BulkString(key) if self.keys.id(&key).is_some() => Some(key),
            _ => None,
        });
        Ok(ours.collect())
    }

    fn ask(&self, connection: &Connection) -> impl Future<Output = Reply> + Send + use<> {
        let connection = connection.clone();
        let (cursor, pattern) = (self.cursor.clone(), self.pattern.clone());
        let count = self.count.to_string();
        async move {
            let words: [&[u8]; 6] = [
                b"SCAN",
                &cursor,
                b"MATCH",
                &pattern,
                b"COUNT",
                count.as_bytes(),
            ];
            connection
                .ask(Access::Read, Expect::Array, None, &words)
                .await
        }
    }

    /// The same without the keys that it gave before.
    pub(super) async fn next_new(&mut self) -> Result<Vec<Vec<u8>>, Error> {
        let mut keys = self.next().await?;
        self.seen.retain_new(&mut keys);
        Ok(keys)
    }

    /// How many keys `next_new` has given.
    pub(super) fn seen(&self) -> usize {
        self.seen.len()
    }
}

/// A `SCAN` that was sent already: Redis works at it while we work at the reply before.
struct Ahead(Pin<Box<dyn Future<Output = Reply> + Send>>);

impl Ahead {
    /// Sends it. `None` if it failed at once, which the next attempt will tell.
    fn begin(reply: impl Future<Output = Reply> + Send + 'static) -> Option<Self> {
        begun(reply).map(|reply| Self(reply))
    }
}

impl fmt::Debug for Ahead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ahead")
    }
}

impl Sessions {
    /// A scan of the sessions whose ids match a glob.
    pub(super) fn scan(&self, ids: &[u8], count: u32) -> Scan {
        Scan {
            pattern: self.keys.pattern(ids),
            keys: Arc::clone(&self.keys),
            count,
            connection: self.connection().clone(),
            round: Round::Due {
                before: None,
                changes: 0,
            },
            cursor: START.to_vec(),
            ahead: None,
            seen: Seen::default(),
        }
    }
}
