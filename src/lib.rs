//! The Node.js addon: napi classes around [`connect_redis_core`]. No other crate depends on napi.
//!
//! - [`store`]: the class behind `RedisStore`, which receives batches of [`requests`].
//! - [`completions`]: passes completions to JavaScript, joined into a [slice](mod@slice), with one [wake]-up.
//! - [`cache_lookup`]: synchronous lookups in the session cache.
//! - [`options`]: converts the options of a store.
//! - [`connection_events`]: connection events.
//! - [`error_json`]: errors as JSON.
//! - [`environment`]: the lifetime of a JavaScript environment.
//! - [`json`]: locates errors in JSON; [`redact`]: removes secrets from texts.

#![allow(
    rustdoc::private_intra_doc_links,
    reason = "the map above is for those who work on the crate, and all of it is private"
)]

mod cache_lookup;
mod completions;
mod connection_events;
mod environment;
mod error_json;
mod json;
mod options;
mod redact;
mod requests;
mod slice;
mod store;
mod wake;
