//! One attempt to connect: resolves the server, opens a link and completes the handshake.

use super::failure::Failure;
use super::handshake::Greeting;
use super::link::Link;
use super::sentinel::Sentinels;
use super::{Credentials, blocking, dns, handshake, tls};
use crate::options::{Address, ConnectionOptions, Node, TlsOptions};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use std::pin::pin;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// The time after which an attempt counts as hanging. It bounds how long a recovered network goes unnoticed: less than
/// a second, connecting included.
const HANGING: Duration = Duration::from_millis(750);
/// The timeout of an additional attempt, so that there are never more than two of them. A server that answers slowly
/// has the whole time of the first attempt.
const ADDITIONAL: Duration = HANGING.saturating_mul(2);

/// The link and the address of its server.
type Outcome = Result<(Link, Address), Failure>;

/// The state of one attempt to connect, which returns it for the next one.
#[derive(Clone)]
pub(super) struct Connector {
    pub(super) options: ConnectionOptions,
    pub(super) tls: Option<tls::Client>,
    pub(super) sentinels: Option<Sentinels>,
    pub(super) credentials: Option<Credentials>,
    /// The handshake that the server accepted last.
    pub(super) greeting: Greeting,
}

impl Connector {
    /// Connects within `limit`. While an attempt hangs, starts additional ones, and returns the first result: a network
    /// that lost the bytes of the first attempt may have recovered long before `limit`.
    pub(super) async fn connect(self, limit: Duration) -> (Self, Outcome) {
        let deadline = Instant::now() + limit;
        let mut first = pin!(self.clone().attempt(limit));
        let mut additional = FuturesUnordered::new();
        loop {
            tokio::select! {
                (connector, outcome) = &mut first => {
                    return (connector, outcome.unwrap_or_else(|| Err(self.timed_out(limit))));
                }
                Some((connector, Some(outcome))) = additional.next() => return (connector, outcome),
                () = sleep(HANGING) => {}
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left > HANGING && !self.awaits_dns() {
                additional.push(self.clone().attempt(left.min(ADDITIONAL)));
            }
        }
    }

    /// Makes one attempt; `None` if it does not end within `limit`.
    async fn attempt(mut self, limit: Duration) -> (Self, Option<Outcome>) {
        let outcome = timeout(limit, self.establish()).await.ok();
        (self, outcome)
    }

    /// Returns the failure of an attempt that did not end within `limit`.
    fn timed_out(&self, limit: Duration) -> Failure {
        let limit = limit.as_millis();
        if self.awaits_dns() {
            return Failure::lost(format!("its name was not resolved within {limit} ms"));
        }
        // Redis takes a TLS handshake for the beginning of a command, and waits for the rest.
        let hint = match self.options.tls {
            Some(_) => " (does it speak TLS on this port?)",
            None => "",
        };
        Failure::timed_out(format!("no answer within {limit} ms{hint}"))
    }

    /// Returns true while the host name is being resolved: an additional attempt would only wait for the same lookup.
    fn awaits_dns(&self) -> bool {
        matches!(&self.options.address, Address::Tcp { host, .. } if dns::is_resolving(host))
    }

    async fn establish(&mut self) -> Outcome {
        if let (Some(settings), None) = (&self.options.tls, &self.tls) {
            self.tls = Some(tls_client(settings.clone()).await?);
        }
        let address = self.resolve().await?;
        let link = handshake::establish(
            &self.options,
            &address,
            self.tls.as_ref(),
            self.credentials.as_ref(),
            &mut self.greeting,
        );
        // The sentinels may promote another server while this one hangs.
        let link = tokio::select! {
            link = link => link.map_err(|failure| self.with_address(failure, &address))?,
            failure = moved(self.sentinels.as_ref(), &address) => return Err(failure),
        };
        Ok((link, address))
    }

    /// Adds the server's address to a failure, where the options do not contain it.
    fn with_address(&self, failure: Failure, address: &Address) -> Failure {
        match (&self.options.address, address) {
            (Address::Sentinel(_), Address::Tcp { host, port }) => {
                let (host, port) = (host.clone(), *port);
                failure.of(&format!("the primary {}", Node { host, port }))
            }
            (_, Address::Tcp { .. }) if self.options.tls.is_none() => failure.with_tls_hint(),
            _ => failure,
        }
    }

    /// Returns the address to connect to: with sentinels, that of the primary.
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
                none.insert(Sentinels::new(options.clone(), tls))
            }
        };
        let primary = sentinels.primary().await?;
        Ok(Address::Tcp {
            host: primary.host,
            port: primary.port,
        })
    }
}

/// Resolves when the sentinels name another primary than `address`; never without sentinels.
pub(super) async fn moved(sentinels: Option<&Sentinels>, address: &Address) -> Failure {
    match (sentinels, address) {
        (Some(sentinels), Address::Tcp { host, port }) => {
            let primary = Node {
                host: host.clone(),
                port: *port,
            };
            sentinels.clone().primary_changed(primary).await
        }
        _ => std::future::pending().await,
    }
}

/// Sets up TLS. Reading the system's roots blocks, so it has a thread of its own.
async fn tls_client(settings: TlsOptions) -> Result<tls::Client, Failure> {
    match blocking::run(move || tls::Client::new(&settings)).await {
        Ok(client) => client.map_err(Failure::refused),
        Err(error) => Err(Failure::lost(format!("TLS could not be set up: {error}"))),
    }
}
