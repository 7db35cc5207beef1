//! Statistics of a connection, and the origin of replies.

use super::fixtures::{ENOUGH, Replies, Server, options, received, send};
use crate::connection::handle::Connection;
use crate::connection::origin::Origin;
use tokio::time::timeout;

/// Waits for replies and returns their origin.
async fn origin(replies: Replies) -> Origin {
    let replies = timeout(ENOUGH, replies).await;
    replies.expect("replies in time").expect("a handler").1
}

/// Waits until a command has been sent.
async fn in_flight(connection: &Connection) {
    while connection.figures().queued > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn bytes_reconnects_and_attempts_are_counted_over_lost_links() {
    let (mut server, connection) = Server::start(options());
    let mut peer = server.accept().await;
    let replies = send(&connection, &["GET k"]);
    in_flight(&connection).await;
    assert_eq!(peer.commands().await, ["GET k"]);
    let before = connection.figures();
    assert!(before.read > 0 && before.written > 0, "the handshake");
    assert_eq!(before.reconnects, 0);
    drop(peer);
    let mut peer = server.accept().await;
    assert_eq!(peer.commands().await, ["GET k"]);
    peer.send("$1\r\nv\r\n").await;
    let origin = origin(replies).await;
    assert_eq!(origin.attempts, 2);
    let address = origin.server.address().expect("a known server");
    assert_eq!(
        (address.address.as_str(), address.port),
        ("server", Some(6379))
    );
    let again = send(&connection, &["GET k"]);
    assert_eq!(peer.commands().await, ["GET k"]);
    peer.send("$1\r\nv\r\n").await;
    assert_eq!(received(again).await.len(), 1);
    let after = connection.figures();
    assert_eq!(after.reconnects, 1);
    assert!(after.read > before.read && after.written > before.written);
    assert_eq!((after.queued, after.server), (0, origin.server));
}

#[tokio::test(start_paused = true)]
async fn operations_are_queued_until_a_link_serves() {
    let (mut server, connection) = Server::start(options());
    let dial = server.dial().await;
    let first = send(&connection, &["SET k v", "SET k w"]);
    assert_eq!(connection.figures().queued, 2);
    let mut peer = dial.accept();
    peer.let_in().await;
    assert_eq!(peer.commands().await.len(), 2);
    assert_eq!(connection.figures().queued, 0);
    peer.send("+OK\r\n+OK\r\n").await;
    assert_eq!(origin(first).await.attempts, 1);
}

#[tokio::test(start_paused = true)]
async fn an_operation_that_was_never_sent_has_no_attempts() {
    let (_server, connection) = Server::start(options());
    let origin = origin(send(&connection, &["GET k"])).await;
    assert_eq!(origin.attempts, 0);
}

#[tokio::test(start_paused = true)]
async fn features_include_the_protocol_and_substitutes() {
    let (mut server, connection) = Server::start(options());
    let mut peer = server.accept().await;
    let replies = send(&connection, &["PTTL k"]);
    assert_eq!(peer.commands().await, ["PTTL k"]);
    peer.send("-NOPERM User default has no permissions to run the 'pttl' command\r\n")
        .await;
    assert_eq!(peer.commands().await, ["TTL k"]);
    peer.send(":5\r\n").await;
    assert_eq!(origin(replies).await.attempts, 2);
    assert_eq!(connection.figures().features, ["RESP3", "TTL for PTTL"]);
}
