//! Reads replies that several operations share.

use super::expiry::Remaining;
use crate::connection::Reply;
use crate::error::Error;
use crate::server::Server;
use redis::Value;

/// Reads the reply to a `PTTL`. If the command was refused or failed, the expiry in the text has to do.
pub(super) fn remaining_of(reply: Reply) -> Remaining {
    match reply {
        Ok(Value::Int(left)) => Remaining::from_pttl(left),
        _ => Remaining::Unknown,
    }
}

/// Creates the error for a reply of an unexpected type.
pub(super) fn unexpected(server: &Server, value: &Value) -> Error {
    Error::UnexpectedReply {
        server: server.clone(),
        // Only the type: the value may be a session.
        reply: match value {
            Value::Nil => "nil",
            Value::Int(_) => "an integer",
            Value::BulkString(_) => "a bulk string",
            Value::Array(_) => "an array",
            Value::SimpleString(_) | Value::Okay => "a simple string",
            _ => "a RESP3 value",
        },
    }
}
