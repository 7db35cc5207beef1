//! Credentials that the app's function gives: for an attempt to connect, and anew before they expire.

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

/// Credentials are asked for anew when this part of their time is left.
const RENEWAL_DIVISOR: u32 = 10;
/// A renewal that failed is tried again after this time, and so is one that gave what has expired already.
const RENEWAL_RETRY_DELAY: Duration = Duration::from_secs(5);
/// Credentials are asked for no more often, however short their time is.
const MIN_RENEWAL_DELAY: Duration = Duration::from_millis(250);

impl Supervisor {
    /// Has an attempt to connect wait for what the app's function gives; `None` when the connection is closed
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

    pub(super) fn receive_credentials(&mut self, credentials: Result<Credentials, String>) {
        if let Some(attempt) = self.awaiting_credentials.take() {
            // The attempt that wanted them may be over.
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
                self.watches.tell(&Event::Failed(error));
            }
        }
    }

    /// On an open connection: by a job of our own, in its order among the others.
    pub(super) fn authenticate(&mut self, credentials: Credentials) {
        let user = User::new(&self.options, Some(&credentials));
        let authentication = user.authentication();
        self.credentials = Some(credentials);
        // There may be nobody to be.
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
            // May be a message of the app's own.
            cause: redact(&cause),
        }
    }

    fn schedule_renewal(&mut self, credentials: &Credentials) {
        // What outlives the clock does not expire.
        self.renewal_at = credentials
            .expires_in
            .and_then(|left| Instant::now().checked_add(renewal_after(left)));
    }
}

fn renewal_after(left: Duration) -> Duration {
    if left.is_zero() {
        return RENEWAL_RETRY_DELAY;
    }
    (left - left / RENEWAL_DIVISOR).max(MIN_RENEWAL_DELAY)
}

/// Takes the answer to a renewed authentication.
struct RenewalHandler {
    watches: Watches,
    server: Arc<str>,
}

impl ReplyHandler for RenewalHandler {
    fn on_replies(&mut self, replies: Vec<(usize, Reply)>) {
        for (_, reply) in replies {
            if let Err(error) = reply {
                // The connection stays who it was. The next attempt to connect asks again.
                let cause = error.to_string();
                let server = self.server.to_string();
                let event = Event::Failed(Error::Credentials { server, cause });
                self.watches.tell(&event);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renewals_come_before_the_end_and_never_in_a_loop() {
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
