//! Connecting: attempts with backoff, while jobs are queued and expire.

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

/// The backoff between attempts to connect doubles from the minimum to the maximum. The maximum bounds the time until
/// a recovered server is noticed.
const MIN_BACKOFF: Duration = Duration::from_millis(50);
const MAX_BACKOFF: Duration = Duration::from_millis(500);

impl Supervisor {
    /// Tries to connect until an attempt succeeds. Returns `None` if the connection is closed first.
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
                    // Jobs that expired while no link was open must fail with that cause.
                    self.expire();
                    let tracking = self.begin_tracking(&link.0);
                    self.shared.health.set_ready(true);
                    self.watches.notify(&Event::Ready);
                    self.watches.set_warning(tracking.err());
                    return Some(link);
                }
                Err(failure) => failure,
            };
            self.shared.health.set_down(Down {
                attempts,
                cause: failure.cause.clone(),
                timed_out: matches!(failure.kind, FailureKind::TimedOut),
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
            self.watches.notify(&Event::Failed(error));
        }
    }

    /// Begins client tracking on the link. Returns an error if nothing read over it can be cached.
    pub(super) fn begin_tracking(&mut self, link: &Link) -> Result<(), Error> {
        match &mut self.tracking {
            Some(tracking) => tracking.begin(link, &self.shared.server),
            None => Ok(()),
        }
    }

    /// Ends client tracking: entries read over the link are no longer fresh, and later replies must not be cached.
    pub(super) fn end_tracking(&mut self) {
        if let Some(tracking) = &mut self.tracking {
            tracking.end();
        }
    }

    /// Makes one attempt to connect. Returns `None` if the connection is closed meanwhile.
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
            // They arrived while the handshake used the previous credentials.
            Some(renewed) if link.is_ok() => self.authenticate(renewed),
            Some(renewed) => self.credentials = Some(renewed),
        }
        Some(link)
    }

    /// Runs one step of connecting while messages arrive and jobs expire.
    /// Returns `None` if the connection is closing and no job is left.
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

/// Sleeps until `time` and returns it. Never resolves for `None`.
async fn at(time: Option<Instant>) -> Instant {
    match time {
        Some(time) => {
            sleep_until(time).await;
            time
        }
        None => std::future::pending().await,
    }
}
