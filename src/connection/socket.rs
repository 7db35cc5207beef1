//! From an address to a byte stream.

use super::tls;
use crate::options::Address;
use std::fmt;
use std::io;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

pub(super) type Socket = Box<dyn Stream>;

impl fmt::Debug for dyn Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Stream")
    }
}

pub(super) async fn open(address: &Address, tls: Option<&tls::Client>) -> io::Result<Socket> {
    match address {
        Address::Tcp { host, port } => {
            let stream = TcpStream::connect((host.as_str(), *port)).await?;
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
            "this is no address of a single server",
        )),
        #[cfg(not(unix))]
        Address::Unix { .. } => Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "this platform has no unix sockets",
        )),
    }
}
