//! The JSON of errors, which `fromNative` in `lib/common/store-error.js` turns into `RedisStoreError`s.

use crate::cause::Cause;
use crate::error::Error;
use crate::options::Address;
use serde_json::{Map, Value};

/// Returns the JSON of an error of an operation, or of an event.
pub fn error_json(error: &Error, operation: Option<&str>) -> String {
    let message = match operation {
        Some(operation) => format!("{operation} failed: {error}"),
        None => error.to_string(),
    };
    let mut fields = Fields::new(&message, Some(error.code()), error.reply());
    fields.add("operation", operation);
    fields.add_address(error.address().as_ref());
    fields.add("attempts", error.attempts());
    // Of other errors, the code says it: JavaScript knows which codes.
    fields.add("retryable", error.is_transient().then_some(true));
    fields.add("cause", error.cause().map(cause_json));
    Value::from(fields.0).to_string()
}

fn cause_json(cause: &Cause) -> Value {
    let mut fields = Fields::new(&cause.to_string(), cause.code(), cause.reply());
    fields.add_address(cause.address());
    fields.0.into()
}

/// The fields that are known.
struct Fields(Map<String, Value>);

impl Fields {
    fn new(message: &str, code: Option<&str>, reply: Option<&str>) -> Self {
        let mut fields = Self(Map::new());
        fields.add("message", Some(message));
        fields.add("code", code);
        fields.add("reply", reply);
        fields
    }

    fn add(&mut self, name: &str, value: Option<impl Into<Value>>) {
        if let Some(value) = value {
            self.0.insert(name.to_owned(), value.into());
        }
    }

    fn add_address(&mut self, address: Option<&Address>) {
        match address {
            Some(Address::Tcp(node)) => {
                self.add("address", Some(&*node.host));
                self.add("port", Some(node.port));
            }
            Some(Address::Unix { path }) => self.add("address", Some(&**path)),
            _ => {}
        }
    }
}
