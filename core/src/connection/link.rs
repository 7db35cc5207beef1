//! A link: one open socket. Writes the bytes of commands and reads replies, in the order in which the server sent them.

use super::clock;
use super::codec::Codec;
use super::commands::Commands;
use super::counters::PeerInfo;
use super::failure::{Failure, FailureKind};
use super::network::Network;
use super::stream::{Socket, Stream};
use super::tls;
use crate::cause::Cause;
use crate::error::Error;
use crate::options::Address;
use futures_util::{FutureExt, Stream as _};
use redis::Value;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf, ReadHalf, WriteHalf};
use tokio::time::Instant;
use tokio_util::bytes::{Buf, BytesMut};
use tokio_util::codec::FramedRead;

/// The reading half of the socket. Records when it last received bytes.
#[derive(Debug)]
struct Reader {
    half: ReadHalf<Socket>,
    last_read: Instant,
    /// The number of bytes read since the link was opened.
    received: u64,
    /// The number of reads left before the task yields.
    reads_left: u32,
}

impl AsyncRead for Reader {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.reads_left == 0 {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.reads_left -= 1;
        let before = buf.filled().len();
        let result = Pin::new(&mut self.half).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.received += (buf.filled().len() - before) as u64;
            self.last_read = clock::now();
        }
        result
    }
}

/// The most capacity of the write buffer that is kept once its bytes are written.
const MAX_KEPT_CAPACITY: usize = 2 * 1024 * 1024;
/// The capacity of the read buffer: fits the replies to a typical batch, with fewer reads than tokio's 8 KB.
const READ_CAPACITY: usize = 64 * 1024;
/// The most reads for one reply before the task yields: the bytes of a reply may never end.
const MAX_READS: u32 = 32;

/// An open socket with its buffers.
pub(super) struct Link {
    replies: FramedRead<Reader, Codec>,
    writer: WriteHalf<Socket>,
    out: BytesMut,
    /// The highest length of `out`, which bounds its capacity from below.
    peak_out: usize,
    /// True while written bytes may still be in TLS's buffer.
    unflushed: bool,
    /// The number of bytes passed to `send`, and of those written to the socket, since the link was opened.
    sent: u64,
    written: u64,
    /// The time of the last write to the socket.
    last_write: Instant,
    /// The reason why client tracking is off although it was requested.
    tracking_failure: Option<Cause>,
    /// The server at the other end.
    peer: PeerInfo,
}

/// Opens links.
#[derive(Clone, Debug)]
pub(super) struct Dialer {
    pub(super) network: Arc<dyn Network>,
    pub(super) tls: Option<tls::Client>,
}

impl Dialer {
    /// Opens a link, without a handshake.
    pub(super) async fn open(&self, address: &Address) -> Result<Link, Failure> {
        let socket = self.network.open(address, self.tls.as_ref()).await;
        socket
            .map(Link::new)
            .map_err(|error| Failure::lost(Cause::from(error).at(address)))
    }
}

impl Link {
    fn new(socket: Socket) -> Self {
        let (half, writer) = tokio::io::split(socket);
        let now = clock::now();
        Self {
            replies: FramedRead::with_capacity(
                Reader {
                    half,
                    last_read: now,
                    received: 0,
                    reads_left: 0,
                },
                Codec::default(),
                READ_CAPACITY,
            ),
            writer,
            out: BytesMut::new(),
            peak_out: 0,
            unflushed: false,
            sent: 0,
            written: 0,
            last_write: now,
            tracking_failure: None,
            peer: PeerInfo::default(),
        }
    }

    /// Closes the link at once, and discards bytes that have not left this machine.
    pub(super) fn abort(self) {
        self.replies
            .into_inner()
            .half
            .unsplit(self.writer)
            .discard_unsent();
    }

    /// Returns the reason why client tracking is off although it was requested.
    pub(super) fn tracking_failure(&self) -> Option<&Cause> {
        self.tracking_failure.as_ref()
    }

    /// Records that client tracking is off. The first cause counts.
    pub(super) fn set_tracking_failure(&mut self, cause: impl FnOnce() -> Cause) {
        self.tracking_failure.get_or_insert_with(cause);
    }

    pub(super) fn peer(&self) -> &PeerInfo {
        &self.peer
    }

    pub(super) fn set_peer(&mut self, peer: Option<PeerInfo>) {
        self.peer = peer.unwrap_or_default();
    }

    /// Queues bytes, which `next` writes. Returns the position of their end, to be compared with `written`.
    pub(super) fn send(&mut self, bytes: &[u8]) -> u64 {
        self.out.extend_from_slice(bytes);
        self.peak_out = self.peak_out.max(self.out.len());
        self.sent += bytes.len() as u64;
        self.sent
    }

    /// Returns the number of queued bytes that are not written yet.
    pub(super) fn backlog(&self) -> usize {
        self.out.len()
    }

    /// Returns the number of bytes written since the link was opened.
    pub(super) fn written(&self) -> u64 {
        self.written
    }

    /// Returns the running time of the last write.
    pub(super) fn last_write(&self) -> Instant {
        self.last_write
    }

    /// Returns the running time of the last read.
    pub(super) fn last_read(&self) -> Instant {
        self.replies.get_ref().last_read
    }

    /// Returns the number of bytes read since the link was opened.
    pub(super) fn received(&self) -> u64 {
        self.replies.get_ref().received
    }

    /// Corrects the recorded times after a stop of the process: they must not lie in the future.
    pub(super) fn note_stop(&mut self) {
        let now = clock::now();
        self.last_write = self.last_write.min(now);
        let reader = self.replies.get_mut();
        reader.last_read = reader.last_read.min(now);
    }

    /// Returns the next reply, and writes queued bytes in the meantime. Cancel-safe.
    pub(super) async fn next(&mut self) -> Result<Value, Failure> {
        poll_fn(|cx| self.poll(cx)).await
    }

    /// Returns the next reply if it has arrived already.
    pub(super) fn try_next(&mut self) -> Option<Result<Value, Failure>> {
        self.next().now_or_never()
    }

    /// Writes queued bytes and reads the next reply.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Value, Failure>> {
        let write_error = match self.poll_write(cx) {
            Poll::Ready(Err(error)) => Some(error),
            _ => None,
        };
        self.replies.get_mut().reads_left = MAX_READS;
        // Reads even after a write error: the last reply may contain the reason why the server closed the connection.
        match Pin::new(&mut self.replies).poll_next(cx) {
            Poll::Ready(Some(Ok(value))) => Poll::Ready(Ok(value)),
            Poll::Ready(Some(Err(error))) => Poll::Ready(Err(error.into())),
            Poll::Ready(None) => Poll::Ready(Err(Failure::closed())),
            Poll::Pending => match write_error {
                Some(error) => Poll::Ready(Err(Failure::lost(error))),
                None => Poll::Pending,
            },
        }
    }

    /// Writes and flushes queued bytes.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.out.is_empty() {
            match Pin::new(&mut self.writer).poll_write(cx, &self.out) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(count)) => {
                    self.out.advance(count);
                    self.written += count as u64;
                    self.last_write = clock::now();
                    self.unflushed = true;
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
        }
        if self.peak_out > MAX_KEPT_CAPACITY {
            self.out = BytesMut::new();
            self.peak_out = 0;
        }
        if self.unflushed {
            match Pin::new(&mut self.writer).poll_flush(cx) {
                Poll::Ready(Ok(())) => self.unflushed = false,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Sends commands and returns their replies; for the handshake, when nothing else is in flight.
    pub(super) async fn exchange(&mut self, commands: &Commands) -> Result<Vec<Value>, Failure> {
        for command in 0..commands.len() {
            self.send(commands.bytes(command));
        }
        let mut replies = Vec::with_capacity(commands.len());
        while replies.len() < commands.len() {
            match self.next().await {
                Ok(Value::Push { .. }) => {}
                Ok(value) if !commands.expects(replies.len(), &value) => {
                    return Err(Failure::out_of_step());
                }
                Ok(value) => replies.push(value),
                // The last error reply contains the reason why the server hung up.
                Err(failure) => {
                    return Err(match (replies.pop(), &failure.kind) {
                        (Some(Value::ServerError(error)), _) => {
                            let (code, details) = (error.code(), error.details());
                            let error = Error::from_reply("it then closed the link", code, details);
                            match error.is_transient() || error.reply() == Some("WRONGPASS") {
                                true => Failure::lost(error),
                                false => Failure::hung_up(error),
                            }
                        }
                        (_, FailureKind::Lost) => Failure::hung_up(failure.cause),
                        _ => failure,
                    });
                }
            }
        }
        Ok(replies)
    }
}
