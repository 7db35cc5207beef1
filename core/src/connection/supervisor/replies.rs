//! Matches the replies of an open link to its in-flight commands: replies arrive in the order of the commands.

use super::Supervisor;
use super::in_flight::Purpose;
use super::retry::{Remainder, RetryPolicy, apply_replies, denied_command, to_reply};
use crate::connection::Job;
use crate::connection::failure::Failure;
use crate::connection::substitutes::Denied;
use crate::error::Error;
use crate::options::Membership;
use redis::{PushKind, Value};
use std::sync::atomic::Ordering;
use tokio::time::Instant;

impl Supervisor {
    /// Matches a reply, received at `heard`, to the first unanswered command.
    pub(super) fn handle_reply(&mut self, value: Value, heard: Instant) -> Result<(), Failure> {
        if let Value::Push { kind, data } = value {
            return self.handle_push(&kind, data);
        }
        let Some(sent) = self.in_flight.first_mut() else {
            return Err(self.unexpected_reply(&value));
        };
        let value = sent.normalized(value);
        if !sent.expects(&value) {
            return Err(Failure::out_of_step());
        }
        // A reply to the probe that precedes slow start does not count as service.
        self.has_served |= sent.purpose.job().is_some() || self.slow_start.is_over();
        if let Some(tracking) = &mut self.tracking {
            tracking.note_reply(&value);
            if matches!(sent.purpose, Purpose::SlotCheck) && sent.received == 0 {
                tracking.take_slots(&value);
            }
        }
        if let Purpose::Job(_) = &sent.purpose {
            sent.replies.push(value);
        }
        self.slow_start.note_reply();
        self.last_reply_at = heard;
        self.has_answered |= !matches!(sent.purpose, Purpose::Ping);
        sent.received += 1;
        let Some(answered) = self.in_flight.pop_answered() else {
            return Ok(());
        };
        let is_about_slots = matches!(answered.purpose, Purpose::SlotCheck);
        if let Purpose::Job(job) = answered.purpose {
            if self.in_flight.is_empty() {
                self.slow_start.grow();
            }
            self.complete_job(job, answered.replies, answered.denied);
        }
        match &mut self.tracking {
            Some(tracking) if is_about_slots => tracking.slots_answered(answered.moment),
            Some(tracking) => tracking.answered(answered.moment),
            None => {}
        }
        Ok(())
    }

    /// Handles a push message.
    fn handle_push(&mut self, kind: &PushKind, data: Vec<Value>) -> Result<(), Failure> {
        if let PushKind::Other(_) = kind {
            // No subscription requests this kind: it may be a damaged reply that swallowed another one.
            return Err(Failure::lost("the server sent a push that is unknown"));
        }
        self.complete_received();
        if let Some(tracking) = &self.tracking {
            tracking.take(kind, data);
        }
        Ok(())
    }

    /// Builds the failure for a reply that no command waits for.
    fn unexpected_reply(&self, value: &Value) -> Failure {
        match value {
            // For example, the reason why the server closes the connection.
            Value::ServerError(error) => Failure::lost(Error::from_reply(
                &self.shared.server,
                error.code(),
                error.details(),
            )),
            _ => Failure::lost("the server sent a reply that nobody asked for"),
        }
    }

    /// Completes the answered commands of a job and queues those to retry.
    fn complete_job(&mut self, job: Job, replies: Vec<Value>, denied: Denied) {
        let policy = self.retry_policy();
        let Remainder {
            job: rest,
            transient_error,
            newly_denied,
        } = apply_replies(
            job,
            replies,
            &self.shared.server,
            policy,
            denied,
            &mut self.held,
        );
        if !newly_denied.is_empty() {
            self.in_flight.denied.add(newly_denied);
            self.substitution_pending = true;
            // A later read may be older than a write that is to be retried: see below.
            self.end_tracking();
        }
        match rest {
            // Slow start sent only a part of it.
            Some(rest)
                if self.transient_error.is_none()
                    && transient_error.is_none()
                    && !self.substitution_pending =>
            {
                self.shared
                    .queued
                    .fetch_add(rest.operations(), Ordering::Relaxed);
                self.waiting.push_front(rest);
            }
            rest => self.retry_queue.extend(rest),
        }
        if self.transient_error.is_none() && transient_error.is_some() {
            self.transient_error = transient_error;
            // A later read may be older than an earlier write that is to be retried.
            self.end_tracking();
        }
    }

    /// Completes the received replies of the first job, before an invalidation that follows them is applied. In the
    /// other order, the cache would be filled with a value that has changed and keep it forever.
    fn complete_received(&mut self) {
        if self.tracking.is_none() {
            return;
        }
        let policy = self.retry_policy();
        let Some(sent) = self.in_flight.first_mut() else {
            return;
        };
        let Purpose::Job(job) = &mut sent.purpose else {
            return;
        };
        // After a transient error, later replies are not cached.
        if !self.held.is_empty() || sent.replies.is_empty() {
            return;
        }
        let denied = sent.denied;
        let needs_retry = |(&at, value): (&usize, &Value)| match value {
            Value::ServerError(error) => {
                let error = Error::from_reply("", error.code(), error.details());
                policy == RetryPolicy::TransientErrors && error.is_transient()
                    || denied_command(&Err(error), denied, &job.commands, at).is_some()
            }
            _ => false,
        };
        if job.pending.iter().zip(&sent.replies).any(needs_retry) {
            self.end_tracking();
            return;
        }
        let replies = std::mem::take(&mut sent.replies);
        let places: Vec<_> = job.pending.drain(..replies.len()).collect();
        sent.due -= replies.len();
        sent.received -= replies.len();
        job.hang_ups = 0;
        let server = &self.shared.server;
        let replies = places.into_iter().zip(replies);
        let replies = replies.map(|(at, value)| (at, to_reply(server, &job.commands, at, value)));
        job.handler.on_replies(replies.collect());
    }

    /// Returns the retry policy of this connection.
    pub(super) fn retry_policy(&self) -> RetryPolicy {
        match self.options.membership {
            Membership::None => RetryPolicy::TransientErrors,
            // The cluster router retries them.
            Membership::Member | Membership::Reader => RetryPolicy::Never,
        }
    }
}
