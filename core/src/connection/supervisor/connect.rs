//! From no connection to one: attempts and pauses, while jobs come in and run out of time.

use super::Supervisor;
use super::jittered;
use crate::connection::attempt::Connector;
use crate::connection::clock;
use crate::connection::failure::{Failure, FailureKind};
use crate::connection::link::Link;
use crate::connection::status::{Down, Event};
use crate::error::Error;
use crate::options::{Address, Membership};
use std::future::Future;
use std::pin::pin;
use std::time::Duration;
use tokio::time::{Instant, sleep, sleep_until};

/// Pauses between attempts to connect grow from the first to the longest. The longest bounds how
/// long a server that is back goes unnoticed.
const MIN_BACKOFF: Duration = Duration::from_millis(50);
const MAX_BACKOFF: Duration = Duration::from_millis(500);

impl Supervisor {
    /// Attempts until one succeeds; `None` when the connection is closed first.
    pub(super) async fn connect(&mut self) -> Option<(Link, Address)> {
        let mut attempts = 0;
        loop {
            if !self.backoff.is_zero() {
                let pause = sleep(jittered(self.backoff));
                self.wait(pause).await?;
            }
            self.backoff = (self.backoff * 2).clamp(MIN_BACKOFF, MAX_BACKOFF);
            attempts += 1;
            self.shared.health.attempted(attempts);
            let failure = match self.attempt().await? {
                Ok(link) => {
                    // What ran out of time while there was no connection fails for that reason.
                    self.expire();
                    let tracking = self.begin_tracking(&link.0);
                    self.shared.health.set_ready(true);
                    self.watches.tell(&Event::Ready);
                    self.watches.set_amiss(tracking.err());
                    return Some(link);
                }
                Err(failure) => failure,
            };
            self.shared.health.set_down(Down {
                attempts,
                cause: failure.cause.clone(),
                silent: matches!(failure.kind, FailureKind::Silent),
            });
            let (error, is_final) = match failure.kind {
                FailureKind::Refused(refusal) => (refusal, true),
                _ => {
                    let server = self.shared.server.to_string();
                    let cause = failure.cause;
                    let error = Error::Unreachable { server, cause };
                    (error, self.options.membership != Membership::None)
                }
            };
            if is_final || self.options.gives_up_after(attempts) {
                self.fail_waiting(&error);
            }
            self.watches.tell(&Event::Failed(error));
        }
    }

    /// An error tells why nothing can be kept of what is read over the link.
    pub(super) fn begin_tracking(&mut self, link: &Link) -> Result<(), Error> {
        match &mut self.tracking {
            Some(tracking) => tracking.begin(link, &self.shared.server),
            None => Ok(()),
        }
    }

    /// Nothing of what was read is to be trusted any more, and nothing of what is yet to be settled.
    pub(super) fn end_tracking(&mut self) {
        if let Some(tracking) = &mut self.tracking {
            tracking.end();
        }
    }

    /// One attempt to connect; `None` when the connection is closed meanwhile.
    async fn attempt(&mut self) -> Option<Result<(Link, Address), Failure>> {
        let limit = self.options.connect_timeout;
        let begin = Instant::now();
        if self.options.credentials.is_some()
            && let Err(failure) = self.obtain_credentials(limit).await?
        {
            return Some(Err(failure));
        }
        let connector = Connector {
            options: self.options.clone(),
            tls: self.tls.take(),
            sentinels: self.sentinels.take(),
            credentials: self.credentials.take(),
            greeting: self.greeting,
        };
        let limit = limit.saturating_sub(begin.elapsed());
        let attempt = connector.connect(limit);
        let (connector, link) = self.wait(attempt).await?;
        self.tls = connector.tls;
        self.sentinels = connector.sentinels;
        self.greeting = connector.greeting;
        match self.credentials.take() {
            None => self.credentials = connector.credentials,
            // They came while the link was being made with those before them.
            Some(renewed) if link.is_ok() => self.authenticate(renewed),
            Some(renewed) => self.credentials = Some(renewed),
        }
        Some(link)
    }

    /// Runs one step of connecting while jobs come in and run out of time.
    /// `None` when there is nothing left to connect for.
    pub(super) async fn wait<T>(&mut self, step: impl Future<Output = T>) -> Option<T> {
        let mut step = pin!(step);
        loop {
            if self.is_done() {
                return None;
            }
            let wake = self.waiting.front().map(|job| clock::wake(job.deadline));
            tokio::select! {
                biased;
                result = &mut step => return Some(result),
                wake = at(wake) => {
                    clock::note_wake(wake);
                    self.expire();
                }
                message = self.mailbox.next() => {
                    if let Some(message) = message {
                        self.handle_message(message);
                    }
                }
            }
        }
    }
}

/// Never, for no time.
async fn at(time: Option<Instant>) -> Instant {
    match time {
        Some(time) => {
            sleep_until(time).await;
            time
        }
        None => std::future::pending().await,
    }
}
