//! Where a session stops being JSON.

use napi_derive::napi;

/// An offset in UTF-8 bytes, or `None` if the text is JSON.
///
/// V8's own message quotes the text, which is a session; this gives the place alone.
#[napi(catch_unwind)]
pub fn json_error_position(text: String) -> Option<u32> {
    let error = serde_json::from_str::<serde::de::IgnoredAny>(&text).err()?;
    if error.is_eof() {
        return u32::try_from(text.len()).ok();
    }
    // Lines and columns count from 1; the column counts bytes.
    let line_start = text
        .split_inclusive('\n')
        .take(error.line().saturating_sub(1))
        .map(str::len)
        .sum::<usize>();
    u32::try_from(line_start + error.column().saturating_sub(1)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions() {
        let position = |text: &str| json_error_position(text.to_owned());
        assert_eq!(position("{}"), None);
        assert_eq!(position("{x"), Some(1));
        assert_eq!(position("{\n\"a\": x}"), Some(7));
        assert_eq!(position("[1,"), Some(3));
    }
}
