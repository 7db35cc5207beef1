//! Observations of the attempts to connect, and of the links.

use super::task::Supervisor;
use crate::connection::link::Link;
use crate::error::Error;
use crate::observers::{Observation, Place, kind};
use crate::options::{Address, Membership};
use std::mem;
use std::time::Duration;

impl Supervisor {
    /// Returns the server to connect to; with Sentinel, its address is not known before the attempt succeeds.
    fn target(&self) -> Place {
        self.place_of(&self.options.address)
    }

    fn place_of(&self, address: &Address) -> Place {
        Place::new(&self.shared.server, address, self.options.database)
    }

    fn report(&self, make: impl FnOnce() -> Observation) {
        self.shared.observers.report(kind::LINKS, make);
    }

    pub(super) fn report_attempt(&self, attempt: u32) {
        self.report(|| Observation::Connecting {
            place: self.target(),
            attempt,
        });
    }

    pub(super) fn report_failed_attempt(&self, attempt: u32, reason: &str, error: &Error) {
        self.report(|| Observation::ConnectFailed {
            place: self.target(),
            attempt,
            reason: reason.to_owned(),
            error: error.clone(),
        });
    }

    /// Reports a new link; with Sentinel, also that it leads to another server than the one before.
    pub(super) fn report_link(
        &mut self,
        attempt: u32,
        duration: Duration,
        (link, address): &(Link, Address),
    ) {
        let place = self.place_of(address);
        let former = mem::replace(&mut self.place, place);
        if let (Some(from), Some(to)) = (former.address(), self.place.address())
            && from != to
        {
            let server = self.shared.server.clone();
            self.shared
                .observers
                .report(kind::CHANGES, || Observation::FailedOver {
                    server,
                    from,
                    to,
                });
        }
        self.report(|| Observation::Connected {
            place: self.place.clone(),
            attempt,
            milliseconds: u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
            software: link.peer().software(),
        });
    }

    /// Reports that the link was lost, with the cause; or that it was closed.
    pub(super) fn report_lost_link(&self, cause: Option<(&str, &Error)>) {
        let closed = match self.options.membership {
            Membership::None => "the store was closed",
            Membership::Member | Membership::Reader => "the node is no longer needed",
        };
        self.report(|| Observation::Disconnected {
            place: self.place.clone(),
            reason: cause.map_or(closed, |(reason, _)| reason).to_owned(),
            error: cause.map(|(_, error)| error.clone()),
        });
    }
}
