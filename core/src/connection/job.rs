//! Jobs: commands with their reply handler, deadline and failed attempts.

use super::commands::Commands;
use super::origin::{Origin, ServerId};
use crate::error::Error;
use redis::Value;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// The result of a command. An error reply of the server is an error.
pub(crate) type Reply = Result<Value, Error>;

/// Receives the replies to the commands of a job, each exactly once, in one call or several. Runs on the runtime's
/// thread, and must not block.
pub(crate) trait ReplyHandler: Send {
    /// Called before the first of the commands leaves the queue for a socket or the app's client, possibly repeatedly.
    fn on_sent(&mut self) {}

    /// Receives replies, each with the index of its command. `origin` is that of all of them.
    fn on_replies(&mut self, replies: Vec<(usize, Reply)>, origin: Origin);
}

/// The number of a job, and the index of a command in it. Places are ordered as the app issued the commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) job: u64,
    pub(super) at: usize,
}

/// Commands that wait to be sent, or are in flight. They enter the socket in the order in which the app sent them.
///
/// Commands that were in flight when the connection was lost are retried until the deadline, in order. This is safe
/// since every command of a session store is idempotent: GET, PTTL and SCAN only read; SET, PEXPIRE, DEL and UNLINK
/// leave the same state when repeated; a compare-and-set that finds its own value has succeeded before.
pub(super) struct Job {
    pub(super) commands: Commands,
    /// The indices of the commands without a reply, in order.
    pub(super) pending: Vec<usize>,
    pub(super) deadline: Instant,
    pub(super) handler: Box<dyn ReplyHandler>,
    /// The number of failed attempts: the connection was lost, or the server replied with a transient error.
    pub(super) failed_attempts: u32,
    /// The number of times that the connection was lost while its first command without a reply was the first of all.
    pub(super) hang_ups: u32,
    /// The number of times that the pending commands were sent, and the server that they were last sent to.
    pub(super) origin: Origin,
}

impl Job {
    /// Creates a job of the first `count` commands.
    pub(super) fn new(
        commands: Commands,
        count: usize,
        deadline: Instant,
        handler: Box<dyn ReplyHandler>,
    ) -> Self {
        Self {
            commands,
            pending: (0..count).collect(),
            deadline,
            handler,
            failed_attempts: 0,
            hang_ups: 0,
            origin: Origin::default(),
        }
    }

    /// Returns the number of operations without a reply.
    pub(super) fn operations(&self) -> usize {
        self.commands.operations(self.pending.iter().copied())
    }

    /// Notes that pending commands are about to be sent.
    pub(super) fn note_sent(&mut self, server: ServerId) {
        self.origin.server = server;
        self.origin.attempts = self.origin.attempts.saturating_add(1);
        self.handler.on_sent();
    }

    /// Fails a pending command. Returns the rest of the job, if any.
    pub(super) fn fail_one(mut self, at: usize, error: Error) -> Option<Self> {
        self.pending.retain(|&other| other != at);
        self.hang_ups = 0;
        self.handler.on_replies(vec![(at, Err(error))], self.origin);
        (!self.pending.is_empty()).then_some(self)
    }

    /// Fails all pending commands.
    pub(super) fn fail(mut self, error: &Error) {
        let replies = self.pending.drain(..).map(|at| (at, Err(error.clone())));
        self.handler.on_replies(replies.collect(), self.origin);
    }
}

/// A reply handler that collects all replies.
pub(super) struct Gather {
    gathered: Gathered,
    count: usize,
    sender: Option<oneshot::Sender<Gathered>>,
}

/// Replies with the index of their commands, and their origin.
pub(super) type Gathered = (Vec<(usize, Reply)>, Origin);

impl Gather {
    /// Creates a handler that sends the replies, each with the index of its command, once there are `count`.
    pub(super) fn new(count: usize, sender: oneshot::Sender<Gathered>) -> Self {
        Self {
            gathered: (Vec::with_capacity(count), Origin::default()),
            count,
            sender: Some(sender),
        }
    }
}

impl ReplyHandler for Gather {
    fn on_replies(&mut self, mut replies: Vec<(usize, Reply)>, origin: Origin) {
        self.gathered.0.append(&mut replies);
        self.gathered.1.join(origin);
        if self.gathered.0.len() >= self.count
            && let Some(sender) = self.sender.take()
        {
            // The receiver is gone if the caller has stopped waiting.
            let _ = sender.send(std::mem::take(&mut self.gathered));
        }
    }
}
