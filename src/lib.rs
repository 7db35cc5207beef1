//! The Node.js addon: napi classes around [`connect_redis_core`]. Nothing else in the project knows napi.
//!
//! - [`store`]: the class behind `RedisStore`; takes batches of [`requests`].
//! - [`completions`]: hands completions to JavaScript, joined into a [slice](mod@slice), with one [wake]-up.
//! - [`near`]: synchronous lookups in the session cache.
//! - [`options`]: converts the options of a store.
//! - [`client`]: commands that run on the app's own client.
//! - [`watcher`]: connection events.
//! - [`environment`]: the lifetime of a JavaScript environment.
//! - [`json`]: locates errors in JSON.

#![allow(
    rustdoc::private_intra_doc_links,
    reason = "the map above is for those who work on the crate, and all of it is private"
)]

mod client;
mod completions;
mod environment;
mod json;
mod near;
mod options;
mod requests;
mod slice;
mod store;
mod wake;
mod watcher;
