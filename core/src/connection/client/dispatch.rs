//! What the client is given, and when.

use super::Driver;
use super::batch::Batch;
use super::jobs::Place;
use super::port::Executor;
use super::state::{State, TRY_PAUSE};
use crate::connection::commands::{Access, Commands, Expect};
use crate::error::Error;
use std::time::Duration;
use tokio::time::Instant;

/// Commands and bytes of a batch, so that the event loop gets to other work in between.
const MOST_COMMANDS: usize = 128;
const MOST_BYTES: usize = 256 * 1024;
/// V8 makes no string of more than 2^29 - 24 units, and others may come before it in the same.
const LONGEST_COMMAND: usize = (1 << 29) - 1024 * 1024;
/// A client whose commands fail is tried this often while no command waits, by `PING`.
const CALM_TRY_PAUSE: Duration = Duration::from_secs(1);

impl Driver {
    /// Gives the client what it can be given now; one that does not serve, what shows whether it does again.
    pub(super) fn give(&mut self) {
        let Some(executor) = self.executor.clone() else {
            return;
        };
        let now = Instant::now();
        match self.state {
            State::Connected if self.failure.is_none() && self.resume_at <= now => {
                self.give_commands(&*executor, usize::MAX);
            }
            State::Connected | State::Ended => {}
            _ if self.try_at > now => {}
            State::Failing if self.waiting.is_empty() => self.ping(&*executor),
            _ if self.waiting.is_empty() => {}
            State::Away => {
                self.try_at = now + TRY_PAUSE;
                executor.ask_state();
            }
            State::Silent | State::Failing => {
                self.try_at = now + TRY_PAUSE;
                if self.state == State::Silent || self.failure.is_none() {
                    executor.ask_state();
                    // One is enough to find out whether it answers again.
                    self.give_commands(&*executor, 1);
                }
            }
        }
    }

    fn give_commands(&mut self, executor: &dyn Executor, most: usize) {
        if self.waiting.is_empty() {
            return;
        }
        if self.given.is_empty() {
            self.heard = Instant::now();
        }
        let mut left = most;
        while left > 0 && !self.waiting.is_empty() {
            let mut batch = Batch::default();
            while batch.len() < MOST_COMMANDS.min(left)
                && batch.bytes() < MOST_BYTES
                && let Some(place) = self.waiting.pop_first()
            {
                self.add(&mut batch, place);
            }
            left -= batch.len().min(left).max(1);
            if batch.len() > 0 {
                executor.run(batch.finish());
            }
        }
    }

    /// Asks a client whose commands fail, and that is given none, whether the server is there again. The number is
    /// nobody's.
    fn ping(&mut self, executor: &dyn Executor) {
        self.try_at = Instant::now() + CALM_TRY_PAUSE;
        self.last_given += 1;
        let mut batch = Batch::default();
        let command = Commands::of(Access::Read, Expect::Any, None, &[b"PING"]);
        batch.add(self.last_given, &command, 0);
        executor.ask_state();
        executor.run(batch.finish());
    }

    fn add(&mut self, batch: &mut Batch, place: Place) {
        let Some(work) = self.jobs.get_mut(&place.job) else {
            return;
        };
        if work.commands.bytes(place.at).len() > LONGEST_COMMAND {
            let error = Error::Client {
                server: self.shared.server.to_string(),
                cause: format!("a command of more than {LONGEST_COMMAND} bytes"),
            };
            self.answer(place.job, vec![(place.at, Err(error))]);
            return;
        }
        if !work.commands.may_use(self.links) {
            let server = self.shared.server.to_string();
            let error = Error::LinkReplaced { server };
            self.answer(place.job, vec![(place.at, Err(error))]);
            return;
        }
        self.last_given += 1;
        let number = self.last_given;
        work.note_given(place.at, number);
        self.given.insert(number, place);
        match self.denied.replace(&work.commands, place.at) {
            Some(substitute) => {
                self.substituted.insert(number);
                batch.add(number, &substitute, 0);
            }
            None => batch.add(number, &work.commands, place.at),
        }
    }
}
