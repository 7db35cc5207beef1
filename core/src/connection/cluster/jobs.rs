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
pub(super) struct Work {
    pub(super) commands: Commands,
    /// Each command; `None` once it is answered.
    open: Vec<Option<Open>>,
    left: usize,
    deadline: Instant,
    handler: Box<dyn ReplyHandler>,
    /// Why the last attempt came to nothing.
    pub(super) trouble: Option<Error>,
}

/// A command that is not answered yet.
#[derive(Clone, Copy)]
pub(super) struct Open {
    pub(super) slot: u16,
    /// How often it was sent.
    pub(super) sent: u32,
    /// How often a node hung up on it alone.
    pub(super) hang_ups: u32,
}

impl Work {
    fn of(job: Job) -> Self {
        let mut open = vec![None; job.commands.len()];
        for &at in &job.pending {
            let slot = job.commands.key(at).map_or(0, slot);
            if let Some(open) = open.get_mut(at) {
                *open = Some(Open {
                    slot,
                    sent: 0,
                    hang_ups: 0,
                });
            }
        }
        Self {
            commands: job.commands,
            left: job.pending.len(),
            open,
            deadline: job.deadline,
            handler: job.handler,
            trouble: None,
        }
    }

    /// A command, if it is not answered yet.
    pub(super) fn open_at(&mut self, at: usize) -> Option<&mut Open> {
        self.open.get_mut(at)?.as_mut()
    }

    /// Notes that a command is sent to a node.
    pub(super) fn note_sent(&mut self, at: usize) {
        if let Some(open) = self.open_at(at) {
            open.sent = open.sent.saturating_add(1);
        }
        self.handler.on_sent();
    }

    /// All that is not answered yet, by its place among the commands.
    pub(super) fn open(&self) -> impl Iterator<Item = (usize, Open)> + Clone {
        let open = self.open.iter().enumerate();
        open.filter_map(|(at, open)| Some((at, (*open)?)))
    }

    fn answer(&mut self, replies: Vec<(usize, Reply)>) {
        for (at, _) in &replies {
            if let Some(open) = self.open.get_mut(*at) {
                *open = None;
            }
        }
        self.left = self.left.saturating_sub(replies.len());
        self.handler.on_replies(replies);
    }

    /// Answers all that is not answered yet.
    pub(super) fn fail(mut self, error: &Error) {
        let replies = self.open().map(|(at, _)| (at, Err(error.clone())));
        let replies = replies.collect();
        self.answer(replies);
    }
}

#[derive(Default)]
pub(super) struct Jobs {
    /// In the order in which they came, which is that of their deadlines.
    works: BTreeMap<u64, Work>,
    last: u64,
}

impl Jobs {
    pub(super) fn is_empty(&self) -> bool {
        self.works.is_empty()
    }

    /// Takes in a job. Its commands and their slots.
    pub(super) fn add(&mut self, job: Job) -> Vec<Routed> {
        self.last += 1;
        let job_number = self.last;
        let work = Work::of(job);
        let place = |(at, open): (usize, Open)| {
            let job = job_number;
            (Place { job, at }, open.slot)
        };
        let places = work.open().map(place).collect();
        self.works.insert(job_number, work);
        places
    }

    /// The job that a command belongs to, unless it is over.
    pub(super) fn of(&mut self, place: Place) -> Option<&mut Work> {
        self.works.get_mut(&place.job)
    }

    pub(super) fn access(&self, place: Place) -> Access {
        let work = self.works.get(&place.job);
        work.map_or(Access::Read, |work| work.commands.access(place.at))
    }

    /// Whether an operation begins with the command.
    pub(super) fn is_operation(&self, place: Place) -> bool {
        let work = self.works.get(&place.job);
        work.is_some_and(|work| work.commands.is_operation(place.at))
    }

    /// Gives a job replies to some of its commands.
    pub(super) fn settle(&mut self, job: u64, replies: Vec<(usize, Reply)>) {
        let Some(work) = self.works.get_mut(&job) else {
            return;
        };
        work.answer(replies);
        if work.left == 0 {
            self.works.remove(&job);
        }
    }

    /// By when the next of them must be answered.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.works.values().next().map(|work| work.deadline)
    }

    /// Takes out a job that has run out of time.
    pub(super) fn pop_overdue(&mut self, now: Instant) -> Option<(u64, Work)> {
        let first = self.works.first_entry()?;
        (first.get().deadline <= now).then(|| first.remove_entry())
    }
}
