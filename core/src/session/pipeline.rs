//! The commands of several requests, sent together.

use super::cached::CacheIntent;
use super::compare_and_set::CompareAndSet;
use super::expiry::ReportEnd;
use super::reply_guard::NamedRequest;
use super::request::{Operation, SessionRequest, Write};
use super::sessions::Sessions;
use super::stored::Stored;
use crate::cache::{Moment, PendingWrite, Ticket};
use crate::connection::{Access, Commands, Expect, Leader, Reply, SentFlag};
use std::mem;

/// The usual number of commands per request, and of bytes in addition to ID and value: the initial capacity.
const USUAL_COMMANDS: usize = 2;
const USUAL_BYTES: usize = 128;

/// The part of a batch whose commands are sent together.
pub(super) struct Pipeline {
    /// The time when its batch began to be processed.
    pub(super) now: Moment,
    pub(super) commands: Commands,
    /// The index of each command's request.
    pub(super) owners: Vec<usize>,
    pub(super) pending: Vec<Pending>,
    /// `None` for the read after a write, which no request asked for.
    pub(super) requests: Vec<Option<NamedRequest>>,
    /// Set when the pipeline is sent; `None` without reads.
    pub(super) sent: Option<SentFlag>,
}

/// A request that waits for its replies.
pub(super) enum Pending {
    Plain {
        write: Write,
        /// Held until the reply.
        _pending_write: Option<PendingWrite>,
    },
    Read(Read),
    /// `None` once it is completed, or passed to a task that continues it.
    CompareAndSet(Option<Box<CompareAndSet>>),
    /// Completed.
    Done,
}

/// `GET`, then `PTTL`. In this order, a save between the two cannot pair a new text with an old time to live. The
/// replies may arrive in any order if one of the commands could not be sent.
pub(super) struct Read {
    pub(super) report_end: ReportEnd,
    pub(super) text: Option<Reply>,
    pub(super) left: Option<Reply>,
    pub(super) leader: Option<Leader>,
    /// Allows the result to be cached.
    pub(super) ticket: Option<Ticket>,
}

impl Pipeline {
    /// Creates a pipeline with capacity for `requests` requests with `bytes` bytes in total.
    pub(super) fn with_capacity(now: Moment, requests: usize, bytes: usize) -> Self {
        Self {
            now,
            commands: Commands::with_capacity(
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

    /// Returns the pipeline filled so far, and leaves an empty one.
    pub(super) fn take(&mut self) -> Self {
        let next = Self::with_capacity(self.now, 0, 0);
        mem::replace(self, next)
    }

    pub(super) fn add(
        &mut self,
        sessions: &Sessions,
        request: &SessionRequest,
        stored: &Stored<'_>,
        intent: CacheIntent,
    ) {
        let operation = request.operation;
        let request = Some(NamedRequest::of(request, stored.key));
        match operation {
            Operation::Get(report_end) => {
                let ticket = match intent {
                    CacheIntent::Read(ticket) => Some(ticket),
                    _ => None,
                };
                self.add_read(sessions, request, report_end, stored.key, ticket);
            }
            Operation::Write(write) => {
                let mut pending_write = match intent {
                    CacheIntent::Write(pending_write) => Some(pending_write),
                    _ => None,
                };
                let after = pending_write.as_mut().map(PendingWrite::send);
                self.add_write(sessions, request, write, stored, pending_write);
                // With a cache, the session is read again right after the write: the read makes the server report the
                // next change of the key, and the cache stores what the server has, even if another client wrote it
                // in between.
                if after.is_some() && write != Write::Destroy {
                    self.add_read(sessions, None, ReportEnd::IfChanged, stored.key, after);
                }
            }
        }
    }

    fn add_write(
        &mut self,
        sessions: &Sessions,
        request: Option<NamedRequest>,
        write: Write,
        stored: &Stored<'_>,
        pending_write: Option<PendingWrite>,
    ) {
        sessions.connection().single_flight().close(stored.key);
        let before = self.commands.len();
        match write {
            Write::Set => self.add_set(stored, None),
            Write::SetExisting => self.add_set(stored, Some(b"XX")),
            Write::SetNew | Write::SetIfEqual | Write::DestroyIfEqual => {
                let save = CompareAndSet::new(sessions, stored, write, pending_write);
                save.add_to(&mut self.commands);
                return self.push(
                    before,
                    Pending::CompareAndSet(Some(Box::new(save))),
                    request,
                );
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
            _pending_write: pending_write,
        };
        self.push(before, pending, request);
    }

    fn add_read(
        &mut self,
        sessions: &Sessions,
        request: Option<NamedRequest>,
        report_end: ReportEnd,
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
        let single_flight = sessions.connection().single_flight();
        let pending = Pending::Read(Read {
            report_end,
            text: None,
            left: None,
            leader: Some(single_flight.begin(key, self.now, sent)),
            ticket,
        });
        self.push(before, pending, request);
    }

    /// Assigns the commands from `first` on to a request.
    fn push(&mut self, first: usize, pending: Pending, request: Option<NamedRequest>) {
        let index = self.requests.len();
        self.owners
            .extend((first..self.commands.len()).map(|_| index));
        self.pending.push(pending);
        self.requests.push(request);
    }

    fn add_command(&mut self, access: Access, expect: Expect, words: &[&[u8]]) {
        self.commands.add(access, expect, Some(1), words);
    }

    /// Adds a `SET`. `condition` is one of its arguments, such as `XX`.
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
        let mut pipeline = Pipeline::with_capacity(Moment::now(), 1, 0);
        let stored = Stored {
            key: b"k",
            value: b"v",
            base: b"",
            ttl,
        };
        pipeline.add_set(&stored, condition);
        String::from_utf8_lossy(pipeline.commands.bytes(0))
            .split("\r\n")
            .filter(|part| !part.starts_with(['*', '$']) && !part.is_empty())
            .collect::<Vec<_>>()
            .join(" ")
    }

    #[test]
    fn set_has_a_condition_and_a_lifetime_where_wanted() {
        assert_eq!(packed(None, None), "SET k v");
        assert_eq!(packed(None, Some(150)), "SET k v PX 150");
        assert_eq!(packed(Some(b"XX"), Some(150)), "SET k v XX PX 150");
        assert_eq!(packed(Some(b"XX"), None), "SET k v XX");
    }
}
