//! From an address to a byte stream.

use super::{names, tls};
use crate::options::Address;
use std::fmt;
use std::io;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

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

pub(super) async fn open(address: &Address, tls: Option<&tls::Client>) -> io::Result<Socket> {
    match address {
        Address::Tcp { host, port } => {
            let stream = TcpStream::connect(&names::addresses(host, *port).await?[..]).await?;
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
