//! The commands of requests that are sent as one.

use super::cached::CacheIntent;
use super::conditional_save::{CasMethod, Condition, ConditionalSave};
use super::expiry::TellEnd;
use super::reply_guard::Named;
use super::{Lane, Operation, RequestId, Sessions, Write};
use crate::cache::{Moment, PendingWrite, Ticket};
use crate::connection::{Access, Commands, Expect, Leader, Reply, SentFlag, clock};
use std::mem;

/// Commands per request, and bytes beside the id and the value: what room is made for.
const USUAL_COMMANDS: usize = 2;
const USUAL_BYTES: usize = 128;

/// What a request is about.
pub(super) struct Stored<'a> {
    pub(super) key: &'a [u8],
    pub(super) value: &'a [u8],
    /// Where it is compared: the text that was loaded. No session is an empty text: of one that was loaded, but by
    /// whom is not known, that is the base, since it is equal to nothing.
    pub(super) base: &'a [u8],
    pub(super) ttl: Option<u64>,
}

/// The part of a batch that is sent as one.
pub(super) struct Pipeline {
    /// When its batch was begun with.
    pub(super) now: Moment,
    pub(super) commands: Commands,
    /// The place of the request that a command belongs to.
    pub(super) owners: Vec<usize>,
    pub(super) pending: Vec<Pending>,
    /// `None` for a read that nobody asked for, after a write.
    pub(super) requests: Vec<Option<Named>>,
    /// Set when it is sent; only where it has reads.
    pub(super) sent: Option<SentFlag>,
}

/// A request whose replies are still to come.
pub(super) enum Pending {
    Plain {
        write: Write,
        /// Held until the answer.
        _writing: Option<PendingWrite>,
    },
    Read(Read),
    /// `None` once it is answered, or left to a task that goes on.
    ConditionalSave(Option<(Box<ConditionalSave>, CasMethod, Option<PendingWrite>)>),
    /// Answered.
    Over,
}

/// `GET`, then `PTTL`: in this order, a save between the two cannot make the text seem newer than the
/// time it has left. The replies may come in any order, if one of the two could not be sent.
pub(super) struct Read {
    pub(super) tell_end: TellEnd,
    pub(super) text: Option<Reply>,
    pub(super) left: Option<Reply>,
    pub(super) flying: Option<Leader>,
    /// Where what is read is kept.
    pub(super) ticket: Option<Ticket>,
}

impl Pipeline {
    /// With room for a number of requests with so many bytes.
    pub(super) fn with_room(now: Moment, requests: usize, bytes: usize) -> Self {
        Self {
            now,
            commands: Commands::with_room(
                requests * USUAL_COMMANDS,
                requests * USUAL_BYTES + bytes,
            ),
            owners: Vec::with_capacity(requests * USUAL_COMMANDS),
            pending: Vec::with_capacity(requests),
            requests: Vec::with_capacity(requests),
            sent: None,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.requests.len()
    }

    /// What there is so far; the piece goes on empty.
    pub(super) fn take(&mut self) -> Self {
        let next = Self::with_room(self.now, 0, 0);
        mem::replace(self, next)
    }

    pub(super) fn add(
        &mut self,
        sessions: &Sessions,
        request: RequestId,
        operation: Operation,
        stored: &Stored<'_>,
        mark: CacheIntent,
    ) {
        let request = Some((request, operation.name(), Lane::of_key(stored.key)));
        match (operation, mark) {
            (Operation::Get(tell_end), CacheIntent::Read(ticket)) => {
                self.add_read(sessions, request, tell_end, stored.key, Some(ticket));
            }
            (Operation::Get(tell_end), _) => {
                self.add_read(sessions, request, tell_end, stored.key, None);
            }
            (Operation::Write(write), CacheIntent::Write(writing)) => {
                self.add_noted_write(sessions, request, write, stored, writing);
            }
            (Operation::Write(write), _) => {
                self.add_write(sessions, request, write, stored, None);
            }
        }
    }

    /// A write of which the cache has taken note.
    fn add_noted_write(
        &mut self,
        sessions: &Sessions,
        request: Option<Named>,
        write: Write,
        stored: &Stored<'_>,
        mut writing: PendingWrite,
    ) {
        let after = writing.send();
        self.add_write(sessions, request, write, stored, Some(writing));
        // What is written is read again at once: that has the server tell of its next change, and what is
        // kept is what the server has, whoever wrote it.
        if write != Write::Destroy {
            let tell_end = TellEnd::WhereOther;
            self.add_read(sessions, None, tell_end, stored.key, Some(after));
        }
    }

    fn add_write(
        &mut self,
        sessions: &Sessions,
        request: Option<Named>,
        write: Write,
        stored: &Stored<'_>,
        writing: Option<PendingWrite>,
    ) {
        sessions.connection().flights().close(stored.key);
        let before = self.commands.len();
        match write {
            Write::Set => self.add_set(stored, None),
            Write::SetExisting => self.add_set(stored, Some(b"XX")),
            Write::SetConditional(rule) => {
                let guarded = ConditionalSave {
                    rule,
                    key: stored.key.to_vec(),
                    base: (rule != Condition::New).then(|| stored.base.to_vec()),
                    mine: stored.value.to_vec(),
                    ttl: stored.ttl,
                    since: clock::now(),
                };
                let means =
                    guarded.begin(&sessions.dialect, sessions.connection(), &mut self.commands);
                let pending = Pending::ConditionalSave(Some((Box::new(guarded), means, writing)));
                return self.push(before, pending, request);
            }
            Write::Touch => {
                let ttl = stored.ttl.unwrap_or(0).to_string();
                let words = [b"PEXPIRE", stored.key, ttl.as_bytes()];
                self.add_command(Access::Write, Expect::Integer, &words);
            }
            Write::Destroy => {
                self.add_command(Access::Write, Expect::Integer, &[b"DEL", stored.key]);
            }
        }
        let pending = Pending::Plain {
            write,
            _writing: writing,
        };
        self.push(before, pending, request);
    }

    fn add_read(
        &mut self,
        sessions: &Sessions,
        request: Option<Named>,
        tell_end: TellEnd,
        key: &[u8],
        ticket: Option<Ticket>,
    ) {
        let before = self.commands.len();
        let words: [&[u8]; 2] = [b"GET", key];
        match request {
            Some(_) => self.add_command(Access::Read, Expect::Text, &words),
            None => self
                .commands
                .add_companion(Access::Read, Expect::Text, Some(1), &words),
        }
        let words: [&[u8]; 2] = [b"PTTL", key];
        self.commands
            .add_companion(Access::Read, Expect::Integer, Some(1), &words);
        let sent = self.sent.get_or_insert_default().clone();
        let flights = sessions.connection().flights();
        let pending = Pending::Read(Read {
            tell_end,
            text: None,
            left: None,
            flying: Some(flights.begin(key, self.now, sent)),
            ticket,
        });
        self.push(before, pending, request);
    }

    /// What the commands from this one on are for.
    fn push(&mut self, first: usize, pending: Pending, request: Option<Named>) {
        let place = self.requests.len();
        self.owners
            .extend((first..self.commands.len()).map(|_| place));
        self.pending.push(pending);
        self.requests.push(request);
    }

    fn add_command(&mut self, access: Access, expect: Expect, words: &[&[u8]]) {
        self.commands.add(access, expect, Some(1), words);
    }

    /// `condition` is a word of `SET`.
    fn add_set(&mut self, stored: &Stored<'_>, condition: Option<&[u8]>) {
        let ttl = stored.ttl.map(|ttl| ttl.to_string());
        let mut words: [&[u8]; 6] = [b"SET", stored.key, stored.value, b"", b"", b""];
        let mut count = 3;
        let mut add = |word| {
            words[count] = word;
            count += 1;
        };
        if let Some(condition) = condition {
            add(condition);
        }
        if let Some(ttl) = &ttl {
            add(b"PX");
            add(ttl.as_bytes());
        }
        self.add_command(Access::Write, Expect::Okay, &words[..count]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packed(condition: Option<&[u8]>, ttl: Option<u64>) -> String {
        let mut piece = Pipeline::with_room(Moment::now(), 1, 0);
        let stored = Stored {
            key: b"k",
            value: b"v",
            base: b"",
            ttl,
        };
        piece.add_set(&stored, condition);
        String::from_utf8_lossy(piece.commands.bytes(0))
            .split("\r\n")
            .filter(|part| !part.starts_with(['*', '$']) && !part.is_empty())
            .collect::<Vec<_>>()
            .join(" ")
    }

    #[test]
    fn sets() {
        assert_eq!(packed(None, None), "SET k v");
        assert_eq!(packed(None, Some(150)), "SET k v PX 150");
        assert_eq!(packed(Some(b"XX"), Some(150)), "SET k v XX PX 150");
        assert_eq!(packed(Some(b"XX"), None), "SET k v XX");
    }
}
