//! Opens a byte stream to an address: TCP or a Unix socket, with or without TLS.

use super::{dns, tls};
use crate::options::Address;
use futures_util::stream::{FuturesUnordered, StreamExt};
use std::fmt;
use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::sleep;
use tokio_rustls::client::TlsStream;

/// The time after which the next address of a name is tried along with the previous one (Happy Eyeballs): Node's
/// `autoSelectFamily` waits as long.
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// A byte stream.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {
    /// Makes the system discard unsent bytes when the stream is dropped. Otherwise it goes on sending: a command that
    /// was sent again over another socket would arrive late, after its successors.
    fn discard_unsent(&self);
}

impl Stream for TcpStream {
    fn discard_unsent(&self) {
        // Fails only if the socket is closed already.
        let _ = self.set_zero_linger();
    }
}

#[cfg(unix)]
impl Stream for tokio::net::UnixStream {
    /// Does nothing: written bytes have reached the peer.
    fn discard_unsent(&self) {}
}

impl Stream for Socket {
    fn discard_unsent(&self) {
        (**self).discard_unsent();
    }
}

impl<S: Stream> Stream for TlsStream<S> {
    fn discard_unsent(&self) {
        self.get_ref().0.discard_unsent();
    }
}

pub(super) type Socket = Box<dyn Stream>;

impl fmt::Debug for dyn Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Stream")
    }
}

/// Connects to the first address that accepts. An address that does not answer, such as an IPv6 address in a network
/// with IPv4 only, does not block the others.
async fn connect(addresses: &[SocketAddr]) -> io::Result<TcpStream> {
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "its name has no address");
    let mut rest = addresses.iter();
    let mut attempts = FuturesUnordered::new();
    loop {
        if let Some(&address) = rest.next() {
            attempts.push(TcpStream::connect(address));
        }
        let has_more = rest.len() > 0;
        let delay = async {
            match has_more {
                true => sleep(ATTEMPT_DELAY).await,
                false => pending().await,
            }
        };
        tokio::select! {
            ended = attempts.next() => match ended {
                Some(Ok(stream)) => return Ok(stream),
                Some(Err(error)) => failure = error,
                None => return Err(failure),
            },
            () = delay => {}
        }
    }
}

/// Opens a stream to a single server.
pub(super) async fn open(address: &Address, tls: Option<&tls::Client>) -> io::Result<Socket> {
    match address {
        Address::Tcp { host, port } => {
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
        Address::Sentinel(_) | Address::Cluster(_) | Address::Client(_) => Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "this is no address of a single server",
        )),
        #[cfg(not(unix))]
        Address::Unix { .. } => Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "this platform has no unix sockets",
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
