//! The retry queue after a lost link: in-flight commands are queued again, in order. All commands are idempotent, so
//! one that was executed without a reply may be executed again.

use super::Supervisor;
use super::retry::apply_replies;
use super::slow_start::MAX_HANG_UPS;
use crate::connection::Job;
use crate::error::Error;
use crate::options::Membership;
use std::sync::atomic::Ordering;

/// The end of a link that a command may have caused.
pub(super) struct HangUp {
    pub(super) cause: String,
    /// True if the server did not hang up, but sent an unreadable reply.
    pub(super) is_unreadable: bool,
}

impl Supervisor {
    /// Queues the in-flight commands of a lost link again, at their old places; in a cluster, returns them to the
    /// router with `error`. `hang_up` is the cause if the server ended the link.
    pub(super) fn requeue_in_flight(&mut self, error: &Error, hang_up: Option<HangUp>) {
        let due = self.in_flight.replies_due();
        let policy = self.retry_policy();
        let mut retry_queue = std::mem::take(&mut self.retry_queue);
        self.substitution_pending = false;
        for (job, replies, denied) in self.in_flight.take() {
            let server = &self.shared.server;
            retry_queue
                .extend(apply_replies(job, replies, server, policy, denied, &mut self.held).job);
        }
        for job in &mut retry_queue {
            job.failed_attempts = job.failed_attempts.saturating_add(1);
        }
        if let Some(hang_up) = hang_up
            && due > 0
        {
            self.slow_start.restart();
            if due == 1
                && self.slow_start.has_replied()
                && let Some(job) = retry_queue.pop_front()
                && let Some(rest) = self.handle_hang_up(job, hang_up)
            {
                retry_queue.push_front(rest);
            }
        }
        if self.options.membership != Membership::None {
            for job in retry_queue {
                job.fail(error);
            }
            self.fail_waiting(error);
            return;
        }
        let count = retry_queue.iter().map(Job::operations).sum();
        self.shared.queued.fetch_add(count, Ordering::Relaxed);
        retry_queue.append(&mut self.waiting);
        self.waiting = retry_queue;
    }

    /// Handles the loss of a link on which a single command was in flight: the first pending command of `job`. After
    /// [`MAX_HANG_UPS`] losses, replaces it with its substitute or fails it. Returns the remainder of the job.
    fn handle_hang_up(&mut self, mut job: Job, hang_up: HangUp) -> Option<Job> {
        job.hang_ups += 1;
        // In a cluster, the router retries the command and counts its hang-ups.
        if job.hang_ups < MAX_HANG_UPS && self.options.membership == Membership::None {
            return Some(job);
        }
        let first = job.pending.first();
        let denied = first.and_then(|&at| self.hung_up_on.untried(&job.commands, at));
        if let Some(denied) = denied.filter(|denied| denied.may_be_hung_up_on())
            && self.options.membership == Membership::None
        {
            self.hung_up_on.add(denied);
            job.hang_ups = 0;
            return Some(job);
        }
        let (count, cause) = (job.hang_ups, hang_up.cause);
        let server = self.shared.server.to_string();
        let error = match hang_up.is_unreadable {
            true => Error::UnreadableReply {
                server,
                count,
                cause,
            },
            false => Error::HungUp {
                server,
                count,
                cause,
            },
        };
        job.fail_first(error)
    }
}
