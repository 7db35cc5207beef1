//! Connection URLs: `redis://`, `rediss://` (also `valkey://`, `valkeys://`) and `redis+unix://`, as in redis-cli,
//! node-redis and redis-rs; and for several servers `redis+sentinel://host,host/name` and `redis+cluster://host,host`,
//! both also with `rediss`.

use super::address::{Address, Cluster, DEFAULT_PORT, Node, SENTINEL_PORT, Sentinel};
use super::connection::ConnectionOptions;
use super::secret::Secret;
use super::tls::TlsOptions;
use crate::error::Error;
use ::url::{Host, Url};

fn malformed(expected: impl Into<String>) -> Error {
    Error::Option {
        field: "url",
        expected: expected.into(),
    }
}

/// Decodes percent-encoding. The error contains `part` but not `text`, which may be a password.
fn decode(text: &str, part: &str) -> Result<String, Error> {
    let undecodable = || malformed(format!("a URL whose {part} is percent-encoded UTF-8"));
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || rest.next().and_then(|c| char::from(c).to_digit(16));
        let (Some(high), Some(low)) = (digit(), digit()) else {
            return Err(undecodable());
        };
        // Two hexadecimal digits are at most 255.
        bytes.push((high * 16 + low) as u8);
    }
    String::from_utf8(bytes).map_err(|_| undecodable())
}

fn database(text: &str) -> Result<i64, Error> {
    text.parse::<u32>().map(i64::from).map_err(|_| {
        malformed("a URL whose database is a whole number from 0, such as redis://host:6379/0")
    })
}

fn non_empty(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

/// Parses a connection URL.
///
/// # Errors
/// [`Error::Option`], which names the part of the URL that is invalid and never quotes it.
pub fn parse_url(text: &str) -> Result<ConnectionOptions, Error> {
    let (scheme, rest) = text.split_once("://").unwrap_or((text, ""));
    let scheme = scheme.trim_start().to_ascii_lowercase();
    // Valkey's schemes are synonyms.
    let scheme = match scheme.strip_prefix("valkey") {
        Some(kind) => format!("redis{kind}"),
        None => scheme,
    };
    match scheme.as_str() {
        "redis+sentinel" | "rediss+sentinel" | "redis+cluster" | "rediss+cluster"
            if rest.contains(['?', '#']) =>
        {
            Err(malformed(
                "a URL without \"?\" and \"#\", which are to be written as %3F and %23",
            ))
        }
        "redis+sentinel" | "rediss+sentinel" => parse_sentinel(&scheme, rest),
        "redis+cluster" | "rediss+cluster" => parse_cluster(&scheme, rest),
        "redis" | "rediss" => parse_single(&format!("{scheme}://{rest}")),
        _ => parse_single(text),
    }
}

fn optional_database(text: &str) -> Result<i64, Error> {
    match text {
        "" => Ok(0),
        text => database(text),
    }
}

fn parse_sentinel(scheme: &str, rest: &str) -> Result<ConnectionOptions, Error> {
    let (nodes, path, options) = parse_hosts(scheme, rest, SENTINEL_PORT)?;
    let (name, database_text) = path.split_once('/').unwrap_or((path, ""));
    if name.is_empty() {
        return Err(malformed(
            "a URL with the name of the primary, such as redis+sentinel://host:26379/mymaster",
        ));
    }
    // Errors contain the name, and a "/" in a password would start it.
    if name.contains('@') {
        return Err(malformed(
            "a URL whose user, password and name of the primary are percent-encoded",
        ));
    }
    let sentinel = Sentinel {
        name: decode(name, "name of the primary")?,
        nodes,
        username: None,
        password: None,
        tls: None,
        nat_map: Vec::new(),
    };
    Ok(ConnectionOptions {
        address: Address::Sentinel(sentinel),
        database: optional_database(database_text)?,
        ..options
    })
}

fn parse_cluster(scheme: &str, rest: &str) -> Result<ConnectionOptions, Error> {
    let (nodes, path, options) = parse_hosts(scheme, rest, DEFAULT_PORT)?;
    let cluster = Cluster {
        nodes,
        nat_map: Vec::new(),
        reads_from_replicas: false,
    };
    Ok(ConnectionOptions {
        address: Address::Cluster(cluster),
        database: optional_database(path)?,
        ..options
    })
}

/// Parses `[user:password@]host[:port],host[:port]…[/path]`. Returns the nodes, the path, and the other options.
fn parse_hosts<'a>(
    scheme: &str,
    rest: &'a str,
    default_port: u16,
) -> Result<(Vec<Node>, &'a str, ConnectionOptions), Error> {
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (user, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
    let scheme = scheme.split('+').next().unwrap_or("redis");
    let mut nodes = Vec::new();
    let mut options = ConnectionOptions::default();
    for host in hosts.split(',') {
        if host.is_empty() {
            return Err(malformed(
                "a URL with a host, or several with commas between",
            ));
        }
        let has_port = host.rsplit(']').next().is_some_and(|end| end.contains(':'));
        let port = if has_port {
            String::new()
        } else {
            format!(":{default_port}")
        };
        options = parse_single(&format!("{scheme}://{user}@{host}{port}"))?;
        if let Address::Tcp(node) = &options.address {
            nodes.push(node.clone());
        }
    }
    Ok((nodes, path.trim_end_matches('/'), options))
}

fn parse_single(text: &str) -> Result<ConnectionOptions, Error> {
    let url = Url::parse(text)
        .map_err(|reason| malformed(format!("a URL such as redis://127.0.0.1:6379 ({reason})")))?;
    let mut options = ConnectionOptions {
        address: Address::Tcp(Node {
            host: "127.0.0.1".into(),
            port: url.port().unwrap_or(DEFAULT_PORT),
        }),
        username: non_empty(decode(url.username(), "user")?),
        password: url
            .password()
            .map(|password| decode(password, "password"))
            .transpose()?
            .and_then(non_empty)
            .map(Secret::new),
        ..ConnectionOptions::default()
    };
    // The parser would cut off a fragment, which may be a part of a path or password.
    if url.fragment().is_some() {
        return Err(malformed(
            "a URL without \"#\", which is to be written as %23",
        ));
    }
    match url.scheme() {
        "redis" | "rediss" => read_tcp(&url, &mut options)?,
        "redis+unix" | "unix" => read_unix(&url, &mut options)?,
        scheme => {
            // Without "//", the text before the colon may be the user name in a URL without a scheme.
            let found = match text.contains("://") {
                true => format!(", not {scheme}:"),
                false => String::new(),
            };
            return Err(malformed(format!(
                "a URL that begins with redis://, rediss://, redis+unix://, redis+sentinel:// or \
                 redis+cluster://{found}"
            )));
        }
    }
    // An ACL user with `nopass`: `AUTH` requires a password nevertheless.
    if options.username.is_some() && options.password.is_none() {
        options.password = Some(Secret::new(String::new()));
    }
    Ok(options)
}

/// Reads host, TLS and database.
fn read_tcp(url: &Url, options: &mut ConnectionOptions) -> Result<(), Error> {
    let is_accepted = |query: &str| matches!(query, "" | "family=0" | "family=4" | "family=6");
    // `family` is ignored: all addresses of a name are tried.
    if !url.query().is_none_or(is_accepted) {
        return Err(malformed(
            "a URL without parameters: the database is its path, such as redis://host:6379/5",
        ));
    }
    if url.scheme() == "rediss" {
        options.tls = Some(TlsOptions::default());
    }
    if let Some(host) = url.host() {
        let host = match host {
            Host::Ipv6(address) => address.to_string(),
            Host::Ipv4(address) => address.to_string(),
            Host::Domain(name) => decode(name, "host")?,
        };
        if let (false, Address::Tcp(node)) = (host.is_empty(), &mut options.address) {
            node.host = host;
        }
    }
    let path = url.path().trim_matches('/');
    if !path.is_empty() {
        options.database = database(path)?;
    }
    if url.port() == Some(0) {
        return Err(malformed("a URL whose port is from 1 to 65535"));
    }
    Ok(())
}

/// Reads the path of a socket and the parameters.
fn read_unix(url: &Url, options: &mut ConnectionOptions) -> Result<(), Error> {
    if url.host_str().is_some_and(|host| !host.is_empty()) {
        return Err(malformed(
            "a URL with an absolute path, such as redis+unix:///run/redis.sock",
        ));
    }
    let path = decode(url.path(), "path")?;
    if path.len() <= 1 {
        return Err(malformed(
            "a URL with the path of a socket, such as redis+unix:///run/redis.sock",
        ));
    }
    options.address = Address::Unix { path };
    for (name, value) in url.query_pairs() {
        match &*name {
            "db" => options.database = database(&value)?,
            "user" => options.username = non_empty(value.into_owned()),
            "pass" => options.password = non_empty(value.into_owned()).map(Secret::new),
            _ => {
                return Err(malformed(
                    "a URL with no other parameters than db, user and pass",
                ));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(text: &str) -> (String, u16, i64) {
        let options = parse_url(text).expect(text);
        match options.address {
            Address::Tcp(Node { host, port }) => (host, port, options.database),
            _ => panic!("{text} is not TCP"),
        }
    }

    #[test]
    fn tcp_urls_are_parsed_with_defaults() {
        assert_eq!(tcp("redis://h"), ("h".into(), 6379, 0));
        assert_eq!(tcp("redis://h:7000/3"), ("h".into(), 7000, 3));
        assert_eq!(tcp("redis://[::1]:7000"), ("::1".into(), 7000, 0));
        assert_eq!(tcp("redis://"), ("127.0.0.1".into(), 6379, 0));
        assert!(parse_url("rediss://h").expect("tls").tls.is_some());
        assert_eq!(tcp("valkey://h/2?family=0"), ("h".into(), 6379, 2));
        assert!(parse_url("VALKEYS://h").expect("tls").tls.is_some());
        let options = parse_url("valkeys+cluster://a,b").expect("a cluster");
        assert_eq!(options.server_name(), "rediss+cluster://a:6379,b:6379");
    }

    #[test]
    fn credentials_are_percent_decoded() {
        let options = parse_url("redis://an%40n:p%3Aw%2F@h").expect("credentials");
        assert_eq!(options.username.as_deref(), Some("an@n"));
        assert_eq!(options.password.expect("password").reveal(), "p:w/");
        for text in [
            "redis://ann@h",
            "redis://ann:@h",
            "redis+unix:///s?user=ann",
        ] {
            let options = parse_url(text).expect("a user alone");
            assert_eq!(options.username.as_deref(), Some("ann"));
            assert_eq!(options.password.expect("an empty password").reveal(), "");
        }
        let options = parse_url("redis://:only@h").expect("password alone");
        assert_eq!(options.username, None);
        assert!(options.password.is_some());
    }

    #[test]
    fn unix_socket_urls_are_parsed_with_their_parameters() {
        let options = parse_url("redis+unix:///run/r%20x.sock?db=4&user=u&pass=p").expect("socket");
        assert_eq!(
            options.address,
            Address::Unix {
                path: "/run/r x.sock".into()
            }
        );
        assert_eq!(options.database, 4);
        assert_eq!(options.username.as_deref(), Some("u"));
    }

    #[test]
    fn sentinel_and_cluster_urls_are_parsed_with_several_hosts() {
        let options = parse_url("rediss+sentinel://u:p@a,b:7000/my%20master/3").expect("sentinels");
        assert_eq!(
            options.server_name(),
            "rediss+sentinel://a:26379,b:7000/my master/3"
        );
        assert_eq!(options.username.as_deref(), Some("u"));
        let options = parse_url("redis+cluster://:p@[::1],b:7001").expect("a cluster");
        assert_eq!(options.server_name(), "redis+cluster://[::1]:6379,b:7001");
        assert!(options.password.is_some());
    }

    #[test]
    fn errors_of_malformed_urls_name_the_part_and_contain_no_secret() {
        for (text, part) in [
            ("localhost:6379", "redis://"),
            ("http://h", "http:"),
            ("not a url", "URL"),
            ("redis://:hunter2@h:99999", "port"),
            ("redis://:hunter2@h:0", "port"),
            ("redis://:hunter2@h/one", "database"),
            ("redis://:hunter2@h/-1", "database"),
            ("redis://:hunter2%zz@h", "password"),
            ("redis+sentinel://:hunter2@h:26379", "name"),
            ("redis+sentinel://:hunter2@h:26379/m/x", "database"),
            ("redis+cluster://:hunter2@h:99999", "port"),
            ("redis+cluster://:hunter2@h/one", "database"),
            ("redis+cluster://:hunter2@h,,i", "host"),
            ("redis+unix://", "path"),
            ("redis+unix:///s?color=red", "parameters"),
            ("redis://:hunter2@h?db=5", "parameters"),
            ("redis://h:6379/1?pass=hunter2", "parameters"),
            ("redis://h/1#hunter2", "#"),
            ("redis+unix:///s#hunter2", "#"),
            ("redis+sentinel://h/m?pass=hunter2", "?"),
            ("redis+cluster://h?pass=hunter2", "?"),
            ("redis+sentinel://ann:1/hunter2@h/m", "percent-encoded"),
            ("hunter2:6379", "redis://"),
        ] {
            let message = parse_url(text).expect_err(text).to_string();
            assert!(message.contains(part), "{text}: {message}");
            assert!(!message.contains("hunter2"), "{text}: {message}");
        }
    }
}
