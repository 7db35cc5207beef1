//! The credentials with which a connection authenticates.

use super::fixtures::{ENOUGH, Server, ms_since, options, reply, send, text};
use crate::connection::handle::{Connection, Credentials};
use crate::connection::status::{Event, Watch};
use crate::options::{ConnectionOptions, Secret};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

/// Reports requests for credentials.
struct Requests(mpsc::UnboundedSender<()>);

impl Watch for Requests {
    fn event(&self, event: &Event) {
        if let Event::CredentialsWanted = event {
            // The test may be over.
            let _ = self.0.send(());
        }
    }
}

/// The app's function.
struct App {
    requests: mpsc::UnboundedReceiver<()>,
    _watch: Arc<dyn Watch>,
}

impl App {
    async fn is_asked(&mut self) {
        let request = timeout(ENOUGH, self.requests.recv()).await;
        request.expect("a request in time").expect("a watch");
    }
}

/// Opens a connection whose credentials come from the app.
fn start() -> (Server, Connection, App) {
    let (server, connection) = Server::start(ConnectionOptions {
        credentials: Some(1),
        ..options()
    });
    let (sender, requests) = mpsc::unbounded_channel();
    let watch: Arc<dyn Watch> = Arc::new(Requests(sender));
    connection.watch(Arc::downgrade(&watch));
    let app = App {
        requests,
        _watch: watch,
    };
    (server, connection, app)
}

fn password(text: &str, expires_in: Option<Duration>) -> Credentials {
    Credentials {
        username: None,
        password: Some(Secret::new(text.into())),
        expires_in,
    }
}

#[tokio::test(start_paused = true)]
async fn each_attempt_to_connect_asks_for_credentials() {
    let (mut server, connection, mut app) = start();
    app.is_asked().await;
    connection.provide_credentials(Ok(password("one-password", None)));
    drop(server.dial().await);
    app.is_asked().await;
    connection.provide_credentials(Ok(password("other-password", None)));
    let mut peer = server.dial().await.accept();
    assert!(peer.commands().await[0].ends_with("other-password"));
}

#[tokio::test(start_paused = true)]
async fn credentials_that_never_come_fail_the_attempt_and_are_asked_for_again() {
    let (_server, connection, mut app) = start();
    app.is_asked().await;
    let begin = Instant::now();
    app.is_asked().await;
    // The connect timeout and the backoff.
    assert!(
        (5025..=5051).contains(&ms_since(begin)),
        "{}",
        ms_since(begin)
    );
    let get = send(&connection, &["GET k"]);
    connection.provide_credentials(Err("no vault".into()));
    let error = reply(get).await.expect_err("no credentials");
    assert_eq!(error.code(), "ERR_CREDENTIALS");
    assert!(error.to_string().contains("no vault"));
}

#[tokio::test(start_paused = true)]
async fn credentials_are_renewed_before_they_expire_in_order_with_commands() {
    let (mut server, connection, mut app) = start();
    app.is_asked().await;
    let minute = Some(Duration::from_secs(60));
    connection.provide_credentials(Ok(password("first-password", minute)));
    let mut peer = server.dial().await.accept();
    peer.let_in().await;
    let begin = Instant::now();
    let pings = tokio::spawn(async move {
        loop {
            let commands = peer.commands().await;
            if commands != ["PING"] {
                return (peer, commands);
            }
            peer.send("+PONG\r\n").await;
        }
    });
    app.is_asked().await;
    assert!(
        (53_990..=54_010).contains(&ms_since(begin)),
        "{}",
        ms_since(begin)
    );
    connection.provide_credentials(Ok(password("second-password", None)));
    let get = send(&connection, &["GET k"]);
    let (mut peer, commands) = pings.await.expect("no panic");
    assert_eq!(commands, ["AUTH second-password", "GET k"]);
    peer.send("+OK\r\n$1\r\nx\r\n").await;
    assert_eq!(reply(get).await.ok(), Some(text("x")));
}

#[tokio::test(start_paused = true)]
async fn credentials_renewed_during_the_handshake_are_sent_after_it() {
    let (mut server, connection, mut app) = start();
    app.is_asked().await;
    connection.provide_credentials(Ok(password("old-password", None)));
    let mut peer = server.dial().await.accept();
    connection.renew_credentials(password("new-password", None));
    tokio::time::sleep(Duration::from_millis(1)).await;
    peer.let_in().await;
    assert_eq!(peer.commands().await, ["AUTH new-password"]);
}
