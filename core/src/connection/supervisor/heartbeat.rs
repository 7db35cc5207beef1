//! Heartbeat and read timeout of an open link: idle links are probed, and silent servers are given up.

use super::in_flight::{InFlight, Purpose};
use crate::connection::clock;
use crate::connection::failure::Failure;
use crate::connection::link::Link;
use crate::connection::tracking::Tracking;
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
fn read_timeout(command_timeout: Duration) -> Duration {
    (command_timeout / 2).clamp(MIN_READ_TIMEOUT, MAX_READ_TIMEOUT)
}

/// The response to the server's silence.
pub(super) enum Check {
    /// Nothing.
    Alive,
    /// Send a `PING`, which makes the server process what it has received.
    Nudge,
    /// Send a heartbeat.
    Probe,
    /// Give up the link.
    Dead(Failure),
}

/// The signs of life of a link.
pub(super) struct Heartbeat {
    /// The longest silence tolerated while a reply is due.
    read_timeout: Duration,
    /// The longest time a reply may take. It is at least the read timeout, so that a slow server is not given up sooner
    /// than a silent one.
    max_reply_time: Duration,
    /// The time of the last complete reply.
    last_reply_at: Instant,
    /// True if the link has answered a command since the last `PING` was sent.
    has_answered: bool,
}

impl Heartbeat {
    pub(super) fn new(command_timeout: Duration) -> Self {
        let read_timeout = read_timeout(command_timeout);
        Self {
            read_timeout,
            max_reply_time: command_timeout.max(read_timeout),
            last_reply_at: clock::now(),
            has_answered: false,
        }
    }

    /// Begins a link.
    pub(super) fn begin_link(&mut self) {
        self.last_reply_at = clock::now();
    }

    /// Corrects the recorded time after a stop of the process: it must not lie in the future.
    pub(super) fn note_stop(&mut self) {
        self.last_reply_at = self.last_reply_at.min(clock::now());
    }

    /// Notes a reply to an entry with this purpose, received at `received`.
    pub(super) fn note_reply(&mut self, purpose: &Purpose, received: Instant) {
        self.last_reply_at = received;
        self.has_answered |= !matches!(purpose, Purpose::Ping);
    }

    /// Notes that a `PING` is sent.
    pub(super) fn note_ping(&mut self) {
        self.has_answered = false;
    }

    /// Returns the time at which [`Self::check`] is due.
    pub(super) fn next_due(
        &self,
        link: &Link,
        in_flight: &InFlight,
        tracking: Option<&Tracking>,
    ) -> Instant {
        let nudge_at = self.nudge_at(link, in_flight).into_iter();
        nudge_at.fold(
            self.silence_deadline(link, in_flight, tracking),
            Instant::min,
        )
    }

    /// Decides what is due.
    pub(super) fn check(
        &self,
        link: &Link,
        in_flight: &InFlight,
        tracking: Option<&Tracking>,
    ) -> Check {
        let silence_deadline = self.silence_deadline(link, in_flight, tracking);
        // Read the clock last, so that a deadline of "now" has passed.
        let now = clock::now();
        if silence_deadline > now {
            let nudge_at = self.nudge_at(link, in_flight);
            return match nudge_at.is_some_and(|at| at <= now) {
                true => Check::Nudge,
                false => Check::Alive,
            };
        }
        if in_flight.is_empty() {
            return Check::Probe;
        }
        let cause = if link.last_read() + self.read_timeout > now {
            let waited = self.max_reply_time.as_millis();
            format!("no complete reply for {waited} ms")
        } else {
            format!("no reply for {} ms", self.read_timeout.as_millis())
        };
        Check::Dead(Failure::timed_out(cause))
    }

    /// Returns the time at which to nudge the server with a `PING`: KeyDB leaves commands after a `SCAN` unprocessed
    /// until more bytes arrive. Returns `None` while such a `PING` is outstanding and no command was answered since:
    /// bytes, or replies to a `PING`, may be all that arrives.
    fn nudge_at(&self, link: &Link, in_flight: &InFlight) -> Option<Instant> {
        let last = in_flight.last()?;
        let written = last.written_at(link);
        let is_nudged = matches!(last.purpose, Purpose::Ping) && !self.has_answered;
        (link.backlog() == 0 && !is_nudged).then(|| written.max(link.last_read()) + NUDGE_DELAY)
    }

    /// Returns the time until which the server may stay silent: the next heartbeat if the link is idle, otherwise the
    /// end of the read timeout.
    fn silence_deadline(
        &self,
        link: &Link,
        in_flight: &InFlight,
        tracking: Option<&Tracking>,
    ) -> Instant {
        match in_flight.first() {
            None => {
                let idle = link.last_read() + HEARTBEAT_INTERVAL;
                let probe = tracking.and_then(Tracking::probe_at);
                probe.map_or(idle, |probe| clock::running(probe).min(idle))
            }
            Some(sent) => {
                // Progress in writing shows that the server is alive, too.
                let written = sent.written_at(link);
                let silent = written.max(link.last_read()) + self.read_timeout;
                // Endless bytes that complete no reply: a damaged reply may swallow all that follow.
                silent.min(written.max(self.last_reply_at) + self.max_reply_time)
            }
        }
    }
}
