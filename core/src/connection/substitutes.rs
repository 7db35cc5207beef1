//! Substitutes for commands that a server does not support, or that an ACL, `rename-command` or a proxy denies.
//!
//! Each connection detects denied commands by itself: the first refused one is sent again as its substitute, and later
//! ones are replaced from the start.

use super::commands::Commands;
use redis::Value;

const MS_PER_SECOND: i64 = 1000;
/// `TTL` rounds to the nearest second. This is the most that it may have rounded off: no session ends early.
const ROUNDING_MS: i64 = 499;

/// A command and its replacement.
struct Substitute {
    denied: &'static [u8],
    replacement: &'static [u8],
    /// Converts the last argument.
    argument: fn(&[u8]) -> Vec<u8>,
    /// Converts the reply into that of the denied command.
    reply: fn(Value) -> Value,
}

/// A replacement with the same arguments and reply.
const fn same_form(denied: &'static [u8], replacement: &'static [u8]) -> Substitute {
    Substitute {
        denied,
        replacement,
        argument: <[u8]>::to_vec,
        reply: |value| value,
    }
}

const TABLE: [Substitute; 5] = [
    Substitute {
        reply: first_element,
        ..same_form(b"GET", b"MGET")
    },
    Substitute {
        reply: milliseconds,
        ..same_form(b"PTTL", b"TTL")
    },
    Substitute {
        argument: seconds,
        ..same_form(b"PEXPIRE", b"EXPIRE")
    },
    same_form(b"UNLINK", b"DEL"),
    same_form(b"DEL", b"UNLINK"),
];

/// Returns the element of an array of one.
fn first_element(value: Value) -> Value {
    match value {
        Value::Array(mut values) if values.len() == 1 => values.pop().unwrap_or(Value::Nil),
        value => value,
    }
}

/// Converts a reply in seconds to milliseconds.
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

/// Converts an argument in milliseconds to seconds. Rounds up: a session must not end early.
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
    /// All commands: no substitute is left to try.
    pub(super) const ALL: Self = Self(u8::MAX);

    pub(super) fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(super) fn add(&mut self, other: Self) {
        self.0 |= other.0;
    }

    /// Returns true if a connection that was lost during the command may have been closed because of its name. During a
    /// read or a deletion of a long value, it may have been lost because of the length.
    pub(super) fn may_be_hung_up_on(self) -> bool {
        let names = [&b"PTTL"[..], b"PEXPIRE", b"UNLINK"];
        let mut denied = (0..TABLE.len()).filter(|&index| self.contains(index));
        denied.any(|index| names.contains(&TABLE[index].denied))
    }

    /// Returns the substitutes in use, such as `EXPIRE for PEXPIRE`.
    pub(super) fn names(self) -> impl Iterator<Item = String> {
        let text = |name| String::from_utf8_lossy(name);
        let denied = TABLE
            .iter()
            .enumerate()
            .filter(move |(index, _)| self.contains(*index));
        denied.map(move |(_, substitute)| {
            format!(
                "{} for {}",
                text(substitute.replacement),
                text(substitute.denied)
            )
        })
    }

    fn contains(self, index: usize) -> bool {
        self.0 & (1 << index) != 0
    }

    /// Returns the command as a set of one, if its substitute has not been tried yet.
    pub(super) fn untried(self, commands: &Commands, at: usize) -> Option<Self> {
        let index = table_index(commands.name(at))?;
        (!self.contains(index)).then_some(Self(1 << index))
    }

    /// Returns the substitute of a denied command.
    fn substitute(self, commands: &Commands, at: usize) -> Option<&'static Substitute> {
        if self.is_empty() {
            return None;
        }
        let index = table_index(commands.name(at)).filter(|&index| self.contains(index))?;
        TABLE.get(index)
    }

    /// Returns the command to send in place of a denied one.
    pub(super) fn replace(self, commands: &Commands, at: usize) -> Option<Commands> {
        let substitute = self.substitute(commands, at)?;
        let mut words: Vec<&[u8]> = commands.words(at).map(|(word, _)| word).collect();
        let last = (substitute.argument)(words.pop()?);
        if let Some(name) = words.first_mut() {
            *name = substitute.replacement;
        }
        words.push(&last);
        let (access, expect) = (commands.access(at), commands.expect(at));
        Some(Commands::of(access, expect, Some(1), &words))
    }

    /// Converts the reply to a substitute into the reply to the denied command.
    pub(super) fn restore(self, commands: &Commands, at: usize, value: Value) -> Value {
        match self.substitute(commands, at) {
            Some(substitute) => (substitute.reply)(value),
            None => value,
        }
    }
}

fn table_index(name: &[u8]) -> Option<usize> {
    TABLE
        .iter()
        .position(|substitute| substitute.denied == name)
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
    fn replace_returns_the_substitute_of_a_denied_command_and_restore_converts_its_reply() {
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
    fn untried_and_replace_return_none_when_the_command_has_no_substitute() {
        let set = command(&[b"SET", b"k", b"v"]);
        assert_eq!(Denied::default().untried(&set, 0), None);
        assert!(Denied::ALL.replace(&set, 0).is_none());
    }
}
