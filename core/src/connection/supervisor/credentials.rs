//! Credentials from the app's function: requested for each attempt to connect, and renewed before they expire.

use super::Supervisor;
use crate::connection::failure::Failure;
use crate::connection::handshake::User;
use crate::connection::status::{Event, Watches};
use crate::connection::{Credentials, Job, Reply, ReplyHandler, clock};
use crate::error::Error;
use crate::redaction::redact;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

/// Credentials are renewed when this fraction of their lifetime is left.
const RENEWAL_DIVISOR: u32 = 10;
/// The delay before another renewal after one that failed or that returned expired credentials.
const RENEWAL_RETRY_DELAY: Duration = Duration::from_secs(5);
/// The shortest delay before a renewal, however short the credentials' lifetime is.
const MIN_RENEWAL_DELAY: Duration = Duration::from_millis(250);

impl Supervisor {
    /// Requests credentials from the app's function and waits for them. Returns `None` if the connection is closed
    /// meanwhile.
    pub(super) async fn obtain_credentials(
        &mut self,
        limit: Duration,
    ) -> Option<Result<(), Failure>> {
        let (sender, receiver) = oneshot::channel();
        self.awaiting_credentials = Some(sender);
        self.watches.ask_for_credentials();
        let answer = self.wait(timeout(limit, receiver)).await?;
        self.awaiting_credentials = None;
        let refusal = match answer {
            Ok(Ok(Ok(credentials))) => {
                self.schedule_renewal(&credentials);
                self.credentials = Some(credentials);
                return Some(Ok(()));
            }
            Ok(Ok(Err(cause))) => cause,
            _ => format!("it gave nothing within {} ms", limit.as_millis()),
        };
        Some(Err(Failure::refused(self.credentials_error(refusal))))
    }

    /// Passes credentials to the attempt that waits for them; without one, uses them as a renewal.
    pub(super) fn receive_credentials(&mut self, credentials: Result<Credentials, String>) {
        if let Some(attempt) = self.awaiting_credentials.take() {
            // The attempt that requested them may have ended.
            let _ = attempt.send(credentials);
            return;
        }
        match credentials {
            Ok(credentials) => {
                self.schedule_renewal(&credentials);
                if self.shared.health.is_ready() {
                    self.authenticate(credentials);
                } else {
                    self.credentials = Some(credentials);
                }
            }
            Err(cause) => {
                self.renewal_at = Some(Instant::now() + RENEWAL_RETRY_DELAY);
                let error = self.credentials_error(cause);
                self.watches.notify(&Event::Failed(error));
            }
        }
    }

    /// Authenticates an open link with a job of its own, in order with the others.
    pub(super) fn authenticate(&mut self, credentials: Credentials) {
        let user = User::new(&self.options, Some(&credentials));
        let authentication = user.authentication();
        self.credentials = Some(credentials);
        // The credentials may name neither a user nor a password.
        if authentication.is_empty() {
            return;
        }
        let watches = self.watches.clone();
        let server = Arc::clone(&self.shared.server);
        let count = authentication.len();
        let deadline = clock::now() + self.options.command_timeout;
        let handler = Box::new(RenewalHandler { watches, server });
        self.waiting
            .push_back(Job::new(authentication, count, deadline, handler));
        self.shared.queued.fetch_add(1, Ordering::Relaxed);
    }

    fn credentials_error(&self, cause: String) -> Error {
        Error::Credentials {
            server: self.shared.server.to_string(),
            // The cause may be a message of the app's own.
            cause: redact(&cause),
        }
    }

    fn schedule_renewal(&mut self, credentials: &Credentials) {
        // Credentials that expire later than an `Instant` can represent are never renewed.
        self.renewal_at = credentials
            .expires_in
            .and_then(|left| Instant::now().checked_add(renewal_after(left)));
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
struct RenewalHandler {
    watches: Watches,
    server: Arc<str>,
}

impl ReplyHandler for RenewalHandler {
    fn on_replies(&mut self, replies: Vec<(usize, Reply)>) {
        for (_, reply) in replies {
            if let Err(error) = reply {
                // The link stays authenticated as before. The next attempt to connect requests credentials again.
                let cause = error.to_string();
                let server = self.server.to_string();
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
