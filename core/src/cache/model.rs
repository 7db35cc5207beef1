//! The cache of a process against a server, with another process that writes.

use super::{Cache, CacheOptions, Entry, Invalidation, PendingWrite, Ticket, TrackedLink};
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

type Key = u8;
type Version = u32;

#[derive(Clone, Debug)]
enum Step {
    LookUp(Key),
    /// The process issues a command; the flag also sends it.
    Read(Key),
    Write(Key, bool),
    /// Sends the writes that are issued.
    Send,
    /// The server executes a command of the process, and reports the change before or after its reply.
    Execute(bool),
    /// Another process writes.
    WriteElsewhere(Key),
    /// The process receives the next reply or invalidation.
    Receive,
    /// The connection is lost with everything that was sent.
    Lose,
    Flush,
}

fn step() -> impl Strategy<Value = Step> {
    let key = || 0..3u8;
    prop_oneof![
        4 => key().prop_map(Step::LookUp),
        4 => key().prop_map(Step::Read),
        3 => (key(), any::<bool>()).prop_map(|(key, is_sent)| Step::Write(key, is_sent)),
        2 => Just(Step::Send),
        8 => any::<bool>().prop_map(Step::Execute),
        2 => key().prop_map(Step::WriteElsewhere),
        10 => Just(Step::Receive),
        1 => Just(Step::Lose),
        1 => Just(Step::Flush),
    ]
}

/// A command of the process.
enum Command {
    Read(Key, Ticket),
    Write(Key, PendingWrite),
}

/// A message of the server.
enum Sent {
    Value(Key, Ticket, Version),
    Written(Key, PendingWrite, Version),
    Changed(Key, Version),
    Flushed(Version),
}

struct Model {
    cache: Arc<Cache>,
    line: Option<TrackedLink>,
    /// The writes that are issued and not sent.
    issued: VecDeque<(Key, PendingWrite)>,
    in_flight: VecDeque<Command>,
    receiving: VecDeque<Sent>,
    last: Version,
    stored: HashMap<Key, Version>,
    /// The keys whose changes the server reports.
    tracked: HashSet<Key>,
    /// The versions that the process knows to be written.
    known: HashMap<Key, Version>,
}

impl Model {
    fn new() -> Self {
        let cache = Arc::new(Cache::new(
            CacheOptions {
                max_bytes: 1 << 20,
                max_entries: 100,
                max_staleness: Duration::from_secs(3600),
            },
            Arc::default(),
        ));
        Self {
            line: Some(cache.begin(true)),
            cache,
            issued: VecDeque::new(),
            in_flight: VecDeque::new(),
            receiving: VecDeque::new(),
            last: 0,
            stored: HashMap::new(),
            tracked: HashSet::new(),
            known: HashMap::new(),
        }
    }

    fn stored(&self, key: Key) -> Version {
        self.stored.get(&key).copied().unwrap_or(0)
    }

    fn note_known(&mut self, key: Key, version: Version) {
        let known = self.known.entry(key).or_default();
        *known = version.max(*known);
    }

    /// Looks a key up, and checks that no newer version is known.
    fn look_up(&self, key: Key) -> Option<Version> {
        let (entry, _) = self.cache.look_up(&[key])?;
        let version = Version::from_le_bytes(entry.text[..].try_into().expect("a version"));
        let known = self.known.get(&key).copied().unwrap_or(0);
        assert!(version >= known, "read {version} after {known}");
        let writes = self.in_flight.iter().filter(|command| match command {
            Command::Write(other, _) => *other == key,
            Command::Read(..) => false,
        });
        let is_issued = self.issued.iter().any(|(other, _)| *other == key);
        assert!(!is_issued && writes.count() == 0, "read past an own write");
        Some(version)
    }

    fn send(&mut self) {
        for (key, mut write) in self.issued.drain(..) {
            write.send();
            self.in_flight.push_back(Command::Write(key, write));
        }
    }

    fn write(&mut self, key: Key) {
        self.last += 1;
        self.stored.insert(key, self.last);
    }

    /// Reports a change to the process, if it has read the key since the last one.
    fn report(&mut self, key: Key) {
        if self.tracked.remove(&key) {
            self.receiving
                .push_back(Sent::Changed(key, self.stored(key)));
        }
    }

    fn execute(&mut self, reports_first: bool) {
        match self.in_flight.pop_front() {
            Some(Command::Read(key, ticket)) => {
                self.tracked.insert(key);
                let value = Sent::Value(key, ticket, self.stored(key));
                self.receiving.push_back(value);
            }
            Some(Command::Write(key, write)) => {
                self.write(key);
                if reports_first {
                    self.report(key);
                }
                let written = Sent::Written(key, write, self.stored(key));
                self.receiving.push_back(written);
                self.report(key);
            }
            None => {}
        }
    }

    fn receive(&mut self) {
        match self.receiving.pop_front() {
            Some(Sent::Value(key, ticket, version)) => {
                let entry = Entry {
                    text: version.to_le_bytes().into(),
                    ends: None,
                    until: None,
                    in_force: None,
                    clock: Default::default(),
                };
                self.cache.fill(ticket, &[key], entry);
            }
            Some(Sent::Written(key, write, version)) => {
                drop(write);
                self.note_known(key, version);
            }
            Some(Sent::Changed(key, version)) => {
                self.cache.invalidate(&Invalidation::Keys(vec![vec![key]]));
                self.note_known(key, version);
            }
            Some(Sent::Flushed(version)) => {
                self.cache.invalidate(&Invalidation::All);
                (0..3).for_each(|key| self.note_known(key, version));
            }
            None => {}
        }
    }

    /// Replaces the connection. Commands without a reply are sent again in their order, executed or not.
    fn lose(&mut self) {
        self.line = None;
        self.tracked.clear();
        let unreceived = self.receiving.drain(..).filter_map(|sent| match sent {
            Sent::Value(key, ticket, _) => Some(Command::Read(key, ticket)),
            Sent::Written(key, write, _) => Some(Command::Write(key, write)),
            Sent::Changed(..) | Sent::Flushed(_) => None,
        });
        self.in_flight = unreceived.chain(self.in_flight.drain(..)).collect();
        self.line = Some(self.cache.begin(true));
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::LookUp(key) => {
                self.look_up(key);
            }
            Step::Read(key) => {
                // Commands leave in the order in which they were issued.
                self.send();
                let ticket = self.cache.ticket();
                self.in_flight.push_back(Command::Read(key, ticket));
            }
            Step::Write(key, is_sent) => {
                self.issued.push_back((key, self.cache.write(&[key])));
                if is_sent {
                    self.send();
                }
            }
            Step::Send => self.send(),
            Step::Execute(reports_first) => self.execute(reports_first),
            Step::WriteElsewhere(key) => {
                self.write(key);
                self.report(key);
            }
            Step::Receive => self.receive(),
            Step::Lose => self.lose(),
            Step::Flush => {
                self.last += 1;
                self.stored.extend((0..3).map(|key| (key, self.last)));
                self.tracked.clear();
                self.receiving.push_back(Sent::Flushed(self.last));
            }
        }
    }
}

fn run(steps: Vec<Step>) -> usize {
    let mut model = Model::new();
    steps.into_iter().for_each(|step| model.step(step));
    // All is sent, executed and received in the end.
    model.send();
    while !model.in_flight.is_empty() {
        model.execute(false);
    }
    while !model.receiving.is_empty() {
        model.receive();
    }
    let found = (0..3).filter(|&key| {
        let found = model.look_up(key);
        assert!(found.is_none_or(|version| version == model.stored(key)));
        found.is_some()
    });
    found.count()
}

#[test]
fn cached_sessions_are_never_older_than_what_the_process_knows() {
    let hits = std::cell::Cell::new(0);
    proptest!(crate::fuzz::config(), |(steps in vec(step(), 0..100))| hits.set(hits.get() + run(steps)));
    assert!(hits.get() > 0, "something is cached");
}
