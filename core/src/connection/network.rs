//! Opens a byte stream to an address: TCP or a Unix socket, with or without TLS.

use super::staggered::first_success;
use super::stream::Socket;
use super::{dns, tls};
use crate::cause::Cause;
use crate::options::{Address, Node};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpStream;

/// The time after which the next address of a name is tried along with the previous one (Happy Eyeballs): Node's
/// `autoSelectFamily` waits as long.
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// Connects to the first address that accepts. An address that does not answer, such as an IPv6 address in a network
/// with IPv4 only, does not block the others.
async fn connect(addresses: &[SocketAddr]) -> io::Result<TcpStream> {
    let mut addresses = addresses.iter();
    let next = || addresses.next().map(|&address| TcpStream::connect(address));
    let stream = first_success(ATTEMPT_DELAY, next).await;
    stream.unwrap_or_else(|| {
        let cause = Cause::new("the host name has no address");
        Err(io::Error::other(cause.with_code("ENOTFOUND")))
    })
}

/// Opens byte streams to servers.
pub(super) trait Network: fmt::Debug + Send + Sync {
    fn open<'a>(
        &'a self,
        address: &'a Address,
        tls: Option<&'a tls::Client>,
    ) -> BoxFuture<'a, io::Result<Socket>>;
}

/// The network of the operating system.
#[derive(Debug)]
pub(super) struct System;

impl Network for System {
    fn open<'a>(
        &'a self,
        address: &'a Address,
        tls: Option<&'a tls::Client>,
    ) -> BoxFuture<'a, io::Result<Socket>> {
        open(address, tls).boxed()
    }
}

/// Opens a stream to a single server.
async fn open(address: &Address, tls: Option<&tls::Client>) -> io::Result<Socket> {
    match address {
        Address::Tcp(Node { host, port }) => {
            let stream = connect(&dns::addresses(host, *port).await?).await?;
            // Requests are written in batches already: waiting for more would only delay them.
            stream.set_nodelay(true)?;
            match tls {
                Some(tls) => tls.connect(stream, host).await,
                None => Ok(Box::new(stream)),
            }
        }
        #[cfg(unix)]
        Address::Unix { path } => {
            let stream = tokio::net::UnixStream::connect(path).await?;
            match tls {
                Some(tls) => tls.connect(stream, "localhost").await,
                None => Ok(Box::new(stream)),
            }
        }
        Address::Sentinel(_) | Address::Cluster(_) => Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "the address is not that of a single server",
        )),
        #[cfg(not(unix))]
        Address::Unix { .. } => Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "this platform has no Unix sockets",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::{TcpListener, TcpSocket};
    use tokio::time::{Instant, timeout};

    async fn listener() -> TcpListener {
        TcpListener::bind("127.0.0.1:0").await.expect("a port")
    }

    #[tokio::test]
    async fn connect_tries_the_next_address_when_one_does_not_answer() {
        let unresponsive = TcpSocket::new_v4().expect("a socket");
        unresponsive
            .bind("127.0.0.1:0".parse().expect("an address"))
            .expect("a port");
        // Once the backlog is full, the system does not answer further connections.
        let unresponsive = unresponsive.listen(1).expect("a listener");
        let unanswered = unresponsive.local_addr().expect("an address");
        let mut waiting = Vec::new();
        while let Ok(stream) = timeout(ATTEMPT_DELAY / 2, TcpStream::connect(unanswered)).await {
            waiting.push(stream.expect("a connection"));
        }
        let listener = listener().await;
        let open = listener.local_addr().expect("an address");
        let begin = Instant::now();
        let stream = connect(&[unanswered, open]).await.expect("a connection");
        assert_eq!(stream.peer_addr().expect("an address"), open);
        assert!(begin.elapsed() < 4 * ATTEMPT_DELAY);
    }

    #[tokio::test]
    async fn connect_tries_the_next_address_at_once_when_one_refuses() {
        let closed = listener().await.local_addr().expect("an address");
        let listener = listener().await;
        let open = listener.local_addr().expect("an address");
        let begin = Instant::now();
        let stream = connect(&[closed, open]).await.expect("a connection");
        assert_eq!(stream.peer_addr().expect("an address"), open);
        assert!(begin.elapsed() < ATTEMPT_DELAY);
        let error = connect(&[closed, closed]).await.expect_err("an error");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        assert!(connect(&[]).await.is_err());
    }
}
