//! Reads replies that several operations share.

use super::expiry::Remaining;
use crate::connection::Reply;
use redis::Value;

/// Reads the reply to a `PTTL`. If the command was refused or failed, the expiry in the text has to do.
pub(super) fn remaining_of(reply: Reply) -> Remaining {
    match reply {
        Ok(Value::Int(left)) => Remaining::from_pttl(left),
        _ => Remaining::Unknown,
    }
}
