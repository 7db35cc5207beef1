//! The commands that are sent again, and their order.

use super::fixtures::{Peer, Server, options, received, reply, send, text};
use crate::error::Error;
use redis::Value;
use std::time::Duration;
use tokio::time::sleep;

/// Reads as many commands as `expected` lists, and compares them.
async fn expect(peer: &mut Peer, expected: &[&str]) {
    let mut commands = Vec::new();
    while commands.len() < expected.len() {
        commands.extend(peer.commands().await);
    }
    assert_eq!(commands, expected);
}

#[tokio::test(start_paused = true)]
async fn commands_without_a_reply_are_sent_again_in_order_before_later_ones() {
    let (mut server, connection) = Server::start(options());
    let mut peer = server.accept().await;
    let first = send(&connection, &["SET a 1", "GET a", "SET a 2"]);
    let second = send(&connection, &["SET b 1"]);
    expect(&mut peer, &["SET a 1", "GET a", "SET a 2", "SET b 1"]).await;
    peer.send("+OK\r\n").await;
    drop(peer);
    let dial = server.dial().await;
    let third = send(&connection, &["GET b"]);
    let mut peer = dial.accept();
    peer.let_in().await;
    // The first one may be why the link was lost: the others follow when it is answered.
    expect(&mut peer, &["GET a"]).await;
    sleep(Duration::from_millis(100)).await;
    peer.send("$1\r\n1\r\n").await;
    expect(&mut peer, &["SET a 2", "SET b 1", "GET b"]).await;
    peer.send("+OK\r\n+OK\r\n$1\r\n1\r\n").await;
    let replies: Vec<_> = received(first).await.into_iter().map(Result::ok).collect();
    assert_eq!(
        replies,
        [Some(Value::Okay), Some(text("1")), Some(Value::Okay)]
    );
    assert!(reply(second).await.is_ok());
    assert!(reply(third).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn after_a_transient_error_later_writes_to_the_key_are_sent_again() {
    let (mut server, connection) = Server::start(options());
    let mut peer = server.accept().await;
    let commands = send(&connection, &["SET a 1", "GET a", "SET b 1", "SET a 2"]);
    expect(&mut peer, &["SET a 1", "GET a", "SET b 1", "SET a 2"]).await;
    peer.send("-READONLY not now\r\n").await;
    sleep(Duration::from_millis(10)).await;
    // No further command is sent over the link.
    let later = send(&connection, &["SET b 2"]);
    peer.send("$1\r\n0\r\n+OK\r\n+OK\r\n").await;
    assert!(peer.end().await.is_empty());
    let mut peer = server.accept().await;
    expect(&mut peer, &["SET a 1", "SET a 2", "SET b 2"]).await;
    peer.send("+OK\r\n+OK\r\n+OK\r\n").await;
    let replies = received(commands).await;
    assert!(replies.iter().all(Result::is_ok), "{replies:?}");
    assert!(reply(later).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_denied_command_is_replaced_before_later_writes_to_its_key() {
    let (mut server, connection) = Server::start(options());
    let mut peer = server.accept().await;
    let lines = ["PEXPIRE a 1500", "SET a 2", "SET b 1"];
    let commands = send(&connection, &lines);
    expect(&mut peer, &lines).await;
    peer.send("-NOPERM this user has no permissions to run the 'pexpire' command\r\n")
        .await;
    sleep(Duration::from_millis(10)).await;
    let later = send(&connection, &["PEXPIRE b 3000"]);
    peer.send("+OK\r\n+OK\r\n").await;
    expect(&mut peer, &["EXPIRE a 2", "SET a 2", "EXPIRE b 3"]).await;
    peer.send(":1\r\n+OK\r\n:1\r\n").await;
    let replies = received(commands).await;
    assert!(replies.iter().all(Result::is_ok), "{replies:?}");
    assert_eq!(reply(later).await.ok(), Some(Value::Int(1)));
}

#[tokio::test(start_paused = true)]
async fn a_command_on_which_the_server_hangs_up_fails_after_three_attempts() {
    let (mut server, connection) = Server::start(options());
    let lines = ["GET a", "GET long", "GET b"];
    let gets = send(&connection, &lines);
    let mut peer = server.accept().await;
    expect(&mut peer, &lines).await;
    peer.send("$1\r\na\r\n").await;
    drop(peer);
    for _ in 0..2 {
        let mut peer = server.accept().await;
        expect(&mut peer, &lines[1..2]).await;
    }
    let mut peer = server.accept().await;
    expect(&mut peer, &lines[2..]).await;
    peer.send("$1\r\nb\r\n").await;
    let replies = received(gets).await;
    assert_eq!(replies[0].as_ref().ok(), Some(&text("a")));
    assert!(matches!(replies[1], Err(Error::HungUp { count: 3, .. })));
    assert_eq!(replies[2].as_ref().ok(), Some(&text("b")));
}

#[tokio::test(start_paused = true)]
async fn a_command_whose_reply_is_unreadable_fails_after_three_attempts() {
    let (mut server, connection) = Server::start(options());
    let get = send(&connection, &["GET a"]);
    for _ in 0..3 {
        let mut peer = server.accept().await;
        expect(&mut peer, &["GET a"]).await;
        peer.send("?\r\n").await;
        peer.end().await;
    }
    let error = reply(get).await.expect_err("unreadable");
    assert!(matches!(error, Error::UnreadableReply { count: 3, .. }));
    server.accept().await;
}

#[tokio::test(start_paused = true)]
async fn commands_whose_replies_are_lost_with_a_hang_up_behind_them_are_served() {
    let (mut server, connection) = Server::start(options());
    let first = send(&connection, &["GET a"]);
    let second = send(&connection, &["GET long"]);
    let third = send(&connection, &["GET b"]);
    let mut peer = server.accept().await;
    expect(&mut peer, &["GET a", "GET long", "GET b"]).await;
    drop(peer);
    let mut peer = server.accept().await;
    expect(&mut peer, &["GET a"]).await;
    peer.send("$1\r\na\r\n").await;
    expect(&mut peer, &["GET long", "GET b"]).await;
    drop(peer);
    for _ in 0..2 {
        let mut peer = server.accept().await;
        expect(&mut peer, &["GET long"]).await;
    }
    let mut peer = server.accept().await;
    expect(&mut peer, &["GET b"]).await;
    peer.send("$1\r\nb\r\n").await;
    assert_eq!(reply(first).await.ok(), Some(text("a")));
    let error = reply(second).await.expect_err("an error");
    assert!(matches!(error, Error::HungUp { count: 3, .. }), "{error}");
    assert_eq!(reply(third).await.ok(), Some(text("b")));
}

#[tokio::test(start_paused = true)]
async fn a_command_on_which_a_proxy_hangs_up_is_replaced() {
    let (mut server, connection) = Server::start(options());
    let pttl = send(&connection, &["PTTL a"]);
    for _ in 0..3 {
        let mut peer = server.accept().await;
        expect(&mut peer, &["PTTL a"]).await;
    }
    let mut peer = server.accept().await;
    expect(&mut peer, &["TTL a"]).await;
    peer.send(":10\r\n").await;
    assert_eq!(reply(pttl).await.ok(), Some(Value::Int(10_499)));
    // The next link starts with the substitute.
    drop(peer);
    let mut peer = server.accept().await;
    let pttl = send(&connection, &["PTTL b"]);
    expect(&mut peer, &["TTL b"]).await;
    peer.send(":10\r\n").await;
    assert!(reply(pttl).await.is_ok());
}
