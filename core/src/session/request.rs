//! The requests of a batch.

use super::expiry::ReportEnd;
use crate::stats::OPERATIONS;
use std::ops::Range;

/// Identifies a request in flight; allocated and released by the caller.
pub type RequestId = u32;

/// Identifies an open scan.
pub type ScanId = u32;

/// The order of completions: those in one lane are delivered in order, even if one of them takes long to convert. A
/// lane belongs to a session or a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Lane(u64);

impl Lane {
    /// Returns the lane of a key. Sessions whose IDs have the same end share a lane, which at most delays them.
    pub(super) fn of_key(key: &[u8]) -> Self {
        let mut end = [0; 8];
        let tail = &key[key.len().saturating_sub(8)..];
        end[..tail.len()].copy_from_slice(tail);
        Self(u64::from_ne_bytes(end))
    }

    pub fn of_request(request: RequestId) -> Self {
        Self(request.into())
    }
}

/// The methods of a store, in errors and statistics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Name {
    Get,
    Set,
    Touch,
    Destroy,
    All,
    Ids,
    Length,
    Clear,
    Scan,
    /// These have no statistics.
    Close,
    Script,
}

impl Name {
    /// Returns true if it has statistics.
    pub(super) fn is_counted(self) -> bool {
        (self as usize) < OPERATIONS.len()
    }

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Script => "user index",
            _ => OPERATIONS.get(self as usize).unwrap_or(&"close"),
        }
    }
}

/// The operations on one session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    Get(ReportEnd),
    Write(Write),
}

/// The operations that write one session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Write {
    Set,
    /// Stores only if the session still exists, so that a destroyed session stays destroyed.
    SetExisting,
    /// Stores only if nothing is stored.
    SetNew,
    /// Stores only if the base is stored.
    SetIfEqual,
    Touch,
    Destroy,
    /// Destroys only if the base is stored.
    DestroyIfEqual,
}

/// The operations on all sessions that have one completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bulk {
    Length,
    Clear,
}

/// A request of a batch.
#[derive(Clone, Debug)]
pub enum Request {
    Session(SessionRequest),
    Bulk {
        request: RequestId,
        bulk: Bulk,
        is_traced: bool,
    },
    /// Stops an operation on all sessions, by its request.
    Abort(RequestId, RequestId),
    /// Requests the next page of a scan.
    Page {
        request: RequestId,
        scan: ScanId,
        is_traced: bool,
    },
    /// Runs a script.
    Script(ScriptRequest),
    /// Ends the lease on the connection once everything before it has completed.
    Close(RequestId),
}

/// A request for one session. Ranges are positions in the batch's bytes.
#[derive(Clone, Debug)]
pub struct SessionRequest {
    pub request: RequestId,
    pub operation: Operation,
    /// Its last completion is preceded by a `Served`.
    pub is_traced: bool,
    /// The session's ID, UTF-8.
    pub id: Range<usize>,
    /// For a set: the text to store, UTF-8.
    pub value: Range<usize>,
    /// For `SetIfEqual`: the text that must be stored, UTF-8.
    pub base: Range<usize>,
    /// For a set or touch: the lifetime in milliseconds; `None` for no expiry.
    pub ttl: Option<u64>,
}

/// A request for calls of a script on keys that belong to no session. Ranges are positions in the batch's bytes.
#[derive(Clone, Debug)]
pub struct ScriptRequest {
    pub request: RequestId,
    /// The calls: each is a packed list of a key and arguments, and they are packed in the same way. To pack is to write
    /// a text as its length in bytes, a colon and its bytes.
    pub calls: Range<usize>,
    /// The SHA-1 of the script in hexadecimal digits, followed by the script if that is to be sent.
    pub script: Range<usize>,
}

impl Operation {
    pub(super) fn name(self) -> Name {
        match self {
            Self::Get(_) => Name::Get,
            Self::Write(write) => write.name(),
        }
    }
}

impl Write {
    pub(super) fn name(self) -> Name {
        match self {
            Self::Set | Self::SetExisting | Self::SetNew | Self::SetIfEqual => Name::Set,
            Self::Touch => Name::Touch,
            Self::Destroy | Self::DestroyIfEqual => Name::Destroy,
        }
    }
}

impl Bulk {
    pub(super) fn name(self) -> Name {
        match self {
            Self::Length => Name::Length,
            Self::Clear => Name::Clear,
        }
    }
}
