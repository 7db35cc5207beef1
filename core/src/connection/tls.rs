//! TLS with the settings that Node's `tls.connect` takes.

use super::certificate_verifier::{Roots, Verifier};
use super::io_cause::unverifiable_name;
use super::stream::{Socket, Stream};
use crate::error::Error;
use crate::options::TlsOptions;
use std::fmt;
use std::io;
use std::sync::Arc;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// Returns the error of an option whose value cannot be used.
fn unusable(field: &'static str, expected: impl Into<String>) -> Error {
    Error::Option {
        field,
        expected: expected.into(),
    }
}

/// Parses certificates in PEM.
fn certificates(field: &'static str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, Error> {
    let certificates = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<Vec<_>, _>>()
        .unwrap_or_default();
    if certificates.is_empty() {
        return Err(unusable(
            field,
            "certificates in PEM, as a string or Buffer with their text (not a file name)",
        ));
    }
    Ok(certificates)
}

/// Returns the roots of the `ca` option; `None` without it.
fn own_roots(options: &TlsOptions) -> Result<Option<Roots>, Error> {
    let Some(pem) = &options.ca else {
        return Ok(None);
    };
    let mut store = RootCertStore::empty();
    let own = certificates("tls.ca", pem)?;
    for certificate in &own {
        store
            .add(certificate.clone())
            .map_err(|reason| unusable("tls.ca", format!("usable certificates ({reason})")))?;
    }
    Ok(Some(Roots { store, own }))
}

/// Returns the default roots: the system's, and those of the `roots` option.
fn default_roots(options: &TlsOptions) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    // Some certificates may be unreadable; the others still count.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(pem) = &options.roots {
        roots.add_parsable_certificates(CertificateDer::pem_slice_iter(pem).flatten());
    }
    roots
}

/// A TLS configuration, reused for all connections with the same options.
#[derive(Clone)]
pub struct Client {
    config: Arc<ClientConfig>,
    servername: Option<ServerName<'static>>,
}

impl Client {
    /// Builds the configuration. Reads the system's roots from files if the `ca` option is absent.
    ///
    /// # Errors
    /// [`Error::Option`], which names the invalid option.
    pub fn new(options: &TlsOptions) -> Result<Self, Error> {
        Self::with_roots(options, default_roots)
    }

    /// Validates the options as `new` does, without reading files.
    pub fn check(options: &TlsOptions) -> Result<(), Error> {
        Self::with_roots(options, |_| RootCertStore::empty()).map(drop)
    }

    fn with_roots(
        options: &TlsOptions,
        default_roots: impl FnOnce(&TlsOptions) -> RootCertStore,
    ) -> Result<Self, Error> {
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|reason| unusable("tls", format!("usable ({reason})")))?;
        let roots = own_roots(options)?;
        let roots = options.reject_unauthorized.then(|| {
            roots.unwrap_or_else(|| Roots {
                store: default_roots(options),
                own: Vec::new(),
            })
        });
        let builder = builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Verifier { roots, provider }));
        let config = match (&options.cert, &options.key) {
            (Some(cert), Some(key)) => {
                let key = PrivateKeyDer::from_pem_slice(key.reveal().as_bytes())
                    .map_err(|_| unusable("tls.key", "a private key in PEM, not encrypted"))?;
                builder
                    .with_client_auth_cert(certificates("tls.cert", cert)?, key)
                    .map_err(|reason| {
                        unusable(
                            "tls.cert",
                            format!("the certificate of \"tls.key\" ({reason})"),
                        )
                    })?
            }
            (None, None) => builder.with_no_client_auth(),
            (Some(_), None) => return Err(unusable("tls.key", "set together with \"tls.cert\"")),
            (None, Some(_)) => return Err(unusable("tls.cert", "set together with \"tls.key\"")),
        };
        let servername = options
            .servername
            .as_ref()
            .map(|name| ServerName::try_from(name.clone()))
            .transpose()
            .map_err(|_| unusable("tls.servername", "a host name or an IP address"))?;
        Ok(Self {
            config: Arc::new(config),
            servername,
        })
    }

    /// Performs the TLS handshake. The certificate must match `servername`, or else `host`.
    pub(super) async fn connect(
        &self,
        stream: impl Stream + 'static,
        host: &str,
    ) -> io::Result<Socket> {
        let name = match &self.servername {
            Some(name) => name.clone(),
            None => ServerName::try_from(host.to_owned())
                .map_err(|_| io::Error::other(unverifiable_name()))?,
        };
        let stream = TlsConnector::from(Arc::clone(&self.config))
            .connect(name, stream)
            .await?;
        Ok(Box::new(stream))
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Client")
    }
}
