//! Session operations on Redis, independent of Node.js: the core of the addon of connect-redis-native.
//!
//! ```text
//! Sessions::run -> session -> connection -> Redis, and back through a CompletionSink
//! ```
//!
//! - [`session`]: the commands and replies of session operations, expiry, conditional saves, scans.
//! - [`connection`]: supervised connections with reconnection and deadlines; Cluster, Sentinel.
//! - [`cache`]: the near-cache, coherent with the server.
//! - [`worker`]: a background thread for long computations.
//! - `fuzz`, `bench`: the fuzz targets and benchmarks, not compiled into the addon.
//! - [`options`], [`error`], [`redaction`]: connection options, errors, and the removal of secrets from texts.

#![forbid(unsafe_code)]
#![allow(
    rustdoc::private_intra_doc_links,
    reason = "the map above is for those who work on the crate"
)]

#[cfg(feature = "bench")]
pub mod bench;
mod cache;
mod connection;
mod error;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod options;
mod redaction;
mod session;
pub mod worker;

pub use self::cache::CacheOptions;
pub use self::connection::{Connection, Credentials, Event, Lease, Runtime, TlsClient, Watch};
pub use self::error::Error;
pub use self::options::{
    Address, Cluster, ConnectionOptions, DEFAULT_PORT, NatMap, Node, Secret, Sentinel, TlsOptions,
    parse_url,
};
pub use self::redaction::redact;
pub use self::session::{
    Bulk, Clock, Completion, CompletionSink, Lane, Operation, ReportEnd, Request, RequestId,
    ScanId, ScanKind, Scans, ScriptRequest, SessionRequest, Sessions, Write,
};
