//! TLS options.

use super::secret::Secret;
use std::sync::Arc;

/// TLS options with the same meaning as in Node's `tls.connect`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TlsOptions {
    /// PEM; replaces the system's roots.
    pub ca: Option<Vec<u8>>,
    /// PEM; adds to the system's roots.
    pub roots: Option<Arc<[u8]>>,
    /// PEM; the client's own certificate chain.
    pub cert: Option<Vec<u8>>,
    /// PEM; the key of `cert`.
    pub key: Option<Secret>,
    /// The name for SNI and certificate verification, in place of the host.
    pub servername: Option<String>,
    pub reject_unauthorized: bool,
}

impl Default for TlsOptions {
    fn default() -> Self {
        Self {
            ca: None,
            roots: None,
            cert: None,
            key: None,
            servername: None,
            reject_unauthorized: true,
        }
    }
}
