//! What JavaScript passes to a new store. `lib/options.js` and `lib/client.js` have checked the types.

use crate::error::Error;
use crate::options::{Address, ConnectionOptions, DEFAULT_PORT, Secret, TlsOptions, parse_url};
use napi_derive::napi;
use std::fmt;

/// Either `url` or `settings` says where Redis is.
#[napi(object, object_to_js = false)]
#[derive(Debug)]
pub struct StoreOptions {
    pub url: Option<Redacted>,
    pub settings: Option<Settings>,
    /// The client's own key prefix, which comes before `prefix`.
    pub key_prefix: Option<String>,
    pub prefix: String,
    pub scan_count: u32,
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

/// PEM texts; the names are those of Node's `tls.connect`.
#[napi(object, object_to_js = false)]
#[derive(Debug)]
pub struct Tls {
    pub ca: Option<String>,
    pub cert: Option<String>,
    pub key: Option<Redacted>,
    pub servername: Option<String>,
    pub reject_unauthorized: Option<bool>,
}

/// A text that may be or hold a secret.
#[napi(object, object_to_js = false)]
pub struct Redacted {
    pub text: String,
}

impl fmt::Debug for Redacted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl StoreOptions {
    /// # Errors
    /// What [`parse_url`] says of the URL.
    pub(super) fn connection(self) -> Result<ConnectionOptions, Error> {
        match (self.settings, self.url) {
            (Some(settings), _) => Ok(settings.into()),
            (None, Some(url)) => parse_url(&url.text),
            (None, None) => parse_url("redis://127.0.0.1:6379"),
        }
    }
}

impl From<Settings> for ConnectionOptions {
    fn from(settings: Settings) -> Self {
        Self {
            address: match settings.path {
                Some(path) => Address::Unix { path },
                None => Address::Tcp {
                    host: settings.host.unwrap_or_else(|| "127.0.0.1".into()),
                    port: settings.port.unwrap_or(DEFAULT_PORT),
                },
            },
            database: settings.database.unwrap_or(0).into(),
            username: settings.username,
            password: settings.password.map(|password| Secret::new(password.text)),
            tls: settings.tls.map(Into::into),
            ..Self::default()
        }
    }
}

impl From<Tls> for TlsOptions {
    fn from(tls: Tls) -> Self {
        Self {
            ca: tls.ca.map(String::into_bytes),
            cert: tls.cert.map(String::into_bytes),
            key: tls.key.map(|key| Secret::new(key.text)),
            servername: tls.servername,
            reject_unauthorized: tls.reject_unauthorized.unwrap_or(true),
        }
    }
}
