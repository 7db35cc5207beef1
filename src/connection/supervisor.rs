//! Owns a connection: connect, serve, notice the loss, back off, connect again, until closed.
//!
//! One task per connection. While there is no connection, jobs wait in order, each until its own
//! deadline. A server that refuses to let us in (wrong password, unknown database) fails them at once.

use super::{Job, Message, Replies, socket};
use crate::error::Error;
use crate::options::{CONNECT_TIMEOUT, ConnectionOptions};
use futures_util::stream::{FuturesUnordered, StreamExt};
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Pipeline, RedisConnectionInfo, RedisError, Value};
use std::collections::VecDeque;
use std::future::{self, Future};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// Pipelines that may wait for the socket's driver before senders wait themselves.
const DRIVER_QUEUE: usize = 256;

pub(super) async fn run(
    options: ConnectionOptions,
    server: Arc<str>,
    inbox: mpsc::UnboundedReceiver<Message>,
) {
    let mut supervisor = Supervisor {
        options,
        server,
        inbox,
        waiting: VecDeque::new(),
        closing: None,
        sent: 0,
    };
    while let Some(link) = supervisor.connect().await {
        if supervisor.serve(link).await == Served::Closed {
            break;
        }
    }
    supervisor.finish();
}

/// An open connection and the task that moves its bytes.
struct Link {
    connection: MultiplexedConnection,
    driver: JoinHandle<()>,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

#[derive(PartialEq)]
enum Served {
    Lost,
    Closed,
}

/// A job with its place in the order of sending, which a repetition keeps.
struct Numbered {
    number: u64,
    job: Job,
}

enum Outcome {
    Replied(Replies),
    Lost,
}

type InFlight = Pin<Box<dyn Future<Output = (Numbered, Outcome)> + Send>>;

/// Why the last attempt failed.
struct Failure {
    cause: String,
    /// The server's answer, if it was one that a further attempt will not change by itself.
    refusal: Option<Error>,
}

struct Supervisor {
    options: ConnectionOptions,
    server: Arc<str>,
    inbox: mpsc::UnboundedReceiver<Message>,
    /// In the order of their numbers.
    waiting: VecDeque<Numbered>,
    /// Set once by a `Close`: nothing is accepted any more, and these are told at the end.
    closing: Option<Vec<oneshot::Sender<()>>>,
    sent: u64,
}

impl Supervisor {
    /// Takes in what the inbox gave.
    fn accept(&mut self, message: Option<Message>) {
        match message {
            Some(Message::Job(job)) if self.closing.is_some() => (job.respond)(Err(Error::Closed)),
            Some(Message::Job(job)) => {
                self.sent += 1;
                self.waiting.push_back(Numbered {
                    number: self.sent,
                    job,
                });
            }
            Some(Message::Close(done)) => self.closing.get_or_insert_default().push(done),
            // Every handle is gone: nobody can send or ask any more.
            None => {
                self.inbox.close();
                self.closing.get_or_insert_default();
            }
        }
    }

    /// Nothing is left to do before the end.
    fn is_done(&self) -> bool {
        self.closing.is_some() && self.waiting.is_empty()
    }

    /// Tells everybody that it is over.
    fn finish(mut self) {
        self.inbox.close();
        while let Ok(message) = self.inbox.try_recv() {
            match message {
                Message::Job(job) => (job.respond)(Err(Error::Closed)),
                Message::Close(done) => self.closing.get_or_insert_default().push(done),
            }
        }
        for done in self.closing.take().into_iter().flatten() {
            // Whoever asked may have stopped waiting.
            let _ = done.send(());
        }
    }

    /// Attempts until one succeeds; `None` when the connection is closed first.
    async fn connect(&mut self) -> Option<Link> {
        let mut attempts = 0;
        let mut pause = FIRST_PAUSE;
        let mut last: Option<Failure> = None;
        let since = Instant::now();
        while !self.is_done() {
            let options = self.options.clone();
            let mut attempt = Box::pin(async move {
                timeout(CONNECT_TIMEOUT, establish(&options))
                    .await
                    .unwrap_or_else(|_| {
                        Err(Failure {
                            cause: format!("no answer within {} ms", CONNECT_TIMEOUT.as_millis()),
                            refusal: None,
                        })
                    })
            });
            attempts += 1;
            match self
                .wait(&mut attempt, attempts, since, last.as_ref())
                .await?
            {
                Ok(link) => return Some(link),
                Err(failure) => {
                    if let Some(refusal) = &failure.refusal {
                        for waiting in self.waiting.drain(..) {
                            (waiting.job.respond)(Err(refusal.clone()));
                        }
                    }
                    last = Some(failure);
                }
            }
            let mut rest = Box::pin(tokio::time::sleep(jittered(pause)));
            pause = (pause * 2).min(LONGEST_PAUSE);
            self.wait(&mut rest, attempts, since, last.as_ref()).await?;
        }
        None
    }

    /// Runs one step of connecting while jobs come in and run out of time.
    /// `None` when there is nothing left to connect for.
    async fn wait<T>(
        &mut self,
        step: &mut (impl Future<Output = T> + Unpin),
        attempts: u32,
        since: Instant,
        last: Option<&Failure>,
    ) -> Option<T> {
        loop {
            if self.is_done() {
                return None;
            }
            if let Some(refusal) = last.and_then(|failure| failure.refusal.as_ref()) {
                for waiting in self.waiting.drain(..) {
                    (waiting.job.respond)(Err(refusal.clone()));
                }
            }
            // All have the same time to live, so the first to come is the first to go.
            let deadline = self.waiting.front().map(|waiting| waiting.job.deadline);
            tokio::select! {
                biased;
                result = &mut *step => return Some(result),
                () = async { sleep_until(deadline.unwrap_or_else(Instant::now)).await }, if deadline.is_some() => {
                    if let Some(waiting) = self.waiting.pop_front() {
                        (waiting.job.respond)(Err(Error::Unavailable {
                            server: self.server.to_string(),
                            waited: crate::options::COMMAND_TIMEOUT,
                            attempts,
                            cause: last.map_or_else(
                                || format!("still connecting after {} ms", since.elapsed().as_millis()),
                                |failure| failure.cause.clone(),
                            ),
                        }));
                    }
                }
                message = self.inbox.recv(), if !self.inbox.is_closed() || !self.inbox.is_empty() => self.accept(message),
            }
        }
    }

    async fn serve(&mut self, mut link: Link) -> Served {
        let mut in_flight: FuturesUnordered<InFlight> = FuturesUnordered::new();
        // The first request that finds the connection lost ends the service: whatever is queued again
        // waits for the next one.
        let mut lost = false;
        while !lost {
            if let Some(next) = self.waiting.pop_front() {
                let mut request = ask(next, link.connection.clone(), Arc::clone(&self.server));
                // Polled once here, before the next is begun: that puts its commands into the
                // connection, so commands reach Redis in the order in which the app issued them.
                match future::poll_fn(|cx| Poll::Ready(request.as_mut().poll(cx))).await {
                    Poll::Ready(ended) => lost = self.settle(ended),
                    Poll::Pending => in_flight.push(request),
                }
                continue;
            }
            if self.is_done() && in_flight.is_empty() {
                return Served::Closed;
            }
            tokio::select! {
                biased;
                Some(ended) = in_flight.next() => lost = self.settle(ended),
                _ = &mut link.driver => lost = true,
                message = self.inbox.recv(), if !self.inbox.is_closed() || !self.inbox.is_empty() => self.accept(message),
            }
        }
        // Ends the driver, with which each of these ends at once.
        drop(link);
        while let Some(ended) = in_flight.next().await {
            self.settle(ended);
        }
        Served::Lost
    }

    /// Answers a request, or queues it again at its old place if the connection was lost; says which.
    fn settle(&mut self, (numbered, outcome): (Numbered, Outcome)) -> bool {
        match outcome {
            Outcome::Replied(replies) => {
                (numbered.job.respond)(replies);
                false
            }
            Outcome::Lost => {
                let place = self
                    .waiting
                    .partition_point(|other| other.number < numbered.number);
                self.waiting.insert(place, numbered);
                true
            }
        }
    }
}

fn ask(numbered: Numbered, mut connection: MultiplexedConnection, server: Arc<str>) -> InFlight {
    Box::pin(async move {
        let job = &numbered.job;
        let reply = connection.send_packed_commands(&job.commands, 0, job.commands.len());
        let outcome = match timeout_at(job.deadline, reply).await {
            Ok(Ok(values)) => Outcome::Replied(Ok(values)),
            // Error replies are values: an error here is the connection's, or a reply that is not
            // Redis's protocol, after which the connection is of no more use.
            Ok(Err(_)) => Outcome::Lost,
            Err(_) => Outcome::Replied(Err(Error::Timeout {
                server: server.to_string(),
                waited: crate::options::COMMAND_TIMEOUT,
            })),
        };
        (numbered, outcome)
    })
}

/// Connects, authenticates, selects the database.
///
/// The commands are our own rather than the redis crate's set-up, which keeps the server's words on a
/// refused password to itself.
async fn establish(options: &ConnectionOptions) -> Result<Link, Failure> {
    let stream = socket::open(options).await.map_err(|error| Failure {
        cause: error.to_string(),
        refusal: None,
    })?;
    let config = AsyncConnectionConfig::new()
        // Deadlines are kept here, per pipeline.
        .set_response_timeout(None)
        .set_connection_timeout(None)
        .set_pipeline_buffer_size(DRIVER_QUEUE);
    let nothing = RedisConnectionInfo::default().set_skip_set_lib_name();
    let (connection, driver) = MultiplexedConnection::new_with_config(&nothing, stream, config)
        .await
        .map_err(Failure::from)?;
    let mut link = Link {
        connection,
        driver: tokio::spawn(driver),
    };
    let (commands, required) = set_up(options);
    let replies = link
        .connection
        .send_packed_commands(&commands, 0, commands.len())
        .await
        .map_err(Failure::from)?;
    for reply in replies.into_iter().take(required) {
        if let Value::ServerError(error) = reply {
            let server = options.server();
            let refusal = Error::from_reply(&server, error.code(), error.details());
            return Err(Failure {
                cause: refusal.to_string(),
                refusal: (!is_passing(error.code())).then_some(refusal),
            });
        }
    }
    Ok(link)
}

/// The commands that begin a connection, and how many of them, from the first, must succeed.
fn set_up(options: &ConnectionOptions) -> (Pipeline, usize) {
    let mut commands = Pipeline::new();
    if let Some(password) = &options.password {
        commands.cmd("AUTH");
        if let Some(username) = &options.username {
            commands.arg(username);
        }
        commands.arg(password.reveal());
    }
    if options.database != 0 {
        commands.cmd("SELECT").arg(options.database);
    }
    let required = commands.len();
    // For whoever reads CLIENT LIST; servers before 7.2 do not know it.
    for (attribute, value) in [
        ("LIB-NAME", env!("CARGO_PKG_NAME")),
        ("LIB-VER", env!("CARGO_PKG_VERSION")),
    ] {
        commands
            .cmd("CLIENT")
            .arg("SETINFO")
            .arg(attribute)
            .arg(value);
    }
    (commands, required)
}

/// Whether a server that answers so may answer otherwise soon.
fn is_passing(reply: &str) -> bool {
    matches!(reply, "LOADING" | "TRYAGAIN" | "CLUSTERDOWN" | "MASTERDOWN")
}

impl From<RedisError> for Failure {
    fn from(error: RedisError) -> Self {
        Self {
            cause: error.to_string(),
            refusal: None,
        }
    }
}

/// Between half and the whole of `pause`, so that many processes do not come back in step.
fn jittered(pause: Duration) -> Duration {
    use std::hash::{BuildHasher, RandomState};
    // A fresh `RandomState` hashes differently each time: enough randomness for this.
    let fraction = (RandomState::new().hash_one(0) % 1024) as u32;
    pause / 2 + pause / 2 * fraction / 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_begins_with_who_and_where() {
        let mut options = crate::options::parse_url("redis://ann:pw@h/3").expect("a URL");
        let (commands, required) = set_up(&options);
        assert_eq!((commands.len(), required), (4, 2));
        options.password = None;
        options.database = 0;
        assert_eq!(set_up(&options).1, 0);
    }

    #[test]
    fn pauses_stay_between_half_and_whole() {
        for _ in 0..1000 {
            let pause = jittered(Duration::from_millis(100));
            assert!((50..=100).contains(&pause.as_millis()), "{pause:?}");
        }
    }
}
