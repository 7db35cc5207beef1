//! Whether the server of an open connection lives: silence is noticed, and an idle one is asked.

use super::Supervisor;
use super::in_flight::Asked;
use crate::connection::commands::{Access, Commands, Expect};
use crate::connection::failure::Failure;
use crate::connection::link::Link;
use crate::connection::tracking::Tracking;
use crate::connection::{Job, clock};
use std::time::Duration;
use tokio::time::Instant;

/// How long an idle connection goes without being probed.
pub(super) const IDLE: Duration = Duration::from_secs(5);
/// How long a reply may take before the server is sent more bytes.
const NUDGE: Duration = Duration::from_millis(250);
/// The lower bound spares slow networks, the upper one finds a dead peer in seconds.
const SHORTEST_SILENCE: Duration = Duration::from_secs(1);
const LONGEST_SILENCE: Duration = Duration::from_millis(2500);

/// For how long a peer may be silent that owes an answer: half the time that operations have, so that what a
/// peer that is gone without a word left unanswered can still be asked again.
pub(in crate::connection) fn longest_silence(command_timeout: Duration) -> Duration {
    (command_timeout / 2).clamp(SHORTEST_SILENCE, LONGEST_SILENCE)
}

impl Supervisor {
    /// When something has to be done, if nothing happens before.
    pub(super) fn due(&self, link: &Link) -> Instant {
        let deadline = |job: Option<&Job>| job.map(|job| job.deadline);
        [
            deadline(self.waiting.front()),
            deadline(self.again.front()),
            self.in_flight.deadline(),
            // Credentials expire while the process is stopped as well.
            self.renew.map(clock::running),
            self.tracking
                .as_ref()
                .and_then(Tracking::slots_at)
                .map(clock::running),
            self.nudge_at(link),
        ]
        .into_iter()
        .flatten()
        .fold(self.patience(link), Instant::min)
    }

    /// When a `PING` follows what is not answered: KeyDB leaves commands behind a `SCAN` unprocessed until more bytes
    /// arrive. `None` while one is on its way to a server that has answered no command since: bytes, or answers to a
    /// `PING`, may be all that comes.
    fn nudge_at(&self, link: &Link) -> Option<Instant> {
        let last = self.in_flight.last()?;
        let taken = last.taken(link);
        let is_nudged = matches!(last.asked, Asked::Ping) && !self.answered;
        (link.backlog() == 0 && !is_nudged).then(|| taken.max(link.heard()) + NUDGE)
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
                probe.map_or(idle, |probe| clock::running(probe).min(idle))
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
    pub(super) fn probe(&mut self, link: &mut Link) -> Option<Failure> {
        let patience = self.patience(link);
        // Read last: what is due at once is due by now.
        let now = clock::now();
        if self.renew.is_some_and(|time| clock::running(time) <= now) {
            self.renew = None;
            self.watches.ask_for_credentials();
        }
        self.check_slots(link);
        if patience > now {
            if self.nudge_at(link).is_some_and(|at| at <= now) {
                self.ask_for_pong(link);
            }
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
        self.in_flight.push(Asked::Slots, due, end, Some(moment));
    }

    /// Asks a question that any server answers.
    pub(super) fn ask_for_life(&mut self, link: &mut Link) {
        match self.tracking.as_ref().and_then(Tracking::witness) {
            Some(key) => {
                let words: [&[u8]; 2] = [b"PTTL", key];
                let command = Commands::of(Access::Read, Expect::Integer, Some(1), &words);
                self.ask(link, Asked::Key, &command);
            }
            None => self.ask_for_pong(link),
        }
    }

    pub(super) fn ask_for_pong(&mut self, link: &mut Link) {
        self.answered = false;
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
