//! One attempt to connect: resolves the server, opens a link and completes the handshake.

use super::failure::{Failure, FailureKind, TIMED_OUT};
use super::handle::Credentials;
use super::handshake::{self, Greeting};
use super::link::{Dialer, Link};
use super::network::Network;
use super::sentinel::Sentinels;
use super::staggered::first_success;
use super::{blocking, dns, tls};
use crate::cause::Cause;
use crate::error::Error;
use crate::options::{Address, ConnectionOptions, TlsOptions};
use std::future::{Future, pending};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// The time after which an attempt counts as hanging. It bounds how long a recovered network goes unnoticed: less than
/// a second, connecting included.
const HANGING: Duration = Duration::from_millis(750);
/// The timeout of an additional attempt, so that there are never more than two of them. A server that answers slowly
/// has the whole time of the first attempt.
const ADDITIONAL: Duration = HANGING.saturating_mul(2);

/// The link and the address of its server.
type Outcome = Result<(Link, Address), Failure>;

/// An attempt that did not end in time.
struct TimedOut;

/// Connects to the server of a connection. Keeps what one attempt found out for the next one.
#[derive(Clone)]
pub(super) struct Connector {
    options: ConnectionOptions,
    dialer: Dialer,
    /// The Sentinels, if the address is theirs and an attempt has used them.
    sentinels: Option<Sentinels>,
    /// The handshake that the server accepted last.
    greeting: Greeting,
}

impl Connector {
    pub(super) fn new(options: ConnectionOptions, network: Arc<dyn Network>) -> Self {
        Self {
            options,
            dialer: Dialer { network, tls: None },
            sentinels: None,
            greeting: Greeting::default(),
        }
    }

    /// Makes the next handshake a full one.
    pub(super) fn forget_greeting(&mut self) {
        self.greeting = Greeting::default();
    }

    /// Connects within `limit`. While an attempt hangs, starts additional ones, and returns the first result: a network
    /// that lost the bytes of the first attempt may have recovered long before `limit`.
    pub(super) async fn connect(
        &mut self,
        credentials: Option<&Credentials>,
        limit: Duration,
    ) -> Outcome {
        let deadline = Instant::now() + limit;
        let mut last: Option<Instant> = None;
        let next = || {
            let left = deadline.saturating_duration_since(Instant::now());
            let limit = match last {
                None => limit,
                Some(last) if last.elapsed() < HANGING || left <= HANGING || self.awaits_dns() => {
                    return None;
                }
                Some(_) => left.min(ADDITIONAL),
            };
            last = Some(Instant::now());
            Some(self.clone().attempt(credentials, limit))
        };
        match first_success(HANGING, next).await {
            Some(Ok((connector, outcome))) => {
                *self = connector;
                outcome
            }
            _ => Err(self.timed_out(limit)),
        }
    }

    /// Makes one attempt, which must end within `limit`.
    async fn attempt(
        mut self,
        credentials: Option<&Credentials>,
        limit: Duration,
    ) -> Result<(Self, Outcome), TimedOut> {
        match timeout(limit, self.establish(credentials)).await {
            Ok(outcome) => Ok((self, outcome)),
            Err(_) => Err(TimedOut),
        }
    }

    /// Returns the failure of an attempt that did not end within `limit`.
    fn timed_out(&self, limit: Duration) -> Failure {
        let limit = limit.as_millis();
        if self.awaits_dns() {
            let cause = format!("the host name was not resolved within {limit} ms");
            return Failure::lost(Cause::new(cause).with_code(TIMED_OUT));
        }
        // Redis takes a TLS handshake for the beginning of a command, and waits for the rest.
        let hint = match self.options.tls {
            Some(_) => " (does it speak TLS on this port, or expect redis://, without \"tls\"?)",
            None => "",
        };
        Failure::timed_out(format!("no reply within {limit} ms{hint}"))
    }

    /// Returns true while the host name is being resolved: an additional attempt would only wait for the same lookup.
    fn awaits_dns(&self) -> bool {
        matches!(&self.options.address, Address::Tcp(node) if dns::is_resolving(&node.host))
    }

    async fn establish(&mut self, credentials: Option<&Credentials>) -> Outcome {
        if let (Some(settings), None) = (&self.options.tls, &self.dialer.tls) {
            self.dialer.tls = Some(tls_client(settings.clone()).await?);
        }
        let address = self.resolve().await?;
        let failover = self.primary_changed(&address);
        let options = &self.options;
        let greeting = &mut self.greeting;
        let link = handshake::establish(options, &address, &self.dialer, credentials, greeting);
        // The sentinels may promote another server while this one hangs.
        let link = tokio::select! {
            link = link => link.map_err(|failure| self.with_address(failure, &address))?,
            failure = failover => return Err(failure),
        };
        Ok((link, address))
    }

    /// Adds the server's address to a failure, where the options do not contain it.
    fn with_address(&self, failure: Failure, address: &Address) -> Failure {
        match (&self.options.address, address) {
            (Address::Sentinel(_), Address::Tcp(node)) => {
                if let FailureKind::Refused(Error::Reply { server, .. }) = &failure.kind {
                    server.set_address(address.clone());
                }
                failure.of("the primary", node)
            }
            (_, Address::Tcp(_)) if self.options.tls.is_none() => failure.with_tls_hint(),
            _ => failure,
        }
    }

    /// Returns the address to connect to; with Sentinel, that of the primary.
    async fn resolve(&mut self) -> Result<Address, Failure> {
        let Address::Sentinel(options) = &self.options.address else {
            return Ok(self.options.address.clone());
        };
        let sentinels = match &mut self.sentinels {
            Some(sentinels) => sentinels,
            none => {
                let tls = match &options.tls {
                    Some(settings) => Some(tls_client(settings.clone()).await?),
                    None => None,
                };
                let network = Arc::clone(&self.dialer.network);
                none.insert(Sentinels::new(options.clone(), Dialer { network, tls }))
            }
        };
        let primary = sentinels.primary().await?;
        Ok(Address::Tcp(primary))
    }

    /// Resolves when the sentinels name another primary than `address`; never without sentinels.
    pub(super) fn primary_changed(
        &self,
        address: &Address,
    ) -> impl Future<Output = Failure> + use<> {
        let watched = match (&self.sentinels, address) {
            (Some(sentinels), Address::Tcp(node)) => Some((sentinels.clone(), node.clone())),
            _ => None,
        };
        async {
            match watched {
                Some((sentinels, primary)) => sentinels.primary_changed(primary).await,
                None => pending().await,
            }
        }
    }
}

/// Sets up TLS. Reading the system's roots blocks, so it has a thread of its own.
async fn tls_client(settings: TlsOptions) -> Result<tls::Client, Failure> {
    match blocking::run(move || tls::Client::new(&settings)).await {
        Ok(client) => client.map_err(Failure::refused),
        Err(error) => Err(Failure::lost(format!("TLS could not be set up: {error}"))),
    }
}
