//! What a session operation means in Redis.
//!
//! | operation | commands |
//! |---|---|
//! | get | `GET`, `PTTL` |
//! | set | `SET … PX`, or `SET` alone for a session without a lifetime |
//! | … of a session that was loaded or saved before | the same with `XX` |
//! | … where conflicts are looked for | `SET … IFEQ`, or a script where the server has none: [`conditional_save`] |
//! | touch | `PEXPIRE` |
//! | destroy | `DEL` |
//! | length, ids | `SCAN` |
//! | all, scan | `SCAN`, and `GET`, `PTTL` per session |
//! | … after a set or touch, where sessions are kept near: [`cached`] | `GET`, `PTTL` |
//! | clear | `SCAN`, and `UNLINK` of many sessions at once, of each by itself in a cluster |
//!
//! - [`batch`]: requests taken in their order; [`pipeline`]: their commands; [`in_flight_batch`]: the answers that the replies make;
//!   [`reply_guard`]: each request answered once.
//! - [`conditional_save`]: saves that look for conflicts; [`merge`]: three versions become one; [`json_value`]: whether two are the
//!   same.
//! - [`scan_pages`]: sessions page by page; [`bulk`]: their number, and to clear them; [`key_scan`]: the keys of both, [`seen_keys`]:
//!   each once.
//! - [`cached`]: what the cache is told and asked.
//! - [`keys`]: from ids to keys; [`expiry`]: when a session ends; [`strings`]: many short ones; [`eager`]: futures that
//!   begin at once.

mod batch;
mod bulk;
mod cached;
mod conditional_save;
mod eager;
mod expiry;
mod in_flight_batch;
mod json_value;
mod key_scan;
mod keys;
mod merge;
mod pipeline;
mod reply_guard;
mod scan_pages;
mod seen_keys;
mod strings;

pub use self::conditional_save::Condition;
pub use self::expiry::{Clock, TellEnd};
pub use self::scan_pages::{ScanId, ScanKind, Scans};

use self::conditional_save::CasSupport;
use self::expiry::Timestamp;
use self::keys::Keys;
use self::strings::Strings;
use crate::connection::Runtime;
use crate::connection::{Connection, Lease};
use crate::error::Error;
use crate::worker::LONG;
use redis::Value;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use tokio::sync::{OwnedRwLockReadGuard, RwLock};

/// Names a request among those under way; given and taken back by the caller.
pub type RequestId = u32;

/// CompletionSink of one lane are given in their order, whatever they take: those about one session, or to one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Lane(u64);

impl Lane {
    /// Sessions whose ids end alike may share a lane, which costs nothing but time.
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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Write {
    Set,
    /// Only if there is still one: what was destroyed stays so.
    SetExisting,
    /// Only if what is stored is as the rule has it.
    SetConditional(Condition),
    Touch,
    Destroy,
}

/// The operations on all sessions that have one answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bulk {
    Length,
    Clear,
}

/// SessionRequest request of a batch.
#[derive(Clone, Debug)]
pub enum Request {
    Session(SessionRequest),
    Bulk(RequestId, Bulk),
    /// The next page of a listing.
    Page(RequestId, ScanId),
    /// Ends the connection once everything before it is done.
    Close(RequestId),
}

/// A request about one session; ranges are places in the batch's bytes.
#[derive(Clone, Debug)]
pub struct SessionRequest {
    pub request: RequestId,
    pub operation: Operation,
    /// The session's id, UTF-8.
    pub id: Range<usize>,
    /// Of a set: the text to store, UTF-8.
    pub value: Range<usize>,
    /// Of a set that is compared with it: the text that was loaded, UTF-8.
    pub base: Range<usize>,
    /// Of a set or touch: the lifetime in milliseconds; `None` for no expiry.
    pub ttl: Option<u64>,
}

/// What a request is answered with. `Id` and `Item` come any number of times before the last answer of a
/// page; every other answer is a request's last.
#[derive(Debug)]
pub enum Completion {
    Done,
    Missing,
    /// The stored bytes of a session, and when it ends where that was asked for or is not what they say.
    Session(Vec<u8>, Option<Timestamp>),
    Id(Vec<u8>),
    /// The session of the `Id` before, as a `Session`.
    Item(Vec<u8>, Option<Timestamp>),
    /// Ids without sessions, each an answer.
    Ids(Strings),
    /// The end of a page that is not the last.
    More,
    Count(u64),
    /// A session that was not saved: why, and the bytes that are stored.
    Conflict(&'static str, Vec<u8>),
    Failed(&'static str, Error),
    /// Something happened to the connection. Given to those who watch it, who are under way for as
    /// long as their store lives and do not count as requests.
    Event(&'static str, Option<Error>),
    /// Commands for the app's client, which is under way like a watch.
    Commands(Vec<u8>),
    /// Nothing more comes to one who watched.
    Ended,
    /// A session that is yet to be read from a long text.
    Unread(Unread),
}

/// Makes the answer from a long text.
pub struct Unread(Box<dyn FnOnce() -> Completion + Send>);

impl fmt::Debug for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Unread")
    }
}

impl Completion {
    /// Returns true if handing it over is long work.
    pub fn is_long(&self) -> bool {
        match self {
            Self::Unread(_) => true,
            Self::Session(text, _)
            | Self::Id(text)
            | Self::Item(text, _)
            | Self::Conflict(_, text)
            | Self::Commands(text) => text.len() > LONG,
            _ => false,
        }
    }

    /// Does what was left for later.
    pub fn read(self) -> Self {
        match self {
            Self::Unread(Unread(read)) => read(),
            other => other,
        }
    }

    /// Whether a request is over with it.
    pub fn is_last(&self) -> bool {
        !matches!(
            self,
            Self::Item(..)
                | Self::Id(_)
                | Self::Ids(_)
                | Self::Event(..)
                | Self::Commands(_)
                | Self::Ended
        )
    }
}

/// Where answers go. Called on the runtime's thread, and by the worker.
pub trait CompletionSink: Send + Sync + 'static {
    fn answer(self: &Arc<Self>, answers: Vec<(RequestId, Lane, Completion)>);
}

/// The sessions under one prefix on one connection.
#[derive(Clone, Debug)]
pub struct Sessions {
    lease: Arc<Lease>,
    keys: Arc<Keys>,
    /// The `COUNT` of a `SCAN`.
    scan_count: u32,
    dialect: Arc<CasSupport>,
    walks: Arc<Scans>,
    /// What is under way holds it for reading; closing waits for it.
    under_way: Arc<RwLock<()>>,
}

/// Held by what is under way.
type UnderWay = Option<Arc<OwnedRwLockReadGuard<()>>>;

impl Sessions {
    pub fn new(lease: Lease, prefix: &str, scan_count: u32) -> Self {
        Self {
            lease: Arc::new(lease),
            keys: Arc::new(Keys::new(prefix)),
            scan_count,
            dialect: Arc::default(),
            walks: Arc::default(),
            under_way: Arc::default(),
        }
    }

    /// `None` only when closing has begun, and then the store is given no more.
    fn begin(&self) -> UnderWay {
        let guard = Arc::clone(&self.under_way).try_read_owned();
        guard.ok().map(Arc::new)
    }

    /// Requests that come later use this prefix.
    pub fn set_prefix(&mut self, prefix: &str) {
        self.keys = Arc::new(Keys::new(prefix));
    }

    pub fn connection(&self) -> &Connection {
        self.lease.connection()
    }

    /// Another lease on the same connection.
    pub fn renewed_lease(&self, runtime: &Runtime) -> Lease {
        self.lease.renew(runtime)
    }

    /// The same sessions on another lease.
    pub fn on(&self, lease: Lease) -> Self {
        Self {
            lease: Arc::new(lease),
            dialect: Arc::default(),
            under_way: Arc::default(),
            ..self.clone()
        }
    }

    pub fn set_scan_count(&mut self, scan_count: u32) {
        self.scan_count = scan_count;
    }
}

impl Operation {
    /// The name in errors.
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
            Self::Set | Self::SetExisting | Self::SetConditional(_) => "set",
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
        // The kind alone: the value may be a session.
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
