//! To whom the replies of an open connection go: they come in the order of what was sent.

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
    /// Gives a reply, which came at `heard`, to the command that it answers.
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
        // Our own question after a loss is no service.
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

    /// What the server sends without being asked.
    fn handle_push(&mut self, kind: &PushKind, data: Vec<Value>) -> Result<(), Failure> {
        if let PushKind::Other(_) = kind {
            // Of a kind that nobody asked for, it may be a damaged reply that swallowed another one.
            return Err(Failure::lost("the server sent a push that is unknown"));
        }
        self.complete_received();
        if let Some(tracking) = &self.tracking {
            tracking.take(kind, data);
        }
        Ok(())
    }

    /// Of a reply that no command waits for.
    fn unexpected_reply(&self, value: &Value) -> Failure {
        match value {
            // Such as the reason why it closes the connection.
            Value::ServerError(error) => Failure::lost(Error::from_reply(
                &self.shared.server,
                error.code(),
                error.details(),
            )),
            _ => Failure::lost("the server sent a reply that nobody asked for"),
        }
    }

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
            // As for what is put off.
            self.end_tracking();
        }
        match rest {
            // It was sent in part.
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
            // What is read from here on may be older than a write before it, which was put off.
            self.end_tracking();
        }
    }

    /// Settles those replies to the first job that have come. What the server tells of a key after them
    /// must not be taken in before them: the cache would keep for ever what was changed by then.
    fn complete_received(&mut self) {
        if self.tracking.is_none() || cfg!(feature = "unsound-cache") {
            return;
        }
        let policy = self.retry_policy();
        let Some(sent) = self.in_flight.first_mut() else {
            return;
        };
        let Purpose::Job(job) = &mut sent.purpose else {
            return;
        };
        // Once the server has put something off, nothing of what comes is kept.
        if !self.held.is_empty() || sent.replies.is_empty() {
            return;
        }
        let denied = sent.denied;
        let needs_retry = |(&at, value): (&usize, &Value)| match value {
            Value::ServerError(error) => {
                let error = Error::from_reply("", error.code(), error.details());
                policy == RetryPolicy::TransientErrors && error.is_passing()
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

    /// What is done about answers that mean "later".
    pub(super) fn retry_policy(&self) -> RetryPolicy {
        match self.options.membership {
            Membership::None => RetryPolicy::TransientErrors,
            // The cluster repeats what is put off.
            Membership::Member | Membership::Reader => RetryPolicy::Never,
        }
    }
}
