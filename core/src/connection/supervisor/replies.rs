//! To whom the replies of an open connection go: they come in the order of what was sent.

use super::Supervisor;
use super::in_flight::Asked;
use super::retry::{Rest, RetryPolicy, answer, reply, untried};
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
    pub(super) fn take_reply(&mut self, value: Value, heard: Instant) -> Result<(), Failure> {
        if let Value::Push { kind, data } = value {
            return self.take_push(&kind, data);
        }
        let Some(sent) = self.in_flight.first_mut() else {
            return Err(self.unasked(&value));
        };
        let value = sent.normalized(value);
        if !sent.expects(&value) {
            return Err(Failure::out_of_step());
        }
        // Our own question after a loss is no service.
        self.served |= sent.asked.job().is_some() || self.window.is_open();
        if let Some(tracking) = &mut self.tracking {
            tracking.note_reply(&value);
            if matches!(sent.asked, Asked::Slots) && sent.come == 0 {
                tracking.take_slots(&value);
            }
        }
        if let Asked::Job(_) = &sent.asked {
            sent.replies.push(value);
        }
        self.window.prove();
        self.replied = heard;
        self.answered |= !matches!(sent.asked, Asked::Ping);
        sent.come += 1;
        let Some(answered) = self.in_flight.pop_answered() else {
            return Ok(());
        };
        let is_about_slots = matches!(answered.asked, Asked::Slots);
        if let Asked::Job(job) = answered.asked {
            if self.in_flight.is_empty() {
                self.window.widen();
            }
            self.settle(job, answered.replies, answered.denied);
        }
        match &mut self.tracking {
            Some(tracking) if is_about_slots => tracking.slots_answered(answered.moment),
            Some(tracking) => tracking.answered(answered.moment),
            None => {}
        }
        Ok(())
    }

    /// What the server sends without being asked.
    fn take_push(&mut self, kind: &PushKind, data: Vec<Value>) -> Result<(), Failure> {
        if let PushKind::Other(_) = kind {
            // Of a kind that nobody asked for, it may be a damaged reply that swallowed another one.
            return Err(Failure::lost("the server sent a push that is unknown"));
        }
        self.settle_come();
        if let Some(tracking) = &self.tracking {
            tracking.take(kind, data);
        }
        Ok(())
    }

    /// Of a reply that no command waits for.
    fn unasked(&self, value: &Value) -> Failure {
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

    fn settle(&mut self, job: Job, replies: Vec<Value>, denied: Denied) {
        let rule = self.rule();
        let Rest {
            job: rest,
            later,
            refused,
        } = answer(
            job,
            replies,
            &self.shared.server,
            rule,
            denied,
            &mut self.held,
        );
        if !refused.is_empty() {
            self.in_flight.denied.add(refused);
            self.replays = true;
            // As for what is put off.
            self.end_tracking();
        }
        match rest {
            // It was sent in part.
            Some(rest) if self.later.is_none() && later.is_none() && !self.replays => {
                self.shared
                    .queued
                    .fetch_add(rest.operations(), Ordering::Relaxed);
                self.waiting.push_front(rest);
            }
            rest => self.again.extend(rest),
        }
        if self.later.is_none() && later.is_some() {
            self.later = later;
            // What is read from here on may be older than a write before it, which was put off.
            self.end_tracking();
        }
    }

    /// Settles those replies to the first job that have come. What the server tells of a key after them
    /// must not be taken in before them: the cache would keep for ever what was changed by then.
    fn settle_come(&mut self) {
        if self.tracking.is_none() || cfg!(feature = "unsound-cache") {
            return;
        }
        let rule = self.rule();
        let Some(sent) = self.in_flight.first_mut() else {
            return;
        };
        let Asked::Job(job) = &mut sent.asked else {
            return;
        };
        // Once the server has put something off, nothing of what comes is kept.
        if !self.held.is_empty() || sent.replies.is_empty() {
            return;
        }
        let denied = sent.denied;
        let is_put_off = |(&at, value): (&usize, &Value)| match value {
            Value::ServerError(error) => {
                let error = Error::from_reply("", error.code(), error.details());
                rule == RetryPolicy::PutOff && error.is_passing()
                    || untried(&Err(error), denied, &job.commands, at).is_some()
            }
            _ => false,
        };
        if job.pending.iter().zip(&sent.replies).any(is_put_off) {
            self.end_tracking();
            return;
        }
        let replies = std::mem::take(&mut sent.replies);
        let places: Vec<_> = job.pending.drain(..replies.len()).collect();
        sent.due -= replies.len();
        sent.come -= replies.len();
        job.hang_ups = 0;
        let server = &self.shared.server;
        let replies = places.into_iter().zip(replies);
        let replies = replies.map(|(at, value)| (at, reply(server, &job.commands, at, value)));
        job.handler.on_replies(replies.collect());
    }

    /// What is done about answers that mean "later".
    pub(super) fn rule(&self) -> RetryPolicy {
        match self.options.membership {
            Membership::None => RetryPolicy::PutOff,
            // The cluster repeats what is put off.
            Membership::Member | Membership::Reader => RetryPolicy::Plain,
        }
    }
}
