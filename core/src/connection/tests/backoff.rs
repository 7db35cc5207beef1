//! The pauses between attempts to connect.

use super::fixtures::{Server, ms_since, options, reply, send, text};
use std::time::Duration;
use tokio::time::Instant;

/// Refuses attempts to connect, and checks that each follows the previous one after the pause, in milliseconds, or up
/// to half of it earlier.
async fn assert_pauses(server: &mut Server, pauses: &[u128]) {
    for &pause in pauses {
        let begin = Instant::now();
        drop(server.dial().await);
        let waited = ms_since(begin);
        assert!(
            (pause / 2..=pause + 1).contains(&waited),
            "{waited} of {pause}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn the_pause_between_refused_attempts_doubles_up_to_500_ms() {
    let (mut server, _connection) = Server::start(options());
    assert_pauses(&mut server, &[0, 50, 100, 200, 400, 500, 500]).await;
}

#[tokio::test(start_paused = true)]
async fn a_lost_link_that_had_replied_is_replaced_at_once() {
    let (mut server, connection) = Server::start(options());
    assert_pauses(&mut server, &[0, 50, 100]).await;
    let mut peer = server.accept().await;
    let get = send(&connection, &["GET k"]);
    assert_eq!(peer.commands().await, ["GET k"]);
    peer.send("$1\r\nx\r\n").await;
    assert_eq!(reply(get).await.ok(), Some(text("x")));
    drop(peer);
    assert_pauses(&mut server, &[0, 50, 100]).await;
}

#[tokio::test(start_paused = true)]
async fn the_pause_grows_while_the_server_accepts_links_and_loses_them() {
    let (mut server, _connection) = Server::start(options());
    for pause in [0, 50, 100, 200] {
        let begin = Instant::now();
        drop(server.accept().await);
        assert!((pause / 2..=pause + 1).contains(&ms_since(begin)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_proxy_without_its_server_is_asked_again_after_100_ms() {
    let (mut server, connection) = Server::start(options());
    let get = send(&connection, &["GET k"]);
    for _ in 0..4 {
        let mut peer = server.accept().await;
        assert_eq!(peer.commands().await, ["GET k"]);
        peer.send("-upstream failure\r\n").await;
        let begin = Instant::now();
        assert!(peer.end().await.is_empty());
        assert_pauses(&mut server, &[100]).await;
        // The refused attempt doubles the pause: the next link starts over.
        assert!(ms_since(begin) <= 102);
    }
    let mut peer = server.accept().await;
    assert_eq!(peer.commands().await, ["GET k"]);
    peer.send("$1\r\nx\r\n").await;
    assert_eq!(reply(get).await.ok(), Some(text("x")));
}

#[tokio::test(start_paused = true)]
async fn another_attempt_starts_every_750_ms_while_one_hangs() {
    let (mut server, connection) = Server::start(options());
    let begin = Instant::now();
    let _first = server.dial().await;
    let _second = server.dial().await;
    assert_eq!(ms_since(begin), 750);
    let third = server.dial().await;
    assert_eq!(ms_since(begin), 1500);
    let mut peer = third.accept();
    peer.let_in().await;
    let get = send(&connection, &["GET k"]);
    assert_eq!(peer.commands().await, ["GET k"]);
    peer.send("$1\r\nx\r\n").await;
    assert_eq!(reply(get).await.ok(), Some(text("x")));
    assert!(server.is_left_alone(Duration::from_secs(4)).await);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_hangs_ends_after_the_connect_timeout() {
    let (mut server, connection) = Server::start(options());
    let begin = Instant::now();
    let mut hanging = Vec::new();
    let mut begins = Vec::new();
    while ms_since(begin) < 4900 {
        hanging.push(server.dial().await);
        begins.push(ms_since(begin));
    }
    // An additional attempt ends after 1500 ms, so that there are never more than two.
    assert_eq!(begins[..6], [0, 750, 1500, 2250, 3000, 3750]);
    assert_eq!(begins.len(), 7);
    // The backoff is 25 to 50 ms.
    assert!(
        (5025..=5051).contains(&ms_since(begin)),
        "{}",
        ms_since(begin)
    );
    assert!(!connection.shared.health.is_ready());
    assert!(connection.shared.health.down().timed_out);
}
