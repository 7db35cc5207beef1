//! Texts in replies.

use redis::Value;

/// Returns the text of a bulk string, or of a verbatim string, as which RESP3 returns long texts.
pub(super) fn text(reply: &Value) -> Option<&str> {
    match reply {
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok(),
        Value::VerbatimString { text, .. } => Some(text),
        _ => None,
    }
}
