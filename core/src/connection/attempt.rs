//! One attempt to connect: from the options to a connection on which we are known.

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

/// After so long without an end, an attempt counts as hanging. It bounds how long a network that is well again goes
/// unnoticed: less than a second, connecting included.
const HANGING: Duration = Duration::from_millis(750);
/// What those have that join it, so that there are never more than two of them: whoever answers at all, but
/// slowly, has the first attempt's whole time.
const JOINED: Duration = HANGING.saturating_mul(2);

/// The connection, and the server that it leads to.
type Outcome = Result<(Link, Address), Failure>;

/// What one attempt to connect needs, and gives back for the next.
#[derive(Clone)]
pub(super) struct Connector {
    pub(super) options: ConnectionOptions,
    pub(super) tls: Option<tls::Client>,
    pub(super) sentinels: Option<Sentinels>,
    pub(super) credentials: Option<Credentials>,
    /// What the server let us say last.
    pub(super) greeting: Greeting,
}

impl Connector {
    /// An attempt that hangs is joined by others, and the first one that ends counts: a network that lost the
    /// first one's bytes may be well again long before `limit`.
    pub(super) async fn connect(self, limit: Duration) -> (Self, Outcome) {
        let end = Instant::now() + limit;
        let mut first = pin!(self.clone().attempt(limit));
        let mut others = FuturesUnordered::new();
        loop {
            tokio::select! {
                (connector, outcome) = &mut first => {
                    return (connector, outcome.unwrap_or_else(|| Err(self.silent(limit))));
                }
                Some((connector, Some(outcome))) = others.next() => return (connector, outcome),
                () = sleep(HANGING) => {}
            }
            let left = end.saturating_duration_since(Instant::now());
            if left > HANGING && !self.awaits_name() {
                others.push(self.clone().attempt(left.min(JOINED)));
            }
        }
    }

    /// `None` when it has no end in time.
    async fn attempt(mut self, limit: Duration) -> (Self, Option<Outcome>) {
        let outcome = timeout(limit, self.establish()).await.ok();
        (self, outcome)
    }

    fn silent(&self, limit: Duration) -> Failure {
        let limit = limit.as_millis();
        if self.awaits_name() {
            return Failure::lost(format!("its name was not resolved within {limit} ms"));
        }
        // Redis waits for the rest of what it does not understand.
        let hint = match self.options.tls {
            Some(_) => " (does it speak TLS on this port?)",
            None => "",
        };
        Failure::silent(format!("no answer within {limit} ms{hint}"))
    }

    /// A further attempt would only wait for the same.
    fn awaits_name(&self) -> bool {
        matches!(&self.options.address, Address::Tcp { host, .. } if dns::is_sought(host))
    }

    async fn establish(&mut self) -> Outcome {
        if let (Some(settings), None) = (&self.options.tls, &self.tls) {
            self.tls = Some(client(settings.clone()).await?);
        }
        let address = self.resolve().await?;
        let link = handshake::establish(
            &self.options,
            &address,
            self.tls.as_ref(),
            self.credentials.as_ref(),
            &mut self.greeting,
        );
        // A primary that hangs while its sentinels make another one is not to be waited for.
        let link = tokio::select! {
            link = link => link.map_err(|failure| self.located(failure, &address))?,
            failure = moved(self.sentinels.as_ref(), &address) => return Err(failure),
        };
        Ok((link, address))
    }

    /// A failure with the server's address, where that is not what the options say.
    fn located(&self, failure: Failure, address: &Address) -> Failure {
        match (&self.options.address, address) {
            (Address::Sentinel(_), Address::Tcp { host, port }) => {
                let (host, port) = (host.clone(), *port);
                failure.of(&format!("the primary {}", Node { host, port }))
            }
            _ => failure,
        }
    }

    /// The server to connect to.
    async fn resolve(&mut self) -> Result<Address, Failure> {
        let Address::Sentinel(options) = &self.options.address else {
            return Ok(self.options.address.clone());
        };
        let sentinels = match &mut self.sentinels {
            Some(sentinels) => sentinels,
            none => {
                let tls = match &options.tls {
                    Some(settings) => Some(client(settings.clone()).await?),
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

/// Resolves when sentinels name another primary than this; never, where there are none.
pub(super) async fn moved(sentinels: Option<&Sentinels>, address: &Address) -> Failure {
    match (sentinels, address) {
        (Some(sentinels), Address::Tcp { host, port }) => {
            let primary = Node {
                host: host.clone(),
                port: *port,
            };
            sentinels.clone().moved(primary).await
        }
        _ => std::future::pending().await,
    }
}

/// TLS, ready to be used. Reading the system's roots blocks, so it is not done on the runtime's thread.
async fn client(settings: TlsOptions) -> Result<tls::Client, Failure> {
    match blocking::run(move || tls::Client::new(&settings)).await {
        Ok(client) => client.map_err(Failure::refused),
        Err(error) => Err(Failure::lost(format!("TLS could not be set up: {error}"))),
    }
}
