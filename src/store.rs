//! The class behind `RedisStore`. Requests come in as batches and completions leave as batches: no promise, no
//! threadsafe function and no task is made per operation.

use crate::cache_lookup::Lookup;
use crate::client_transport::{Client, ClientPort};
use crate::completions::{Completions, Queue};
use crate::connection_events::Watcher;
use crate::options::{GivenCredentials, StoreOptions};
use crate::{cache_lookup, requests};
use connect_redis_core::Runtime;
use connect_redis_core::{Clock, RequestId, ScanId, ScanKind, Scans, Sessions};
use connect_redis_core::{Lease, Watch};
use napi::bindgen_prelude::{Env, Float64Array};
use napi::{Error, Result, Status};
use napi_derive::napi;
use std::sync::{Arc, Weak};

/// The native half of a `RedisStore`: one prefix on one connection.
#[napi]
#[derive(Debug)]
pub struct RedisStore {
    sessions: Sessions,
    answers: Arc<Queue>,
    /// What prefixes set later are prefixed with.
    key_prefix: String,
    watcher: Option<Arc<Watcher>>,
    // Declared last, dropped last: the thread ends after the last connection was let go.
    runtime: Arc<Runtime>,
}

/// An error of the options, with its code where napi puts it.
fn option_error(error: connect_redis_core::Error) -> Error<String> {
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
        let instance = completions.instance();
        let connection = options.connection(instance).map_err(option_error)?;
        let lease = Lease::take(&runtime, connection);
        Ok(Self {
            sessions: Sessions::new(lease, &prefix, scan_count),
            answers: completions.queue(),
            key_prefix,
            watcher: None,
            runtime,
        })
    }

    /// Has the connection's events told to the completions' request of this number.
    #[napi(catch_unwind)]
    pub fn watch(&mut self, request: RequestId) {
        let watcher = Arc::new(Watcher::new(Arc::clone(&self.answers), request));
        let weak: Weak<Watcher> = Arc::downgrade(&watcher);
        let weak: Weak<dyn Watch> = weak;
        self.sessions.connection().watch(weak);
        self.watcher = Some(watcher);
    }

    /// Ends what `watch` began.
    #[napi(catch_unwind)]
    pub fn unwatch(&mut self) {
        self.watcher = None;
    }

    /// Opens the connection again after, or during, a request to close it. What watched or served the former one
    /// has to be given again.
    #[napi(catch_unwind)]
    pub fn reopen(&mut self) {
        let lease = self.sessions.renewed_lease(&self.runtime);
        self.sessions = self.sessions.on(lease);
    }

    /// Uses another connection from here on, also for what waits. What watched the former one has to be given again.
    #[napi(catch_unwind)]
    pub fn replace(
        &mut self,
        options: StoreOptions,
        completions: &Completions,
    ) -> std::result::Result<(), Error<String>> {
        let connection = options
            .connection(completions.instance())
            .map_err(option_error)?;
        let sessions = self.sessions.on(Lease::take(&self.runtime, connection));
        self.sessions.connection().hand_over(sessions.connection());
        self.sessions = sessions;
        Ok(())
    }

    /// Has the app's client run the commands of the connection, as the completions' request of this number.
    #[napi(catch_unwind)]
    pub fn serve(&self, request: RequestId) -> ClientPort {
        let client = Client::new(Arc::clone(&self.answers), request);
        ClientPort::new(self.sessions.connection().offer(Arc::new(client)))
    }

    /// What the app's function gave for the connection; `refusal` says why it gave nothing.
    #[napi(catch_unwind)]
    pub fn give_credentials(&self, given: Option<GivenCredentials>, refusal: Option<String>) {
        let credentials = given
            .map(Into::into)
            .ok_or_else(|| refusal.unwrap_or_else(|| "it gave nothing".to_owned()));
        self.sessions.connection().give_credentials(credentials);
    }

    /// Credentials that nobody asked for, such as those that take the place of others before these expire.
    #[napi(catch_unwind)]
    pub fn renew_credentials(&self, given: GivenCredentials) {
        self.sessions.connection().renew_credentials(given.into());
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

    /// Begins a listing of the sessions whose ids match a glob: 0 of ids, 1 of sessions, 2 of sessions
    /// with the time when they end. Its pages are requests with its number.
    #[napi(catch_unwind)]
    pub fn list(&self, listing: u32, ids: String, count: Option<u32>) -> Result<Scan> {
        let listing = match listing {
            0 => ScanKind::Ids,
            1 => ScanKind::All,
            2 => ScanKind::Scan,
            _ => return Err(Error::new(Status::InvalidArg, "no such listing")),
        };
        Ok(Scan {
            number: self.sessions.list(listing, &ids, count),
            walks: self.sessions.walks(),
        })
    }

    /// Takes a batch of `count` requests: their heads as [`requests`] describes, and the bytes of
    /// their ids and values. Both may be reused when this returns. `date` is what JavaScript's clock says.
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
        self.answers.expect(&env, count)?;
        let marks = self.sessions.issue(&requests, &bytes[..used]);
        let sessions = self.sessions.clone();
        let clock = Clock::saying(date);
        let bytes = bytes[..used].to_vec();
        let answers = Arc::clone(&self.answers);
        // Tasks begin in the order in which they were spawned: the runtime has one thread and one
        // first-in-first-out queue for what comes from other threads.
        let tasks = self.runtime.spawner();
        self.runtime.spawn(async move {
            sessions.run(&requests, &bytes, marks, clock, &answers, &tasks);
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

    /// The number of the connection, by which one is told from another: stores may share it.
    #[napi(getter, catch_unwind)]
    pub fn connection(&self) -> f64 {
        // Exact up to 2^53.
        self.sessions.connection().number() as f64
    }

    /// Makes the function by which sessions are looked up that are kept in this process, under the present
    /// prefix. See [`cache_lookup::lookup`].
    #[napi(catch_unwind, ts_return_type = "(id: string) => string | null")]
    pub fn lookup<'env>(&self, env: &'env Env, ends: Float64Array) -> Result<Lookup<'env>> {
        cache_lookup::lookup(env, self.sessions.clone(), ends, Arc::clone(&self.runtime))
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
            distrusted: stats.stale_misses as f64,
        })
    }
}

/// What `cacheStats` gives.
#[napi(object, object_from_js = false)]
#[derive(Debug)]
pub struct CacheStats {
    pub hits: f64,
    pub misses: f64,
    pub invalidations: f64,
    pub entries: f64,
    pub bytes: f64,
    pub evictions: f64,
    pub distrusted: f64,
}

/// A listing that is under way. Once JavaScript lets go of it, nothing of it is kept.
#[napi]
#[derive(Debug)]
pub struct Scan {
    number: ScanId,
    walks: Arc<Scans>,
}

#[napi]
impl Scan {
    #[napi(getter, catch_unwind)]
    pub fn number(&self) -> u32 {
        self.number
    }

    /// Ends it before its end.
    #[napi(catch_unwind)]
    pub fn close(&self) {
        self.walks.close(self.number);
    }
}

impl Drop for Scan {
    fn drop(&mut self) {
        self.walks.close(self.number);
    }
}
