//! Sessions that are kept near: what may be answered from the cache, and what goes into it.

use super::expiry::{Clock, NEVER, Remaining, in_force, machine_now};
use super::in_flight_batch::remaining_of;
use super::{Bulk, Operation, Request, SessionRequest, Sessions};
use crate::cache::{Entry, PendingWrite, Stats, Ticket};
use crate::connection::Reply;
use redis::Value;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// So near to its end, a session's expiry is worked out whenever it is read: the cookie's own may pass
/// a moment before.
const NEAR_END_MS: u64 = 5000;

/// The event loop makes a string of a hit.
const LONGEST_KEPT: usize = 256 * 1024 * 1024;

/// What a request is for the cache, from the moment it is issued.
#[derive(Debug, Default)]
pub enum CacheIntent {
    #[default]
    None,
    Read(Ticket),
    Write(PendingWrite),
}

/// A session that was kept.
#[derive(Debug)]
pub struct CacheHit {
    entry: Arc<Entry>,
    /// When it ends where its text says otherwise, in milliseconds since 1970.
    pub shown: Option<u64>,
    /// When it ends in any case.
    pub ends: u64,
}

impl CacheHit {
    pub fn text(&self) -> &[u8] {
        &self.entry.text
    }
}

impl Sessions {
    pub fn has_cache(&self) -> bool {
        self.connection().cache().is_some()
    }

    /// Takes note of requests at the moment they are issued, in their order: nobody reads from the cache
    /// what is about to be overwritten.
    pub fn issue(&self, requests: &[Request], bytes: &[u8]) -> Vec<CacheIntent> {
        let Some(cache) = self.connection().cache() else {
            return Vec::new();
        };
        let mark = |request: &Request| match request {
            Request::Session(SessionRequest { operation, id, .. }) => match operation {
                Operation::Get(_) => CacheIntent::Read(cache.ticket()),
                Operation::Write(_) => {
                    CacheIntent::Write(cache.write(&self.keys.key(&bytes[id.clone()])))
                }
            },
            Request::Bulk(_, Bulk::Clear) => {
                cache.clear();
                CacheIntent::None
            }
            _ => CacheIntent::None,
        };
        requests.iter().map(mark).collect()
    }

    /// All sessions were written.
    pub(super) fn note_clear(&self) {
        self.connection().flights().close_all();
        if let Some(cache) = self.connection().cache() {
            cache.clear();
        }
    }

    /// The session under an id, if it is kept and may be given out. `key` is room for its key, `date` what JavaScript's
    /// clock says.
    pub fn kept(&self, id: &[u8], key: &mut Vec<u8>, date: f64) -> Option<CacheHit> {
        let cache = self.connection().cache()?;
        self.keys.key_into(id, key);
        let (entry, now) = cache.look_up(key)?;
        let clock = Clock::at(now.wall, date);
        Some(CacheHit {
            shown: shown(&entry, now.wall, clock),
            ends: entry.ends.map_or(NEVER, |ends| clock.of(ends).min(NEVER)),
            entry,
        })
    }

    /// Keeps what a read gave whose commands were sent at `since`.
    pub(super) fn keep(
        &self,
        ticket: Ticket,
        key: &[u8],
        text: &Reply,
        left: &Reply,
        since: Instant,
        clock: Clock,
    ) {
        let (Some(cache), Ok(Value::BulkString(text))) = (self.connection().cache(), text) else {
            return;
        };
        // An empty text is no session, and one beyond this is on its way to what fits into no string.
        if text.is_empty() || text.len() > LONGEST_KEPT {
            return;
        }
        let remaining = remaining_of(left.clone());
        let now = machine_now();
        let (ends, until) = match remaining {
            Remaining::Milliseconds(left) => {
                let until = since.checked_add(Duration::from_millis(left));
                (Some(now.saturating_add(left).min(NEVER)), until)
            }
            Remaining::Endless => (None, None),
            // When it ends is not known, or it has ended.
            Remaining::Unknown => return,
        };
        let entry = Entry {
            text: text.as_slice().into(),
            ends,
            until,
            in_force: in_force(text, remaining, clock.of(now)),
            clock,
        };
        cache.keep(ticket, key, entry);
    }

    pub fn cache_stats(&self) -> Option<Stats> {
        self.connection().cache().map(|cache| cache.stats())
    }
}

/// `now` is by the clock of the machine, as what is kept is.
fn shown(entry: &Entry, now: u64, clock: Clock) -> Option<u64> {
    let remaining = match entry.ends {
        Some(ends) if ends.saturating_sub(now) > NEAR_END_MS && clock.agrees_with(entry.clock) => {
            return entry.in_force;
        }
        Some(ends) => Remaining::Milliseconds(ends.saturating_sub(now)),
        None => Remaining::Endless,
    };
    in_force(&entry.text, remaining, clock.of(now))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: u64 = 1_769_860_800_000; // 2026-01-31T12:00:00.000Z

    fn entry(expires: &str, ends: Option<u64>) -> Entry {
        let text = format!(r#"{{"cookie":{{"originalMaxAge":60000,"expires":"{expires}"}}}}"#);
        let remaining = ends.map_or(Remaining::Endless, |ends| {
            Remaining::Milliseconds(ends - NOON)
        });
        Entry {
            in_force: in_force(text.as_bytes(), remaining, NOON),
            text: text.into_bytes().into(),
            ends,
            until: None,
            clock: Clock::default(),
        }
    }

    fn shown(entry: &Entry, now: u64) -> Option<u64> {
        super::shown(entry, now, Clock::default())
    }

    #[test]
    fn an_expiry_that_is_passed_while_the_session_is_kept_is_put_right() {
        let end = NOON + 30_040;
        let kept = entry("2026-01-31T12:00:30.000Z", Some(end));
        assert_eq!(shown(&kept, NOON), None, "as good as right");
        assert_eq!(shown(&kept, NOON + 29_999), None);
        assert_eq!(shown(&kept, NOON + 30_000), Some(end));
    }

    #[test]
    fn an_expiry_that_a_touch_has_moved_is_that_of_the_key() {
        let end = NOON + 60_000;
        let kept = entry("2026-01-31T12:00:30.000Z", Some(end));
        for later in [0, 40_000, 59_999] {
            assert_eq!(shown(&kept, NOON + later), Some(end));
        }
    }

    #[test]
    fn a_session_without_an_end_begins_anew_at_each_read() {
        let kept = entry("2026-01-31T12:00:30.000Z", None);
        assert_eq!(shown(&kept, NOON), None);
        for now in [NOON + 30_000, NOON + 90_000] {
            assert_eq!(shown(&kept, now), Some(now + 60_000));
        }
    }
}
