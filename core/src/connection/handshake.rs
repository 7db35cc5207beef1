//! What is said on a connection before it is used: who we are, which database, what else the server is to do.

use super::commands::{Access, Commands, Expect};
use super::failure::{Failure, FailureKind};
use super::link::Link;
use super::{Credentials, tls};
use crate::error::Error;
use crate::options::{Address, ConnectionOptions, Membership, Secret};
use redis::Value;
use std::mem;

const CLIENT_NAME: &str = concat!("connect-redis-native:", env!("CARGO_PKG_VERSION"));

/// What is said on a new connection. Some proxies hang up on commands that they do not know.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) enum Greeting {
    #[default]
    Full,
    /// Without `HELLO`: a password goes by `AUTH`.
    Older,
    /// Only what the connection cannot be used without, or a `PING`.
    Shortest,
}

/// A connection to an address that is ready to be used. Where the server hangs up, it is greeted with less.
/// `known` is the greeting that it accepted last.
pub(super) async fn establish(
    options: &ConnectionOptions,
    address: &Address,
    tls: Option<&tls::Client>,
    credentials: Option<&Credentials>,
    known: &mut Greeting,
) -> Result<Link, Failure> {
    let greet = |greeting| greet(options, address, tls, credentials, greeting);
    let first = mem::take(known);
    let mut outcome = greet(first).await;
    // A server of sentinels is no proxy, and must be asked for its role.
    if matches!(options.address, Address::Sentinel(_)) {
        return outcome;
    }
    for greeting in [Greeting::Older, Greeting::Shortest] {
        match &outcome {
            Err(failure) if matches!(failure.kind, FailureKind::HungUp) => {}
            _ => break,
        }
        outcome = greet(greeting).await;
        if outcome.is_ok() {
            // It may have hung up for another reason, such as its restart.
            let full = greet(Greeting::Full).await;
            // The cache needs what the shorter ones leave out.
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

async fn greet(
    options: &ConnectionOptions,
    address: &Address,
    tls: Option<&tls::Client>,
    credentials: Option<&Credentials>,
    greeting: Greeting,
) -> Result<Link, Failure> {
    let mut link = Link::open(address, tls).await?;
    let user = User::new(options, credentials);
    let set_up = SetUp::new(options, greeting);
    let replies = introduce(&mut link, options, &user, greeting, &set_up.commands).await?;
    set_up.check(&mut link, options, replies)?;
    Ok(link)
}

/// Says who we are and then the rest, whose replies it gives. In one go: each further exchange would cost the
/// network's time once more. RESP3, where the server has it.
async fn introduce(
    link: &mut Link,
    options: &ConnectionOptions,
    user: &User<'_>,
    greeting: Greeting,
    rest: &Commands,
) -> Result<Vec<Value>, Failure> {
    if greeting == Greeting::Full {
        let hello = user.hello();
        let mut replies = link.exchange(&hello.followed_by(rest)).await?;
        let others = replies.split_off(hello.len());
        let Some(refusal) = replies.first().and_then(|reply| refusal(options, reply)) else {
            return Ok(others);
        };
        if user.is_refused(&refusal) || refusal.is_passing() {
            return Err(Failure::replied(refusal));
        }
        if options.cache.is_some() {
            link.note_deaf(|| format!("it has no RESP3 ({refusal})"));
        }
    } else if options.cache.is_some() {
        link.note_deaf(|| "it hangs up on HELLO or CLIENT".to_owned());
    }
    // A server or a proxy that has no HELLO.
    let authentication = user.authentication();
    let mut replies = link.exchange(&authentication.followed_by(rest)).await?;
    let others = replies.split_off(authentication.len());
    check(options, &replies)?;
    Ok(others)
}

/// What is said on a connection after who we are.
struct SetUp {
    commands: Commands,
    /// How many of them, from the first, must succeed.
    required: usize,
    /// The places of those whose replies tell something.
    tracking: Option<usize>,
    role: Option<usize>,
}

impl SetUp {
    fn new(options: &ConnectionOptions, greeting: Greeting) -> Self {
        let mut commands = Commands::default();
        let mut ask = |expect, words: &[&[u8]]| {
            commands.add(Access::Write, expect, None, words);
            commands.len()
        };
        let mut say = |words: &[&[u8]]| ask(Expect::Okay, words);
        let mut required = 0;
        if options.database != 0 {
            required = say(&[b"SELECT", options.database.to_string().as_bytes()]);
        }
        if options.membership == Membership::Reader {
            required = say(&[b"READONLY"]);
        }
        if greeting == Greeting::Shortest {
            // Shows that the server answers, whatever it answers.
            ask(Expect::Any, &[b"PING"]);
            return Self {
                commands,
                required,
                tracking: None,
                role: None,
            };
        }
        // For whoever reads CLIENT LIST. Servers before 7.2 do not know SETINFO, and an ACL may forbid
        // both: the connection is as good without.
        say(&[b"CLIENT", b"SETNAME", CLIENT_NAME.as_bytes()]);
        for (attribute, value) in [
            ("LIB-NAME", "connect-redis-native"),
            ("LIB-VER", env!("CARGO_PKG_VERSION")),
        ] {
            say(&[
                b"CLIENT",
                b"SETINFO",
                attribute.as_bytes(),
                value.as_bytes(),
            ]);
        }
        let tracks = options.cache.is_some();
        let tracking = tracks.then(|| say(&[b"CLIENT", b"TRACKING", b"ON"]) - 1);
        // The sentinels may be ahead of the server, or behind.
        let is_watched = matches!(options.address, Address::Sentinel(_));
        let role = is_watched.then(|| ask(Expect::Array, &[b"ROLE"]) - 1);
        Self {
            commands,
            required,
            tracking,
            role,
        }
    }

    fn check(
        &self,
        link: &mut Link,
        options: &ConnectionOptions,
        replies: Vec<Value>,
    ) -> Result<(), Failure> {
        let reply = |place: Option<usize>| place.and_then(|at| replies.get(at));
        let tracking = reply(self.tracking).and_then(|reply| refusal(options, reply));
        if let Some(refusal) = tracking {
            if refusal.is_passing() {
                return Err(Failure::lost(refusal));
            }
            link.note_deaf(|| refusal.to_string());
        }
        if let Some(Value::Array(role)) = reply(self.role)
            && role.first() != Some(&Value::BulkString(b"master".to_vec()))
        {
            return Err(Failure::lost("it is not a primary, or not yet"));
        }
        check(options, &replies[..self.required.min(replies.len())])
    }
}

/// The error that a reply is, if it is one.
fn refusal(options: &ConnectionOptions, reply: &Value) -> Option<Error> {
    match reply {
        Value::ServerError(error) => {
            let server = options.server();
            Some(Error::from_reply(&server, error.code(), error.details()))
        }
        _ => None,
    }
}

/// The first error among the replies.
fn check(options: &ConnectionOptions, replies: &[Value]) -> Result<(), Failure> {
    let refusal = replies.iter().find_map(|reply| refusal(options, reply));
    refusal.map_or(Ok(()), |refusal| Err(Failure::replied(refusal)))
}

/// Who to be for the server.
pub(super) struct User<'a> {
    username: Option<&'a str>,
    password: Option<&'a Secret>,
}

impl<'a> User<'a> {
    /// What a function of the app gave goes before what the options say.
    pub(super) fn new(
        options: &'a ConnectionOptions,
        credentials: Option<&'a Credentials>,
    ) -> Self {
        match credentials {
            Some(given) => Self::of(given.username.as_deref(), given.password.as_ref()),
            None => Self::of(options.username.as_deref(), options.password.as_ref()),
        }
    }

    pub(super) fn of(username: Option<&'a str>, password: Option<&'a Secret>) -> Self {
        Self { username, password }
    }

    /// Returns true if the error to a `HELLO` says that the server does not let this user in. A proxy that does not
    /// read the password in it asks for one.
    fn is_refused(&self, refusal: &Error) -> bool {
        match refusal.reply() {
            "NOAUTH" => self.password.is_none(),
            "NOPERM" => false,
            _ => refusal.is_about_credentials(),
        }
    }

    fn hello(&self) -> Commands {
        let mut words: Vec<&[u8]> = vec![b"HELLO", b"3"];
        if let Some(password) = self.password {
            // The user that a password alone is for.
            let username = self.username.unwrap_or("default");
            words.extend([
                &b"AUTH"[..],
                username.as_bytes(),
                password.reveal().as_bytes(),
            ]);
        }
        Commands::of(Access::Write, Expect::Any, None, &words)
    }

    /// Empty where there is nobody to be.
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
    fn a_connection_begins_with_who_we_are() {
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
    fn given_credentials_go_first() {
        let options = crate::options::parse_url("redis://ann:pw@h").expect("a URL");
        let given = Credentials {
            username: None,
            password: Some(Secret::new("other".into())),
            expires_in: None,
        };
        let user = User::new(&options, Some(&given));
        assert_eq!(
            user.authentication().bytes(0),
            b"*2\r\n$4\r\nAUTH\r\n$5\r\nother\r\n"
        );
    }
}
