//! The native part of connect-redis-native. A request travels one way and its answer comes back by it:
//!
//! ```text
//! lib -> store -> session -> connection -> Redis
//! ```
//!
//! - [`store`]: the napi classes. Batches of requests in, batches of completions out. The only rooms
//!   that know napi.
//! - [`session`]: what a session operation means in Redis: keys, lifetimes, commands, replies.
//!   Knows neither napi nor sockets.
//! - [`connection`]: one connection that comes back after every loss, with deadlines. The only rooms
//!   that know sockets, TLS and the redis crate's connection types.
//! - [`cache`]: sessions that were read and are kept in this process.
//! - [`worker`]: a thread for long work.
//! - [`options`], [`error`] and [`redaction`]: the ground floor.

#![deny(unsafe_code)]
#![allow(
    rustdoc::private_intra_doc_links,
    reason = "the map above is for those who work on the crate, and all of it is private"
)]
#![warn(missing_debug_implementations)]

mod cache;
mod connection;
mod error;
mod options;
mod redaction;
mod session;
mod store;
mod worker;
