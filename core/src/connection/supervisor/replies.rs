//! Matches the replies of an open link to its in-flight commands: replies arrive in the order of the commands.

use super::apply_replies::{denied_command, to_reply};
use super::in_flight::Purpose;
use super::queue::SentJob;
use super::task::Supervisor;
use crate::connection::failure::Failure;
use crate::error::Error;
use redis::{PushKind, Value};
use tokio::time::Instant;

impl Supervisor {
    /// Matches a reply, received at `received`, to the first unanswered command.
    pub(super) fn handle_reply(&mut self, value: Value, received: Instant) -> Result<(), Failure> {
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
        self.has_served = true;
        self.heartbeat.note_reply(&sent.purpose, received);
        if let Some(tracking) = &mut self.tracking {
            tracking.note_reply(&value);
            if matches!(sent.purpose, Purpose::SlotCheck) && sent.received == 0 {
                tracking.take_slots(&value);
            }
        }
        if let Purpose::Job(_) = &sent.purpose {
            sent.replies.push(value);
        }
        sent.received += 1;
        let Some(answered) = self.in_flight.pop_answered() else {
            return Ok(());
        };
        let is_about_slots = matches!(answered.purpose, Purpose::SlotCheck);
        if let Purpose::Job(job) = answered.purpose {
            self.complete_job((job, answered.replies, answered.denied));
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
            return Err(Failure::lost("the server sent an unknown push message"));
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
            _ => Failure::lost("the server sent a reply that no command waits for"),
        }
    }

    /// Completes the answered commands of a job and queues those to retry.
    fn complete_job(&mut self, job: SentJob) {
        let was_retrying = self.queue.is_retrying();
        let newly_denied = self.queue.complete(job);
        if !newly_denied.is_empty() {
            self.in_flight.denied.add(newly_denied);
            self.shared.counters.note_denied(newly_denied);
        }
        if !was_retrying && self.queue.is_retrying() {
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
        let policy = self.queue.policy();
        let Some(sent) = self.in_flight.first_mut() else {
            return;
        };
        let Purpose::Job(job) = &mut sent.purpose else {
            return;
        };
        // After a transient error, later replies are not cached.
        if self.queue.holds_keys() || sent.replies.is_empty() {
            return;
        }
        let denied = sent.denied;
        let needs_retry = |(&at, value): (&usize, &Value)| match value {
            Value::ServerError(error) => {
                let error = Error::from_reply("", error.code(), error.details());
                policy.retries(&error)
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
        job.handler.on_replies(replies.collect(), job.origin);
    }
}
