//! The job queue against a server that fails at random: writes to a key keep their order.

use super::queue::JobQueue;
use crate::connection::commands::{Access, Commands, Expect};
use crate::connection::failure::Failure;
use crate::connection::job::{Job, Reply, ReplyHandler};
use crate::connection::origin::{Origin, ServerId};
use crate::connection::retry_policy::{MAX_HANG_UPS, RetryPolicy};
use crate::connection::shared::Shared;
use crate::connection::substitutes::Denied;
use crate::error::Error;
use crate::options::ConnectionOptions;
use proptest::collection::vec;
use proptest::prelude::*;
use redis::Value;
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::Instant;

#[derive(Clone, Debug)]
enum Step {
    /// The app sends a job: commands for keys; the flag marks writes.
    Issue(Vec<(u8, bool)>),
    /// The supervisor sends what it may.
    Send,
    /// The server executes a command, or replies with a transient error.
    Execute(bool),
    /// A reply arrives.
    Receive,
    /// The link is lost; the flag is set if the server ended it.
    Lose(bool),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => vec((0..3u8, any::<bool>()), 1..5).prop_map(Step::Issue),
        3 => Just(Step::Send),
        8 => prop::bool::weighted(0.9).prop_map(Step::Execute),
        8 => Just(Step::Receive),
        1 => any::<bool>().prop_map(Step::Lose),
    ]
}

/// A job in flight.
struct Sent {
    job: Job,
    /// The number of its commands that were sent.
    due: usize,
    executed: usize,
    /// The replies on their way, and those that have arrived.
    replies: VecDeque<Value>,
    received: Vec<Value>,
}

/// Counts the completions of each command: successes and failures.
type Completions = Arc<Mutex<HashMap<u32, (u32, u32)>>>;

/// Notes the replies to the commands that have these numbers.
struct Record(Vec<u32>, Completions);

impl ReplyHandler for Record {
    fn on_replies(&mut self, replies: Vec<(usize, Reply)>, _: Origin) {
        let mut completions = self.1.lock().expect("unpoisoned");
        for (at, reply) in replies {
            let (successes, failures) = completions.entry(self.0[at]).or_default();
            *if reply.is_ok() { successes } else { failures } += 1;
        }
    }
}

struct Model {
    shared: Arc<Shared>,
    queue: JobQueue,
    in_flight: VecDeque<Sent>,
    /// The number of the last command, and of the last write to each key.
    issued: u32,
    last_writes: HashMap<u8, Vec<u32>>,
    completions: Completions,
    stored: HashMap<u8, u32>,
}

impl Model {
    fn new() -> Self {
        let shared = Arc::new(Shared::new(
            &ConnectionOptions::default(),
            None,
            Arc::default(),
        ));
        Self {
            queue: JobQueue::new(Arc::clone(&shared), RetryPolicy::TransientErrors),
            shared,
            in_flight: VecDeque::new(),
            issued: 0,
            last_writes: HashMap::new(),
            completions: Completions::default(),
            stored: HashMap::new(),
        }
    }

    fn issue(&mut self, accesses: Vec<(u8, bool)>) {
        let mut commands = Commands::default();
        let first = self.issued + 1;
        for &(key, is_write) in &accesses {
            self.issued += 1;
            let number = self.issued.to_string();
            if is_write {
                self.last_writes.entry(key).or_default().push(self.issued);
                let words: [&[u8]; 3] = [b"SET", &[key], number.as_bytes()];
                commands.add(Access::Write, Expect::Okay, Some(1), &words);
            } else {
                commands.add(Access::Read, Expect::Text, Some(1), &[b"GET", &[key]]);
            }
        }
        let count = commands.len();
        let record = Record(
            (first..=self.issued).collect(),
            Arc::clone(&self.completions),
        );
        let deadline = Instant::now() + Duration::from_secs(3600);
        let job = Job::new(commands, count, deadline, Box::new(record));
        self.shared
            .queued
            .fetch_add(job.operations(), Ordering::Relaxed);
        self.queue.push(job);
    }

    fn send(&mut self) {
        if self.queue.is_retrying() {
            return;
        }
        let mut capacity = match self.queue.sends_singly() {
            true => usize::from(self.in_flight.is_empty()),
            false => usize::MAX,
        };
        while capacity > 0
            && let Some(job) = self.queue.pop()
        {
            let due = job.pending.len().min(capacity);
            capacity -= due;
            self.in_flight.push_back(Sent {
                job,
                due,
                executed: 0,
                replies: VecDeque::new(),
                received: Vec::new(),
            });
        }
    }

    fn execute(&mut self, is_able: bool) {
        let mut in_flight = self.in_flight.iter_mut();
        let Some(sent) = in_flight.find(|sent| sent.executed < sent.due) else {
            return;
        };
        let at = sent.job.pending[sent.executed];
        sent.executed += 1;
        let words: Vec<_> = sent.job.commands.words(at).map(|(word, _)| word).collect();
        sent.replies.push_back(match words[..] {
            _ if !is_able => redis::parse_redis_value(b"-LOADING later\r\n").expect("an error"),
            [b"SET", key, number] => {
                let number = String::from_utf8_lossy(number).parse().expect("a number");
                self.stored.insert(key[0], number);
                Value::Okay
            }
            _ => Value::Nil,
        });
    }

    fn receive(&mut self) {
        if let Some(sent) = self.in_flight.front_mut()
            && let Some(reply) = sent.replies.pop_front()
        {
            sent.received.push(reply);
            if sent.received.len() == sent.due
                && let Some(sent) = self.in_flight.pop_front()
            {
                self.queue
                    .complete((sent.job, sent.received, Denied::default()));
            }
        }
        // A transient error ends the link once all is answered.
        if self.queue.is_retrying() && self.in_flight.is_empty() {
            self.lose(false);
        }
    }

    fn lose(&mut self, has_hung_up: bool) {
        let error = Error::Closed;
        let failure = Failure::lost("the link was lost");
        let is_due = !self.in_flight.is_empty() && self.queue.transient_error().is_none();
        let hang_up = (has_hung_up && is_due).then_some(failure);
        let in_flight = std::mem::take(&mut self.in_flight).into_iter();
        let in_flight = in_flight.map(|sent| (sent.job, sent.received, Denied::default()));
        self.queue.requeue_in_flight(in_flight, &error, hang_up);
        self.queue.take_transient_error();
        self.queue.begin_link(ServerId::default());
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Issue(accesses) => self.issue(accesses),
            Step::Send => self.send(),
            Step::Execute(is_able) => self.execute(is_able),
            Step::Receive => self.receive(),
            Step::Lose(has_hung_up) => self.lose(has_hung_up),
        }
        self.check(|successes, failures| successes + failures <= 1);
    }

    /// Checks the number of completions of each command, and that no completed write was undone by an earlier one.
    fn check(&self, is_allowed: impl Fn(u32, u32) -> bool) {
        let completions = self.completions.lock().expect("unpoisoned");
        for number in 1..=self.issued {
            let (successes, failures) = completions.get(&number).copied().unwrap_or_default();
            assert!(
                is_allowed(successes, failures),
                "{number}: {successes} + {failures}"
            );
        }
        for (key, writes) in &self.last_writes {
            let stored = self.stored.get(key).copied().unwrap_or(0);
            let is_done = |number: &&u32| completions.get(number).is_some_and(|done| done.0 > 0);
            let done = writes.iter().rfind(is_done).copied().unwrap_or(0);
            assert!(
                stored >= done,
                "key {key}: {done} was completed, {stored} is stored"
            );
        }
    }
}

fn run(steps: Vec<Step>) {
    let mut model = Model::new();
    let hang_ups = steps
        .iter()
        .filter(|step| matches!(step, Step::Lose(true)))
        .count();
    steps.into_iter().for_each(|step| model.step(step));
    // The server recovers: everything is served.
    model.lose(false);
    let mut turns = 0;
    while !model.queue.is_empty() || !model.in_flight.is_empty() {
        for step in [Step::Send, Step::Execute(true), Step::Receive] {
            model.step(step);
        }
        turns += 1;
        assert!(turns < 10_000, "commands are left");
    }
    let may_fail = hang_ups >= MAX_HANG_UPS as usize;
    model.check(|successes, failures| successes + failures == 1 && (failures == 0 || may_fail));
    assert_eq!(model.shared.queued.load(Ordering::Relaxed), 0);
    let completions = model.completions.lock().expect("unpoisoned");
    for (key, writes) in &model.last_writes {
        let is_done = |number: &&u32| completions[*number].0 > 0;
        let last = writes.iter().rfind(is_done);
        if writes.iter().all(|number| completions[number].1 == 0) {
            assert_eq!(model.stored.get(key), last, "key {key}");
        }
    }
}

#[test]
fn writes_to_a_key_keep_their_order_through_transient_errors_and_lost_links() {
    proptest!(crate::fuzz::config(), |(steps in vec(step(), 0..120))| run(steps));
}
