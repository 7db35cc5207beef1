//! Session operations on Redis, independent of Node.js: the core of the addon of connect-redis-native.
//!
//! ```text
//! Sessions::run -> session -> connection -> Redis, and back through a CompletionSink
//! ```
//!
//! - [`session`]: the commands and replies of session operations, expiry, conditional saves, scans.
//! - [`connection`]: supervised connections with reconnection and deadlines; Cluster, Sentinel.
//! - [`cache`]: the near-cache, coherent with the server.
//! - [`observers`]: what the debug log and the diagnostics channels report.
//! - [`stats`]: the statistics of operations.
//! - [`worker`]: a background thread for long computations.
//! - `fuzz`, `bench`: the fuzz targets and benchmarks, not compiled into the addon.
//! - [`options`], [`redaction`]: connection options, and the removal of secrets from texts.
//! - [`error`], [`cause`], [`server`]: errors, their causes, and the servers that they name; [`mod@error_json`].

#![forbid(unsafe_code)]
#![allow(
    rustdoc::private_intra_doc_links,
    reason = "the map above is for those who work on the crate"
)]

#[cfg(feature = "bench")]
pub mod bench;
mod cache;
mod cause;
mod connection;
mod error;
mod error_json;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod observers;
mod options;
mod redaction;
mod server;
mod session;
mod stats;
pub mod worker;

pub use self::cache::CacheOptions;
pub use self::cause::Cause;
pub use self::connection::{
    Connection, ConnectionFigures, Credentials, Event, Lease, Origin, Runtime, ServerAddress,
    ServerId, TlsClient, Watch,
};
pub use self::error::Error;
pub use self::error_json::error_json;
pub use self::observers::{Observation, Observe};
pub use self::options::{
    Address, Cluster, ConnectionOptions, DEFAULT_PORT, NatMap, Node, Secret, Sentinel, TlsOptions,
    parse_url,
};
pub use self::redaction::redact;
pub use self::server::Server;
pub use self::session::{
    Bulk, Clock, Completion, CompletionSink, Lane, Operation, ReportEnd, Request, RequestId,
    ScanId, ScanKind, Scans, ScriptRequest, SessionRequest, Sessions, Write,
};
pub use self::stats::{BOUNDS_MICROS, OPERATIONS, OperationFigures};
