//! A connection to Redis that outlives every loss of its socket.
//!
//! [`Connection`] is the [`handle`]: it accepts commands, and answers each exactly once, by its deadline. Behind it,
//! one [`supervisor`] owns the socket: it connects, serves and reconnects.
//!
//! - [`commands`]: commands, encoded; [`job`]: commands with their reply handler and deadline; [`codec`]: decodes
//!   replies.
//! - [`pin`]: ties commands to one link.
//! - [`registry`]: shares connections between stores.
//! - [`client`]: runs commands on the app's own JavaScript client, in place of all that follows.
//! - [`cluster`]: many connections behind one handle.
//! - [`sentinel`]: finds the primary.
//! - [`supervisor`]: connects, serves, detects a lost connection, backs off, reconnects.
//! - [`attempt`]: one attempt to connect.
//! - [`mailbox`]: messages from the handles to the task behind them; [`shared`]: state of both sides.
//! - [`link`]: an open connection; [`handshake`]: its first commands; [`failure`]: the reason why there is none.
//! - [`socket`] and [`tls`]: open a byte stream to an address; [`dns`]: resolves host names;
//!   [`certificate_verifier`]: verifies the server's certificate.
//! - [`single_flight`]: reads that share a command.
//! - [`tracking`]: client tracking for the cache.
//! - [`substitutes`]: replace commands that are denied.
//! - [`blocking`]: runs blocking work on threads.
//! - [`clock`]: time without the periods in which the process was stopped.
//! - [`status`]: the state of a connection, and its events.

mod attempt;
#[cfg(feature = "bench")]
pub(crate) mod bench;
mod blocking;
mod certificate_verifier;
mod client;
pub(crate) mod clock;
mod cluster;
mod codec;
#[cfg(any(test, fuzzing))]
pub mod codec_fuzz;
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
#[cfg(test)]
mod test_observers;
mod tls;
mod tracking;

pub use self::client::{Executor, Port, Said};
#[cfg(any(test, fuzzing))]
pub use self::cluster::slot_map_fuzz;
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
use self::mailbox::{Message, PrimariesSender};
use self::shared::Shared;
