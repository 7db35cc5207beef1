//! The expiry in force, compared with a scan of the whole session by serde_json.

use super::expiry::{Remaining, Timestamp, in_force};
use serde_json::Value;

/// 2026-01-31T12:00:00.000Z
const NOON: Timestamp = 1_769_860_800_000;

/// The first four bytes of the input are the reply to `PTTL`, the rest is the stored text.
pub fn run(input: &[u8]) {
    let Some((pttl, text)) = input.split_first_chunk::<4>() else {
        return;
    };
    let pttl = i32::from_le_bytes(*pttl);
    let remaining = Remaining::from_pttl(pttl.into());
    let found = in_force(text, remaining, NOON);
    if let Ok(session) = serde_json::from_slice::<Value>(text)
        && has_unique_names(text, &session)
        // serde also reads arrays as cookies, which JavaScript ignores.
        && session.is_object()
        && !session.get("cookie").is_some_and(Value::is_array)
    {
        assert_eq!(found, expected(&session, pttl));
    }
}

/// Returns the expiry in force by the definition: that of the key, unless the cookie's differs little.
fn expected(session: &Value, pttl: i32) -> Option<Timestamp> {
    let cookie = session.as_object()?.get("cookie")?.as_object()?;
    let max_age = match cookie.get("originalMaxAge") {
        None | Some(Value::Null) => None,
        Some(age) => Some(age.as_f64()?),
    };
    let stored = match cookie.get("expires")? {
        Value::String(text) if !text.is_empty() => date(text),
        Value::Number(number) => match number.as_f64()? {
            0.0 => return None,
            number if number < 0.0 => None,
            number => Some(number as Timestamp),
        },
        _ => return None,
    };
    match u64::try_from(pttl) {
        Ok(left) => {
            let end = NOON + left;
            let is_right = stored.is_some_and(|stored| stored > NOON && stored.abs_diff(end) <= 90);
            (!is_right).then_some(end)
        }
        Err(_) if pttl == -1 => {
            let end = NOON.saturating_add(max_age.filter(|age| *age > 0.0)? as u64);
            (stored? <= NOON && end <= 8_640_000_000_000_000).then_some(end)
        }
        Err(_) => None,
    }
}

/// Returns true if no object has two members of the same name, which `session` would have lost.
fn has_unique_names(text: &[u8], session: &Value) -> bool {
    fn members(value: &Value) -> usize {
        match value {
            Value::Object(object) => object.len() + object.values().map(members).sum::<usize>(),
            Value::Array(array) => array.iter().map(members).sum(),
            _ => 0,
        }
    }
    let (mut colons, mut is_string, mut is_escaped) = (0, false, false);
    for byte in text {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = true,
            b'"' => is_string = !is_string,
            b':' if !is_string => colons += 1,
            _ => {}
        }
    }
    colons == members(session)
}

/// Parses a date, by counting years and months.
fn date(text: &str) -> Option<Timestamp> {
    let number = |range: std::ops::Range<usize>| text.get(range)?.parse::<u64>().ok();
    let [year, month, day, hour, minute, second, ms] =
        [0..4, 5..7, 8..10, 11..13, 14..16, 17..19, 20..23].map(number);
    let (year, month, day) = (year?, month?, day?);
    let (hour, minute, second, ms) = (hour?, minute?, second?, ms?);
    let canonical =
        format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z");
    if text != canonical
        || year < 1970
        || !(1..=12).contains(&month)
        || !(1..=31).contains(&day)
        || hour > 23
        || minute > 59
        || second > 59
    {
        return None;
    }
    let is_leap = |year: &u64| {
        year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400)
    };
    let leap_days = (1970..year).filter(is_leap).count() as u64;
    let february = 28 + u64::from(is_leap(&year));
    let months = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30];
    let before = months.iter().take(month as usize - 1).sum::<u64>();
    let days = (year - 1970) * 365 + leap_days + before + day - 1;
    Some((((days * 24 + hour) * 60 + minute) * 60 + second) * 1000 + ms)
}
