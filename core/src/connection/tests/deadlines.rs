//! The deadlines of operations.

use super::fixtures::{ENOUGH, Peer, Server, ms_since, options, reply, send, text};
use crate::error::Error;
use crate::options::ConnectionOptions;
use std::time::Duration;
use tokio::task::spawn;
use tokio::time::{Instant, advance, sleep, timeout};

/// Returns options with a deadline after a number of milliseconds.
fn within(ms: u64) -> ConnectionOptions {
    ConnectionOptions {
        command_timeout: Duration::from_millis(ms),
        ..options()
    }
}

#[tokio::test(start_paused = true)]
async fn an_operation_times_out_at_its_deadline_when_the_server_never_answers() {
    let (mut server, connection) = Server::start(within(4000));
    let mut peer = server.accept().await;
    let begin = Instant::now();
    let get = send(&connection, &["GET k"]);
    // The server is given up in the meantime, and the command is sent again.
    assert_eq!(peer.end().await, ["GET k", "PING"]);
    let mut peer = server.accept().await;
    assert_eq!(peer.commands().await, ["GET k"]);
    let error = reply(get).await.expect_err("a timeout");
    assert!(matches!(error, Error::Timeout { .. }), "{error}");
    assert_eq!(ms_since(begin), 4000);
}

#[tokio::test(start_paused = true)]
async fn each_operation_has_a_deadline_of_its_own() {
    let (mut server, connection) = Server::start(within(800));
    let _peer = server.accept().await;
    let begin = Instant::now();
    let first = send(&connection, &["GET a"]);
    sleep(Duration::from_millis(300)).await;
    let second = send(&connection, &["GET b"]);
    assert!(reply(first).await.is_err());
    assert_eq!(ms_since(begin), 800);
    assert!(reply(second).await.is_err());
    assert_eq!(ms_since(begin), 1100);
}

#[tokio::test(start_paused = true)]
async fn an_operation_fails_at_its_deadline_when_no_server_can_be_reached() {
    let (mut server, connection) = Server::start(within(3000));
    let begin = Instant::now();
    let get = send(&connection, &["GET k"]);
    let refusals = spawn(async move {
        loop {
            drop(server.dial().await);
        }
    });
    let error = reply(get).await.expect_err("no server");
    assert_eq!(ms_since(begin), 3000);
    let Error::Unavailable { attempts, .. } = error else {
        panic!("{error}");
    };
    assert!(attempts > 5, "{attempts}");
    refusals.abort();
}

#[tokio::test(start_paused = true)]
async fn an_operation_fails_at_its_deadline_while_an_attempt_to_connect_hangs() {
    let (mut server, connection) = Server::start(within(500));
    let begin = Instant::now();
    let get = send(&connection, &["GET k"]);
    let _hanging = server.dial().await;
    let error = reply(get).await.expect_err("no server");
    assert!(matches!(error, Error::Unavailable { attempts: 1, .. }));
    assert_eq!(ms_since(begin), 500);
}

#[tokio::test(start_paused = true)]
async fn a_timeout_after_a_transient_error_reports_the_transient_error() {
    let (mut server, connection) = Server::start(within(500));
    let set = send(&connection, &["SET k v"]);
    let mut peer = server.accept().await;
    assert_eq!(peer.commands().await, ["SET k v"]);
    peer.send("-READONLY not now\r\n").await;
    let _silent = server.accept().await;
    let error = reply(set).await.expect_err("a timeout");
    let Error::Unserved { sent, cause, .. } = error else {
        panic!("{error}");
    };
    assert_eq!(sent, 2);
    assert!(cause.reply() == Some("READONLY"), "{cause}");
}

#[tokio::test(start_paused = true)]
async fn time_in_which_the_process_was_stopped_does_not_count() {
    let (mut server, connection) = Server::start(within(800));
    let mut peer = server.accept().await;
    let get = send(&connection, &["GET k"]);
    assert_eq!(peer.commands().await, ["GET k"]);
    advance(Duration::from_secs(10)).await;
    sleep(Duration::from_millis(400)).await;
    peer.send("$1\r\nx\r\n").await;
    assert_eq!(reply(get).await.ok(), Some(text("x")));
}

#[tokio::test(start_paused = true)]
async fn close_completes_the_commands_sent_before_and_fails_later_ones() {
    let (mut server, connection) = Server::start(options());
    let mut peer = server.accept().await;
    let before = send(&connection, &["GET k"]);
    assert_eq!(peer.commands().await, ["GET k"]);
    let closing = spawn({
        let connection = connection.clone();
        async move { connection.close().await }
    });
    sleep(Duration::from_millis(100)).await;
    let after = send(&connection, &["GET k"]);
    assert!(matches!(reply(after).await, Err(Error::Closed)));
    assert!(!closing.is_finished());
    peer.send("$1\r\nx\r\n").await;
    assert_eq!(reply(before).await.ok(), Some(text("x")));
    assert!(timeout(ENOUGH, closing).await.is_ok());
    assert!(peer.end().await.is_empty());
}

/// Answers the first command with `head`, followed by `part` without end.
async fn flood(mut peer: Peer, head: &'static str, part: &'static str) {
    peer.commands().await;
    peer.send(head).await;
    let part = part.repeat(100_000 / part.len());
    while !peer.is_gone() {
        peer.send(&part).await;
    }
}

/// In real time, since a server that sends without end lets no time pass.
#[tokio::test]
async fn a_server_that_sends_without_end_delays_neither_deadlines_nor_close() {
    let push = ">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n";
    for (head, part) in [("", push), ("*500000000\r\n", ":1\r\n")] {
        let (mut server, connection) = Server::start(within(500));
        let get = send(&connection, &["GET k"]);
        let flood = spawn(flood(server.accept().await, head, part));
        let error = reply(get).await.expect_err("a timeout");
        assert!(matches!(error, Error::Timeout { .. }), "{error}");
        assert!(timeout(ENOUGH, connection.close()).await.is_ok());
        assert!(timeout(ENOUGH, flood).await.is_ok());
    }
}
