//! Heartbeats of idle links, and the read timeout.

use super::fixtures::{Server, ms_since, options, reply, send, text};
use std::time::Duration;
use tokio::time::{Instant, sleep};

#[tokio::test(start_paused = true)]
async fn an_idle_link_is_probed_every_5_seconds() {
    let (mut server, _connection) = Server::start(options());
    let mut peer = server.accept().await;
    for _ in 0..3 {
        let begin = Instant::now();
        assert_eq!(peer.commands().await, ["PING"]);
        assert!((5000..=5001).contains(&ms_since(begin)));
        peer.send("+PONG\r\n").await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_idle_link_is_given_up_when_its_probe_is_not_answered() {
    let (mut server, _connection) = Server::start(options());
    let mut peer = server.accept().await;
    assert_eq!(peer.commands().await, ["PING"]);
    let begin = Instant::now();
    assert!(peer.end().await.is_empty());
    assert_eq!(ms_since(begin), 2500);
    server.accept().await;
}

#[tokio::test(start_paused = true)]
async fn a_silent_server_is_given_up_after_half_of_the_command_timeout() {
    for (command_timeout, read_timeout) in [(500, 1000), (3000, 1500), (60_000, 2500)] {
        let mut options = options();
        options.command_timeout = Duration::from_millis(command_timeout);
        let (mut server, connection) = Server::start(options);
        let mut peer = server.accept().await;
        let begin = Instant::now();
        let get = send(&connection, &["GET k"]);
        peer.end().await;
        assert_eq!(ms_since(begin), read_timeout, "of {command_timeout}");
        let mut peer = server.accept().await;
        if command_timeout > 1000 {
            assert_eq!(peer.commands().await, ["GET k"]);
            peer.send("$1\r\nx\r\n").await;
            assert_eq!(reply(get).await.ok(), Some(text("x")));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_late_reply_is_nudged_with_one_ping() {
    let (mut server, connection) = Server::start(options());
    let mut peer = server.accept().await;
    let get = send(&connection, &["GET k"]);
    assert_eq!(peer.commands().await, ["GET k"]);
    let begin = Instant::now();
    assert_eq!(peer.commands().await, ["PING"]);
    assert_eq!(ms_since(begin), 250);
    sleep(Duration::from_millis(2000)).await;
    // KeyDB leaves commands unprocessed until more bytes arrive.
    peer.send("$1\r\nx\r\n+PONG\r\n").await;
    assert_eq!(reply(get).await.ok(), Some(text("x")));
    let begin = Instant::now();
    assert_eq!(peer.commands().await, ["PING"]);
    assert!(ms_since(begin) >= 4999, "a heartbeat");
}

#[tokio::test(start_paused = true)]
async fn a_command_after_a_nudge_is_nudged_again_once_one_was_answered() {
    let (mut server, connection) = Server::start(options());
    let mut peer = server.accept().await;
    let gets = send(&connection, &["GET a", "GET b", "GET c"]);
    assert_eq!(peer.commands().await, ["GET a", "GET b", "GET c"]);
    // Answers one command each time bytes arrive.
    for answer in ["$1\r\na\r\n", "$1\r\nb\r\n", "$1\r\nc\r\n"] {
        assert_eq!(peer.commands().await, ["PING"]);
        peer.send(answer).await;
    }
    let replies = super::fixtures::received(gets).await;
    assert!(replies.iter().all(Result::is_ok), "{replies:?}");
}

#[tokio::test(start_paused = true)]
async fn a_reply_that_swallows_pongs_is_waited_for_no_longer_than_the_command_timeout() {
    let (mut server, connection) = Server::start(options());
    let mut peer = server.accept().await;
    let get = send(&connection, &["GET k"]);
    assert_eq!(peer.commands().await, ["GET k"]);
    let begin = Instant::now();
    peer.send("$1000\r\n").await;
    assert_eq!(peer.commands().await, ["PING"]);
    peer.send("+PONG\r\n").await;
    assert!(peer.end().await.is_empty());
    assert_eq!(ms_since(begin), 2750, "silence since the nudge");
    let mut peer = server.accept().await;
    assert_eq!(peer.commands().await, ["GET k"]);
    peer.send("$1\r\nx\r\n").await;
    assert_eq!(reply(get).await.ok(), Some(text("x")));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_sends_bytes_without_a_whole_reply_is_given_up() {
    let (mut server, connection) = Server::start(options());
    let mut peer = server.accept().await;
    let begin = Instant::now();
    let get = send(&connection, &["GET k"]);
    peer.send("$1000000\r\n").await;
    while !peer.is_gone() {
        peer.send("x").await;
        sleep(Duration::from_millis(100)).await;
    }
    assert!(
        (5000..=5200).contains(&ms_since(begin)),
        "{}",
        ms_since(begin)
    );
    assert!(reply(get).await.is_err());
}
