//! Redis commands, encoded once, also if they are sent several times.

use super::pin::LinkPin;
use redis::Value;
use std::fmt;
use std::ops::Range;

/// The effect of a command on its key. Only reads may go to a replica, and no command may overtake a write that is to
/// be retried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    Write,
}

/// The type of a command's reply, apart from errors. Any other type means that commands and replies are out of step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expect {
    Any,
    /// `OK`, or nil if the command did nothing.
    Okay,
    Integer,
    /// A bulk string or nil.
    Text,
    Array,
}

/// A command within the encoded bytes.
#[derive(Clone, Debug)]
struct Command {
    bytes: Range<usize>,
    /// Empty if the command has no key.
    key: Range<usize>,
    access: Access,
    expect: Expect,
    /// True if the command belongs to the operation of the command before it.
    is_companion: bool,
}

/// A sequence of commands in RESP. Each has at most one key, and so one slot in a cluster.
#[derive(Clone, Default)]
pub(crate) struct Commands {
    bytes: Vec<u8>,
    list: Vec<Command>,
    /// The pin that ties the commands to a link.
    pin: Option<LinkPin>,
}

impl Commands {
    /// Creates an empty sequence with capacity for a number of commands and their bytes.
    pub(crate) fn with_capacity(commands: usize, bytes: usize) -> Self {
        Self {
            bytes: Vec::with_capacity(bytes),
            list: Vec::with_capacity(commands),
            pin: None,
        }
    }

    /// Ties the commands to the link of `pin`. In a cluster, they must be sent over a node's own connection.
    pub(crate) fn pin_to(&mut self, pin: &LinkPin) {
        self.pin = Some(pin.clone());
    }

    /// Returns true if this link may send the commands.
    pub(super) fn may_use(&self, link: u64) -> bool {
        self.pin.as_ref().is_none_or(|pin| pin.admits(link))
    }

    /// Creates a sequence of one command.
    pub(crate) fn of(
        access: Access,
        expect: Expect,
        key_at: Option<usize>,
        words: &[&[u8]],
    ) -> Self {
        let mut commands = Self::default();
        commands.add(access, expect, key_at, words);
        commands
    }

    /// Adds a command; `key_at` is the index of its key in `words`.
    pub(crate) fn add(
        &mut self,
        access: Access,
        expect: Expect,
        key_at: Option<usize>,
        words: &[&[u8]],
    ) {
        let start = self.bytes.len();
        let mut key = start..start;
        self.add_length(b'*', words.len());
        for (at, word) in words.iter().enumerate() {
            self.add_length(b'$', word.len());
            let word_start = self.bytes.len();
            self.bytes.extend_from_slice(word);
            if key_at == Some(at) {
                key = word_start..self.bytes.len();
            }
            self.bytes.extend_from_slice(b"\r\n");
        }
        self.list.push(Command {
            bytes: start..self.bytes.len(),
            key,
            access,
            expect,
            is_companion: false,
        });
    }

    /// Adds a command that belongs to the operation of the command before it.
    pub(crate) fn add_companion(
        &mut self,
        access: Access,
        expect: Expect,
        key_at: Option<usize>,
        words: &[&[u8]],
    ) {
        self.add(access, expect, key_at, words);
        if let Some(command) = self.list.last_mut() {
            command.is_companion = true;
        }
    }

    /// Returns true if the command is the first of an operation.
    pub(super) fn is_operation(&self, command: usize) -> bool {
        let command = self.list.get(command);
        command.is_some_and(|command| !command.is_companion)
    }

    /// Counts the operations that start with one of these commands.
    pub(super) fn operations(&self, commands: impl IntoIterator<Item = usize>) -> usize {
        let commands = commands.into_iter();
        commands.filter(|&at| self.is_operation(at)).count()
    }

    /// Returns the number of commands in the first `operations` operations.
    pub(super) fn len_of_first(&self, operations: usize) -> usize {
        let mut starts = self
            .list
            .iter()
            .enumerate()
            .filter(|(_, command)| !command.is_companion);
        starts.nth(operations).map_or(self.list.len(), |(at, _)| at)
    }

    /// Adds a copy of a command of `other`.
    pub(super) fn copy(&mut self, other: &Self, command: usize) {
        let Some(source) = other.list.get(command) else {
            return;
        };
        let start = self.bytes.len();
        self.bytes
            .extend_from_slice(&other.bytes[source.bytes.clone()]);
        let moved = |position: usize| position - source.bytes.start + start;
        self.list.push(Command {
            bytes: start..self.bytes.len(),
            key: moved(source.key.start)..moved(source.key.end),
            ..source.clone()
        });
    }

    /// Returns these commands, followed by those of `other`.
    pub(super) fn concat(&self, other: &Self) -> Self {
        let mut all = self.clone();
        for command in 0..other.len() {
            all.copy(other, command);
        }
        all
    }

    /// Returns the key of a command, or `None` if it has none.
    pub(super) fn key(&self, command: usize) -> Option<&[u8]> {
        let key = self.list.get(command)?.key.clone();
        (!key.is_empty()).then(|| &self.bytes[key])
    }

    /// Returns the first word of a command.
    pub(super) fn name(&self, command: usize) -> &[u8] {
        self.words(command).next().map_or(&[], |(name, _)| name)
    }

    /// Iterates over the words of a command. The flag marks the key.
    pub(super) fn words(&self, command: usize) -> impl Iterator<Item = (&[u8], bool)> {
        let (mut at, end, key) = match self.list.get(command) {
            Some(command) => (command.bytes.start, command.bytes.end, command.key.clone()),
            None => (0, 0, 0..0),
        };
        // Skips the number of words.
        at += self.length_at(at).1;
        std::iter::from_fn(move || {
            if at >= end {
                return None;
            }
            let (length, head) = self.length_at(at);
            let start = at + head;
            at = start + length + 2;
            let is_key = !key.is_empty() && key.start == start;
            Some((self.bytes.get(start..start + length)?, is_key))
        })
    }

    /// Returns the number in a line such as `$5`, and the length of the line, including its end.
    fn length_at(&self, at: usize) -> (usize, usize) {
        let digits = self.bytes.iter().skip(at + 1);
        let (mut number, mut length) = (0, 3);
        for digit in digits.take_while(|byte| byte.is_ascii_digit()) {
            number = 10 * number + usize::from(digit - b'0');
            length += 1;
        }
        (number, length)
    }

    /// Adds a line such as `$5`.
    fn add_length(&mut self, kind: u8, count: usize) {
        self.bytes.push(kind);
        // `write!` takes longer than the rest of a short command.
        self.bytes
            .extend_from_slice(itoa::Buffer::new().format(count).as_bytes());
        self.bytes.extend_from_slice(b"\r\n");
    }

    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Returns the encoded bytes of all commands.
    pub(super) fn all_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns the encoded bytes of a command.
    pub(crate) fn bytes(&self, command: usize) -> &[u8] {
        self.list
            .get(command)
            .map_or(&[], |command| &self.bytes[command.bytes.clone()])
    }

    /// Returns true if a value can be the reply to a command.
    pub(super) fn expects(&self, command: usize, value: &Value) -> bool {
        let expect = self
            .list
            .get(command)
            .map_or(Expect::Any, |command| command.expect);
        match (expect, value) {
            (Expect::Any, _) | (_, Value::ServerError(_)) => true,
            (Expect::Okay, value) => matches!(value, Value::Okay | Value::Nil),
            (Expect::Integer, value) => matches!(value, Value::Int(_)),
            (Expect::Text, value) => matches!(value, Value::BulkString(_) | Value::Nil),
            (Expect::Array, value) => matches!(value, Value::Array(_)),
        }
    }

    /// Converts a reply to the type that Redis uses: some servers reply to a `GET` with a simple string. `OK` and
    /// `PONG` stay as they are, since they are replies to other commands.
    pub(super) fn normalized(&self, command: usize, value: Value) -> Value {
        match value {
            Value::SimpleString(text)
                if !text.is_empty() && text != "PONG" && self.name(command) == b"GET" =>
            {
                Value::BulkString(text.into_bytes())
            }
            value => value,
        }
    }

    pub(super) fn expect(&self, command: usize) -> Expect {
        self.list
            .get(command)
            .map_or(Expect::Any, |command| command.expect)
    }

    pub(super) fn access(&self, command: usize) -> Access {
        self.list
            .get(command)
            .map_or(Access::Read, |command| command.access)
    }
}

impl fmt::Debug for Commands {
    /// Writes the number of commands only: the commands contain session ids and sessions.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} commands", self.list.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn add_encodes_commands_as_arrays_of_bulk_strings() {
        let mut commands = Commands::default();
        commands.add(Access::Read, Expect::Text, Some(1), &[b"GET", b"k"]);
        commands.add(Access::Write, Expect::Okay, Some(1), &[b"SET", b"key", b""]);
        assert_eq!(commands.len(), 2);
        assert_eq!(commands.bytes(0), b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n");
        assert_eq!(
            commands.bytes(1),
            b"*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$0\r\n\r\n"
        );
        assert_eq!(commands.access(1), Access::Write);
        assert_eq!(commands.key(1), Some(&b"key"[..]));
        let words: Vec<_> = commands.words(1).collect();
        assert_eq!(words, [(&b"SET"[..], false), (b"key", true), (b"", false)]);
        let mut copy = Commands::default();
        copy.copy(&commands, 1);
        assert_eq!(copy.bytes(0), commands.bytes(1));
        assert_eq!(copy.key(0), commands.key(1));
        assert!(!format!("{commands:?}").contains("key"));
    }

    #[test]
    fn operations_counts_a_companion_with_the_command_before_it() {
        let mut commands = Commands::default();
        for _ in 0..2 {
            commands.add(Access::Read, Expect::Text, Some(1), &[b"GET", b"k"]);
            commands.add_companion(Access::Read, Expect::Integer, Some(1), &[b"PTTL", b"k"]);
        }
        assert_eq!(commands.operations(0..4), 2);
        assert_eq!(commands.operations([1, 2, 3]), 1);
        assert_eq!(
            [0, 1, 2].map(|count| commands.len_of_first(count)),
            [0, 2, 4]
        );
    }

    #[test]
    fn expects_accepts_only_the_reply_types_of_the_command() {
        let commands = Commands::of(Access::Read, Expect::Text, Some(1), &[b"GET", b"k"]);
        assert!(commands.expects(0, &Value::Nil));
        assert!(commands.expects(0, &Value::BulkString(Vec::new())));
        assert!(!commands.expects(0, &Value::Okay));
        let simple = |text: &str| commands.normalized(0, Value::SimpleString(text.into()));
        assert_eq!(simple("{}"), Value::BulkString(b"{}".to_vec()));
        assert!(!commands.expects(0, &simple("PONG")));
        assert!(!commands.expects(0, &Value::Int(1)));
    }
}
