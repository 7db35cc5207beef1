//! The job queue of a connection: jobs that wait to be sent, and the retry queue.
//!
//! After a lost link, in-flight commands are queued again at their old places. All commands are idempotent, so one that
//! was executed without a reply may be executed again.

use super::apply_replies::{Remainder, apply_replies};
use super::held_keys::HeldKeys;

use crate::connection::failure::{Failure, FailureKind};
use crate::connection::job::Job;
use crate::connection::origin::ServerId;
use crate::connection::retry_policy::{MAX_HANG_UPS, RetryPolicy};
use crate::connection::shared::Shared;
use crate::connection::substitutes::Denied;
use crate::connection::timeout_error::ExpiredJob;
use crate::error::Error;
use redis::Value;
use std::collections::VecDeque;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::time::Instant;

/// A job that was in flight, its received replies, and the commands of it that were sent as substitutes.
pub(super) type SentJob = (Job, Vec<Value>, Denied);

/// The jobs that are not in flight.
pub(super) struct JobQueue {
    shared: Arc<Shared>,
    policy: RetryPolicy,
    /// Jobs that are not sent yet. Their deadlines never decrease, since all jobs have the same timeout.
    waiting: VecDeque<Job>,
    /// Jobs to send again. They go in front of `waiting` when they are requeued.
    retries: VecDeque<Job>,
    /// The keys of the commands to send again.
    held: HeldKeys,
    /// The transient error that caused the current retry. While it is set, no further job is sent: replies to reads
    /// are used, and writes are repeated so that they keep their order.
    transient_error: Option<Failure>,
    /// A denied command has a substitute. No further job is sent until all in-flight commands are answered; then the
    /// denied commands and the writes after them are sent again.
    awaits_substitution: bool,
    /// True from the loss of a link that a command may have caused until the next reply: commands are sent one by one,
    /// since the one in question may be behind others whose replies were lost with its own.
    sends_singly: bool,
    /// Commands on which a proxy hung up. For a while, each new link starts with their substitutes.
    hung_up_on: Denied,
    /// The server of the current or last link.
    server: ServerId,
}

impl JobQueue {
    pub(super) fn new(shared: Arc<Shared>, policy: RetryPolicy) -> Self {
        Self {
            shared,
            policy,
            waiting: VecDeque::new(),
            retries: VecDeque::new(),
            held: HeldKeys::default(),
            transient_error: None,
            awaits_substitution: false,
            sends_singly: false,
            hung_up_on: Denied::default(),
            server: ServerId::default(),
        }
    }

    // ---- Waiting jobs. `Shared::queued` counts their operations, from the handle that sent them. ----

    /// Adds a job that a handle sent.
    pub(super) fn push(&mut self, job: Job) {
        self.waiting.push_back(job);
    }

    /// Adds a job of the supervisor's own.
    pub(super) fn push_own(&mut self, job: Job) {
        self.note_queued([&job]);
        self.waiting.push_back(job);
    }

    /// Removes the job to send next.
    pub(super) fn pop(&mut self) -> Option<Job> {
        let job = self.waiting.pop_front()?;
        self.note_dequeued(&job);
        Some(job)
    }

    /// Removes all waiting jobs.
    pub(super) fn take_waiting(&mut self) -> VecDeque<Job> {
        let jobs = mem::take(&mut self.waiting);
        jobs.iter().for_each(|job| self.note_dequeued(job));
        jobs
    }

    /// Fails all waiting jobs.
    pub(super) fn fail_waiting(&mut self, error: &Error) {
        for job in self.take_waiting() {
            job.fail(error);
        }
    }

    /// Subtracts a job's operations from the queue that `max_queue` bounds.
    pub(super) fn note_dequeued(&self, job: &Job) {
        let queued = &self.shared.queued;
        queued.fetch_sub(job.operations(), Ordering::Relaxed);
    }

    fn note_queued<'a>(&self, jobs: impl IntoIterator<Item = &'a Job>) {
        let count = jobs.into_iter().map(Job::operations).sum();
        self.shared.queued.fetch_add(count, Ordering::Relaxed);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.retries.is_empty()
    }

    pub(super) fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Returns the earliest deadline of a waiting job.
    pub(super) fn waiting_deadline(&self) -> Option<Instant> {
        self.waiting.front().map(|job| job.deadline)
    }

    /// Returns the earliest deadline.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let retry = self.retries.front().map(|job| job.deadline);
        self.waiting_deadline().into_iter().chain(retry).min()
    }

    // ---- Retries ----

    /// Begins a link to `server`. Returns the commands to send as their substitutes.
    pub(super) fn begin_link(&mut self, server: ServerId) -> Denied {
        self.server = server;
        self.held = HeldKeys::default();
        self.hung_up_on
    }

    /// Returns the server of the current link.
    pub(super) fn server(&self) -> ServerId {
        self.server
    }

    /// Tries the commands on which a proxy hung up again.
    pub(super) fn forget_hang_ups(&mut self) {
        self.hung_up_on = Denied::default();
    }

    /// Returns true while no further job may be sent, since commands in flight are to be retried.
    pub(super) fn is_retrying(&self) -> bool {
        self.transient_error.is_some() || self.awaits_substitution
    }

    /// Returns true if denied commands are to be sent again once nothing is in flight.
    pub(super) fn awaits_substitution(&self) -> bool {
        self.awaits_substitution && self.transient_error.is_none()
    }

    pub(super) fn transient_error(&self) -> Option<&Failure> {
        self.transient_error.as_ref()
    }

    /// Ends the retry after a transient error, and returns the error.
    pub(super) fn take_transient_error(&mut self) -> Option<Failure> {
        self.transient_error.take()
    }

    /// Returns true if one command may be sent, and the next one when it is answered.
    pub(super) fn sends_singly(&self) -> bool {
        self.sends_singly
    }

    pub(super) fn policy(&self) -> RetryPolicy {
        self.policy
    }

    /// Returns true if a command in flight is to be retried, so that later replies may be outdated.
    pub(super) fn holds_keys(&self) -> bool {
        !self.held.is_empty()
    }

    /// Completes the answered commands of a job and keeps those to retry. Returns the commands that were denied.
    pub(super) fn complete(&mut self, (job, replies, denied): SentJob) -> Denied {
        let Remainder {
            job,
            transient_error,
            newly_denied,
        } = self.apply_replies(job, replies, denied);
        self.awaits_substitution |= !newly_denied.is_empty();
        self.transient_error = self.transient_error.take().or(transient_error);
        self.sends_singly = false;
        match job {
            // Only a part of it was sent.
            Some(mut job) if !self.is_retrying() => {
                job.origin.attempts = job.origin.attempts.saturating_sub(1);
                self.note_queued([&job]);
                self.waiting.push_front(job);
            }
            job => self.retries.extend(job),
        }
        newly_denied
    }

    fn apply_replies(&mut self, job: Job, replies: Vec<Value>, denied: Denied) -> Remainder {
        let server = &self.shared.server;
        apply_replies(job, replies, server, self.policy, denied, &mut self.held)
    }

    /// Queues the commands to retry again, in front of the waiting jobs.
    pub(super) fn requeue(&mut self) {
        self.awaits_substitution = false;
        self.held = HeldKeys::default();
        self.note_queued(&self.retries);
        self.retries.append(&mut self.waiting);
        self.waiting = mem::take(&mut self.retries);
    }

    /// Queues the in-flight commands of a lost link again, at their old places; in a cluster, returns them to the
    /// router with `error`. `hang_up` is the failure if the first command without a reply may be the cause.
    pub(super) fn requeue_in_flight(
        &mut self,
        in_flight: impl Iterator<Item = SentJob>,
        error: &Error,
        mut hang_up: Option<Failure>,
    ) {
        self.sends_singly |= hang_up.is_some();
        for (job, replies, denied) in in_flight {
            let unanswered = job.pending.get(replies.len()).copied();
            let rest = self.apply_replies(job, replies, denied).job;
            let hang_up = unanswered.and_then(|at| Some((at, hang_up.take()?)));
            let rest = match (rest, hang_up) {
                (Some(job), Some((at, hang_up))) => self.note_hang_up(job, at, hang_up),
                (rest, _) => rest,
            };
            self.retries.extend(rest);
        }
        for job in &mut self.retries {
            job.failed_attempts = job.failed_attempts.saturating_add(1);
        }
        // In a cluster, the router retries them.
        if self.policy != RetryPolicy::Never {
            let commands = self.retries.iter().map(|job| job.pending.len()).sum();
            self.shared.report_retries(commands);
        }
        self.requeue();
        if self.policy == RetryPolicy::Never {
            self.fail_waiting(error);
        }
    }

    /// Counts a lost link against its first command without a reply. After [`MAX_HANG_UPS`], replaces the command with
    /// its substitute, or fails it. Returns the remainder of the job.
    fn note_hang_up(&mut self, mut job: Job, at: usize, failure: Failure) -> Option<Job> {
        job.hang_ups += 1;
        // In a cluster, the router retries the command and counts its hang-ups.
        if self.policy != RetryPolicy::Never {
            if job.hang_ups < MAX_HANG_UPS {
                return Some(job);
            }
            let denied = self.hung_up_on.untried(&job.commands, at);
            if let Some(denied) = denied.filter(|denied| denied.may_be_hung_up_on()) {
                self.hung_up_on.add(denied);
                job.hang_ups = 0;
                return Some(job);
            }
        }
        let server = self.shared.server.clone();
        let (count, cause) = (job.hang_ups, failure.cause);
        let error = match failure.kind {
            FailureKind::Unreadable => Error::UnreadableReply {
                server,
                count,
                cause,
            },
            _ => Error::HungUp {
                server,
                count,
                cause,
            },
        };
        job.fail_one(at, error)
    }

    // ---- Deadlines ----

    /// Fails the jobs whose deadline has passed.
    pub(super) fn expire(&mut self, now: Instant) {
        while let Some(job) = pop_expired(&mut self.waiting, now) {
            self.note_dequeued(&job);
            self.fail_expired(job, false);
        }
        while let Some(job) = pop_expired(&mut self.retries, now) {
            self.fail_expired(job, true);
        }
    }

    /// Completes the answered commands of jobs that expired in flight, and fails the others.
    pub(super) fn expire_in_flight(&self, expired: Vec<(Job, Vec<Value>)>) {
        for (job, replies) in expired {
            let (server, held) = (&self.shared.server, &mut HeldKeys::default());
            let never = RetryPolicy::Never;
            let rest = apply_replies(job, replies, server, never, Denied::ALL, held).job;
            if let Some(rest) = rest {
                self.fail_expired(rest, true);
            }
        }
    }

    /// Fails a job whose deadline has passed. `awaits_reply` is true while its last reply is outstanding.
    fn fail_expired(&self, job: Job, awaits_reply: bool) {
        let down = self.shared.health.down();
        let last_error = match &self.transient_error {
            Some(failure) => Some(failure.cause.clone()),
            // The job failed with the last link, and no attempt to connect has failed since.
            None if job.failed_attempts > 0 && down.attempts <= 1 && !down.timed_out => {
                Some(down.cause)
            }
            None => None,
        };
        let expired = ExpiredJob {
            sent: job.failed_attempts.saturating_add(awaits_reply.into()),
            awaits_reply,
            last_error,
            unsendable: None,
        };
        job.fail(&expired.error(&self.shared));
    }
}

/// Removes the first job if its deadline has passed.
fn pop_expired(jobs: &mut VecDeque<Job>, now: Instant) -> Option<Job> {
    jobs.front().filter(|job| job.deadline <= now)?;
    jobs.pop_front()
}
