//! The operations that walk all keys under a prefix.
//!
//! A walk takes bounded steps, whatever the number of sessions: one `SCAN`, or the commands on a chunk of
//! keys. Listings are given page by page, and the next page is begun when it is asked for: who reads slowly
//! is not overrun.

use super::eager::begun;
use super::expiry::{TellEnd, now};
use super::seen::Seen;
use super::sent::remaining_of;
use super::texts::Texts;
use super::unanswered::Unanswered;
use super::{Answer, Answers, Bulk, Keys, RequestId, Sessions, UnderWay, unexpected};
use crate::connection::{Access, Commands, Connection, Expect, Reply};
use crate::error::Error;
use redis::Value;
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::future::Future;
use std::iter::once;
use std::mem;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Sessions whose values are on their way at a time.
const CHUNK_KEYS: usize = 128;
/// Keys in a command, where it may have several: little enough for Redis to be soon at others' commands.
const UNLINKED_AT_ONCE: usize = 64;
/// Keys whose commands to unlink them are on their way at a time.
const UNLINKED_IN_A_STEP: usize = 4096;
/// `SCAN`s for one page: where few of the keys are sessions, a page ends before it is full.
const PAGE_SCANS: usize = 64;

/// Names a listing among those under way.
pub(crate) type WalkId = u32;

/// What a listing gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Listing {
    Ids,
    /// Sessions, with their ends where their texts say otherwise.
    All,
    /// Sessions, with their ends.
    Scan,
}

impl Listing {
    fn name(self) -> &'static str {
        match self {
            Self::Ids => "ids",
            Self::All => "all",
            Self::Scan => "scan",
        }
    }
}

/// The listings of one store that are not at their end.
#[derive(Debug, Default)]
pub(crate) struct Walks {
    last: AtomicU32,
    open: Mutex<HashMap<WalkId, Arc<tokio::sync::Mutex<Walk>>>>,
}

impl Walks {
    fn lock(&self) -> MutexGuard<'_, HashMap<WalkId, Arc<tokio::sync::Mutex<Walk>>>> {
        // A poisoned lock still holds a usable map: each change is one step.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets a listing that nobody will ask for.
    pub(crate) fn close(&self, walk: WalkId) {
        self.lock().remove(&walk);
    }
}

/// Where a listing stands.
#[derive(Debug)]
struct Walk {
    listing: Listing,
    steps: Steps,
    /// Found, but not given yet.
    found: Found,
    /// The next page, made while JavaScript works at the last one.
    ready: Option<Page>,
    /// Closing waits for what gives all; a scan may be left half-way.
    _under_way: UnderWay,
}

/// What a walk has found: where ids are all that is wanted, no keys are kept.
#[derive(Debug)]
enum Found {
    Ids(Texts),
    Keys(VecDeque<Vec<u8>>),
}

impl Found {
    fn len(&self) -> usize {
        match self {
            Self::Ids(ids) => ids.len(),
            Self::Keys(keys) => keys.len(),
        }
    }

    fn add(&mut self, keys: Vec<Vec<u8>>, names: &Keys) {
        match self {
            Self::Ids(ids) => {
                for key in &keys {
                    ids.push(names.id(key).unwrap_or(key));
                }
            }
            Self::Keys(found) => found.extend(keys),
        }
    }
}

/// The answers of a page before the last, and the last.
#[derive(Debug)]
struct Page {
    items: Vec<Answer>,
    last: Answer,
}

/// A `SCAN` that was sent already: Redis works at it while we work at the reply before.
struct Ahead(Pin<Box<dyn Future<Output = Reply> + Send>>);

impl Ahead {
    /// Sends it. None if it failed at once, which the next attempt will tell.
    fn begin(reply: impl Future<Output = Reply> + Send + 'static) -> Option<Self> {
        begun(reply).map(|reply| Self(reply))
    }
}

impl fmt::Debug for Ahead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ahead")
    }
}

/// A `SCAN` from its begin to its end.
#[derive(Debug)]
struct Steps {
    keys: Arc<Keys>,
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

impl Steps {
    fn is_at_end(&self) -> bool {
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

    /// One `SCAN`: the keys under the prefix that it found.
    async fn next(&mut self) -> Result<Vec<Vec<u8>>, Error> {
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
    async fn next_new(&mut self) -> Result<Vec<Vec<u8>>, Error> {
        let mut keys = self.next().await?;
        self.seen.retain_new(&mut keys);
        Ok(keys)
    }

    fn id(&self, key: Vec<u8>) -> Answer {
        Answer::Id(self.keys.strip(key))
    }
}

impl Sessions {
    /// Answers a request about all sessions.
    pub(super) async fn walk<A: Answers>(self, bulk: Bulk, unanswered: Unanswered<A>) {
        let mut steps = self.steps(Vec::from(b"*"), self.scan_count);
        let result = match bulk {
            Bulk::Length => count(&mut steps).await,
            Bulk::Clear => {
                let result = self.unlink(&mut steps).await;
                // What the server tells of the last of them may be still to come.
                self.note_clear();
                result
            }
        };
        unanswered.finish(result.unwrap_or_else(|error| Answer::Failed(bulk.name(), error)));
    }

    fn steps(&self, ids: Vec<u8>, count: u32) -> Steps {
        Steps {
            pattern: self.keys.pattern(&ids),
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

    /// One command on each key, all at once.
    async fn each(
        &self,
        keys: &[Vec<u8>],
        mut add: impl FnMut(&mut Commands, &[u8]),
    ) -> Vec<Reply> {
        let mut commands = Commands::default();
        for key in keys {
            add(&mut commands, key);
        }
        self.connection().query(commands).await
    }

    async fn unlink(&self, steps: &mut Steps) -> Result<Answer, Error> {
        let mut at_once = if self.connection().takes_many_keys() {
            UNLINKED_AT_ONCE
        } else {
            1
        };
        while !steps.is_at_end() {
            let found = steps.next().await?;
            for keys in found.chunks(UNLINKED_IN_A_STEP) {
                let result = self.unlink_each(keys, at_once).await;
                // A single node of a cluster has slots, too, and a proxy may take one key at a time.
                if at_once > 1 && matches!(result, Err(Error::Reply { .. })) {
                    at_once = 1;
                    self.unlink_each(keys, at_once).await?;
                } else {
                    result?;
                }
            }
        }
        Ok(Answer::Done)
    }

    /// Unlinks keys, so many by one command.
    async fn unlink_each(&self, keys: &[Vec<u8>], at_once: usize) -> Result<(), Error> {
        let mut commands = Commands::default();
        for keys in keys.chunks(at_once) {
            let keys = keys.iter().map(Vec::as_slice);
            let words: Vec<&[u8]> = once(&b"UNLINK"[..]).chain(keys).collect();
            commands.add(Access::Write, Expect::Integer, Some(1), &words);
        }
        let replies = self.connection().query(commands).await;
        replies.into_iter().try_for_each(|reply| reply.map(drop))
    }

    /// Begins a listing of the sessions whose ids match a glob.
    pub(crate) fn list(&self, listing: Listing, ids: &str, count: Option<u32>) -> WalkId {
        let steps = self.steps(ids.as_bytes().to_vec(), count.unwrap_or(self.scan_count));
        let walk = Walk {
            listing,
            steps,
            found: match listing {
                Listing::Ids => Found::Ids(Texts::default()),
                Listing::All | Listing::Scan => Found::Keys(VecDeque::new()),
            },
            ready: None,
            _under_way: match listing {
                Listing::Scan => None,
                Listing::Ids | Listing::All => self.begin(),
            },
        };
        let number = self.walks.last.fetch_add(1, Ordering::Relaxed);
        let walk = Arc::new(tokio::sync::Mutex::new(walk));
        self.walks.lock().insert(number, walk);
        number
    }

    pub(crate) fn walks(&self) -> Arc<Walks> {
        Arc::clone(&self.walks)
    }

    /// Gives the next page of a listing.
    pub(super) async fn page<A: Answers>(self, walk: WalkId, request: RequestId, answers: Arc<A>) {
        let open = self.walks.lock().get(&walk).map(Arc::clone);
        let Some(open) = open else {
            // It is asked for again only by mistake, once it has ended.
            Unanswered::one(&answers, request, "scan").finish(Answer::Done);
            return;
        };
        let mut position = open.lock().await;
        let name = position.listing.name();
        let unanswered = Unanswered::one(&answers, request, name);
        let page = match position.ready.take() {
            Some(page) => page,
            None => self.prepare(&mut position).await,
        };
        let goes_on = matches!(page.last, Answer::More);
        if !goes_on {
            self.walks.close(walk);
        }
        let items = page.items.into_iter().map(|item| (request, item));
        unanswered.continue_with(items.collect());
        unanswered.finish(page.last);
        // A scan may be left half-way: there, what nobody has asked for yet is not fetched.
        if goes_on && position.listing != Listing::Scan {
            position.ready = Some(self.prepare(&mut position).await);
        }
    }

    async fn prepare(&self, walk: &mut Walk) -> Page {
        self.fill(walk).await.unwrap_or_else(|error| Page {
            items: Vec::new(),
            last: Answer::Failed(walk.listing.name(), error),
        })
    }

    async fn fill(&self, walk: &mut Walk) -> Result<Page, Error> {
        let enough = match walk.listing {
            Listing::Ids => 1,
            Listing::All | Listing::Scan => CHUNK_KEYS,
        };
        walk.find(enough).await?;
        let items = match &mut walk.found {
            Found::Ids(ids) => vec![Answer::Ids(mem::take(ids))],
            Found::Keys(keys) => {
                let keys = keys.drain(..CHUNK_KEYS.min(keys.len())).collect();
                self.read(walk, keys).await?
            }
        };
        let is_last = walk.found.len() == 0 && walk.steps.is_at_end();
        let last = if is_last { Answer::Done } else { Answer::More };
        Ok(Page { items, last })
    }

    async fn read(&self, walk: &mut Walk, keys: Vec<Vec<u8>>) -> Result<Vec<Answer>, Error> {
        let replies = self.each(&keys, |commands, key| {
            commands.add(Access::Read, Expect::Text, Some(1), &[b"GET", key]);
            commands.add(Access::Read, Expect::Integer, Some(1), &[b"PTTL", key]);
        });
        let mut replies = replies.await.into_iter();
        let now = now();
        let tell_end = match walk.listing {
            Listing::Scan => TellEnd::Always,
            Listing::Ids | Listing::All => TellEnd::WhereOther,
        };
        let mut items = Vec::with_capacity(2 * keys.len());
        for key in keys {
            let (text, left) = (replies.next(), replies.next());
            let text = match text {
                Some(Ok(Value::BulkString(text))) => text,
                // Gone since it was found.
                Some(Ok(_)) => continue,
                // Not a string, so no session of ours.
                Some(Err(Error::Reply { reply, .. })) if reply == "WRONGTYPE" => continue,
                Some(Err(error)) => return Err(error),
                None => return Err(Error::Abandoned),
            };
            let left = remaining_of(left.unwrap_or(Err(Error::Abandoned)));
            let ends = tell_end.of(&text, left, now);
            items.push(walk.steps.id(key));
            items.push(Answer::Item(text, ends));
        }
        Ok(items)
    }
}

impl Walk {
    /// Scans until there is enough, or no more to be found, or time for something else.
    async fn find(&mut self, enough: usize) -> Result<(), Error> {
        for _ in 0..PAGE_SCANS {
            if self.found.len() >= enough || self.steps.is_at_end() {
                break;
            }
            let keys = self.steps.next_new().await?;
            self.found.add(keys, &self.steps.keys);
        }
        Ok(())
    }
}

async fn count(steps: &mut Steps) -> Result<Answer, Error> {
    while !steps.is_at_end() {
        steps.next_new().await?;
    }
    Ok(Answer::Count(steps.seen.len() as u64))
}
