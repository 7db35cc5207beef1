//! All keys under a prefix, by `SCAN`: step by step, one node after the other.
//!
//! A cursor is valid only for the server process that returned it. So the commands of a walk over a node are
//! [pinned](LinkPin) to one link, and the process's run ID is the same before and after, where the server tells it: a
//! proxy, or the app's client, may reconnect unseen. Otherwise the walk over that node starts over. A walk that cannot
//! be completed fails.

use super::eager::begun;
use super::seen_keys::SeenKeys;
use super::{Keys, Sessions, unexpected};
use crate::connection::{Access, Commands, Connection, Expect, LinkPin, Reply, clock};
use crate::error::Error;
use redis::Value;
use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// A `SCAN` from its begin to its end.
#[derive(Debug)]
pub(super) struct KeyScan {
    pub(super) keys: Arc<Keys>,
    pattern: Vec<u8>,
    count: u32,
    connection: Connection,
    round: Round,
    cursor: Vec<u8>,
    /// The link over which the present node is read.
    pin: LinkPin,
    /// The run ID of the present node's process, if it tells.
    run_id: Option<String>,
    ahead: Option<Ahead>,
    seen: SeenKeys,
    /// How often a walk over a node was interrupted after its first step.
    restarts: u32,
    /// Since when every step has failed.
    failing: Option<Instant>,
}

/// Nodes are walked one after the other. A key that moves meanwhile from node to node, as when a cluster gets another
/// node, may be missed on both: then all nodes are walked once more, which finds each key that moved once at most.
#[derive(Debug)]
enum Round {
    /// The next round begins, unless no key has moved during the last one.
    Due(Option<Pass>),
    /// The nodes that are still to be walked; the first is begun.
    Begun(VecDeque<Connection>, Pass),
    /// A node failed: the nodes that are still to be walked may be others by now.
    Interrupted(Pass),
    Ended,
}

/// SessionRequest walk over all nodes.
#[derive(Debug)]
struct Pass {
    number: u32,
    /// Another one after the pass means that keys may have moved.
    version: u64,
    /// Nodes that were walked to the end.
    done: Vec<Connection>,
}

const START: &[u8] = b"0";
/// Finds each key that moved this many times, less one, during the scan.
const MOST_ROUNDS: u32 = 5;
/// A connection that is lost more often during a scan lets none be completed.
const MOST_RESTARTS: u32 = 10;
/// Before a node of a cluster that failed is tried again.
const RESTART_PAUSE: Duration = Duration::from_millis(100);

impl KeyScan {
    pub(super) fn is_at_end(&self) -> bool {
        matches!(self.round, Round::Ended)
    }

    /// The node to ask next; none at the end.
    async fn node(&mut self) -> Result<Option<Connection>, Error> {
        loop {
            let nodes = match &self.round {
                Round::Ended => return Ok(None),
                Round::Begun(nodes, _) if !nodes.is_empty() => return Ok(nodes.front().cloned()),
                Round::Begun(..) => VecDeque::new(),
                Round::Due(_) | Round::Interrupted(_) => {
                    let primaries = self.connection.primaries().await?;
                    if let Round::Due(last) = &mut self.round {
                        let last = last.take();
                        let is_over = last.as_ref().is_some_and(|last| {
                            last.version == primaries.version || last.number == MOST_ROUNDS
                        });
                        if is_over {
                            self.round = Round::Ended;
                            continue;
                        }
                        self.round = Round::Interrupted(Pass {
                            number: last.map_or(1, |last| last.number + 1),
                            version: primaries.version,
                            done: Vec::new(),
                        });
                    }
                    primaries.nodes.into()
                }
            };
            self.round = match mem::replace(&mut self.round, Round::Ended) {
                Round::Interrupted(pass) => {
                    let is_done =
                        |node: &Connection| pass.done.iter().any(|done| done.is_same(node));
                    let left = nodes.into_iter().filter(|node| !is_done(node));
                    Round::Begun(left.collect(), pass)
                }
                Round::Begun(_, pass) => Round::Due(Some(pass)),
                other => other,
            };
        }
    }

    /// Some `SCAN`s: the keys under the prefix that they found, which another may have found before.
    pub(super) async fn next(&mut self) -> Result<Vec<Vec<u8>>, Error> {
        loop {
            match self.step().await {
                Ok(keys) => {
                    self.failing = None;
                    return Ok(keys);
                }
                Err(error) => self.start_over(error).await?,
            }
        }
    }

    /// Has the walk over the present node start over. Gives the error back if that is of no use.
    async fn start_over(&mut self, error: Error) -> Result<(), Error> {
        if !error.interrupts_scan() {
            return Err(error);
        }
        self.restarts += u32::from(self.cursor != START);
        let since = *self.failing.get_or_insert_with(clock::now);
        if self.restarts > MOST_RESTARTS
            || clock::now() - since >= self.connection.command_timeout()
        {
            return Err(Error::ScanInterrupted {
                server: self.connection.server().to_owned(),
                restarts: self.restarts,
                cause: error.to_string(),
            });
        }
        self.begin_node();
        if self.connection.is_cluster() {
            if !matches!(error, Error::LinkReplaced { .. }) {
                sleep(RESTART_PAUSE).await;
            }
            self.round = match mem::replace(&mut self.round, Round::Ended) {
                Round::Begun(_, pass) => Round::Interrupted(pass),
                other => other,
            };
        }
        Ok(())
    }

    fn begin_node(&mut self) {
        self.ahead = None;
        self.cursor = START.to_vec();
        self.pin = LinkPin::default();
        self.run_id = None;
    }

    /// SessionRequest `SCAN`.
    async fn step(&mut self) -> Result<Vec<Vec<u8>>, Error> {
        let Some(connection) = self.node().await? else {
            return Ok(Vec::new());
        };
        let is_first = self.cursor == START;
        let mut replies = match self.ahead.take() {
            Some(Ahead(replies)) => replies.await,
            None => self.ask(&connection).await,
        };
        let reply = replies.pop().unwrap_or(Err(Error::Abandoned))?;
        if is_first {
            self.run_id = replies.pop().and_then(run_id);
        }
        let misfit = |value: &Value| unexpected(connection.server(), value);
        let Value::Array(parts) = reply else {
            return Err(misfit(&reply));
        };
        let Ok([Value::BulkString(next), Value::Array(keys)]) = <[Value; 2]>::try_from(parts)
        else {
            return Err(misfit(&Value::Array(Vec::new())));
        };
        if next == START {
            // A single reply is of one process.
            if !is_first {
                self.check_process(&connection).await?;
            }
            self.begin_node();
            if let Round::Begun(nodes, pass) = &mut self.round {
                pass.done.extend(nodes.pop_front());
            }
        } else {
            self.cursor = next;
        }
        // Known at once whether this was the last. What fails here is tried again by the next step: these keys must
        // not be lost by it.
        if let Ok(Some(connection)) = self.node().await {
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

    /// Fails if another process answers than at the begin of the walk over this node.
    async fn check_process(&mut self, connection: &Connection) -> Result<(), Error> {
        let Some(before) = &self.run_id else {
            return Ok(());
        };
        let mut question = Commands::of(Access::Read, Expect::Any, None, INFO);
        question.pin_to(&self.pin);
        let reply = connection.query(question).await.pop();
        let reply = reply.unwrap_or(Err(Error::Abandoned));
        if let Err(error) = &reply
            && error.interrupts_scan()
        {
            return Err(error.clone());
        }
        if run_id(reply).is_some_and(|after| after != *before) {
            let server = connection.server().to_owned();
            return Err(Error::LinkReplaced { server });
        }
        Ok(())
    }

    /// Asks for the next keys, and before the first ones for the process. A reply for each command.
    fn ask(&self, connection: &Connection) -> impl Future<Output = Vec<Reply>> + Send + use<> {
        let connection = connection.clone();
        let count = self.count.to_string();
        let mut commands = Commands::default();
        if self.cursor == START {
            commands.add(Access::Read, Expect::Any, None, INFO);
        }
        let words: [&[u8]; 6] = [
            b"SCAN",
            &self.cursor,
            b"MATCH",
            &self.pattern,
            b"COUNT",
            count.as_bytes(),
        ];
        commands.add(Access::Read, Expect::Array, None, &words);
        commands.pin_to(&self.pin);
        async move { connection.query(commands).await }
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

const INFO: &[&[u8]] = &[b"INFO", b"server"];

/// The run ID in a reply to `INFO server`. `None` where it is refused, as an ACL may, or has none.
fn run_id(reply: Reply) -> Option<String> {
    let text = match reply.ok()? {
        Value::BulkString(text) => String::from_utf8(text).ok()?,
        // RESP3.
        Value::VerbatimString { text, .. } => text,
        _ => return None,
    };
    let id = text.lines().find_map(|line| line.strip_prefix("run_id:"))?;
    Some(id.trim().to_owned())
}

/// A `SCAN` that was sent already: Redis works at it while we work at the reply before.
struct Ahead(Pin<Box<dyn Future<Output = Vec<Reply>> + Send>>);

impl Ahead {
    /// Sends it. `None` if it failed at once, which the next attempt will tell.
    fn begin(replies: impl Future<Output = Vec<Reply>> + Send + 'static) -> Option<Self> {
        begun(replies).map(|replies| Self(replies))
    }
}

impl fmt::Debug for Ahead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ahead")
    }
}

impl Sessions {
    /// A scan of the sessions whose ids match a glob.
    pub(super) fn scan(&self, ids: &[u8], count: u32) -> KeyScan {
        KeyScan {
            pattern: self.keys.pattern(ids),
            keys: Arc::clone(&self.keys),
            count,
            connection: self.connection().clone(),
            round: Round::Due(None),
            cursor: START.to_vec(),
            pin: LinkPin::default(),
            run_id: None,
            ahead: None,
            seen: SeenKeys::default(),
            restarts: 0,
            failing: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_run_id_is_read_from_either_protocol() {
        let text = "# Server\r\nredis_version:7.0.15\r\nrun_id:5e1f\r\ntcp_port:6379\r\n";
        assert_eq!(
            run_id(Ok(Value::BulkString(text.into()))).as_deref(),
            Some("5e1f")
        );
        let verbatim = Value::VerbatimString {
            format: redis::VerbatimFormat::Text,
            text: text.into(),
        };
        assert_eq!(run_id(Ok(verbatim)).as_deref(), Some("5e1f"));
        assert_eq!(
            run_id(Ok(Value::BulkString(b"redis_version:1\r\n".to_vec()))),
            None
        );
        assert_eq!(run_id(Err(Error::Closed)), None);
    }
}
