//! Scans of sessions, page by page.
//!
//! The work for a page is bounded and does not depend on the number of sessions: a few `SCAN`s, and the commands for
//! one chunk of keys. Each page is requested, which applies backpressure: a slow reader does not accumulate pages.

use super::completion::{Completion, CompletionSink};
use super::expiry::{Clock, ReportEnd, Timestamp};
use super::key_scan::KeyScan;
use super::keys::Keys;
use super::meter::Meter;
use super::replies::remaining_of;
use super::reply_guard::ReplyGuard;
use super::request::{Name, RequestId, ScanId};
use super::scans::{Found, OpenScan, Page, ScanKind, ScanState, Scans};
use super::sessions::Sessions;
use super::strings::Strings;
use crate::connection::{Access, Commands, Expect, Origin, Reply, clock};
use crate::error::Error;
use crate::worker::{self, LONG};
use redis::Value;
use std::collections::VecDeque;
use std::mem;
use std::sync::Arc;

/// The number of sessions that are read at once.
const CHUNK_KEYS: usize = 128;

impl Sessions {
    /// Opens a scan of the sessions whose IDs match `ids`, a glob.
    pub fn open_scan(&self, kind: ScanKind, ids: &str, count: Option<u32>) -> ScanId {
        let state = ScanState {
            scan: KeyScan::new(
                self.connection(),
                &self.keys,
                ids.as_bytes(),
                count.unwrap_or(self.scan_count),
            ),
            found: match kind {
                ScanKind::Ids => Found::Ids(Strings::default()),
                ScanKind::All | ScanKind::Scan => Found::Keys(VecDeque::new()),
            },
            ready: None,
            _in_flight: match kind {
                ScanKind::Scan => None,
                ScanKind::Ids | ScanKind::All => self.in_flight.begin(),
            },
        };
        self.scans.begin(OpenScan {
            kind,
            since: clock::now(),
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
        (request, is_traced): (RequestId, bool),
        clock: Clock,
        sink: Arc<A>,
        mut meter: Meter,
    ) {
        let Some(open) = self.scans.get(scan) else {
            // The scan has ended already.
            let guard = ReplyGuard::one(&sink, request, Name::Scan, is_traced, meter);
            guard.finish(Completion::Done, Origin::default());
            return;
        };
        let kind = open.kind;
        if kind != ScanKind::Scan {
            meter.since = open.since;
        }
        let guard = ReplyGuard::one(&sink, request, kind.name(), is_traced, meter);
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
        guard.finish(page.last, page.origin);
        // A `scan` may be abandoned: its next page is read only when it is requested.
        if has_more && kind != ScanKind::Scan {
            state.ready = Some(self.prepare(kind, clock, &mut state).await);
        }
    }

    async fn prepare(&self, kind: ScanKind, clock: Clock, state: &mut ScanState) -> Page {
        let page = self.fill(kind, clock, state).await;
        let (items, last) = page.unwrap_or_else(|error| {
            let last = Completion::Failed(kind.name().as_str(), error);
            (Vec::new(), last)
        });
        let origin = state.scan.take_origin();
        Page {
            items,
            last,
            origin,
        }
    }

    async fn fill(
        &self,
        kind: ScanKind,
        clock: Clock,
        state: &mut ScanState,
    ) -> Result<(Vec<Completion>, Completion), Error> {
        let enough = match kind {
            ScanKind::Ids => 1,
            ScanKind::All | ScanKind::Scan => CHUNK_KEYS,
        };
        state.find(enough).await?;
        let items = match &mut state.found {
            Found::Ids(ids) => vec![Completion::Ids(mem::take(ids))],
            Found::Keys(keys) => {
                let found = keys.drain(..CHUNK_KEYS.min(keys.len())).collect();
                let report_end = match kind {
                    ScanKind::Scan => ReportEnd::Always,
                    ScanKind::Ids | ScanKind::All => ReportEnd::IfChanged,
                };
                let keys = Arc::clone(&state.scan.keys);
                let origin = state.scan.origin_mut();
                self.read(&keys, found, report_end, clock, origin).await?
            }
        };
        let is_last = state.found.len() == 0 && state.scan.is_at_end();
        let last = if is_last {
            Completion::Done
        } else {
            Completion::More
        };
        Ok((items, last))
    }

    /// Reads the sessions under the keys that were found. Sessions that no longer exist are omitted.
    async fn read(
        &self,
        keys: &Arc<Keys>,
        found: Vec<Vec<u8>>,
        report_end: ReportEnd,
        clock: Clock,
        origin: &mut Origin,
    ) -> Result<Vec<Completion>, Error> {
        let mut commands = Commands::default();
        for key in &found {
            commands.add(Access::Read, Expect::Text, Some(1), &[b"GET", key]);
            commands.add(Access::Read, Expect::Integer, Some(1), &[b"PTTL", key]);
        }
        let (replies, served) = self.connection().query_with_origin(commands).await;
        origin.join(served);
        let bytes = |reply: &Reply| match reply {
            Ok(Value::BulkString(text)) => text.len(),
            _ => 0,
        };
        let is_long = replies.iter().map(bytes).sum::<usize>() > LONG;
        let keys = Arc::clone(keys);
        let now = clock.now();
        let items = move || items(&keys, found, replies, report_end, now);
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
    report_end: ReportEnd,
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
        let ends = report_end.of(&text, left, now);
        items.push(Completion::Id(keys.strip(key)));
        items.push(Completion::Item(text, ends));
    }
    Ok(items)
}
