//! The options of a new store, as JavaScript passes them. `lib/options.js` and `lib/clients/` have checked them, and have
//! filled in the defaults; only URLs and certificates are checked here.

use connect_redis_core::CacheOptions;
use connect_redis_core::Error;
use connect_redis_core::{
    Address, Cluster, ConnectionOptions, DEFAULT_PORT, NatMap, Node, Secret, Sentinel, TlsOptions,
    parse_url,
};
use connect_redis_core::{Credentials, TlsClient};
use napi_derive::napi;
use std::fmt;
use std::time::Duration;

/// The options of a store. Either `url` or `settings` contains the address of Redis.
#[napi(object, object_to_js = false)]
#[derive(Debug)]
pub struct StoreOptions {
    pub url: Option<Redacted>,
    pub settings: Option<Settings>,
    /// Sentinels; `settings` then contains the credentials for the servers.
    pub sentinel: Option<SentinelSettings>,
    /// Cluster nodes, in addition to `settings`.
    pub cluster: Option<ClusterSettings>,
    /// Sends reads to replicas of the cluster that `url` or `cluster` names.
    pub reads_from_replicas: Option<bool>,
    /// TLS options, in addition to `url`.
    pub tls: Option<Tls>,
    /// The number of the `credentials` function.
    pub credentials: Option<u32>,
    /// Milliseconds.
    pub connect_timeout: u32,
    /// Milliseconds.
    pub command_timeout: u32,
    pub max_queue: u32,
    /// Makes operations fail immediately while there is no connection.
    pub fails_offline: Option<bool>,
    /// The number of retries of a failed attempt to connect, after which the operations that wait fail.
    pub max_retries: Option<u32>,
    pub cache: Option<CacheSettings>,
    /// The client's own key prefix, which comes before `prefix`.
    pub key_prefix: Option<String>,
    pub prefix: String,
    pub scan_count: u32,
    /// The kinds of observations to report; see `observe`.
    pub observed: Option<u32>,
}

/// The options of the cache.
#[napi(object, object_to_js = false)]
#[derive(Debug)]
pub struct CacheSettings {
    pub max_bytes: f64,
    pub max_entries: u32,
    /// Milliseconds.
    pub max_staleness: u32,
}

/// The settings of a live client.
#[napi(object, object_to_js = false)]
#[derive(Debug)]
pub struct Settings {
    pub host: Option<String>,
    pub port: Option<u16>,
    pub path: Option<String>,
    pub database: Option<u32>,
    pub username: Option<String>,
    pub password: Option<Redacted>,
    pub tls: Option<Tls>,
}

#[napi(object, object_to_js = false)]
#[derive(Debug)]
pub struct NodeAddress {
    pub host: String,
    pub port: u16,
}

#[napi(object, object_to_js = false)]
#[derive(Debug)]
pub struct NatEntry {
    pub announced: NodeAddress,
    pub reached: NodeAddress,
}

#[napi(object, object_to_js = false)]
#[derive(Debug)]
pub struct SentinelSettings {
    pub name: String,
    pub nodes: Vec<NodeAddress>,
    pub username: Option<String>,
    pub password: Option<Redacted>,
    pub tls: Option<Tls>,
    pub nat_map: Option<Vec<NatEntry>>,
}

#[napi(object, object_to_js = false)]
#[derive(Debug)]
pub struct ClusterSettings {
    pub nodes: Vec<NodeAddress>,
    pub nat_map: Option<Vec<NatEntry>>,
}

/// TLS options as PEM texts, with the names of Node's `tls.connect`.
#[napi(object, object_to_js = false)]
#[derive(Debug)]
pub struct Tls {
    pub ca: Option<String>,
    /// Certificates trusted in addition to the system's roots, without `ca`.
    pub roots: Option<String>,
    pub cert: Option<String>,
    pub key: Option<Redacted>,
    pub servername: Option<String>,
    pub reject_unauthorized: Option<bool>,
}

/// A text that may contain a secret.
#[napi(object, object_to_js = false)]
pub struct Redacted {
    pub text: String,
}

impl fmt::Debug for Redacted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// The credentials that a function of the app returned.
#[napi(object, object_to_js = false)]
#[derive(Debug)]
pub struct ProvidedCredentials {
    pub username: Option<String>,
    pub password: Option<Redacted>,
    /// Milliseconds.
    pub expires_in: Option<f64>,
}

impl From<ProvidedCredentials> for Credentials {
    fn from(provided: ProvidedCredentials) -> Self {
        Self {
            username: provided.username,
            password: provided.password.map(|password| Secret::new(password.text)),
            expires_in: provided.expires_in.and_then(time_left),
        }
    }
}

/// Converts milliseconds to a duration: zero for negative times; `None` for times beyond its range, or infinite ones.
fn time_left(ms: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(ms.max(0.0) / 1000.0).ok()
}

/// Returns the error in these TLS settings, or nothing.
#[napi(catch_unwind)]
pub(crate) fn check_tls_settings(tls: Tls) -> Option<String> {
    TlsClient::check(&tls.into())
        .err()
        .map(|error| error.to_string())
}

impl StoreOptions {
    /// Converts the options to those of the connection.
    ///
    /// # Errors
    /// The errors of [`parse_url`] and [`TlsClient::check`].
    pub(crate) fn connection(self, instance: u32) -> Result<ConnectionOptions, Error> {
        let mut options = match (self.settings, self.url) {
            (Some(settings), _) => settings.into(),
            (None, Some(url)) => parse_url(&url.text)?,
            (None, None) => ConnectionOptions {
                is_default_address: true,
                ..ConnectionOptions::default()
            },
        };
        if let Some(sentinel) = self.sentinel {
            options.address = Address::Sentinel(sentinel.into());
        }
        if let Some(cluster) = self.cluster {
            options.address = Address::Cluster(cluster.into());
        }
        if let Address::Cluster(cluster) = &mut options.address {
            cluster.reads_from_replicas = self.reads_from_replicas.unwrap_or(false);
        }
        if let Address::Sentinel(Sentinel { tls: Some(tls), .. }) = &options.address {
            TlsClient::check(tls)?;
        }
        if let Some(tls) = self.tls {
            options.tls = Some(tls.into());
        }
        if let Some(tls) = &options.tls {
            TlsClient::check(tls)?;
        }
        let unique = |number| u64::from(instance) << 32 | u64::from(number);
        options.credentials = self.credentials.map(unique);
        options.connect_timeout = ms(self.connect_timeout);
        options.command_timeout = ms(self.command_timeout);
        options.cache = self.cache.map(Into::into);
        options.max_queue = usize::try_from(self.max_queue).unwrap_or(usize::MAX);
        options.fails_offline = self.fails_offline.unwrap_or(false);
        options.max_retries = match options.fails_offline {
            true => Some(0),
            false => self.max_retries,
        };
        Ok(options)
    }
}

fn ms(ms: u32) -> Duration {
    Duration::from_millis(ms.into())
}

impl From<CacheSettings> for CacheOptions {
    fn from(settings: CacheSettings) -> Self {
        Self {
            // A cast from f64 saturates.
            max_bytes: settings.max_bytes as u64,
            max_entries: settings.max_entries.into(),
            max_staleness: ms(settings.max_staleness),
        }
    }
}

impl From<Settings> for ConnectionOptions {
    fn from(settings: Settings) -> Self {
        Self {
            address: match settings.path {
                Some(path) => Address::Unix { path },
                None => Address::Tcp(Node {
                    host: settings.host.unwrap_or_else(|| "127.0.0.1".into()),
                    port: settings.port.unwrap_or(DEFAULT_PORT),
                }),
            },
            database: settings.database.unwrap_or(0).into(),
            username: settings.username,
            password: settings.password.map(|password| Secret::new(password.text)),
            tls: settings.tls.map(Into::into),
            ..Self::default()
        }
    }
}

impl From<NodeAddress> for Node {
    fn from(NodeAddress { host, port }: NodeAddress) -> Self {
        Self { host, port }
    }
}

fn nodes(nodes: Vec<NodeAddress>) -> Vec<Node> {
    nodes.into_iter().map(Into::into).collect()
}

fn nat_map(entries: Option<Vec<NatEntry>>) -> NatMap {
    let entries = entries.into_iter().flatten();
    entries
        .map(|entry| (entry.announced.into(), entry.reached.into()))
        .collect()
}

impl From<SentinelSettings> for Sentinel {
    fn from(settings: SentinelSettings) -> Self {
        Self {
            name: settings.name,
            nodes: nodes(settings.nodes),
            username: settings.username,
            password: settings.password.map(|password| Secret::new(password.text)),
            tls: settings.tls.map(Into::into),
            nat_map: nat_map(settings.nat_map),
        }
    }
}

impl From<ClusterSettings> for Cluster {
    fn from(settings: ClusterSettings) -> Self {
        Self {
            nodes: nodes(settings.nodes),
            nat_map: nat_map(settings.nat_map),
            reads_from_replicas: false,
        }
    }
}

impl From<Tls> for TlsOptions {
    fn from(tls: Tls) -> Self {
        Self {
            ca: tls.ca.map(String::into_bytes),
            roots: tls.roots.map(|roots| roots.into_bytes().into()),
            cert: tls.cert.map(String::into_bytes),
            key: tls.key.map(|key| Secret::new(key.text)),
            servername: tls.servername,
            reject_unauthorized: tls.reject_unauthorized.unwrap_or(true),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn check_tls_settings_needs_no_connection() {
        let settings = |ca: Option<&str>| Tls {
            ca: ca.map(str::to_owned),
            roots: None,
            cert: None,
            key: None,
            servername: None,
            reject_unauthorized: Some(true),
        };
        assert_eq!(check_tls_settings(settings(None)), None);
        assert!(check_tls_settings(settings(Some("no certificate"))).is_some());
    }

    #[test]
    fn time_left_accepts_any_number() {
        assert_eq!(time_left(1500.0), Some(Duration::from_millis(1500)));
        for over in [0.0, -0.0, -1.0, f64::NEG_INFINITY, f64::NAN] {
            assert_eq!(time_left(over), Some(Duration::ZERO), "{over}");
        }
        for endless in [1e23, f64::MAX, f64::INFINITY] {
            assert_eq!(time_left(endless), None, "{endless}");
        }
    }

    #[test]
    fn errors_of_tls_settings_do_not_contain_the_key() {
        let tls = |key: Option<&str>| Tls {
            ca: None,
            roots: None,
            cert: None,
            key: key.map(|text| Redacted { text: text.into() }),
            servername: None,
            reject_unauthorized: None,
        };
        assert_eq!(check_tls_settings(tls(None)), None);
        let error = check_tls_settings(tls(Some("hunter2"))).expect("no certificate");
        assert!(error.contains("tls.cert"), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
}
