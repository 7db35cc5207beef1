//! What a session operation means in Redis.
//!
//! | operation | commands |
//! |---|---|
//! | get | `GET` |
//! | set | `SET … PX`, or plain `SET` for a session without a lifetime |
//! | touch | `PEXPIRE` |
//! | destroy | `DEL` |
//! | ids, length | `SCAN` |
//! | all | `SCAN`, `MGET` |
//! | clear | `SCAN`, `UNLINK` |

mod batch;
mod keys;
mod scan;

use self::keys::Keys;
use crate::connection::{Connection, Lease, Reply};
use crate::error::Error;
use redis::Value;
use std::ops::Range;
use std::sync::Arc;
use tokio::sync::RwLock;

/// Names a request among those under way; given and taken back by the caller.
pub(crate) type RequestId = u32;

/// The operations that one command on one key serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Get,
    Set,
    Touch,
    Destroy,
}

/// The operations that walk all keys under the prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bulk {
    All,
    Ids,
    Length,
    Clear,
}

/// One request of a batch; ranges are places in the batch's bytes.
#[derive(Clone, Debug)]
pub(crate) enum Request {
    One {
        request: RequestId,
        operation: Operation,
        /// The session's id, UTF-8.
        id: Range<usize>,
        /// `Set`: the text to store, UTF-8.
        value: Range<usize>,
        /// `Set` and `Touch`: the lifetime in milliseconds; `None` for no expiry.
        ttl: Option<u64>,
    },
    Walk(RequestId, Bulk),
    /// Ends the connection once everything before it is done.
    Close(RequestId),
}

/// What a request is answered with. `Id` and `Session` may come any number of times, in turn, before
/// the last answer of `Ids` and `All`; every other answer is a request's last.
#[derive(Debug)]
pub(crate) enum Answer {
    Done,
    Missing,
    /// The stored bytes of a session.
    Session(Vec<u8>),
    /// Stored bytes that belong to the `Id` before them.
    Item(Vec<u8>),
    Id(Vec<u8>),
    Count(u64),
    Failed(&'static str, Error),
    /// Something happened to the connection. Given to those who watch it, who are under way for as
    /// long as their store lives and do not count as requests.
    Event(&'static str, Option<Error>),
    /// Nothing more comes to one who watched.
    Ended,
}

impl Answer {
    /// Whether a request is over with it.
    pub(crate) fn is_last(&self) -> bool {
        !matches!(
            self,
            Self::Item(_) | Self::Id(_) | Self::Event(..) | Self::Ended
        )
    }
}

/// Where answers go. Called on the runtime's thread.
pub(crate) trait Answers: Send + Sync + 'static {
    fn answer(&self, answers: Vec<(RequestId, Answer)>);
}

/// The sessions under one prefix on one connection.
#[derive(Clone, Debug)]
pub(crate) struct Sessions {
    lease: Arc<Lease>,
    keys: Arc<Keys>,
    /// The `COUNT` of a `SCAN`.
    scan_count: u32,
    /// What is under way holds it for reading; closing waits for it.
    under_way: Arc<RwLock<()>>,
}

impl Sessions {
    pub(crate) fn new(lease: Lease, prefix: &str, scan_count: u32) -> Self {
        Self {
            lease: Arc::new(lease),
            keys: Arc::new(Keys::new(prefix)),
            scan_count,
            under_way: Arc::default(),
        }
    }

    /// Requests that come later use this prefix.
    pub(crate) fn set_prefix(&mut self, prefix: &str) {
        self.keys = Arc::new(Keys::new(prefix));
    }

    pub(crate) fn connection(&self) -> &Connection {
        self.lease.connection()
    }

    pub(crate) fn set_scan_count(&mut self, scan_count: u32) {
        self.scan_count = scan_count;
    }
}

impl Operation {
    /// The name in errors.
    fn name(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Set => "set",
            Self::Touch => "touch",
            Self::Destroy => "destroy",
        }
    }
}

impl Bulk {
    fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Ids => "ids",
            Self::Length => "length",
            Self::Clear => "clear",
        }
    }
}

/// Requests that are still to be answered. Whatever happens to the task that holds it — a panic, the
/// end of the runtime — each is answered exactly once.
pub(crate) struct Unanswered<A: Answers> {
    answers: Arc<A>,
    /// `None` once answered.
    requests: Vec<Option<(RequestId, &'static str)>>,
}

impl<A: Answers> Unanswered<A> {
    fn new(answers: Arc<A>, requests: Vec<(RequestId, &'static str)>) -> Self {
        Self {
            answers,
            requests: requests.into_iter().map(Some).collect(),
        }
    }

    /// Answers that are not the last of a request.
    fn continue_with(&self, items: Vec<(RequestId, Answer)>) {
        self.answers.answer(items);
    }

    /// The last answers of the requests at these places: `answer` makes each of the reply.
    fn settle(
        &mut self,
        replies: Vec<(usize, Reply)>,
        mut answer: impl FnMut(usize, &'static str, Reply) -> Answer,
    ) {
        let requests = &mut self.requests;
        let answers = replies
            .into_iter()
            .filter_map(|(at, reply)| {
                let (request, name) = requests.get_mut(at)?.take()?;
                Some((request, answer(at, name, reply)))
            })
            .collect();
        self.answers.answer(answers);
    }

    /// The last answers: `answer` is asked for each request, in order.
    fn finish(mut self, mut answer: impl FnMut(&'static str) -> Answer) {
        self.finish_with(&mut answer);
    }

    fn finish_with(&mut self, answer: &mut impl FnMut(&'static str) -> Answer) {
        let answers: Vec<_> = std::mem::take(&mut self.requests)
            .into_iter()
            .flatten()
            .map(|(request, name)| (request, answer(name)))
            .collect();
        if !answers.is_empty() {
            self.answers.answer(answers);
        }
    }
}

impl<A: Answers> Drop for Unanswered<A> {
    fn drop(&mut self) {
        self.finish_with(&mut |name| Answer::Failed(name, Error::Abandoned));
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
