//! Whether the server of an open connection lives: silence is noticed, and an idle one is asked.

use super::Supervisor;
use super::in_flight::Purpose;
use crate::connection::commands::{Access, Commands, Expect};
use crate::connection::failure::Failure;
use crate::connection::link::Link;
use crate::connection::tracking::Tracking;
use crate::connection::{Job, clock};
use std::time::Duration;
use tokio::time::Instant;

/// How long an idle connection goes without being probed.
pub(super) const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(5);
/// How long a reply may take before the server is sent more bytes.
const NUDGE_DELAY: Duration = Duration::from_millis(250);
/// The lower bound spares slow networks, the upper one finds a dead peer in seconds.
const MIN_READ_TIMEOUT: Duration = Duration::from_secs(1);
const MAX_READ_TIMEOUT: Duration = Duration::from_millis(2500);

/// For how long a peer may be silent that owes an answer: half the time that operations have, so that what a
/// peer that is gone without a word left unanswered can still be asked again.
pub(in crate::connection) fn read_timeout(command_timeout: Duration) -> Duration {
    (command_timeout / 2).clamp(MIN_READ_TIMEOUT, MAX_READ_TIMEOUT)
}

impl Supervisor {
    /// When something has to be done, if nothing happens before.
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

    /// When a `PING` follows what is not answered: KeyDB leaves commands behind a `SCAN` unprocessed until more bytes
    /// arrive. `None` while one is on its way to a server that has not answered since.
    fn nudge_at(&self, link: &Link) -> Option<Instant> {
        let last = self.in_flight.last()?;
        let written = last.written_at(link);
        let is_nudged = matches!(last.purpose, Purpose::Ping) && link.heard() <= written;
        (link.backlog() == 0 && !is_nudged).then(|| written.max(link.heard()) + NUDGE_DELAY)
    }

    /// For how long a reply may be on its way. A slow server is not given up sooner than a silent one.
    fn max_reply_time(&self) -> Duration {
        self.options.command_timeout.max(self.read_timeout)
    }

    /// Until when the server may be silent.
    fn silence_deadline(&self, link: &Link) -> Instant {
        match self.in_flight.first() {
            None => {
                let idle = link.heard() + HEARTBEAT_INTERVAL;
                let probe = self.tracking.as_ref().and_then(Tracking::probe_at);
                probe.map_or(idle, |probe| clock::running(probe).min(idle))
            }
            Some(sent) => {
                // While the socket still takes what was sent, that is a sign of life, too.
                let written = sent.written_at(link);
                let silent = written.max(link.heard()) + self.read_timeout;
                // Bytes without end that make no answer: a damaged reply that swallows all the others.
                silent.min(written.max(self.last_reply_at) + self.max_reply_time())
            }
        }
    }

    /// Asks an idle server for a sign of life; gives up one that is silent while an answer is due.
    pub(super) fn check_heartbeat(&mut self, link: &mut Link) -> Option<Failure> {
        let silence_deadline = self.silence_deadline(link);
        // Read last: what is due at once is due by now.
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
            let cause = if link.heard() + self.read_timeout > now {
                let waited = self.max_reply_time().as_millis();
                format!("no whole answer for {waited} ms")
            } else {
                format!("no answer for {} ms", self.read_timeout.as_millis())
            };
            return Some(Failure::silent(cause));
        }
        self.send_heartbeat(link);
        None
    }

    /// Asks a node of a cluster for its slots, if the cache needs to know.
    pub(super) fn check_slots(&mut self, link: &mut Link) {
        let Some(tracking) = &mut self.tracking else {
            return;
        };
        if tracking.slots_at().is_none_or(|at| at > Instant::now()) {
            return;
        }
        let (question, moment) = tracking.ask_for_slots();
        let end = link.send(question.all_bytes());
        let due = question.len();
        self.in_flight
            .push(Purpose::SlotCheck, due, end, Some(moment));
    }

    /// Asks a question that any server answers.
    pub(super) fn send_heartbeat(&mut self, link: &mut Link) {
        match self.tracking.as_ref().and_then(Tracking::witness) {
            Some(key) => {
                let words: [&[u8]; 2] = [b"PTTL", key];
                let command = Commands::of(Access::Read, Expect::Integer, Some(1), &words);
                self.send_probe(link, Purpose::KeyProbe, &command);
            }
            None => self.send_ping(link),
        }
    }

    pub(super) fn send_ping(&mut self, link: &mut Link) {
        let command = Commands::of(Access::Read, Expect::Any, None, &[b"PING"]);
        self.send_probe(link, Purpose::Ping, &command);
    }

    /// Asks a question of our own.
    fn send_probe(&mut self, link: &mut Link, purpose: Purpose, command: &Commands) {
        let end = link.send(command.bytes(0));
        let moment = self.note_sent(command.key(0));
        self.in_flight.push(purpose, 1, end, moment);
    }
}
