//! A connection that is the app's own JavaScript client: the same jobs, run by the call with which it
//! sends any command.
//!
//! One task hands commands over in batches and takes their replies as they come. While the client is not
//! connected, commands wait here rather than in its own queue: what has run out of time is then never
//! sent. A command that was cut off by a lost connection, or that the server puts off, is repeated with
//! the writes that were handed over after it, in order, once nothing else is under way.
//!
//! What no client can promise is order among commands that it sends over several connections, as pools
//! do.
//!
//! - [`port`]: what the client is asked for and says; [`batch`]: the form in which it is given commands.
//! - [`jobs`]: what is to be answered; [`queue`]: what waits to be given; [`dispatch`]: what is given, and when;
//!   [`replies`]: what becomes of the replies; [`timeouts`]: what comes to nothing.
//! - [`state`]: how the client is.

mod batch;
mod dispatch;
mod jobs;
mod port;
mod queue;
mod replies;
mod state;
mod timeouts;

pub(super) use self::port::{Executor, Said};

use self::jobs::{Place, Stage, Work};
use self::queue::Queue;
use self::state::State;
use super::clock;
use super::mailbox::Mailbox;
use super::status::{Down, Event, Watches};
use super::substitutes::Denied;
use super::supervisor::longest_silence;
use super::{Connection, Job, Message, PrimariesSender, Reply, Shared};
use crate::error::Error;
use crate::options::ConnectionOptions;
use futures_util::FutureExt;
use redis::Value;
use std::collections::{BTreeMap, HashSet};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

/// Pauses before commands are repeated grow from the first to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
const CLOSED: &str = "the app has closed it";
/// How long nothing has to be done if nothing happens.
const CALM: Duration = Duration::from_secs(60);

pub(super) async fn run(
    options: ConnectionOptions,
    shared: Arc<Shared>,
    connection: mpsc::WeakUnboundedSender<Message>,
    inbox: Mailbox,
) {
    let mut driver = Driver {
        silence: longest_silence(options.command_timeout),
        options,
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
        denied: Denied::default(),
        substituted: HashSet::new(),
        heard: Instant::now(),
        failing: None,
        failure: None,
        links: 1,
        resume_at: Instant::now(),
        pause: FIRST_PAUSE,
        watches: Watches::default(),
        walkers: Vec::new(),
        nodes_at: Instant::now(),
    };
    while AssertUnwindSafe(driver.run()).catch_unwind().await.is_err() {
        driver.recover();
    }
    driver.finish();
}

struct Driver {
    options: ConnectionOptions,
    shared: Arc<Shared>,
    /// For the handles of nodes.
    connection: mpsc::WeakUnboundedSender<Message>,
    inbox: Mailbox,
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
    /// The commands that the client's connection was found to deny.
    denied: Denied,
    /// The numbers of those that were given as their substitutes.
    substituted: HashSet<u64>,
    /// When the client last answered, or was given the first that it owes an answer to.
    heard: Instant,
    /// Since when the connection fails what is given to the client, and the last cause, if the server has not answered
    /// since.
    failing: Option<(Instant, String)>,
    /// The first number that is to be repeated: nothing is given until nothing is under way.
    failure: Option<u64>,
    /// Counts the client's connections, as far as its events and failures tell them apart.
    links: u64,
    resume_at: Instant,
    pause: Duration,
    /// For how long the client may keep silent while it owes an answer.
    silence: Duration,
    watches: Watches,
    walkers: Vec<PrimariesSender>,
    /// When the client is asked for its nodes, if somebody waits for them.
    nodes_at: Instant,
}

impl Driver {
    /// Goes on after a panic, without what was in flight, which is answered by being dropped.
    fn recover(&mut self) {
        self.jobs.clear();
        self.waiting = Queue::default();
        self.given.clear();
        self.substituted.clear();
        self.failure = None;
        let server = self.shared.server.to_string();
        self.watches
            .notify(&Event::Failed(Error::Interrupted { server }));
    }

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
            let alarm = self.alarm().max(Instant::now());
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
            if clock::note_wake(alarm) {
                // While the process was stopped, the client could not answer.
                self.heard = Instant::now();
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
        self.inbox.notify_ended();
    }

    /// When something has to be done, if nothing happens before.
    fn alarm(&self) -> Instant {
        let now = Instant::now();
        let mut alarm = now + CALM;
        if let Some(work) = self.jobs.values().next() {
            alarm = alarm.min(clock::wake(work.deadline));
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
            Message::Credentials(_)
            | Message::Renewal(_)
            | Message::HandOver(_)
            | Message::Close(_) => {}
        }
    }

    fn begin(&mut self, job: Job) {
        self.last_job += 1;
        let id = self.last_job;
        let work = Work::of(job);
        for (at, stage) in work.stages.iter().enumerate() {
            if *stage == Stage::Waiting {
                let place = Place { job: id, at };
                self.waiting.add(place, work.commands.is_operation(at));
            }
        }
        self.jobs.insert(id, work);
        if self.state == State::Ended {
            // Some can be opened again: the answer decides.
            match &self.executor {
                Some(executor) => executor.ask_state(),
                None => self.fail_all(&self.unreachable(CLOSED.into())),
            }
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
                    timed_out: false,
                });
            }
        }
    }

    /// Answers some commands of a job.
    fn answer(&mut self, id: u64, replies: Vec<(usize, Reply)>) {
        if let Some(work) = self.jobs.get_mut(&id) {
            work.answer(replies);
            if work.is_done() {
                self.jobs.remove(&id);
            }
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::Watch;
    use crate::connection::commands::{Access, Commands, Expect};
    use crate::connection::test_observers::{Errors, Panicking};
    use crate::options::{Address, Client};
    use tokio::runtime::Handle;
    use tokio::time::timeout;

    const ENOUGH: Duration = Duration::from_secs(30);

    #[tokio::test]
    async fn a_task_that_panics_is_reported_and_goes_on() {
        let mut options = crate::options::parse_url("redis://h").expect("a URL");
        options.address = Address::Client(Client {
            id: 1,
            name: "the client".into(),
            is_cluster: false,
        });
        options.command_timeout = Duration::from_millis(100);
        let connection = Connection::open(&Handle::current(), options);
        let (tell, mut errors) = mpsc::unbounded_channel();
        let watch: Arc<dyn Watch> = Arc::new(Errors(tell));
        connection.watch(Arc::downgrade(&watch));
        let words: [&[u8]; 2] = [b"GET", b"k"];
        let get = Commands::of(Access::Read, Expect::Text, Some(1), &words);
        // It runs out of time: no client was offered.
        connection.send(get, Box::new(Panicking));
        let error = timeout(ENOUGH, errors.recv()).await;
        assert!(
            matches!(&error, Ok(Some(error)) if error.contains("ended unexpectedly")),
            "{error:?}"
        );
        let reply = connection.ask(Access::Read, Expect::Text, Some(1), &words);
        let reply = timeout(ENOUGH, reply).await;
        assert!(
            matches!(&reply, Ok(Err(error)) if error.code() != "ERR_STORE_CLOSED"),
            "{reply:?}"
        );
        assert!(timeout(ENOUGH, connection.close()).await.is_ok());
    }
}
