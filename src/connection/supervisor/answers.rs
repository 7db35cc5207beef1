//! Replies to the commands of a job: which are its answers, and what is left of it for the next connection.

use crate::connection::commands::Access;
use crate::connection::failure::Failure;
use crate::connection::{Job, Reply};
use crate::error::Error;
use redis::Value;

/// What is done about answers that mean "later".
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Rule {
    /// They are answers like others: nothing can be repeated here.
    Plain,
    /// What they answer is repeated, and so are the writes after it.
    PutOff,
    /// One has come before: writes are repeated, whatever the answer.
    Late,
}

/// Gives a job the replies to the first of its pending commands. What is left of it: what was not
/// answered, what the server will do later, and, from then on, writes.
pub(super) fn answer(
    mut job: Job,
    replies: Vec<Value>,
    server: &str,
    rule: Rule,
) -> (Option<Job>, Option<Failure>) {
    let mut replies = replies.into_iter();
    let mut later = None;
    let mut rest = Vec::new();
    let mut answers = Vec::with_capacity(replies.len());
    for at in std::mem::take(&mut job.pending) {
        let Some(value) = replies.next() else {
            rest.push(at);
            continue;
        };
        match reply(server, value) {
            Err(error) if rule != Rule::Plain && error.is_passing() => {
                later.get_or_insert_with(|| Failure::lost(error));
                rest.push(at);
            }
            _ if (rule == Rule::Late || later.is_some())
                && job.commands.access(at) == Access::Write =>
            {
                rest.push(at);
            }
            reply => answers.push((at, reply)),
        }
    }
    if !answers.is_empty() {
        job.hang_ups = 0;
        job.settle.settle(answers);
    }
    job.pending = rest;
    ((!job.pending.is_empty()).then_some(job), later)
}

pub(super) fn reply(server: &str, value: Value) -> Reply {
    match value {
        Value::ServerError(error) => Err(Error::from_reply(server, error.code(), error.details())),
        value => Ok(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::Settle;
    use crate::connection::commands::{Commands, Expect};
    use std::sync::{Arc, Mutex};
    use tokio::time::Instant;

    #[derive(Clone, Default)]
    struct Record(Arc<Mutex<Vec<(usize, bool)>>>);

    impl Settle for Record {
        fn settle(&mut self, replies: Vec<(usize, Reply)>) {
            let mut record = self.0.lock().expect("unpoisoned");
            record.extend(replies.into_iter().map(|(at, reply)| (at, reply.is_ok())));
        }
    }

    fn job(accesses: &[Access]) -> (Job, Record) {
        let mut commands = Commands::default();
        for access in accesses {
            commands.add(*access, Expect::Any, None, &[b"X"]);
        }
        let record = Record::default();
        let count = commands.len();
        let job = Job::new(commands, count, Instant::now(), Box::new(record.clone()));
        (job, record)
    }

    fn error(text: &str) -> Value {
        redis::parse_redis_value(format!("-{text}\r\n").as_bytes()).expect("an error reply")
    }

    #[test]
    fn what_was_not_answered_is_left() {
        let (job, record) = job(&[Access::Read, Access::Write, Access::Read]);
        let (rest, later) = answer(job, vec![Value::Nil], "redis://h", Rule::PutOff);
        assert_eq!(rest.expect("a rest").pending, [1, 2]);
        assert!(later.is_none());
        assert_eq!(*record.0.lock().expect("unpoisoned"), [(0, true)]);
    }

    #[test]
    fn writes_do_not_overtake_what_the_server_puts_off() {
        let (job, record) = job(&[Access::Write, Access::Read, Access::Write, Access::Write]);
        let replies = vec![
            Value::Okay,
            Value::Nil,
            error("READONLY You can't write against a read only replica."),
            Value::Okay,
        ];
        let (rest, later) = answer(job, replies, "redis://h", Rule::PutOff);
        assert_eq!(rest.expect("a rest").pending, [2, 3]);
        assert!(later.expect("put off").cause.contains("READONLY"));
        assert_eq!(
            *record.0.lock().expect("unpoisoned"),
            [(0, true), (1, true)]
        );
    }

    #[test]
    fn answers_that_mean_no_are_answers() {
        let (job, record) = job(&[Access::Write]);
        let replies = vec![error("OOM command not allowed")];
        let (rest, later) = answer(job, replies, "redis://h", Rule::PutOff);
        assert!(rest.is_none() && later.is_none());
        assert_eq!(*record.0.lock().expect("unpoisoned"), [(0, false)]);
    }
}
