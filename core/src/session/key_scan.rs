//! Iterates over all keys under a prefix by `SCAN`, one node after the other.
//!
//! A cursor is valid only for the server process that returned it. Therefore the commands that scan a node are
//! [pinned](LinkPin) to one link, and the run ID of the process, if the server reports it, is compared before and
//! after: a proxy, or the app's client, may reconnect unnoticed. If the process changed, the scan of that node starts
//! over. A scan that cannot be completed fails.

use super::eager::begun;
use super::keys::Keys;
use super::replies::unexpected;
use super::seen_keys::SeenKeys;
use crate::connection::{
    Access, Commands, Connection, Expect, LinkPin, Origin, Primaries, Reply, clock,
};
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

/// The state of a scan of keys: the nodes left to scan, and the cursor in the current one.
#[derive(Debug)]
pub(super) struct KeyScan {
    pub(super) keys: Arc<Keys>,
    pattern: Vec<u8>,
    count: u32,
    connection: Connection,
    progress: Progress,
    cursor: Vec<u8>,
    /// The link over which the current node is scanned.
    pin: LinkPin,
    /// The run ID of the current node's process, if the server reports it.
    run_id: Option<String>,
    ahead: Option<Ahead>,
    /// The origin of the replies since it was last taken.
    origin: Origin,
    seen: SeenKeys,
    /// The number of times that the scan of a node was interrupted after its first step.
    restarts: u32,
    /// The time since which every step has failed.
    failing: Option<Instant>,
}

/// The progress through the nodes, in passes over all of them. A key that moves from node to node in the meantime, such
/// as when a node is added to a cluster, may be missed on both: then another pass follows, which finds every key that
/// moved at most once.
#[derive(Debug)]
enum Progress {
    /// The next pass begins, unless no key has moved during the last one.
    Due(Option<Pass>),
    /// The nodes left to scan; the scan of the first has begun.
    Begun(VecDeque<Connection>, Pass),
    /// A node failed: the topology may have changed, so the nodes left to scan are determined again.
    Interrupted(Pass),
    Ended,
}

/// One pass over all nodes.
#[derive(Debug)]
struct Pass {
    number: u32,
    /// The version of the topology. If it differs after the pass, keys may have moved.
    version: u64,
    /// The nodes that were scanned completely.
    done: Vec<Connection>,
}

const START: &[u8] = b"0";
/// The maximum number of passes. `n` passes find every key that moved at most `n - 1` times during the scan.
const MAX_PASSES: u32 = 5;
/// The maximum number of restarts: a scan over a link that is lost more often cannot be completed.
const MAX_RESTARTS: u32 = 10;
/// The pause before a failed cluster node is tried again.
const RESTART_PAUSE: Duration = Duration::from_millis(100);

impl KeyScan {
    /// Creates a scan of the keys whose IDs match `ids`, a glob.
    pub(super) fn new(connection: &Connection, keys: &Arc<Keys>, ids: &[u8], count: u32) -> Self {
        Self {
            pattern: keys.pattern(ids),
            keys: Arc::clone(keys),
            count,
            connection: connection.clone(),
            progress: Progress::Due(None),
            cursor: START.to_vec(),
            pin: LinkPin::default(),
            run_id: None,
            ahead: None,
            origin: Origin::default(),
            seen: SeenKeys::default(),
            restarts: 0,
            failing: None,
        }
    }

    pub(super) fn is_at_end(&self) -> bool {
        matches!(self.progress, Progress::Ended)
    }

    /// Returns the node to scan next; `None` at the end.
    async fn node(&mut self) -> Result<Option<Connection>, Error> {
        loop {
            let nodes = match &self.progress {
                Progress::Ended => return Ok(None),
                Progress::Begun(nodes, _) if !nodes.is_empty() => {
                    return Ok(nodes.front().cloned());
                }
                Progress::Begun(..) => VecDeque::new(),
                Progress::Due(_) | Progress::Interrupted(_) => {
                    let primaries = Primaries::of(&self.connection).await?;
                    if let Progress::Due(last) = &mut self.progress {
                        let last = last.take();
                        let is_over = last.as_ref().is_some_and(|last| {
                            last.version == primaries.version || last.number == MAX_PASSES
                        });
                        if is_over {
                            self.progress = Progress::Ended;
                            continue;
                        }
                        self.progress = Progress::Interrupted(Pass {
                            number: last.map_or(1, |last| last.number + 1),
                            version: primaries.version,
                            done: Vec::new(),
                        });
                    }
                    primaries.nodes.into()
                }
            };
            self.progress = match mem::replace(&mut self.progress, Progress::Ended) {
                Progress::Interrupted(pass) => {
                    let is_done =
                        |node: &Connection| pass.done.iter().any(|done| done.is_same(node));
                    let remaining = nodes.into_iter().filter(|node| !is_done(node));
                    Progress::Begun(remaining.collect(), pass)
                }
                Progress::Begun(_, pass) => Progress::Due(Some(pass)),
                other => other,
            };
        }
    }

    /// Returns the keys of the next `SCAN`. They may include keys that were returned before.
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

    /// Starts the scan of the current node over. Returns an error if the scan cannot be completed.
    async fn start_over(&mut self, error: Error) -> Result<(), Error> {
        if !error.interrupts_scan() {
            return Err(error);
        }
        self.restarts += u32::from(self.cursor != START);
        let since = *self.failing.get_or_insert_with(clock::now);
        if self.restarts > MAX_RESTARTS || clock::now() - since >= self.connection.command_timeout()
        {
            return Err(Error::ScanInterrupted {
                server: self.connection.server().clone(),
                restarts: self.restarts,
                cause: error.into(),
            });
        }
        self.begin_node();
        if self.connection.is_cluster() {
            if !matches!(error, Error::LinkReplaced { .. }) {
                sleep(RESTART_PAUSE).await;
            }
            self.progress = match mem::replace(&mut self.progress, Progress::Ended) {
                Progress::Begun(_, pass) => Progress::Interrupted(pass),
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

    /// Runs one `SCAN`.
    async fn step(&mut self) -> Result<Vec<Vec<u8>>, Error> {
        let Some(connection) = self.node().await? else {
            return Ok(Vec::new());
        };
        let is_first = self.cursor == START;
        let (mut replies, origin) = match self.ahead.take() {
            Some(Ahead(replies)) => replies.await,
            None => self.send(&connection).await,
        };
        self.origin.join(origin);
        let reply = replies.pop().unwrap_or(Err(Error::Abandoned))?;
        if is_first {
            self.run_id = replies.pop().and_then(run_id);
        }
        let unexpected_reply = |value: &Value| unexpected(connection.server(), value);
        let Value::Array(parts) = reply else {
            return Err(unexpected_reply(&reply));
        };
        let Ok([Value::BulkString(next), Value::Array(keys)]) = <[Value; 2]>::try_from(parts)
        else {
            return Err(unexpected_reply(&Value::Array(Vec::new())));
        };
        if next == START {
            // A scan with a single reply was answered by one process.
            if !is_first {
                self.check_process(&connection).await?;
            }
            self.begin_node();
            if let Progress::Begun(nodes, pass) = &mut self.progress {
                pass.done.extend(nodes.pop_front());
            }
        } else {
            self.cursor = next;
        }
        // Determines at once whether this was the last reply. An error is ignored, and the next step tries again:
        // failing here would lose these keys.
        if let Ok(Some(connection)) = self.node().await {
            self.ahead = Ahead::begin(self.send(&connection));
            // Lets the command reach the socket before this reply is processed.
            tokio::task::yield_now().await;
        }
        let ours = keys.into_iter().filter_map(|key| match key {
            Value::BulkString(key) if self.keys.id(&key).is_some() => Some(key),
            _ => None,
        });
        Ok(ours.collect())
    }

    /// Fails if the process is another one than at the start of the scan of this node.
    async fn check_process(&mut self, connection: &Connection) -> Result<(), Error> {
        let Some(before) = &self.run_id else {
            return Ok(());
        };
        let mut info = Commands::of(Access::Read, Expect::Any, None, INFO);
        info.pin_to(&self.pin);
        let reply = connection.query(info).await.pop();
        let reply = reply.unwrap_or(Err(Error::Abandoned));
        if let Err(error) = &reply
            && error.interrupts_scan()
        {
            return Err(error.clone());
        }
        if run_id(reply).is_some_and(|after| after != *before) {
            let server = connection.server().clone();
            return Err(Error::LinkReplaced { server });
        }
        Ok(())
    }

    /// Sends the next `SCAN`, and an `INFO` before the first. Resolves with one reply per command.
    fn send(
        &self,
        connection: &Connection,
    ) -> impl Future<Output = (Vec<Reply>, Origin)> + Send + use<> {
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
        async move { connection.query_with_origin(commands).await }
    }

    /// Returns the keys of the next `SCAN` that were not returned before.
    pub(super) async fn next_new(&mut self) -> Result<Vec<Vec<u8>>, Error> {
        let mut keys = self.next().await?;
        self.seen.retain_new(&mut keys);
        Ok(keys)
    }

    pub(super) fn origin_mut(&mut self) -> &mut Origin {
        &mut self.origin
    }

    /// Takes the origin of the replies since the last call.
    pub(super) fn take_origin(&mut self) -> Origin {
        mem::take(&mut self.origin)
    }

    /// Returns the number of keys that `next_new` has returned.
    pub(super) fn seen(&self) -> usize {
        self.seen.len()
    }
}

const INFO: &[&[u8]] = &[b"INFO", b"server"];

/// Returns the run ID in a reply to `INFO server`. `None` if the command was refused, such as by an ACL, or the reply
/// contains none.
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

/// A `SCAN` sent ahead: Redis runs it while the previous reply is processed.
struct Ahead(Pin<Box<dyn Future<Output = (Vec<Reply>, Origin)> + Send>>);

impl Ahead {
    /// Sends the command. Returns `None` if it failed at once; the next attempt then reports the error.
    fn begin(replies: impl Future<Output = (Vec<Reply>, Origin)> + Send + 'static) -> Option<Self> {
        begun(replies).map(|replies| Self(replies))
    }
}

impl fmt::Debug for Ahead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ahead")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_run_id_is_parsed_in_resp2_and_resp3() {
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
