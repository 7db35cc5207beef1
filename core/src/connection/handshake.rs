//! The handshake: authenticates, selects the database and sets up the connection before it serves.

use super::commands::{Access, Commands, Expect};
use super::counters::PeerInfo;
use super::failure::{Failure, FailureKind};
use super::handle::Credentials;
use super::link::{Dialer, Link};
use crate::cause::Cause;
use crate::error::Error;
use crate::options::{Address, ConnectionOptions, Membership, Secret};
use redis::Value;
use std::mem;

const CLIENT_NAME: &str = concat!("connect-redis-native:", env!("CARGO_PKG_VERSION"));

/// The extent of the handshake. Some proxies close the connection when they receive a command that they do not know.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) enum Greeting {
    #[default]
    Full,
    /// Without `HELLO`: a password is sent with `AUTH`.
    Older,
    /// Only the commands that are indispensable, and a `PING`.
    Shortest,
}

/// Opens a link to an address and completes the handshake. If the server hangs up, retries with a shorter one.
/// `known` is the handshake that the server accepted last.
pub(super) async fn establish(
    options: &ConnectionOptions,
    address: &Address,
    dialer: &Dialer,
    credentials: Option<&Credentials>,
    known: &mut Greeting,
) -> Result<Link, Failure> {
    let connect = |greeting| connect(options, address, dialer, credentials, greeting);
    let first = mem::take(known);
    let mut outcome = connect(first).await;
    // A server behind sentinels is not a proxy, and its role must be checked.
    if matches!(options.address, Address::Sentinel(_)) {
        return outcome;
    }
    for greeting in [Greeting::Older, Greeting::Shortest] {
        match &outcome {
            Err(failure) if matches!(failure.kind, FailureKind::HungUp) => {}
            _ => break,
        }
        outcome = connect(greeting).await;
        if outcome.is_ok() {
            // The server may have hung up for another reason, such as a restart.
            let full = connect(Greeting::Full).await;
            // The cache needs commands that the shorter handshakes omit.
            if full.is_err() && options.cache.is_none() {
                *known = greeting;
            }
            return full.or(outcome);
        }
    }
    if outcome.is_ok() {
        *known = first;
    }
    outcome
}

/// Opens a link and performs one handshake on it.
async fn connect(
    options: &ConnectionOptions,
    address: &Address,
    dialer: &Dialer,
    credentials: Option<&Credentials>,
    greeting: Greeting,
) -> Result<Link, Failure> {
    let mut link = dialer.open(address).await?;
    let user = User::new(options, credentials);
    let setup = Setup::new(options, greeting);
    let replies = authenticate(&mut link, options, &user, greeting, &setup.commands).await?;
    setup.check(&mut link, options, replies)?;
    Ok(link)
}

/// Authenticates, sends `rest`, and returns the replies to `rest`. Sends everything in one round trip. Uses RESP3 if
/// the server supports it.
async fn authenticate(
    link: &mut Link,
    options: &ConnectionOptions,
    user: &User<'_>,
    greeting: Greeting,
    rest: &Commands,
) -> Result<Vec<Value>, Failure> {
    if greeting == Greeting::Full {
        let hello = user.hello();
        let mut replies = link.exchange(&hello.concat(rest)).await?;
        let rest_replies = replies.split_off(hello.len());
        let Some(refusal) = replies.first().and_then(|reply| refusal(options, reply)) else {
            link.set_peer(replies.first().map(PeerInfo::from_hello));
            return Ok(rest_replies);
        };
        if user.is_refused(&refusal) || refusal.is_transient() {
            return Err(Failure::replied(refusal));
        }
        if options.cache.is_some() {
            link.set_tracking_failure(|| {
                Cause::from(&refusal)
                    .map_message(|reason| format!("the server does not support RESP3 ({reason})"))
            });
        }
    } else if options.cache.is_some() {
        link.set_tracking_failure(|| "the server closes the connection on HELLO or CLIENT".into());
    }
    // Falls back to AUTH: the server or the proxy does not know HELLO.
    let authentication = user.authentication();
    let mut replies = link.exchange(&authentication.concat(rest)).await?;
    let rest_replies = replies.split_off(authentication.len());
    check(options, &replies)?;
    Ok(rest_replies)
}

/// The commands of the handshake after authentication.
struct Setup {
    commands: Commands,
    /// The number of leading commands that must succeed.
    required: usize,
    /// The index of `CLIENT TRACKING`.
    tracking: Option<usize>,
    /// The index of `ROLE`.
    role: Option<usize>,
}

impl Setup {
    fn new(options: &ConnectionOptions, greeting: Greeting) -> Self {
        let mut commands = Commands::default();
        let mut add = |expect, words: &[&[u8]]| {
            commands.add(Access::Write, expect, None, words);
            commands.len()
        };
        let mut add_okay = |words: &[&[u8]]| add(Expect::Okay, words);
        let mut required = 0;
        if options.database != 0 {
            required = add_okay(&[b"SELECT", options.database.to_string().as_bytes()]);
        }
        if options.membership == Membership::Reader {
            required = add_okay(&[b"READONLY"]);
        }
        if greeting == Greeting::Shortest {
            // Any reply shows that the server answers.
            add(Expect::Any, &[b"PING"]);
            return Self {
                commands,
                required,
                tracking: None,
                role: None,
            };
        }
        // Identifies the connection in CLIENT LIST. Servers before 7.2 do not know SETINFO, and an ACL may forbid both:
        // errors are ignored.
        add_okay(&[b"CLIENT", b"SETNAME", CLIENT_NAME.as_bytes()]);
        for (attribute, value) in [
            ("LIB-NAME", "connect-redis-native"),
            ("LIB-VER", env!("CARGO_PKG_VERSION")),
        ] {
            add_okay(&[
                b"CLIENT",
                b"SETINFO",
                attribute.as_bytes(),
                value.as_bytes(),
            ]);
        }
        let tracks = options.cache.is_some();
        let tracking = tracks.then(|| add_okay(&[b"CLIENT", b"TRACKING", b"ON"]) - 1);
        // The sentinels may know of a failover sooner or later than the server.
        let has_sentinels = matches!(options.address, Address::Sentinel(_));
        let role = has_sentinels.then(|| add(Expect::Array, &[b"ROLE"]) - 1);
        Self {
            commands,
            required,
            tracking,
            role,
        }
    }

    /// Checks the replies to the commands.
    fn check(
        &self,
        link: &mut Link,
        options: &ConnectionOptions,
        replies: Vec<Value>,
    ) -> Result<(), Failure> {
        let reply = |index: Option<usize>| index.and_then(|at| replies.get(at));
        let tracking = reply(self.tracking).and_then(|reply| refusal(options, reply));
        if let Some(refusal) = tracking {
            if refusal.is_transient() {
                return Err(Failure::lost(refusal));
            }
            link.set_tracking_failure(|| refusal.into());
        }
        if let Some(Value::Array(role)) = reply(self.role)
            && role.first() != Some(&Value::BulkString(b"master".to_vec()))
        {
            return Err(Failure::lost("the server is not a primary, or not yet"));
        }
        check(options, &replies[..self.required.min(replies.len())])
    }
}

/// Returns the error of an error reply.
fn refusal(options: &ConnectionOptions, reply: &Value) -> Option<Error> {
    match reply {
        Value::ServerError(error) => {
            let server = options.server();
            Some(Error::from_reply(&server, error.code(), error.details()))
        }
        _ => None,
    }
}

/// Fails with the first error reply, if there is one.
fn check(options: &ConnectionOptions, replies: &[Value]) -> Result<(), Failure> {
    let refusal = replies.iter().find_map(|reply| refusal(options, reply));
    refusal.map_or(Ok(()), |refusal| Err(Failure::replied(refusal)))
}

/// The user to authenticate as.
pub(super) struct User<'a> {
    username: Option<&'a str>,
    password: Option<&'a Secret>,
}

impl<'a> User<'a> {
    /// Returns the user of the credentials, or else that of the options.
    pub(super) fn new(
        options: &'a ConnectionOptions,
        credentials: Option<&'a Credentials>,
    ) -> Self {
        match credentials {
            Some(own) => Self::of(own.username.as_deref(), own.password.as_ref()),
            None => Self::of(options.username.as_deref(), options.password.as_ref()),
        }
    }

    pub(super) fn of(username: Option<&'a str>, password: Option<&'a Secret>) -> Self {
        Self { username, password }
    }

    /// Returns true if the error reply to `HELLO` means that the server refuses this user. A proxy that ignores the
    /// password in `HELLO` replies with `NOAUTH`, which is no refusal.
    fn is_refused(&self, refusal: &Error) -> bool {
        match refusal.reply() {
            Some("NOAUTH") => self.password.is_none(),
            Some("NOPERM") => false,
            _ => refusal.is_about_credentials(),
        }
    }

    /// Returns the `HELLO` command, with the credentials.
    fn hello(&self) -> Commands {
        let mut words: Vec<&[u8]> = vec![b"HELLO", b"3"];
        if let Some(password) = self.password {
            // A password without a username is that of the default user.
            let username = self.username.unwrap_or("default");
            words.extend([
                &b"AUTH"[..],
                username.as_bytes(),
                password.reveal().as_bytes(),
            ]);
        }
        Commands::of(Access::Write, Expect::Any, None, &words)
    }

    /// Returns the `AUTH` command; no command without a password.
    pub(super) fn authentication(&self) -> Commands {
        let Some(password) = self.password else {
            return Commands::default();
        };
        let mut words: Vec<&[u8]> = vec![b"AUTH"];
        words.extend(self.username.map(str::as_bytes));
        words.push(password.reveal().as_bytes());
        Commands::of(Access::Write, Expect::Okay, None, &words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hello_and_auth_contain_the_credentials_of_the_url() {
        let text = |commands: &Commands| String::from_utf8_lossy(commands.bytes(0)).into_owned();
        let options = crate::options::parse_url("redis://ann:pw@h/3").expect("a URL");
        let user = User::new(&options, None);
        assert_eq!(
            text(&user.hello()),
            "*5\r\n$5\r\nHELLO\r\n$1\r\n3\r\n$4\r\nAUTH\r\n$3\r\nann\r\n$2\r\npw\r\n"
        );
        assert_eq!(
            text(&user.authentication()),
            "*3\r\n$4\r\nAUTH\r\n$3\r\nann\r\n$2\r\npw\r\n"
        );
        let options = crate::options::parse_url("redis://h").expect("a URL");
        let user = User::new(&options, None);
        assert_eq!(text(&user.hello()), "*2\r\n$5\r\nHELLO\r\n$1\r\n3\r\n");
        assert!(user.authentication().is_empty());
    }

    #[test]
    fn user_prefers_credentials_to_the_options() {
        let options = crate::options::parse_url("redis://ann:pw@h").expect("a URL");
        let credentials = Credentials {
            username: None,
            password: Some(Secret::new("other".into())),
            expires_in: None,
        };
        let user = User::new(&options, Some(&credentials));
        assert_eq!(
            user.authentication().bytes(0),
            b"*2\r\n$4\r\nAUTH\r\n$5\r\nother\r\n"
        );
    }
}
