//! Locates syntax errors in JSON.

use napi_derive::napi;

/// Returns the position of the first syntax error in UTF-16 units, as in JavaScript; `None` if the text is valid JSON.
///
/// V8's own message quotes the text, which is a session; this function returns only the position.
#[napi(catch_unwind)]
pub(crate) fn json_error_position(text: String) -> Option<u32> {
    let error = serde_json::from_str::<serde::de::IgnoredAny>(&text).err()?;
    let end = if error.is_eof() {
        text.len()
    } else {
        // Lines and columns count from 1; the column counts bytes.
        let line_start = text
            .split_inclusive('\n')
            .take(error.line().saturating_sub(1))
            .map(str::len)
            .sum::<usize>();
        // serde_json's position is after the invalid character, except for a control character in a string, before
        // which it stops.
        let behind = usize::from(!error.to_string().starts_with("control character"));
        line_start + error.column().saturating_sub(behind)
    };
    let before = text
        .char_indices()
        .take_while(|(at, _)| *at < end)
        .map(|(_, character)| character.len_utf16())
        .sum::<usize>();
    u32::try_from(before).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_error_position_counts_utf16_units() {
        let position = |text: &str| json_error_position(text.to_owned());
        assert_eq!(position("{}"), None);
        assert_eq!(position("{x"), Some(1));
        assert_eq!(position("{\n\"a\": x}"), Some(7));
        assert_eq!(position("[1,"), Some(3));
        assert_eq!(position("[\"\u{e9}\u{1f600}\",x"), Some(7));
        assert_eq!(position("[\"a\tb\"]"), Some(3));
        assert_eq!(position("[\"a\nb\"]"), Some(3));
    }
}
