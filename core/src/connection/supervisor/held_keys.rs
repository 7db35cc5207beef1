//! Held keys: keys of commands that wait for a retry. A later write to one of them is sent again as well, even if
//! it succeeded, so that writes to a key keep their order.

use crate::connection::commands::Commands;
use std::collections::HashSet;

/// The set of held keys.
#[derive(Default)]
pub(super) struct HeldKeys {
    keys: HashSet<Vec<u8>>,
    /// Set by a command that has no key, or several: it holds all writes.
    all: bool,
}

impl HeldKeys {
    pub(super) fn is_empty(&self) -> bool {
        self.keys.is_empty() && !self.all
    }

    /// Adds the keys of a command that is to be retried.
    pub(super) fn add(&mut self, commands: &Commands, at: usize) {
        match single_key(commands, at) {
            Some(key) => {
                self.keys.insert(key.to_vec());
            }
            None => self.all = true,
        }
    }

    /// Returns true if a write must be sent again because an earlier command is to be retried.
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

/// Returns the key of a command that has exactly one.
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
    fn a_retried_command_holds_later_writes_to_its_key() {
        let mut commands = Commands::default();
        for words in [
            &[&b"SET"[..], b"a", b"v"][..],
            &[b"SET", b"b", b"v"],
            &[b"UNLINK", b"b", b"c"],
        ] {
            commands.add(Access::Write, Expect::Any, Some(1), words);
        }
        commands.add(Access::Write, Expect::Any, None, &[b"AUTH", b"pw"]);
        let held = |held: &HeldKeys| [0, 1, 2, 3].map(|at| held.holds(&commands, at));
        let mut some = HeldKeys::default();
        assert_eq!(held(&some), [false; 4]);
        some.add(&commands, 0);
        assert_eq!(held(&some), [true, false, true, true]);
        let mut several = HeldKeys::default();
        several.add(&commands, 2);
        assert_eq!(held(&several), [true; 4]);
    }
}
