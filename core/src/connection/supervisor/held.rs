//! The keys of commands that are to be sent again: a later write to one of them, even if it was done, is sent again as
//! well, so that writes to a key keep their order.

use crate::connection::commands::Commands;
use std::collections::HashSet;

#[derive(Default)]
pub(super) struct Held {
    keys: HashSet<Vec<u8>>,
    /// A command without a key, or with several.
    all: bool,
}

impl Held {
    pub(super) fn is_empty(&self) -> bool {
        self.keys.is_empty() && !self.all
    }

    /// A command is to be sent again.
    pub(super) fn add(&mut self, commands: &Commands, at: usize) {
        match single_key(commands, at) {
            Some(key) => {
                self.keys.insert(key.to_vec());
            }
            None => self.all = true,
        }
    }

    /// Returns true if a write must be sent again for the sake of one before it.
    pub(super) fn holds(&self, commands: &Commands, at: usize) -> bool {
        if self.is_empty() {
            return false;
        }
        match single_key(commands, at) {
            Some(key) => self.all || self.keys.contains(key),
            None => true,
        }
    }
}

fn single_key(commands: &Commands, at: usize) -> Option<&[u8]> {
    let has_several =
        matches!(commands.name(at), b"UNLINK" | b"DEL") && commands.words(at).nth(2).is_some();
    commands.key(at).filter(|_| !has_several)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::commands::{Access, Expect};

    #[test]
    fn writes_are_held_behind_others_of_their_keys() {
        let mut commands = Commands::default();
        for words in [
            &[&b"SET"[..], b"a", b"v"][..],
            &[b"SET", b"b", b"v"],
            &[b"UNLINK", b"b", b"c"],
        ] {
            commands.add(Access::Write, Expect::Any, Some(1), words);
        }
        commands.add(Access::Write, Expect::Any, None, &[b"AUTH", b"pw"]);
        let held = |held: &Held| [0, 1, 2, 3].map(|at| held.holds(&commands, at));
        let mut some = Held::default();
        assert_eq!(held(&some), [false; 4]);
        some.add(&commands, 0);
        assert_eq!(held(&some), [true, false, true, true]);
        let mut several = Held::default();
        several.add(&commands, 2);
        assert_eq!(held(&several), [true; 4]);
    }
}
