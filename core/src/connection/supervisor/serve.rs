//! The loop that serves an open link: it sends jobs, handles replies and messages, and runs due work, one at a time.

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

/// The number of replies handled before messages have their turn: a server may send replies without end.
const MAX_REPLIES_PER_TURN: usize = 4096;
/// The longest time spent reading the socket before deadlines are checked: a server may send without end.
const MAX_DRAIN_TIME: Duration = Duration::from_millis(100);
/// The number of unwritten bytes above which further jobs stay queued, so that their deadlines can fail them before
/// they are sent.
const MAX_BACKLOG: usize = 1024 * 1024;

/// The backoff before reconnecting to a proxy that has lost a server.
const UPSTREAM_BACKOFF: Duration = Duration::from_millis(100);
/// A link that lasted this long resets the list of commands on which the server hangs up: they are tried again.
const HANG_UP_MEMORY: Duration = Duration::from_secs(60);

/// The outcome of serving a link.
#[derive(PartialEq)]
pub(super) enum Served {
    Lost,
    Closed,
}

impl Supervisor {
    /// Serves a link until it is lost or the connection is closed.
    pub(super) async fn serve(&mut self, mut link: Link, address: Address) -> Served {
        self.has_served = false;
        self.link_count += 1;
        self.in_flight.denied = self.hung_up_on;
        self.held = Held::default();
        let begin = clock::now();
        self.slow_start.begin_link();
        self.last_reply_at = clock::now();
        let sentinels = self.sentinels.clone();
        let failover = moved(sentinels.as_ref(), &address);
        let failure = self.exchange(&mut link, failover).await;
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
        // All received replies have been handled, so the commands still in flight are sent again. They must not also
        // reach the server over this link.
        link.abort();
        self.shared.health.set_ready(false);
        self.shared.health.set_down(Down {
            attempts: 0,
            cause: failure.cause.clone(),
            timed_out: matches!(failure.kind, FailureKind::TimedOut),
        });
        let error = Error::Unreachable {
            server: self.shared.server.to_string(),
            cause: failure.cause,
        };
        self.requeue_in_flight(&error, hang_up);
        // Keep the backoff if the server accepted the link and then closed it, or returned a transient error.
        match self.transient_error.take() {
            None if self.has_served => self.backoff = Duration::ZERO,
            // A proxy may have lost only one of its servers: commands for the others wait for the next link.
            Some(error) if matches!(error.kind, FailureKind::Upstream) => {
                self.backoff = UPSTREAM_BACKOFF;
            }
            _ => {}
        }
        self.watches.notify(&Event::Reconnecting(error));
        Served::Lost
    }

    /// Serves until the link is lost, and returns the cause; or until the connection is closed and no job is left, and
    /// returns `None`.
    async fn exchange(
        &mut self,
        link: &mut Link,
        failover: impl Future<Output = Failure>,
    ) -> Option<Failure> {
        let mut failover = pin!(failover);
        let mut alarm = pin!(sleep_until(Instant::now() + HEARTBEAT_INTERVAL));
        let cache = self
            .tracking
            .as_ref()
            .map(|tracking| Arc::clone(tracking.cache()));
        let mut read_again = pin!(resumed(cache.as_deref()));
        // The slots must be known before any key is read.
        self.check_slots(link);
        loop {
            if self.substitution_pending
                && self.transient_error.is_none()
                && !self.in_flight.has_jobs()
            {
                self.requeue_denied(link);
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
            // The alarm is set to the earliest time at which work may be due; it may fire early.
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
                    is_due = clock::system(link.last_read()) >= alarm.deadline();
                }
                next = self.mailbox.next() => self.handle_messages(next),
                failure = &mut failover => return Some(failure),
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

    /// Handles a reply and those that have arrived after it.
    fn handle_replies(
        &mut self,
        first: Result<Value, Failure>,
        link: &mut Link,
    ) -> Result<(), Failure> {
        let mut next = Some(first);
        let mut left = MAX_REPLIES_PER_TURN;
        while let Some(reply) = next {
            self.handle_reply(reply?, link.last_read())?;
            left -= 1;
            next = if left > 0 { link.try_next() } else { None };
        }
        // A server that sends without end must not delay messages.
        if left == 0 {
            let next = self.mailbox.try_next();
            self.handle_messages(next);
        }
        Ok(())
    }

    /// Returns the system time at which work may be due.
    fn wake(&self, link: &Link) -> Instant {
        let due = self.next_due(link);
        if self.in_flight.has_jobs() || !self.waiting.is_empty() {
            clock::wake(due)
        } else {
            clock::system(due).max(Instant::now())
        }
    }

    /// Returns true if commands are in flight and work is due.
    fn is_overdue(&self, link: &Link) -> bool {
        !self.in_flight.is_empty() && self.next_due(link) <= clock::now()
    }

    /// Handles the replies that have arrived, before deadlines are checked: after the process was stopped, the runtime
    /// may not have polled the socket yet.
    async fn drain_pending_replies(&mut self, link: &mut Link) -> Result<(), Failure> {
        // A server that sends without end must not delay other work.
        let mut left = self.in_flight.replies_due() + MAX_REPLIES_PER_TURN;
        let end = Instant::now() + MAX_DRAIN_TIME;
        loop {
            // Let the runtime poll the socket and other tasks.
            tokio::task::yield_now().await;
            let received = link.received();
            while left > 0
                && let Some(reply) = link.try_next()
            {
                self.handle_reply(reply?, link.last_read())?;
                left -= 1;
            }
            if left == 0 || link.received() == received || Instant::now() >= end {
                return Ok(());
            }
        }
    }

    /// Runs the work that is due. Returns a failure if the link must be given up.
    fn run_due_work(&mut self, link: &mut Link) -> Option<Failure> {
        if self.expire() {
            // Later commands must not receive the missing replies.
            self.send_ping(link);
        }
        self.check_heartbeat(link)
    }

    /// Handles a message and those after it.
    fn handle_messages(&mut self, mut next: Option<Message>) {
        while let Some(message) = next {
            self.handle_message(message);
            next = self.mailbox.try_next();
        }
    }

    /// Queues the denied commands again, in front of the waiting jobs, to be sent as their substitutes.
    fn requeue_denied(&mut self, link: &Link) {
        self.substitution_pending = false;
        self.held = Held::default();
        let count = self.retry_queue.iter().map(Job::operations).sum();
        self.shared.queued.fetch_add(count, Ordering::Relaxed);
        self.retry_queue.append(&mut self.waiting);
        self.waiting = std::mem::take(&mut self.retry_queue);
        // An error was already reported when the link was opened.
        let _ = self.begin_tracking(link);
    }

    /// Sends waiting jobs, as far as slow start and the backlog of the socket allow.
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
            && let Some(mut job) = self.waiting.pop_front()
        {
            self.note_dequeued(&job);
            if !job.commands.may_use(self.link_count) {
                let server = self.shared.server.to_string();
                job.fail(&Error::LinkReplaced { server });
                continue;
            }
            job.handler.on_sent();
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

    /// Notes that commands are sent, the first of which has this key. Returns the time if the reply confirms the
    /// freshness of the cache.
    pub(super) fn note_sent(&mut self, key: Option<&[u8]>) -> Option<Moment> {
        self.tracking.as_mut()?.note_sent(key)
    }
}

/// Resolves when the cache is used again after a pause, so that an idle link must be probed. Never resolves without a
/// cache.
async fn resumed(cache: Option<&Cache>) {
    match cache {
        Some(cache) => cache.resumed().await,
        None => pending().await,
    }
}
