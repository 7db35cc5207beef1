//! Verifies server certificates as Node does.
//!
//! webpki is stricter than Node in two points that affect certificates made for internal use: it rejects a CA
//! certificate as a server's certificate, even a self-signed one that the app passed as `ca`; and it matches host names
//! against `subjectAltName` only, never against the common name.

use super::io_cause::{rejected, webpki_error};
use der::asn1::AnyRef;
use der::{Reader, SliceReader, Tag, Tagged};
use std::sync::Arc;
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use tokio_rustls::rustls::crypto::{
    CryptoProvider, verify_tls12_signature, verify_tls13_signature,
};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::server::ParsedCertificate;
use tokio_rustls::rustls::{
    CertificateError, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme,
};

/// The trust anchors: CAs that a server's certificate may be signed by.
#[derive(Debug)]
pub(super) struct Roots {
    pub(super) store: RootCertStore,
    /// The certificates that the app passed as `ca`.
    pub(super) own: Vec<CertificateDer<'static>>,
}

/// A certificate verifier with Node's rules.
#[derive(Debug)]
pub(super) struct Verifier {
    /// `None` for `rejectUnauthorized: false`: encrypts, but accepts every certificate.
    pub(super) roots: Option<Roots>,
    pub(super) provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(roots) = &self.roots else {
            return Ok(ServerCertVerified::assertion());
        };
        let certificate = ParsedCertificate::try_from(end_entity)?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        let result = verify_server_cert_signed_by_trust_anchor(
            &certificate,
            &roots.store,
            intermediates,
            now,
            algorithms,
        );
        match result {
            // webpki checks the validity period before this, so the certificate has not expired.
            Err(error) if is_ca(&error) && roots.own.contains(end_entity) => {}
            result => result.map_err(|error| explain_issuer(error, end_entity, intermediates))?,
        }
        match verify_server_name(&certificate, server_name) {
            Err(_) if common_name_matches(end_entity, server_name) => {}
            result => result?,
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        if self.roots.is_none() {
            return Ok(HandshakeSignatureValid::assertion());
        }
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, cert, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        if self.roots.is_none() {
            return Ok(HandshakeSignatureValid::assertion());
        }
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

/// Returns true if webpki rejects a CA certificate as a server's certificate.
fn is_ca(error: &Error) -> bool {
    matches!(
        error,
        Error::InvalidCertificate(error)
            if webpki_error(error) == Some(&webpki::Error::CaUsedAsEndEntity)
    )
}

/// Describes a certificate whose issuer is not trusted, as OpenSSL distinguishes these cases.
fn explain_issuer(
    error: Error,
    end_entity: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
) -> Error {
    let unknown = Error::InvalidCertificate(CertificateError::UnknownIssuer);
    if error != unknown && !is_ca(&error) {
        return error;
    }
    let itself = "it is self-signed, and not in \"tls.ca\"";
    let other = "its issuer is not in \"tls.ca\", or not known to this system";
    let (reason, code) = if is_self_issued(end_entity) {
        (itself, "DEPTH_ZERO_SELF_SIGNED_CERT")
    } else if intermediates.iter().any(is_self_issued) {
        (other, "SELF_SIGNED_CERT_IN_CHAIN")
    } else if intermediates.is_empty() {
        (other, "UNABLE_TO_VERIFY_LEAF_SIGNATURE")
    } else {
        (other, "UNABLE_TO_GET_ISSUER_CERT_LOCALLY")
    };
    let cause = rejected(reason).with_code(code);
    Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(cause))))
}

/// Returns true if the issuer of a certificate is its own subject.
fn is_self_issued(certificate: &CertificateDer<'_>) -> bool {
    webpki::EndEntityCert::try_from(certificate)
        .is_ok_and(|certificate| certificate.issuer() == certificate.subject())
}

/// Returns true if the subject's common name matches the host, and the certificate has no DNS names in
/// `subjectAltName`.
fn common_name_matches(certificate: &CertificateDer<'_>, server_name: &ServerName<'_>) -> bool {
    let (ServerName::DnsName(host), Ok(certificate)) =
        (server_name, webpki::EndEntityCert::try_from(certificate))
    else {
        return false;
    };
    let host = host.as_ref().trim_end_matches('.');
    let names = common_names(certificate.subject()).unwrap_or_default();
    certificate.valid_dns_names().next().is_none()
        && names.into_iter().any(|name| name_matches(name, host))
}

/// Returns true if a name matches a host. A leading `*.` stands for exactly one label.
fn name_matches(name: &str, host: &str) -> bool {
    match name.strip_prefix("*.") {
        Some(domain) => host.split_once('.').is_some_and(|(label, rest)| {
            !label.is_empty() && domain.contains('.') && rest.eq_ignore_ascii_case(domain)
        }),
        None => name.eq_ignore_ascii_case(host),
    }
}

/// The OID of `commonName`, 2.5.4.3.
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];

/// Returns the common names in a subject: sets of type and value pairs.
fn common_names(subject: &[u8]) -> der::Result<Vec<&str>> {
    let mut names = Vec::new();
    for set in elements(subject)? {
        for pair in elements(set.value())? {
            let [kind, value] = elements(pair.value())?[..] else {
                continue;
            };
            let is_text = matches!(
                value.tag(),
                Tag::Utf8String | Tag::PrintableString | Tag::Ia5String
            );
            if is_text && kind.value() == COMMON_NAME {
                names.extend(str::from_utf8(value.value()));
            }
        }
    }
    Ok(names)
}

/// Returns the elements of a DER sequence or set.
fn elements(content: &[u8]) -> der::Result<Vec<AnyRef<'_>>> {
    let mut reader = SliceReader::new(content)?;
    let mut elements = Vec::new();
    while !reader.is_finished() {
        elements.push(reader.decode()?);
    }
    Ok(elements)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Encodes an element with less than 64 KB.
    fn element(tag: u8, content: &[u8]) -> Vec<u8> {
        let header = match content.len() {
            length @ ..0x80 => vec![tag, length as u8],
            length @ ..0x100 => vec![tag, 0x81, length as u8],
            length => vec![tag, 0x82, (length >> 8) as u8, length as u8],
        };
        [&header, content].concat()
    }

    /// Encodes a set of one pair.
    fn attribute(kind: &[u8], tag: u8, text: &str) -> Vec<u8> {
        let pair = [element(0x06, kind), element(tag, text.as_bytes())].concat();
        element(0x31, &element(0x30, &pair))
    }

    #[test]
    fn common_names_returns_those_of_the_subject_unless_it_is_truncated() {
        let long = "n".repeat(300);
        let subject = [
            attribute(&[0x55, 0x04, 0x0a], 0x0c, "an organization"),
            attribute(COMMON_NAME, 0x0c, "a.example"),
            attribute(COMMON_NAME, 0x13, &"m".repeat(200)),
            attribute(COMMON_NAME, 0x16, &long),
            // In UTF-16.
            attribute(COMMON_NAME, 0x1e, "\0x"),
        ];
        let names = common_names(&subject.concat()).map(|names| names.join(" "));
        assert_eq!(names, Ok(format!("a.example {} {long}", "m".repeat(200))));
        for end in 1..subject[0].len() {
            assert!(common_names(&subject[0][..end]).is_err());
        }
    }

    #[test]
    fn name_matches_accepts_a_wildcard_for_exactly_one_label() {
        assert!(name_matches("Redis.example", "redis.Example"));
        assert!(!name_matches("redis.example", "x.redis.example"));
        assert!(name_matches("*.redis.example", "a.redis.example"));
        for (name, host) in [
            ("*.redis.example", "redis.example"),
            ("*.redis.example", "a.b.redis.example"),
            ("*.redis.example", ".redis.example"),
            ("*.example", "redis.example"),
            ("*", "redis"),
            ("", "redis"),
        ] {
            assert!(!name_matches(name, host), "{name} {host}");
        }
    }
}
