//! The results of requests, and their receiver.

use super::expiry::Timestamp;
use super::request::{Lane, RequestId};
use super::strings::Strings;
use crate::connection::Origin;
use crate::error::Error;
use crate::worker::LONG;
use std::fmt;
use std::sync::Arc;

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
    /// An observation for the same receiver, as JSON.
    Observed(String),
    /// Precedes the last completion of a request that is traced: the server that replied.
    Served {
        origin: Origin,
        /// The request shared the command of another one.
        is_shared: bool,
    },
    /// The last completion of a watcher.
    Ended,
    /// A session whose long text is still to be processed.
    Unread(Unread),
}

/// Processes a long text into its completion.
pub struct Unread(pub(super) Box<dyn FnOnce() -> Completion + Send>);

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
            Self::Item(..)
                | Self::Id(_)
                | Self::Ids(_)
                | Self::Served { .. }
                | Self::Event(..)
                | Self::Observed(_)
                | Self::Ended
        )
    }
}

/// Receives completions. Called on the runtime's thread and on the worker's.
pub trait CompletionSink: Send + Sync + 'static {
    fn complete(self: &Arc<Self>, completions: Vec<(RequestId, Lane, Completion)>);
}
