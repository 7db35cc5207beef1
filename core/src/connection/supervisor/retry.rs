//! Replies to the commands of a job: which are its answers, and what is left of it for the next connection.

use super::held::Held;
use crate::connection::commands::{Access, Commands};
use crate::connection::failure::Failure;
use crate::connection::substitutes::Denied;
use crate::connection::{Job, Reply};
use crate::error::Error;
use redis::Value;

/// What is done about answers that mean "later".
#[derive(Clone, Copy, PartialEq)]
pub(super) enum RetryPolicy {
    /// They are answers like others: nothing can be repeated here.
    Plain,
    /// What they answer is repeated.
    PutOff,
}

/// What is left of a job.
#[derive(Default)]
pub(super) struct Rest {
    pub(super) job: Option<Job>,
    /// Why the server does some of it later.
    pub(super) later: Option<Failure>,
    /// Commands of it that are to be sent as their substitutes.
    pub(super) refused: Denied,
}

/// Gives a job the replies to the first of its pending commands. What is left of it: what was not
/// answered, what the server will do later, what is denied and has a substitute, and writes to
/// the keys of those. All but the first are added to `held`.
/// `denied` are the commands that were sent as their substitutes.
pub(super) fn answer(
    mut job: Job,
    replies: Vec<Value>,
    server: &str,
    rule: RetryPolicy,
    denied: Denied,
    held: &mut Held,
) -> Rest {
    let mut replies = replies.into_iter();
    let mut later = None;
    let mut refused = Denied::default();
    let mut rest = Vec::new();
    let mut answers = Vec::with_capacity(replies.len());
    for at in std::mem::take(&mut job.pending) {
        let Some(value) = replies.next() else {
            rest.push(at);
            continue;
        };
        let reply = reply(server, &job.commands, at, value);
        if let Some(command) = untried(&reply, denied, &job.commands, at) {
            refused.add(command);
            held.add(&job.commands, at);
            rest.push(at);
            continue;
        }
        match reply {
            Err(error) if rule == RetryPolicy::PutOff && error.is_passing() => {
                later.get_or_insert_with(|| match error.is_upstream() {
                    true => Failure::upstream(error),
                    false => Failure::lost(error),
                });
                held.add(&job.commands, at);
                rest.push(at);
            }
            _ if job.commands.access(at) == Access::Write && held.holds(&job.commands, at) => {
                held.add(&job.commands, at);
                rest.push(at);
            }
            reply => answers.push((at, reply)),
        }
    }
    if !answers.is_empty() {
        job.hang_ups = 0;
        job.handler.on_replies(answers);
    }
    job.pending = rest;
    Rest {
        job: (!job.pending.is_empty()).then_some(job),
        later,
        refused,
    }
}

/// Returns the command that a reply denies, if its substitute was not tried.
pub(super) fn untried(
    reply: &Reply,
    denied: Denied,
    commands: &Commands,
    at: usize,
) -> Option<Denied> {
    match reply {
        Err(error) if error.is_command_denied() => denied.untried(commands, at),
        _ => None,
    }
}

/// Returns the reply to a command of a job; an error reply is an error that quotes none of its arguments.
pub(super) fn reply(server: &str, commands: &Commands, at: usize, value: Value) -> Reply {
    match value {
        Value::ServerError(error) => {
            let arguments = commands.words(at).map(|(word, _)| word);
            let (code, details) = (error.code(), error.details());
            Err(Error::from_reply_to(server, arguments, code, details))
        }
        value => Ok(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::ReplyHandler;
    use crate::connection::commands::Expect;
    use std::sync::{Arc, Mutex};
    use tokio::time::Instant;

    #[derive(Clone, Default)]
    struct Record(Arc<Mutex<Vec<(usize, bool)>>>);

    impl ReplyHandler for Record {
        fn on_replies(&mut self, replies: Vec<(usize, Reply)>) {
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
        let Rest { job, later, .. } = answer(
            job,
            vec![Value::Nil],
            "redis://h",
            RetryPolicy::PutOff,
            Denied::default(),
            &mut Held::default(),
        );
        assert_eq!(job.expect("a rest").pending, [1, 2]);
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
        let Rest { job, later, .. } = answer(
            job,
            replies,
            "redis://h",
            RetryPolicy::PutOff,
            Denied::default(),
            &mut Held::default(),
        );
        assert_eq!(job.expect("a rest").pending, [2, 3]);
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
        let Rest { job, later, .. } = answer(
            job,
            replies,
            "redis://h",
            RetryPolicy::PutOff,
            Denied::default(),
            &mut Held::default(),
        );
        assert!(job.is_none() && later.is_none());
        assert_eq!(*record.0.lock().expect("unpoisoned"), [(0, false)]);
    }
}
