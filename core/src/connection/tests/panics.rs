//! Panics in the task of a connection.

use super::failover::{Cluster, slots};
use super::fixtures::{ENOUGH, Panicking, Server, errors, options, reply, send, text};
use crate::connection::handle::Connection;
use crate::connection::{Access, Commands, Expect};
use std::sync::Arc;
use tokio::time::timeout;

/// Panics in the task of a connection. The panic must be reported, and the connection must serve afterwards.
async fn assert_survives_a_panic(connection: Connection) {
    let (watch, mut errors) = errors();
    connection.watch(Arc::downgrade(&watch));
    let get = Commands::of(Access::Read, Expect::Text, Some(1), &[b"GET", b"k"]);
    connection.send(get, Box::new(Panicking));
    let error = timeout(ENOUGH, errors.recv()).await;
    assert!(
        matches!(&error, Ok(Some(error)) if error.contains("panicked")),
        "{error:?}"
    );
    let get = send(&connection, &["GET k"]);
    assert_eq!(reply(get).await.ok(), Some(text("x")));
    assert!(timeout(ENOUGH, connection.close()).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_connection_task_that_panics_is_reported_and_restarted() {
    let (server, connection) = Server::start(options());
    server.serve(|_, command| match command[0].as_str() {
        "GET" => Some("$1\r\nx\r\n".into()),
        _ => super::fixtures::handshake_reply(command),
    });
    assert_survives_a_panic(connection).await;
}

#[tokio::test(start_paused = true)]
async fn a_router_that_panics_is_reported_and_restarted() {
    let (_cluster, connection) = Cluster::start(&[1], slots(&[(0, 16_383, 1)]));
    assert_survives_a_panic(connection).await;
}
