//! When a stored session really ends.
//!
//! `touch` moves the lifetime of the key and leaves the text alone, so the expiry in the text is that of
//! the last save. The key's own time to live tells which one is in force.

use serde::Deserialize;
use std::borrow::Cow;
use std::time::{SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970.
pub(super) type Timestamp = u64;

/// The end of what has none: no date that JavaScript can name comes later.
pub(super) const NEVER: Timestamp = (1 << 53) - 1;

/// The last moment that JavaScript's `Date` can hold.
const LATEST: Timestamp = 8_640_000_000_000_000;

/// A difference that is none, in milliseconds: what a save takes from JavaScript to Redis, and a `PTTL` back. By so much
/// the key ends later than the text says, never earlier. Measured with Redis on the same machine: at most 4 ms with one
/// request in flight, 6 ms with 128 and 12 ms with 1,024; 7 ms with 128 and Redis 1 ms away. The rest is for machines
/// that are busy. Where it takes longer still, the expiry in force is put in, which is right all the same and costs a
/// record more. A touch that comes 100 ms after a save, as in express-session's own tests, is always seen.
const TOLERANCE: u64 = 90;

/// How far the clock of JavaScript may seem to be from the machine's that is the same: both are read one after the
/// other, in whole milliseconds.
const CLOCK_JITTER: i64 = 10;

pub(super) fn machine_now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as Timestamp)
}

/// The clock of JavaScript, `Date.now()`, by which an app's expiries are made. Tests set it to whatever they like, so
/// it is known by its distance to the clock of the machine when JavaScript last told the time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Clock {
    offset: i64,
}

impl Clock {
    /// The clock that says `now` at this moment.
    pub fn saying(now: f64) -> Self {
        Self::at(machine_now(), now)
    }

    /// The clock that says `now` when the machine's says `machine`.
    pub(super) fn at(machine: Timestamp, now: f64) -> Self {
        // A clock that was replaced by something else than a clock: NaN is 0, and casts saturate.
        let offset = (now as i64).saturating_sub_unsigned(machine);
        let is_same = !now.is_finite() || offset.unsigned_abs() <= CLOCK_JITTER.unsigned_abs();
        Self {
            offset: if is_same { 0 } else { offset },
        }
    }

    pub(crate) fn now(self) -> Timestamp {
        self.of(machine_now())
    }

    /// What it says when the machine's clock says `machine`.
    pub(super) fn of(self, machine: Timestamp) -> Timestamp {
        machine.saturating_add_signed(self.offset)
    }

    /// Returns true if the times of one are those of the other.
    pub(super) fn agrees_with(self, other: Self) -> bool {
        self.offset.abs_diff(other.offset) <= CLOCK_JITTER.unsigned_abs()
    }
}

/// The time to live of a key, as `PTTL` gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Remaining {
    Milliseconds(u64),
    Endless,
    /// There is no such key, or no answer that says.
    Unknown,
}

impl Remaining {
    pub(super) fn from_pttl(reply: i64) -> Self {
        match reply {
            -1 => Self::Endless,
            left => u64::try_from(left).map_or(Self::Unknown, Self::Milliseconds),
        }
    }

    /// When a key ends that has this left at `now`; [`None`] if nobody knows.
    pub(super) fn end(self, now: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Milliseconds(left) => Some(now.saturating_add(left).min(NEVER)),
            Self::Endless => Some(NEVER),
            Self::Unknown => None,
        }
    }
}

/// Of which sessions it is told when they end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TellEnd {
    /// Of those whose text, which is JSON, says otherwise.
    WhereOther,
    /// Of all, whatever their text is.
    Always,
}

impl TellEnd {
    /// What is told of a session whose key has this left at `now`.
    pub(super) fn of(self, text: &[u8], left: Remaining, now: Timestamp) -> Option<Timestamp> {
        match self {
            Self::WhereOther => in_force(text, left, now),
            Self::Always => left.end(now),
        }
    }
}

/// As express-session writes it or, in milliseconds since 1970, as others do.
#[derive(Deserialize)]
#[serde(untagged)]
enum Expires<'text> {
    Text(#[serde(borrow)] Cow<'text, str>),
    Number(f64),
}

impl Expires<'_> {
    /// `None` if it is no date that can be read.
    fn at(&self) -> Option<Timestamp> {
        match self {
            Self::Text(text) => parse_iso(text),
            Self::Number(number) => (*number >= 0.0).then_some(*number as Timestamp),
        }
    }
}

/// What a stored cookie says of its end; express-session's names.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Cookie<'text> {
    #[serde(borrow, default)]
    expires: Option<Expires<'text>>,
    #[serde(default)]
    original_max_age: Option<f64>,
}

impl Cookie<'_> {
    /// JavaScript takes 0 and an empty text for none, too.
    fn expires(&self) -> Option<&Expires<'_>> {
        let expires = self.expires.as_ref()?;
        let is_none = match expires {
            Expires::Text(text) => text.is_empty(),
            Expires::Number(number) => *number == 0.0,
        };
        (!is_none).then_some(expires)
    }
}

/// The expiry in force for a session stored as JSON, where the text says another: to be put in the place
/// of `cookie.expires`. [`None`] if the text is right, has no expiry, or is nothing that can be read.
pub(super) fn in_force(text: &[u8], remaining: Remaining, now: Timestamp) -> Option<Timestamp> {
    let is_right = |stored: Timestamp, end| stored > now && stored.abs_diff(end) <= TOLERANCE;
    match remaining {
        Remaining::Unknown => None,
        Remaining::Milliseconds(_) => {
            let end = remaining.end(now).filter(|end| *end <= LATEST)?;
            // Nearly always so, and seen without a parser.
            if usual_expires(text).is_some_and(|stored| is_right(stored, end)) {
                return None;
            }
            let cookie = cookie(text)?;
            let expires = cookie.expires()?;
            let is_right = expires.at().is_some_and(|stored| is_right(stored, end));
            (!is_right).then_some(end)
        }
        // Alive without an end, and in use: its cookie's time begins anew.
        Remaining::Endless => {
            let cookie = cookie(text)?;
            let stored = cookie.expires()?.at()?;
            let max_age = cookie.original_max_age.filter(|max_age| *max_age > 0.0)?;
            let end = now.saturating_add(max_age as u64);
            (stored <= now && end <= LATEST).then_some(end)
        }
    }
}

/// The expiry of a cookie that begins as express-session writes most of them.
fn usual_expires(text: &[u8]) -> Option<Timestamp> {
    let rest = text.strip_prefix(br#"{"cookie":{"originalMaxAge":"#)?;
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let rest = rest[digits..].strip_prefix(br#","expires":""#)?;
    let (date, rest) = rest.split_first_chunk::<24>()?;
    parse_iso_bytes(date).filter(|_| rest.first() == Some(&b'"'))
}

fn cookie(text: &[u8]) -> Option<Cookie<'_>> {
    const FIRST: &[u8] = br#"{"cookie":"#;
    // The cookie comes first in what express-session stores: the rest need not be read.
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

/// A date as `Date.prototype.toJSON` writes it: `2026-01-31T23:59:59.999Z`. Others, such as those of
/// years beyond 9999 or before 1970, are not read.
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

/// Days from 1970-01-01 to a day of the Gregorian calendar, from 1970 on.
fn days(year: u64, month: u64, day: u64) -> u64 {
    // Years that begin in March have their leap day at the end.
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
    fn dates_are_read_as_javascript_writes_them() {
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
    fn a_clock_keeps_its_distance_to_that_of_the_machine() {
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
    fn an_expiry_that_touch_has_moved_is_put_right() {
        let text = session(r#""2026-01-31T12:00:30.000Z""#);
        let at = |left| in_force(&text, Remaining::Milliseconds(left), NOON);
        assert_eq!(at(30_000), None);
        assert_eq!(at(30_090), None, "on its way");
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
    fn a_usual_cookie_is_read_without_a_parser() {
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
    fn a_session_without_an_end_in_redis_has_none_in_the_past() {
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
    fn the_cookie_is_found_wherever_it_stands() {
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
    fn an_expiry_may_be_a_number() {
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
    fn what_pttl_says() {
        assert_eq!(Remaining::from_pttl(5), Remaining::Milliseconds(5));
        assert_eq!(Remaining::from_pttl(-1), Remaining::Endless);
        assert_eq!(Remaining::from_pttl(-2), Remaining::Unknown);
        assert_eq!(Remaining::Endless.end(NOON), Some(NEVER));
        assert_eq!(Remaining::Milliseconds(u64::MAX).end(NOON), Some(NEVER));
    }
}
