//! Connection URLs, compared with the redis crate.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a fuzz target reports by a panic"
)]

use crate::options::{Address, ConnectionOptions, Node, Secret, parse_url};
use redis::{ConnectionAddr, IntoConnectionInfo};
use std::fmt::Write;

pub fn run(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    let options = parse_url(text);
    match &options {
        Ok(options) => compare(text, options),
        Err(error) => check_secrecy(text, &error.to_string()),
    }
    let mut parts = text.splitn(3, '\n');
    if let (Some(username), Some(password), Some(path)) = (parts.next(), parts.next(), parts.next())
    {
        round_trip(username, password, path);
    }
}

/// Compares options with those that the redis crate reads from the same URL, if both know it.
fn compare(text: &str, options: &ConnectionOptions) {
    let server = options.server_name();
    let Ok(info) = text.into_connection_info() else {
        return;
    };
    let redis = info.redis_settings();
    assert_eq!(options.database, redis.db(), "{server}");
    let filled = |text: Option<&str>| text.filter(|text| !text.is_empty()).map(str::to_owned);
    assert_eq!(options.username, filled(redis.username()));
    let password = options.password.as_ref().map(Secret::reveal);
    assert_eq!(filled(password), filled(redis.password()));
    match (&options.address, info.addr()) {
        (Address::Tcp(Node { host, port }), ConnectionAddr::Tcp(expected, expected_port)) => {
            // The redis crate leaves host names encoded.
            assert!(host == expected || expected.contains('%'), "{host}");
            assert_eq!(port, expected_port);
        }
        // The redis crate appends a slash to some paths; `round_trip` checks them.
        (Address::Unix { .. }, ConnectionAddr::Unix(_)) => {}
        (address, _) => panic!("{address:?} is of another kind"),
    }
}

/// Checks that an error does not contain the URL's password.
fn check_secrecy(text: &str, message: &str) {
    let Some((scheme, rest)) = text.split_once("://") else {
        return;
    };
    let Some((user, rest)) = rest.rsplit_once('@') else {
        return;
    };
    let Some((user, password)) = user.split_once(':') else {
        return;
    };
    if password.len() < 4 || !message.contains(password) {
        return;
    }
    // The text of the message, or the scheme, may contain it by chance.
    let without = format!("{scheme}://{user}:@{rest}");
    let other = parse_url(&without).err().map(|error| error.to_string());
    assert!(
        other.is_some_and(|other| other.contains(password)),
        "{message}"
    );
}

/// Checks that parts which are percent-encoded come back as they were.
fn round_trip(username: &str, password: &str, path: &str) {
    let text = format!("redis://{}:{}@h", encoded(username), encoded(password));
    let options = parse_url(&text).expect("a URL");
    assert_eq!(options.username.as_deref().unwrap_or(""), username);
    assert_eq!(
        options.password.as_ref().map_or("", Secret::reveal),
        password
    );
    if password.len() > 8 && !username.contains(password) {
        assert!(!format!("{options:?} {}", options.server_name()).contains(password));
    }
    let path = format!("/{path}");
    match parse_url(&format!("redis+unix:///{}", encoded(&path[1..]))) {
        Ok(options) => assert_eq!(options.address, Address::Unix { path }),
        // Dot segments are removed, even if they are percent-encoded: the URL standard.
        Err(_) => assert!(["/", "/.", "/.."].contains(&path.as_str()), "{path}"),
    }
}

/// Percent-encodes all but letters and digits, so that no parser changes anything.
fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() {
            encoded.push(byte.into());
        } else {
            let _ = write!(encoded, "%{byte:02x}");
        }
        encoded
    })
}
