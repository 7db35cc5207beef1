//! The replies to requests that were sent, and the answers that they make.

use super::conditional_save::{CasMethod, ConditionalSave};
use super::expiry::{Clock, Remaining, TellEnd};
use super::pipeline::{Pending, Pipeline, Read};
use super::reply_guard::ReplyGuard;
use super::{Completion, CompletionSink, Sessions, UnderWay, Unread, Write, unexpected};
use crate::cache::PendingWrite;
use crate::connection::{Commands, Reply, ReplyHandler, SentFlag};
use crate::worker::LONG;
use redis::Value;
use std::sync::Arc;
use std::time::Instant;
use tokio::runtime::Handle;

/// Requests that were sent.
pub(super) struct InFlightBatch<A: CompletionSink> {
    unanswered: ReplyGuard<A>,
    since: Instant,
    /// The place of the request that a command belongs to.
    owners: Vec<usize>,
    pending: Vec<Pending>,
    sessions: Sessions,
    clock: Clock,
    tasks: Handle,
    under_way: UnderWay,
    sent: Option<SentFlag>,
}

impl<A: CompletionSink> InFlightBatch<A> {
    /// A piece, apart from the commands that are to be sent now.
    pub(super) fn of(
        piece: Pipeline,
        sessions: &Sessions,
        clock: Clock,
        answers: &Arc<A>,
        tasks: &Handle,
    ) -> (Commands, Self) {
        let sent = Self {
            unanswered: ReplyGuard::new(answers, piece.requests),
            since: Instant::now(),
            owners: piece.owners,
            pending: piece.pending,
            sessions: sessions.clone(),
            clock,
            tasks: tasks.clone(),
            under_way: sessions.begin(),
            sent: piece.sent,
        };
        (piece.commands, sent)
    }
}

impl<A: CompletionSink> ReplyHandler for InFlightBatch<A> {
    fn on_sent(&mut self) {
        if let Some(sent) = &self.sent {
            sent.set();
        }
    }

    fn on_replies(&mut self, replies: Vec<(usize, Reply)>) {
        let mut answers = Vec::with_capacity(replies.len());
        let now = self.clock.now();
        let mut last = None;
        for (at, reply) in replies {
            let Some(&place) = self.owners.get(at) else {
                continue;
            };
            let is_second = at > 0 && self.owners.get(at - 1) == Some(&place);
            if let Some(answer) = self.take(place, is_second, now, reply) {
                answers.push((place, answer));
            }
            self.part(last.filter(|last| *last != place));
            last = Some(place);
        }
        self.part(last);
        self.unanswered.settle(answers);
    }
}

impl<A: CompletionSink> InFlightBatch<A> {
    /// What came for a request is all for now. Half of a read that is completed later is not kept: what the
    /// server tells of a change meanwhile finds nothing to take out.
    fn part(&mut self, place: Option<usize>) {
        let pending = place.and_then(|place| self.pending.get_mut(place));
        if let Some(Pending::Read(read)) = pending
            && cfg!(not(feature = "unsound-cache"))
        {
            read.ticket = None;
        }
    }

    /// The answer to a request, if this reply is all that it waited for.
    fn take(
        &mut self,
        place: usize,
        is_second: bool,
        now: u64,
        reply: Reply,
    ) -> Option<Completion> {
        let server = self.sessions.connection().server();
        let pending = self.pending.get_mut(place)?;
        match pending {
            Pending::Over => None,
            Pending::Plain { write, .. } => {
                let answer = plain(*write, server, reply);
                *pending = Pending::Over;
                Some(answer)
            }
            Pending::Read(pending) => {
                let (text, left) = pending.take(is_second, reply)?;
                if let Some(flying) = pending.flying.take() {
                    if let Some(ticket) = pending.ticket {
                        let (sessions, key, since) = (&self.sessions, flying.key(), self.since);
                        sessions.keep(ticket, key, &text, &left, since, self.clock);
                    }
                    flying.land(&text, &left);
                }
                Some(read(pending.tell_end, server, now, text, left))
            }
            Pending::ConditionalSave(pending) => {
                let (guarded, means, writing) = pending.take()?;
                self.settle_guarded(place, guarded, means, writing, reply)
            }
        }
    }

    /// The answer to a guarded save, unless that is left to a task that goes on.
    fn settle_guarded(
        &mut self,
        place: usize,
        guarded: Box<ConditionalSave>,
        means: CasMethod,
        writing: Option<PendingWrite>,
        reply: Reply,
    ) -> Option<Completion> {
        let connection = self.sessions.connection();
        let attempt = match guarded.settle(&self.sessions.dialect, connection, means, reply) {
            Ok(answer) => return Some(answer),
            Err(attempt) => attempt,
        };
        let unanswered = self.unanswered.hand_over(place)?;
        let sessions = self.sessions.clone();
        let under_way = self.under_way.clone();
        self.tasks.spawn(async move {
            let guarded: Arc<ConditionalSave> = guarded.into();
            let answer = guarded.go_on(sessions, attempt, writing).await;
            unanswered.finish(answer);
            drop(under_way);
        });
        None
    }
}

impl Read {
    /// The replies to the `GET` and the `PTTL`, once both have come.
    fn take(&mut self, is_second: bool, reply: Reply) -> Option<(Reply, Reply)> {
        if is_second && self.text.is_none() {
            // Of before the text: it may be another session's.
            self.ticket = None;
        }
        let (mine, other) = if is_second {
            (&mut self.left, &mut self.text)
        } else {
            (&mut self.text, &mut self.left)
        };
        let Some(other) = other.take() else {
            *mine = Some(reply);
            return None;
        };
        Some(if is_second {
            (other, reply)
        } else {
            (reply, other)
        })
    }
}

fn plain(write: Write, server: &str, reply: Reply) -> Completion {
    match (write, reply) {
        (_, Err(error)) => Completion::Failed(write.name(), error),
        (Write::SetExisting, Ok(Value::Nil)) => Completion::Missing,
        (Write::Set | Write::SetExisting, Ok(Value::Okay))
        | (Write::Touch | Write::Destroy, Ok(Value::Int(_))) => Completion::Done,
        (_, Ok(value)) => Completion::Failed(write.name(), unexpected(server, &value)),
    }
}

pub(super) fn read(
    tell_end: TellEnd,
    server: &str,
    now: u64,
    text: Reply,
    remaining: Reply,
) -> Completion {
    let text = match text {
        Ok(Value::BulkString(text)) => text,
        Ok(Value::Nil) => return Completion::Missing,
        Ok(value) => return Completion::Failed("get", unexpected(server, &value)),
        Err(error) => return Completion::Failed("get", error),
    };
    let is_long = text.len() > LONG;
    let left = remaining_of(remaining);
    let read = move || {
        let ends = tell_end.of(&text, left, now);
        Completion::Session(text, ends)
    };
    if is_long {
        return Completion::Unread(Unread(Box::new(read)));
    }
    read()
}

/// What a `PTTL` told. Where it is refused, or went amiss, the text has to do.
pub(super) fn remaining_of(reply: Reply) -> Remaining {
    match reply {
        Ok(Value::Int(left)) => Remaining::from_pttl(left),
        _ => Remaining::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;

    #[test]
    fn replies_that_do_not_fit_are_errors_without_their_content() {
        let value = Value::BulkString(b"hunter2".to_vec());
        let Completion::Failed(name, error) = plain(Write::Set, "redis://h", Ok(value)) else {
            panic!("accepted");
        };
        assert_eq!(name, "set");
        assert!(!format!("{error} {error:?}").contains("hunter2"));
    }

    #[test]
    fn what_was_destroyed_is_missing() {
        let answer = |write, value| plain(write, "redis://h", Ok(value));
        assert!(matches!(
            answer(Write::SetExisting, Value::Nil),
            Completion::Missing
        ));
        assert!(matches!(
            answer(Write::Set, Value::Nil),
            Completion::Failed(..)
        ));
    }

    #[test]
    fn a_session_is_read_with_or_without_its_time_to_live() {
        let text = || Ok(Value::BulkString(b"{}".to_vec()));
        let get = |tell_end, text, left| read(tell_end, "redis://h", 1000, text, left);
        assert!(matches!(
            get(TellEnd::Always, text(), Ok(Value::Int(500))),
            Completion::Session(_, Some(1500))
        ));
        assert!(matches!(
            get(TellEnd::Always, text(), Err(Error::Abandoned)),
            Completion::Session(_, None)
        ));
        assert!(matches!(
            get(TellEnd::WhereOther, text(), Ok(Value::Int(500))),
            Completion::Session(_, None)
        ));
        assert!(matches!(
            get(TellEnd::WhereOther, Ok(Value::Nil), Ok(Value::Int(-2))),
            Completion::Missing
        ));
        assert!(matches!(
            get(TellEnd::WhereOther, Err(Error::Closed), Err(Error::Closed)),
            Completion::Failed("get", Error::Closed)
        ));
    }
}
