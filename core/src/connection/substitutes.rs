//! Substitutes for commands that a server does not offer, or that an ACL, `rename-command` or a proxy keeps from us.
//!
//! Each connection finds out by itself which commands are denied: the first that is refused is sent again as its
//! substitute, and so is each later one from the start.

use super::commands::Commands;
use redis::Value;

const MS_PER_SECOND: i64 = 1000;
/// `TTL` rounds to the nearest second. The latest time that it may stand for ends no session early.
const ROUNDING_MS: i64 = 499;

struct Substitute {
    name: &'static [u8],
    by: &'static [u8],
    /// Converts the last argument.
    argument: fn(&[u8]) -> Vec<u8>,
    /// Converts the reply into that of the original.
    reply: fn(Value) -> Value,
}

const fn alike(name: &'static [u8], by: &'static [u8]) -> Substitute {
    Substitute {
        name,
        by,
        argument: <[u8]>::to_vec,
        reply: |value| value,
    }
}

const TABLE: [Substitute; 5] = [
    Substitute {
        reply: first,
        ..alike(b"GET", b"MGET")
    },
    Substitute {
        reply: milliseconds,
        ..alike(b"PTTL", b"TTL")
    },
    Substitute {
        argument: seconds,
        ..alike(b"PEXPIRE", b"EXPIRE")
    },
    alike(b"UNLINK", b"DEL"),
    alike(b"DEL", b"UNLINK"),
];

fn first(value: Value) -> Value {
    match value {
        Value::Array(mut values) if values.len() == 1 => values.pop().unwrap_or(Value::Nil),
        value => value,
    }
}

fn milliseconds(value: Value) -> Value {
    match value {
        Value::Int(seconds) if seconds >= 0 => Value::Int(
            seconds
                .saturating_mul(MS_PER_SECOND)
                .saturating_add(ROUNDING_MS),
        ),
        value => value,
    }
}

/// Rounds up: a session must not end early.
fn seconds(milliseconds: &[u8]) -> Vec<u8> {
    let milliseconds = std::str::from_utf8(milliseconds).ok();
    match milliseconds.and_then(|text| text.parse::<u64>().ok()) {
        Some(ms) => ms.div_ceil(MS_PER_SECOND as u64).to_string().into_bytes(),
        None => Vec::new(),
    }
}

/// A set of denied commands that have substitutes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Denied(u8);

impl Denied {
    /// All of them: none has a substitute that was not tried.
    pub(super) const ALL: Self = Self(u8::MAX);

    pub(super) fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(super) fn add(&mut self, other: Self) {
        self.0 |= other.0;
    }

    /// Returns true if a connection that was lost under the command was lost because of it. Under a read or a deletion of
    /// a long value, it may be lost for its length.
    pub(super) fn may_be_hung_up_on(self) -> bool {
        let names = [&b"PTTL"[..], b"PEXPIRE", b"UNLINK"];
        let mut denied = (0..TABLE.len()).filter(|&place| self.contains(place));
        denied.any(|place| names.contains(&TABLE[place].name))
    }

    fn contains(self, place: usize) -> bool {
        self.0 & (1 << place) != 0
    }

    /// Returns the command as a set, if it has a substitute that was not sent in its place.
    pub(super) fn untried(self, commands: &Commands, at: usize) -> Option<Self> {
        let place = place(commands.name(at))?;
        (!self.contains(place)).then_some(Self(1 << place))
    }

    fn substitute(self, commands: &Commands, at: usize) -> Option<&'static Substitute> {
        if self.is_empty() {
            return None;
        }
        let place = place(commands.name(at)).filter(|&place| self.contains(place))?;
        TABLE.get(place)
    }

    /// Returns the substitute to send in place of a command that is denied.
    pub(super) fn replace(self, commands: &Commands, at: usize) -> Option<Commands> {
        let substitute = self.substitute(commands, at)?;
        let mut words: Vec<&[u8]> = commands.words(at).map(|(word, _)| word).collect();
        let last = (substitute.argument)(words.pop()?);
        if let Some(name) = words.first_mut() {
            *name = substitute.by;
        }
        words.push(&last);
        let (access, expect) = (commands.access(at), commands.expect(at));
        Some(Commands::of(access, expect, Some(1), &words))
    }

    /// Converts the reply to what was sent in place of a command into the reply to that command.
    pub(super) fn restore(self, commands: &Commands, at: usize, value: Value) -> Value {
        match self.substitute(commands, at) {
            Some(substitute) => (substitute.reply)(value),
            None => value,
        }
    }
}

fn place(name: &[u8]) -> Option<usize> {
    TABLE.iter().position(|substitute| substitute.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::commands::{Access, Expect};

    fn command(words: &[&[u8]]) -> Commands {
        Commands::of(Access::Write, Expect::Any, Some(1), words)
    }

    fn text(commands: &Commands) -> String {
        let words = commands
            .words(0)
            .map(|(word, _)| String::from_utf8_lossy(word));
        words.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn denied_commands_are_replaced_and_their_replies_converted() {
        let list = |value| Value::Array(vec![value]);
        for (words, replaced, reply, restored) in [
            (
                &[&b"GET"[..], b"k"][..],
                "MGET k",
                list(Value::Okay),
                Value::Okay,
            ),
            (&[b"PTTL", b"k"], "TTL k", Value::Int(2), Value::Int(2499)),
            (&[b"PTTL", b"k"], "TTL k", Value::Int(-1), Value::Int(-1)),
            (
                &[b"PEXPIRE", b"k", b"1001"],
                "EXPIRE k 2",
                Value::Int(1),
                Value::Int(1),
            ),
            (
                &[b"UNLINK", b"a", b"b"],
                "DEL a b",
                Value::Int(2),
                Value::Int(2),
            ),
            (&[b"DEL", b"a"], "UNLINK a", Value::Int(1), Value::Int(1)),
        ] {
            let commands = command(words);
            let mut denied = Denied::default();
            assert!(denied.replace(&commands, 0).is_none());
            denied.add(denied.untried(&commands, 0).expect("a substitute"));
            assert_eq!(denied.untried(&commands, 0), None);
            let substitute = denied.replace(&commands, 0).expect("a substitute");
            assert_eq!(text(&substitute), replaced);
            assert_eq!(denied.restore(&commands, 0, reply), restored);
        }
    }

    #[test]
    fn other_commands_have_no_substitute() {
        let set = command(&[b"SET", b"k", b"v"]);
        assert_eq!(Denied::default().untried(&set, 0), None);
        assert!(Denied::ALL.replace(&set, 0).is_none());
    }
}
