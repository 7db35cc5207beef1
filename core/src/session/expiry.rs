//! The expiry in force of a stored session.
//!
//! `touch` renews the lifetime of the key and leaves the text unchanged, so the expiry in the text is that of the
//! last save. The time to live of the key determines the one in force.

use serde::Deserialize;
use std::borrow::Cow;
use std::time::{SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970.
pub(super) type Timestamp = u64;

/// The end of a key without an expiry: later than every JavaScript date.
pub(super) const NEVER: Timestamp = (1 << 53) - 1;

/// The latest time that JavaScript's `Date` represents.
const LATEST: Timestamp = 8_640_000_000_000_000;

/// The tolerated difference between the expiry in the text and the end of the key, in milliseconds. A key ends later
/// than its text says by the time that the save takes from JavaScript to Redis and the `PTTL` takes back; it never ends
/// earlier. Measured with Redis on the same machine: at most 4 ms with one request in flight, 6 ms with 128 and 12 ms
/// with 1,024; 7 ms with 128 and Redis 1 ms away. The rest is a reserve for busy machines. If the difference is larger,
/// the expiry in force replaces the one in the text, which is still correct and costs an additional record. A touch 100
/// ms after a save, as in express-session's own tests, is always detected.
const TOLERANCE: u64 = 90;

/// The largest measured difference, in milliseconds, between JavaScript's clock and the machine's if they are the same
/// clock: the two are read one after the other, in whole milliseconds.
const CLOCK_JITTER: i64 = 10;

/// Returns the time by the machine's clock.
pub(super) fn machine_now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as Timestamp)
}

/// JavaScript's clock, `Date.now()`, which an app's expiries are computed from. Tests replace it with fake clocks, so
/// it is stored as its offset from the machine's clock at the last call from JavaScript.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Clock {
    offset: i64,
}

impl Clock {
    /// Creates the clock that shows `now` at present.
    pub fn showing(now: f64) -> Self {
        Self::at(machine_now(), now)
    }

    /// Creates the clock that shows `now` when the machine's clock shows `machine`.
    pub(super) fn at(machine: Timestamp, now: f64) -> Self {
        // A fake clock may return anything. A cast turns NaN into 0, and saturates.
        let offset = (now as i64).saturating_sub_unsigned(machine);
        let is_same = !now.is_finite() || offset.unsigned_abs() <= CLOCK_JITTER.unsigned_abs();
        Self {
            offset: if is_same { 0 } else { offset },
        }
    }

    pub(crate) fn now(self) -> Timestamp {
        self.of(machine_now())
    }

    /// Returns the time that it shows when the machine's clock shows `machine`.
    pub(super) fn of(self, machine: Timestamp) -> Timestamp {
        machine.saturating_add_signed(self.offset)
    }

    /// Returns true if both clocks show the same time.
    pub(super) fn agrees_with(self, other: Self) -> bool {
        self.offset.abs_diff(other.offset) <= CLOCK_JITTER.unsigned_abs()
    }
}

/// The time to live of a key, as `PTTL` returns it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Remaining {
    Milliseconds(u64),
    Endless,
    /// The key does not exist, or its time to live could not be read.
    Unknown,
}

impl Remaining {
    pub(super) fn from_pttl(reply: i64) -> Self {
        match reply {
            -1 => Self::Endless,
            left => u64::try_from(left).map_or(Self::Unknown, Self::Milliseconds),
        }
    }

    /// Returns the end of a key with this time to live at `now`; [`None`] if it is unknown.
    pub(super) fn end(self, now: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Milliseconds(left) => Some(now.saturating_add(left).min(NEVER)),
            Self::Endless => Some(NEVER),
            Self::Unknown => None,
        }
    }
}

/// Selects the sessions whose end is reported along with their text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReportEnd {
    /// Sessions whose text, which is JSON, has another expiry.
    IfChanged,
    /// All sessions. Their text need not be JSON.
    Always,
}

impl ReportEnd {
    /// Returns the end to report for a session whose key has the time to live `left` at `now`.
    pub(super) fn of(self, text: &[u8], left: Remaining, now: Timestamp) -> Option<Timestamp> {
        match self {
            Self::IfChanged => in_force(text, left, now),
            Self::Always => left.end(now),
        }
    }
}

/// An expiry as express-session writes it, or in milliseconds since 1970, as other writers do.
#[derive(Deserialize)]
#[serde(untagged)]
enum Expires<'text> {
    Text(#[serde(borrow)] Cow<'text, str>),
    Number(f64),
}

impl Expires<'_> {
    /// Parses the expiry; `None` if it is no valid date.
    fn at(&self) -> Option<Timestamp> {
        match self {
            Self::Text(text) => parse_iso(text),
            Self::Number(number) => (*number >= 0.0).then_some(*number as Timestamp),
        }
    }
}

/// The expiry of a stored cookie, by express-session's names.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Cookie<'text> {
    #[serde(borrow, default)]
    expires: Option<Expires<'text>>,
    #[serde(default)]
    original_max_age: Option<f64>,
}

impl Cookie<'_> {
    /// Returns the expiry, if there is one. JavaScript treats 0 and an empty text as none.
    fn expires(&self) -> Option<&Expires<'_>> {
        let expires = self.expires.as_ref()?;
        let is_none = match expires {
            Expires::Text(text) => text.is_empty(),
            Expires::Number(number) => *number == 0.0,
        };
        (!is_none).then_some(expires)
    }
}

/// Returns the expiry in force of a session stored as JSON, if the text has another; it replaces `cookie.expires`.
/// Returns [`None`] if the expiry in the text is correct, is missing, or cannot be parsed.
pub(super) fn in_force(text: &[u8], remaining: Remaining, now: Timestamp) -> Option<Timestamp> {
    let is_right = |stored: Timestamp, end| stored > now && stored.abs_diff(end) <= TOLERANCE;
    match remaining {
        Remaining::Unknown => None,
        Remaining::Milliseconds(_) => {
            let end = remaining.end(now).filter(|end| *end <= LATEST)?;
            // The usual case, found without a JSON parser.
            if usual_expires(text).is_some_and(|stored| is_right(stored, end)) {
                return None;
            }
            let cookie = cookie(text)?;
            let expires = cookie.expires()?;
            let is_right = expires.at().is_some_and(|stored| is_right(stored, end));
            (!is_right).then_some(end)
        }
        // The key has no expiry and the session is in use: the lifetime of its cookie starts again.
        Remaining::Endless => {
            let cookie = cookie(text)?;
            let stored = cookie.expires()?.at()?;
            let max_age = cookie.original_max_age.filter(|max_age| *max_age > 0.0)?;
            let end = now.saturating_add(max_age as u64);
            (stored <= now && end <= LATEST).then_some(end)
        }
    }
}

/// Returns the expiry of a cookie that starts the way express-session usually writes it.
fn usual_expires(text: &[u8]) -> Option<Timestamp> {
    let rest = text.strip_prefix(br#"{"cookie":{"originalMaxAge":"#)?;
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let rest = rest[digits..].strip_prefix(br#","expires":""#)?;
    let (date, rest) = rest.split_first_chunk::<24>()?;
    parse_iso_bytes(date).filter(|_| rest.first() == Some(&b'"'))
}

fn cookie(text: &[u8]) -> Option<Cookie<'_>> {
    const FIRST: &[u8] = br#"{"cookie":"#;
    // express-session stores the cookie first: the rest need not be parsed.
    if let Some(rest) = text.strip_prefix(FIRST) {
        let mut reader = serde_json::Deserializer::from_slice(rest);
        return Cookie::deserialize(&mut reader).ok();
    }
    #[derive(Deserialize)]
    struct Session<'text> {
        #[serde(borrow)]
        cookie: Option<Cookie<'text>>,
    }
    serde_json::from_slice::<Session<'_>>(text).ok()?.cookie
}

/// Parses a date in the format of `Date.prototype.toJSON`: `2026-01-31T23:59:59.999Z`. Other dates, such as those of
/// years after 9999 or before 1970, are not parsed.
fn parse_iso(text: &str) -> Option<Timestamp> {
    parse_iso_bytes(text.as_bytes().try_into().ok()?)
}

fn parse_iso_bytes(bytes: &[u8; 24]) -> Option<Timestamp> {
    for (at, expected) in [
        (4, b'-'),
        (7, b'-'),
        (10, b'T'),
        (13, b':'),
        (16, b':'),
        (19, b'.'),
        (23, b'Z'),
    ] {
        if bytes[at] != expected {
            return None;
        }
    }
    let number = |from: usize, to: usize| {
        bytes[from..to].iter().try_fold(0u64, |number, byte| {
            byte.is_ascii_digit()
                .then(|| number * 10 + u64::from(byte - b'0'))
        })
    };
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let millisecond = number(20, 23)?;
    if year < 1970
        || !(1..=12).contains(&month)
        || !(1..=31).contains(&day)
        || hour > 23
        || minute > 59
        || second > 59
    {
        return None;
    }
    let seconds = ((days(year, month, day) * 24 + hour) * 60 + minute) * 60 + second;
    Some(seconds * 1000 + millisecond)
}

/// Returns the days from 1970-01-01 to a later day of the Gregorian calendar.
fn days(year: u64, month: u64, day: u64) -> u64 {
    // In years that start in March, the leap day is the last day.
    let (year, month) = if month <= 2 {
        (year - 1, month + 9)
    } else {
        (year, month - 3)
    };
    let of_year = (153 * month + 2) / 5 + day - 1;
    // 719,468 days lie between 0000-03-01 and 1970-01-01.
    year * 365 + year / 4 - year / 100 + year / 400 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: Timestamp = 1_769_860_800_000; // 2026-01-31T12:00:00.000Z

    fn session(expires: &str) -> Vec<u8> {
        format!(
            r#"{{"cookie":{{"originalMaxAge":60000,"expires":{expires},"httpOnly":true,"path":"/"}},"user":"ann"}}"#
        )
        .into_bytes()
    }

    #[test]
    fn dates_are_parsed_in_javascripts_format() {
        for (text, expected) in [
            ("1970-01-01T00:00:00.000Z", Some(0)),
            ("2026-01-31T12:00:00.000Z", Some(NOON)),
            ("2000-02-29T23:59:59.999Z", Some(951_868_799_999)),
            ("2100-03-01T00:00:00.000Z", Some(4_107_542_400_000)),
            ("9999-12-31T23:59:59.999Z", Some(253_402_300_799_999)),
            ("1969-12-31T23:59:59.999Z", None),
            ("2026-13-01T00:00:00.000Z", None),
            ("2026-01-31T12:00:00Z", None),
            ("2026-01-31 12:00:00.000Z", None),
            ("+010000-01-01T00:00:00.000Z", None),
            ("", None),
        ] {
            assert_eq!(parse_iso(text), expected, "{text}");
        }
    }

    #[test]
    fn a_clock_keeps_its_offset_from_the_machines_clock() {
        let past = Clock::at(NOON, (NOON - 86_400_000) as f64);
        assert_eq!(past.of(NOON + 5), NOON - 86_400_000 + 5);
        let same = Clock::at(NOON, (NOON - 1) as f64);
        assert_eq!(same, Clock::default());
        assert_eq!(same.of(NOON), NOON);
        assert!(!same.agrees_with(Clock::at(NOON, (NOON + 15) as f64)));
        for nonsense in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(Clock::at(NOON, nonsense).of(NOON), NOON);
        }
        assert_eq!(Clock::at(NOON, -1e300).of(NOON), 0);
    }

    #[test]
    fn an_expiry_moved_by_touch_is_corrected() {
        let text = session(r#""2026-01-31T12:00:30.000Z""#);
        let at = |left| in_force(&text, Remaining::Milliseconds(left), NOON);
        assert_eq!(at(30_000), None);
        assert_eq!(at(30_090), None, "within the tolerance");
        assert_eq!(at(30_091), Some(NOON + 30_091));
        assert_eq!(at(60_000), Some(NOON + 60_000));
        assert_eq!(at(5000), Some(NOON + 5000), "shortened");
        assert_eq!(at(u64::MAX), None, "no Date");
        assert_eq!(in_force(&text, Remaining::Unknown, NOON), None);
        let over = session(r#""2026-01-31T12:00:00.000Z""#);
        let left = Remaining::Milliseconds(1);
        assert_eq!(in_force(&over, left, NOON), Some(NOON + 1), "alive");
    }

    #[test]
    fn a_usual_cookie_is_parsed_without_a_json_parser() {
        let usual = session(r#""2026-01-31T12:00:30.000Z""#);
        assert_eq!(usual_expires(&usual), Some(NOON + 30_000));
        for other in [
            &br#"{"cookie":{"originalMaxAge":null,"expires":"2026-01-31T12:00:30.000Z"}}"#[..],
            br#"{"cookie":{"originalMaxAge":6,"priority":"high","expires":"2026-01-31T12:00:30.000Z"}}"#,
            br#"{"cookie":{"originalMaxAge":6,"expires":"2026-01-31T12:00:30.000Z  "}}"#,
            br#"{"cookie":{"originalMaxAge":6,"expires":"2026-01-31T12:0"#,
            br#"{"cookie":{"originalMaxAge":6,"expires":null}}"#,
        ] {
            assert_eq!(usual_expires(other), None);
        }
    }

    #[test]
    fn a_session_without_an_end_in_redis_never_has_an_expired_cookie() {
        let endless = |expires| in_force(&session(expires), Remaining::Endless, NOON);
        assert_eq!(
            endless(r#""2026-01-31T11:59:59.000Z""#),
            Some(NOON + 60_000)
        );
        assert_eq!(endless(r#""2026-01-31T12:00:01.000Z""#), None);
        let ended = br#"{"cookie":{"originalMaxAge":-1,"expires":"2026-01-31T11:00:00.000Z"}}"#;
        assert_eq!(in_force(ended, Remaining::Endless, NOON), None);
    }

    #[test]
    fn the_cookie_is_found_at_any_position() {
        let end = Some(NOON + 60_000);
        let remaining = Remaining::Milliseconds(60_000);
        for text in [
            &br#"{"user":"ann","cookie":{"expires":"2026-01-31T12:00:30.000Z"}}"#[..],
            br#" { "cookie" : { "expires" : "2026-01-31T12:00:30.000Z" } } "#,
            br#"{"cookie":{"expires":"2026-01-31T12:00:30.000\u005a"},"x":1}"#,
            br#"{"cookie":{"expires":"Sat, 31 Jan 2026 12:00:30 GMT"}}"#,
            br#"{"cookie":{"expires":17}}"#,
            br#"{"cookie":{"originalMaxAge":60000,"expires":1769860830000.5}}"#,
            br#"{"cookie":{"expires":-1}}"#,
        ] {
            assert_eq!(in_force(text, remaining, NOON), end, "{text:?}");
        }
        for text in [
            &br#"{"user":"ann"}"#[..],
            br#"{"cookie":null}"#,
            br#"{"cookie":{"expires":null}}"#,
            br#"{"cookie":{}}"#,
            br#"{"cookie":{"expires":""}}"#,
            br#"{"cookie":{"expires":0}}"#,
            br#"{"cookie":{"expires":true}}"#,
            br#"{"cookie":{"expires":"2026-01-31T12:00:30.000Z"#,
            br#"[1]"#,
            b"not JSON",
            b"\xff",
            b"",
        ] {
            assert_eq!(in_force(text, remaining, NOON), None, "{text:?}");
        }
    }

    #[test]
    fn an_expiry_in_milliseconds_is_parsed() {
        let text = session("1769860830000");
        let at = |left| in_force(&text, Remaining::Milliseconds(left), NOON);
        assert_eq!(at(30_000), None);
        assert_eq!(at(60_000), Some(NOON + 60_000));
        let endless = |expires| in_force(&session(expires), Remaining::Endless, NOON);
        assert_eq!(endless("1769860799999"), Some(NOON + 60_000));
        assert_eq!(endless("1769860800001"), None);
        assert_eq!(endless("0"), None, "no expiry");
    }

    #[test]
    fn replies_to_pttl_are_converted() {
        assert_eq!(Remaining::from_pttl(5), Remaining::Milliseconds(5));
        assert_eq!(Remaining::from_pttl(-1), Remaining::Endless);
        assert_eq!(Remaining::from_pttl(-2), Remaining::Unknown);
        assert_eq!(Remaining::Endless.end(NOON), Some(NEVER));
        assert_eq!(Remaining::Milliseconds(u64::MAX).end(NOON), Some(NEVER));
    }
}
