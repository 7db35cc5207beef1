//! The unanswered jobs of a cluster, and the pending commands of each.

use super::slot_map::slot;
use crate::connection::commands::{Access, Commands};
use crate::connection::job::{Job, Place, Reply};
use crate::connection::origin::{Origin, ServerId};
use crate::error::Error;
use std::collections::BTreeMap;
use tokio::time::Instant;

/// A command and its slot.
pub(super) type Routed = (Place, u16);

/// A job with its pending commands.
pub(super) struct PendingJob {
    job: Job,
    /// One entry per command; `None` once it is answered.
    pending: Vec<Option<PendingCommand>>,
    /// The number of unanswered commands.
    unanswered: usize,
    /// The error of the last failed attempt.
    pub(super) last_error: Option<Error>,
}

/// A command that is not answered yet.
#[derive(Clone, Copy)]
pub(super) struct PendingCommand {
    pub(super) slot: u16,
    /// The number of times it was sent.
    pub(super) attempts: u32,
    /// The number of times a node hung up on it.
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
            unanswered: job.pending.len(),
            pending,
            job,
            last_error: None,
        }
    }

    pub(super) fn commands(&self) -> &Commands {
        &self.job.commands
    }

    /// Returns a command, unless it is answered.
    pub(super) fn command_mut(&mut self, at: usize) -> Option<&mut PendingCommand> {
        self.pending.get_mut(at)?.as_mut()
    }

    /// Notes that a command is sent to a node.
    pub(super) fn note_sent(&mut self, at: usize) {
        if let Some(command) = self.command_mut(at) {
            command.attempts = command.attempts.saturating_add(1);
        }
        self.job.handler.on_sent();
    }

    /// Returns the unanswered commands, each with its index.
    pub(super) fn pending(&self) -> impl Iterator<Item = (usize, PendingCommand)> + Clone {
        let commands = self.pending.iter().enumerate();
        commands.filter_map(|(at, command)| Some((at, (*command)?)))
    }

    /// Passes replies to the reply handler, in one call if their commands were sent equally often.
    fn answer(&mut self, mut replies: Vec<(usize, Reply)>, server: ServerId) {
        self.unanswered = self.unanswered.saturating_sub(replies.len());
        while let Some((first, _)) = replies.first() {
            let attempts = self.attempts(*first);
            let is_other = |(at, _): &(usize, Reply)| self.attempts(*at) != attempts;
            let end = replies.iter().position(is_other).unwrap_or(replies.len());
            let others = replies.split_off(end);
            for (at, _) in &replies {
                if let Some(command) = self.pending.get_mut(*at) {
                    *command = None;
                }
            }
            let origin = Origin { server, attempts };
            self.job.handler.on_replies(replies, origin);
            replies = others;
        }
    }

    /// Returns the number of times that an unanswered command was sent.
    fn attempts(&self, at: usize) -> u32 {
        let command = self.pending.get(at).copied().flatten();
        command.map_or(0, |command| command.attempts)
    }

    /// Completes all unanswered commands with an error.
    pub(super) fn fail(mut self, error: &Error) {
        let replies = self.pending().map(|(at, _)| (at, Err(error.clone())));
        let replies = replies.collect();
        self.answer(replies, ServerId::default());
    }
}

/// The unanswered jobs, by number.
#[derive(Default)]
pub(super) struct Jobs {
    /// In order of arrival, which is also the order of their deadlines.
    jobs: BTreeMap<u64, PendingJob>,
    last: u64,
}

impl Jobs {
    pub(super) fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    /// Adds a job and returns its commands with their slots.
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

    /// Returns the job of a command, unless it is completed.
    pub(super) fn get_mut(&mut self, place: Place) -> Option<&mut PendingJob> {
        self.jobs.get_mut(&place.job)
    }

    /// Returns the access of a command; a read if its job is completed.
    pub(super) fn access(&self, place: Place) -> Access {
        let job = self.jobs.get(&place.job);
        job.map_or(Access::Read, |job| job.commands().access(place.at))
    }

    /// Returns true if the command is the first of an operation.
    pub(super) fn is_operation(&self, place: Place) -> bool {
        let job = self.jobs.get(&place.job);
        job.is_some_and(|job| job.commands().is_operation(place.at))
    }

    /// Passes replies to a job, and removes it once all its commands are answered.
    pub(super) fn complete(&mut self, job: u64, replies: Vec<(usize, Reply)>, server: ServerId) {
        let Some(pending_job) = self.jobs.get_mut(&job) else {
            return;
        };
        pending_job.answer(replies, server);
        if pending_job.unanswered == 0 {
            self.jobs.remove(&job);
        }
    }

    /// Returns the earliest deadline.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.jobs.values().next().map(|job| job.job.deadline)
    }

    /// Removes and returns a job whose deadline has passed, with its number.
    pub(super) fn pop_expired(&mut self, now: Instant) -> Option<(u64, PendingJob)> {
        let first = self.jobs.first_entry()?;
        (first.get().job.deadline <= now).then(|| first.remove_entry())
    }
}
