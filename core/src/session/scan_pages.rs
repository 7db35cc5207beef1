//! Listings of sessions, page by page.
//!
//! A page takes bounded steps, whatever the number of sessions: a few `SCAN`s, and the commands on a chunk of
//! keys. The next is begun when it is asked for: who reads slowly is not overrun.

use super::expiry::{Clock, TellEnd, Timestamp};
use super::in_flight_batch::remaining_of;
use super::key_scan::KeyScan;
use super::reply_guard::ReplyGuard;
use super::strings::Strings;
use super::{Completion, CompletionSink, Keys, RequestId, Sessions, UnderWay};
use crate::connection::{Access, Commands, Expect, Reply};
use crate::error::Error;
use crate::worker::{self, LONG};
use redis::Value;
use std::collections::{HashMap, VecDeque};
use std::mem;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Sessions whose values are on their way at a time.
const CHUNK_KEYS: usize = 128;
/// `SCAN`s for one page: where few of the keys are sessions, a page ends before it is full.
const PAGE_SCANS: usize = 64;

/// Names a listing among those under way.
pub type ScanId = u32;

/// What a listing gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScanKind {
    Ids,
    /// Sessions, with their ends where their texts say otherwise.
    All,
    /// Sessions, with their ends.
    Scan,
}

impl ScanKind {
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
pub struct Scans {
    last: AtomicU32,
    open: Mutex<HashMap<ScanId, Arc<OpenScan>>>,
}

impl Scans {
    fn lock(&self) -> MutexGuard<'_, HashMap<ScanId, Arc<OpenScan>>> {
        // A poisoned lock still holds a usable map: each change is one step.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, walk: OpenScan) -> ScanId {
        let number = self.last.fetch_add(1, Ordering::Relaxed);
        self.lock().insert(number, Arc::new(walk));
        number
    }

    fn get(&self, walk: ScanId) -> Option<Arc<OpenScan>> {
        self.lock().get(&walk).map(Arc::clone)
    }

    /// Forgets a listing that nobody will ask for.
    pub fn close(&self, walk: ScanId) {
        self.lock().remove(&walk);
    }
}

#[derive(Debug)]
struct OpenScan {
    listing: ScanKind,
    walk: tokio::sync::Mutex<Walk>,
}

/// Where a listing stands.
#[derive(Debug)]
struct Walk {
    scan: KeyScan,
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
    Ids(Strings),
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
    items: Vec<Completion>,
    last: Completion,
}

impl Sessions {
    /// Begins a listing of the sessions whose ids match a glob.
    pub fn list(&self, listing: ScanKind, ids: &str, count: Option<u32>) -> ScanId {
        let walk = Walk {
            scan: self.scan(ids.as_bytes(), count.unwrap_or(self.scan_count)),
            found: match listing {
                ScanKind::Ids => Found::Ids(Strings::default()),
                ScanKind::All | ScanKind::Scan => Found::Keys(VecDeque::new()),
            },
            ready: None,
            _under_way: match listing {
                ScanKind::Scan => None,
                ScanKind::Ids | ScanKind::All => self.begin(),
            },
        };
        self.walks.begin(OpenScan {
            listing,
            walk: tokio::sync::Mutex::new(walk),
        })
    }

    pub fn walks(&self) -> Arc<Scans> {
        Arc::clone(&self.walks)
    }

    /// Gives the next page of a listing.
    pub(super) async fn page<A: CompletionSink>(
        self,
        walk: ScanId,
        request: RequestId,
        clock: Clock,
        answers: Arc<A>,
    ) {
        let Some(open) = self.walks.get(walk) else {
            // It is asked for again only by mistake, once it has ended.
            ReplyGuard::one(&answers, request, "scan").finish(Completion::Done);
            return;
        };
        let listing = open.listing;
        let unanswered = ReplyGuard::one(&answers, request, listing.name());
        let mut position = open.walk.lock().await;
        let page = match position.ready.take() {
            Some(page) => page,
            None => self.prepare(listing, clock, &mut position).await,
        };
        let goes_on = matches!(page.last, Completion::More);
        if !goes_on {
            self.walks.close(walk);
        }
        let items = page.items.into_iter().map(|item| (request, item));
        unanswered.continue_with(items.collect());
        unanswered.finish(page.last);
        // A scan may be left half-way: there, what nobody has asked for yet is not fetched.
        if goes_on && listing != ScanKind::Scan {
            position.ready = Some(self.prepare(listing, clock, &mut position).await);
        }
    }

    async fn prepare(&self, listing: ScanKind, clock: Clock, walk: &mut Walk) -> Page {
        self.fill(listing, clock, walk)
            .await
            .unwrap_or_else(|error| Page {
                items: Vec::new(),
                last: Completion::Failed(listing.name(), error),
            })
    }

    async fn fill(&self, listing: ScanKind, clock: Clock, walk: &mut Walk) -> Result<Page, Error> {
        let enough = match listing {
            ScanKind::Ids => 1,
            ScanKind::All | ScanKind::Scan => CHUNK_KEYS,
        };
        walk.find(enough).await?;
        let items = match &mut walk.found {
            Found::Ids(ids) => vec![Completion::Ids(mem::take(ids))],
            Found::Keys(keys) => {
                let found = keys.drain(..CHUNK_KEYS.min(keys.len())).collect();
                let tell_end = match listing {
                    ScanKind::Scan => TellEnd::Always,
                    ScanKind::Ids | ScanKind::All => TellEnd::WhereOther,
                };
                self.read(&walk.scan.keys, found, tell_end, clock).await?
            }
        };
        let is_last = walk.found.len() == 0 && walk.scan.is_at_end();
        let last = if is_last {
            Completion::Done
        } else {
            Completion::More
        };
        Ok(Page { items, last })
    }

    /// Those of the sessions that were found which are still there.
    async fn read(
        &self,
        keys: &Arc<Keys>,
        found: Vec<Vec<u8>>,
        tell_end: TellEnd,
        clock: Clock,
    ) -> Result<Vec<Completion>, Error> {
        let mut commands = Commands::default();
        for key in &found {
            commands.add(Access::Read, Expect::Text, Some(1), &[b"GET", key]);
            commands.add(Access::Read, Expect::Integer, Some(1), &[b"PTTL", key]);
        }
        let replies = self.connection().query(commands).await;
        let bytes = |reply: &Reply| match reply {
            Ok(Value::BulkString(text)) => text.len(),
            _ => 0,
        };
        let is_long = replies.iter().map(bytes).sum::<usize>() > LONG;
        let keys = Arc::clone(keys);
        let now = clock.now();
        let items = move || items(&keys, found, replies, tell_end, now);
        if is_long {
            return worker::compute(items)
                .await
                .unwrap_or(Err(Error::Abandoned));
        }
        items()
    }
}

/// The answers that the replies make.
fn items(
    keys: &Keys,
    found: Vec<Vec<u8>>,
    replies: Vec<Reply>,
    tell_end: TellEnd,
    now: Timestamp,
) -> Result<Vec<Completion>, Error> {
    let mut replies = replies.into_iter();
    let mut items = Vec::with_capacity(2 * found.len());
    for key in found {
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
        items.push(Completion::Id(keys.strip(key)));
        items.push(Completion::Item(text, ends));
    }
    Ok(items)
}

impl Walk {
    /// Scans until there is enough, or no more to be found, or time for something else.
    async fn find(&mut self, enough: usize) -> Result<(), Error> {
        for _ in 0..PAGE_SCANS {
            if self.found.len() >= enough || self.scan.is_at_end() {
                break;
            }
            let keys = self.scan.next_new().await?;
            self.found.add(keys, &self.scan.keys);
        }
        Ok(())
    }
}
