//! Completes the commands of a job with their replies, and keeps the commands to retry.

use super::held_keys::HeldKeys;
use crate::connection::commands::{Access, Commands};
use crate::connection::failure::Failure;
use crate::connection::job::{Job, Reply};
use crate::connection::retry_policy::RetryPolicy;
use crate::connection::substitutes::Denied;
use crate::error::Error;
use crate::server::Server;
use redis::Value;

/// The remainder of a job after its replies were applied.
#[derive(Default)]
pub(super) struct Remainder {
    /// The job with its pending commands, if any.
    pub(super) job: Option<Job>,
    /// The first transient error among the replies.
    pub(super) transient_error: Option<Failure>,
    /// Denied commands to send as their substitutes.
    pub(super) newly_denied: Denied,
}

/// Passes `replies` to the first pending commands of a job and returns the remainder: commands without a reply,
/// commands with a transient error, denied commands that have a substitute, and writes to the keys of the latter two.
/// The keys of all but the commands without a reply are added to `held`. `denied` are the commands that were sent as
/// substitutes.
pub(super) fn apply_replies(
    mut job: Job,
    replies: Vec<Value>,
    server: &Server,
    policy: RetryPolicy,
    denied: Denied,
    held: &mut HeldKeys,
) -> Remainder {
    let mut replies = replies.into_iter();
    let mut transient_error = None;
    let mut newly_denied = Denied::default();
    let mut rest = Vec::new();
    let mut answers = Vec::with_capacity(replies.len());
    for at in std::mem::take(&mut job.pending) {
        let Some(value) = replies.next() else {
            rest.push(at);
            continue;
        };
        let reply = to_reply(server, &job.commands, at, value);
        if let Some(command) = denied_command(&reply, denied, &job.commands, at) {
            newly_denied.add(command);
            held.add(&job.commands, at);
            rest.push(at);
            continue;
        }
        match reply {
            Err(error) if policy.retries(&error) => {
                transient_error.get_or_insert_with(|| match error.is_upstream() {
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
        job.handler.on_replies(answers, job.origin);
    }
    job.pending = rest;
    Remainder {
        job: (!job.pending.is_empty()).then_some(job),
        transient_error,
        newly_denied,
    }
}

/// Returns the command that a reply denies, if its substitute has not been tried.
pub(super) fn denied_command(
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

/// Converts a value to the reply to a command; an error reply becomes an error that quotes none of the arguments.
pub(super) fn to_reply(server: &Server, commands: &Commands, at: usize, value: Value) -> Reply {
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
    use crate::connection::commands::Expect;
    use crate::connection::job::ReplyHandler;
    use crate::connection::origin::Origin;
    use std::sync::{Arc, Mutex};
    use tokio::time::Instant;

    #[derive(Clone, Default)]
    struct Record(Arc<Mutex<Vec<(usize, bool)>>>);

    impl ReplyHandler for Record {
        fn on_replies(&mut self, replies: Vec<(usize, Reply)>, _: Origin) {
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

    fn apply(job: Job, replies: Vec<Value>) -> Remainder {
        let held_keys = &mut HeldKeys::default();
        let policy = RetryPolicy::TransientErrors;
        apply_replies(
            job,
            replies,
            &"redis://h".into(),
            policy,
            Denied::default(),
            held_keys,
        )
    }

    #[test]
    fn commands_without_a_reply_stay_pending() {
        let (job, record) = job(&[Access::Read, Access::Write, Access::Read]);
        let Remainder {
            job,
            transient_error,
            ..
        } = apply(job, vec![Value::Nil]);
        assert_eq!(job.expect("a rest").pending, [1, 2]);
        assert!(transient_error.is_none());
        assert_eq!(*record.0.lock().expect("unpoisoned"), [(0, true)]);
    }

    #[test]
    fn a_write_after_a_transient_error_on_its_key_is_retried() {
        let (job, record) = job(&[Access::Write, Access::Read, Access::Write, Access::Write]);
        let replies = vec![
            Value::Okay,
            Value::Nil,
            error("READONLY You can't write against a read only replica."),
            Value::Okay,
        ];
        let Remainder {
            job,
            transient_error,
            ..
        } = apply(job, replies);
        assert_eq!(job.expect("a rest").pending, [2, 3]);
        assert!(
            transient_error
                .expect("a transient error")
                .cause
                .reply()
                .is_some_and(|reply| reply == "READONLY")
        );
        assert_eq!(
            *record.0.lock().expect("unpoisoned"),
            [(0, true), (1, true)]
        );
    }

    #[test]
    fn a_final_error_reply_completes_its_command() {
        let (job, record) = job(&[Access::Write]);
        let replies = vec![error("OOM command not allowed")];
        let Remainder {
            job,
            transient_error,
            ..
        } = apply(job, replies);
        assert!(job.is_none() && transient_error.is_none());
        assert_eq!(*record.0.lock().expect("unpoisoned"), [(0, false)]);
    }
}
