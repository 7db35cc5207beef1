//! An open connection in use: jobs go out, replies come, and what is due is done, one after the other.

use super::Supervisor;
use super::in_flight::Asked;
use super::liveness::IDLE;
use crate::cache::{Cache, Moment};
use crate::connection::Message;
use crate::connection::attempt::moved;
use crate::connection::failure::{Failure, FailureKind};
use crate::connection::link::Link;
use crate::connection::status::{Down, Event};
use crate::error::Error;
use crate::options::Address;
use redis::Value;
use std::future::{Future, pending};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// Replies that are taken before others have their turn: they may come without an end.
const MOST_REPLIES: usize = 4096;
/// Bytes that wait for the socket before further jobs wait themselves: a job is then dropped by its
/// deadline without having been sent.
const MOST_BACKLOG: usize = 1024 * 1024;

#[derive(PartialEq)]
pub(super) enum Served {
    Lost,
    Closed,
}

impl Supervisor {
    pub(super) async fn serve(&mut self, mut link: Link, address: Address) -> Served {
        self.served = false;
        self.links += 1;
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
        // Before any key is read.
        self.check_slots(link);
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
                    if let Err(failure) = self.take_replies(reply, link) {
                        return Some(failure);
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
                if let Some(failure) = self.do_due(link) {
                    return Some(failure);
                }
                let due = self.due(link);
                alarm.as_mut().reset(due);
            }
            self.in_flight.note_written(link);
        }
    }

    /// Takes a reply and those that have come behind it.
    fn take_replies(
        &mut self,
        first: Result<Value, Failure>,
        link: &mut Link,
    ) -> Result<(), Failure> {
        let mut next = Some(first);
        let mut left = MOST_REPLIES;
        while let Some(reply) = next {
            self.take_reply(reply?, link.heard())?;
            left -= 1;
            next = if left > 0 { link.try_next() } else { None };
        }
        // A server that never stops must not keep the others from their turn.
        if left == 0 {
            let next = self.inbox.try_next();
            self.accept_all(next);
        }
        Ok(())
    }

    /// Does what its time has come for. Why the connection is to be given up, if it is.
    fn do_due(&mut self, link: &mut Link) -> Option<Failure> {
        if self.expire() {
            // What is sent from here on must not be given the replies that are missing.
            self.ask_for_pong(link);
        }
        self.probe(link)
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
            if !job.commands.may_use(self.links) {
                let server = self.shared.server.to_string();
                job.fail(&Error::LinkReplaced { server });
                continue;
            }
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
    pub(super) fn note_sent(&mut self, key: Option<&[u8]>) -> Option<Moment> {
        self.tracking.as_mut()?.note_sent(key)
    }
}

/// When idle connections are to be asked anew; never where nothing is kept.
async fn resumed(cache: Option<&Cache>) {
    match cache {
        Some(cache) => cache.resumed().await,
        None => pending().await,
    }
}
