//! A batch of requests becomes pipelines and, where it must, scans.

use super::{Answer, Answers, Keys, Operation, Request, RequestId, Sessions, Unanswered};
use super::{checked, unexpected};
use crate::connection::Replies;
use crate::error::Error;
use redis::{Cmd, Pipeline, Value};
use std::future::Future;
use std::ops::Range;
use std::sync::Arc;
use std::task::{Context, Waker};
use tokio::runtime::Handle;

/// Commands in one pipeline: the first of ten thousand requests need not wait for the last.
const PIPELINE_COMMANDS: usize = 128;

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
                    if piece.operations.len() == PIPELINE_COMMANDS {
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
                    // Fails only when closing has begun, and then the walk is refused anyway.
                    let under_way = Arc::clone(&self.walks).try_read_owned();
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
                        // Walks go on sending commands: the connection must outlive them.
                        drop(sessions.walks.write().await);
                        sessions.connection.close().await;
                        unanswered.finish(|_| Answer::Done);
                    });
                }
            }
        }
        self.send(piece, answers);
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
        let unanswered = Unanswered::new(Arc::clone(answers), requests);
        let server = self.connection.server().to_owned();
        self.connection.send(
            commands,
            Box::new(move |replies| settle(unanswered, &operations, &server, replies)),
        );
    }
}

/// The part of a batch that goes into one pipeline.
#[derive(Default)]
struct Piece {
    commands: Pipeline,
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
        self.commands
            .add_command(command(operation, &key, value, ttl));
        self.operations.push(operation);
        self.requests.push((request, operation.name()));
    }
}

fn command(operation: Operation, key: &[u8], value: &[u8], ttl: Option<u64>) -> Cmd {
    // Room for the command's name, its key and value, and a lifetime.
    let mut command = Cmd::with_capacity(5, key.len() + value.len() + 32);
    match operation {
        Operation::Get => {
            command.arg("GET").arg(key);
        }
        Operation::Set => {
            command.arg("SET").arg(key).arg(value);
            if let Some(ttl) = ttl {
                command.arg("PX").arg(ttl);
            }
        }
        Operation::Touch => {
            command.arg("PEXPIRE").arg(key).arg(ttl.unwrap_or(0));
        }
        Operation::Destroy => {
            command.arg("DEL").arg(key);
        }
    }
    command
}

fn settle<A: Answers>(
    unanswered: Unanswered<A>,
    operations: &[Operation],
    server: &str,
    replies: Replies,
) {
    match replies {
        Err(error) => unanswered.finish(|name| Answer::Failed(name, error.clone())),
        Ok(values) => {
            let mut replies = operations.iter().zip(values);
            unanswered.finish(|name| match replies.next() {
                Some((operation, value)) => answer(*operation, name, server, value),
                None => Answer::Failed(name, Error::Abandoned),
            });
        }
    }
}

fn answer(operation: Operation, name: &'static str, server: &str, value: Value) -> Answer {
    let value = match checked(server, value) {
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
        let packed = command(operation, b"k", b"v", ttl).get_packed_command();
        String::from_utf8(packed)
            .expect("ASCII")
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
        let Answer::Failed(name, error) = answer(Operation::Set, "set", "redis://h", value) else {
            panic!("accepted");
        };
        assert_eq!(name, "set");
        assert!(!format!("{error} {error:?}").contains("hunter2"));
        assert!(matches!(
            answer(Operation::Get, "get", "redis://h", Value::Nil),
            Answer::Missing
        ));
    }
}
