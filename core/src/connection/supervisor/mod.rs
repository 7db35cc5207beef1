//! The supervisor: the task that owns a connection. It connects, serves, detects a lost link, backs off and
//! reconnects, until the connection is closed.
//!
//! Each connection has one such task, and only this task opens and closes sockets. While no link is open, jobs wait in
//! order, each until its own deadline. If the server rejects the handshake (wrong password, unknown database), waiting
//! jobs fail at once, but the supervisor keeps reconnecting: the server's configuration may be fixed.
//!
//! - [`task`]: the task, its state and its messages.
//! - [`connect`]: attempts to connect, with backoff; [`credentials`]: credentials from the app, and their renewal.
//! - [`serve`]: the loop that serves an open link; [`in_flight`]: commands that are sent and not answered yet;
//!   [`replies`]: matches replies to commands; [`heartbeat`]: heartbeat and read timeout.
//! - [`observations`]: reports the attempts and the links.
//! - [`queue`]: jobs that wait to be sent, and the retry queue; [`apply_replies`]: keeps the commands to retry;
//!   [`held_keys`]: keys whose writes must keep their order.

mod apply_replies;
mod connect;
mod credentials;
mod heartbeat;
mod held_keys;
mod in_flight;
mod observations;
mod queue;
#[cfg(test)]
mod queue_model;
mod replies;
mod serve;
mod task;

pub(super) use self::task::spawn;
