//! How the client is, by what it says and by what becomes of commands.
//!
//! A client may tell nothing of a lost connection but that commands fail. Where nothing else comes of them for a
//! while, it counts as not connected, and is tried by one command, or by `PING`, until the server answers.

use super::Driver;
use super::replies::reason;
use crate::connection::status::{Down, Event};
use crate::connection::substitutes::Denied;
use crate::error::Error;
use redis::Value;
use std::time::Duration;
use tokio::time::Instant;

/// A client that is not connected, or does not answer, is tried this often while commands wait: its
/// events may not tell all.
pub(super) const TRY_PAUSE: Duration = Duration::from_millis(250);
/// For how long commands may fail, with no answer of the server among them, until that means that it is away.
const LONGEST_FAILING: Duration = Duration::from_millis(500);

#[derive(Clone, Copy, PartialEq)]
pub(super) enum State {
    Connected,
    Away,
    /// Connected, but it answers nothing.
    Silent,
    /// Connected, as far as it tells, but all that it is given fails.
    Failing,
    Ended,
}

impl Driver {
    pub(super) fn set_connected(&mut self) {
        // That it says so once more proves nothing.
        if self.state != State::Connected {
            self.failing = None;
        }
        self.state = State::Connected;
        self.failures = 0;
        self.heard = Instant::now();
        if !self.shared.health.is_ready() {
            // It may be connected to another server.
            self.denied = Denied::default();
            self.shared.health.set_ready(true);
            self.watches.notify(&Event::Ready);
        }
    }

    pub(super) fn set_away(&mut self, state: State, cause: String) {
        let was_connected = self.state == State::Connected;
        // What is known of the cause says more than that it is still so.
        if state == self.state && self.failures > 0 {
            return;
        }
        // One that keeps silent has not reconnected yet.
        self.links += u64::from(state != State::Silent);
        self.state = state;
        self.try_at = Instant::now() + TRY_PAUSE;
        self.failures += u32::from(was_connected);
        self.note_down(cause.clone());
        if self.options.fails_offline {
            self.fail_all(&self.unreachable(cause.clone()));
        }
        if was_connected {
            self.watches
                .notify(&Event::Reconnecting(self.unreachable(cause)));
        }
    }

    fn note_down(&self, cause: String) {
        self.shared.health.set_ready(false);
        self.shared.health.set_down(Down {
            attempts: self.failures,
            cause,
            timed_out: self.state == State::Silent,
        });
    }

    pub(super) fn fail_again(&mut self, cause: String) {
        self.failures += 1;
        self.note_down(cause.clone());
        // How many attempts the client has made is not known for sure.
        if self.options.max_retries.is_some() {
            self.fail_all(&self.unreachable(cause.clone()));
        }
        self.watches.notify(&Event::Failed(self.unreachable(cause)));
    }

    /// Whether the server is there, as a reply or failure has it.
    pub(super) fn notice_failing(&mut self, kind: i64, value: &Value) {
        match (kind, self.state) {
            (0, State::Failing) => self.set_connected(),
            (0, _) => self.failing = None,
            (1, State::Failing) => self.fail_again(reason(value)),
            (1, _) => {
                let since = self
                    .failing
                    .take()
                    .map_or_else(Instant::now, |(since, _)| since);
                self.failing = Some((since, reason(value)));
            }
            _ => {}
        }
    }

    /// In a cluster, it may be one of the nodes that is away.
    pub(super) fn end_failing(&mut self) {
        if self.state == State::Connected
            && !self.shared.is_cluster
            && let Some((since, cause)) = &self.failing
            && *since + LONGEST_FAILING <= Instant::now()
        {
            let cause = cause.clone();
            self.set_away(State::Failing, cause);
        }
    }

    pub(super) fn unreachable(&self, cause: String) -> Error {
        Error::Unreachable {
            server: self.shared.server.to_string(),
            cause,
        }
    }

    pub(super) fn notice_silence(&mut self) {
        if self.state == State::Connected
            && !self.given.is_empty()
            && self.heard + self.silence <= Instant::now()
        {
            let cause = format!("no answer for {} ms", self.silence.as_millis());
            self.set_away(State::Silent, cause);
        }
    }
}
