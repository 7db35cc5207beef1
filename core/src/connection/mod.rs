//! A connection to Redis that outlives every loss of its socket.
//!
//! [`Connection`] is the [`handle`]: it accepts commands, and answers each exactly once, by its deadline. Behind it,
//! one [`supervisor`] owns the socket: it connects, serves and reconnects.
//!
//! - [`commands`]: commands, encoded; [`job`]: commands with their reply handler and deadline; [`codec`]: decodes
//!   replies; [`text`]: texts in them; [`pin`]: ties commands to one link.
//! - [`single_flight`]: reads that share a command.
//! - [`registry`]: shares connections between stores; [`runtime`]: the thread that they run on; [`open`]:
//!   opens a connection to any kind of address.
//! - [`supervisor`]: a connection to one server; [`cluster`]: many of them behind one handle.
//! - [`mailbox`]: messages from the handles to the task behind them; [`shared`]: state of both sides; [`status`]: the
//!   state of a connection, and its events; [`primaries`]: the nodes that hold all keys.
//! - [`attempt`]: one attempt to connect; [`sentinel`]: finds the primary; [`vote`]: most of several servers decide;
//!   [`handshake`]: the first commands of a link; [`failure`]: the reason why there is none;
//!   [`io_cause`]: the causes of I/O errors.
//! - [`link`]: an open connection; [`network`], [`stream`] and [`tls`]: open a byte stream to an address; [`dns`]:
//!   resolves host names; [`certificate_verifier`]: verifies the server's certificate.
//! - [`retry_policy`]: the errors after which a command is sent again; [`backoff`]: the pause between attempts;
//!   [`staggered`]: attempts side by side; [`timeout_error`]: the error at a deadline; [`clock`]: time without the
//!   periods in which the process was stopped; [`blocking`]: work on threads.
//! - [`counters`]: the statistics of a connection; [`origin`]: the server that replied, and the number of attempts.
//! - [`tracking`]: client tracking for the cache; [`substitutes`]: replace commands that are denied.

mod attempt;
mod backoff;
#[cfg(feature = "bench")]
pub(crate) mod bench;
mod blocking;
mod certificate_verifier;
pub(crate) mod clock;
mod cluster;
mod codec;
#[cfg(any(test, fuzzing))]
pub mod codec_fuzz;
mod commands;
mod counters;
mod dns;
mod failure;
mod handle;
mod handshake;
mod io_cause;
mod job;
mod link;
mod mailbox;
mod network;
mod open;
mod origin;
mod pin;
mod primaries;
mod registry;
mod retry_policy;
mod runtime;
mod sentinel;
mod shared;
mod single_flight;
mod staggered;
mod status;
mod stream;
mod substitutes;
mod supervisor;
#[cfg(test)]
mod tests;
mod text;
mod timeout_error;
mod tls;
mod tracking;
mod vote;

#[cfg(any(test, fuzzing))]
pub use self::cluster::slot_map_fuzz;
pub(crate) use self::commands::{Access, Commands, Expect};
pub use self::counters::ConnectionFigures;
pub(crate) use self::counters::Counters;
pub use self::handle::{Connection, Credentials};
pub(crate) use self::job::{Reply, ReplyHandler};
pub(crate) use self::origin::Delivery;
pub use self::origin::{Origin, ServerAddress, ServerId};
pub(crate) use self::pin::LinkPin;
pub(crate) use self::primaries::Primaries;
pub use self::registry::Lease;
pub use self::runtime::Runtime;
pub(crate) use self::single_flight::{Leader, SentFlag};
pub use self::status::{Event, Watch};
pub use self::tls::Client as TlsClient;
