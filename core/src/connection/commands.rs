//! Commands on their way to Redis, encoded once, however often they are sent.

use super::pin::LinkPin;
use redis::Value;
use std::fmt;
use std::ops::Range;

/// What a command does with its key. Decides what may be asked of a replica, and what must not
/// overtake a write that is to be repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    Write,
}

/// The replies that a command can have besides an error. Any other means that commands and replies
/// are out of step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expect {
    Any,
    /// `OK`, or nil for what was not done.
    Okay,
    Integer,
    /// A bulk string or nil.
    Text,
    Array,
}

#[derive(Clone, Debug)]
struct Command {
    bytes: Range<usize>,
    /// Empty where the command has no key.
    key: Range<usize>,
    access: Access,
    expect: Expect,
    /// Goes with the command before it: together they are one operation.
    is_companion: bool,
}

/// A sequence of commands in Redis's protocol. Each has at most one key, so that each has one place
/// in a cluster.
#[derive(Clone, Default)]
pub(crate) struct Commands {
    bytes: Vec<u8>,
    list: Vec<Command>,
    /// The number of the node to send to, where the app's client sends; 0 for any.
    pub(super) node: u32,
    /// Ties them to a link.
    pin: Option<LinkPin>,
}

impl Commands {
    /// None yet, with room for a number of commands and their bytes.
    pub(crate) fn with_room(commands: usize, bytes: usize) -> Self {
        Self {
            bytes: Vec::with_capacity(bytes),
            list: Vec::with_capacity(commands),
            node: 0,
            pin: None,
        }
    }

    /// Ties them to the link of `pin`. In a cluster, to be sent to a node's own connection.
    pub(crate) fn pin_to(&mut self, pin: &LinkPin) {
        self.pin = Some(pin.clone());
    }

    /// Returns true if they are tied to a link.
    pub(super) fn is_pinned(&self) -> bool {
        self.pin.is_some()
    }

    /// Returns true if this link may send them.
    pub(super) fn may_use(&self, link: u64) -> bool {
        self.pin.as_ref().is_none_or(|pin| pin.admits(link))
    }

    /// A single command.
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

    /// Adds a command; `key_at` is the place of its key among the `words`.
    pub(crate) fn add(
        &mut self,
        access: Access,
        expect: Expect,
        key_at: Option<usize>,
        words: &[&[u8]],
    ) {
        let start = self.bytes.len();
        let mut key = start..start;
        self.count(b'*', words.len());
        for (place, word) in words.iter().enumerate() {
            self.count(b'$', word.len());
            let begin = self.bytes.len();
            self.bytes.extend_from_slice(word);
            if key_at == Some(place) {
                key = begin..self.bytes.len();
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

    /// Adds a command that makes up one operation together with the one before it.
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

    /// Whether an operation begins with the command.
    pub(super) fn is_operation(&self, command: usize) -> bool {
        let command = self.list.get(command);
        command.is_some_and(|command| !command.is_companion)
    }

    /// How many operations begin with these commands.
    pub(super) fn operations(&self, commands: impl IntoIterator<Item = usize>) -> usize {
        let commands = commands.into_iter();
        commands.filter(|&at| self.is_operation(at)).count()
    }

    /// How many commands make up the first of the operations.
    pub(super) fn of_first(&self, operations: usize) -> usize {
        let mut begins = self
            .list
            .iter()
            .enumerate()
            .filter(|(_, command)| !command.is_companion);
        begins.nth(operations).map_or(self.list.len(), |(at, _)| at)
    }

    /// Adds a command of `other`, as it is.
    pub(super) fn copy(&mut self, other: &Self, command: usize) {
        let Some(given) = other.list.get(command) else {
            return;
        };
        let start = self.bytes.len();
        self.bytes
            .extend_from_slice(&other.bytes[given.bytes.clone()]);
        let moved = |place: usize| place - given.bytes.start + start;
        self.list.push(Command {
            bytes: start..self.bytes.len(),
            key: moved(given.key.start)..moved(given.key.end),
            ..given.clone()
        });
    }

    /// These, and then those of `other`.
    pub(super) fn followed_by(&self, other: &Self) -> Self {
        let mut all = self.clone();
        for command in 0..other.len() {
            all.copy(other, command);
        }
        all
    }

    /// The key of a command; `None` if it has none.
    pub(super) fn key(&self, command: usize) -> Option<&[u8]> {
        let key = self.list.get(command)?.key.clone();
        (!key.is_empty()).then(|| &self.bytes[key])
    }

    /// Returns the first word of a command.
    pub(super) fn name(&self, command: usize) -> &[u8] {
        self.words(command).next().map_or(&[], |(name, _)| name)
    }

    /// The words of a command, and which of them is the key.
    pub(super) fn words(&self, command: usize) -> impl Iterator<Item = (&[u8], bool)> {
        let (mut at, end, key) = match self.list.get(command) {
            Some(command) => (command.bytes.start, command.bytes.end, command.key.clone()),
            None => (0, 0, 0..0),
        };
        // The number of words comes first.
        at += self.line(at).1;
        std::iter::from_fn(move || {
            if at >= end {
                return None;
            }
            let (length, head) = self.line(at);
            let start = at + head;
            at = start + length + 2;
            let is_key = !key.is_empty() && key.start == start;
            Some((self.bytes.get(start..start + length)?, is_key))
        })
    }

    /// The number in a line such as `$5`, and the length of the line with its end.
    fn line(&self, at: usize) -> (usize, usize) {
        let digits = self.bytes.iter().skip(at + 1);
        let (mut number, mut length) = (0, 3);
        for digit in digits.take_while(|byte| byte.is_ascii_digit()) {
            number = 10 * number + usize::from(digit - b'0');
            length += 1;
        }
        (number, length)
    }

    fn count(&mut self, kind: u8, count: usize) {
        // By hand: the formatting machinery takes longer than all the rest of a short command.
        let mut digits = [0; 20];
        let mut at = digits.len();
        let mut left = count;
        loop {
            at -= 1;
            digits[at] = b'0' + (left % 10) as u8;
            left /= 10;
            if left == 0 {
                break;
            }
        }
        self.bytes.push(kind);
        self.bytes.extend_from_slice(&digits[at..]);
        self.bytes.extend_from_slice(b"\r\n");
    }

    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// All of them, one after the other, as Redis reads them.
    pub(super) fn all_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// A command as Redis reads it.
    pub(crate) fn bytes(&self, command: usize) -> &[u8] {
        self.list
            .get(command)
            .map_or(&[], |command| &self.bytes[command.bytes.clone()])
    }

    /// Whether a value can be the reply to a command.
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

    /// Returns a reply in the form in which Redis sends it: some servers answer a `GET` with a simple string. `OK` and
    /// `PONG` are no such values, but the replies to other commands.
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
    /// The number alone: commands hold ids and sessions.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} commands", self.list.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_encoded_as_arrays_of_bulk_strings() {
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
    fn companions_are_no_operations_of_their_own() {
        let mut commands = Commands::default();
        for _ in 0..2 {
            commands.add(Access::Read, Expect::Text, Some(1), &[b"GET", b"k"]);
            commands.add_companion(Access::Read, Expect::Integer, Some(1), &[b"PTTL", b"k"]);
        }
        assert_eq!(commands.operations(0..4), 2);
        assert_eq!(commands.operations([1, 2, 3]), 1);
        assert_eq!([0, 1, 2].map(|count| commands.of_first(count)), [0, 2, 4]);
    }

    #[test]
    fn replies_fit_their_commands_or_are_errors() {
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
