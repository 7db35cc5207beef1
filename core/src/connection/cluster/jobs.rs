//! What a cluster has yet to answer: jobs, and what of each is still open.

use super::slot_map::slot;
use crate::connection::commands::{Access, Commands};
pub(super) use crate::connection::job::Place;
use crate::connection::{Job, Reply, ReplyHandler};
use crate::error::Error;
use std::collections::BTreeMap;
use tokio::time::Instant;

/// A command and its slot.
pub(super) type Routed = (Place, u16);

/// A job.
pub(super) struct PendingJob {
    pub(super) commands: Commands,
    /// Each command; `None` once it is answered.
    pending: Vec<Option<PendingCommand>>,
    unanswered: usize,
    deadline: Instant,
    handler: Box<dyn ReplyHandler>,
    /// Why the last attempt came to nothing.
    pub(super) last_error: Option<Error>,
}

/// A command that is not answered yet.
#[derive(Clone, Copy)]
pub(super) struct PendingCommand {
    pub(super) slot: u16,
    /// How often it was sent.
    pub(super) attempts: u32,
    /// How often a node hung up on it alone.
    pub(super) hang_ups: u32,
}

impl PendingJob {
    fn new(job: Job) -> Self {
        let mut pending = vec![None; job.commands.len()];
        for &at in &job.pending {
            let slot = job.commands.key(at).map_or(0, slot);
            if let Some(command) = pending.get_mut(at) {
                *command = Some(PendingCommand {
                    slot,
                    attempts: 0,
                    hang_ups: 0,
                });
            }
        }
        Self {
            commands: job.commands,
            unanswered: job.pending.len(),
            pending,
            deadline: job.deadline,
            handler: job.handler,
            last_error: None,
        }
    }

    /// A command, if it is not answered yet.
    pub(super) fn command_mut(&mut self, at: usize) -> Option<&mut PendingCommand> {
        self.pending.get_mut(at)?.as_mut()
    }

    /// All that is not answered yet, by its place among the commands.
    pub(super) fn pending(&self) -> impl Iterator<Item = (usize, PendingCommand)> + Clone {
        let commands = self.pending.iter().enumerate();
        commands.filter_map(|(at, command)| Some((at, (*command)?)))
    }

    fn answer(&mut self, replies: Vec<(usize, Reply)>) {
        for (at, _) in &replies {
            if let Some(command) = self.pending.get_mut(*at) {
                *command = None;
            }
        }
        self.unanswered = self.unanswered.saturating_sub(replies.len());
        self.handler.on_replies(replies);
    }

    /// Answers all that is not answered yet.
    pub(super) fn fail(mut self, error: &Error) {
        let replies = self.pending().map(|(at, _)| (at, Err(error.clone())));
        let replies = replies.collect();
        self.answer(replies);
    }
}

#[derive(Default)]
pub(super) struct Jobs {
    /// In the order in which they came, which is that of their deadlines.
    jobs: BTreeMap<u64, PendingJob>,
    last: u64,
}

impl Jobs {
    pub(super) fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    /// Takes in a job. Its commands and their slots.
    pub(super) fn add(&mut self, job: Job) -> Vec<Routed> {
        self.last += 1;
        let job_number = self.last;
        let pending_job = PendingJob::new(job);
        let place = |(at, command): (usize, PendingCommand)| {
            let job = job_number;
            (Place { job, at }, command.slot)
        };
        let places = pending_job.pending().map(place).collect();
        self.jobs.insert(job_number, pending_job);
        places
    }

    /// The job that a command belongs to, unless it is over.
    pub(super) fn get_mut(&mut self, place: Place) -> Option<&mut PendingJob> {
        self.jobs.get_mut(&place.job)
    }

    pub(super) fn access(&self, place: Place) -> Access {
        let job = self.jobs.get(&place.job);
        job.map_or(Access::Read, |job| job.commands.access(place.at))
    }

    /// Whether an operation begins with the command.
    pub(super) fn is_operation(&self, place: Place) -> bool {
        let job = self.jobs.get(&place.job);
        job.is_some_and(|job| job.commands.is_operation(place.at))
    }

    /// Gives a job replies to some of its commands.
    pub(super) fn complete(&mut self, job: u64, replies: Vec<(usize, Reply)>) {
        let Some(pending_job) = self.jobs.get_mut(&job) else {
            return;
        };
        pending_job.answer(replies);
        if pending_job.unanswered == 0 {
            self.jobs.remove(&job);
        }
    }

    /// By when the next of them must be answered.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.jobs.values().next().map(|job| job.deadline)
    }

    /// Takes out a job that has run out of time.
    pub(super) fn pop_expired(&mut self, now: Instant) -> Option<(u64, PendingJob)> {
        let first = self.jobs.first_entry()?;
        (first.get().deadline <= now).then(|| first.remove_entry())
    }
}
