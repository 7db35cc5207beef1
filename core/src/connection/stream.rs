//! Byte streams: what a link reads and writes.

use std::fmt;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

/// A byte stream.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {
    /// Makes the system discard unsent bytes when the stream is dropped. Otherwise it goes on sending: a command that
    /// was sent again over another socket would arrive late, after its successors.
    fn discard_unsent(&self) {}
}

impl Stream for TcpStream {
    fn discard_unsent(&self) {
        // Fails only if the socket is closed already.
        let _ = self.set_zero_linger();
    }
}

/// Written bytes have reached the peer.
#[cfg(unix)]
impl Stream for tokio::net::UnixStream {}

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
