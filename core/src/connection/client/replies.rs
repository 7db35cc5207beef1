//! What becomes of the client's replies: answers, or further tries.

use super::Driver;
use super::jobs::{Place, Stage};
use super::state::State;
use super::{FIRST_PAUSE, LONGEST_PAUSE};
use crate::connection::Reply;
use crate::connection::commands::{Access, Expect};
use crate::connection::substitutes::Denied;
use crate::error::Error;
use crate::redaction::redact;
use redis::Value;
use std::collections::BTreeMap;
use tokio::time::Instant;

impl Driver {
    pub(super) fn take_replies(&mut self, values: Vec<Value>) {
        self.heard = Instant::now();
        if self.state == State::Silent {
            self.set_connected();
        }
        let mut answers: BTreeMap<u64, Vec<(usize, Reply)>> = BTreeMap::new();
        let mut values = values.into_iter();
        while let (Some(Value::Int(number)), Some(Value::Int(kind)), Some(value)) =
            (values.next(), values.next(), values.next())
        {
            let Ok(number) = u64::try_from(number) else {
                return;
            };
            self.notice_failing(kind, &value);
            // Else it has run out of time.
            if let Some(place) = self.given.remove(&number)
                && let Some(reply) = self.take_reply(number, place, kind, value)
            {
                answers
                    .entry(place.job)
                    .or_default()
                    .push((place.at, reply));
            }
        }
        for (id, replies) in answers {
            self.answer(id, replies);
        }
        self.end_failure();
    }

    /// The answer to a command; `None` if the command is repeated.
    fn take_reply(&mut self, number: u64, place: Place, kind: i64, value: Value) -> Option<Reply> {
        let server = self.shared.server.to_string();
        let work = self.jobs.get_mut(&place.job)?;
        let denied = match self.substituted.remove(&number) {
            true => self.denied,
            false => Denied::default(),
        };
        let (reply, cause) = match (kind, value) {
            (0, Value::ServerError(error)) => {
                let arguments = work.commands.words(place.at).map(|(word, _)| word);
                let (code, details) = (error.code(), error.details());
                let error = Error::from_reply_to(&server, arguments, code, details);
                let untried = match error.is_command_denied() {
                    true => denied.untried(&work.commands, place.at),
                    false => None,
                };
                self.denied.add(untried.unwrap_or_default());
                let is_repeated = error.is_transient() || untried.is_some();
                let cause = is_repeated.then(|| error.to_string());
                (Err(error), cause)
            }
            // The client sent it again, or read it, over another connection.
            (0, _) if !work.commands.may_use(self.links) => {
                (Err(Error::LinkReplaced { server }), None)
            }
            (0, value) => {
                let value = as_sent(value, work.commands.expect(place.at));
                (Ok(denied.restore(&work.commands, place.at, value)), None)
            }
            (kind, message) => {
                let cause = reason(&message);
                let error = Error::Client {
                    server,
                    cause: cause.clone(),
                };
                // One that limits its own attempts has made them.
                let is_repeated = kind == 1 && self.options.max_retries.is_none();
                (Err(error), is_repeated.then_some(cause))
            }
        };
        if let Some(cause) = cause {
            self.links += u64::from(kind == 1);
            work.trouble = Some(cause);
            work.attempts += 1;
            let first = self.failure.unwrap_or(number);
            self.failure = Some(first.min(number));
        } else if self.failure.is_none_or(|first| number < first)
            || work.commands.access(place.at) == Access::Read
        {
            self.pause = FIRST_PAUSE;
            return Some(reply);
        }
        work.stages[place.at] = Stage::Waiting;
        self.waiting
            .add(place, work.commands.is_operation(place.at));
        None
    }

    /// Once nothing is under way, what failed can be repeated.
    pub(super) fn end_failure(&mut self) {
        if self.given.is_empty() {
            self.substituted.clear();
        }
        if self.given.is_empty() && self.failure.take().is_some() {
            self.end_failing();
            self.resume_at = Instant::now() + self.pause;
            self.pause = (self.pause * 2).min(LONGEST_PAUSE);
            // The failure may be the first that one hears of a lost connection.
            if let Some(executor) = &self.executor {
                executor.ask_state();
            }
        }
    }
}

/// JavaScript has one kind of string for statuses and texts, and some clients give integers as strings.
fn as_sent(value: Value, expect: Expect) -> Value {
    match (expect, value) {
        (Expect::Okay, Value::BulkString(text)) if text == b"OK" => Value::Okay,
        (Expect::Integer, Value::BulkString(text)) => std::str::from_utf8(&text)
            .ok()
            .and_then(|text| text.parse().ok())
            .map_or(Value::BulkString(text), Value::Int),
        (_, value) => value,
    }
}

/// The client's message, where it has failed.
pub(super) fn reason(value: &Value) -> String {
    match value {
        Value::BulkString(text) => redact(&String::from_utf8_lossy(text)),
        _ => "it gave no reason".into(),
    }
}
