//! Commands in the form in which JavaScript is given them: see [`super::Executor::run`].

use crate::connection::commands::{Access, Commands};
use std::fmt::Write;

#[derive(Default)]
pub(super) struct Batch {
    numbers: String,
    words: String,
    count: usize,
}

impl Batch {
    pub(super) fn add(&mut self, number: u64, commands: &Commands, at: usize) {
        let mut lengths = String::new();
        let (mut count, mut key) = (0, 0);
        for (word, is_key) in commands.words(at) {
            count += 1;
            if is_key {
                key = count;
            }
            // Ids and values are UTF-8 by construction.
            let word = String::from_utf8_lossy(word);
            let length = if word.is_ascii() {
                word.len()
            } else {
                word.encode_utf16().count()
            };
            self.words.push_str(&word);
            // PendingWrite to a string cannot fail.
            let _ = write!(lengths, ",{length}");
        }
        let separator = if self.count == 0 { "[" } else { "," };
        let node = commands.node;
        // Replicas are several servers.
        let reads = u8::from(commands.access(at) == Access::Read && !commands.is_pinned());
        let _ = write!(
            self.numbers,
            "{separator}{number},{node},{key},{reads},{count}{lengths}"
        );
        self.count += 1;
    }

    /// How many commands it has.
    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// How many bytes their words have.
    pub(super) fn bytes(&self) -> usize {
        self.words.len()
    }

    pub(super) fn finish(mut self) -> String {
        self.numbers.push_str("]\n");
        self.numbers.push_str(&self.words);
        self.numbers
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::commands::Expect;

    #[test]
    fn numbers_say_where_words_end_and_which_is_the_key() {
        let mut commands = Commands::default();
        commands.add(Access::Read, Expect::Text, Some(1), &[b"GET", b"k"]);
        let value = "\u{e9}\u{1f600}\n".as_bytes();
        commands.add(Access::Write, Expect::Okay, None, &[b"ECHO", value]);
        commands.node = 2;
        let mut batch = Batch::default();
        batch.add(7, &commands, 0);
        batch.add(8, &commands, 1);
        assert_eq!(batch.len(), 2);
        assert_eq!(
            batch.finish(),
            "[7,2,2,1,2,3,1,8,2,0,0,2,4,4]\nGETkECHO\u{e9}\u{1f600}\n"
        );
    }
}
