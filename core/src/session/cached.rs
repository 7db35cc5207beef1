//! Session operations and the cache: lookups, fills, and the invalidation by own writes.

use super::expiry::{Clock, NEVER, Remaining, in_force, machine_now};
use super::replies::remaining_of;
use super::request::{Bulk, Operation, Request, SessionRequest};
use super::sessions::Sessions;
use crate::cache::{Entry, PendingWrite, Stats, Ticket};
use crate::connection::{Reply, clock};
use redis::Value;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::time;

/// This close to its end, a session's expiry is computed at every read: the cookie's own expiry may pass
/// slightly earlier.
const NEAR_END_MS: u64 = 5000;

/// The longest text that is cached: the event loop converts every hit into a string.
const MAX_CACHED_BYTES: usize = 256 * 1024 * 1024;

/// The effect of a request on the cache, recorded when the request is issued.
#[derive(Debug, Default)]
pub(super) enum CacheIntent {
    #[default]
    None,
    Read(Ticket),
    Write(PendingWrite),
}

/// A batch of requests that was issued.
#[derive(Debug)]
pub struct Issued {
    pub(super) intents: Vec<CacheIntent>,
    pub(super) at: time::Instant,
}

/// A session found in the cache.
#[derive(Debug)]
pub struct CacheHit {
    entry: Arc<Entry>,
    /// The expiry in force, if the text has another; in milliseconds since 1970.
    pub in_force: Option<u64>,
    /// The end of the key; [`NEVER`] for a key without an expiry.
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

    /// Records requests in the cache when they are issued, in their order, so that no lookup returns a session
    /// that is about to be overwritten.
    pub fn issue(&self, requests: &[Request], bytes: &[u8]) -> Issued {
        Issued {
            intents: self.intents(requests, bytes),
            at: clock::now(),
        }
    }

    fn intents(&self, requests: &[Request], bytes: &[u8]) -> Vec<CacheIntent> {
        let Some(cache) = self.connection().cache() else {
            return Vec::new();
        };
        let intent = |request: &Request| match request {
            Request::Session(SessionRequest { operation, id, .. }) => match operation {
                Operation::Get(_) => CacheIntent::Read(cache.ticket()),
                Operation::Write(_) => {
                    CacheIntent::Write(cache.write(&self.keys.key(&bytes[id.clone()])))
                }
            },
            Request::Bulk {
                bulk: Bulk::Clear, ..
            } => {
                cache.clear("clear was called");
                CacheIntent::None
            }
            _ => CacheIntent::None,
        };
        requests.iter().map(intent).collect()
    }

    /// Drops all cached sessions and in-flight reads after a `clear`.
    pub(super) fn note_clear(&self) {
        self.connection().single_flight().close_all();
        if let Some(cache) = self.connection().cache() {
            cache.clear("clear was called");
        }
    }

    /// Returns the cached session under `id`, if it is fresh. `key` is a buffer for the key; `date` is the time by
    /// JavaScript's clock.
    pub fn cached(&self, id: &[u8], key: &mut Vec<u8>, date: f64) -> Option<CacheHit> {
        let cache = self.connection().cache()?;
        self.keys.key_into(id, key);
        let (entry, now) = cache.look_up(key)?;
        let clock = Clock::at(now.wall, date);
        Some(CacheHit {
            in_force: expiry_in_force(&entry, now.wall, clock),
            ends: entry.ends.map_or(NEVER, |ends| clock.of(ends).min(NEVER)),
            entry,
        })
    }

    /// Caches the result of a read whose commands were sent at `since`.
    pub(super) fn fill_cache(
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
        // An empty text is no session, and a longer one approaches the length limit of JavaScript strings.
        if text.is_empty() || text.len() > MAX_CACHED_BYTES {
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
            // Its end is unknown, or has passed.
            Remaining::Unknown => return,
        };
        let entry = Entry {
            text: text.as_slice().into(),
            ends,
            until,
            in_force: in_force(text, remaining, clock.of(now)),
            clock,
        };
        cache.fill(ticket, key, entry);
    }

    pub fn cache_stats(&self) -> Option<Stats> {
        self.connection().cache().map(|cache| cache.stats())
    }
}

/// Returns the expiry that replaces the one in the text. `now` is by the machine's clock, as are the entry's times.
fn expiry_in_force(entry: &Entry, now: u64, clock: Clock) -> Option<u64> {
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

    fn expiry_in_force(entry: &Entry, now: u64) -> Option<u64> {
        super::expiry_in_force(entry, now, Clock::default())
    }

    #[test]
    fn an_expiry_that_passes_while_the_session_is_cached_is_corrected() {
        let end = NOON + 30_040;
        let cached = entry("2026-01-31T12:00:30.000Z", Some(end));
        assert_eq!(expiry_in_force(&cached, NOON), None, "within the tolerance");
        assert_eq!(expiry_in_force(&cached, NOON + 29_999), None);
        assert_eq!(expiry_in_force(&cached, NOON + 30_000), Some(end));
    }

    #[test]
    fn an_expiry_moved_by_a_touch_is_read_from_the_key() {
        let end = NOON + 60_000;
        let cached = entry("2026-01-31T12:00:30.000Z", Some(end));
        for later in [0, 40_000, 59_999] {
            assert_eq!(expiry_in_force(&cached, NOON + later), Some(end));
        }
    }

    #[test]
    fn a_session_without_an_end_gets_a_new_expiry_at_each_read() {
        let cached = entry("2026-01-31T12:00:30.000Z", None);
        assert_eq!(expiry_in_force(&cached, NOON), None);
        for now in [NOON + 30_000, NOON + 90_000] {
            assert_eq!(expiry_in_force(&cached, now), Some(now + 60_000));
        }
    }
}
