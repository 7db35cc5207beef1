//! From an address to a byte stream.

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

/// After so long without an end, the next address of a name is tried beside: as long as Node waits by its
/// `autoSelectFamily`.
const PATIENCE: Duration = Duration::from_millis(250);

pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {
    /// Has the system forget what it still holds for the network when the stream is dropped. Otherwise
    /// it goes on sending: a command that was sent again elsewhere would arrive late, behind its successors.
    fn forget_unsent(&self);
}

impl Stream for TcpStream {
    fn forget_unsent(&self) {
        // A socket that takes no options is closed already.
        let _ = self.set_zero_linger();
    }
}

#[cfg(unix)]
impl Stream for tokio::net::UnixStream {
    /// What was written is at its peer.
    fn forget_unsent(&self) {}
}

impl Stream for Socket {
    fn forget_unsent(&self) {
        (**self).forget_unsent();
    }
}

impl<S: Stream> Stream for TlsStream<S> {
    fn forget_unsent(&self) {
        self.get_ref().0.forget_unsent();
    }
}

pub(super) type Socket = Box<dyn Stream>;

impl fmt::Debug for dyn Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Stream")
    }
}

/// Connects to the first of the addresses that lets us: one from which nothing comes back, such as an IPv6
/// address where only IPv4 gets through, must not keep us from the others.
async fn connect(addresses: &[SocketAddr]) -> io::Result<TcpStream> {
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "its name has no address");
    let mut rest = addresses.iter();
    let mut attempts = FuturesUnordered::new();
    loop {
        if let Some(&address) = rest.next() {
            attempts.push(TcpStream::connect(address));
        }
        let has_more = rest.len() > 0;
        let patience = async {
            match has_more {
                true => sleep(PATIENCE).await,
                false => pending().await,
            }
        };
        tokio::select! {
            ended = attempts.next() => match ended {
                Some(Ok(stream)) => return Ok(stream),
                Some(Err(error)) => failure = error,
                None => return Err(failure),
            },
            () = patience => {}
        }
    }
}

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
    async fn an_address_from_which_nothing_comes_back_keeps_from_no_other() {
        let hole = TcpSocket::new_v4().expect("a socket");
        hole.bind("127.0.0.1:0".parse().expect("an address"))
            .expect("a port");
        // Once as many are waiting to be accepted, the system answers no more.
        let hole = hole.listen(1).expect("a listener");
        let silent = hole.local_addr().expect("an address");
        let mut waiting = Vec::new();
        while let Ok(stream) = timeout(PATIENCE / 2, TcpStream::connect(silent)).await {
            waiting.push(stream.expect("a connection"));
        }
        let listener = listener().await;
        let open = listener.local_addr().expect("an address");
        let begin = Instant::now();
        let stream = connect(&[silent, open]).await.expect("a connection");
        assert_eq!(stream.peer_addr().expect("an address"), open);
        assert!(begin.elapsed() < 4 * PATIENCE);
    }

    #[tokio::test]
    async fn an_address_that_refuses_is_followed_by_the_next_at_once() {
        let closed = listener().await.local_addr().expect("an address");
        let listener = listener().await;
        let open = listener.local_addr().expect("an address");
        let begin = Instant::now();
        let stream = connect(&[closed, open]).await.expect("a connection");
        assert_eq!(stream.peer_addr().expect("an address"), open);
        assert!(begin.elapsed() < PATIENCE);
        let error = connect(&[closed, closed]).await.expect_err("an error");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        assert!(connect(&[]).await.is_err());
    }
}
