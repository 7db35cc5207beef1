//! An open connection: bytes out, replies in, in the order in which the server sent them.

use super::codec::Codec;
use super::commands::{Access, Commands, Expect};
use super::tls;
use super::{Credentials, socket};
use crate::error::Error;
use crate::options::{Address, ConnectionOptions, Membership, Secret};
use futures_util::{FutureExt, Stream};
use redis::{RedisError, Value};
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf, ReadHalf, WriteHalf};
use tokio::time::Instant;
use tokio_util::bytes::{Buf, BytesMut};
use tokio_util::codec::FramedRead;

/// Why there is no connection, or none any more.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) cause: String,
    pub(super) kind: FailureKind,
}

#[derive(Debug)]
pub(super) enum FailureKind {
    /// The server could not be reached, or the connection was cut.
    Lost,
    /// The server did not answer in time.
    Silent,
    /// The server's answer, where a further attempt will not change it by itself.
    Refused(Error),
}

impl Failure {
    pub(super) fn lost(cause: impl ToString) -> Self {
        Self {
            cause: cause.to_string(),
            kind: FailureKind::Lost,
        }
    }

    pub(super) fn silent(cause: impl ToString) -> Self {
        Self {
            cause: cause.to_string(),
            kind: FailureKind::Silent,
        }
    }

    pub(super) fn refused(refusal: Error) -> Self {
        Self {
            cause: refusal.to_string(),
            kind: FailureKind::Refused(refusal),
        }
    }

    /// The same, with who it was that failed.
    pub(super) fn of(self, who: &str) -> Self {
        Self {
            cause: format!("{who}: {}", self.cause),
            kind: self.kind,
        }
    }

    /// Commands and replies are out of step: a later reply would reach another's request.
    pub(super) fn out_of_step() -> Self {
        Self::lost("the server sent a reply that does not fit")
    }

    fn closed() -> Self {
        Self::lost("the server closed the connection")
    }
}

impl From<RedisError> for Failure {
    /// Of the codec: either the socket's error, or bytes that are not Redis's protocol.
    fn from(error: RedisError) -> Self {
        if error.is_io_error() {
            Self::lost(error)
        } else {
            // The codec's own words quote what it read.
            Self::lost("the server sent what is not Redis's protocol")
        }
    }
}

/// The reading half, which knows when it last heard from the server.
#[derive(Debug)]
struct Ear {
    half: ReadHalf<socket::Socket>,
    heard: Instant,
    /// How often it may still be read from before others have their turn.
    reads_left: u32,
}

impl AsyncRead for Ear {
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
            self.heard = Instant::now();
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
    replies: FramedRead<Ear, Codec>,
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
        let now = Instant::now();
        Self {
            replies: FramedRead::with_capacity(
                Ear {
                    half,
                    heard: now,
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
            .forget_unsent();
    }

    pub(super) fn deafness(&self) -> Option<&str> {
        self.deafness.as_deref()
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

    /// The next reply. Writes what is queued meanwhile. Nothing is lost when it is dropped.
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
                    self.wrote = Instant::now();
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
                    return Err(match replies.pop() {
                        Some(Value::ServerError(error)) => Failure::lost(format!(
                            "the server said {}: {}, and closed the connection",
                            error.code(),
                            error.details().unwrap_or_default()
                        )),
                        _ => failure,
                    });
                }
            }
        }
        Ok(replies)
    }
}

/// Connects, says who we are, selects the database.
pub(super) async fn establish(
    options: &ConnectionOptions,
    address: &Address,
    tls: Option<&tls::Client>,
    credentials: Option<&Credentials>,
) -> Result<Link, Failure> {
    let mut link = Link::open(address, tls).await?;
    let user = User::new(options, credentials);

    let set_up = SetUp::new(options);

    // All in one go: each further exchange would cost the network's time once more. RESP3, where the
    // server has it.
    let hello = user.hello();
    let mut replies = link.exchange(&set_up.after(&hello)).await?;
    let mut own = replies.split_off(hello.len());
    if let Some(Value::ServerError(error)) = replies.first() {
        let refusal = Error::from_reply(&options.server(), error.code(), error.details());
        if refusal.is_about_credentials() {
            return Err(Failure::refused(refusal));
        }
        if refusal.is_passing() {
            return Err(Failure::lost(refusal));
        }
        if options.cache.is_some() {
            link.deafness = Some(format!("it has no RESP3 ({refusal})"));
        }
        // A server or a proxy that has no HELLO.
        let authentication = user.authentication();
        let mut replies = link.exchange(&set_up.after(&authentication)).await?;
        own = replies.split_off(authentication.len());
        check(options, replies)?;
    }

    if let Some(Value::ServerError(error)) = set_up.tracking.and_then(|at| own.get(at)) {
        let refusal = Error::from_reply(&options.server(), error.code(), error.details());
        if refusal.is_passing() {
            return Err(Failure::lost(refusal));
        }
        link.deafness.get_or_insert_with(|| refusal.to_string());
    }
    if let Some(Value::Array(role)) = set_up.role.and_then(|at| own.get(at))
        && role.first() != Some(&Value::BulkString(b"master".to_vec()))
    {
        return Err(Failure::lost("it is not a primary, or not yet"));
    }
    own.truncate(set_up.required);
    check(options, own)?;
    Ok(link)
}

/// What is said on a connection after who we are.
struct SetUp {
    commands: Commands,
    /// How many of them, from the first, must succeed.
    required: usize,
    /// The places of those whose replies tell something.
    tracking: Option<usize>,
    role: Option<usize>,
}

impl SetUp {
    fn new(options: &ConnectionOptions) -> Self {
        let mut commands = Commands::default();
        let mut ask = |expect, words: &[&[u8]]| {
            commands.add(Access::Write, expect, None, words);
            commands.len()
        };
        let mut say = |words: &[&[u8]]| ask(Expect::Okay, words);
        let mut required = 0;
        if options.database != 0 {
            required = say(&[b"SELECT", options.database.to_string().as_bytes()]);
        }
        if options.membership == Membership::Reader {
            required = say(&[b"READONLY"]);
        }
        // For whoever reads CLIENT LIST. Servers before 7.2 do not know SETINFO, and an ACL may forbid
        // both: the connection is as good without.
        say(&[b"CLIENT", b"SETNAME", CLIENT_NAME.as_bytes()]);
        for (attribute, value) in [
            ("LIB-NAME", env!("CARGO_PKG_NAME")),
            ("LIB-VER", env!("CARGO_PKG_VERSION")),
        ] {
            say(&[
                b"CLIENT",
                b"SETINFO",
                attribute.as_bytes(),
                value.as_bytes(),
            ]);
        }
        let tracks = options.cache.is_some();
        let tracking = tracks.then(|| say(&[b"CLIENT", b"TRACKING", b"ON"]) - 1);
        // The sentinels may be ahead of the server, or behind.
        let is_watched = matches!(options.address, Address::Sentinel(_));
        let role = is_watched.then(|| ask(Expect::Array, &[b"ROLE"]) - 1);
        Self {
            commands,
            required,
            tracking,
            role,
        }
    }

    fn after(&self, first: &Commands) -> Commands {
        let mut all = first.clone();
        for command in 0..self.commands.len() {
            all.copy(&self.commands, command);
        }
        all
    }
}

const CLIENT_NAME: &str = concat!(env!("CARGO_PKG_NAME"), ":", env!("CARGO_PKG_VERSION"));

/// The first error among the replies.
fn check(options: &ConnectionOptions, replies: Vec<Value>) -> Result<(), Failure> {
    for reply in replies {
        if let Value::ServerError(error) = reply {
            let refusal = Error::from_reply(&options.server(), error.code(), error.details());
            return Err(if refusal.is_passing() {
                Failure::lost(refusal)
            } else {
                Failure::refused(refusal)
            });
        }
    }
    Ok(())
}

/// Who to be for the server.
pub(super) struct User<'a> {
    username: Option<&'a str>,
    password: Option<&'a Secret>,
}

impl<'a> User<'a> {
    /// What a function of the app gave goes before what the options say.
    pub(super) fn new(
        options: &'a ConnectionOptions,
        credentials: Option<&'a Credentials>,
    ) -> Self {
        match credentials {
            Some(given) => Self::of(given.username.as_deref(), given.password.as_ref()),
            None => Self::of(options.username.as_deref(), options.password.as_ref()),
        }
    }

    pub(super) fn of(username: Option<&'a str>, password: Option<&'a Secret>) -> Self {
        Self { username, password }
    }

    fn hello(&self) -> Commands {
        let mut words: Vec<&[u8]> = vec![b"HELLO", b"3"];
        if let Some(password) = self.password {
            // The user that a password alone is for.
            let username = self.username.unwrap_or("default");
            words.extend([
                &b"AUTH"[..],
                username.as_bytes(),
                password.reveal().as_bytes(),
            ]);
        }
        Commands::of(Access::Write, Expect::Any, None, &words)
    }

    /// Empty where there is nobody to be.
    pub(super) fn authentication(&self) -> Commands {
        let Some(password) = self.password else {
            return Commands::default();
        };
        let mut words: Vec<&[u8]> = vec![b"AUTH"];
        words.extend(self.username.map(str::as_bytes));
        words.push(password.reveal().as_bytes());
        Commands::of(Access::Write, Expect::Okay, None, &words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_begins_with_who_we_are() {
        let text = |commands: &Commands| String::from_utf8_lossy(commands.bytes(0)).into_owned();
        let options = crate::options::parse_url("redis://ann:pw@h/3").expect("a URL");
        let user = User::new(&options, None);
        assert_eq!(
            text(&user.hello()),
            "*5\r\n$5\r\nHELLO\r\n$1\r\n3\r\n$4\r\nAUTH\r\n$3\r\nann\r\n$2\r\npw\r\n"
        );
        assert_eq!(
            text(&user.authentication()),
            "*3\r\n$4\r\nAUTH\r\n$3\r\nann\r\n$2\r\npw\r\n"
        );
        let options = crate::options::parse_url("redis://h").expect("a URL");
        let user = User::new(&options, None);
        assert_eq!(text(&user.hello()), "*2\r\n$5\r\nHELLO\r\n$1\r\n3\r\n");
        assert!(user.authentication().is_empty());
    }

    #[test]
    fn given_credentials_go_first() {
        let options = crate::options::parse_url("redis://ann:pw@h").expect("a URL");
        let given = Credentials {
            username: None,
            password: Some(Secret::new("other".into())),
            expires_in: None,
        };
        let user = User::new(&options, Some(&given));
        assert_eq!(
            user.authentication().bytes(0),
            b"*2\r\n$4\r\nAUTH\r\n$5\r\nother\r\n"
        );
    }
}
