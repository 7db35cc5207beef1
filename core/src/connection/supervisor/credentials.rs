//! Credentials from the app's function: requested for each attempt to connect, and renewed before they expire.

use crate::connection::handle::Credentials;
use crate::connection::job::{Reply, ReplyHandler};
use crate::connection::origin::Origin;
use crate::connection::status::{Event, Watches};
use crate::error::Error;
use crate::redaction::redact;
use crate::server::Server;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// Credentials are renewed when this fraction of their lifetime is left.
const RENEWAL_DIVISOR: u32 = 10;
/// The delay before another renewal after one that failed or that returned expired credentials.
const RENEWAL_RETRY_DELAY: Duration = Duration::from_secs(5);
/// The shortest delay before a renewal, however short the credentials' lifetime is.
const MIN_RENEWAL_DELAY: Duration = Duration::from_millis(250);

/// The result of the app's function.
type Provided = Result<Credentials, String>;

/// The credentials of a connection, and their renewal.
pub(super) struct CredentialRenewal {
    server: Server,
    current: Option<Credentials>,
    /// Set while an attempt to connect waits for credentials.
    awaiting: Option<oneshot::Sender<Provided>>,
    /// The system time at which to request new credentials.
    renewal_at: Option<Instant>,
}

impl CredentialRenewal {
    pub(super) fn new(server: Server) -> Self {
        Self {
            server,
            current: None,
            awaiting: None,
            renewal_at: None,
        }
    }

    /// Makes an attempt to connect wait for credentials.
    pub(super) fn begin_wait(&mut self) -> oneshot::Receiver<Provided> {
        let (sender, receiver) = oneshot::channel();
        self.awaiting = Some(sender);
        receiver
    }

    pub(super) fn end_wait(&mut self) {
        self.awaiting = None;
    }

    pub(super) fn is_awaited(&self) -> bool {
        self.awaiting.is_some()
    }

    /// Passes credentials to the attempt that waits for them. Without one, returns renewed credentials, which replace
    /// the current ones.
    pub(super) fn receive(&mut self, provided: Provided) -> Result<Option<Credentials>, Error> {
        if let Some(attempt) = self.awaiting.take() {
            // The attempt that requested them may have ended.
            let _ = attempt.send(provided);
            return Ok(None);
        }
        let renewed = self.accept(provided);
        if renewed.is_err() {
            self.renewal_at = Some(Instant::now() + RENEWAL_RETRY_DELAY);
        }
        renewed.map(|()| self.current.clone())
    }

    /// Sets the current credentials and schedules their renewal.
    pub(super) fn accept(&mut self, provided: Provided) -> Result<(), Error> {
        let credentials = provided.map_err(|cause| Error::Credentials {
            server: self.server.clone(),
            // The cause may be a message of the app's own.
            cause: redact(&cause).into(),
        })?;
        // Credentials that expire later than an `Instant` can represent are never renewed.
        self.renewal_at = credentials
            .expires_in
            .and_then(|left| Instant::now().checked_add(renewal_after(left)));
        self.current = Some(credentials);
        Ok(())
    }

    /// Takes the credentials, for an attempt to connect.
    pub(super) fn take(&mut self) -> Option<Credentials> {
        self.current.take()
    }

    /// Puts back the credentials of an attempt. Returns those that replaced them in the meantime.
    pub(super) fn put_back(&mut self, used: Option<Credentials>) -> Option<Credentials> {
        if self.current.is_none() {
            self.current = used;
            return None;
        }
        self.current.clone()
    }

    /// Returns the system time at which to request new credentials.
    pub(super) fn renewal_at(&self) -> Option<Instant> {
        self.renewal_at
    }

    /// Notes that new credentials are requested.
    pub(super) fn begin_renewal(&mut self) {
        self.renewal_at = None;
    }
}

/// Returns the delay before a renewal of credentials that expire in `left`.
fn renewal_after(left: Duration) -> Duration {
    if left.is_zero() {
        return RENEWAL_RETRY_DELAY;
    }
    (left - left / RENEWAL_DIVISOR).max(MIN_RENEWAL_DELAY)
}

/// Handles the reply to the authentication of a renewal.
pub(super) struct RenewalHandler {
    pub(super) watches: Watches,
    pub(super) server: Server,
}

impl ReplyHandler for RenewalHandler {
    fn on_replies(&mut self, replies: Vec<(usize, Reply)>, _: Origin) {
        for (_, reply) in replies {
            if let Err(error) = reply {
                // The link stays authenticated as before. The next attempt to connect requests credentials again.
                let cause = error.into();
                let server = self.server.clone();
                let event = Event::Failed(Error::Credentials { server, cause });
                self.watches.notify(&event);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renewals_precede_the_expiry_and_never_loop() {
        let after = |ms| renewal_after(Duration::from_millis(ms)).as_millis();
        assert_eq!(after(60_000), 54_000);
        assert_eq!(after(500), 450);
        assert_eq!(after(1), 250);
        assert_eq!(after(0), 5000);
        assert!(
            Instant::now()
                .checked_add(renewal_after(Duration::MAX))
                .is_none()
        );
    }
}
