//! Connection options: the address of Redis, credentials, TLS, timeouts and limits.
//!
//! - [`connection`]: all of them; [`address`], [`tls`] and [`secret`]: their parts.
//! - [`url`]: connection URLs.

mod address;
mod connection;
mod secret;
mod tls;
mod url;
#[cfg(any(test, fuzzing))]
pub mod url_fuzz;

pub use self::address::{Address, Cluster, DEFAULT_PORT, NatMap, Node, Sentinel};
pub use self::connection::ConnectionOptions;
pub(crate) use self::connection::Membership;
pub use self::secret::Secret;
pub use self::tls::TlsOptions;
pub use self::url::parse_url;
