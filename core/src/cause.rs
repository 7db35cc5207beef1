//! The reason for a failure, with the code that Node has for it.

use crate::options::Address;
use std::fmt;
use std::sync::Arc;

/// The reason for a failure. [`Cause::code`] becomes `error.cause.code` in JavaScript.
#[derive(Clone, Debug)]
pub struct Cause(Arc<Reason>);

#[derive(Clone, Debug)]
struct Reason {
    message: String,
    code: Option<&'static str>,
    reply: Option<String>,
    address: Option<Address>,
}

impl Cause {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self(Arc::new(Reason {
            message: message.into(),
            code: None,
            reply: None,
            address: None,
        }))
    }

    /// Sets Node's code for the failure.
    pub(crate) fn with_code(mut self, code: &'static str) -> Self {
        self.reason_mut().code = Some(code);
        self
    }

    /// Sets the first word of the server's error reply.
    pub(crate) fn with_reply(mut self, reply: &str) -> Self {
        self.reason_mut().reply = Some(reply.to_owned());
        self
    }

    /// Sets the address of the server that failed, unless it is known.
    pub(crate) fn at(mut self, address: &Address) -> Self {
        self.reason_mut()
            .address
            .get_or_insert_with(|| address.clone());
        self
    }

    /// Changes the message.
    pub(crate) fn map_message(mut self, change: impl FnOnce(&str) -> String) -> Self {
        let reason = self.reason_mut();
        reason.message = change(&reason.message);
        self
    }

    fn reason_mut(&mut self) -> &mut Reason {
        Arc::make_mut(&mut self.0)
    }

    /// Returns Node's code for a failure of the system, or this crate's for another one.
    pub fn code(&self) -> Option<&'static str> {
        self.0.code
    }

    /// Returns the first word of the server's error reply, if that is the cause.
    pub fn reply(&self) -> Option<&str> {
        self.0.reply.as_deref()
    }

    /// Returns the address of the server that failed, if it is known.
    pub fn address(&self) -> Option<&Address> {
        self.0.address.as_ref()
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

/// Lets a cause travel inside the errors of other crates.
impl std::error::Error for Cause {}

impl From<&str> for Cause {
    fn from(message: &str) -> Self {
        Self::new(message)
    }
}

impl From<String> for Cause {
    fn from(message: String) -> Self {
        Self::new(message)
    }
}
