//! An open connection: bytes out, replies in, in the order in which the server sent them.

use super::clock;
use super::codec::Codec;
use super::commands::Commands;
use super::failure::{Failure, FailureKind};
use super::{socket, tls};
use crate::error::Error;
use crate::options::Address;
use futures_util::{FutureExt, Stream};
use redis::Value;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf, ReadHalf, WriteHalf};
use tokio::time::Instant;
use tokio_util::bytes::{Buf, BytesMut};
use tokio_util::codec::FramedRead;

/// The reading half, which knows when it last heard from the server.
#[derive(Debug)]
struct PushReceiver {
    half: ReadHalf<socket::Socket>,
    heard: Instant,
    /// Bytes read since the beginning.
    received: u64,
    /// How often it may still be read from before others have their turn.
    reads_left: u32,
}

impl AsyncRead for PushReceiver {
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
            self.heard = clock::now();
        }
        result
    }
}

/// Room for commands that is kept once they are written.
const MOST_ROOM: usize = 2 * 1024 * 1024;
/// Room for the replies to a batch of usual sessions: fewer reads than by tokio's 8 KB.
const READ_AT_ONCE: usize = 64 * 1024;
/// Reads for one reply, before others have their turn: its bytes may come without an end.
const MOST_READS: u32 = 32;

pub(super) struct Link {
    replies: FramedRead<PushReceiver, Codec>,
    writer: WriteHalf<socket::Socket>,
    out: BytesMut,
    /// The most that has been in `out`, and so in its room.
    most_out: usize,
    /// Whether what was written may still be in a buffer of TLS.
    unflushed: bool,
    /// Bytes given to `send` and bytes taken by the socket, since the beginning.
    sent: u64,
    written: u64,
    /// When the socket last took bytes.
    wrote: Instant,
    /// Why the server does not tell what changes, where it was to.
    deafness: Option<String>,
}

impl Link {
    /// A connection on which nothing has been said yet.
    pub(super) async fn open(
        address: &Address,
        tls: Option<&tls::Client>,
    ) -> Result<Self, Failure> {
        let socket = socket::open(address, tls).await;
        socket
            .map(Self::new)
            .map_err(|error| Failure::lost(tls::explain(&error)))
    }

    fn new(socket: socket::Socket) -> Self {
        let (half, writer) = tokio::io::split(socket);
        let now = clock::now();
        Self {
            replies: FramedRead::with_capacity(
                PushReceiver {
                    half,
                    heard: now,
                    received: 0,
                    reads_left: 0,
                },
                Codec::default(),
                READ_AT_ONCE,
            ),
            writer,
            out: BytesMut::new(),
            most_out: 0,
            unflushed: false,
            sent: 0,
            written: 0,
            wrote: now,
            deafness: None,
        }
    }

    /// Ends the connection at once. What has not left this machine never will.
    pub(super) fn abort(self) {
        self.replies
            .into_inner()
            .half
            .unsplit(self.writer)
            .discard_unsent();
    }

    pub(super) fn deafness(&self) -> Option<&str> {
        self.deafness.as_deref()
    }

    /// The server does not tell what changes. The first cause counts.
    pub(super) fn note_deaf(&mut self, cause: impl FnOnce() -> String) {
        self.deafness.get_or_insert_with(cause);
    }

    /// Queues bytes for the socket; `next` moves them. Gives the position of their end, to be
    /// compared with `written`.
    pub(super) fn send(&mut self, bytes: &[u8]) -> u64 {
        self.out.extend_from_slice(bytes);
        self.most_out = self.most_out.max(self.out.len());
        self.sent += bytes.len() as u64;
        self.sent
    }

    /// Bytes that the socket has not taken yet.
    pub(super) fn backlog(&self) -> usize {
        self.out.len()
    }

    pub(super) fn written(&self) -> u64 {
        self.written
    }

    pub(super) fn wrote(&self) -> Instant {
        self.wrote
    }

    pub(super) fn heard(&self) -> Instant {
        self.replies.get_ref().heard
    }

    pub(super) fn received(&self) -> u64 {
        self.replies.get_ref().received
    }

    /// The process was stopped: what was noted before this was noticed must not lie in the future.
    pub(super) fn note_stop(&mut self) {
        let now = clock::now();
        self.wrote = self.wrote.min(now);
        let ear = self.replies.get_mut();
        ear.heard = ear.heard.min(now);
    }

    /// The next reply. PendingWrites what is queued meanwhile. Nothing is lost when it is dropped.
    pub(super) async fn next(&mut self) -> Result<Value, Failure> {
        poll_fn(|cx| self.poll(cx)).await
    }

    /// The next reply, if it has come already.
    pub(super) fn try_next(&mut self) -> Option<Result<Value, Failure>> {
        self.next().now_or_never()
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Value, Failure>> {
        let broken = match self.poll_write(cx) {
            Poll::Ready(Err(error)) => Some(error),
            _ => None,
        };
        self.replies.get_mut().reads_left = MOST_READS;
        // Read even so: what the server said last tells why it closed the connection.
        match Pin::new(&mut self.replies).poll_next(cx) {
            Poll::Ready(Some(Ok(value))) => Poll::Ready(Ok(value)),
            Poll::Ready(Some(Err(error))) => Poll::Ready(Err(error.into())),
            Poll::Ready(None) => Poll::Ready(Err(Failure::closed())),
            Poll::Pending => match broken {
                Some(error) => Poll::Ready(Err(Failure::lost(error))),
                None => Poll::Pending,
            },
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.out.is_empty() {
            match Pin::new(&mut self.writer).poll_write(cx, &self.out) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(count)) => {
                    self.out.advance(count);
                    self.written += count as u64;
                    self.wrote = clock::now();
                    self.unflushed = true;
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
        }
        if self.most_out > MOST_ROOM {
            self.out = BytesMut::new();
            self.most_out = 0;
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

    /// Sends commands and waits for their replies; for the set-up, when nothing else is under way.
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
                // What the server said last is why it hung up.
                Err(failure) => {
                    return Err(match (replies.pop(), &failure.kind) {
                        (Some(Value::ServerError(error)), _) => {
                            let (code, details) = (error.code(), error.details());
                            let error = Error::from_reply("the server", code, details);
                            let cause = format!("{error}, and closed the connection");
                            match error.is_passing() || error.reply() == "WRONGPASS" {
                                true => Failure::lost(cause),
                                false => Failure::hung_up(cause),
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
