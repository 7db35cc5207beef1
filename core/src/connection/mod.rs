//! One connection to Redis that outlives every loss of its socket.
//!
//! [`Connection`] is the [`handle`]: it takes commands and has each answered exactly once, by the
//! deadline. Behind it one [`supervisor`] owns the socket, from the first attempt to the last.
//!
//! - [`commands`]: what is sent; [`job`]: that with what is to be answered and by when; [`codec`]: what comes back.
//! - [`pin`]: commands that no other link may send.
//! - [`registry`]: which stores share a connection.
//! - [`client`]: the app's own JavaScript client in place of all that follows.
//! - [`cluster`]: many connections behind one handle.
//! - [`sentinel`]: which server is the primary.
//! - [`supervisor`]: connect, serve, notice the loss, back off, connect again.
//! - [`attempt`]: one attempt to connect.
//! - [`mailbox`]: what the handles say to whatever is behind them; [`shared`]: what both sides know.
//! - [`link`]: an open connection: bytes out, replies in; [`handshake`]: what is said on it first; [`failure`]: why
//!   there is none, or none any more.
//! - [`socket`] and [`tls`]: from an address to a byte stream; [`dns`]: from a host's name to addresses,
//!   [`certificate_verifier`]: whether the server is the one that is meant.
//! - [`single_flight`]: reads that share a command.
//! - [`tracking`]: what the server tells of keys that were read.
//! - [`substitutes`]: what is sent in place of commands that are denied.
//! - [`blocking`]: work that blocks a thread.
//! - [`clock`]: time without the periods in which the process was stopped.
//! - [`status`]: what a connection tells those who watch it.

mod attempt;
mod blocking;
mod certificate_verifier;
mod client;
pub(crate) mod clock;
mod cluster;
mod codec;
mod commands;
mod dns;
mod failure;
mod handle;
mod handshake;
mod job;
mod link;
mod mailbox;
mod pin;
mod registry;
mod runtime;
mod sentinel;
mod shared;
mod single_flight;
mod socket;
mod status;
mod substitutes;
mod supervisor;
mod tls;
mod tracking;

pub use self::client::{Executor, Port, Said};
pub(crate) use self::commands::{Access, Commands, Expect};
pub use self::handle::Connection;
pub(crate) use self::job::{Reply, ReplyHandler};
pub use self::mailbox::Credentials;
pub(crate) use self::pin::LinkPin;
pub use self::registry::Lease;
pub use self::runtime::Runtime;
pub(crate) use self::single_flight::{Leader, SentFlag};
pub use self::status::{Event, Watch};
pub use self::tls::Client as TlsClient;

use self::job::Job;
use self::mailbox::{Message, Walker};
use self::shared::Shared;
