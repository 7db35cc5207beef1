//! The causes of I/O errors: a message, and the code that Node has for the same failure.

use crate::cause::Cause;
use std::io::{self, ErrorKind};
use tokio_rustls::rustls::{self, AlertDescription, CertificateError, InvalidMessage};

impl From<&io::Error> for Cause {
    fn from(error: &io::Error) -> Self {
        let inner = error.get_ref();
        if let Some(cause) = inner.and_then(|inner| inner.downcast_ref::<Self>()) {
            return cause.clone();
        }
        match inner.and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(reason) => tls_cause(reason),
            None => system_cause(error),
        }
    }
}

impl From<io::Error> for Cause {
    fn from(error: io::Error) -> Self {
        Self::from(&error)
    }
}

/// Returns the cause of a failed system call: the system's message, with a code in place of the number.
fn system_cause(error: &io::Error) -> Cause {
    // TLS reports a connection that the server closed without notice.
    if error.kind() == ErrorKind::UnexpectedEof {
        return closed();
    }
    let text = error.to_string();
    let message = text.split_once(" (os error ").map_or(&*text, |(it, _)| it);
    let code = match error.kind() {
        ErrorKind::WriteZero => Some("EPIPE"),
        kind if error.raw_os_error().is_some() => system_code(kind),
        _ => None,
    };
    match code.or_else(|| file_limit_code(error)) {
        Some(code) => Cause::new(format!("{message} ({code})")).with_code(code),
        None => Cause::new(text),
    }
}

fn system_code(kind: ErrorKind) -> Option<&'static str> {
    Some(match kind {
        ErrorKind::AddrNotAvailable => "EADDRNOTAVAIL",
        ErrorKind::BrokenPipe => "EPIPE",
        ErrorKind::ConnectionAborted => "ECONNABORTED",
        ErrorKind::ConnectionRefused => "ECONNREFUSED",
        ErrorKind::ConnectionReset => "ECONNRESET",
        ErrorKind::HostUnreachable => "EHOSTUNREACH",
        ErrorKind::NetworkDown => "ENETDOWN",
        ErrorKind::NetworkUnreachable => "ENETUNREACH",
        ErrorKind::NotFound => "ENOENT",
        ErrorKind::OutOfMemory => "ENOMEM",
        ErrorKind::PermissionDenied => "EACCES",
        ErrorKind::TimedOut => "ETIMEDOUT",
        _ => return None,
    })
}

/// Returns the code of a process or system with too many open files, for which there is no kind.
fn file_limit_code(error: &io::Error) -> Option<&'static str> {
    match error.raw_os_error() {
        Some(23) if cfg!(unix) => Some("ENFILE"),
        Some(24) if cfg!(unix) => Some("EMFILE"),
        _ => None,
    }
}

/// Returns the cause of a connection that the server closed.
pub(super) fn closed() -> Cause {
    Cause::new("the server closed the connection").with_code("ECONNRESET")
}

/// Returns the cause of a failed lookup of a host name. The system's resolver reports a text only.
pub(super) fn lookup_cause(error: &io::Error) -> Cause {
    let text = error.to_string();
    let message = text.split_once(" (os error ").map_or(&*text, |(it, _)| it);
    /// Windows' code for a resolver that does not answer.
    const WSATRY_AGAIN: i32 = 11002;
    let is_temporary = ["Temporary failure", "Try again", "temporarily"]
        .iter()
        .any(|words| message.contains(words))
        || cfg!(windows) && error.raw_os_error() == Some(WSATRY_AGAIN);
    let code = if is_temporary {
        "EAI_AGAIN"
    } else {
        "ENOTFOUND"
    };
    Cause::new(format!("{message} ({code})")).with_code(code)
}

/// Returns the cause of a failed TLS handshake, with a hint at the fix.
fn tls_cause(error: &rustls::Error) -> Cause {
    match error {
        rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
            Cause::new("the server does not speak TLS on this port (does it expect redis://, without \"tls\"?)")
                .with_code("ERR_SSL_WRONG_VERSION_NUMBER")
        }
        rustls::Error::InvalidCertificate(reason) => certificate_cause(reason),
        rustls::Error::AlertReceived(alert) => alert_cause(*alert),
        rustls::Error::PeerIncompatible(_) => Cause::new(
            "the TLS handshake failed: the server supports none of the TLS versions, ciphers and signatures of this package",
        )
        .with_code("ERR_SSL_UNSUPPORTED_PROTOCOL"),
        rustls::Error::General(reason) => Cause::new(format!("the TLS handshake failed: {reason}")),
        _ => Cause::new("the TLS handshake failed: the server broke the protocol")
            .with_code("EPROTO"),
    }
}

/// Returns the cause of an alert that the server sent instead of completing the handshake.
fn alert_cause(alert: AlertDescription) -> Cause {
    let (reason, code) = match alert {
        AlertDescription::CertificateRequired => (
            "it requires a client certificate (\"tls.cert\" and \"tls.key\")",
            "ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED",
        ),
        AlertDescription::HandshakeFailure => (
            "it supports none of the ciphers and signatures, or requires a client certificate",
            "ERR_SSL_SSLV3_ALERT_HANDSHAKE_FAILURE",
        ),
        AlertDescription::ProtocolVersion => (
            "it does not support TLS 1.2 or 1.3",
            "ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION",
        ),
        AlertDescription::UnknownCA => (
            "it does not know the issuer of the client certificate",
            "ERR_SSL_TLSV1_ALERT_UNKNOWN_CA",
        ),
        AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateUnknown => (
            "it does not accept the client certificate",
            "ERR_SSL_SSLV3_ALERT_BAD_CERTIFICATE",
        ),
        AlertDescription::CertificateExpired => (
            "the client certificate has expired",
            "ERR_SSL_SSLV3_ALERT_CERTIFICATE_EXPIRED",
        ),
        AlertDescription::CertificateRevoked => (
            "the client certificate has been revoked",
            "ERR_SSL_SSLV3_ALERT_CERTIFICATE_REVOKED",
        ),
        AlertDescription::UnrecognisedName => (
            "it has no certificate for this host name",
            "ERR_SSL_TLSV1_UNRECOGNIZED_NAME",
        ),
        AlertDescription::InternalError => (
            "it reports an internal error",
            "ERR_SSL_TLSV1_ALERT_INTERNAL_ERROR",
        ),
        _ => ("it sent an alert", "EPROTO"),
    };
    Cause::new(format!("the server ended the TLS handshake: {reason}")).with_code(code)
}

/// Returns the cause of a server's certificate that was not accepted.
fn certificate_cause(error: &CertificateError) -> Cause {
    if let CertificateError::Other(other) = error
        && let Some(cause) = other.0.downcast_ref::<Cause>()
    {
        return cause.clone();
    }
    let (reason, code) = match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            ("it has expired".to_owned(), "CERT_HAS_EXPIRED")
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            ("it is not valid yet".to_owned(), "CERT_NOT_YET_VALID")
        }
        CertificateError::NotValidForNameContext { expected, .. } => (
            wrong_name(&expected.to_str()),
            "ERR_TLS_CERT_ALTNAME_INVALID",
        ),
        CertificateError::NotValidForName => (
            "it is not valid for this host".to_owned(),
            "ERR_TLS_CERT_ALTNAME_INVALID",
        ),
        CertificateError::BadSignature => (
            "its signature is invalid".to_owned(),
            "CERT_SIGNATURE_FAILURE",
        ),
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            ("it is not for servers".to_owned(), "INVALID_PURPOSE")
        }
        _ if webpki_error(error) == Some(&webpki::Error::UnsupportedCertVersion) => {
            ("its X.509 version is not 3".to_owned(), "CERT_REJECTED")
        }
        CertificateError::BadEncoding => ("it cannot be read".to_owned(), "CERT_REJECTED"),
        _ => ("it cannot be verified".to_owned(), "CERT_REJECTED"),
    };
    rejected(&reason).with_code(code)
}

/// Returns webpki's reason for rejecting a certificate, where rustls has no error of its own for it.
pub(super) fn webpki_error(error: &CertificateError) -> Option<&webpki::Error> {
    match error {
        CertificateError::Other(other) => other.0.downcast_ref(),
        _ => None,
    }
}

fn wrong_name(host: &str) -> String {
    format!(
        "it is not valid for the host \"{host}\" (set \"tls.servername\" to a name that it contains)"
    )
}

/// Returns the cause of a server's certificate that was not accepted for this reason.
pub(super) fn rejected(reason: &str) -> Cause {
    Cause::new(format!(
        "the server's certificate was not accepted: {reason}"
    ))
}

/// Returns the cause of a host that no certificate can be verified for.
pub(super) fn unverifiable_name() -> Cause {
    Cause::new("the host is not a name that TLS can verify (set \"tls.servername\")")
        .with_code("ERR_TLS_CERT_ALTNAME_INVALID")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};
    use std::sync::Arc;
    use tokio_rustls::rustls::pki_types::ServerName;

    fn parts(error: io::Error) -> (String, Option<&'static str>) {
        let cause = Cause::from(error);
        (cause.to_string(), cause.code())
    }

    #[test]
    fn the_cause_of_a_system_error_has_nodes_code_in_place_of_the_number() {
        let unused = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let refused = TcpStream::connect(unused.expect("an address")).expect_err("a closed port");
        let (message, code) = parts(refused);
        assert!(message.ends_with(" (ECONNREFUSED)"), "{message}");
        assert_eq!(code, Some("ECONNREFUSED"));
        for (error, code) in [
            (io::ErrorKind::WriteZero.into(), Some("EPIPE")),
            (io::ErrorKind::UnexpectedEof.into(), Some("ECONNRESET")),
            (io::Error::other("x (os error 9999)"), None),
            // Not the system's.
            (io::Error::new(ErrorKind::NotFound, "x"), None),
        ] {
            assert_eq!(parts(error).1, code);
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_codes_of_linux_are_nodes() {
        for (number, code) in [
            (24, "EMFILE"),
            (32, "EPIPE"),
            (99, "EADDRNOTAVAIL"),
            (104, "ECONNRESET"),
            (110, "ETIMEDOUT"),
            (113, "EHOSTUNREACH"),
        ] {
            assert_eq!(
                parts(io::Error::from_raw_os_error(number)).1,
                Some(code),
                "{number}"
            );
        }
    }

    #[test]
    fn lookups_fail_with_nodes_codes() {
        let cause = |text: &str| {
            let cause = lookup_cause(&io::Error::other(text));
            (cause.to_string(), cause.code())
        };
        let unknown = "failed to lookup address information: Name or service not known";
        let expected = (format!("{unknown} (ENOTFOUND)"), Some("ENOTFOUND"));
        assert_eq!(cause(unknown), expected);
        assert_eq!(
            cause("Temporary failure in name resolution").1,
            Some("EAI_AGAIN")
        );
    }

    #[test]
    fn causes_of_tls_contain_no_debug_output() {
        let name = ServerName::try_from("redis.example").expect("a name");
        let wrong_name = CertificateError::NotValidForNameContext {
            expected: name.to_owned(),
            presented: vec!["DnsName(\"other.example\")".to_owned()],
        };
        for (error, code) in [
            (
                rustls::Error::AlertReceived(AlertDescription::CertificateRequired),
                "ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED",
            ),
            (
                rustls::Error::AlertReceived(AlertDescription::Unknown(200)),
                "EPROTO",
            ),
            (
                rustls::Error::InvalidMessage(InvalidMessage::MessageTooLarge),
                "EPROTO",
            ),
            (
                rustls::Error::InvalidCertificate(wrong_name),
                "ERR_TLS_CERT_ALTNAME_INVALID",
            ),
            (
                rustls::Error::InvalidCertificate(CertificateError::Other(rustls::OtherError(
                    Arc::new(rejected("it is odd").with_code("CERT_REJECTED")),
                ))),
                "CERT_REJECTED",
            ),
        ] {
            let (message, found) = parts(io::Error::other(error));
            assert_eq!(found, Some(code), "{message}");
            for debug in ["MessageTooLarge", "Required", "Unknown", "DnsName", "Arc"] {
                assert!(!message.contains(debug), "{message}");
            }
        }
    }
}
