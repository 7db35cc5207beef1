//! What becomes of what a lost connection cut off.

use super::Supervisor;
use super::retry::answer;
use super::slow_start::MOST_HANG_UPS;
use crate::connection::Job;
use crate::error::Error;
use crate::options::Membership;
use std::sync::atomic::Ordering;

/// Why a connection ended, where a command may be the cause.
pub(super) struct HangUp {
    pub(super) cause: String,
    /// The server did not hang up: its reply could not be used.
    pub(super) is_unreadable: bool,
}

impl Supervisor {
    /// Queues again, at its old place, what a lost connection cut off; or gives it back to the cluster.
    /// `hang_up` is why the connection ended, if it was the server.
    pub(super) fn take_back(&mut self, error: &Error, hang_up: Option<HangUp>) {
        let owed = self.in_flight.owed();
        let rule = self.rule();
        let mut again = std::mem::take(&mut self.again);
        self.replays = false;
        for (job, replies, denied) in self.in_flight.take() {
            let server = &self.shared.server;
            again.extend(answer(job, replies, server, rule, denied, &mut self.held).job);
        }
        for job in &mut again {
            job.failed_attempts = job.failed_attempts.saturating_add(1);
        }
        if let Some(hang_up) = hang_up
            && owed > 0
        {
            self.window.narrow();
            if owed == 1
                && self.window.is_proven()
                && let Some(job) = again.pop_front()
                && let Some(rest) = self.suspect(job, hang_up)
            {
                again.push_front(rest);
            }
        }
        if self.options.membership != Membership::None {
            for job in again {
                job.fail(error);
            }
            self.fail_waiting(error);
            return;
        }
        let count = again.iter().map(Job::operations).sum();
        self.shared.queued.fetch_add(count, Ordering::Relaxed);
        again.append(&mut self.waiting);
        self.waiting = again;
    }

    /// The connection was lost under a single command, the first of the job. What is left of it.
    fn suspect(&mut self, mut job: Job, hang_up: HangUp) -> Option<Job> {
        job.hang_ups += 1;
        // In a cluster, whoever repeats it counts.
        if job.hang_ups < MOST_HANG_UPS && self.options.membership == Membership::None {
            return Some(job);
        }
        let first = job.pending.first();
        let denied = first.and_then(|&at| self.hung_up.untried(&job.commands, at));
        if let Some(denied) = denied.filter(|denied| denied.may_be_hung_up_on())
            && self.options.membership == Membership::None
        {
            self.hung_up.add(denied);
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
