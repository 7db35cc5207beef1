//! Session operations as Redis commands.
//!
//! | operation | commands |
//! |---|---|
//! | get | `GET`, `PTTL` |
//! | set | `SET … PX`, or `SET` alone for a session without a lifetime |
//! | … of a session that was loaded or saved before | the same with `XX` |
//! | … with conflict detection | `SET … IFEQ … GET`, or a script where the server lacks it: [`compare_and_set`] |
//! | touch | `PEXPIRE` |
//! | destroy | `DEL` |
//! | length, ids | `SCAN` |
//! | all, scan | `SCAN`, and `GET`, `PTTL` per session |
//! | … after a set or touch, if sessions are cached: [`cached`] | `GET`, `PTTL` |
//! | clear | `SCAN`, and `UNLINK` of many keys at once; of one key each in a cluster |
//!
//! - [`batch`]: processes requests in order; [`pipeline`]: encodes their commands; [`stored`]: what they store;
//!   [`in_flight_batch`]: turns replies into
//!   completions; [`reply_guard`]: completes each request exactly once; [`replies`]: reads
//!   replies that several operations share.
//! - [`compare_and_set`]: saves that store only if the expected text is stored.
//! - [`scan_pages`]: scans page by page; [`bulk`]: `length` and `clear`; [`key_scan`]: iterates over keys for both;
//!   [`seen_keys`]: removes duplicates.
//! - [`cached`]: lookups and fills of the cache.
//! - [`keys`]: IDs and keys; [`expiry`]: the expiry in force; [`strings`]: lists of short texts; [`eager`]: futures that
//!   start at once.

mod batch;
#[cfg(feature = "bench")]
pub(crate) mod bench;
mod bulk;
mod cached;
mod compare_and_set;
#[cfg(any(test, fuzzing))]
pub mod compare_and_set_fuzz;
mod eager;
mod expiry;
#[cfg(any(test, fuzzing))]
pub mod expiry_fuzz;
mod in_flight_batch;
mod key_scan;
mod keys;
mod pipeline;
mod replies;
mod reply_guard;
mod scan_pages;
mod seen_keys;
mod stored;
mod strings;

pub use self::expiry::{Clock, TellEnd};
pub use self::scan_pages::{ScanId, ScanKind, Scans};

use self::compare_and_set::CasSupport;
use self::expiry::Timestamp;
use self::keys::Keys;
use self::strings::Strings;
use crate::connection::{Connection, Lease};
use crate::error::Error;
use crate::worker::LONG;
use redis::Value;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use tokio::sync::{OwnedRwLockReadGuard, RwLock};

/// Identifies a request in flight; allocated and released by the caller.
pub type RequestId = u32;

/// Completions in one lane are delivered in order, even if one of them takes long to convert. A lane belongs to a session
/// or a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Lane(u64);

impl Lane {
    /// Returns the lane of a key. Sessions whose IDs have the same end share a lane, which at most delays them.
    fn of_key(key: &[u8]) -> Self {
        let mut end = [0; 8];
        let tail = &key[key.len().saturating_sub(8)..];
        end[..tail.len()].copy_from_slice(tail);
        Self(u64::from_ne_bytes(end))
    }

    pub fn of_request(request: RequestId) -> Self {
        Self(request.into())
    }
}

/// The operations on one session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    Get(TellEnd),
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
    Bulk(RequestId, Bulk),
    /// Requests the next page of a scan.
    Page(RequestId, ScanId),
    /// Ends the lease on the connection once everything before it has completed.
    Close(RequestId),
}

/// A request for one session. Ranges are positions in the batch's bytes.
#[derive(Clone, Debug)]
pub struct SessionRequest {
    pub request: RequestId,
    pub operation: Operation,
    /// The session's ID, UTF-8.
    pub id: Range<usize>,
    /// For a set: the text to store, UTF-8.
    pub value: Range<usize>,
    /// For `SetIfEqual`: the text that must be stored, UTF-8.
    pub base: Range<usize>,
    /// For a set or touch: the lifetime in milliseconds; `None` for no expiry.
    pub ttl: Option<u64>,
}

/// The result of a request. Any number of `Id` and `Item` completions precede the last one of a page; see
/// [`Completion::is_last`].
#[derive(Debug)]
pub enum Completion {
    Done,
    Missing,
    /// The stored text of a session, and its end if it was requested or differs from the expiry in the text.
    Session(Vec<u8>, Option<Timestamp>),
    Id(Vec<u8>),
    /// The session with the preceding `Id`, in the form of a `Session`.
    Item(Vec<u8>, Option<Timestamp>),
    /// Several `Id`s in one completion.
    Ids(Strings),
    /// The end of a page; more pages follow.
    More,
    Count(u64),
    /// A session that was not saved, since another text is stored: that text.
    Conflict(Vec<u8>),
    Failed(&'static str, Error),
    /// A connection event. A watcher has a request number for as long as its store lives, which does not count as a
    /// request in flight.
    Event(&'static str, Option<Error>),
    /// The last completion of a watcher.
    Ended,
    /// A session whose long text is still to be processed.
    Unread(Unread),
}

/// Processes a long text into its completion.
pub struct Unread(Box<dyn FnOnce() -> Completion + Send>);

impl fmt::Debug for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Unread")
    }
}

impl Completion {
    /// Returns true if delivering it takes long.
    pub fn is_long(&self) -> bool {
        match self {
            Self::Unread(_) => true,
            Self::Session(text, _)
            | Self::Id(text)
            | Self::Item(text, _)
            | Self::Conflict(text) => text.len() > LONG,
            _ => false,
        }
    }

    /// Processes the text of an `Unread`.
    pub fn read(self) -> Self {
        match self {
            Self::Unread(Unread(read)) => read(),
            other => other,
        }
    }

    /// Returns true if it ends its request.
    pub fn is_last(&self) -> bool {
        !matches!(
            self,
            Self::Item(..) | Self::Id(_) | Self::Ids(_) | Self::Event(..) | Self::Ended
        )
    }
}

/// Receives completions. Called on the runtime's thread and on the worker's.
pub trait CompletionSink: Send + Sync + 'static {
    fn complete(self: &Arc<Self>, completions: Vec<(RequestId, Lane, Completion)>);
}

/// The sessions under one prefix on one connection.
#[derive(Clone, Debug)]
pub struct Sessions {
    lease: Arc<Lease>,
    keys: Arc<Keys>,
    /// The `COUNT` of a `SCAN`.
    scan_count: u32,
    cas_support: Arc<CasSupport>,
    scans: Arc<Scans>,
    /// Operations in flight hold it for reading; `close` waits for it.
    in_flight: Arc<RwLock<()>>,
}

/// Held by an operation in flight.
type InFlightGuard = Option<Arc<OwnedRwLockReadGuard<()>>>;

impl Sessions {
    pub fn new(lease: Lease, prefix: &str, scan_count: u32) -> Self {
        Self {
            lease: Arc::new(lease),
            keys: Arc::new(Keys::new(prefix)),
            scan_count,
            cas_support: Arc::default(),
            scans: Arc::default(),
            in_flight: Arc::default(),
        }
    }

    /// Registers an operation in flight. Returns `None` only while the store closes, when it receives no operations.
    fn begin(&self) -> InFlightGuard {
        let guard = Arc::clone(&self.in_flight).try_read_owned();
        guard.ok().map(Arc::new)
    }

    /// Sets the prefix of later requests.
    pub fn set_prefix(&mut self, prefix: &str) {
        self.keys = Arc::new(Keys::new(prefix));
    }

    pub fn connection(&self) -> &Connection {
        self.lease.connection()
    }

    /// Takes another lease on the same connection.
    pub fn renewed_lease(&self) -> Lease {
        self.lease.renew()
    }

    /// Returns the same sessions on another lease.
    pub fn on(&self, lease: Lease) -> Self {
        Self {
            lease: Arc::new(lease),
            cas_support: Arc::default(),
            in_flight: Arc::default(),
            ..self.clone()
        }
    }

    pub fn set_scan_count(&mut self, scan_count: u32) {
        self.scan_count = scan_count;
    }
}

impl Operation {
    /// The name of the operation in errors.
    fn name(self) -> &'static str {
        match self {
            Self::Get(_) => "get",
            Self::Write(write) => write.name(),
        }
    }
}

impl Write {
    fn name(self) -> &'static str {
        match self {
            Self::Set | Self::SetExisting | Self::SetNew | Self::SetIfEqual => "set",
            Self::Touch => "touch",
            Self::Destroy => "destroy",
        }
    }
}

impl Bulk {
    fn name(self) -> &'static str {
        match self {
            Self::Length => "length",
            Self::Clear => "clear",
        }
    }
}

fn unexpected(server: &str, value: &Value) -> Error {
    Error::UnexpectedReply {
        server: server.to_owned(),
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
