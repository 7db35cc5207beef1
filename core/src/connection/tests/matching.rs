//! The assignment of replies to commands.

use super::fixtures::{Server, options, reply, send, text};
use crate::connection::job::{Reply, ReplyHandler};
use crate::connection::origin::Origin;
use crate::connection::{Access, Commands, Expect};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::time::sleep;

#[tokio::test(start_paused = true)]
async fn a_reply_of_another_type_ends_the_link_and_completes_no_command() {
    let (mut server, connection) = Server::start(options());
    let mut peer = server.accept().await;
    let set = send(&connection, &["SET k v"]);
    let get = send(&connection, &["GET k"]);
    peer.commands().await;
    peer.send("$1\r\nx\r\n").await;
    peer.end().await;
    let mut peer = server.accept().await;
    assert_eq!(peer.commands().await, ["SET k v"]);
    peer.send("+OK\r\n").await;
    assert_eq!(peer.commands().await, ["GET k"]);
    peer.send("$1\r\nv\r\n").await;
    assert!(reply(set).await.is_ok());
    assert_eq!(reply(get).await.ok(), Some(text("v")));
}

#[tokio::test(start_paused = true)]
async fn an_extra_reply_in_the_handshake_answers_no_command() {
    let (mut server, connection) = Server::start(options());
    let set = send(&connection, &["SET k v"]);
    let mut peer = server.dial().await.accept();
    peer.let_in_with("$1\r\nx\r\n").await;
    peer.end().await;
    let mut peer = server.accept().await;
    assert_eq!(peer.commands().await, ["SET k v"]);
    peer.send("+OK\r\n").await;
    assert!(reply(set).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_reply_that_comes_after_its_deadline_reaches_no_other_command() {
    let mut options = options();
    options.command_timeout = Duration::from_millis(400);
    let (mut server, connection) = Server::start(options);
    let mut peer = server.accept().await;
    assert!(reply(send(&connection, &["GET late"])).await.is_err());
    let get = send(&connection, &["GET k"]);
    assert_eq!(peer.commands().await, ["GET late", "PING", "PING"]);
    assert_eq!(peer.commands().await, ["GET k"]);
    peer.send("$4\r\nlate\r\n+PONG\r\n+PONG\r\n$1\r\nk\r\n")
        .await;
    assert_eq!(reply(get).await.ok(), Some(text("k")));
}

#[tokio::test(start_paused = true)]
async fn a_reply_that_never_comes_shifts_no_later_one() {
    let (mut server, connection) = Server::start(options());
    let mut peer = server.accept().await;
    let first = send(&connection, &["GET a"]);
    assert_eq!(peer.commands().await, ["GET a"]);
    // The reply to "a" is lost; a nudge follows.
    assert_eq!(peer.commands().await, ["PING"]);
    let second = send(&connection, &["GET b"]);
    assert_eq!(peer.commands().await, ["GET b"]);
    peer.send("+PONG\r\n$1\r\nb\r\n").await;
    peer.end().await;
    let mut peer = server.accept().await;
    assert_eq!(peer.commands().await, ["GET a"]);
    peer.send("$1\r\na\r\n").await;
    assert_eq!(peer.commands().await, ["GET b"]);
    peer.send("$1\r\nb\r\n").await;
    assert_eq!(reply(first).await.ok(), Some(text("a")));
    assert_eq!(reply(second).await.ok(), Some(text("b")));
}

/// Notes that its commands are sent.
struct Sending(Arc<AtomicBool>);

impl ReplyHandler for Sending {
    fn on_sent(&mut self) {
        self.0.store(true, Ordering::Release);
    }

    fn on_replies(&mut self, _: Vec<(usize, Reply)>, _: Origin) {}
}

#[tokio::test(start_paused = true)]
async fn a_handler_learns_that_its_commands_are_sent_before_the_server_receives_them() {
    let (mut server, connection) = Server::start(options());
    let is_sent = Arc::new(AtomicBool::new(false));
    let get = Commands::of(Access::Read, Expect::Text, Some(1), &[b"GET", b"k"]);
    connection.send(get, Box::new(Sending(Arc::clone(&is_sent))));
    let dial = server.dial().await;
    sleep(Duration::from_millis(100)).await;
    assert!(!is_sent.load(Ordering::Acquire), "while it is queued");
    let mut peer = dial.accept();
    peer.let_in().await;
    assert_eq!(peer.commands().await, ["GET k"]);
    assert!(is_sent.load(Ordering::Acquire));
}
