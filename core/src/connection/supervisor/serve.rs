//! The loop that serves an open link: it sends jobs, handles replies and messages, and runs due work, one at a time.

use super::heartbeat::{Check, HEARTBEAT_INTERVAL};
use super::in_flight::Purpose;
use super::task::Supervisor;
use crate::cache::{Cache, Moment};
use crate::connection::clock;
use crate::connection::commands::{Access, Commands, Expect};
use crate::connection::counters::PeerInfo;
use crate::connection::failure::{Failure, FailureKind};
use crate::connection::handle::Message;
use crate::connection::link::Link;
use crate::connection::origin::ServerId;
use crate::connection::status::Event;
use crate::connection::tracking::Tracking;
use crate::error::Error;
use crate::options::{Address, Membership};
use redis::Value;
use std::future::{Future, pending};
use std::mem;
use std::pin::pin;
use std::sync::Arc;
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

/// The link was lost.
pub(super) struct Lost;

impl Supervisor {
    /// Serves a link until it is lost; or until the connection is closed, and returns `None`.
    pub(super) async fn serve(&mut self, mut link: Link, address: Address) -> Option<Lost> {
        self.has_served = false;
        self.link_count += 1;
        self.begin_counting(&link, &address);
        self.heartbeat.begin_link();
        let begin = clock::now();
        let failover = self.connector.primary_changed(&address);
        self.shared.server.set_address(address);
        let failure = self.exchange(&mut link, failover).await;
        self.count_bytes(&link);
        self.end_tracking();
        if begin + HANG_UP_MEMORY < clock::now() {
            self.queue.forget_hang_ups();
            self.connector.forget_greeting();
        }
        let Some(failure) = failure else {
            self.report_lost_link(None);
            return None;
        };
        // All received replies have been handled, so the commands still in flight are sent again. They must not also
        // reach the server over this link.
        link.abort();
        let timed_out = matches!(failure.kind, FailureKind::TimedOut);
        self.shared
            .health
            .set_lost(failure.cause.clone(), timed_out);
        let may_be_caused_by_job =
            matches!(failure.kind, FailureKind::Lost | FailureKind::Unreadable)
                && self.queue.transient_error().is_none()
                && self
                    .in_flight
                    .first()
                    .is_some_and(|first| first.purpose.job().is_some());
        let error = Error::Unreachable {
            server: self.shared.server.clone(),
            cause: failure.cause.clone(),
        };
        self.report_lost_link(Some((&failure.cause.to_string(), &error)));
        let hang_up = may_be_caused_by_job.then_some(failure);
        let in_flight = self.in_flight.take();
        self.queue.requeue_in_flight(in_flight, &error, hang_up);
        // Keep the backoff if the server accepted the link and then closed it, or returned a transient error.
        match self.queue.take_transient_error() {
            None if self.has_served => self.backoff.reset(),
            // A proxy may have lost only one of its servers: commands for the others wait for the next link.
            Some(error) if matches!(error.kind, FailureKind::Upstream) => {
                self.backoff.set(UPSTREAM_BACKOFF);
            }
            _ => {}
        }
        self.watches.notify(&Event::Reconnecting(error));
        Some(Lost)
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
            if self.queue.awaits_substitution() && !self.in_flight.has_jobs() {
                self.queue.requeue();
                // An error was already reported when the link was opened.
                let _ = self.begin_tracking(link);
            }
            if !self.queue.is_retrying() {
                self.send_waiting(link);
            }
            if !self.in_flight.has_jobs() {
                if self.is_done() {
                    return None;
                }
                if let Some(error) = self.queue.transient_error() {
                    return Some(Failure::lost(error.cause.clone()));
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
                    self.heartbeat.note_stop();
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
            self.count_bytes(link);
        }
    }

    /// Begins the statistics of a link.
    fn begin_counting(&mut self, link: &Link, address: &Address) {
        let server = ServerId::of(address);
        let denied = self.queue.begin_link(server);
        self.in_flight.denied = denied;
        self.counted_bytes = (0, 0);
        let has_tracking = self.tracking.is_some() && link.tracking_failure().is_none();
        let greeting = PeerInfo {
            has_tracking,
            ..link.peer().clone()
        };
        let is_member = self.options.membership != Membership::None;
        let counters = &self.shared.counters;
        counters.note_link(server, greeting, denied, is_member);
        if self.link_count > 1 {
            counters.note_reconnect();
        }
    }

    /// Counts the bytes that the link has read and written since the last call.
    fn count_bytes(&mut self, link: &Link) {
        let (read, written) = (link.received(), link.written());
        let (last_read, last_written) = mem::replace(&mut self.counted_bytes, (read, written));
        self.shared
            .counters
            .note_bytes(read - last_read, written - last_written);
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

    /// Handles a message and those after it.
    fn handle_messages(&mut self, mut next: Option<Message>) {
        while let Some(message) = next {
            self.handle_message(message);
            next = self.mailbox.try_next();
        }
    }

    // ---- Due work ----

    /// Returns the running time of the next deadline, heartbeat or renewal.
    fn next_due(&self, link: &Link) -> Instant {
        let tracking = self.tracking.as_ref();
        let heartbeat = self.heartbeat.next_due(link, &self.in_flight, tracking);
        [
            self.queue.deadline(),
            self.in_flight.deadline(),
            // Credentials expire while the process is stopped as well.
            self.credentials.renewal_at().map(clock::running),
            tracking.and_then(Tracking::slots_at).map(clock::running),
        ]
        .into_iter()
        .flatten()
        .fold(heartbeat, Instant::min)
    }

    /// Returns the system time at which work may be due.
    fn wake(&self, link: &Link) -> Instant {
        let due = self.next_due(link);
        if self.in_flight.has_jobs() || self.queue.has_waiting() {
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
        let now = clock::now();
        self.queue.expire(now);
        let expired = self.in_flight.expire(now);
        if !expired.is_empty() {
            self.queue.expire_in_flight(expired);
            // Later commands must not receive the missing replies.
            self.send_ping(link);
        }
        let renewal_at = self.credentials.renewal_at();
        if renewal_at.is_some_and(|time| clock::running(time) <= now) {
            self.credentials.begin_renewal();
            self.watches.ask_for_credentials();
        }
        self.check_slots(link);
        let tracking = self.tracking.as_ref();
        match self.heartbeat.check(link, &self.in_flight, tracking) {
            Check::Alive => {}
            Check::Nudge => self.send_ping(link),
            Check::Probe => self.send_heartbeat(link),
            Check::Dead(failure) => return Some(failure),
        }
        None
    }

    // ---- Sending ----

    /// Sends waiting jobs, as far as the backlog of the socket and lost links before allow.
    fn send_waiting(&mut self, link: &mut Link) {
        let denied = self.in_flight.denied;
        let mut capacity = match self.queue.sends_singly() {
            true => usize::from(!self.in_flight.has_jobs()),
            false => usize::MAX,
        };
        while capacity > 0
            && link.backlog() < MAX_BACKLOG
            && let Some(mut job) = self.queue.pop()
        {
            if !job.commands.may_use(self.link_count) {
                let server = self.shared.server.clone();
                job.fail(&Error::LinkReplaced { server });
                continue;
            }
            job.note_sent(self.queue.server());
            let due = job.pending.len().min(capacity);
            capacity -= due;
            let mut end = 0;
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
    fn note_sent(&mut self, key: Option<&[u8]>) -> Option<Moment> {
        self.tracking.as_mut()?.note_sent(key)
    }

    /// Asks a node of a cluster for its slots, if the cache needs them.
    fn check_slots(&mut self, link: &mut Link) {
        let Some(tracking) = &mut self.tracking else {
            return;
        };
        if tracking.slots_at().is_none_or(|at| at > Instant::now()) {
            return;
        }
        let (commands, moment) = tracking.query_slots();
        let end = link.send(commands.all_bytes());
        let due = commands.len();
        self.in_flight
            .push(Purpose::SlotCheck, due, end, Some(moment));
    }

    /// Sends a heartbeat: a `PING`, or to a cluster node a read of a key, which also shows that the node serves it.
    fn send_heartbeat(&mut self, link: &mut Link) {
        match self.tracking.as_ref().and_then(Tracking::probe_key) {
            Some(key) => {
                let words: [&[u8]; 2] = [b"PTTL", key];
                let command = Commands::of(Access::Read, Expect::Integer, Some(1), &words);
                self.send_probe(link, Purpose::KeyProbe, &command);
            }
            None => self.send_ping(link),
        }
    }

    /// Sends a `PING`.
    fn send_ping(&mut self, link: &mut Link) {
        self.heartbeat.note_ping();
        let command = Commands::of(Access::Read, Expect::Any, None, &[b"PING"]);
        self.send_probe(link, Purpose::Ping, &command);
    }

    /// Sends a command of the supervisor's own.
    fn send_probe(&mut self, link: &mut Link, purpose: Purpose, command: &Commands) {
        let end = link.send(command.bytes(0));
        let moment = self.note_sent(command.key(0));
        self.in_flight.push(purpose, 1, end, moment);
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
