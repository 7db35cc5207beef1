//! Connecting: attempts with backoff, while jobs are queued and expire.

use super::task::Supervisor;
use crate::connection::backoff::jittered;
use crate::connection::clock;
use crate::connection::failure::{Failure, FailureKind};
use crate::connection::link::Link;
use crate::connection::status::{Down, Event};
use crate::error::Error;
use crate::options::{Address, Membership};
use std::future::Future;
use std::pin::pin;
use std::time::Duration;
use tokio::time::{Instant, sleep, sleep_until, timeout};

impl Supervisor {
    /// Tries to connect until an attempt succeeds. Returns `None` if the connection is closed first.
    pub(super) async fn connect(&mut self) -> Option<(Link, Address)> {
        let mut attempts = 0;
        loop {
            let pause = self.backoff.pause();
            if !pause.is_zero() {
                self.wait(sleep(jittered(pause))).await?;
            }
            self.backoff.grow();
            attempts += 1;
            self.shared.health.attempted(attempts);
            let begin = Instant::now();
            self.report_attempt(attempts);
            let Some(outcome) = self.attempt().await else {
                self.report_failed_attempt(attempts, "the store was closed", &Error::Closed);
                return None;
            };
            let failure = match outcome {
                Ok(link) => {
                    self.report_link(attempts, begin.elapsed(), &link);
                    // Jobs that expired while no link was open must fail with that cause.
                    self.queue.expire(clock::now());
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
            let reason = failure.cause.clone();
            let (error, is_final) = match failure.kind {
                FailureKind::Refused(refusal) => (refusal, true),
                _ => {
                    let server = self.shared.server.clone();
                    let cause = failure.cause;
                    let error = Error::Unreachable { server, cause };
                    (error, self.options.membership != Membership::None)
                }
            };
            self.report_failed_attempt(attempts, &reason.to_string(), &error);
            if is_final || self.options.gives_up_after(attempts) {
                self.queue.fail_waiting(&error);
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
            && let Err(refusal) = self.obtain_credentials(limit).await?
        {
            return Some(Err(Failure::refused(refusal)));
        }
        let credentials = self.credentials.take();
        let mut connector = self.connector.clone();
        let attempt =
            connector.connect(credentials.as_ref(), limit.saturating_sub(begin.elapsed()));
        let link = self.wait(attempt).await?;
        self.connector = connector;
        // They may have been renewed while the handshake used the previous credentials.
        if let Some(renewed) = self.credentials.put_back(credentials)
            && link.is_ok()
        {
            self.authenticate(&renewed);
        }
        Some(link)
    }

    /// Requests credentials from the app's function and waits for them. Returns `None` if the connection is closed
    /// meanwhile.
    async fn obtain_credentials(&mut self, limit: Duration) -> Option<Result<(), Error>> {
        let receiver = self.credentials.begin_wait();
        self.watches.ask_for_credentials();
        let provided = self.wait(timeout(limit, receiver)).await?;
        self.credentials.end_wait();
        let provided = match provided {
            Ok(Ok(provided)) => provided,
            _ => Err(format!(
                "it returned no credentials within {} ms",
                limit.as_millis()
            )),
        };
        Some(self.credentials.accept(provided))
    }

    /// Runs one step of connecting while messages arrive and jobs expire.
    /// Returns `None` if the connection is closing and no job is left.
    async fn wait<T>(&mut self, step: impl Future<Output = T>) -> Option<T> {
        let mut step = pin!(step);
        loop {
            if self.is_done() {
                return None;
            }
            let wake = self.queue.waiting_deadline().map(clock::wake);
            tokio::select! {
                biased;
                result = &mut step => return Some(result),
                wake = at(wake) => {
                    clock::note_wake(wake);
                    self.queue.expire(clock::now());
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
