//! From an address to a byte stream.

use super::tls;
use crate::options::{Address, ConnectionOptions};
use std::io;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

pub(super) type Socket = Box<dyn Stream>;

pub(super) async fn open(options: &ConnectionOptions) -> io::Result<Socket> {
    match &options.address {
        Address::Tcp { host, port } => {
            let stream = TcpStream::connect((host.as_str(), *port)).await?;
            // Requests are written in batches already: waiting for more would only delay them.
            stream.set_nodelay(true)?;
            match &options.tls {
                Some(tls_options) => tls::connect(stream, host, tls_options).await,
                None => Ok(Box::new(stream)),
            }
        }
        #[cfg(unix)]
        Address::Unix { path } => {
            let stream = tokio::net::UnixStream::connect(path).await?;
            match &options.tls {
                Some(tls_options) => tls::connect(stream, "localhost", tls_options).await,
                None => Ok(Box::new(stream)),
            }
        }
        #[cfg(not(unix))]
        Address::Unix { .. } => Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "this platform has no unix sockets",
        )),
    }
}
