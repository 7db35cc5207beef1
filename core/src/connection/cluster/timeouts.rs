//! Timeouts: fails jobs whose deadline has passed, and builds their errors.

use super::jobs::PendingJob;
use super::router::Router;
use crate::cause::Cause;
use crate::connection::clock;
use crate::connection::job::Place;
use crate::connection::origin::ServerId;
use crate::connection::timeout_error::ExpiredJob;
use crate::error::Error;
use std::mem;

impl Router {
    /// Fails the jobs whose deadline has passed.
    pub(super) fn expire(&mut self) {
        while let Some((number, job)) = self.jobs.pop_expired(clock::now()) {
            let error = self.timeout_error(&job);
            for (at, command) in job.pending() {
                self.parked.remove(command.slot, Place { job: number, at });
                // The commands after it may be ready to send.
                self.parked.mark_due(command.slot);
            }
            job.fail(&error);
        }
    }

    /// Builds the timeout error for a job.
    fn timeout_error(&self, job: &PendingJob) -> Error {
        let mut commands = job.pending().map(|(_, command)| command);
        let sent = commands.clone().map(|command| command.attempts).max();
        let sent = sent.unwrap_or(0);
        let last_error = match sent {
            0 => commands
                .clone()
                .find_map(|command| self.parked.transient_error(command.slot)),
            _ => job.last_error.as_ref(),
        };
        let expired = ExpiredJob {
            sent,
            awaits_reply: sent > 0,
            last_error: last_error.map(Cause::from),
            unsendable: commands
                .next()
                .and_then(|command| self.unavailable_cause(command.slot)),
        };
        expired.error(&self.shared)
    }

    /// Returns the reason why the parked commands of a slot cannot be sent, if it is known.
    pub(super) fn unavailable_cause(&self, slot: u16) -> Option<Cause> {
        let last_error = match self.slot_map.shard(slot) {
            Some(shard) => self.nodes.last_error(&shard.primary),
            None if self.refresh_error.is_none() && !self.slot_map.is_empty() => {
                return Some(format!("no node serves the slot {slot}").into());
            }
            None => self.refresh_error.as_ref(),
        };
        last_error.map(Cause::from)
    }

    /// Fails all parked commands and the callers that wait for the current topology refresh.
    pub(super) fn fail_waiting(&mut self, error: &Error) {
        for waiter in mem::take(&mut self.current_waiters) {
            // The receiver may have stopped waiting.
            let _ = waiter.send(Err(error.clone()));
        }
        for place in self.parked.take_all() {
            let replies = vec![(place.at, Err(error.clone()))];
            self.jobs.complete(place.job, replies, ServerId::default());
        }
    }
}
