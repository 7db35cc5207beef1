//! A batch of requests becomes commands and, where it must, walks.

use super::expiry::{Remaining, in_force, now};
use super::guarded::{Guarded, Means, Rule};
use super::near::Mark;
use super::{
    Answer, Answers, Operation, Request, RequestId, Sessions, Unanswered, UnderWay, unexpected,
};
use crate::cache::{Ticket, Writing};
use crate::connection::{Access, Commands, Expect, Flying, Reply, Settle};
use redis::Value;
use std::future::Future;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Instant as StdInstant;
use tokio::runtime::Handle;
use tokio::time::Instant;

/// Requests that are sent as one: the first of ten thousand need not wait for the last.
const MOST_REQUESTS: usize = 128;
/// Commands per request, and bytes beside the id and the value: what room is made for.
const USUAL_COMMANDS: usize = 2;
const USUAL_BYTES: usize = 128;

impl Sessions {
    /// Sends the requests of one batch in order; walks and the end run on as tasks of their own. `marks`
    /// were made when the batch was issued.
    pub(crate) fn run<A: Answers>(
        &self,
        requests: &[Request],
        bytes: &[u8],
        marks: Vec<Mark>,
        answers: &Arc<A>,
        tasks: &Handle,
    ) {
        let mut piece = Piece::at(StdInstant::now(), requests.len(), bytes.len());
        let mut key = Vec::new();
        let mut marks = marks.into_iter();
        for request in requests {
            let mark = marks.next().unwrap_or_default();
            match request {
                Request::One {
                    request,
                    operation,
                    id,
                    value,
                    base,
                    ttl,
                } => {
                    self.keys.key_into(&bytes[id.clone()], &mut key);
                    let session = Stored {
                        key: &key,
                        value: &bytes[value.clone()],
                        base: base_of(*operation, &bytes[base.clone()]),
                        ttl: *ttl,
                    };
                    let timed = match operation {
                        Operation::Get => Some(false),
                        Operation::GetTimed => Some(true),
                        _ => None,
                    };
                    if let Some(timed) = timed
                        && self.connection().may_follow(piece.requests.len())
                        && self.join(session.key, piece.now, timed, *request, answers)
                    {
                        continue;
                    }
                    piece.add(self, *request, *operation, &session, mark);
                    if piece.requests.len() == MOST_REQUESTS {
                        self.send(piece.take(), answers, tasks);
                    }
                }
                Request::Walk(request, bulk) => {
                    self.send(piece.take(), answers, tasks);
                    let unanswered = Unanswered::one(answers, *request, bulk.name());
                    begin(self.clone().walk(*bulk, unanswered), self.begin(), tasks);
                }
                Request::Page(request, walk) => {
                    self.send(piece.take(), answers, tasks);
                    // It holds what closing waits for by itself.
                    begin(
                        self.clone().page(*walk, *request, Arc::clone(answers)),
                        None,
                        tasks,
                    );
                }
                Request::Close(request) => {
                    self.send(piece.take(), answers, tasks);
                    let unanswered = Unanswered::one(answers, *request, "close");
                    let sessions = self.clone();
                    tasks.spawn(async move {
                        // Others may share the connection: what is ours must be over first.
                        drop(sessions.under_way.write().await);
                        sessions.lease.end().await;
                        unanswered.finish(|_| Answer::Done);
                    });
                }
            }
        }
        self.send(piece, answers, tasks);
    }

    /// Joins a read of the same key that is under way, if there is one.
    fn join<A: Answers>(
        &self,
        key: &[u8],
        now: StdInstant,
        timed: bool,
        request: RequestId,
        answers: &Arc<A>,
    ) -> bool {
        self.connection().flights().join(key, now, || {
            let unanswered = Unanswered::one(answers, request, "get");
            let under_way = self.begin();
            let server = self.connection().server().to_owned();
            move |text: &Reply, left: &Reply| {
                let now = super::expiry::now();
                let answer = read(timed, &server, now, text.clone(), left.clone());
                unanswered.finish_one(answer);
                drop(under_way);
            }
        })
    }

    fn send<A: Answers>(&self, piece: Piece, answers: &Arc<A>, tasks: &Handle) {
        if piece.requests.is_empty() {
            return;
        }
        let Piece {
            commands,
            owners,
            pending,
            requests,
            ..
        } = piece;
        self.connection().send(
            commands,
            Box::new(Sent {
                unanswered: Unanswered {
                    answers: Arc::clone(answers),
                    requests,
                },
                since: StdInstant::now(),
                owners,
                pending,
                sessions: self.clone(),
                tasks: tasks.clone(),
                under_way: self.begin(),
            }),
        );
    }
}

/// Runs a walk, which is polled once here, so that its first command takes its place in the order. The
/// task polls again, and that registers its waker.
fn begin(walk: impl Future<Output = ()> + Send + 'static, under_way: UnderWay, tasks: &Handle) {
    let mut walk = Box::pin(walk);
    let mut context = Context::from_waker(Waker::noop());
    if walk.as_mut().poll(&mut context).is_pending() {
        tasks.spawn(async move {
            walk.await;
            drop(under_way);
        });
    }
}

/// What a save is compared with. No session is an empty text: of one that was loaded, but by whom is not
/// known, that is the base, since it is equal to nothing.
fn base_of(operation: Operation, base: &[u8]) -> Option<&[u8]> {
    matches!(operation, Operation::SetUnchanged | Operation::SetMerged).then_some(base)
}

/// What a request is about.
struct Stored<'a> {
    key: &'a [u8],
    value: &'a [u8],
    base: Option<&'a [u8]>,
    ttl: Option<u64>,
}

/// The part of a batch that is sent as one.
struct Piece {
    /// When its batch was begun with.
    now: StdInstant,
    commands: Commands,
    /// The place of the request that a command belongs to.
    owners: Vec<usize>,
    pending: Vec<Pending>,
    /// `None` for a read that nobody asked for, after a write.
    requests: Vec<Option<(RequestId, &'static str)>>,
}

/// A request whose replies are still to come.
enum Pending {
    Plain {
        operation: Operation,
        /// Held until the answer.
        _writing: Option<Writing>,
    },
    /// `GET`, then `PTTL`: in this order, a save between the two cannot make the text seem newer than the
    /// time it has left. The replies may come in any order, if one of the two could not be sent.
    Read {
        timed: bool,
        text: Option<Reply>,
        left: Option<Reply>,
        flying: Option<Flying>,
        /// Where what is read is kept.
        ticket: Option<Ticket>,
    },
    Guarded(Box<Guarded>, Means, Option<Writing>),
    /// Answered, or left to a task that goes on.
    Over,
}

impl Piece {
    /// With room for a number of requests with so many bytes.
    fn at(now: StdInstant, requests: usize, bytes: usize) -> Self {
        let requests = requests.min(MOST_REQUESTS);
        Self {
            now,
            commands: Commands::with_room(
                requests * USUAL_COMMANDS,
                requests * USUAL_BYTES + bytes,
            ),
            owners: Vec::with_capacity(requests * USUAL_COMMANDS),
            pending: Vec::with_capacity(requests),
            requests: Vec::with_capacity(requests),
        }
    }

    /// What there is so far; the piece goes on empty.
    fn take(&mut self) -> Self {
        std::mem::replace(self, Self::at(self.now, 0, 0))
    }

    fn add(
        &mut self,
        sessions: &Sessions,
        request: RequestId,
        operation: Operation,
        stored: &Stored<'_>,
        mark: Mark,
    ) {
        let request = Some((request, operation.name()));
        let (ticket, mut writing) = match mark {
            Mark::Read(ticket) => (Some(ticket), None),
            Mark::Write(writing) => (None, Some(writing)),
            Mark::None => (None, None),
        };
        if matches!(operation, Operation::Get | Operation::GetTimed) {
            let timed = operation == Operation::GetTimed;
            self.add_read(sessions, request, timed, stored.key, ticket);
            return;
        }
        sessions.connection().flights().close(stored.key);
        let after = writing.as_mut().map(Writing::send);
        // What is written is read again at once: that has the server tell of its next change, and what is
        // kept is what the server has, whoever wrote it.
        let refill = after.filter(|_| operation != Operation::Destroy);
        let before = self.commands.len();
        let pending = match operation {
            // Added above.
            Operation::Get | Operation::GetTimed => return,
            Operation::Set | Operation::SetExisting => {
                self.add_set(operation == Operation::SetExisting, stored);
                Pending::Plain {
                    operation,
                    _writing: writing,
                }
            }
            Operation::SetNew | Operation::SetUnchanged | Operation::SetMerged => {
                let guarded = Guarded {
                    rule: match operation {
                        Operation::SetUnchanged => Rule::Unchanged,
                        Operation::SetMerged => Rule::Merged,
                        _ => Rule::New,
                    },
                    key: stored.key.to_vec(),
                    base: stored.base.map(<[u8]>::to_vec),
                    mine: stored.value.to_vec(),
                    ttl: stored.ttl,
                    since: Instant::now(),
                };
                let means = guarded.begin(&sessions.dialect, &mut self.commands);
                Pending::Guarded(Box::new(guarded), means, writing)
            }
            Operation::Touch => {
                let ttl = stored.ttl.unwrap_or(0).to_string();
                let words = [b"PEXPIRE", stored.key, ttl.as_bytes()];
                self.add_command(Access::Write, Expect::Integer, &words);
                Pending::Plain {
                    operation,
                    _writing: writing,
                }
            }
            Operation::Destroy => {
                self.add_command(Access::Write, Expect::Integer, &[b"DEL", stored.key]);
                Pending::Plain {
                    operation,
                    _writing: writing,
                }
            }
        };
        self.push(before, pending, request);
        if let Some(ticket) = refill {
            self.add_read(sessions, None, false, stored.key, Some(ticket));
        }
    }

    fn add_read(
        &mut self,
        sessions: &Sessions,
        request: Option<(RequestId, &'static str)>,
        timed: bool,
        key: &[u8],
        ticket: Option<Ticket>,
    ) {
        let before = self.commands.len();
        let words: [&[u8]; 2] = [b"GET", key];
        match request {
            Some(_) => self.add_command(Access::Read, Expect::Text, &words),
            None => self
                .commands
                .add_companion(Access::Read, Expect::Text, Some(1), &words),
        }
        let words: [&[u8]; 2] = [b"PTTL", key];
        self.commands
            .add_companion(Access::Read, Expect::Integer, Some(1), &words);
        let pending = Pending::Read {
            timed,
            text: None,
            left: None,
            flying: Some(sessions.connection().flights().begin(key, self.now)),
            ticket,
        };
        self.push(before, pending, request);
    }

    /// What the commands from this one on are for.
    fn push(&mut self, first: usize, pending: Pending, request: Option<(RequestId, &'static str)>) {
        let place = self.requests.len();
        self.owners
            .extend((first..self.commands.len()).map(|_| place));
        self.pending.push(pending);
        self.requests.push(request);
    }

    fn add_command(&mut self, access: Access, expect: Expect, words: &[&[u8]]) {
        self.commands.add(access, expect, Some(1), words);
    }

    fn add_set(&mut self, existing: bool, stored: &Stored<'_>) {
        let ttl = stored.ttl.map(|ttl| ttl.to_string());
        let mut words: [&[u8]; 6] = [b"SET", stored.key, stored.value, b"", b"", b""];
        let mut count = 3;
        let mut add = |word| {
            words[count] = word;
            count += 1;
        };
        if existing {
            add(b"XX");
        }
        if let Some(ttl) = &ttl {
            add(b"PX");
            add(ttl.as_bytes());
        }
        self.add_command(Access::Write, Expect::Okay, &words[..count]);
    }
}

/// Requests that were sent.
struct Sent<A: Answers> {
    unanswered: Unanswered<A>,
    since: StdInstant,
    owners: Vec<usize>,
    pending: Vec<Pending>,
    sessions: Sessions,
    tasks: Handle,
    under_way: UnderWay,
}

impl<A: Answers> Settle for Sent<A> {
    fn settle(&mut self, replies: Vec<(usize, Reply)>) {
        let mut answers = Vec::with_capacity(replies.len());
        let now = now();
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

impl<A: Answers> Sent<A> {
    /// What came for a request is all for now. Half of a read that is completed later is not kept: what the
    /// server tells of a change meanwhile finds nothing to take out.
    fn part(&mut self, place: Option<usize>) {
        let pending = place.and_then(|place| self.pending.get_mut(place));
        if let Some(Pending::Read { ticket, .. }) = pending
            && cfg!(not(feature = "unsound-cache"))
        {
            *ticket = None;
        }
    }

    /// The answer to a request, if this reply is all that it waited for.
    fn take(&mut self, place: usize, is_second: bool, now: u64, reply: Reply) -> Option<Answer> {
        let server = self.sessions.connection().server();
        let pending = self.pending.get_mut(place)?;
        match pending {
            Pending::Over => None,
            Pending::Plain { operation, .. } => {
                let answer = plain(*operation, server, reply);
                *pending = Pending::Over;
                Some(answer)
            }
            Pending::Read {
                timed,
                text,
                left,
                flying,
                ticket,
            } => {
                if is_second && text.is_none() {
                    // Of before the text: it may be another session's.
                    *ticket = None;
                }
                *(if is_second { &mut *left } else { &mut *text }) = Some(reply);
                match (text.take(), left.take()) {
                    (Some(text), Some(left)) => {
                        if let Some(flying) = flying.take() {
                            if let Some(ticket) = *ticket {
                                self.sessions.keep(
                                    ticket,
                                    flying.key(),
                                    &text,
                                    &left,
                                    self.since,
                                    now,
                                );
                            }
                            flying.land(&text, &left);
                        }
                        Some(read(*timed, server, now, text, left))
                    }
                    (one, other) => {
                        (*text, *left) = (one, other);
                        None
                    }
                }
            }
            Pending::Guarded(..) => {
                let Pending::Guarded(guarded, means, writing) =
                    std::mem::replace(pending, Pending::Over)
                else {
                    return None;
                };
                match guarded.settle(&self.sessions.dialect, server, means, reply) {
                    Ok(answer) => Some(answer),
                    Err(attempt) => {
                        let unanswered = self.unanswered.hand_over(place)?;
                        let sessions = self.sessions.clone();
                        let under_way = self.under_way.clone();
                        self.tasks.spawn(async move {
                            let answer = guarded.go_on(sessions, attempt, writing).await;
                            unanswered.finish_one(answer);
                            drop(under_way);
                        });
                        None
                    }
                }
            }
        }
    }
}

fn plain(operation: Operation, server: &str, reply: Reply) -> Answer {
    match (operation, reply) {
        (_, Err(error)) => Answer::Failed(operation.name(), error),
        (Operation::SetExisting, Ok(Value::Nil)) => Answer::Missing,
        (Operation::Set | Operation::SetExisting, Ok(Value::Okay))
        | (Operation::Touch | Operation::Destroy, Ok(Value::Int(_))) => Answer::Done,
        (_, Ok(value)) => Answer::Failed(operation.name(), unexpected(server, &value)),
    }
}

pub(super) fn read(timed: bool, server: &str, now: u64, text: Reply, remaining: Reply) -> Answer {
    let text = match text {
        Ok(Value::BulkString(text)) => text,
        Ok(Value::Nil) => return Answer::Missing,
        Ok(value) => return Answer::Failed("get", unexpected(server, &value)),
        Err(error) => return Answer::Failed("get", error),
    };
    let remaining = remaining_of(remaining);
    let ends = if timed {
        remaining.end(now)
    } else {
        in_force(&text, remaining, now)
    };
    Answer::Session(text, ends)
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

    fn packed(existing: bool, ttl: Option<u64>) -> String {
        let mut piece = Piece::at(StdInstant::now(), 1, 0);
        piece.add_set(
            existing,
            &Stored {
                key: b"k",
                value: b"v",
                base: None,
                ttl,
            },
        );
        String::from_utf8_lossy(piece.commands.bytes(0))
            .split("\r\n")
            .filter(|part| !part.starts_with(['*', '$']) && !part.is_empty())
            .collect::<Vec<_>>()
            .join(" ")
    }

    #[test]
    fn sets() {
        assert_eq!(packed(false, None), "SET k v");
        assert_eq!(packed(false, Some(150)), "SET k v PX 150");
        assert_eq!(packed(true, Some(150)), "SET k v XX PX 150");
        assert_eq!(packed(true, None), "SET k v XX");
    }

    #[test]
    fn replies_that_do_not_fit_are_errors_without_their_content() {
        let value = Value::BulkString(b"hunter2".to_vec());
        let Answer::Failed(name, error) = plain(Operation::Set, "redis://h", Ok(value)) else {
            panic!("accepted");
        };
        assert_eq!(name, "set");
        assert!(!format!("{error} {error:?}").contains("hunter2"));
    }

    #[test]
    fn what_was_destroyed_is_missing() {
        let answer = |operation, value| plain(operation, "redis://h", Ok(value));
        assert!(matches!(
            answer(Operation::SetExisting, Value::Nil),
            Answer::Missing
        ));
        assert!(matches!(
            answer(Operation::Set, Value::Nil),
            Answer::Failed(..)
        ));
    }

    #[test]
    fn a_session_is_read_with_or_without_its_time_to_live() {
        let text = || Ok(Value::BulkString(b"{}".to_vec()));
        let get = |timed, text, left| read(timed, "redis://h", 1000, text, left);
        assert!(matches!(
            get(true, text(), Ok(Value::Int(500))),
            Answer::Session(_, Some(1500))
        ));
        assert!(matches!(
            get(true, text(), Err(Error::Abandoned)),
            Answer::Session(_, None)
        ));
        assert!(matches!(
            get(false, text(), Ok(Value::Int(500))),
            Answer::Session(_, None)
        ));
        assert!(matches!(
            get(false, Ok(Value::Nil), Ok(Value::Int(-2))),
            Answer::Missing
        ));
        assert!(matches!(
            get(false, Err(Error::Closed), Err(Error::Closed)),
            Answer::Failed("get", Error::Closed)
        ));
    }
}
