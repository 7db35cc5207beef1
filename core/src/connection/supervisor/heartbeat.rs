//! Heartbeat and read timeout of an open link: idle links are probed, and silent servers are given up.

use super::Supervisor;
use super::in_flight::Purpose;
use crate::connection::commands::{Access, Commands, Expect};
use crate::connection::failure::Failure;
use crate::connection::link::Link;
use crate::connection::tracking::Tracking;
use crate::connection::{Job, clock};
use std::time::Duration;
use tokio::time::Instant;

/// The time after which an idle link is probed.
pub(super) const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(5);
/// The time after which an outstanding reply is nudged with a `PING`.
const NUDGE_DELAY: Duration = Duration::from_millis(250);
/// The minimum tolerates slow networks; the maximum detects a dead peer within seconds.
const MIN_READ_TIMEOUT: Duration = Duration::from_secs(1);
const MAX_READ_TIMEOUT: Duration = Duration::from_millis(2500);

/// Returns the longest silence tolerated while a reply is due: half of `command_timeout`, so that commands that a dead
/// peer left unanswered can still be retried.
pub(in crate::connection) fn read_timeout(command_timeout: Duration) -> Duration {
    (command_timeout / 2).clamp(MIN_READ_TIMEOUT, MAX_READ_TIMEOUT)
}

impl Supervisor {
    /// Returns the time of the next deadline, heartbeat or renewal.
    pub(super) fn next_due(&self, link: &Link) -> Instant {
        let deadline = |job: Option<&Job>| job.map(|job| job.deadline);
        [
            deadline(self.waiting.front()),
            deadline(self.retry_queue.front()),
            self.in_flight.deadline(),
            // Credentials expire while the process is stopped as well.
            self.renewal_at.map(clock::running),
            self.tracking
                .as_ref()
                .and_then(Tracking::slots_at)
                .map(clock::running),
            self.nudge_at(link),
        ]
        .into_iter()
        .flatten()
        .fold(self.silence_deadline(link), Instant::min)
    }

    /// Returns the time at which to nudge the server with a `PING`: KeyDB leaves commands after a `SCAN` unprocessed
    /// until more bytes arrive. Returns `None` while such a `PING` is outstanding and no command was answered since:
    /// bytes, or replies to a `PING`, may be all that arrives.
    fn nudge_at(&self, link: &Link) -> Option<Instant> {
        let last = self.in_flight.last()?;
        let written = last.written_at(link);
        let is_nudged = matches!(last.purpose, Purpose::Ping) && !self.has_answered;
        (link.backlog() == 0 && !is_nudged).then(|| written.max(link.last_read()) + NUDGE_DELAY)
    }

    /// Returns the longest time a reply may take. It is at least the read timeout, so that a slow server is not given
    /// up sooner than a silent one.
    fn max_reply_time(&self) -> Duration {
        self.options.command_timeout.max(self.read_timeout)
    }

    /// Returns the time until which the server may stay silent: the next heartbeat if the link is idle, otherwise the
    /// end of the read timeout.
    fn silence_deadline(&self, link: &Link) -> Instant {
        match self.in_flight.first() {
            None => {
                let idle = link.last_read() + HEARTBEAT_INTERVAL;
                let probe = self.tracking.as_ref().and_then(Tracking::probe_at);
                probe.map_or(idle, |probe| clock::running(probe).min(idle))
            }
            Some(sent) => {
                // Progress in writing shows that the server is alive, too.
                let written = sent.written_at(link);
                let silent = written.max(link.last_read()) + self.read_timeout;
                // Endless bytes that complete no reply: a damaged reply may swallow all that follow.
                silent.min(written.max(self.last_reply_at) + self.max_reply_time())
            }
        }
    }

    /// Does what is due: renews credentials, checks slots, and sends a heartbeat or a nudge. Returns a failure if the
    /// read timeout has passed.
    pub(super) fn check_heartbeat(&mut self, link: &mut Link) -> Option<Failure> {
        let silence_deadline = self.silence_deadline(link);
        // Read the clock last, so that a deadline of "now" has passed.
        let now = clock::now();
        if self
            .renewal_at
            .is_some_and(|time| clock::running(time) <= now)
        {
            self.renewal_at = None;
            self.watches.ask_for_credentials();
        }
        self.check_slots(link);
        if silence_deadline > now {
            if self.nudge_at(link).is_some_and(|at| at <= now) {
                self.send_ping(link);
            }
            return None;
        }
        if !self.in_flight.is_empty() {
            let cause = if link.last_read() + self.read_timeout > now {
                let waited = self.max_reply_time().as_millis();
                format!("no whole answer for {waited} ms")
            } else {
                format!("no answer for {} ms", self.read_timeout.as_millis())
            };
            return Some(Failure::timed_out(cause));
        }
        self.send_heartbeat(link);
        None
    }

    /// Asks a node of a cluster for its slots, if the cache needs them.
    pub(super) fn check_slots(&mut self, link: &mut Link) {
        let Some(tracking) = &mut self.tracking else {
            return;
        };
        if tracking.slots_at().is_none_or(|at| at > Instant::now()) {
            return;
        }
        let (commands, moment) = tracking.ask_for_slots();
        let end = link.send(commands.all_bytes());
        let due = commands.len();
        self.in_flight
            .push(Purpose::SlotCheck, due, end, Some(moment));
    }

    /// Sends a heartbeat: a `PING`, or to a cluster node a read of a key, which also shows that the node serves it.
    pub(super) fn send_heartbeat(&mut self, link: &mut Link) {
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
    pub(super) fn send_ping(&mut self, link: &mut Link) {
        self.has_answered = false;
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
