//! Owns a connection: connect, serve, notice the loss, back off, connect again, until closed.
//!
//! One task per connection; it alone begins and ends sockets. While there is none, jobs wait in
//! order, each until its own deadline. A server that refuses to let us in (wrong password, unknown
//! database) fails them at once, and is asked again all the same: somebody may mend it.

use super::attempt::{Place, moved};
use super::commands::{Access, Commands, Expect};
use super::inbox::Inbox;
use super::link::{self, Failure, FailureKind, Link};
use super::sentinel::Sentinels;
use super::status::{Down, Event, Watch, Watches};
use super::tracking::Tracking;
use super::{Credentials, Job, Message, Reply, Settle, Shared, tls};
use crate::cache::Moment;
use crate::error::Error;
use crate::options::{Address, ConnectionOptions, Membership};
use redis::{PushKind, Value};
use std::collections::VecDeque;
use std::future::Future;
use std::pin::pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, sleep_until, timeout};

/// Pauses between attempts to connect grow from the first to the longest. The longest bounds how
/// long a server that is back goes unnoticed.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
/// How long an idle connection goes without being probed.
const IDLE: Duration = Duration::from_secs(5);
/// For how long the server may keep silent while an answer is due: half the time that operations have,
/// so that what a peer that is gone without a word left unanswered can still be asked again, within
/// these bounds. The lower one spares slow networks, the upper one finds a dead peer in seconds.
pub(super) const SHORTEST_SILENCE: Duration = Duration::from_secs(1);
pub(super) const LONGEST_SILENCE: Duration = Duration::from_millis(2500);
/// Bytes that wait for the socket before further jobs wait themselves: a job is then dropped by its
/// deadline without having been sent.
const MOST_BACKLOG: usize = 1024 * 1024;
/// Credentials are asked for anew when this part of their time is left.
const RENEWAL_DIVISOR: u32 = 10;
/// A renewal that failed is tried again after this time.
const RENEWAL_PAUSE: Duration = Duration::from_secs(5);

pub(super) async fn run(
    options: ConnectionOptions,
    shared: Arc<Shared>,
    inbox: Inbox,
    tracking: Option<Tracking>,
) {
    let mut supervisor = Supervisor {
        silence: (options.command_timeout / 2).clamp(SHORTEST_SILENCE, LONGEST_SILENCE),
        options,
        shared,
        inbox,
        tracking,
        tls: None,
        sentinels: None,
        waiting: VecDeque::new(),
        in_flight: VecDeque::new(),
        flushed: 0,
        again: VecDeque::new(),
        later: None,
        watches: Watches::default(),
        credentials: None,
        wanted: None,
        renew: None,
        served: false,
        replied: Instant::now(),
        pause: Duration::ZERO,
    };
    while let Some((link, primary)) = supervisor.connect().await {
        if supervisor.serve(link, primary).await == Served::Closed {
            break;
        }
    }
    supervisor.finish();
}

#[derive(PartialEq)]
enum Served {
    Lost,
    Closed,
}

/// What is in the socket, in the order in which the server will answer.
struct Sent {
    /// `None` for what nobody waits for: probes, and jobs that have run out of time. Their replies
    /// still come.
    job: Option<Job>,
    /// How many replies are due.
    due: usize,
    /// How many of them have come.
    come: usize,
    /// Those that the job is still to be given.
    replies: Vec<Value>,
    /// When it was queued for the socket.
    sent: Instant,
    /// The same by the clocks of the cache, where there is one.
    moment: Option<Moment>,
    /// The position of its end in the bytes sent.
    end: u64,
    /// When the socket had taken it all.
    flushed: Option<Instant>,
}

struct Supervisor {
    options: ConnectionOptions,
    shared: Arc<Shared>,
    inbox: Inbox,
    /// Where what is read is kept.
    tracking: Option<Tracking>,
    tls: Option<tls::Client>,
    /// Only where the address is theirs.
    sentinels: Option<Sentinels>,
    /// Not in the socket yet. Deadlines never decrease, since all jobs have the same time to live.
    waiting: VecDeque<Job>,
    in_flight: VecDeque<Sent>,
    /// How many of `in_flight`, from the first, the socket has taken.
    flushed: usize,
    /// What the server will do later; goes back before what waits.
    again: VecDeque<Job>,
    /// The server's answer that began this: no more is sent, replies to reads count, writes are
    /// repeated so that they keep their order.
    later: Option<Failure>,
    watches: Watches,
    credentials: Option<Credentials>,
    /// An attempt to connect waits for credentials.
    wanted: Option<oneshot::Sender<Result<Credentials, String>>>,
    /// When credentials are to be asked for anew.
    renew: Option<Instant>,
    /// For how long the server may keep silent while an answer is due.
    silence: Duration,
    /// The connection has answered something.
    served: bool,
    /// When its last whole answer came.
    replied: Instant,
    /// Before the next attempt to connect.
    pause: Duration,
}

impl Supervisor {
    // ---- What comes in ----

    fn accept(&mut self, message: Message) {
        match message {
            Message::Job(job) if self.inbox.is_closing() => {
                self.unqueue(&job);
                job.fail(&Error::Closed);
            }
            Message::Job(job) => self.waiting.push_back(job),
            // Asked of clusters only, said by the app's client, and taken note of by the inbox.
            Message::Primaries(_) | Message::Executor(_) | Message::Said(_) | Message::Close(_) => {
            }
            Message::Watch(watch) => self.begin_watch(watch),
            Message::Credentials(credentials) => self.take_credentials(credentials),
        }
    }

    fn begin_watch(&mut self, watch: Weak<dyn Watch>) {
        if let Some(watch) = watch.upgrade()
            && self.wanted.is_some()
        {
            watch.event(&Event::CredentialsWanted);
        }
        self.watches.add(watch, self.shared.health.is_ready());
    }

    fn take_credentials(&mut self, credentials: Result<Credentials, String>) {
        if let Some(wanted) = self.wanted.take() {
            // The attempt that wanted them may be over.
            let _ = wanted.send(credentials);
            return;
        }
        match credentials {
            Ok(credentials) => {
                self.schedule_renewal(&credentials);
                let user = link::User::new(&self.options, Some(&credentials));
                let authentication = user.authentication();
                self.credentials = Some(credentials);
                self.authenticate(authentication);
            }
            Err(cause) => {
                self.renew = Some(Instant::now() + RENEWAL_PAUSE);
                let error = self.credentials_error(cause);
                self.watches.tell(&Event::Failed(error));
            }
        }
    }

    /// On a connection that serves: a job of our own, in its order among the others.
    fn authenticate(&mut self, authentication: Commands) {
        if !self.shared.health.is_ready() {
            return;
        }
        let watches = self.watches.clone();
        let server = Arc::clone(&self.shared.server);
        self.waiting.push_back(Job {
            pending: (0..authentication.len()).collect(),
            commands: authentication,
            deadline: Instant::now() + self.options.command_timeout,
            settle: Box::new(Renewal { watches, server }),
        });
        self.shared.queued.fetch_add(1, Ordering::Relaxed);
    }

    fn credentials_error(&self, cause: String) -> Error {
        Error::Credentials {
            server: self.shared.server.to_string(),
            cause,
        }
    }

    fn schedule_renewal(&mut self, credentials: &Credentials) {
        self.renew = credentials
            .expires_in
            .map(|left| Instant::now() + (left - left / RENEWAL_DIVISOR));
    }

    // ---- What goes out without a reply ----

    /// The commands of a job leave the queue that `max_queue` bounds.
    fn unqueue(&self, job: &Job) {
        self.shared
            .queued
            .fetch_sub(job.operations(), Ordering::Relaxed);
    }

    fn fail_waiting(&mut self, error: &Error) {
        for job in std::mem::take(&mut self.waiting) {
            self.unqueue(&job);
            job.fail(error);
        }
    }

    /// Nothing is left to do before the end.
    fn is_done(&self) -> bool {
        self.inbox.is_closing() && self.waiting.is_empty() && self.again.is_empty()
    }

    /// Fails what has run out of time.
    fn expire(&mut self) {
        let now = Instant::now();
        let waited = self.options.command_timeout;
        while self.waiting.front().is_some_and(|job| job.deadline <= now) {
            if let Some(job) = self.waiting.pop_front() {
                self.unqueue(&job);
                let error = if self.shared.health.is_ready() {
                    self.unanswered()
                } else {
                    self.shared.unavailable(waited)
                };
                job.fail(&error);
            }
        }
        while self.again.front().is_some_and(|job| job.deadline <= now) {
            if let Some(job) = self.again.pop_front() {
                job.fail(&self.unanswered());
            }
        }
        let error = self.unanswered();
        let server = Arc::clone(&self.shared.server);
        for sent in &mut self.in_flight {
            match &sent.job {
                Some(job) if job.deadline > now => break,
                Some(_) => {
                    if let Some(job) = sent.job.take()
                        && let Some(rest) =
                            answer(job, std::mem::take(&mut sent.replies), &server, Rule::Plain).0
                    {
                        rest.fail(&error);
                    }
                }
                None => {}
            }
        }
    }

    /// The error of what was sent and not answered in time.
    fn unanswered(&self) -> Error {
        match &self.later {
            Some(failure) => Error::Unavailable {
                server: self.shared.server.to_string(),
                waited: self.options.command_timeout,
                attempts: 1,
                cause: failure.cause.clone(),
            },
            None => Error::Timeout {
                server: self.shared.server.to_string(),
                waited: self.options.command_timeout,
            },
        }
    }

    /// Tells everybody that it is over.
    fn finish(mut self) {
        self.inbox.shut();
        while let Some(message) = self.inbox.try_next() {
            self.accept(message);
        }
        self.inbox.tell_ended();
    }

    // ---- Connecting ----

    /// Attempts until one succeeds; `None` when the connection is closed first.
    async fn connect(&mut self) -> Option<(Link, Address)> {
        let mut attempts = 0;
        loop {
            if !self.pause.is_zero() {
                let pause = sleep(jittered(self.pause));
                self.wait(pause).await?;
            }
            self.pause = (self.pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
            attempts += 1;
            self.shared.health.attempted(attempts);
            let failure = match self.attempt().await? {
                Ok(link) => {
                    let deaf = self.begin_tracking(&link.0);
                    self.shared.health.set_ready(true);
                    self.watches.tell(&Event::Ready);
                    self.watches.set_amiss(deaf.err());
                    return Some(link);
                }
                Err(failure) => failure,
            };
            self.shared.health.set_down(Down {
                attempts,
                cause: failure.cause.clone(),
                silent: matches!(failure.kind, FailureKind::Silent),
            });
            let (error, is_final) = match failure.kind {
                FailureKind::Refused(refusal) => (refusal, true),
                _ => {
                    let server = self.shared.server.to_string();
                    let cause = failure.cause;
                    let error = Error::Unreachable { server, cause };
                    (error, self.options.membership != Membership::None)
                }
            };
            if is_final {
                self.fail_waiting(&error);
            }
            self.watches.tell(&Event::Failed(error));
        }
    }

    /// An error tells why nothing can be kept of what is read over the link.
    fn begin_tracking(&mut self, link: &Link) -> Result<(), Error> {
        match &mut self.tracking {
            Some(tracking) => tracking.begin(link, &self.shared.server),
            None => Ok(()),
        }
    }

    /// Nothing of what was read is to be trusted any more, and nothing of what is yet to be settled.
    fn end_tracking(&mut self) {
        if let Some(tracking) = &mut self.tracking {
            tracking.end();
        }
    }

    /// One attempt to connect; `None` when the connection is closed meanwhile.
    async fn attempt(&mut self) -> Option<Result<(Link, Address), Failure>> {
        let limit = self.options.connect_timeout;
        let begin = Instant::now();
        if self.options.credentials.is_some() {
            let (sender, receiver) = oneshot::channel();
            self.wanted = Some(sender);
            self.watches.ask_for_credentials();
            let answer = self.wait(timeout(limit, receiver)).await?;
            self.wanted = None;
            match answer {
                Ok(Ok(Ok(credentials))) => {
                    self.schedule_renewal(&credentials);
                    self.credentials = Some(credentials);
                }
                Ok(Ok(Err(cause))) => {
                    return Some(Err(Failure::refused(self.credentials_error(cause))));
                }
                _ => {
                    let cause = format!("it gave nothing within {} ms", limit.as_millis());
                    return Some(Err(Failure::refused(self.credentials_error(cause))));
                }
            }
        }
        let place = Place {
            options: self.options.clone(),
            tls: self.tls.take(),
            sentinels: self.sentinels.take(),
            credentials: self.credentials.take(),
        };
        let limit = limit.saturating_sub(begin.elapsed());
        let attempt = place.connect(limit);
        let (place, link) = self.wait(attempt).await?;
        self.tls = place.tls;
        self.sentinels = place.sentinels;
        self.credentials = place.credentials;
        Some(link)
    }

    /// Runs one step of connecting while jobs come in and run out of time.
    /// `None` when there is nothing left to connect for.
    async fn wait<T>(&mut self, step: impl Future<Output = T>) -> Option<T> {
        let mut step = pin!(step);
        loop {
            if self.is_done() {
                return None;
            }
            let deadline = self.waiting.front().map(|job| job.deadline);
            tokio::select! {
                biased;
                result = &mut step => return Some(result),
                () = at(deadline) => self.expire(),
                message = self.inbox.next() => {
                    if let Some(message) = message {
                        self.accept(message);
                    }
                }
            }
        }
    }

    // ---- Serving ----

    async fn serve(&mut self, mut link: Link, address: Address) -> Served {
        self.served = false;
        self.replied = Instant::now();
        let sentinels = self.sentinels.clone();
        let moved = moved(sentinels.as_ref(), &address);
        let failure = self.exchange(&mut link, moved).await;
        self.end_tracking();
        let failure = match failure {
            None => return Served::Closed,
            Some(failure) => failure,
        };
        // Whatever the server said last came before: what is in flight now goes unanswered, and is sent
        // again. It must not arrive twice.
        link.abort();
        self.shared.health.set_ready(false);
        self.shared.health.set_down(Down {
            attempts: 0,
            cause: failure.cause.clone(),
            silent: matches!(failure.kind, FailureKind::Silent),
        });
        let error = Error::Unreachable {
            server: self.shared.server.to_string(),
            cause: failure.cause,
        };
        self.take_back(&error);
        // A server that lets us in and then cuts us off, or puts us off, is not to be hammered.
        if self.later.take().is_none() && self.served {
            self.pause = Duration::ZERO;
        }
        self.watches.tell(&Event::Reconnecting(error));
        Served::Lost
    }

    /// Queues again, at its old place, what a lost connection cut off; or gives it back to the cluster.
    fn take_back(&mut self, error: &Error) {
        let mut again = std::mem::take(&mut self.again);
        for sent in std::mem::take(&mut self.in_flight) {
            if let Some(job) = sent.job {
                let rule = self.rule();
                again.extend(answer(job, sent.replies, &self.shared.server, rule).0);
            }
        }
        self.flushed = 0;
        if self.options.membership != Membership::None {
            for job in again {
                job.fail(error);
            }
            self.fail_waiting(error);
            return;
        }
        let count = again.iter().map(Job::operations).sum();
        self.shared.queued.fetch_add(count, Ordering::Relaxed);
        again.append(&mut self.waiting);
        self.waiting = again;
    }

    fn rule(&self) -> Rule {
        match (self.options.membership, &self.later) {
            (Membership::None, None) => Rule::PutOff,
            (Membership::None, Some(_)) => Rule::Late,
            // The cluster repeats.
            (Membership::Member | Membership::Reader, _) => Rule::Plain,
        }
    }

    /// Serves until the connection is lost (why), or closed and nothing is left to do (`None`).
    async fn exchange(
        &mut self,
        link: &mut Link,
        moved: impl Future<Output = Failure>,
    ) -> Option<Failure> {
        let mut moved = pin!(moved);
        let mut alarm = pin!(sleep_until(Instant::now() + IDLE));
        loop {
            if self.later.is_none() {
                self.send_waiting(link);
            }
            if self.in_flight.iter().all(|sent| sent.job.is_none()) {
                if self.is_done() {
                    return None;
                }
                if let Some(later) = &self.later {
                    return Some(Failure::lost(&later.cause));
                }
            }
            // Set to the earliest time at which something may have to be done; it may ring early.
            let due = self.due(link);
            if due < alarm.deadline() {
                alarm.as_mut().reset(due);
            }
            tokio::select! {
                biased;
                reply = link.next() => {
                    let mut next = Some(reply);
                    while let Some(reply) = next {
                        let taken = reply.and_then(|value| self.take_reply(value, link.heard()));
                        if let Err(failure) = taken {
                            return Some(failure);
                        }
                        next = link.try_next();
                    }
                }
                message = self.inbox.next() => {
                    let mut next = message;
                    while let Some(message) = next {
                        self.accept(message);
                        next = self.inbox.try_next();
                    }
                }
                failure = &mut moved => return Some(failure),
                () = &mut alarm => {
                    self.expire();
                    if let Some(failure) = self.probe(link) {
                        return Some(failure);
                    }
                    let due = self.due(link);
                    alarm.as_mut().reset(due);
                }
            }
            self.note_written(link);
        }
    }

    fn send_waiting(&mut self, link: &mut Link) {
        while link.backlog() < MOST_BACKLOG
            && let Some(job) = self.waiting.pop_front()
        {
            self.unqueue(&job);
            let mut end = 0;
            if job.pending.len() == job.commands.len() {
                end = link.send(job.commands.all_bytes());
            } else {
                for &command in &job.pending {
                    end = link.send(job.commands.bytes(command));
                }
            }
            let due = job.pending.len();
            self.in_flight.push_back(Sent {
                replies: Vec::with_capacity(due),
                job: Some(job),
                due,
                come: 0,
                sent: Instant::now(),
                moment: self.tracking.as_ref().map(|_| Moment::now()),
                end,
                flushed: None,
            });
        }
    }

    /// Marks what the socket has taken.
    fn note_written(&mut self, link: &Link) {
        while let Some(sent) = self.in_flight.get_mut(self.flushed)
            && sent.end <= link.written()
        {
            sent.flushed = Some(link.wrote());
            self.flushed += 1;
        }
    }

    /// Gives a reply, which came at `heard`, to the command that it answers.
    fn take_reply(&mut self, value: Value, heard: Instant) -> Result<(), Failure> {
        let value = match value {
            // Of a kind that nobody asked for, it may be a damaged reply that swallowed another one.
            Value::Push {
                kind: PushKind::Other(_),
                ..
            } => return Err(Failure::lost("the server sent a push that is unknown")),
            Value::Push { kind, data } => {
                self.settle_come();
                if let Some(tracking) = &self.tracking {
                    tracking.take(&kind, data);
                }
                return Ok(());
            }
            value => value,
        };
        let Some(sent) = self.in_flight.front_mut() else {
            return Err(match value {
                // Such as the reason why it closes the connection.
                Value::ServerError(error) => Failure::lost(Error::from_reply(
                    &self.shared.server,
                    error.code(),
                    error.details(),
                )),
                _ => Failure::lost("the server sent a reply that nobody asked for"),
            });
        };
        if let Some(job) = &sent.job {
            let expected = job
                .pending
                .get(sent.come)
                .is_some_and(|&command| job.commands.expects(command, &value));
            if !expected {
                // Commands and replies are out of step: a later reply would reach another's request.
                return Err(Failure::lost("the server sent a reply that does not fit"));
            }
            sent.replies.push(value);
        } else if self.options.membership == Membership::Member
            && let Some(tracking) = &mut self.tracking
        {
            // Of a probe, or of what has run out of time, which is no such array.
            tracking.note_role(&value);
        }
        self.served = true;
        self.replied = heard;
        sent.come += 1;
        if sent.come < sent.due {
            return Ok(());
        }
        self.flushed = self.flushed.saturating_sub(1);
        let Some(Sent {
            job,
            replies,
            moment,
            ..
        }) = self.in_flight.pop_front()
        else {
            return Ok(());
        };
        if let Some(job) = job {
            self.settle(job, replies);
        }
        if let Some(tracking) = &self.tracking {
            tracking.answered(moment);
        }
        Ok(())
    }

    fn settle(&mut self, job: Job, replies: Vec<Value>) {
        let rule = self.rule();
        let (rest, later) = answer(job, replies, &self.shared.server, rule);
        self.again.extend(rest);
        if self.later.is_none() && later.is_some() {
            self.later = later;
            // What is read from here on may be older than a write before it, which was put off.
            self.end_tracking();
        }
    }

    /// Settles those replies to the first job that have come. What the server tells of a key after them
    /// must not be taken in before them: the cache would keep for ever what was changed by then.
    fn settle_come(&mut self) {
        if self.tracking.is_none() || cfg!(feature = "unsound-cache") {
            return;
        }
        let rule = self.rule();
        let Some(sent) = self.in_flight.front_mut() else {
            return;
        };
        let Some(job) = &mut sent.job else {
            return;
        };
        // Once the server has put something off, nothing of what comes is kept.
        if rule == Rule::Late || sent.replies.is_empty() {
            return;
        }
        let is_put_off = |value: &Value| match value {
            Value::ServerError(error) if rule == Rule::PutOff => {
                Error::from_reply("", error.code(), error.details()).is_passing()
            }
            _ => false,
        };
        if sent.replies.iter().any(is_put_off) {
            self.end_tracking();
            return;
        }
        let replies = std::mem::take(&mut sent.replies);
        let places: Vec<_> = job.pending.drain(..replies.len()).collect();
        sent.due -= replies.len();
        sent.come -= replies.len();
        let server = &self.shared.server;
        let replies = replies.into_iter().map(|value| reply(server, value));
        job.settle.settle(places.into_iter().zip(replies).collect());
    }

    /// When something has to be done, if nothing happens before.
    fn due(&self, link: &Link) -> Instant {
        let deadline = |job: Option<&Job>| job.map(|job| job.deadline);
        let in_flight = self.in_flight.iter().find_map(|sent| sent.job.as_ref());
        [
            deadline(self.waiting.front()),
            deadline(self.again.front()),
            deadline(in_flight),
            self.renew,
        ]
        .into_iter()
        .flatten()
        .fold(self.patience(link), Instant::min)
    }

    /// For how long a reply may be on its way. A slow server is not given up sooner than a silent one.
    fn longest_reply(&self) -> Duration {
        self.options.command_timeout.max(self.silence)
    }

    /// Until when the server may be silent.
    fn patience(&self, link: &Link) -> Instant {
        match self.in_flight.front() {
            None => {
                let idle = link.heard() + IDLE;
                let probe = self.tracking.as_ref().and_then(Tracking::probe_at);
                probe.map_or(idle, |probe| probe.min(idle))
            }
            Some(sent) => {
                // While the socket still takes what was sent, that is a sign of life, too.
                let taken = sent.flushed.unwrap_or(sent.sent.max(link.wrote()));
                let silent = taken.max(link.heard()) + self.silence;
                // Bytes without end that make no answer: a damaged reply that swallows all the others.
                silent.min(taken.max(self.replied) + self.longest_reply())
            }
        }
    }

    /// Asks an idle server for a sign of life; gives up one that is silent while an answer is due.
    fn probe(&mut self, link: &mut Link) -> Option<Failure> {
        let now = Instant::now();
        if self.renew.is_some_and(|time| time <= now) {
            self.renew = None;
            self.watches.ask_for_credentials();
        }
        if self.patience(link) > now {
            return None;
        }
        if !self.in_flight.is_empty() {
            let cause = if link.heard() + self.silence > now {
                let waited = self.longest_reply().as_millis();
                format!("no whole answer for {waited} ms")
            } else {
                format!("no answer for {} ms", self.silence.as_millis())
            };
            return Some(Failure::silent(cause));
        }
        let is_node = self.options.membership == Membership::Member && self.tracking.is_some();
        let question = if is_node { Tracking::ROLE } else { b"PING" };
        let ping = Commands::of(Access::Read, Expect::Any, None, &[question]);
        let end = link.send(ping.bytes(0));
        self.in_flight.push_back(Sent {
            job: None,
            due: 1,
            come: 0,
            replies: Vec::new(),
            sent: now,
            moment: self.tracking.as_ref().map(|_| Moment::now()),
            end,
            flushed: None,
        });
        None
    }
}

/// What is done about answers that mean "later".
#[derive(Clone, Copy, PartialEq)]
enum Rule {
    /// They are answers like others: nothing can be repeated here.
    Plain,
    /// What they answer is repeated, and so are the writes after it.
    PutOff,
    /// One has come before: writes are repeated, whatever the answer.
    Late,
}

/// Gives a job the replies to the first of its pending commands. What is left of it: what was not
/// answered, what the server will do later, and, from then on, writes.
fn answer(
    mut job: Job,
    replies: Vec<Value>,
    server: &str,
    rule: Rule,
) -> (Option<Job>, Option<Failure>) {
    let mut replies = replies.into_iter();
    let mut later = None;
    let mut rest = Vec::new();
    let mut answers = Vec::with_capacity(replies.len());
    for at in std::mem::take(&mut job.pending) {
        let Some(value) = replies.next() else {
            rest.push(at);
            continue;
        };
        match reply(server, value) {
            Err(error) if rule != Rule::Plain && error.is_passing() => {
                later.get_or_insert_with(|| Failure::lost(error));
                rest.push(at);
            }
            _ if (rule == Rule::Late || later.is_some())
                && job.commands.access(at) == Access::Write =>
            {
                rest.push(at);
            }
            reply => answers.push((at, reply)),
        }
    }
    if !answers.is_empty() {
        job.settle.settle(answers);
    }
    job.pending = rest;
    ((!job.pending.is_empty()).then_some(job), later)
}

fn reply(server: &str, value: Value) -> Reply {
    match value {
        Value::ServerError(error) => Err(Error::from_reply(server, error.code(), error.details())),
        value => Ok(value),
    }
}

/// Takes the answer to a renewed authentication.
struct Renewal {
    watches: Watches,
    server: Arc<str>,
}

impl Settle for Renewal {
    fn settle(&mut self, replies: Vec<(usize, Reply)>) {
        for (_, reply) in replies {
            if let Err(error) = reply {
                // The connection stays who it was. The next attempt to connect asks again.
                let cause = error.to_string();
                let server = self.server.to_string();
                let event = Event::Failed(Error::Credentials { server, cause });
                self.watches.tell(&event);
            }
        }
    }
}

/// Never, for no time.
async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
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
    use std::sync::Mutex;

    #[derive(Clone, Default)]
    struct Record(Arc<Mutex<Vec<(usize, bool)>>>);

    impl Settle for Record {
        fn settle(&mut self, replies: Vec<(usize, Reply)>) {
            let mut record = self.0.lock().expect("unpoisoned");
            record.extend(replies.into_iter().map(|(at, reply)| (at, reply.is_ok())));
        }
    }

    fn job(accesses: &[Access]) -> (Job, Record) {
        let mut commands = Commands::default();
        for access in accesses {
            commands.add(*access, Expect::Any, None, &[b"X"]);
        }
        let record = Record::default();
        let job = Job {
            pending: (0..commands.len()).collect(),
            commands,
            deadline: Instant::now(),
            settle: Box::new(record.clone()),
        };
        (job, record)
    }

    fn error(text: &str) -> Value {
        redis::parse_redis_value(format!("-{text}\r\n").as_bytes()).expect("an error reply")
    }

    #[test]
    fn what_was_not_answered_is_left() {
        let (job, record) = job(&[Access::Read, Access::Write, Access::Read]);
        let (rest, later) = answer(job, vec![Value::Nil], "redis://h", Rule::PutOff);
        assert_eq!(rest.expect("a rest").pending, [1, 2]);
        assert!(later.is_none());
        assert_eq!(*record.0.lock().expect("unpoisoned"), [(0, true)]);
    }

    #[test]
    fn writes_do_not_overtake_what_the_server_puts_off() {
        let (job, record) = job(&[Access::Write, Access::Read, Access::Write, Access::Write]);
        let replies = vec![
            Value::Okay,
            Value::Nil,
            error("READONLY You can't write against a read only replica."),
            Value::Okay,
        ];
        let (rest, later) = answer(job, replies, "redis://h", Rule::PutOff);
        assert_eq!(rest.expect("a rest").pending, [2, 3]);
        assert!(later.expect("put off").cause.contains("READONLY"));
        assert_eq!(
            *record.0.lock().expect("unpoisoned"),
            [(0, true), (1, true)]
        );
    }

    #[test]
    fn answers_that_mean_no_are_answers() {
        let (job, record) = job(&[Access::Write]);
        let replies = vec![error("OOM command not allowed")];
        let (rest, later) = answer(job, replies, "redis://h", Rule::PutOff);
        assert!(rest.is_none() && later.is_none());
        assert_eq!(*record.0.lock().expect("unpoisoned"), [(0, false)]);
    }

    #[test]
    fn pauses_stay_between_half_and_whole() {
        for _ in 0..1000 {
            let pause = jittered(Duration::from_millis(100));
            assert!((50..=100).contains(&pause.as_millis()), "{pause:?}");
        }
    }
}
