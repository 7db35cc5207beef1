//! One attempt to connect: from the options to a connection on which we are known.

use super::link::{self, Failure, Link};
use super::sentinel::Sentinels;
use super::{Credentials, tls};
use crate::options::{Address, ConnectionOptions, Node};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// After so long without an end, an attempt counts as hanging.
const HANGING: Duration = Duration::from_secs(1);

/// The connection, and the server that it leads to.
type Outcome = Result<(Link, Address), Failure>;

/// What one attempt to connect needs, and gives back for the next.
#[derive(Clone)]
pub(super) struct Place {
    pub(super) options: ConnectionOptions,
    pub(super) tls: Option<tls::Client>,
    pub(super) sentinels: Option<Sentinels>,
    pub(super) credentials: Option<Credentials>,
}

impl Place {
    /// An attempt that hangs is joined by others, and the first one that ends counts: a network that lost the
    /// first one's bytes may be well again long before `limit`.
    pub(super) async fn connect(self, limit: Duration) -> (Self, Outcome) {
        let end = Instant::now() + limit;
        let mut attempts = FuturesUnordered::new();
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if attempts.is_empty() || left > HANGING {
                attempts.push(self.clone().attempt(left, limit));
            }
            tokio::select! {
                Some(ended) = attempts.next() => return ended,
                () = sleep(HANGING) => {}
            }
        }
    }

    async fn attempt(mut self, left: Duration, limit: Duration) -> (Self, Outcome) {
        let result = timeout(left, self.establish()).await.unwrap_or_else(|_| {
            // Redis waits for the rest of what it does not understand.
            let hint = match self.options.tls {
                Some(_) => " (does it speak TLS on this port?)",
                None => "",
            };
            let limit = limit.as_millis();
            Err(Failure::silent(format!(
                "no answer within {limit} ms{hint}"
            )))
        });
        (self, result)
    }

    async fn establish(&mut self) -> Outcome {
        if let (Some(settings), None) = (&self.options.tls, &self.tls) {
            self.tls = Some(client(settings.clone()).await?);
        }
        let address = self.resolve().await?;
        let link = link::establish(
            &self.options,
            &address,
            self.tls.as_ref(),
            self.credentials.as_ref(),
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
async fn client(settings: crate::options::TlsOptions) -> Result<tls::Client, Failure> {
    match tokio::task::spawn_blocking(move || tls::Client::new(&settings)).await {
        Ok(client) => client.map_err(Failure::refused),
        Err(_) => Err(Failure::lost("TLS could not be set up")),
    }
}
