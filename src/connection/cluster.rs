//! A cluster behind one handle: each command goes to the node that has its key.
//!
//! One task routes; every node has a connection of its own, with a [`super::supervisor`] behind it, that
//! gives back what it cannot do. Where a node sends a command on, is lost or puts it off, the command's
//! slot is parked: what is under way in the slot comes back first, then all of it goes out again in the
//! order in which it was sent; a write, too, that was done although one before it was not. Where a slot gets
//! another node, what is under way at the one before comes back first as well. So order is kept per key, and slots
//! that are well do not wait for others.

use super::commands::{Access, Commands, Expect};
use super::inbox::Inbox;
use super::parked::{Parked, Waiting};
use super::questions::Questions;
use super::slots::{Redirection, SLOTS, Slots, slot};
use super::status::{Down, Event, Watch, Watches};
use super::supervisor::window::MOST_HANG_UPS;
use super::tracking::{Told, Tracking};
use super::{Connection, Job, Message, Reply, Settle, Shared, Walker};
use crate::error::Error;
use crate::options::{Address, Cluster, ConnectionOptions, Membership, Node};
use futures_util::stream::{FuturesUnordered, StreamExt};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::mem;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until, timeout_at};

/// How long one question for the slots may take.
const ASK_LIMIT: Duration = Duration::from_secs(2);
/// What other nodes may take longer than the first to answer it.
const GRACE: Duration = Duration::from_millis(50);
/// How long nothing has to be done if nothing happens.
const CALM: Duration = Duration::from_secs(60);
/// A replica that has put something off is not read from for this time.
const REPLICA_PAUSE: Duration = Duration::from_secs(1);
/// A command that was sent so often and is still sent on goes round among nodes that do not agree.
const MOST_HOPS: u32 = 4;

pub(super) async fn run(
    cluster: Cluster,
    options: ConnectionOptions,
    shared: Arc<Shared>,
    inbox: Inbox,
) {
    let (sender, news) = mpsc::unbounded_channel();
    let mut router = Router {
        tasks: Handle::current(),
        cluster,
        options,
        shared,
        inbox,
        sender,
        news,
        members: HashMap::new(),
        slots: Slots::default(),
        jobs: BTreeMap::new(),
        last_job: 0,
        under_way: vec![0; SLOTS.into()],
        parked: Parked::default(),
        questions: Questions::new(Instant::now()),
        ignorance: None,
        watches: Watches::default(),
        wanting: HashSet::new(),
        walkers: Vec::new(),
        asked_walkers: Vec::new(),
        turn: 0,
    };
    router.run().await;
    router.finish();
}

/// A command of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) job: u64,
    pub(super) at: usize,
}

/// What the nodes' connections and the router's own questions bring.
enum News {
    Replies(Node, Vec<((Place, u16), Reply)>),
    Event(Node, Event),
    /// In its place among the replies.
    Told(Told),
    Slots(Result<Slots, Error>),
}

struct Work {
    commands: Commands,
    /// Each command; `None` once it is answered.
    open: Vec<Option<Open>>,
    left: usize,
    deadline: Instant,
    settle: Box<dyn Settle>,
    /// Why the last attempt came to nothing.
    trouble: Option<Error>,
}

/// A command that is not answered yet.
#[derive(Clone, Copy)]
struct Open {
    slot: u16,
    /// How often it was sent.
    sent: u32,
    /// How often a node hung up on it alone.
    hang_ups: u32,
}

struct Member {
    connection: Connection,
    task: AbortHandle,
    /// Why it does not serve, once it is known that it does not.
    trouble: Option<Error>,
    /// Until when it is not read from as a replica.
    avoided_until: Option<Instant>,
    /// Held, since connections hold theirs weakly.
    _watch: Arc<MemberWatch>,
}

impl Member {
    fn is_ready(&self) -> bool {
        self.connection.shared.health.is_ready()
    }
}

struct MemberWatch {
    node: Node,
    news: mpsc::UnboundedSender<News>,
}

impl Watch for MemberWatch {
    fn event(&self, event: &Event) {
        // The router is gone only when nobody needs to know.
        let _ = self
            .news
            .send(News::Event(self.node.clone(), event.clone()));
    }
}

struct Router {
    tasks: Handle,
    cluster: Cluster,
    options: ConnectionOptions,
    shared: Arc<Shared>,
    inbox: Inbox,
    sender: mpsc::UnboundedSender<News>,
    news: mpsc::UnboundedReceiver<News>,
    members: HashMap<Node, Member>,
    slots: Slots,
    /// In the order in which they came, which is that of their deadlines.
    jobs: BTreeMap<u64, Work>,
    last_job: u64,
    /// Commands at nodes, per slot.
    under_way: Vec<u32>,
    parked: Parked,
    questions: Questions,
    /// Why the last question was not answered.
    ignorance: Option<Error>,
    watches: Watches,
    /// The nodes that wait for credentials, once these have been asked for.
    wanting: HashSet<Node>,
    /// They wait for slots that are asked for from here on: what is known may be as old as the pauses
    /// between questions.
    walkers: Vec<Walker>,
    /// They wait for the answer to the question that is under way.
    asked_walkers: Vec<Walker>,
    /// Takes replicas in turn.
    turn: usize,
}

impl Router {
    async fn run(&mut self) {
        loop {
            self.expire();
            self.release();
            self.note_queue();
            if self.inbox.is_closing() && self.jobs.is_empty() {
                return;
            }
            if self.questions.is_due(Instant::now()) {
                self.ask_for_slots();
            }
            let alarm = self.alarm();
            tokio::select! {
                biased;
                Some(news) = self.news.recv() => {
                    self.take(news);
                    while let Ok(news) = self.news.try_recv() {
                        self.take(news);
                    }
                }
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

    /// Ends the nodes' connections, then tells everybody that it is over.
    fn finish(mut self) {
        self.inbox.shut();
        while let Some(message) = self.inbox.try_next() {
            self.accept(message);
        }
        // Nobody waits for what they still have: our own questions, and what has run out of time.
        for member in self.members.values() {
            member.task.abort();
        }
        self.inbox.tell_ended();
    }

    fn alarm(&self) -> Instant {
        let deadline = self.jobs.values().next().map(|work| work.deadline);
        [deadline, self.parked.alarm(), self.questions.alarm()]
            .into_iter()
            .flatten()
            .min()
            .unwrap_or_else(|| Instant::now() + CALM)
    }

    // ---- What comes in ----

    fn accept(&mut self, message: Message) {
        match message {
            Message::Job(job) => {
                self.shared
                    .queued
                    .fetch_sub(job.operations(), Ordering::Relaxed);
                if self.inbox.is_closing() {
                    job.fail(&Error::Closed);
                } else {
                    self.begin(job);
                }
            }
            Message::Primaries(walker) => {
                self.walkers.push(walker);
                self.questions.demand(Instant::now());
            }
            Message::Watch(watch) => {
                if self
                    .shared
                    .cache
                    .as_ref()
                    .is_some_and(|cache| cache.hears())
                {
                    self.watches.set_amiss(None);
                }
                if !self.wanting.is_empty()
                    && let Some(watch) = watch.upgrade()
                {
                    // When they were wanted, nobody may have been there to be asked.
                    watch.event(&Event::CredentialsWanted);
                }
                self.watches.add(watch, self.shared.health.is_ready());
            }
            Message::Credentials(given) => {
                for node in mem::take(&mut self.wanting) {
                    if let Some(member) = self.members.get(&node) {
                        member.connection.give_credentials(given.clone());
                    }
                }
            }
            Message::Renewal(credentials) => {
                for member in self.members.values() {
                    member.connection.renew_credentials(credentials.clone());
                }
            }
            // Said by the app's client only, and taken note of by the inbox.
            Message::Executor(_) | Message::Said(_) | Message::Close(_) => {}
        }
    }

    fn begin(&mut self, job: Job) {
        self.last_job += 1;
        let id = self.last_job;
        let mut open = vec![None; job.commands.len()];
        for &at in &job.pending {
            let slot = job.commands.key(at).map_or(0, slot);
            if let Some(open) = open.get_mut(at) {
                *open = Some(Open {
                    slot,
                    sent: 0,
                    hang_ups: 0,
                });
            }
        }
        let places: Vec<_> = job
            .pending
            .iter()
            .filter_map(|&at| Some((Place { job: id, at }, open[at]?.slot)))
            .collect();
        self.jobs.insert(
            id,
            Work {
                commands: job.commands,
                left: places.len(),
                open,
                deadline: job.deadline,
                settle: job.settle,
                trouble: None,
            },
        );
        let mut pieces = Pieces::default();
        let mut is_refused = false;
        for (place, slot) in places {
            match self.target(slot, self.access(place)) {
                Some(node) if !self.parked.has(slot) => {
                    self.add(&mut pieces, node, place, slot, false);
                }
                target => {
                    // What goes with a command shares its fate.
                    if self.is_operation(place) {
                        is_refused = target.is_none() && !self.has_room();
                    }
                    if is_refused {
                        let error = self.shared.full(self.cause(slot));
                        self.settle(id, vec![(place.at, Err(error))]);
                    } else {
                        self.park(slot, place, None);
                    }
                }
            }
        }
        self.send(pieces);
    }

    fn take(&mut self, news: News) {
        match news {
            News::Replies(node, replies) => self.take_replies(&node, replies),
            News::Told(told) => {
                if let Some(cache) = &self.shared.cache {
                    told.reach(cache);
                }
            }
            News::Event(node, Event::CredentialsWanted) => {
                let is_asked = !self.wanting.is_empty();
                // One that wants them again has waited in vain.
                if !self.wanting.insert(node) || !is_asked {
                    self.watches.ask_for_credentials();
                }
            }
            News::Event(node, Event::Ready) => {
                self.note_trouble(&node, None);
                self.parked.try_all(Instant::now());
                self.note_health(None);
                // A node that comes back may have become a replica.
                if !self.parked.is_empty() || self.slots.is_empty() {
                    self.questions.begin_anew(Instant::now());
                    self.hurry();
                }
            }
            // The node serves all the same.
            News::Event(_, Event::Failed(error @ Error::CacheOff { .. })) => {
                self.watches.set_amiss(Some(error));
            }
            News::Event(node, Event::Reconnecting(error)) => {
                self.questions.begin_anew(Instant::now());
                self.take_trouble(&node, error);
            }
            News::Event(node, Event::Failed(error)) => self.take_trouble(&node, error),
            News::Slots(Ok(slots)) => self.take_slots(slots),
            News::Slots(Err(error)) => {
                self.note_answered(false);
                self.note_health(Some(&error));
                self.watches.tell(&Event::Failed(error.clone()));
                if !error.is_loss() && !error.is_passing() {
                    // A further question will not change it by itself.
                    self.fail_waiting(&error);
                }
                self.ignorance = Some(error);
            }
        }
    }

    fn take_trouble(&mut self, node: &Node, error: Error) {
        self.hurry();
        if self.is_primary(node) {
            self.note_health(Some(&error));
        }
        self.note_trouble(node, Some(error));
        if self.parked.asks(node) {
            self.parked.try_all(Instant::now());
        }
    }

    fn take_replies(&mut self, node: &Node, replies: Vec<((Place, u16), Reply)>) {
        let mut answers: Vec<(u64, Vec<(usize, Reply)>)> = Vec::new();
        for ((place, slot), reply) in replies {
            let under_way = &mut self.under_way[usize::from(slot)];
            *under_way -= 1;
            if *under_way == 0 {
                self.parked.come_back(slot);
            }
            // Its time may have run out meanwhile.
            let Some(work) = self.jobs.get_mut(&place.job) else {
                continue;
            };
            // One before it is yet to be done: it would be undone by that.
            if work.commands.access(place.at) == Access::Write
                && self
                    .parked
                    .first(slot)
                    .is_some_and(|(first, _)| first < place)
            {
                self.park(slot, place, None);
                continue;
            }
            let mut error = match reply {
                Err(error) => error,
                reply => {
                    self.parked.note_served(slot);
                    self.answer(place, reply, &mut answers);
                    continue;
                }
            };
            let redirection = Redirection::read(&error, node, &self.cluster.nat_map);
            let is_later = error.is_passing();
            let mut is_final = redirection.is_none() && !is_later && !error.is_loss();
            if let Error::HungUp { count, .. } = &mut error
                && let Some(Some(open)) = work.open.get_mut(place.at)
            {
                open.hang_ups += 1;
                *count = open.hang_ups;
                is_final = open.hang_ups >= MOST_HANG_UPS;
            }
            if is_final {
                self.parked.note_served(slot);
                self.answer(place, Err(error), &mut answers);
                continue;
            }
            work.trouble = Some(error.clone());
            let sent = work.open.get(place.at).copied().flatten();
            let goes_round = sent.is_some_and(|open| open.sent > MOST_HOPS);
            let (ask, is_put_off) = match redirection {
                Some(Redirection::Moved(owner)) => {
                    self.open(&owner);
                    self.slots.moved(slot, owner);
                    self.hold(slot);
                    self.note_change();
                    self.hurry();
                    (None, goes_round)
                }
                Some(Redirection::Ask(owner)) => {
                    self.open(&owner);
                    let is_put_off = goes_round || self.is_in_trouble(&owner);
                    (Some(owner), is_put_off)
                }
                None => {
                    self.hurry();
                    (None, is_later && !self.avoid(node, slot))
                }
            };
            self.park(slot, place, ask);
            if is_put_off {
                self.parked.put_off(slot, error, Instant::now());
            } else {
                self.parked.note_served(slot);
            }
        }
        for (job, replies) in answers {
            self.settle(job, replies);
        }
    }

    /// Keeps a final reply, to be given to its job together with others.
    fn answer(
        &mut self,
        place: Place,
        reply: Reply,
        answers: &mut Vec<(u64, Vec<(usize, Reply)>)>,
    ) {
        match answers.last_mut() {
            Some((job, replies)) if *job == place.job => replies.push((place.at, reply)),
            _ => answers.push((place.job, vec![(place.at, reply)])),
        }
    }

    fn settle(&mut self, job: u64, replies: Vec<(usize, Reply)>) {
        let Some(work) = self.jobs.get_mut(&job) else {
            return;
        };
        for (at, _) in &replies {
            if let Some(open) = work.open.get_mut(*at) {
                *open = None;
            }
        }
        work.left = work.left.saturating_sub(replies.len());
        work.settle.settle(replies);
        if work.left == 0 {
            self.jobs.remove(&job);
        }
    }

    // ---- What goes out ----

    fn access(&self, place: Place) -> Access {
        let work = self.jobs.get(&place.job);
        work.map_or(Access::Read, |work| work.commands.access(place.at))
    }

    /// Whether an operation begins with the command.
    fn is_operation(&self, place: Place) -> bool {
        let work = self.jobs.get(&place.job);
        work.is_some_and(|work| work.commands.is_operation(place.at))
    }

    /// The node for a command, if its connection serves.
    fn target(&mut self, slot: u16, access: Access) -> Option<Node> {
        let Some(shard) = self.slots.shard(slot) else {
            // It may be some node's by now.
            self.hurry();
            return None;
        };
        if access == Access::Read && self.cluster.reads_from_replicas {
            self.turn = self.turn.wrapping_add(1);
            let count = shard.replicas.len();
            let mut replicas = (0..count).map(|n| &shard.replicas[(self.turn + n) % count]);
            if let Some(replica) = replicas.find(|replica| self.is_readable(replica)) {
                return Some(replica.clone());
            }
        }
        self.is_ready(&shard.primary).then(|| shard.primary.clone())
    }

    fn park(&mut self, slot: u16, place: Place, ask: Option<Node>) {
        let is_operation = self.is_operation(place);
        let waiting = Waiting { ask, is_operation };
        self.parked.add(slot, place, waiting);
    }

    /// What is under way in a slot is at another node than what follows would go to: that waits.
    fn hold(&mut self, slot: u16) {
        if self.under_way[usize::from(slot)] > 0 {
            self.parked.hold(slot);
        }
    }

    /// Sends what is parked in slots where nothing is under way any more and whose nodes serve.
    fn release(&mut self) {
        let mut pieces = Pieces::default();
        for slot in self.parked.take_due(Instant::now()) {
            if self.under_way[usize::from(slot)] > 0 {
                // Tried again when it has come back.
                continue;
            }
            // One that cannot go yet holds up those behind it: they may be about the same key.
            while let Some((place, ask)) = self.parked.first(slot) {
                // One that cannot be asked may not be the one to ask any more.
                let ask = ask.filter(|node| !self.is_in_trouble(node)).cloned();
                let target = match &ask {
                    Some(node) => self.is_ready(node).then(|| node.clone()),
                    None => self.target(slot, self.access(place)),
                };
                let Some(node) = target else {
                    break;
                };
                self.parked.remove(slot, place);
                self.add(&mut pieces, node, place, slot, ask.is_some());
                // One is enough to find out whether the node still puts it off.
                if self.parked.reason(slot).is_some() {
                    self.parked.hold(slot);
                    break;
                }
            }
        }
        self.send(pieces);
    }

    fn is_ready(&self, node: &Node) -> bool {
        self.members.get(node).is_some_and(Member::is_ready)
    }

    fn is_in_trouble(&self, node: &Node) -> bool {
        let member = self.members.get(node);
        member.is_some_and(|member| member.trouble.is_some())
    }

    fn is_readable(&self, replica: &Node) -> bool {
        let member = self.members.get(replica).filter(|member| member.is_ready());
        member.is_some_and(|member| {
            member
                .avoided_until
                .is_none_or(|time| time <= Instant::now())
        })
    }

    /// Has a node that put something off not be read from for a while; whether it is a replica.
    fn avoid(&mut self, node: &Node, slot: u16) -> bool {
        let shard = self.slots.shard(slot);
        let is_replica = shard.is_some_and(|shard| shard.replicas.contains(node));
        if is_replica && let Some(member) = self.members.get_mut(node) {
            member.avoided_until = Some(Instant::now() + REPLICA_PAUSE);
        }
        is_replica
    }

    fn add(&mut self, pieces: &mut Pieces, node: Node, place: Place, slot: u16, ask: bool) {
        let Some(work) = self.jobs.get_mut(&place.job) else {
            return;
        };
        if let Some(Some(open)) = work.open.get_mut(place.at) {
            open.sent = open.sent.saturating_add(1);
        }
        let piece = pieces.entry(node).or_default();
        if ask {
            piece
                .commands
                .add(Access::Write, Expect::Okay, None, &[b"ASKING"]);
            piece.places.push(None);
        }
        piece.commands.copy(&work.commands, place.at);
        piece.places.push(Some((place, slot)));
        self.under_way[usize::from(slot)] += 1;
    }

    fn send(&mut self, pieces: Pieces) {
        for (node, piece) in pieces {
            let errand = Errand {
                node: node.clone(),
                places: piece.places,
                news: self.sender.clone(),
            };
            match self.members.get(&node) {
                Some(member) => member.connection.send(piece.commands, Box::new(errand)),
                // Its end gives everything back.
                None => drop(errand),
            }
        }
    }

    // ---- The nodes ----

    /// Opens a connection to a node, if there is none.
    fn open(&mut self, node: &Node) {
        if self.members.contains_key(node) {
            return;
        }
        let options = ConnectionOptions {
            address: Address::Tcp {
                host: node.host.clone(),
                port: node.port,
            },
            membership: if self.cluster.reads_from_replicas {
                Membership::Reader
            } else {
                Membership::Member
            },
            // The router bounds what waits.
            max_queue: usize::MAX,
            ..self.options.clone()
        };
        let tracking = self.shared.cache.clone().map(|cache| {
            let news = self.sender.clone();
            let relay = move |told| {
                // The router is gone only when nobody needs to know.
                let _ = news.send(News::Told(told));
            };
            Tracking::new(cache, Some(Box::new(relay)))
        });
        let (connection, task) = Connection::open_with(&self.tasks, options, None, tracking);
        let watch = Arc::new(MemberWatch {
            node: node.clone(),
            news: self.sender.clone(),
        });
        let weak: Weak<MemberWatch> = Arc::downgrade(&watch);
        connection.watch(weak);
        let member = Member {
            connection,
            task,
            trouble: None,
            avoided_until: None,
            _watch: watch,
        };
        self.members.insert(node.clone(), member);
    }

    /// Asks all nodes at once which slots are whose. Most of them decide: one that was cut off from the others,
    /// or left by them, may still claim its own.
    fn ask_for_slots(&mut self) {
        self.questions.begin();
        self.asked_walkers.append(&mut self.walkers);
        for node in self.cluster.nodes.clone() {
            self.open(&node);
        }
        let nodes: Vec<_> = self
            .members
            .iter()
            .map(|(node, member)| (node.clone(), member.connection.clone()))
            .collect();
        let news = self.sender.clone();
        let nat_map = self.cluster.nat_map.clone();
        let server = self.shared.server.to_string();
        self.tasks.spawn(async move {
            let mut failure = Error::Unreachable {
                server: server.clone(),
                cause: "no node has answered".into(),
            };
            let mut asked: FuturesUnordered<_> = nodes
                .into_iter()
                .map(|(node, connection)| async move {
                    let words: [&[u8]; 2] = [b"CLUSTER", b"SLOTS"];
                    let reply = connection.ask(Access::Read, Expect::Array, None, &words);
                    (node, reply.await)
                })
                .collect();
            let mut views = Vec::new();
            let begin = Instant::now();
            let mut deadline = begin + ASK_LIMIT;
            while let Ok(Some((node, reply))) = timeout_at(deadline, asked.next()).await {
                let value = match reply {
                    Ok(value) => value,
                    Err(error) => {
                        failure = error;
                        continue;
                    }
                };
                match Slots::parse(&value, &node, &nat_map) {
                    Some(slots) if !slots.is_empty() => {
                        if views.is_empty() {
                            deadline = deadline.min(Instant::now() + begin.elapsed() + GRACE);
                        }
                        views.push(slots);
                    }
                    _ => {
                        failure = Error::Unreachable {
                            server: server.clone(),
                            cause: format!("{node} knows of no slots"),
                        };
                    }
                }
            }
            // The router is gone only when nobody needs to know.
            let _ = news.send(News::Slots(Slots::of_most(views).ok_or(failure)));
        });
    }

    fn take_slots(&mut self, slots: Slots) {
        self.ignorance = None;
        if self.slots != slots {
            self.questions.begin_anew(Instant::now());
            let former = mem::replace(&mut self.slots, slots);
            if !former.has_same_primaries(&self.slots) {
                self.note_change();
                for slot in 0..SLOTS {
                    if former.primary(slot) != self.slots.primary(slot) {
                        self.hold(slot);
                    }
                }
            }
            self.parked.try_all(Instant::now());
        }
        let mut needed: Vec<Node> = Vec::new();
        for shard in self.slots.shards() {
            needed.push(shard.primary.clone());
            if self.cluster.reads_from_replicas {
                needed.extend(shard.replicas.iter().cloned());
            }
        }
        for node in &needed {
            self.open(node);
        }
        // Seeds stay: they may be what is left to ask when every other node has moved.
        let seeds = &self.cluster.nodes;
        let gone: Vec<_> = self
            .members
            .keys()
            .filter(|node| !needed.contains(node) && !seeds.contains(node))
            .filter(|node| !self.parked.asks(node))
            .cloned()
            .collect();
        for node in gone {
            self.members.remove(&node);
        }
        self.note_health(None);
        self.note_answered(self.parked.is_empty() && self.shared.health.is_ready());
        for walker in mem::take(&mut self.asked_walkers) {
            // The receiver may have stopped waiting.
            let _ = walker.send(Ok(self.primaries()));
        }
    }

    /// Keys may be at other nodes than those that told of their changes.
    fn note_change(&self) {
        if let Some(cache) = &self.shared.cache {
            cache.clear();
        }
    }

    fn primaries(&self) -> Vec<Connection> {
        let shards = self.slots.shards().iter();
        let members = shards.filter_map(|shard| self.members.get(&shard.primary));
        members.map(|member| member.connection.clone()).collect()
    }

    fn is_primary(&self, node: &Node) -> bool {
        let mut shards = self.slots.shards().iter();
        shards.any(|shard| shard.primary == *node)
    }

    fn note_answered(&mut self, is_calm: bool) {
        let now = Instant::now();
        self.questions.end(now, is_calm);
        if !self.walkers.is_empty() {
            self.questions.demand(now);
        }
    }

    /// Has the nodes asked for the slots soon.
    fn hurry(&mut self) {
        self.questions.hurry(Instant::now());
    }

    // ---- What is told ----

    /// The cluster serves when every primary does.
    fn note_health(&mut self, error: Option<&Error>) {
        let shards = self.slots.shards();
        let serves = !shards.is_empty() && shards.iter().all(|shard| self.is_ready(&shard.primary));
        if let Some(error) = error {
            let attempts = self.shared.health.down().attempts.saturating_add(1);
            self.shared.health.set_down(Down {
                attempts,
                cause: error.to_string(),
                silent: false,
            });
        }
        if serves != self.shared.health.is_ready() {
            self.shared.health.set_ready(serves);
            if serves {
                self.shared.health.attempted(0);
                self.watches.tell(&Event::Ready);
            } else if let Some(error) = error {
                self.watches.tell(&Event::Reconnecting(error.clone()));
            }
        }
    }

    /// What is parked counts for the bound of the queue.
    fn note_queue(&mut self) {
        // What handles have sent since is taken off when it is accepted.
        if self.inbox.len() == 0 {
            let parked = self.parked.operations();
            self.shared.queued.store(parked, Ordering::Relaxed);
        }
    }

    fn note_trouble(&mut self, node: &Node, trouble: Option<Error>) {
        if let Some(member) = self.members.get_mut(node) {
            member.trouble = trouble;
        }
    }

    /// Whether one more operation may wait for a connection. Those that follow a read wait as well.
    fn has_room(&self) -> bool {
        self.parked.operations() + self.shared.flights.followers() < self.options.max_queue
    }

    // ---- What fails ----

    /// Why what waits in a slot cannot go, as far as that is known.
    fn cause(&self, slot: u16) -> Option<String> {
        let trouble = match self.slots.shard(slot) {
            Some(shard) => self.members.get(&shard.primary)?.trouble.as_ref(),
            None if self.ignorance.is_none() && !self.slots.is_empty() => {
                return Some(format!("no node serves the slot {slot}"));
            }
            None => self.ignorance.as_ref(),
        };
        trouble.map(Error::to_string)
    }

    /// Of all that waits for an answer which will not come.
    fn fail_waiting(&mut self, error: &Error) {
        for walker in mem::take(&mut self.asked_walkers) {
            // The receiver may have stopped waiting.
            let _ = walker.send(Err(error.clone()));
        }
        for place in mem::take(&mut self.parked).places() {
            self.settle(place.job, vec![(place.at, Err(error.clone()))]);
        }
    }

    /// Why nothing came of it in time.
    fn overdue(&self, work: &Work) -> Error {
        let server = self.shared.server.to_string();
        let waited = self.options.command_timeout;
        let open = work.open.iter().flatten();
        let sent = open.clone().map(|open| open.sent).max().unwrap_or(0);
        if sent > 0 {
            return match &work.trouble {
                Some(trouble) => Error::Unserved {
                    server,
                    waited,
                    sent,
                    cause: trouble.to_string(),
                },
                None => Error::Timeout { server, waited },
            };
        }
        let reason = open.clone().find_map(|open| self.parked.reason(open.slot));
        if let Some(reason) = reason {
            return Error::Unserved {
                server,
                waited,
                sent,
                cause: reason.to_string(),
            };
        }
        match open.map(|open| self.cause(open.slot)).next().flatten() {
            Some(cause) => Error::Unavailable {
                server,
                waited,
                attempts: self.shared.health.down().attempts,
                cause,
            },
            None if self.shared.health.is_ready() => Error::Timeout { server, waited },
            None => self.shared.unavailable(waited),
        }
    }

    fn expire(&mut self) {
        let now = Instant::now();
        while let Some(entry) = self.jobs.first_entry()
            && entry.get().deadline <= now
        {
            let (job, mut work) = entry.remove_entry();
            let error = self.overdue(&work);
            let mut replies = Vec::with_capacity(work.left);
            for (at, open) in work.open.iter().enumerate() {
                if let Some(Open { slot, .. }) = *open {
                    self.parked.remove(slot, Place { job, at });
                    // Those behind it may go where it could not.
                    self.parked.try_slot(slot);
                    replies.push((at, Err(error.clone())));
                }
            }
            work.settle.settle(replies);
        }
    }
}

/// What goes to each node.
type Pieces = HashMap<Node, Piece>;

#[derive(Default)]
struct Piece {
    commands: Commands,
    /// Whose command each is; `None` for our own.
    places: Vec<Option<(Place, u16)>>,
}

/// Brings the replies of a node home; what it never replied to, too.
struct Errand {
    node: Node,
    places: Vec<Option<(Place, u16)>>,
    news: mpsc::UnboundedSender<News>,
}

impl Settle for Errand {
    fn settle(&mut self, replies: Vec<(usize, Reply)>) {
        let replies = replies
            .into_iter()
            .filter_map(|(at, reply)| Some((self.places.get_mut(at)?.take()?, reply)))
            .collect();
        self.bring(replies);
    }
}

impl Errand {
    fn bring(&self, replies: Vec<((Place, u16), Reply)>) {
        if !replies.is_empty() {
            // The router is gone only when nobody needs to know.
            let _ = self.news.send(News::Replies(self.node.clone(), replies));
        }
    }
}

impl Drop for Errand {
    fn drop(&mut self) {
        let places = mem::take(&mut self.places);
        let lost = Error::Unreachable {
            server: format!("redis://{}", self.node),
            cause: "the node is not part of the cluster any more".into(),
        };
        let replies = places.into_iter().flatten();
        self.bring(replies.map(|place| (place, Err(lost.clone()))).collect());
    }
}
