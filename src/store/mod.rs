//! The boundary with JavaScript; the only rooms that know napi.
//!
//! Requests come in as batches ([`requests`] takes them apart), answers leave as batches
//! ([`completions`]). Nothing is made per operation: no promise, no threadsafe function, no task.

mod completions;
mod json;
mod options;
mod requests;
mod wake;

use self::completions::{Completions, Queue};
use self::options::StoreOptions;
use crate::connection::Lease;
use crate::connection::runtime::Runtime;
use crate::session::Sessions;
use napi::bindgen_prelude::Env;
use napi::{Error, Result, Status};
use napi_derive::napi;
use std::sync::Arc;

/// The native half of a `RedisStore`: one prefix on one connection.
#[napi]
#[derive(Debug)]
pub struct RedisStore {
    sessions: Sessions,
    answers: Arc<Queue>,
    /// What prefixes set later are prefixed with.
    key_prefix: String,
    // Declared last, dropped last: the thread ends after the last connection was let go.
    runtime: Arc<Runtime>,
}

/// An error of the options, with its code where napi puts it.
fn option_error(error: crate::error::Error) -> Error<String> {
    Error::new(error.code().to_owned(), error.to_string())
}

#[napi]
impl RedisStore {
    /// Begins to connect; answers go to `completions`.
    #[napi(constructor, catch_unwind)]
    pub fn new(
        options: StoreOptions,
        completions: &Completions,
    ) -> std::result::Result<Self, Error<String>> {
        let runtime = Runtime::shared().map_err(|reason| {
            Error::new(
                "ERR_INTERNAL".to_owned(),
                format!("cannot start the runtime thread: {reason}"),
            )
        })?;
        let key_prefix = options.key_prefix.clone().unwrap_or_default();
        let prefix = format!("{key_prefix}{}", options.prefix);
        let scan_count = options.scan_count;
        let lease = Lease::take(&runtime, options.connection().map_err(option_error)?);
        Ok(Self {
            sessions: Sessions::new(lease, &prefix, scan_count),
            answers: completions.queue(),
            key_prefix,
            runtime,
        })
    }

    /// Requests that come later use this prefix.
    #[napi(catch_unwind)]
    pub fn set_prefix(&mut self, prefix: String) {
        self.sessions
            .set_prefix(&format!("{}{prefix}", self.key_prefix));
    }

    #[napi(catch_unwind)]
    pub fn set_scan_count(&mut self, scan_count: u32) {
        self.sessions.set_scan_count(scan_count);
    }

    /// Takes a batch of `count` requests: their heads as [`requests`] describes, and the bytes of
    /// their ids and values. Both may be reused when this returns.
    #[napi(catch_unwind)]
    pub fn submit(&self, env: Env, heads: &[f64], bytes: &[u8], count: u32) -> Result<()> {
        let (requests, used) = requests::decode(heads, bytes.len(), count)
            .ok_or_else(|| Error::new(Status::InvalidArg, "a malformed batch of requests"))?;
        self.answers.expect(&env, count)?;
        let sessions = self.sessions.clone();
        let bytes = bytes[..used].to_vec();
        let answers = Arc::clone(&self.answers);
        // Tasks begin in the order in which they were spawned: the runtime has one thread and one
        // first-in-first-out queue for what comes from other threads.
        let tasks = self.runtime.spawner();
        self.runtime.spawn(async move {
            sessions.run(&requests, &bytes, &answers, &tasks);
        });
        Ok(())
    }
}
