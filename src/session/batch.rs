//! A batch of requests becomes commands and, where it must, walks.

use super::{
    Answer, Answers, Keys, Operation, Request, RequestId, Sessions, Unanswered, unexpected,
};
use crate::connection::{Access, Commands, Expect, Reply, Settle};
use redis::Value;
use std::future::Future;
use std::ops::Range;
use std::sync::Arc;
use std::task::{Context, Waker};
use tokio::runtime::Handle;
use tokio::sync::OwnedRwLockReadGuard;

/// Commands that are sent as one: the first of ten thousand requests need not wait for the last.
const MOST_COMMANDS: usize = 128;

impl Sessions {
    /// Sends the requests of one batch in order; walks and the end run on as tasks of their own.
    pub(crate) fn run<A: Answers>(
        &self,
        requests: &[Request],
        bytes: &[u8],
        answers: &Arc<A>,
        tasks: &Handle,
    ) {
        let mut piece = Piece::default();
        for request in requests {
            match request {
                Request::One {
                    request,
                    operation,
                    id,
                    value,
                    ttl,
                } => {
                    piece.add(&self.keys, bytes, *request, *operation, id, value, *ttl);
                    if piece.operations.len() == MOST_COMMANDS {
                        self.send(std::mem::take(&mut piece), answers);
                    }
                }
                Request::Walk(request, bulk) => {
                    // What the app issued before comes first.
                    self.send(std::mem::take(&mut piece), answers);
                    let unanswered =
                        Unanswered::new(Arc::clone(answers), vec![(*request, bulk.name())]);
                    let mut walk = Box::pin(self.clone().walk(*bulk, *request, unanswered));
                    // Polled once here, so that its first command takes its place in the order. The
                    // task polls again, and that registers its waker.
                    let mut context = Context::from_waker(Waker::noop());
                    if walk.as_mut().poll(&mut context).is_ready() {
                        continue;
                    }
                    let under_way = self.begin();
                    tasks.spawn(async move {
                        walk.await;
                        drop(under_way);
                    });
                }
                Request::Close(request) => {
                    self.send(std::mem::take(&mut piece), answers);
                    let unanswered =
                        Unanswered::new(Arc::clone(answers), vec![(*request, "close")]);
                    let sessions = self.clone();
                    tasks.spawn(async move {
                        // Others may share the connection: what is ours must be over first.
                        drop(sessions.under_way.write().await);
                        sessions.lease.end().await;
                        unanswered.finish(|_| Answer::Done);
                    });
                }
            }
        }
        self.send(piece, answers);
    }

    /// To be held for as long as something is under way. `None` only when closing has begun, and then
    /// the store is given no more.
    fn begin(&self) -> Option<OwnedRwLockReadGuard<()>> {
        Arc::clone(&self.under_way).try_read_owned().ok()
    }

    fn send<A: Answers>(&self, piece: Piece, answers: &Arc<A>) {
        if piece.operations.is_empty() {
            return;
        }
        let Piece {
            commands,
            operations,
            requests,
        } = piece;
        let connection = self.lease.connection();
        connection.send(
            commands,
            Box::new(Sent {
                unanswered: Unanswered::new(Arc::clone(answers), requests),
                operations,
                server: connection.server().into(),
                _under_way: self.begin(),
            }),
        );
    }
}

/// The part of a batch that is sent as one.
#[derive(Default)]
struct Piece {
    commands: Commands,
    operations: Vec<Operation>,
    requests: Vec<(RequestId, &'static str)>,
}

impl Piece {
    #[expect(
        clippy::too_many_arguments,
        reason = "the fields of a request, taken apart by the only caller"
    )]
    fn add(
        &mut self,
        keys: &Keys,
        bytes: &[u8],
        request: RequestId,
        operation: Operation,
        id: &Range<usize>,
        value: &Range<usize>,
        ttl: Option<u64>,
    ) {
        let key = keys.key(&bytes[id.clone()]);
        let value = &bytes[value.clone()];
        add_command(&mut self.commands, operation, &key, value, ttl);
        self.operations.push(operation);
        self.requests.push((request, operation.name()));
    }
}

fn add_command(
    commands: &mut Commands,
    operation: Operation,
    key: &[u8],
    value: &[u8],
    ttl: Option<u64>,
) {
    let ttl = ttl.map(|ttl| ttl.to_string());
    let mut add = |access, expect, words: &[&[u8]]| commands.add(access, expect, Some(1), words);
    match (operation, &ttl) {
        (Operation::Get, _) => add(Access::Read, Expect::Text, &[b"GET", key]),
        (Operation::Set, None) => add(Access::Write, Expect::Okay, &[b"SET", key, value]),
        (Operation::Set, Some(ttl)) => add(
            Access::Write,
            Expect::Okay,
            &[b"SET", key, value, b"PX", ttl.as_bytes()],
        ),
        (Operation::Touch, ttl) => {
            let ttl = ttl.as_deref().unwrap_or("0");
            add(
                Access::Write,
                Expect::Integer,
                &[b"PEXPIRE", key, ttl.as_bytes()],
            );
        }
        (Operation::Destroy, _) => add(Access::Write, Expect::Integer, &[b"DEL", key]),
    }
}

/// Requests that were sent, one command each.
struct Sent<A: Answers> {
    unanswered: Unanswered<A>,
    operations: Vec<Operation>,
    server: Arc<str>,
    _under_way: Option<OwnedRwLockReadGuard<()>>,
}

impl<A: Answers> Settle for Sent<A> {
    fn settle(&mut self, replies: Vec<(usize, Reply)>) {
        let Self {
            unanswered,
            operations,
            server,
            ..
        } = self;
        unanswered.settle(replies, |at, name, reply| match operations.get(at) {
            Some(operation) => answer(*operation, name, server, reply),
            None => Answer::Failed(name, crate::error::Error::Abandoned),
        });
    }
}

fn answer(operation: Operation, name: &'static str, server: &str, reply: Reply) -> Answer {
    let value = match reply {
        Ok(value) => value,
        Err(error) => return Answer::Failed(name, error),
    };
    match (operation, value) {
        (Operation::Get, Value::Nil) => Answer::Missing,
        (Operation::Get, Value::BulkString(bytes)) => Answer::Session(bytes),
        (Operation::Set, Value::Okay) | (Operation::Touch | Operation::Destroy, Value::Int(_)) => {
            Answer::Done
        }
        (_, value) => Answer::Failed(name, unexpected(server, &value)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packed(operation: Operation, ttl: Option<u64>) -> String {
        let mut commands = Commands::default();
        add_command(&mut commands, operation, b"k", b"v", ttl);
        String::from_utf8_lossy(commands.bytes(0))
            .split("\r\n")
            .filter(|part| !part.starts_with(['*', '$']) && !part.is_empty())
            .collect::<Vec<_>>()
            .join(" ")
    }

    #[test]
    fn commands() {
        assert_eq!(packed(Operation::Get, None), "GET k");
        assert_eq!(packed(Operation::Set, None), "SET k v");
        assert_eq!(packed(Operation::Set, Some(150)), "SET k v PX 150");
        assert_eq!(packed(Operation::Touch, Some(150)), "PEXPIRE k 150");
        assert_eq!(packed(Operation::Destroy, None), "DEL k");
    }

    #[test]
    fn replies_that_do_not_fit_are_errors_without_their_content() {
        let value = Value::BulkString(b"hunter2".to_vec());
        let Answer::Failed(name, error) = answer(Operation::Set, "set", "redis://h", Ok(value))
        else {
            panic!("accepted");
        };
        assert_eq!(name, "set");
        assert!(!format!("{error} {error:?}").contains("hunter2"));
        assert!(matches!(
            answer(Operation::Get, "get", "redis://h", Ok(Value::Nil)),
            Answer::Missing
        ));
    }
}
