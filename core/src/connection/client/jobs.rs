//! What the client has yet to answer: jobs, and where each of their commands is.

use crate::connection::commands::Commands;
pub(super) use crate::connection::job::Place;
use crate::connection::job::{Job, Reply, ReplyHandler};
use tokio::time::Instant;

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Stage {
    Waiting,
    /// Under this number.
    Given(u64),
    Done,
}

/// A job.
pub(super) struct Work {
    pub(super) commands: Commands,
    pub(super) stages: Vec<Stage>,
    left: usize,
    pub(super) deadline: Instant,
    handler: Box<dyn ReplyHandler>,
    /// Why the last attempt came to nothing, and how many did.
    pub(super) trouble: Option<String>,
    pub(super) attempts: u32,
}

impl Work {
    pub(super) fn of(job: Job) -> Self {
        let mut stages = vec![Stage::Done; job.commands.len()];
        for &at in &job.pending {
            stages[at] = Stage::Waiting;
        }
        Self {
            stages,
            commands: job.commands,
            left: job.pending.len(),
            deadline: job.deadline,
            handler: job.handler,
            trouble: None,
            attempts: 0,
        }
    }

    /// Notes that the client is given a command under a number.
    pub(super) fn note_given(&mut self, at: usize, number: u64) {
        self.stages[at] = Stage::Given(number);
        self.handler.on_sent();
    }

    /// Answers some of its commands.
    pub(super) fn answer(&mut self, replies: Vec<(usize, Reply)>) {
        for (at, _) in &replies {
            self.stages[*at] = Stage::Done;
        }
        self.left -= replies.len();
        self.handler.on_replies(replies);
    }

    pub(super) fn is_done(&self) -> bool {
        self.left == 0
    }
}
