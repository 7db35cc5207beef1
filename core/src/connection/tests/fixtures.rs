//! A network in memory, the server at its other end, and observers of a connection.

use crate::connection::commands::{Access, Commands, Expect};
use crate::connection::handle::Connection;
use crate::connection::job::{Gather, Gathered, Reply, ReplyHandler};
use crate::connection::network::Network;
use crate::connection::open::open;
use crate::connection::origin::Origin;
use crate::connection::status::{Event, Watch};
use crate::connection::stream::{Socket, Stream};
use crate::connection::tls;
use crate::options::{Address, ConnectionOptions, Node, parse_url};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use redis::Value;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinHandle, spawn};
use tokio::time::{Instant, timeout};

/// A limit for events that certainly happen. In paused time, it costs nothing.
pub(super) const ENOUGH: Duration = Duration::from_secs(60);

impl Stream for DuplexStream {}

/// The client's end of the network.
#[derive(Clone, Debug)]
struct Memory(mpsc::UnboundedSender<Dial>);

impl Network for Memory {
    fn open<'a>(
        &'a self,
        address: &'a Address,
        _: Option<&'a tls::Client>,
    ) -> BoxFuture<'a, io::Result<Socket>> {
        let (outcome, opened) = oneshot::channel();
        let address = address.clone();
        // The test may be over.
        let _ = self.0.send(Dial { address, outcome });
        let refused = || io::ErrorKind::ConnectionRefused.into();
        async move { opened.await.map_err(|_| refused()) }.boxed()
    }
}

/// An attempt to connect. It hangs until it is accepted, and is refused when this is dropped.
#[derive(Debug)]
pub(super) struct Dial {
    pub(super) address: Address,
    outcome: oneshot::Sender<Socket>,
}

impl Dial {
    pub(super) fn port(&self) -> u16 {
        match self.address {
            Address::Tcp(Node { port, .. }) => port,
            _ => 0,
        }
    }

    /// Accepts the connection, without an answer to the handshake.
    pub(super) fn accept(self) -> Peer {
        let (client, stream) = duplex(1 << 20);
        // The attempt may have been given up.
        let _ = self.outcome.send(Box::new(client));
        let unread = String::new();
        Peer {
            stream,
            unread,
            is_gone: false,
        }
    }
}

/// The server's end of the network.
pub(super) struct Server(mpsc::UnboundedReceiver<Dial>);

impl Server {
    /// Opens a connection to an address in memory.
    pub(super) fn start(options: ConnectionOptions) -> (Self, Connection) {
        let (dials, accepted) = mpsc::unbounded_channel();
        let network = Arc::new(Memory(dials));
        let connection = open(&Handle::current(), network, options, Arc::default());
        (Self(accepted), connection)
    }

    /// Waits for the next attempt to connect.
    pub(super) async fn dial(&mut self) -> Dial {
        let dial = timeout(ENOUGH, self.0.recv()).await;
        dial.expect("an attempt in time").expect("a connection")
    }

    /// Returns true if no attempt to connect is made within `time`.
    pub(super) async fn is_left_alone(&mut self, time: Duration) -> bool {
        timeout(time, self.0.recv()).await.is_err()
    }

    /// Accepts the next connection, and its handshake.
    pub(super) async fn accept(&mut self) -> Peer {
        let mut peer = self.dial().await.accept();
        peer.let_in().await;
        peer
    }

    /// Accepts all further connections, each served by `reply`.
    pub(super) fn serve<F>(mut self, reply: F) -> JoinHandle<()>
    where
        F: Fn(u16, &[String]) -> Option<String> + Clone + Send + Sync + 'static,
    {
        spawn(async move {
            while let Some(dial) = self.0.recv().await {
                let (port, reply) = (dial.port(), reply.clone());
                spawn(async move {
                    let mut peer = dial.accept();
                    while let Some(commands) = peer.next_commands().await {
                        for command in commands {
                            let Some(reply) = reply(port, &command) else {
                                return;
                            };
                            peer.send(&reply).await;
                        }
                    }
                });
            }
        })
    }
}

/// A server's end of one connection.
#[derive(Debug)]
pub(super) struct Peer {
    stream: DuplexStream,
    unread: String,
    is_gone: bool,
}

impl Peer {
    /// Returns the commands that have arrived, at least one; `None` once the client has disconnected.
    pub(super) async fn next_commands(&mut self) -> Option<Vec<Vec<String>>> {
        loop {
            let mut commands = Vec::new();
            while let Some((command, length)) = parse(&self.unread) {
                commands.push(command);
                self.unread.drain(..length);
            }
            if !commands.is_empty() {
                return Some(commands);
            }
            let mut bytes = [0; 4096];
            let count = self.stream.read(&mut bytes).await.unwrap_or(0);
            if count == 0 {
                return None;
            }
            self.unread += &String::from_utf8_lossy(&bytes[..count]);
        }
    }

    /// Returns the commands that have arrived, at least one, as lines.
    pub(super) async fn commands(&mut self) -> Vec<String> {
        let commands = timeout(ENOUGH, self.next_commands()).await;
        let commands = commands.expect("commands in time").expect("a client");
        commands.iter().map(|words| words.join(" ")).collect()
    }

    /// Waits until the client has disconnected. Returns the commands that it sent before.
    pub(super) async fn end(&mut self) -> Vec<String> {
        let mut all = Vec::new();
        while let Some(commands) = timeout(ENOUGH, self.next_commands())
            .await
            .expect("an end in time")
        {
            all.extend(commands.iter().map(|words| words.join(" ")));
        }
        all
    }

    /// Sends bytes. The client may have disconnected.
    pub(super) async fn send(&mut self, bytes: &str) {
        self.is_gone |= self.stream.write_all(bytes.as_bytes()).await.is_err();
    }

    /// Returns true if bytes were sent after the client had disconnected.
    pub(super) fn is_gone(&self) -> bool {
        self.is_gone
    }

    /// Accepts the handshake.
    pub(super) async fn let_in(&mut self) {
        self.let_in_with("").await;
    }

    /// Accepts the handshake, with `more` after the reply to `HELLO`.
    pub(super) async fn let_in_with(&mut self, more: &str) {
        let commands = timeout(ENOUGH, self.next_commands()).await;
        for command in commands.expect("a handshake in time").into_iter().flatten() {
            let reply = handshake_reply(&command).expect("a command of the handshake");
            self.send(&reply).await;
            if command[0] == "HELLO" {
                self.send(more).await;
            }
        }
    }
}

/// Returns the reply to a command of the handshake.
pub(super) fn handshake_reply(command: &[String]) -> Option<String> {
    let reply = match command.first()?.as_str() {
        "HELLO" => "%1\r\n$5\r\nproto\r\n:3\r\n",
        "AUTH" | "CLIENT" | "SELECT" => "+OK\r\n",
        "PING" => "+PONG\r\n",
        "ROLE" => "*1\r\n$6\r\nmaster\r\n",
        _ => return None,
    };
    Some(reply.to_owned())
}

/// Parses a command. Returns its words and its length; `None` if it is incomplete.
fn parse(bytes: &str) -> Option<(Vec<String>, usize)> {
    let line = |at: usize| {
        let end = at + bytes.get(at..)?.find("\r\n")?;
        let number: usize = bytes.get(at + 1..end)?.parse().ok()?;
        Some((number, end + 2))
    };
    let (count, mut at) = line(0)?;
    let mut words = Vec::new();
    for _ in 0..count {
        let (length, start) = line(at)?;
        words.push(bytes.get(start..start + length)?.to_owned());
        at = start + length + 2;
    }
    (at <= bytes.len()).then_some((words, at))
}

/// Returns the options of a connection to a server.
pub(super) fn options() -> ConnectionOptions {
    parse_url("redis://server").expect("a URL")
}

/// The replies to commands, which may still be outstanding.
pub(super) type Replies = oneshot::Receiver<Gathered>;

/// Sends a pipeline of commands, one per line.
pub(super) fn send(connection: &Connection, lines: &[&str]) -> Replies {
    let mut commands = Commands::default();
    for line in lines {
        let words: Vec<_> = line.split(' ').map(str::as_bytes).collect();
        let (access, expect) = match words[0] {
            b"GET" => (Access::Read, Expect::Text),
            b"SET" => (Access::Write, Expect::Okay),
            b"PTTL" => (Access::Read, Expect::Integer),
            _ => (Access::Write, Expect::Integer),
        };
        commands.add(access, expect, Some(1), &words);
    }
    let (sender, replies) = oneshot::channel();
    let gather = Gather::new(commands.len(), sender);
    connection.send(commands, Box::new(gather));
    replies
}

/// Waits for the replies, in the order of the commands.
pub(super) async fn received(replies: Replies) -> Vec<Reply> {
    let replies = timeout(ENOUGH, replies).await;
    let (mut replies, _) = replies.expect("replies in time").expect("a handler");
    replies.sort_by_key(|(at, _)| *at);
    replies.into_iter().map(|(_, reply)| reply).collect()
}

/// Waits for the reply to a single command.
pub(super) async fn reply(replies: Replies) -> Reply {
    let mut replies = received(replies).await;
    assert_eq!(replies.len(), 1);
    replies.remove(0)
}

/// Returns a bulk string.
pub(super) fn text(text: &str) -> Value {
    Value::BulkString(text.into())
}

/// Returns the milliseconds since `begin`.
pub(super) fn ms_since(begin: Instant) -> u128 {
    begin.elapsed().as_millis()
}

/// Panics on replies.
pub(super) struct Panicking;

impl ReplyHandler for Panicking {
    fn on_replies(&mut self, _: Vec<(usize, Reply)>, _: Origin) {
        panic!("expected by this test");
    }
}

/// Reports error messages.
pub(super) struct Errors(pub(super) mpsc::UnboundedSender<String>);

impl Watch for Errors {
    fn event(&self, event: &Event) {
        if let Event::Failed(error) = event {
            // The test may be over.
            let _ = self.0.send(error.to_string());
        }
    }
}

/// Returns an observer that reports error messages, and the receiver of its reports.
pub(super) fn errors() -> (Arc<dyn Watch>, mpsc::UnboundedReceiver<String>) {
    let (sender, errors) = mpsc::unbounded_channel();
    (Arc::new(Errors(sender)), errors)
}
