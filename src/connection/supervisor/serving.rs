//! An open connection in use: jobs go out and their replies come, in one order; silence and lateness are noticed.

use super::Supervisor;
use super::answers::{Rule, answer, reply};
use super::in_flight::Asked;
use super::window::MOST_HANG_UPS;
use crate::cache::{Cache, Moment};
use crate::connection::attempt::moved;
use crate::connection::commands::{Access, Commands, Expect};
use crate::connection::failure::{Failure, FailureKind};
use crate::connection::link::Link;
use crate::connection::status::{Down, Event};
use crate::connection::tracking::Tracking;
use crate::connection::{Job, Message};
use crate::error::Error;
use crate::options::{Address, Membership};
use redis::{PushKind, Value};
use std::future::{Future, pending};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// How long an idle connection goes without being probed.
const IDLE: Duration = Duration::from_secs(5);
/// The lower bound spares slow networks, the upper one finds a dead peer in seconds.
const SHORTEST_SILENCE: Duration = Duration::from_secs(1);
const LONGEST_SILENCE: Duration = Duration::from_millis(2500);
/// Replies that are taken before others have their turn: they may come without an end.
const MOST_REPLIES: usize = 4096;
/// Bytes that wait for the socket before further jobs wait themselves: a job is then dropped by its
/// deadline without having been sent.
const MOST_BACKLOG: usize = 1024 * 1024;

/// For how long a peer may be silent that owes an answer: half the time that operations have, so that what a
/// peer that is gone without a word left unanswered can still be asked again.
pub(in crate::connection) fn longest_silence(command_timeout: Duration) -> Duration {
    (command_timeout / 2).clamp(SHORTEST_SILENCE, LONGEST_SILENCE)
}

#[derive(PartialEq)]
pub(super) enum Served {
    Lost,
    Closed,
}

impl Supervisor {
    pub(super) async fn serve(&mut self, mut link: Link, address: Address) -> Served {
        self.served = false;
        self.window.begin();
        self.replied = Instant::now();
        let sentinels = self.sentinels.clone();
        let moved = moved(sentinels.as_ref(), &address);
        let failure = self.exchange(&mut link, moved).await;
        self.end_tracking();
        let failure = match failure {
            None => return Served::Closed,
            Some(failure) => failure,
        };
        let is_hang_up = matches!(failure.kind, FailureKind::Lost) && self.later.is_none();
        let hang_up = is_hang_up.then(|| failure.cause.clone());
        // Whatever the server said last came before: what is in flight now goes unanswered, and is sent
        // again. It must not arrive twice.
        link.abort();
        self.shared.health.set_ready(false);
        self.shared.health.set_down(Down {
            attempts: 0,
            cause: failure.cause.clone(),
            silent: matches!(failure.kind, FailureKind::Silent),
        });
        let error = Error::Unreachable {
            server: self.shared.server.to_string(),
            cause: failure.cause,
        };
        self.take_back(&error, hang_up);
        // A server that lets us in and then cuts us off, or puts us off, is not to be hammered.
        if self.later.take().is_none() && self.served {
            self.pause = Duration::ZERO;
        }
        self.watches.tell(&Event::Reconnecting(error));
        Served::Lost
    }

    /// Queues again, at its old place, what a lost connection cut off; or gives it back to the cluster.
    /// `hang_up` is why the server ended the connection, if it was the server.
    fn take_back(&mut self, error: &Error, hang_up: Option<String>) {
        let owed = self.in_flight.owed();
        let rule = self.rule();
        let mut again = std::mem::take(&mut self.again);
        for (job, replies) in self.in_flight.take() {
            again.extend(answer(job, replies, &self.shared.server, rule).0);
        }
        for job in &mut again {
            job.in_vain = job.in_vain.saturating_add(1);
        }
        if let Some(cause) = hang_up
            && owed > 0
        {
            self.window.narrow();
            if owed == 1
                && self.window.is_proven()
                && let Some(job) = again.pop_front()
                && let Some(rest) = self.suspect(job, cause)
            {
                again.push_front(rest);
            }
        }
        if self.options.membership != Membership::None {
            for job in again {
                job.fail(error);
            }
            self.fail_waiting(error);
            return;
        }
        let count = again.iter().map(Job::operations).sum();
        self.shared.queued.fetch_add(count, Ordering::Relaxed);
        again.append(&mut self.waiting);
        self.waiting = again;
    }

    /// The connection was lost under a single command, the first of the job. What is left of it.
    fn suspect(&self, mut job: Job, cause: String) -> Option<Job> {
        job.hang_ups += 1;
        // In a cluster, whoever repeats it counts.
        if job.hang_ups < MOST_HANG_UPS && self.options.membership == Membership::None {
            return Some(job);
        }
        let error = Error::HungUp {
            server: self.shared.server.to_string(),
            count: job.hang_ups,
            cause,
        };
        job.fail_first(error)
    }

    fn rule(&self) -> Rule {
        match (self.options.membership, &self.later) {
            (Membership::None, None) => Rule::PutOff,
            (Membership::None, Some(_)) => Rule::Late,
            // The cluster repeats.
            (Membership::Member | Membership::Reader, _) => Rule::Plain,
        }
    }

    /// Serves until the connection is lost (why), or closed and nothing is left to do (`None`).
    async fn exchange(
        &mut self,
        link: &mut Link,
        moved: impl Future<Output = Failure>,
    ) -> Option<Failure> {
        let mut moved = pin!(moved);
        let mut alarm = pin!(sleep_until(Instant::now() + IDLE));
        let cache = self
            .tracking
            .as_ref()
            .map(|tracking| Arc::clone(tracking.cache()));
        let mut read_again = pin!(resumed(cache.as_deref()));
        loop {
            if self.later.is_none() {
                self.send_waiting(link);
            }
            if !self.in_flight.is_wanted() {
                if self.is_done() {
                    return None;
                }
                if let Some(later) = &self.later {
                    return Some(Failure::lost(&later.cause));
                }
            }
            // Set to the earliest time at which something may have to be done; it may ring early.
            let due = self.due(link);
            if due < alarm.deadline() {
                alarm.as_mut().reset(due);
            }
            let mut is_due = false;
            tokio::select! {
                biased;
                reply = link.next() => {
                    let mut next = Some(reply);
                    let mut left = MOST_REPLIES;
                    while let Some(reply) = next {
                        let taken = reply.and_then(|value| self.take_reply(value, link.heard()));
                        if let Err(failure) = taken {
                            return Some(failure);
                        }
                        left -= 1;
                        next = if left > 0 { link.try_next() } else { None };
                    }
                    // A server that never stops must not keep the others from their turn.
                    if left == 0 {
                        let next = self.inbox.try_next();
                        self.accept_all(next);
                    }
                    is_due = link.heard() >= alarm.deadline();
                }
                next = self.inbox.next() => self.accept_all(next),
                failure = &mut moved => return Some(failure),
                () = &mut alarm => is_due = true,
                () = &mut read_again => {
                    read_again.set(resumed(cache.as_deref()));
                    is_due = true;
                }
            }
            if is_due {
                if self.expire() {
                    // What is sent from here on must not be given the replies that are missing.
                    self.ask_for_pong(link);
                }
                if let Some(failure) = self.probe(link) {
                    return Some(failure);
                }
                let due = self.due(link);
                alarm.as_mut().reset(due);
            }
            self.in_flight.note_written(link);
        }
    }

    /// Takes a message and those behind it.
    fn accept_all(&mut self, mut next: Option<Message>) {
        while let Some(message) = next {
            self.accept(message);
            next = self.inbox.try_next();
        }
    }

    fn send_waiting(&mut self, link: &mut Link) {
        if !self.window.is_open() && !self.waiting.is_empty() {
            if !self.in_flight.is_empty() {
                return;
            }
            if !self.window.is_proven() {
                self.ask_for_life(link);
                return;
            }
        }
        let mut room = self.window.room();
        while room > 0
            && link.backlog() < MOST_BACKLOG
            && let Some(job) = self.waiting.pop_front()
        {
            self.unqueue(&job);
            let due = job.pending.len().min(room);
            room -= due;
            let mut end = 0;
            if due == job.commands.len() {
                end = link.send(job.commands.all_bytes());
            } else {
                for &command in &job.pending[..due] {
                    end = link.send(job.commands.bytes(command));
                }
            }
            let first = job.pending.first();
            let moment = self.note_sent(first.and_then(|&first| job.commands.key(first)));
            self.in_flight.push(Asked::Job(job), due, end, moment);
        }
    }

    /// Something is sent whose first command has this key. When, if its answer is proof for the cache.
    fn note_sent(&mut self, key: Option<&[u8]>) -> Option<Moment> {
        self.tracking.as_mut()?.note_sent(key)
    }

    /// Gives a reply, which came at `heard`, to the command that it answers.
    fn take_reply(&mut self, value: Value, heard: Instant) -> Result<(), Failure> {
        let value = match value {
            // Of a kind that nobody asked for, it may be a damaged reply that swallowed another one.
            Value::Push {
                kind: PushKind::Other(_),
                ..
            } => return Err(Failure::lost("the server sent a push that is unknown")),
            Value::Push { kind, data } => {
                self.settle_come();
                if let Some(tracking) = &self.tracking {
                    tracking.take(&kind, data);
                }
                return Ok(());
            }
            value => value,
        };
        let Some(sent) = self.in_flight.first_mut() else {
            return Err(match value {
                // Such as the reason why it closes the connection.
                Value::ServerError(error) => Failure::lost(Error::from_reply(
                    &self.shared.server,
                    error.code(),
                    error.details(),
                )),
                _ => Failure::lost("the server sent a reply that nobody asked for"),
            });
        };
        if !sent.expects(&value) {
            return Err(Failure::out_of_step());
        }
        // Our own question after a loss is no service.
        self.served |= sent.asked.job().is_some() || self.window.is_open();
        if let Some(tracking) = &mut self.tracking {
            tracking.note_reply(&value);
        }
        if let Asked::Job(_) = &sent.asked {
            sent.replies.push(value);
        }
        self.window.prove();
        self.replied = heard;
        sent.come += 1;
        let Some(answered) = self.in_flight.pop_answered() else {
            return Ok(());
        };
        if let Asked::Job(job) = answered.asked {
            if self.in_flight.is_empty() {
                self.window.widen();
            }
            self.settle(job, answered.replies);
        }
        if let Some(tracking) = &self.tracking {
            tracking.answered(answered.moment);
        }
        Ok(())
    }

    fn settle(&mut self, job: Job, replies: Vec<Value>) {
        let rule = self.rule();
        let (rest, later) = answer(job, replies, &self.shared.server, rule);
        match rest {
            // It was sent in part.
            Some(rest) if self.later.is_none() && later.is_none() => {
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
        if rule == Rule::Late || sent.replies.is_empty() {
            return;
        }
        let is_put_off = |value: &Value| match value {
            Value::ServerError(error) if rule == Rule::PutOff => {
                Error::from_reply("", error.code(), error.details()).is_passing()
            }
            _ => false,
        };
        if sent.replies.iter().any(is_put_off) {
            self.end_tracking();
            return;
        }
        let replies = std::mem::take(&mut sent.replies);
        let places: Vec<_> = job.pending.drain(..replies.len()).collect();
        sent.due -= replies.len();
        sent.come -= replies.len();
        job.hang_ups = 0;
        let server = &self.shared.server;
        let replies = replies.into_iter().map(|value| reply(server, value));
        job.settle.settle(places.into_iter().zip(replies).collect());
    }

    /// When something has to be done, if nothing happens before.
    fn due(&self, link: &Link) -> Instant {
        let deadline = |job: Option<&Job>| job.map(|job| job.deadline);
        [
            deadline(self.waiting.front()),
            deadline(self.again.front()),
            self.in_flight.deadline(),
            self.renew,
        ]
        .into_iter()
        .flatten()
        .fold(self.patience(link), Instant::min)
    }

    /// For how long a reply may be on its way. A slow server is not given up sooner than a silent one.
    fn longest_reply(&self) -> Duration {
        self.options.command_timeout.max(self.silence)
    }

    /// Until when the server may be silent.
    fn patience(&self, link: &Link) -> Instant {
        match self.in_flight.first() {
            None => {
                let idle = link.heard() + IDLE;
                let probe = self.tracking.as_ref().and_then(Tracking::probe_at);
                probe.map_or(idle, |probe| probe.min(idle))
            }
            Some(sent) => {
                // While the socket still takes what was sent, that is a sign of life, too.
                let taken = sent.taken(link);
                let silent = taken.max(link.heard()) + self.silence;
                // Bytes without end that make no answer: a damaged reply that swallows all the others.
                silent.min(taken.max(self.replied) + self.longest_reply())
            }
        }
    }

    /// Asks an idle server for a sign of life; gives up one that is silent while an answer is due.
    fn probe(&mut self, link: &mut Link) -> Option<Failure> {
        let patience = self.patience(link);
        // Read last: what is due at once is due by now.
        let now = Instant::now();
        if self.renew.is_some_and(|time| time <= now) {
            self.renew = None;
            self.watches.ask_for_credentials();
        }
        if patience > now {
            return None;
        }
        if !self.in_flight.is_empty() {
            let cause = if link.heard() + self.silence > now {
                let waited = self.longest_reply().as_millis();
                format!("no whole answer for {waited} ms")
            } else {
                format!("no answer for {} ms", self.silence.as_millis())
            };
            return Some(Failure::silent(cause));
        }
        self.ask_for_life(link);
        None
    }

    /// Asks a question that any server answers.
    fn ask_for_life(&mut self, link: &mut Link) {
        match self.tracking.as_ref().and_then(Tracking::witness) {
            Some(key) => {
                let words: [&[u8]; 2] = [b"PTTL", key];
                let command = Commands::of(Access::Read, Expect::Integer, Some(1), &words);
                self.ask(link, Asked::Key, &command);
            }
            None => self.ask_for_pong(link),
        }
    }

    fn ask_for_pong(&mut self, link: &mut Link) {
        let command = Commands::of(Access::Read, Expect::Any, None, &[b"PING"]);
        self.ask(link, Asked::Ping, &command);
    }

    /// Asks a question of our own.
    fn ask(&mut self, link: &mut Link, question: Asked, command: &Commands) {
        let end = link.send(command.bytes(0));
        let moment = self.note_sent(command.key(0));
        self.in_flight.push(question, 1, end, moment);
    }
}

/// When idle connections are to be asked anew; never where nothing is kept.
async fn resumed(cache: Option<&Cache>) {
    match cache {
        Some(cache) => cache.resumed().await,
        None => pending().await,
    }
}
