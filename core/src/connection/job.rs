//! Commands with what is to be done about them: who takes the replies, and by when each must have one.

use super::commands::Commands;
use crate::error::Error;
use redis::Value;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// What became of a command. An error reply of the server is an error.
pub(crate) type Reply = Result<Value, Error>;

/// Takes the replies to commands, each exactly once, in one call or several. Called on the runtime's
/// thread; must neither block nor wait.
pub(crate) trait ReplyHandler: Send {
    /// Called before the first of the commands leaves the queue for a socket or the app's client, and maybe again.
    fn on_sent(&mut self) {}

    /// Each reply comes with the place of its command.
    fn on_replies(&mut self, replies: Vec<(usize, Reply)>);
}

/// A command of a job that is known by a number. Their order is that in which the app issued them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) job: u64,
    pub(super) at: usize,
}

/// Commands on their way. They enter the socket in the order in which they were sent.
///
/// What was cut off by a lost connection is sent again within the deadline. That is right since every
/// command of a session store may be repeated: GET, PTTL and SCAN only read; SET, PEXPIRE, DEL and
/// UNLINK leave the same state the second time; a compare-and-set that finds its own value in place
/// has succeeded before. Order is kept.
pub(super) struct Job {
    pub(super) commands: Commands,
    /// The places of those that are not answered yet, in order.
    pub(super) pending: Vec<usize>,
    pub(super) deadline: Instant,
    pub(super) handler: Box<dyn ReplyHandler>,
    /// How often it was sent in vain: the connection was lost, or the server put it off.
    pub(super) failed_attempts: u32,
    /// How often the connection was lost when the first that is pending was all that it owed an answer to.
    pub(super) hang_ups: u32,
}

impl Job {
    /// Of the first `count` of the commands.
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
        }
    }

    /// How many operations are still to be answered.
    pub(super) fn operations(&self) -> usize {
        self.commands.operations(self.pending.iter().copied())
    }

    /// Answers the first that is still to be answered; gives what is left, if anything.
    pub(super) fn fail_first(mut self, error: Error) -> Option<Self> {
        if !self.pending.is_empty() {
            let at = self.pending.remove(0);
            self.hang_ups = 0;
            self.handler.on_replies(vec![(at, Err(error))]);
        }
        (!self.pending.is_empty()).then_some(self)
    }

    /// Answers all that is still to be answered.
    pub(super) fn fail(mut self, error: &Error) {
        let replies = self.pending.drain(..).map(|at| (at, Err(error.clone())));
        self.handler.on_replies(replies.collect());
    }
}

/// Waits until every command is answered.
pub(super) struct Gather {
    replies: Vec<(usize, Reply)>,
    count: usize,
    sender: Option<oneshot::Sender<Vec<(usize, Reply)>>>,
}

impl Gather {
    /// Tells the replies, each with the place of its command, when there are so many.
    pub(super) fn new(count: usize, sender: oneshot::Sender<Vec<(usize, Reply)>>) -> Self {
        Self {
            replies: Vec::with_capacity(count),
            count,
            sender: Some(sender),
        }
    }
}

impl ReplyHandler for Gather {
    fn on_replies(&mut self, mut replies: Vec<(usize, Reply)>) {
        self.replies.append(&mut replies);
        if self.replies.len() >= self.count
            && let Some(sender) = self.sender.take()
        {
            // The receiver is gone only when the caller was: nobody is left to tell.
            let _ = sender.send(std::mem::take(&mut self.replies));
        }
    }
}
