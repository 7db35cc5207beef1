//! An open connection in use: jobs go out, replies come, and what is due is done, one after the other.

use super::Supervisor;
use super::heartbeat::HEARTBEAT_INTERVAL;
use super::held::Held;
use super::in_flight::Purpose;
use super::requeue::HangUp;
use crate::cache::{Cache, Moment};
use crate::connection::attempt::moved;
use crate::connection::failure::{Failure, FailureKind};
use crate::connection::handshake::Greeting;
use crate::connection::link::Link;
use crate::connection::status::{Down, Event};
use crate::connection::substitutes::Denied;
use crate::connection::{Job, Message, clock};
use crate::error::Error;
use crate::options::Address;
use redis::Value;
use std::future::{Future, pending};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// Replies that are taken before others have their turn: they may come without an end.
const MAX_REPLIES_PER_TURN: usize = 4096;
/// For how long the socket is read before time is judged: a server may send without end.
const MAX_DRAIN_TIME: Duration = Duration::from_millis(100);
/// Bytes that wait for the socket before further jobs wait themselves: a job is then dropped by its
/// deadline without having been sent.
const MAX_BACKLOG: usize = 1024 * 1024;

/// Before the next connection to a proxy that has lost a server.
const UPSTREAM_BACKOFF: Duration = Duration::from_millis(100);
/// After a connection that lasted so long, it is tried again whether the server hangs up on a command.
const HANG_UP_MEMORY: Duration = Duration::from_secs(60);

#[derive(PartialEq)]
pub(super) enum Served {
    Lost,
    Closed,
}

impl Supervisor {
    pub(super) async fn serve(&mut self, mut link: Link, address: Address) -> Served {
        self.has_served = false;
        self.link_count += 1;
        self.in_flight.denied = self.hung_up_on;
        self.held = Held::default();
        let begin = clock::now();
        self.slow_start.begin_link();
        self.last_reply_at = clock::now();
        let sentinels = self.sentinels.clone();
        let moved = moved(sentinels.as_ref(), &address);
        let failure = self.exchange(&mut link, moved).await;
        self.end_tracking();
        if begin + HANG_UP_MEMORY < clock::now() {
            self.hung_up_on = Denied::default();
            self.greeting = Greeting::default();
        }
        let failure = match failure {
            None => return Served::Closed,
            Some(failure) => failure,
        };
        let hang_up = match failure.kind {
            FailureKind::Lost if self.transient_error.is_none() => Some(HangUp {
                cause: failure.cause.clone(),
                is_unreadable: false,
            }),
            FailureKind::Unreadable => Some(HangUp {
                cause: failure.cause.clone(),
                is_unreadable: true,
            }),
            _ => None,
        };
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
        self.requeue_in_flight(&error, hang_up);
        // A server that lets us in and then cuts us off, or puts us off, is not to be hammered.
        match self.transient_error.take() {
            None if self.has_served => self.backoff = Duration::ZERO,
            // A proxy may have lost one of its servers: the sessions of the others wait for the next connection.
            Some(error) if matches!(error.kind, FailureKind::Upstream) => {
                self.backoff = UPSTREAM_BACKOFF;
            }
            _ => {}
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
        let mut alarm = pin!(sleep_until(Instant::now() + HEARTBEAT_INTERVAL));
        let cache = self
            .tracking
            .as_ref()
            .map(|tracking| Arc::clone(tracking.cache()));
        let mut read_again = pin!(resumed(cache.as_deref()));
        // Before any key is read.
        self.check_slots(link);
        loop {
            if self.substitution_pending
                && self.transient_error.is_none()
                && !self.in_flight.has_jobs()
            {
                self.replay(link);
            }
            if self.transient_error.is_none() && !self.substitution_pending {
                self.send_waiting(link);
            }
            if !self.in_flight.has_jobs() {
                if self.is_done() {
                    return None;
                }
                if let Some(error) = &self.transient_error {
                    return Some(Failure::lost(&error.cause));
                }
            }
            // Set to the earliest time at which something may have to be done; it may ring early.
            let wake = self.wake(link);
            if wake < alarm.deadline() {
                alarm.as_mut().reset(wake);
            }
            let mut is_due = false;
            tokio::select! {
                biased;
                reply = link.next() => {
                    if let Err(failure) = self.handle_replies(reply, link) {
                        return Some(failure);
                    }
                    is_due = clock::system(link.heard()) >= alarm.deadline();
                }
                next = self.mailbox.next() => self.handle_messages(next),
                failure = &mut moved => return Some(failure),
                () = &mut alarm => is_due = true,
                () = &mut read_again => {
                    read_again.set(resumed(cache.as_deref()));
                    is_due = true;
                }
            }
            if is_due {
                if clock::note_wake(alarm.deadline()) {
                    link.note_stop();
                    self.last_reply_at = self.last_reply_at.min(clock::now());
                }
                if self.is_overdue(link)
                    && let Err(failure) = self.drain_pending_replies(link).await
                {
                    return Some(failure);
                }
                if let Some(failure) = self.run_due_work(link) {
                    return Some(failure);
                }
                let wake = self.wake(link);
                alarm.as_mut().reset(wake);
            }
            self.in_flight.note_written(link);
        }
    }

    /// Takes a reply and those that have come behind it.
    fn handle_replies(
        &mut self,
        first: Result<Value, Failure>,
        link: &mut Link,
    ) -> Result<(), Failure> {
        let mut next = Some(first);
        let mut left = MAX_REPLIES_PER_TURN;
        while let Some(reply) = next {
            self.handle_reply(reply?, link.heard())?;
            left -= 1;
            next = if left > 0 { link.try_next() } else { None };
        }
        // A server that never stops must not keep the others from their turn.
        if left == 0 {
            let next = self.mailbox.try_next();
            self.handle_messages(next);
        }
        Ok(())
    }

    /// Returns the system time at which something may have to be done.
    fn wake(&self, link: &Link) -> Instant {
        let due = self.next_due(link);
        if self.in_flight.has_jobs() || !self.waiting.is_empty() {
            clock::wake(due)
        } else {
            clock::system(due).max(Instant::now())
        }
    }

    fn is_overdue(&self, link: &Link) -> bool {
        !self.in_flight.is_empty() && self.next_due(link) <= clock::now()
    }

    /// Takes the replies that have come by now, before time is judged: after a stop of the process, the runtime may
    /// not have looked into the socket yet.
    async fn drain_pending_replies(&mut self, link: &mut Link) -> Result<(), Failure> {
        // A server that never stops must not keep the others from their turn.
        let mut left = self.in_flight.replies_due() + MAX_REPLIES_PER_TURN;
        let end = Instant::now() + MAX_DRAIN_TIME;
        loop {
            // Has the runtime look, and others have their turn.
            tokio::task::yield_now().await;
            let received = link.received();
            while left > 0
                && let Some(reply) = link.try_next()
            {
                self.handle_reply(reply?, link.heard())?;
                left -= 1;
            }
            if left == 0 || link.received() == received || Instant::now() >= end {
                return Ok(());
            }
        }
    }

    /// Does what its time has come for. Why the connection is to be given up, if it is.
    fn run_due_work(&mut self, link: &mut Link) -> Option<Failure> {
        if self.expire() {
            // What is sent from here on must not be given the replies that are missing.
            self.send_ping(link);
        }
        self.check_heartbeat(link)
    }

    /// Takes a message and those behind it.
    fn handle_messages(&mut self, mut next: Option<Message>) {
        while let Some(message) = next {
            self.handle_message(message);
            next = self.mailbox.try_next();
        }
    }

    /// Queues again, before what waits, what was denied and can be sent as a substitute.
    fn replay(&mut self, link: &Link) {
        self.substitution_pending = false;
        self.held = Held::default();
        let count = self.retry_queue.iter().map(Job::operations).sum();
        self.shared.queued.fetch_add(count, Ordering::Relaxed);
        self.retry_queue.append(&mut self.waiting);
        self.waiting = std::mem::take(&mut self.retry_queue);
        // An error was reported when the link was opened.
        let _ = self.begin_tracking(link);
    }

    fn send_waiting(&mut self, link: &mut Link) {
        if !self.slow_start.is_over() && !self.waiting.is_empty() {
            if !self.in_flight.is_empty() {
                return;
            }
            if !self.slow_start.has_replied() {
                self.send_heartbeat(link);
                return;
            }
        }
        let mut capacity = self.slow_start.limit();
        while capacity > 0
            && link.backlog() < MAX_BACKLOG
            && let Some(job) = self.waiting.pop_front()
        {
            self.note_dequeued(&job);
            if !job.commands.may_use(self.link_count) {
                let server = self.shared.server.to_string();
                job.fail(&Error::LinkReplaced { server });
                continue;
            }
            let due = job.pending.len().min(capacity);
            capacity -= due;
            let mut end = 0;
            let denied = self.in_flight.denied;
            if due == job.commands.len() && denied.is_empty() {
                end = link.send(job.commands.all_bytes());
            } else {
                for &command in &job.pending[..due] {
                    end = match denied.replace(&job.commands, command) {
                        Some(substitute) => link.send(substitute.all_bytes()),
                        None => link.send(job.commands.bytes(command)),
                    };
                }
            }
            let first = job.pending.first();
            let moment = self.note_sent(first.and_then(|&first| job.commands.key(first)));
            self.in_flight.push(Purpose::Job(job), due, end, moment);
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
