//! TLS with the settings that Node's `tls.connect` takes.

use super::socket::{Socket, Stream};
use crate::options::TlsOptions;
use std::io;
use std::sync::Arc;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::crypto::{
    CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature,
};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};

fn unusable(field: &str, reason: impl std::fmt::Display) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidInput,
        format!("the TLS setting \"{field}\" cannot be used: {reason}"),
    )
}

fn certificates(field: &str, pem: &[u8]) -> io::Result<Vec<CertificateDer<'static>>> {
    let certificates = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|reason| unusable(field, reason))?;
    if certificates.is_empty() {
        return Err(unusable(field, "it holds no PEM certificate"));
    }
    Ok(certificates)
}

fn roots(ca: Option<&[u8]>) -> io::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    match ca {
        Some(pem) => {
            for certificate in certificates("ca", pem)? {
                roots
                    .add(certificate)
                    .map_err(|reason| unusable("ca", reason))?;
            }
        }
        None => {
            // Some of a system's certificates may be unreadable; the others still count.
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    Ok(roots)
}

fn config(options: &TlsOptions) -> io::Result<ClientConfig> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?;
    let builder = if options.reject_unauthorized {
        builder.with_root_certificates(roots(options.ca.as_deref())?)
    } else {
        builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AcceptAnyServer(provider)))
    };
    match (&options.cert, &options.key) {
        (Some(cert), Some(key)) => {
            let key = PrivateKeyDer::from_pem_slice(key.reveal().as_bytes())
                .map_err(|reason| unusable("key", reason))?;
            builder
                .with_client_auth_cert(certificates("cert", cert)?, key)
                .map_err(|reason| unusable("cert", reason))
        }
        (None, None) => Ok(builder.with_no_client_auth()),
        (Some(_), None) => Err(unusable("cert", "it needs a \"key\"")),
        (None, Some(_)) => Err(unusable("key", "it needs a \"cert\"")),
    }
}

pub(super) async fn connect(
    stream: impl Stream + 'static,
    host: &str,
    options: &TlsOptions,
) -> io::Result<Socket> {
    let name = options.servername.as_deref().unwrap_or(host);
    let name =
        ServerName::try_from(name.to_owned()).map_err(|reason| unusable("servername", reason))?;
    let stream = TlsConnector::from(Arc::new(config(options)?))
        .connect(name, stream)
        .await?;
    Ok(Box::new(stream))
}

/// `rejectUnauthorized: false`: encrypted, but to whoever answers.
#[derive(Debug)]
struct AcceptAnyServer(Arc<CryptoProvider>);

impl ServerCertVerifier for AcceptAnyServer {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(
            message,
            cert,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(
            message,
            cert,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
