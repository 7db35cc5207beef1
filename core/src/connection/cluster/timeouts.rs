//! What comes to nothing: what has run out of time, or waits for what will not come; and why.

use super::Router;
use super::jobs::{Place, Work};
use crate::connection::clock;
use crate::error::Error;
use std::mem;

impl Router {
    /// Fails what has run out of time.
    pub(super) fn expire(&mut self) {
        while let Some((job, work)) = self.jobs.pop_overdue(clock::now()) {
            let error = self.overdue(&work);
            for (at, open) in work.open() {
                self.parked.remove(open.slot, Place { job, at });
                // Those behind it may go where it could not.
                self.parked.try_slot(open.slot);
            }
            work.fail(&error);
        }
    }

    /// Why nothing came of it in time.
    fn overdue(&self, work: &Work) -> Error {
        let server = self.shared.server.to_string();
        let waited = self.shared.command_timeout;
        let open = work.open().map(|(_, open)| open);
        let sent = open.clone().map(|open| open.sent).max().unwrap_or(0);
        let trouble = if sent > 0 {
            work.trouble.as_ref()
        } else {
            open.clone().find_map(|open| self.parked.reason(open.slot))
        };
        if let Some(trouble) = trouble {
            return Error::Unserved {
                server,
                waited,
                sent,
                cause: trouble.to_string(),
            };
        }
        match open.map(|open| self.cause(open.slot)).next().flatten() {
            _ if sent > 0 => Error::Timeout { server, waited },
            Some(cause) => Error::Unavailable {
                server,
                waited,
                attempts: self.shared.health.down().attempts,
                cause,
            },
            None if self.shared.health.is_ready() => Error::Timeout { server, waited },
            None => self.shared.unavailable(waited),
        }
    }

    /// Why what waits in a slot cannot go, as far as that is known.
    pub(super) fn cause(&self, slot: u16) -> Option<String> {
        let trouble = match self.slots.shard(slot) {
            Some(shard) => self.members.trouble(&shard.primary),
            None if self.ignorance.is_none() && !self.slots.is_empty() => {
                return Some(format!("no node serves the slot {slot}"));
            }
            None => self.ignorance.as_ref(),
        };
        trouble.map(Error::to_string)
    }

    /// Of all that waits for an answer which will not come.
    pub(super) fn fail_waiting(&mut self, error: &Error) {
        for walker in mem::take(&mut self.asked_walkers) {
            // The receiver may have stopped waiting.
            let _ = walker.send(Err(error.clone()));
        }
        for place in self.parked.take_all() {
            self.jobs
                .settle(place.job, vec![(place.at, Err(error.clone()))]);
        }
    }
}
