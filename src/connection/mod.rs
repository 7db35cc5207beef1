//! One connection to Redis that outlives every loss of its socket.
//!
//! [`Connection`] is the handle: it takes pipelines and answers each exactly once, by its deadline.
//! Behind it one [`supervisor`] owns the socket, from the first attempt to the last.

pub(crate) mod runtime;
mod socket;
mod supervisor;
mod tls;

use crate::error::Error;
use crate::options::{COMMAND_TIMEOUT, ConnectionOptions};
use redis::{Pipeline, Value};
use std::fmt;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

/// What became of a pipeline: a reply per command (error replies among them), or one error for all.
pub(crate) type Replies = Result<Vec<Value>, Error>;

/// Called on the runtime's thread; must neither block nor wait.
pub(crate) type Respond = Box<dyn FnOnce(Replies) + Send>;

/// A pipeline on its way. Pipelines enter the socket in the order in which they were sent.
///
/// One that was cut off by a lost connection is sent again within its deadline. That is right since
/// every command of a session store may be repeated: GET, MGET and SCAN only read; SET, PEXPIRE, DEL
/// and UNLINK leave the same state the second time, and order among pipelines is kept.
struct Job {
    commands: Pipeline,
    deadline: Instant,
    respond: Respond,
}

enum Message {
    Job(Job),
    /// Finish what came before, then end.
    Close(oneshot::Sender<()>),
}

/// A handle; the connection ends when the last handle is gone.
#[derive(Clone)]
pub(crate) struct Connection {
    messages: mpsc::UnboundedSender<Message>,
    server: Arc<str>,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("server", &self.server)
            .finish_non_exhaustive()
    }
}

impl Connection {
    /// Begins to connect in the background.
    pub(crate) fn open(runtime: &runtime::Runtime, options: ConnectionOptions) -> Self {
        let (messages, inbox) = mpsc::unbounded_channel();
        let server: Arc<str> = options.server().into();
        runtime.spawn(supervisor::run(options, Arc::clone(&server), inbox));
        Self { messages, server }
    }

    /// The server as errors name it.
    pub(crate) fn server(&self) -> &str {
        &self.server
    }

    /// Sends a pipeline; `respond` is called exactly once.
    pub(crate) fn send(&self, commands: Pipeline, respond: Respond) {
        let job = Job {
            commands,
            deadline: Instant::now() + COMMAND_TIMEOUT,
            respond,
        };
        if let Err(mpsc::error::SendError(Message::Job(job))) =
            self.messages.send(Message::Job(job))
        {
            (job.respond)(Err(Error::Closed));
        }
    }

    /// The same for callers that can wait.
    pub(crate) async fn query(&self, commands: Pipeline) -> Replies {
        let (sender, receiver) = oneshot::channel();
        self.send(
            commands,
            Box::new(move |replies| {
                // The receiver is gone only when the caller was: nobody is left to tell.
                let _ = sender.send(replies);
            }),
        );
        receiver.await.unwrap_or(Err(Error::Abandoned))
    }

    /// Lets what was sent before finish, then ends the connection. Resolves when it has ended.
    pub(crate) async fn close(&self) {
        let (done, ended) = oneshot::channel();
        if self.messages.send(Message::Close(done)).is_ok() {
            // An error means that the supervisor is gone already, which is what was asked for.
            let _ = ended.await;
        }
    }
}
