//! Compare-and-set saves against a server that understands some of their commands.

use super::compare_and_set::CompareAndSet;
use super::stored::Stored;
use super::{Completion, Sessions, Write};
use crate::connection::{Commands, Origin, Reply, Runtime};
use crate::error::Error;
use crate::options::{Address, ConnectionOptions};
use redis::Value;
use std::sync::LazyLock;

/// Sessions on a connection that is never open.
static SESSIONS: LazyLock<Option<Sessions>> = LazyLock::new(|| {
    let path = "/nonexistent".to_owned();
    let options = ConnectionOptions {
        address: Address::Unix { path },
        ..ConnectionOptions::default()
    };
    let lease = Runtime::shared().ok()?.lease(options, 0);
    Some(Sessions::new(lease, "", 1))
});

const DENIED: &str = "User app has no permissions to run the 'evalsha' command";

/// A server with one key. The flags say what it supports.
struct Server {
    stored: Option<Vec<u8>>,
    has_ifeq: bool,
    has_script: bool,
    runs_evalsha: bool,
    runs_eval: bool,
}

impl Server {
    /// Executes a command: returns the reply, and whether it stored.
    fn execute(&mut self, commands: &Commands) -> (Reply, bool) {
        let command = redis::parse_redis_value(commands.bytes(0));
        let Ok(Value::Array(words)) = command else {
            return (refused("ERR", "Protocol error"), false);
        };
        let words = words.iter().map(|word| match word {
            Value::BulkString(word) => word.as_slice(),
            _ => b"",
        });
        let words: Vec<_> = words.collect();
        let (value, expected) = match words[..] {
            [b"SET", _, value, b"NX", ..] => (value, None),
            [b"SET", ..] if !self.has_ifeq => return (refused("ERR", "syntax error"), false),
            [b"SET", _, value, b"IFEQ", expected, ..] => (value, Some(expected)),
            [b"EVALSHA", ..] if !self.runs_evalsha => return (refused("NOPERM", DENIED), false),
            [b"EVALSHA", ..] if !self.has_script => return (refused("NOSCRIPT", "no"), false),
            [b"EVAL", ..] if !self.runs_eval => return (refused("NOPERM", DENIED), false),
            [
                b"EVALSHA" | b"EVAL",
                _,
                b"1",
                _,
                value,
                _,
                ref expected @ ..,
            ] => {
                self.has_script = true;
                (value, expected.first().copied())
            }
            _ => return (refused("ERR", "unknown command"), false),
        };
        let previous = self.stored.clone();
        let stores = previous.as_deref() == expected;
        if stores {
            self.stored = Some(value.to_vec());
        }
        let previous = previous.map_or(Value::Nil, Value::BulkString);
        let reply = match words[0] {
            b"SET" => previous,
            _ if stores => Value::Array(Vec::new()),
            _ => previous,
        };
        (Ok(reply), stores)
    }
}

fn refused(code: &str, message: &str) -> Reply {
    Err(Error::from_reply("redis://h", code, Some(message)))
}

/// The first byte of the input has the server's abilities, the lines after it the stored text, the expected one, the new
/// one, and a reply of a server that is out of its mind.
pub fn run(input: &[u8]) {
    let (Some((&flags, rest)), Some(sessions)) = (input.split_first(), &*SESSIONS) else {
        return;
    };
    let is = |bit: u8| flags >> bit & 1 != 0;
    let mut lines = rest.splitn(4, |&byte| byte == b'\n');
    let mut line = || lines.next().unwrap_or_default();
    let (stored, base, value, reply) = (line(), line(), line(), line());
    let ttl = is(6).then_some(1000);
    let (key, is_new) = (&b"k"[..], is(5));
    let text = Stored {
        key,
        value,
        base,
        ttl,
    };
    let write = if is_new {
        Write::SetNew
    } else {
        Write::SetIfEqual
    };
    let save = || CompareAndSet::new(sessions, &text, write, None);

    let mut server = Server {
        stored: is(0).then(|| stored.to_vec()),
        has_ifeq: is(1),
        has_script: is(2),
        runs_evalsha: is(3),
        runs_eval: is(4),
    };
    let before = server.stored.clone();
    let matches = before.as_deref() == (!is_new).then_some(base);
    let mut attempt = save();
    let mut completion = None;
    let mut has_stored = false;
    // The three commands that there are, one after the other.
    for _ in 0..3 {
        let mut commands = Commands::default();
        attempt.add_to(&mut commands);
        let (reply, stores) = server.execute(&commands);
        has_stored |= stores;
        completion = attempt.on_reply(sessions, reply, Origin::default());
        if completion.is_some() {
            break;
        }
    }
    assert!(completion.is_some(), "a fourth command");
    match completion {
        Some(Completion::Done) => assert!(has_stored && matches),
        Some(Completion::Conflict(text)) => assert!(!has_stored && Some(text) == before),
        Some(Completion::Missing) => assert!(!has_stored && before.is_none()),
        other => {
            assert!(matches!(other, Some(Completion::Failed(..))));
            assert!(!has_stored && !server.runs_eval);
        }
    }

    // Any reply leads to a completion or to the next command.
    if let Ok(value) = redis::parse_redis_value(reply) {
        let stores = matches!(value, Value::Nil | Value::BulkString(_) | Value::Array(_));
        let completion = save().on_reply(sessions, Ok(value), Origin::default());
        assert!(stores || matches!(completion, Some(Completion::Failed(..))));
    }
}
