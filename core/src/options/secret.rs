//! Texts that are never formatted.

use crate::redaction::register;
use std::fmt;
use std::sync::Arc;

/// A text that is never formatted, and that [`redact`](crate::redaction::redact) removes from other texts.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Secret(Arc<str>);

impl Secret {
    pub fn new(text: String) -> Self {
        let text = text.into();
        register(&text);
        Self(text)
    }

    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}
