//! Turns the replies to the commands of a batch into completions.

use super::compare_and_set::CompareAndSet;
use super::completion::{Completion, CompletionSink, Unread};
use super::expiry::{Clock, ReportEnd};
use super::in_flight::InFlightGuard;
use super::meter::Meter;
use super::pipeline::{Pending, Pipeline, Read};
use super::replies::{remaining_of, unexpected};
use super::reply_guard::ReplyGuard;
use super::request::Write;
use super::sessions::Sessions;
use crate::connection::{Commands, Delivery, Origin, Reply, ReplyHandler, SentFlag};
use crate::server::Server;
use crate::worker::LONG;
use redis::Value;
use std::sync::Arc;
use std::time::Instant;
use tokio::runtime::Handle;

/// Requests whose commands were sent and that wait for replies.
pub(super) struct InFlightBatch<A: CompletionSink> {
    guard: ReplyGuard<A>,
    sent_at: Instant,
    /// The index of each command's request.
    owners: Vec<usize>,
    pending: Vec<Pending>,
    sessions: Sessions,
    clock: Clock,
    tasks: Handle,
    in_flight: InFlightGuard,
    sent: Option<SentFlag>,
}

impl<A: CompletionSink> InFlightBatch<A> {
    /// Splits a pipeline into its commands, to be sent now, and the handler of their replies.
    pub(super) fn of(
        pipeline: Pipeline,
        sessions: &Sessions,
        clock: Clock,
        sink: &Arc<A>,
        tasks: &Handle,
        meter: Meter,
    ) -> (Commands, Self) {
        let sent = Self {
            guard: ReplyGuard::new(sink, pipeline.requests, meter),
            sent_at: Instant::now(),
            owners: pipeline.owners,
            pending: pipeline.pending,
            sessions: sessions.clone(),
            clock,
            tasks: tasks.clone(),
            in_flight: sessions.in_flight.begin(),
            sent: pipeline.sent,
        };
        (pipeline.commands, sent)
    }
}

impl<A: CompletionSink> ReplyHandler for InFlightBatch<A> {
    fn on_sent(&mut self) {
        if let Some(sent) = &self.sent {
            sent.set();
        }
    }

    fn on_replies(&mut self, replies: Vec<(usize, Reply)>, origin: Origin) {
        let delivery = Delivery::now(origin);
        let mut completions = Vec::with_capacity(replies.len());
        let now = self.clock.now();
        let mut last = None;
        for (at, reply) in replies {
            let Some(&index) = self.owners.get(at) else {
                continue;
            };
            let is_second = at > 0 && self.owners.get(at - 1) == Some(&index);
            if let Some(completion) = self.take(index, is_second, now, reply, &delivery) {
                completions.push((index, completion));
            }
            self.end_delivery(last.filter(|last| *last != index));
            last = Some(index);
        }
        self.end_delivery(last);
        self.guard.complete(completions, &delivery);
    }
}

impl<A: CompletionSink> InFlightBatch<A> {
    /// Marks the end of the replies to a request in one delivery. A read whose second reply arrives in a later delivery
    /// is not cached: an invalidation in between would find no entry to remove.
    fn end_delivery(&mut self, index: Option<usize>) {
        let pending = index.and_then(|index| self.pending.get_mut(index));
        if let Some(Pending::Read(read)) = pending {
            read.ticket = None;
        }
    }

    /// Handles a reply. Returns the completion of its request, if this was the last reply it waited for.
    fn take(
        &mut self,
        index: usize,
        is_second: bool,
        now: u64,
        reply: Reply,
        delivery: &Delivery,
    ) -> Option<Completion> {
        let server = self.sessions.connection().server();
        let pending = self.pending.get_mut(index)?;
        match pending {
            Pending::Done => None,
            Pending::Plain { write, .. } => {
                let completion = write_completion(*write, server, reply);
                *pending = Pending::Done;
                Some(completion)
            }
            Pending::Read(pending) => {
                let (text, left) = pending.take(is_second, reply)?;
                if let Some(leader) = pending.leader.take() {
                    if let Some(ticket) = pending.ticket {
                        let (sessions, key, sent_at) = (&self.sessions, leader.key(), self.sent_at);
                        sessions.fill_cache(ticket, key, &text, &left, sent_at, self.clock);
                    }
                    leader.share(&text, &left, *delivery);
                }
                Some(read(pending.report_end, server, now, text, left))
            }
            Pending::CompareAndSet(pending) => {
                let save = pending.take()?;
                self.on_compare_and_set(index, save, reply, delivery.origin)
            }
        }
    }

    /// Returns the completion of a compare-and-set, unless a task sends another command for it.
    fn on_compare_and_set(
        &mut self,
        index: usize,
        mut save: Box<CompareAndSet>,
        reply: Reply,
        origin: Origin,
    ) -> Option<Completion> {
        let completion = save.on_reply(&self.sessions, reply, origin);
        if completion.is_some() {
            return completion;
        }
        let guard = self.guard.hand_over(index)?;
        let sessions = self.sessions.clone();
        let in_flight = self.in_flight.clone();
        self.tasks.spawn(async move {
            let (completion, origin) = save.retry(&sessions).await;
            guard.finish(completion, origin);
            drop(in_flight);
        });
        None
    }
}

impl Read {
    /// Returns the replies to the `GET` and the `PTTL`, once both have arrived.
    fn take(&mut self, is_second: bool, reply: Reply) -> Option<(Reply, Reply)> {
        if is_second {
            if self.text.is_none() {
                // The time to live was read before the text, and may belong to an earlier session.
                self.ticket = None;
            }
            self.left = Some(reply);
        } else {
            self.text = Some(reply);
        }
        if self.text.is_none() || self.left.is_none() {
            return None;
        }
        self.text.take().zip(self.left.take())
    }
}

fn write_completion(write: Write, server: &Server, reply: Reply) -> Completion {
    match (write, reply) {
        (_, Err(error)) => Completion::Failed(write.name().as_str(), error),
        (Write::SetExisting, Ok(Value::Nil))
        | (Write::Touch | Write::Destroy, Ok(Value::Int(0))) => Completion::Missing,
        (Write::Set | Write::SetExisting, Ok(Value::Okay))
        | (Write::Touch | Write::Destroy, Ok(Value::Int(_))) => Completion::Done,
        (_, Ok(value)) => Completion::Failed(write.name().as_str(), unexpected(server, &value)),
    }
}

pub(super) fn read(
    report_end: ReportEnd,
    server: &Server,
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
        let ends = report_end.of(&text, left, now);
        Completion::Session(text, ends)
    };
    if is_long {
        return Completion::Unread(Unread(Box::new(read)));
    }
    read()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;

    #[test]
    fn an_unexpected_reply_fails_without_quoting_it() {
        let value = Value::BulkString(b"hunter2".to_vec());
        let Completion::Failed(name, error) =
            write_completion(Write::Set, &"redis://h".into(), Ok(value))
        else {
            panic!("accepted");
        };
        assert_eq!(name, "set");
        assert!(!format!("{error} {error:?}").contains("hunter2"));
    }

    #[test]
    fn a_write_of_a_destroyed_session_is_missing() {
        let completion = |write, value| write_completion(write, &"redis://h".into(), Ok(value));
        for write in [Write::Touch, Write::Destroy] {
            assert!(matches!(
                completion(write, Value::Int(0)),
                Completion::Missing
            ));
            assert!(matches!(completion(write, Value::Int(1)), Completion::Done));
        }
        assert!(matches!(
            completion(Write::SetExisting, Value::Nil),
            Completion::Missing
        ));
        assert!(matches!(
            completion(Write::Set, Value::Nil),
            Completion::Failed(..)
        ));
    }

    #[test]
    fn get_succeeds_with_and_without_a_time_to_live() {
        let text = || Ok(Value::BulkString(b"{}".to_vec()));
        let get = |report_end, text, left| read(report_end, &"redis://h".into(), 1000, text, left);
        assert!(matches!(
            get(ReportEnd::Always, text(), Ok(Value::Int(500))),
            Completion::Session(_, Some(1500))
        ));
        assert!(matches!(
            get(ReportEnd::Always, text(), Err(Error::Abandoned)),
            Completion::Session(_, None)
        ));
        assert!(matches!(
            get(ReportEnd::IfChanged, text(), Ok(Value::Int(500))),
            Completion::Session(_, None)
        ));
        assert!(matches!(
            get(ReportEnd::IfChanged, Ok(Value::Nil), Ok(Value::Int(-2))),
            Completion::Missing
        ));
        assert!(matches!(
            get(ReportEnd::IfChanged, Err(Error::Closed), Err(Error::Closed)),
            Completion::Failed("get", Error::Closed)
        ));
    }
}
