//! What comes to nothing: what has run out of time, or is given up; and why.

use super::Driver;
use super::jobs::{Place, Stage, Work};
use super::state::State;
use crate::connection::clock;
use crate::error::Error;

impl Driver {
    pub(super) fn expire(&mut self) {
        let now = clock::now();
        while let Some(entry) = self.jobs.first_entry()
            && entry.get().deadline <= now
        {
            let (id, work) = entry.remove_entry();
            let error = self.overdue(&work);
            self.fail(id, work, &error);
        }
        self.end_failure();
    }

    /// Why nothing came of it in time.
    fn overdue(&self, work: &Work) -> Error {
        let server = self.shared.server.to_string();
        let waited = self.shared.command_timeout;
        match (&work.trouble, self.state) {
            (Some(cause), State::Connected | State::Away | State::Failing) => Error::Unavailable {
                server,
                waited,
                attempts: work.attempts,
                cause: cause.clone(),
            },
            (_, State::Away | State::Failing | State::Ended) => self.shared.unavailable(waited),
            _ => Error::Timeout { server, waited },
        }
    }

    pub(super) fn fail_all(&mut self, error: &Error) {
        for (id, work) in std::mem::take(&mut self.jobs) {
            self.fail(id, work, error);
        }
    }

    fn fail(&mut self, id: u64, mut work: Work, error: &Error) {
        let mut replies = Vec::new();
        for (at, stage) in work.stages.iter().enumerate() {
            match stage {
                Stage::Done => continue,
                Stage::Waiting => {
                    self.waiting.remove(Place { job: id, at });
                }
                Stage::Given(number) => {
                    self.given.remove(number);
                }
            }
            replies.push((at, Err(error.clone())));
        }
        work.answer(replies);
    }
}
