//! The class behind `RedisStore`. Requests arrive in batches and completions leave in slices: no promise,
//! threadsafe function or task is created per operation.

use crate::cache_lookup::Lookup;
use crate::completions::{Completions, Queue};
use crate::connection_events::Watcher;
use crate::options::{ProvidedCredentials, StoreOptions};
use crate::stats::StoreStats;
use crate::{cache_lookup, requests};
use connect_redis_core::Runtime;
use connect_redis_core::{Clock, RequestId, ScanId, ScanKind, Scans, Sessions};
use connect_redis_core::{Observe, Watch};
use napi::bindgen_prelude::{Env, Float64Array};
use napi::{Error, Result, Status};
use napi_derive::napi;
use std::sync::{Arc, Weak};

/// The native half of a `RedisStore`: one prefix on one connection.
#[napi]
#[derive(Debug)]
pub struct RedisStore {
    sessions: Sessions,
    queue: Arc<Queue>,
    /// The client's key prefix, which comes before every prefix that is set later.
    key_prefix: String,
    watcher: Option<Arc<Watcher>>,
    /// The kinds of observations that the watcher receives.
    observed: u32,
    // Declared last, so dropped last: the thread must end after the last connection was released.
    runtime: Arc<Runtime>,
}

/// The kinds of scans. `__test__/contract/boundary.test.js` compares them with those of JavaScript.
mod scan_kind {
    pub(super) const IDS: u32 = 0;
    pub(super) const SESSIONS: u32 = 1;
    /// With the time at which each session ends.
    pub(super) const SESSIONS_TIMED: u32 = 2;
}

/// Converts an error of the options for napi, which reads its code from the status.
fn option_error(error: connect_redis_core::Error) -> Error<String> {
    Error::new(error.code().to_owned(), error.to_string())
}

#[napi]
impl RedisStore {
    /// Creates a store and starts to connect. Completions go to `completions`.
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
        let observed = options.observed.unwrap_or(0);
        let instance = completions.instance();
        let connection = options.connection(instance).map_err(option_error)?;
        let lease = runtime.lease(connection, observed);
        Ok(Self {
            sessions: Sessions::new(lease, &prefix, scan_count),
            queue: completions.queue(),
            key_prefix,
            watcher: None,
            observed,
            runtime,
        })
    }

    /// Sends the connection's events to `completions` under this request number.
    #[napi(catch_unwind)]
    pub fn watch(&mut self, request: RequestId) {
        let watcher = Arc::new(Watcher::new(Arc::clone(&self.queue), request));
        watcher.set_prefix(self.sessions.prefix());
        let weak: Weak<Watcher> = Arc::downgrade(&watcher);
        let weak: Weak<dyn Watch> = weak;
        self.watcher = Some(watcher);
        // First, as the events begin with those of the past.
        self.observe(self.observed);
        self.sessions.connection().watch(weak);
    }

    /// Sets the kinds of observations that are reported with the connection's events: a sum of numbers. Of the stores
    /// that share a connection, one reports each observation.
    #[napi(catch_unwind)]
    pub fn observe(&mut self, kinds: u32) {
        self.observed = kinds;
        if let Some(watcher) = &self.watcher {
            let weak: Weak<Watcher> = Arc::downgrade(watcher);
            let weak: Weak<dyn Observe> = weak;
            self.sessions.connection().observe(&weak, kinds);
        }
    }

    /// Stops `watch`.
    #[napi(catch_unwind)]
    pub fn unwatch(&mut self) {
        self.watcher = None;
    }

    /// Opens the connection again after, or during, a request to close it. `watch` has to be called again.
    #[napi(catch_unwind)]
    pub fn reopen(&mut self) {
        let lease = self.sessions.renewed_lease(self.observed);
        self.sessions = self.sessions.on(lease);
    }

    /// Passes the result of the app's `credentials` function to the connection, or the reason why it failed.
    #[napi(catch_unwind)]
    pub fn provide_credentials(
        &self,
        provided: Option<ProvidedCredentials>,
        failure: Option<String>,
    ) {
        let credentials = provided
            .map(Into::into)
            .ok_or_else(|| failure.unwrap_or_else(|| "it returned no credentials".to_owned()));
        self.sessions.connection().provide_credentials(credentials);
    }

    /// Passes credentials that the connection did not request, such as new ones before the present ones expire.
    #[napi(catch_unwind)]
    pub fn renew_credentials(&self, provided: ProvidedCredentials) {
        self.sessions
            .connection()
            .renew_credentials(provided.into());
    }

    /// Sets the prefix of later requests.
    #[napi(catch_unwind)]
    pub fn set_prefix(&mut self, prefix: String) {
        self.sessions
            .set_prefix(&format!("{}{prefix}", self.key_prefix));
        if let Some(watcher) = &self.watcher {
            watcher.set_prefix(self.sessions.prefix());
        }
    }

    #[napi(catch_unwind)]
    pub fn set_scan_count(&mut self, scan_count: u32) {
        self.sessions.set_scan_count(scan_count);
    }

    /// Opens a scan of the sessions whose IDs match a glob. Its pages are requested by its number.
    #[napi(catch_unwind)]
    pub fn open_scan(&self, kind: u32, ids: String, count: Option<u32>) -> Result<Scan> {
        let kind = match kind {
            scan_kind::IDS => ScanKind::Ids,
            scan_kind::SESSIONS => ScanKind::All,
            scan_kind::SESSIONS_TIMED => ScanKind::Scan,
            _ => return Err(Error::new(Status::InvalidArg, "no such kind of scan")),
        };
        Ok(Scan {
            number: self.sessions.open_scan(kind, &ids, count),
            scans: self.sessions.scans(),
        })
    }

    /// Submits a batch of `count` requests: their numbers as [`requests`] describes, and the bytes of their IDs and
    /// values. Both may be reused afterwards. `date` is the time by JavaScript's clock.
    #[napi(catch_unwind)]
    pub fn submit(
        &self,
        env: Env,
        heads: &[f64],
        bytes: &[u8],
        count: u32,
        date: f64,
    ) -> Result<()> {
        let (requests, used) = requests::decode(heads, bytes.len(), count)
            .ok_or_else(|| Error::new(Status::InvalidArg, "a malformed batch of requests"))?;
        self.queue.expect(&env, count)?;
        let issued = self.sessions.issue(&requests, &bytes[..used]);
        let sessions = self.sessions.clone();
        let clock = Clock::showing(date);
        let bytes = bytes[..used].to_vec();
        let queue = Arc::clone(&self.queue);
        // Tasks start in the order in which they were spawned: the runtime has one thread, and one first-in, first-out
        // queue for tasks from other threads.
        let tasks = self.runtime.spawner();
        self.runtime.spawn(async move {
            sessions.run(&requests, &bytes, issued, clock, &queue, &tasks);
        });
        Ok(())
    }
}

#[napi]
impl RedisStore {
    #[napi(getter, catch_unwind)]
    pub fn has_cache(&self) -> bool {
        self.sessions.has_cache()
    }

    /// The name of the server in errors.
    #[napi(getter, catch_unwind)]
    pub fn server(&self) -> &str {
        self.sessions.connection().server().name()
    }

    /// The number of the connection, which identifies it: stores may share one.
    #[napi(getter, catch_unwind)]
    pub fn connection(&self) -> f64 {
        // Exact up to 2^53.
        self.sessions.connection().number() as f64
    }

    /// Creates the function that looks up cached sessions under the present prefix. See [`cache_lookup::lookup`].
    #[napi(catch_unwind, ts_return_type = "(id: string) => string | null")]
    pub fn lookup<'env>(&self, env: &'env Env, ends: Float64Array) -> Result<Lookup<'env>> {
        cache_lookup::lookup(env, self.sessions.clone(), ends, Arc::clone(&self.runtime))
    }

    /// Returns the statistics of the store and its connection. They stay available after it was closed.
    #[napi(catch_unwind)]
    pub fn stats(&self) -> StoreStats {
        StoreStats::of(&self.sessions)
    }

    #[napi(catch_unwind)]
    pub fn cache_stats(&self) -> Option<CacheStats> {
        let stats = self.sessions.cache_stats()?;
        Some(CacheStats {
            // Exact up to 2^53.
            hits: stats.hits as f64,
            misses: stats.misses as f64,
            invalidations: stats.invalidations as f64,
            entries: stats.entries as f64,
            bytes: stats.bytes as f64,
            evictions: stats.evictions as f64,
            stale_misses: stats.stale_misses as f64,
        })
    }
}

/// The result of `cacheStats`.
#[napi(object, object_from_js = false)]
#[derive(Debug)]
pub struct CacheStats {
    pub hits: f64,
    pub misses: f64,
    pub invalidations: f64,
    pub entries: f64,
    pub bytes: f64,
    pub evictions: f64,
    #[napi(js_name = "distrusted")]
    pub stale_misses: f64,
}

/// An open scan. It is closed when JavaScript releases the object.
#[napi]
#[derive(Debug)]
pub struct Scan {
    number: ScanId,
    scans: Arc<Scans>,
}

#[napi]
impl Scan {
    #[napi(getter, catch_unwind)]
    pub fn number(&self) -> u32 {
        self.number
    }

    /// Closes the scan before its end.
    #[napi(catch_unwind)]
    pub fn close(&self) {
        self.scans.close(self.number);
    }
}

impl Drop for Scan {
    fn drop(&mut self) {
        self.scans.close(self.number);
    }
}
