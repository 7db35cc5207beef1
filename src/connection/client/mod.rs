//! A connection that is the app's own JavaScript client: the same jobs, run by the call with which it
//! sends any command.
//!
//! One task hands commands over in batches and takes their replies as they come. While the client is not
//! connected, commands wait here rather than in its own queue: what has run out of time is then never
//! sent. A command that was cut off by a lost connection, or that the server puts off, is repeated with
//! the writes that were handed over after it, in order, once nothing else is under way.
//!
//! A client may tell nothing of a lost connection but that commands fail. Where nothing else comes of them for a
//! while, it counts as not connected, and is tried by one command, or by `PING`, until the server answers.
//!
//! What no client can promise is order among commands that it sends over several connections, as pools
//! do.

mod queue;

use self::queue::Queue;
use super::commands::{Access, Commands, Expect};
use super::inbox::Inbox;
use super::status::{Down, Event, Watches};
use super::supervisor::longest_silence;
use super::{Connection, Job, Message, Reply, Settle, Shared, Walker};
use crate::error::Error;
use crate::options::ConnectionOptions;
use redis::Value;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

/// Commands and bytes of a batch, so that the event loop gets to other work in between.
const MOST_COMMANDS: usize = 128;
const MOST_BYTES: usize = 256 * 1024;
/// Redis takes no longer string, nor does V8.
const LONGEST_COMMAND: usize = 1 << 29;
/// Pauses before commands are repeated grow from the first to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
/// A client that is not connected, or does not answer, is tried this often while commands wait: its
/// events may not tell all.
const TRY_PAUSE: Duration = Duration::from_millis(250);
/// The same where no command waits, by `PING`.
const CALM_TRY_PAUSE: Duration = Duration::from_secs(1);
/// For how long commands may fail, with no answer of the server among them, until that means that it is away.
const LONGEST_FAILING: Duration = Duration::from_millis(500);
const CLOSED: &str = "the app has closed it";
/// How long nothing has to be done if nothing happens.
const CALM: Duration = Duration::from_secs(60);

/// The app's client, on the other side of the boundary; it answers by a [`Port`]. Called on the
/// runtime's thread; must neither block nor wait.
pub(crate) trait Executor: Send + Sync {
    /// Asks whether it is connected, and to be told when that changes.
    fn ask_state(&self);
    /// Asks which nodes hold keys.
    fn ask_nodes(&self);
    /// Runs a batch, in order: a line of numbers, in brackets and with commas, and the words of its
    /// commands. The numbers of a command are: its own, the node (0 for any), which word is the key (0 for
    /// none, else counted from 1), 1 if it only reads, the number of words, their lengths in UTF-16 units.
    fn run(&self, batch: String);
}

/// What the app's client says.
pub(crate) enum Said {
    Connected,
    /// It is not connected, but will be, as far as one knows.
    Away(String),
    /// Something failed, such as an attempt to connect.
    Failed(String),
    /// It was closed by the app.
    Ended,
    /// A RESP array of three values for each reply: the command's number; 0 for a reply of the server, 1
    /// for a failure of the connection, 2 for another one; the reply, or the client's message.
    Replies(Vec<u8>),
    /// The numbers of the nodes that hold keys.
    Nodes(Vec<u32>),
    NoNodes(String),
}

/// By which the client answers. Does not keep the connection open.
#[derive(Clone, Debug)]
pub(crate) struct Port(mpsc::WeakUnboundedSender<Message>);

impl Port {
    pub(super) fn new(messages: &mpsc::UnboundedSender<Message>) -> Self {
        Self(messages.downgrade())
    }

    pub(crate) fn say(&self, said: Said) {
        // A connection that has ended needs no answer.
        if let Some(messages) = self.0.upgrade() {
            let _ = messages.send(Message::Said(said));
        }
    }
}

pub(super) async fn run(
    options: ConnectionOptions,
    shared: Arc<Shared>,
    connection: mpsc::WeakUnboundedSender<Message>,
    inbox: Inbox,
) {
    let mut driver = Driver {
        silence: longest_silence(options.command_timeout),
        shared,
        connection,
        inbox,
        executor: None,
        state: State::Away,
        failures: 0,
        try_at: Instant::now(),
        jobs: BTreeMap::new(),
        last_job: 0,
        waiting: Queue::default(),
        given: BTreeMap::new(),
        last_given: 0,
        heard: Instant::now(),
        failing: None,
        failure: None,
        resume_at: Instant::now(),
        pause: FIRST_PAUSE,
        watches: Watches::default(),
        walkers: Vec::new(),
        nodes_at: Instant::now(),
    };
    driver.run().await;
    driver.finish();
}

/// A command of a job. Their order is that in which the app issued them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    job: u64,
    at: usize,
}

#[derive(Clone, Copy, PartialEq)]
enum Stage {
    Waiting,
    /// Under this number.
    Given(u64),
    Done,
}

struct Work {
    commands: Commands,
    stages: Vec<Stage>,
    left: usize,
    deadline: Instant,
    settle: Box<dyn Settle>,
    /// Why the last attempt came to nothing, and how many did.
    trouble: Option<String>,
    attempts: u32,
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    Connected,
    Away,
    /// Connected, but it answers nothing.
    Silent,
    /// Connected, as far as it tells, but all that it is given fails.
    Failing,
    Ended,
}

struct Driver {
    shared: Arc<Shared>,
    /// For the handles of nodes.
    connection: mpsc::WeakUnboundedSender<Message>,
    inbox: Inbox,
    /// The first that was offered: all are the same client.
    executor: Option<Arc<dyn Executor>>,
    state: State,
    /// The client's failures since it was connected.
    failures: u32,
    /// When a client that is away is asked, or one that is silent or failing is given a command.
    try_at: Instant,
    jobs: BTreeMap<u64, Work>,
    last_job: u64,
    waiting: Queue,
    /// What the client has not answered. Numbers grow.
    given: BTreeMap<u64, Place>,
    last_given: u64,
    /// When the client last answered, or was given the first that it owes an answer to.
    heard: Instant,
    /// Since when the connection fails what is given to the client, and the last cause, if the server has not answered
    /// since.
    failing: Option<(Instant, String)>,
    /// The first number that is to be repeated: nothing is given until nothing is under way.
    failure: Option<u64>,
    resume_at: Instant,
    pause: Duration,
    /// For how long the client may keep silent while it owes an answer.
    silence: Duration,
    watches: Watches,
    walkers: Vec<Walker>,
    /// When the client is asked for its nodes, if somebody waits for them.
    nodes_at: Instant,
}

impl Driver {
    async fn run(&mut self) {
        loop {
            self.expire();
            self.notice_silence();
            self.give();
            self.seek();
            self.shared
                .queued
                .store(self.waiting.operations(), Ordering::Relaxed);
            if self.inbox.is_closing() && self.jobs.is_empty() {
                return;
            }
            let alarm = self.alarm();
            tokio::select! {
                biased;
                message = self.inbox.next() => {
                    let mut next = message;
                    while let Some(message) = next {
                        self.accept(message);
                        next = self.inbox.try_next();
                    }
                }
                () = sleep_until(alarm) => {}
            }
        }
    }

    /// Tells everybody that it is over.
    fn finish(mut self) {
        self.inbox.shut();
        while let Some(message) = self.inbox.try_next() {
            self.accept(message);
        }
        self.fail_all(&Error::Closed);
        self.inbox.tell_ended();
    }

    /// When something has to be done, if nothing happens before.
    fn alarm(&self) -> Instant {
        let now = Instant::now();
        let mut alarm = now + CALM;
        if let Some(work) = self.jobs.values().next() {
            alarm = alarm.min(work.deadline);
        }
        if self.state == State::Connected && !self.given.is_empty() {
            alarm = alarm.min(self.heard + self.silence);
        }
        if !self.walkers.is_empty() && self.executor.is_some() {
            alarm = alarm.min(self.nodes_at);
        }
        if self.state == State::Failing {
            alarm = alarm.min(self.try_at);
        }
        if !self.waiting.is_empty() && self.executor.is_some() {
            match self.state {
                State::Away | State::Silent => alarm = alarm.min(self.try_at),
                State::Connected if self.failure.is_none() => alarm = alarm.min(self.resume_at),
                _ => {}
            }
        }
        alarm
    }

    // ---- What comes in ----

    fn accept(&mut self, message: Message) {
        match message {
            Message::Job(job) if self.inbox.is_closing() => job.fail(&Error::Closed),
            Message::Job(job) => self.begin(job),
            Message::Executor(executor) => {
                if self.executor.is_none() {
                    executor.ask_state();
                    self.executor = Some(executor);
                }
            }
            Message::Said(said) => self.hear(said),
            Message::Primaries(walker) => {
                if self.walkers.is_empty() {
                    self.nodes_at = Instant::now();
                }
                self.walkers.push(walker);
            }
            Message::Watch(watch) => {
                self.watches.add(watch, self.shared.health.is_ready());
            }
            // The client sees to that itself, and the inbox to this.
            Message::Credentials(_) | Message::Renewal(_) | Message::Close(_) => {}
        }
    }

    fn begin(&mut self, job: Job) {
        self.last_job += 1;
        let id = self.last_job;
        let mut work = Work {
            stages: vec![Stage::Done; job.commands.len()],
            commands: job.commands,
            left: job.pending.len(),
            deadline: job.deadline,
            settle: job.settle,
            trouble: None,
            attempts: 0,
        };
        for at in job.pending {
            work.stages[at] = Stage::Waiting;
            self.waiting
                .add(Place { job: id, at }, work.commands.is_operation(at));
        }
        self.jobs.insert(id, work);
        if self.state == State::Ended {
            // Some can be opened again.
            if let Some(executor) = &self.executor {
                executor.ask_state();
            }
            self.fail_all(&self.unreachable(CLOSED.into()));
        }
    }

    fn hear(&mut self, said: Said) {
        match said {
            // One that keeps silent, or fails, is connected, as far as it knows.
            Said::Connected if matches!(self.state, State::Silent | State::Failing) => {}
            Said::Connected => self.set_connected(),
            Said::Away(cause) => self.set_away(State::Away, cause),
            Said::Failed(cause) if matches!(self.state, State::Away | State::Silent) => {
                self.fail_again(cause);
            }
            // What that means for commands, they say themselves.
            Said::Failed(_) => {}
            Said::Ended => {
                self.set_away(State::Ended, CLOSED.into());
                self.fail_all(&self.unreachable(CLOSED.into()));
            }
            Said::Replies(bytes) => {
                if let Ok(Value::Array(values)) = redis::parse_redis_value(&bytes) {
                    self.take_replies(values);
                }
            }
            Said::Nodes(numbers) => self.take_nodes(&numbers),
            Said::NoNodes(cause) => {
                self.shared.health.set_down(Down {
                    attempts: 1,
                    cause,
                    silent: false,
                });
            }
        }
    }

    fn take_replies(&mut self, values: Vec<Value>) {
        self.heard = Instant::now();
        if self.state == State::Silent {
            self.set_connected();
        }
        let mut answers: BTreeMap<u64, Vec<(usize, Reply)>> = BTreeMap::new();
        let mut values = values.into_iter();
        while let (Some(Value::Int(number)), Some(Value::Int(kind)), Some(value)) =
            (values.next(), values.next(), values.next())
        {
            let Ok(number) = u64::try_from(number) else {
                return;
            };
            self.notice_failing(kind, &value);
            // Else it has run out of time.
            if let Some(place) = self.given.remove(&number)
                && let Some(reply) = self.take_reply(number, place, kind, value)
            {
                answers
                    .entry(place.job)
                    .or_default()
                    .push((place.at, reply));
            }
        }
        for (id, replies) in answers {
            if let Some(work) = self.jobs.get_mut(&id) {
                work.left -= replies.len();
                work.settle.settle(replies);
                if work.left == 0 {
                    self.jobs.remove(&id);
                }
            }
        }
        self.end_failure();
    }

    /// The answer to a command; `None` if the command is repeated.
    fn take_reply(&mut self, number: u64, place: Place, kind: i64, value: Value) -> Option<Reply> {
        let server = self.shared.server.to_string();
        let work = self.jobs.get_mut(&place.job)?;
        let (reply, cause) = match (kind, value) {
            (0, Value::ServerError(error)) => {
                let error = Error::from_reply(&server, error.code(), error.details());
                let cause = error.is_passing().then(|| error.to_string());
                (Err(error), cause)
            }
            (0, value) => (Ok(as_sent(value, work.commands.expect(place.at))), None),
            (kind, message) => {
                let cause = text(&message);
                let error = Error::Client {
                    server,
                    cause: cause.clone(),
                };
                (Err(error), (kind == 1).then_some(cause))
            }
        };
        if let Some(cause) = cause {
            work.trouble = Some(cause);
            work.attempts += 1;
            let first = self.failure.unwrap_or(number);
            self.failure = Some(first.min(number));
        } else if self.failure.is_none_or(|first| number < first)
            || work.commands.access(place.at) == Access::Read
        {
            self.pause = FIRST_PAUSE;
            work.stages[place.at] = Stage::Done;
            return Some(reply);
        }
        work.stages[place.at] = Stage::Waiting;
        self.waiting
            .add(place, work.commands.is_operation(place.at));
        None
    }

    /// Once nothing is under way, what failed can be repeated.
    fn end_failure(&mut self) {
        if self.given.is_empty() && self.failure.take().is_some() {
            self.end_failing();
            self.resume_at = Instant::now() + self.pause;
            self.pause = (self.pause * 2).min(LONGEST_PAUSE);
            // The failure may be the first that one hears of a lost connection.
            if let Some(executor) = &self.executor {
                executor.ask_state();
            }
        }
    }

    // ---- How the client is ----

    fn set_connected(&mut self) {
        // That it says so once more proves nothing.
        if self.state != State::Connected {
            self.failing = None;
        }
        self.state = State::Connected;
        self.failures = 0;
        self.heard = Instant::now();
        if !self.shared.health.is_ready() {
            self.shared.health.set_ready(true);
            self.watches.tell(&Event::Ready);
        }
    }

    fn set_away(&mut self, state: State, cause: String) {
        let was_connected = self.state == State::Connected;
        // What is known of the cause says more than that it is still so.
        if state == self.state && self.failures > 0 {
            return;
        }
        self.state = state;
        self.try_at = Instant::now() + TRY_PAUSE;
        self.failures += u32::from(was_connected);
        self.note_down(cause.clone());
        if was_connected {
            self.watches
                .tell(&Event::Reconnecting(self.unreachable(cause)));
        }
    }

    fn note_down(&self, cause: String) {
        self.shared.health.set_ready(false);
        self.shared.health.set_down(Down {
            attempts: self.failures,
            cause,
            silent: self.state == State::Silent,
        });
    }

    fn fail_again(&mut self, cause: String) {
        self.failures += 1;
        self.note_down(cause.clone());
        self.watches.tell(&Event::Failed(self.unreachable(cause)));
    }

    /// Whether the server is there, as a reply or failure has it.
    fn notice_failing(&mut self, kind: i64, value: &Value) {
        match (kind, self.state) {
            (0, State::Failing) => self.set_connected(),
            (0, _) => self.failing = None,
            (1, State::Failing) => self.fail_again(text(value)),
            (1, _) => {
                let since = self
                    .failing
                    .take()
                    .map_or_else(Instant::now, |(since, _)| since);
                self.failing = Some((since, text(value)));
            }
            _ => {}
        }
    }

    /// In a cluster, it may be one of the nodes that is away.
    fn end_failing(&mut self) {
        if self.state == State::Connected
            && !self.shared.is_cluster
            && let Some((since, cause)) = &self.failing
            && *since + LONGEST_FAILING <= Instant::now()
        {
            let cause = cause.clone();
            self.set_away(State::Failing, cause);
        }
    }

    fn unreachable(&self, cause: String) -> Error {
        Error::Unreachable {
            server: self.shared.server.to_string(),
            cause,
        }
    }

    fn notice_silence(&mut self) {
        if self.state == State::Connected
            && !self.given.is_empty()
            && self.heard + self.silence <= Instant::now()
        {
            let cause = format!("no answer for {} ms", self.silence.as_millis());
            self.set_away(State::Silent, cause);
        }
    }

    // ---- What goes out ----

    fn give(&mut self) {
        let Some(executor) = self.executor.clone() else {
            return;
        };
        let now = Instant::now();
        let most = match self.state {
            State::Ended => return,
            State::Failing if self.try_at > now => return,
            State::Failing if self.waiting.is_empty() => return self.ping(&executor, now),
            _ if self.waiting.is_empty() => return,
            State::Connected if self.failure.is_some() || self.resume_at > now => return,
            State::Connected => usize::MAX,
            State::Away | State::Silent if self.try_at > now => return,
            State::Away => {
                self.try_at = now + TRY_PAUSE;
                return executor.ask_state();
            }
            // One is enough to find out whether it answers again.
            State::Silent | State::Failing => {
                self.try_at = now + TRY_PAUSE;
                if self.state == State::Failing && self.failure.is_some() {
                    return;
                }
                executor.ask_state();
                1
            }
        };
        if self.given.is_empty() {
            self.heard = now;
        }
        let mut left = most;
        while left > 0 && !self.waiting.is_empty() {
            let mut batch = Batch::default();
            while batch.count < MOST_COMMANDS.min(left)
                && batch.words.len() < MOST_BYTES
                && let Some(place) = self.waiting.pop_first()
            {
                self.add(&mut batch, place);
            }
            left -= batch.count.min(left).max(1);
            if batch.count > 0 {
                executor.run(batch.finish());
            }
        }
    }

    /// Asks a client whose commands fail, and that is given none, whether the server is there again. The number is
    /// nobody's.
    fn ping(&mut self, executor: &Arc<dyn Executor>, now: Instant) {
        self.try_at = now + CALM_TRY_PAUSE;
        self.last_given += 1;
        let mut batch = Batch::default();
        let command = Commands::of(Access::Read, Expect::Any, None, &[b"PING"]);
        batch.add(self.last_given, &command, 0);
        executor.ask_state();
        executor.run(batch.finish());
    }

    fn add(&mut self, batch: &mut Batch, place: Place) {
        let Some(work) = self.jobs.get_mut(&place.job) else {
            return;
        };
        if work.commands.bytes(place.at).len() > LONGEST_COMMAND {
            let error = Error::Client {
                server: self.shared.server.to_string(),
                cause: format!("a command of more than {LONGEST_COMMAND} bytes"),
            };
            work.stages[place.at] = Stage::Done;
            work.left -= 1;
            work.settle.settle(vec![(place.at, Err(error))]);
            if work.left == 0 {
                self.jobs.remove(&place.job);
            }
            return;
        }
        self.last_given += 1;
        let number = self.last_given;
        work.stages[place.at] = Stage::Given(number);
        self.given.insert(number, place);
        batch.add(number, &work.commands, place.at);
    }

    // ---- What fails ----

    fn expire(&mut self) {
        let now = Instant::now();
        while let Some(entry) = self.jobs.first_entry()
            && entry.get().deadline <= now
        {
            let (id, work) = entry.remove_entry();
            let error = self.overdue(&work);
            self.fail(id, work, &error);
        }
        self.end_failure();
    }

    /// Why nothing came of it in time.
    fn overdue(&self, work: &Work) -> Error {
        let server = self.shared.server.to_string();
        let waited = self.shared.command_timeout;
        match (&work.trouble, self.state) {
            (Some(cause), State::Connected | State::Away | State::Failing) => Error::Unavailable {
                server,
                waited,
                attempts: work.attempts,
                cause: cause.clone(),
            },
            (_, State::Away | State::Failing | State::Ended) => self.shared.unavailable(waited),
            _ => Error::Timeout { server, waited },
        }
    }

    fn fail_all(&mut self, error: &Error) {
        for (id, work) in std::mem::take(&mut self.jobs) {
            self.fail(id, work, error);
        }
    }

    fn fail(&mut self, id: u64, mut work: Work, error: &Error) {
        let mut replies = Vec::with_capacity(work.left);
        for (at, stage) in work.stages.iter().enumerate() {
            match stage {
                Stage::Done => continue,
                Stage::Waiting => {
                    self.waiting.remove(Place { job: id, at });
                }
                Stage::Given(number) => {
                    self.given.remove(number);
                }
            }
            replies.push((at, Err(error.clone())));
        }
        work.settle.settle(replies);
    }

    // ---- The nodes of a cluster ----

    fn seek(&mut self) {
        self.walkers.retain(|walker| !walker.is_closed());
        let now = Instant::now();
        if self.walkers.is_empty() || self.nodes_at > now {
            return;
        }
        // A question that is not answered is asked again.
        self.nodes_at = now + LONGEST_PAUSE;
        if let (Some(executor), State::Connected) = (&self.executor, self.state) {
            executor.ask_nodes();
        }
    }

    fn take_nodes(&mut self, numbers: &[u32]) {
        let Some(messages) = self.connection.upgrade() else {
            return;
        };
        for walker in self.walkers.drain(..) {
            let nodes = numbers.iter().map(|&node| Connection {
                messages: messages.clone(),
                shared: Arc::clone(&self.shared),
                node,
            });
            // The receiver may have stopped waiting.
            let _ = walker.send(Ok(nodes.collect()));
        }
    }
}

/// Commands on their way to JavaScript.
#[derive(Default)]
struct Batch {
    numbers: String,
    words: String,
    count: usize,
}

impl Batch {
    fn add(&mut self, number: u64, commands: &Commands, at: usize) {
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
            // Writing to a string cannot fail.
            let _ = write!(lengths, ",{length}");
        }
        let separator = if self.count == 0 { "[" } else { "," };
        let node = commands.node;
        let reads = u8::from(commands.access(at) == Access::Read);
        let _ = write!(
            self.numbers,
            "{separator}{number},{node},{key},{reads},{count}{lengths}"
        );
        self.count += 1;
    }

    fn finish(mut self) -> String {
        self.numbers.push_str("]\n");
        self.numbers.push_str(&self.words);
        self.numbers
    }
}

/// JavaScript has one kind of string for statuses and texts, and some clients give integers as strings.
fn as_sent(value: Value, expect: Expect) -> Value {
    match (expect, value) {
        (Expect::Okay, Value::BulkString(text)) if text == b"OK" => Value::Okay,
        (Expect::Integer, Value::BulkString(text)) => std::str::from_utf8(&text)
            .ok()
            .and_then(|text| text.parse().ok())
            .map_or(Value::BulkString(text), Value::Int),
        (_, value) => value,
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::BulkString(text) => String::from_utf8_lossy(text).into_owned(),
        _ => "it gave no reason".into(),
    }
}
