//! Scans of sessions, page by page.
//!
//! The work for a page is bounded and does not depend on the number of sessions: a few `SCAN`s, and the commands for
//! one chunk of keys. Each page is requested, which applies backpressure: a slow reader does not accumulate pages.

use super::expiry::{Clock, TellEnd, Timestamp};
use super::key_scan::KeyScan;
use super::replies::remaining_of;
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

/// The number of sessions that are read at once.
const CHUNK_KEYS: usize = 128;
/// The maximum number of `SCAN`s for one page. If few of the keys are sessions, a page ends before it is full.
const PAGE_SCANS: usize = 64;

/// Identifies an open scan.
pub type ScanId = u32;

/// The content of a scan's pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScanKind {
    /// Session IDs.
    Ids,
    /// Sessions, with their end if their text has another expiry.
    All,
    /// Sessions with their end.
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

/// The open scans of a store.
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

    fn begin(&self, scan: OpenScan) -> ScanId {
        let number = self.last.fetch_add(1, Ordering::Relaxed);
        self.lock().insert(number, Arc::new(scan));
        number
    }

    fn get(&self, scan: ScanId) -> Option<Arc<OpenScan>> {
        self.lock().get(&scan).map(Arc::clone)
    }

    /// Removes a scan that is complete or abandoned.
    pub fn close(&self, scan: ScanId) {
        self.lock().remove(&scan);
    }
}

#[derive(Debug)]
struct OpenScan {
    kind: ScanKind,
    state: tokio::sync::Mutex<ScanState>,
}

/// The state of a scan between two pages.
#[derive(Debug)]
struct ScanState {
    scan: KeyScan,
    /// Found, but not returned yet.
    found: Found,
    /// The next page, prepared while JavaScript processes the last one.
    ready: Option<Page>,
    /// `close` waits for `ids` and `all`. A `scan` may be abandoned, so `close` does not wait for it.
    _under_way: UnderWay,
}

/// The sessions found: their IDs alone if only IDs are wanted, otherwise their keys.
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

    fn add(&mut self, keys: Vec<Vec<u8>>, prefix: &Keys) {
        match self {
            Self::Ids(ids) => {
                for key in &keys {
                    ids.push(prefix.id(key).unwrap_or(key));
                }
            }
            Self::Keys(found) => found.extend(keys),
        }
    }
}

/// The completions of a page: its items, and the last one.
#[derive(Debug)]
struct Page {
    items: Vec<Completion>,
    last: Completion,
}

impl Sessions {
    /// Opens a scan of the sessions whose IDs match `ids`, a glob.
    pub fn open_scan(&self, kind: ScanKind, ids: &str, count: Option<u32>) -> ScanId {
        let state = ScanState {
            scan: self.scan(ids.as_bytes(), count.unwrap_or(self.scan_count)),
            found: match kind {
                ScanKind::Ids => Found::Ids(Strings::default()),
                ScanKind::All | ScanKind::Scan => Found::Keys(VecDeque::new()),
            },
            ready: None,
            _under_way: match kind {
                ScanKind::Scan => None,
                ScanKind::Ids | ScanKind::All => self.begin(),
            },
        };
        self.scans.begin(OpenScan {
            kind,
            state: tokio::sync::Mutex::new(state),
        })
    }

    pub fn scans(&self) -> Arc<Scans> {
        Arc::clone(&self.scans)
    }

    /// Completes a request with the next page of a scan.
    pub(super) async fn page<A: CompletionSink>(
        self,
        scan: ScanId,
        request: RequestId,
        clock: Clock,
        sink: Arc<A>,
    ) {
        let Some(open) = self.scans.get(scan) else {
            // The scan has ended already.
            ReplyGuard::one(&sink, request, "scan").finish(Completion::Done);
            return;
        };
        let kind = open.kind;
        let guard = ReplyGuard::one(&sink, request, kind.name());
        let mut state = open.state.lock().await;
        let page = match state.ready.take() {
            Some(page) => page,
            None => self.prepare(kind, clock, &mut state).await,
        };
        let has_more = matches!(page.last, Completion::More);
        if !has_more {
            self.scans.close(scan);
        }
        let items = page.items.into_iter().map(|item| (request, item));
        guard.continue_with(items.collect());
        guard.finish(page.last);
        // A `scan` may be abandoned: its next page is read only when it is requested.
        if has_more && kind != ScanKind::Scan {
            state.ready = Some(self.prepare(kind, clock, &mut state).await);
        }
    }

    async fn prepare(&self, kind: ScanKind, clock: Clock, state: &mut ScanState) -> Page {
        self.fill(kind, clock, state)
            .await
            .unwrap_or_else(|error| Page {
                items: Vec::new(),
                last: Completion::Failed(kind.name(), error),
            })
    }

    async fn fill(
        &self,
        kind: ScanKind,
        clock: Clock,
        state: &mut ScanState,
    ) -> Result<Page, Error> {
        let enough = match kind {
            ScanKind::Ids => 1,
            ScanKind::All | ScanKind::Scan => CHUNK_KEYS,
        };
        state.find(enough).await?;
        let items = match &mut state.found {
            Found::Ids(ids) => vec![Completion::Ids(mem::take(ids))],
            Found::Keys(keys) => {
                let found = keys.drain(..CHUNK_KEYS.min(keys.len())).collect();
                let tell_end = match kind {
                    ScanKind::Scan => TellEnd::Always,
                    ScanKind::Ids | ScanKind::All => TellEnd::IfChanged,
                };
                self.read(&state.scan.keys, found, tell_end, clock).await?
            }
        };
        let is_last = state.found.len() == 0 && state.scan.is_at_end();
        let last = if is_last {
            Completion::Done
        } else {
            Completion::More
        };
        Ok(Page { items, last })
    }

    /// Reads the sessions under the keys that were found. Sessions that no longer exist are omitted.
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

/// Converts the replies into completions.
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
            // Deleted since its key was found.
            Some(Ok(_)) => continue,
            // No string, so it is no session.
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

impl ScanState {
    /// Scans until `enough` sessions are found, the scan ends, or the page has taken its maximum number of `SCAN`s.
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
