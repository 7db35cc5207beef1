//! The supervisor: the task that owns a connection. It connects, serves, detects a lost link, backs off and
//! reconnects, until the connection is closed.
//!
//! Each connection has one such task, and only this task opens and closes sockets. While no link is open, jobs wait in
//! order, each until its own deadline. If the server rejects the handshake (wrong password, unknown database), waiting
//! jobs fail at once, but the supervisor keeps reconnecting: the server's configuration may be fixed.
//!
//! - [`connect`]: attempts to connect, with backoff; [`credentials`]: the app's credentials function.
//! - [`serve`]: the loop that serves an open link; [`in_flight`]: commands that are sent and not answered yet;
//!   [`replies`]: matches replies to commands; [`retry`]: the retry policy; [`heartbeat`]: heartbeat and read timeout.
//! - [`requeue`]: the retry queue after a lost link; [`held`]: keys whose writes must keep their order;
//!   [`slow_start`]: the number of commands to send after a reconnect.

mod connect;
mod credentials;
mod heartbeat;
mod held;
mod in_flight;
mod replies;
mod requeue;
mod retry;
mod serve;
pub(super) mod slow_start;

// The client transport uses this name, until it is removed.
pub(super) use self::heartbeat::read_timeout as longest_silence;

use self::heartbeat::read_timeout;
use self::held::Held;
use self::in_flight::InFlight;
use self::retry::{RetryPolicy, apply_replies};
use self::serve::Served;
use self::slow_start::SlowStart;
use super::failure::Failure;
use super::handshake::Greeting;
use super::mailbox::Mailbox;
use super::sentinel::Sentinels;
use super::status::{Down, Event, Watch, Watches};
use super::substitutes::Denied;
use super::tracking::Tracking;
use super::{Connection, Credentials, Job, Message, Shared, clock, tls};
use crate::error::Error;
use crate::options::ConnectionOptions;
use futures_util::FutureExt;
use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// Runs the connection task until the connection is closed; restarts it after a panic.
pub(super) async fn run(
    options: ConnectionOptions,
    shared: Arc<Shared>,
    mailbox: Mailbox,
    tracking: Option<Tracking>,
) {
    let mut supervisor = Supervisor {
        read_timeout: read_timeout(options.command_timeout),
        options,
        shared,
        mailbox,
        tracking,
        tls: None,
        sentinels: None,
        waiting: VecDeque::new(),
        in_flight: InFlight::default(),
        slow_start: SlowStart::default(),
        retry_queue: VecDeque::new(),
        transient_error: None,
        held: Held::default(),
        substitution_pending: false,
        link_count: 0,
        hung_up_on: Denied::default(),
        greeting: Greeting::default(),
        watches: Watches::default(),
        credentials: None,
        awaiting_credentials: None,
        renewal_at: None,
        has_served: false,
        last_reply_at: clock::now(),
        has_answered: false,
        backoff: Duration::ZERO,
    };
    while AssertUnwindSafe(supervisor.run())
        .catch_unwind()
        .await
        .is_err()
    {
        supervisor.recover();
    }
    supervisor.finish();
}

struct Supervisor {
    options: ConnectionOptions,
    shared: Arc<Shared>,
    mailbox: Mailbox,
    /// Client tracking, if the connection has a cache.
    tracking: Option<Tracking>,
    tls: Option<tls::Client>,
    /// The Sentinels, if the address is theirs and an attempt has used them.
    sentinels: Option<Sentinels>,
    /// Jobs that are not sent yet. Their deadlines never decrease, since all jobs have the same timeout.
    waiting: VecDeque<Job>,
    in_flight: InFlight,
    slow_start: SlowStart,
    /// Jobs to send again. They go in front of `waiting` when they are requeued.
    retry_queue: VecDeque<Job>,
    /// The transient error that caused the current retry. While it is set, no further job is sent: replies to reads
    /// are used, and writes are repeated so that they keep their order.
    transient_error: Option<Failure>,
    /// The keys of the commands to send again.
    held: Held,
    /// A denied command has a substitute. No further job is sent until all in-flight commands are answered; then the
    /// denied commands and the writes after them are sent again.
    substitution_pending: bool,
    /// The number of links that have served, including the current one.
    link_count: u64,
    /// Commands on which a proxy hung up. For a while, each new link starts with their substitutes.
    hung_up_on: Denied,
    /// The handshake that the server accepted last, remembered for as long.
    greeting: Greeting,
    watches: Watches,
    credentials: Option<Credentials>,
    /// Set while an attempt to connect waits for credentials.
    awaiting_credentials: Option<oneshot::Sender<Result<Credentials, String>>>,
    /// The system time at which to request new credentials.
    renewal_at: Option<Instant>,
    /// The longest silence tolerated while a reply is due.
    read_timeout: Duration,
    /// The current link has replied to a job, or to anything once slow start is over.
    has_served: bool,
    /// The time of the last complete reply.
    last_reply_at: Instant,
    /// The link has answered a command since the last `PING` was sent.
    has_answered: bool,
    /// The pause before the next attempt to connect, before jitter.
    backoff: Duration,
}

impl Supervisor {
    /// Connects and serves until the connection is closed.
    async fn run(&mut self) {
        while let Some((link, primary)) = self.connect().await {
            if self.serve(link, primary).await == Served::Closed {
                break;
            }
        }
    }

    /// Recovers from a panic, which closed the socket: in-flight commands are queued again.
    fn recover(&mut self) {
        let server = self.shared.server.to_string();
        let error = Error::Interrupted { server };
        self.end_tracking();
        self.shared.health.set_ready(false);
        self.shared.health.set_down(Down {
            attempts: 0,
            cause: error.to_string(),
            timed_out: false,
        });
        self.requeue_in_flight(&error, None);
        self.transient_error = None;
        self.awaiting_credentials = None;
        self.watches.notify(&Event::Failed(error));
    }

    fn handle_message(&mut self, message: Message) {
        match message {
            Message::Job(job) if self.mailbox.is_closing() => {
                self.note_dequeued(&job);
                job.fail(&Error::Closed);
            }
            Message::Job(job) => self.waiting.push_back(job),
            // These are for clusters, for the client transport, or handled by the mailbox.
            Message::Primaries(_) | Message::Executor(_) | Message::Said(_) | Message::Close(_) => {
            }
            Message::HandOver(connection) => self.hand_over(&connection),
            Message::Watch(watch) => self.add_watch(watch),
            Message::Credentials(credentials) => self.receive_credentials(credentials),
            Message::Renewal(credentials) => self.receive_credentials(Ok(credentials)),
        }
    }

    fn add_watch(&mut self, watch: Weak<dyn Watch>) {
        if let Some(watch) = watch.upgrade()
            && self.awaiting_credentials.is_some()
        {
            watch.event(&Event::CredentialsWanted);
        }
        self.watches.add(watch, self.shared.health.is_ready());
    }

    /// Passes the waiting jobs to another connection. A connection that has served keeps its jobs, since only this task
    /// knows the order of its sent and retried commands.
    fn hand_over(&mut self, connection: &Connection) {
        if self.has_served || self.shared.health.is_ready() {
            return;
        }
        for job in std::mem::take(&mut self.waiting) {
            self.note_dequeued(&job);
            connection.take_over(job);
        }
    }

    /// Subtracts a job's operations from the queue that `max_queue` bounds.
    fn note_dequeued(&self, job: &Job) {
        self.shared
            .queued
            .fetch_sub(job.operations(), Ordering::Relaxed);
    }

    fn fail_waiting(&mut self, error: &Error) {
        for job in std::mem::take(&mut self.waiting) {
            self.note_dequeued(&job);
            job.fail(error);
        }
    }

    /// Returns true if the connection is closing and no job is left.
    fn is_done(&self) -> bool {
        self.mailbox.is_closing() && self.waiting.is_empty() && self.retry_queue.is_empty()
    }

    /// Fails the jobs whose deadline has passed. Returns true if replies to some of them may still arrive.
    fn expire(&mut self) -> bool {
        let now = clock::now();
        while self.waiting.front().is_some_and(|job| job.deadline <= now) {
            if let Some(job) = self.waiting.pop_front() {
                self.note_dequeued(&job);
                let error = self.timeout_error(&job, job.failed_attempts);
                job.fail(&error);
            }
        }
        while self
            .retry_queue
            .front()
            .is_some_and(|job| job.deadline <= now)
        {
            if let Some(job) = self.retry_queue.pop_front() {
                let error = self.timeout_error(&job, job.failed_attempts.saturating_add(1));
                job.fail(&error);
            }
        }
        let expired = self.in_flight.expire(now);
        let may_reply_late = !expired.is_empty();
        for (job, replies) in expired {
            let server = &self.shared.server;
            let held = &mut Held::default();
            if let Some(rest) =
                apply_replies(job, replies, server, RetryPolicy::Never, Denied::ALL, held).job
            {
                let error = self.timeout_error(&rest, rest.failed_attempts.saturating_add(1));
                rest.fail(&error);
            }
        }
        may_reply_late
    }

    /// Builds the timeout error for `job`. `sent` exceeds `failed_attempts` by one while its last reply is outstanding.
    fn timeout_error(&self, job: &Job, sent: u32) -> Error {
        let server = self.shared.server.to_string();
        let waited = self.options.command_timeout;
        let down = self.shared.health.down();
        let cause = match &self.transient_error {
            Some(failure) => Some(failure.cause.clone()),
            // The job failed with the last link, and no attempt to connect has failed since.
            None if job.failed_attempts > 0 && down.attempts <= 1 && !down.timed_out => {
                Some(down.cause)
            }
            None => None,
        };
        match cause {
            Some(cause) => Error::Unserved {
                server,
                waited,
                sent,
                cause,
            },
            None if sent > job.failed_attempts || self.shared.health.is_ready() => {
                Error::Timeout { server, waited }
            }
            None => self.shared.unavailable(waited),
        }
    }

    /// Fails the jobs that arrived last and reports the end to the callers of `close`.
    fn finish(mut self) {
        self.mailbox.shut();
        while let Some(message) = self.mailbox.try_next() {
            self.handle_message(message);
        }
        self.mailbox.notify_ended();
    }
}

/// Adds jitter: returns a random duration between half of `backoff` and all of it, so that many processes do not
/// reconnect at the same moment.
pub(super) fn jittered(backoff: Duration) -> Duration {
    use std::hash::{BuildHasher, RandomState};
    // Each `RandomState` hashes differently, which is random enough here.
    let fraction = (RandomState::new().hash_one(0) % 1024) as u32;
    backoff / 2 + backoff / 2 * fraction / 1024
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::commands::{Access, Expect};
    use crate::connection::test_observers::{Errors, Panicking};
    use crate::options::Secret;
    use redis::Value;
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::sync::atomic::AtomicBool;
    use tokio::runtime::Handle;
    use tokio::sync::mpsc;
    use tokio::time::timeout;

    /// A generous limit for events that normally happen soon: the flooding servers keep the machine busy.
    const ENOUGH: Duration = Duration::from_secs(30);

    /// Returns a listening server and the options of a connection to it.
    fn listen() -> (TcpListener, ConnectionOptions) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let options =
            crate::options::parse_url(&format!("redis://127.0.0.1:{port}")).expect("a URL");
        (listener, options)
    }

    /// Returns the bytes that a client has sent.
    fn received(client: &mut TcpStream) -> std::io::Result<String> {
        let mut bytes = vec![0; 64 * 1024];
        let count = client.read(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes[..count]).into_owned())
    }

    /// Returns the replies to a client's handshake, with `more` after the reply to `HELLO`.
    fn welcome(handshake: &str, more: &str) -> String {
        let oks = "+OK\r\n".repeat(handshake.matches("CLIENT\r\n").count());
        format!("%1\r\n$5\r\nproto\r\n:3\r\n{more}{oks}")
    }

    /// Accepts a client's handshake, with `more` after the reply to `HELLO`.
    fn let_in(client: &mut TcpStream, more: &str) -> std::io::Result<()> {
        let handshake = received(client)?;
        client.write_all(welcome(&handshake, more).as_bytes())
    }

    /// Accepts a client's handshake and answers its commands until it disconnects.
    fn serve(client: &mut TcpStream) -> std::io::Result<()> {
        let_in(client, "")?;
        loop {
            let commands = received(client)?;
            if commands.is_empty() {
                return Ok(());
            }
            let pongs = commands.matches("PING").count();
            let gets = commands.matches("GET").count();
            client.write_all("+PONG\r\n".repeat(pongs).as_bytes())?;
            client.write_all("$1\r\nx\r\n".repeat(gets).as_bytes())?;
        }
    }

    /// Accepts a client's handshake and answers the first command with `head`, followed by `text` without end.
    fn flood(mut client: TcpStream, head: &str, text: &str) -> std::io::Result<()> {
        let_in(&mut client, "")?;
        client.read_exact(&mut [0])?;
        client.write_all(head.as_bytes())?;
        let text = text.repeat(4_000_000 / text.len());
        loop {
            client.write_all(text.as_bytes())?;
        }
    }

    #[tokio::test]
    async fn a_server_that_sends_without_end_delays_neither_deadlines_nor_close() {
        let push = ">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n";
        for (head, text) in [("", push), ("*500000000\r\n", ":1\r\n")] {
            let (listener, mut options) = listen();
            let server = std::thread::spawn(move || {
                let (client, _) = listener.accept()?;
                flood(client, head, text)
            });
            options.command_timeout = Duration::from_millis(500);
            let connection = Connection::open(&Handle::current(), options);
            let get: [&[u8]; 2] = [b"GET", b"k"];
            let reply = connection.ask(Access::Read, Expect::Any, None, &get);
            let reply = timeout(ENOUGH, reply).await;
            assert!(matches!(reply, Ok(Err(Error::Timeout { .. }))), "{reply:?}");
            let end = timeout(ENOUGH, connection.close()).await;
            assert!(end.is_ok());
            // The client closed the connection.
            assert!(server.join().expect("no panic").is_err());
        }
    }

    #[tokio::test]
    async fn a_timeout_after_a_transient_error_reports_the_transient_error() {
        let (listener, mut options) = listen();
        // The thread ends with the process: it accepts clients until then.
        std::thread::spawn(move || -> std::io::Result<()> {
            let mut reply: &[u8] = b"-READONLY not now\r\n";
            for client in listener.incoming() {
                let mut client = client?;
                let_in(&mut client, "")?;
                client.read_exact(&mut [0])?;
                client.write_all(std::mem::take(&mut reply))?;
                // The client may disconnect at any time.
                let _ = client.read_to_end(&mut Vec::new());
            }
            Ok(())
        });
        options.command_timeout = Duration::from_millis(500);
        let connection = Connection::open(&Handle::current(), options);
        let set: [&[u8]; 3] = [b"SET", b"k", b"v"];
        let reply = connection.ask(Access::Write, Expect::Okay, None, &set);
        let Ok(Err(Error::Unserved { sent, cause, .. })) = timeout(ENOUGH, reply).await else {
            panic!("a reply, or another error");
        };
        assert_eq!(sent, 2);
        assert!(cause.contains("READONLY"), "{cause}");
    }

    #[tokio::test]
    async fn a_server_that_waits_for_more_bytes_receives_a_nudge() {
        let (listener, mut options) = listen();
        // Answers one command each time bytes arrive, as KeyDB does after a SCAN.
        let server = std::thread::spawn(move || -> std::io::Result<()> {
            let (mut client, _) = listener.accept()?;
            let_in(&mut client, "")?;
            let mut left = String::new();
            loop {
                let more = received(&mut client)?;
                if more.is_empty() {
                    return Ok(());
                }
                left += &more;
                let (reply, word) = match left.find("GET") {
                    Some(_) => ("$-1\r\n", "GET"),
                    None => ("+PONG\r\n", "PING"),
                };
                left = left.replacen(word, "", 1);
                client.write_all(reply.as_bytes())?;
            }
        });
        options.command_timeout = ENOUGH;
        let connection = Connection::open(&Handle::current(), options);
        let mut commands = super::super::Commands::default();
        for _ in 0..3 {
            commands.add(Access::Read, Expect::Text, None, &[b"GET", b"k"]);
        }
        let replies = timeout(ENOUGH, connection.query(commands)).await;
        assert!(
            matches!(replies.as_deref(), Ok([Ok(_), Ok(_), Ok(_)])),
            "{replies:?}"
        );
        let end = timeout(ENOUGH, connection.close()).await;
        assert!(end.is_ok());
        assert!(server.join().expect("no panic").is_ok());
    }

    #[tokio::test]
    async fn a_reply_that_swallows_pongs_is_waited_for_no_longer_than_silence() {
        let (listener, mut options) = listen();
        std::thread::spawn(move || -> std::io::Result<()> {
            let (mut client, _) = listener.accept()?;
            let_in(&mut client, "")?;
            received(&mut client)?;
            client.write_all(b"$1000\r\n")?;
            while received(&mut client).is_ok_and(|text| text.contains("PING")) {
                client.write_all(b"+PONG\r\n")?;
            }
            serve(&mut listener.accept()?.0)
        });
        options.command_timeout = ENOUGH;
        let connection = Connection::open(&Handle::current(), options);
        let get: [&[u8]; 2] = [b"GET", b"k"];
        let reply = connection
            .ask(Access::Read, Expect::Text, Some(1), &get)
            .await;
        assert_eq!(reply.ok(), Some(Value::BulkString(b"x".to_vec())));
        assert!(timeout(ENOUGH, connection.close()).await.is_ok());
    }

    #[tokio::test]
    async fn a_server_that_answers_only_pings_and_one_too_few_is_given_up() {
        let (listener, mut options) = listen();
        std::thread::spawn(move || -> std::io::Result<()> {
            // From here on, commands are sent one by one, each when all that was sent before is answered.
            let (mut client, _) = listener.accept()?;
            let_in(&mut client, "")?;
            received(&mut client)?;
            drop(client);
            let (mut client, _) = listener.accept()?;
            let_in(&mut client, "")?;
            received(&mut client)?;
            client.write_all(b"+PONG\r\n")?;
            received(&mut client)?;
            // The PING behind the GET goes without an answer.
            received(&mut client)?;
            client.write_all(b"_\r\n")?;
            while received(&mut client).is_ok_and(|text| text.contains("PING")) {
                client.write_all(b"+PONG\r\n")?;
            }
            serve(&mut listener.accept()?.0)
        });
        options.command_timeout = ENOUGH;
        let connection = Connection::open(&Handle::current(), options);
        let get: [&[u8]; 2] = [b"GET", b"k"];
        for expected in [Value::Nil, Value::BulkString(b"x".to_vec())] {
            let reply = connection.ask(Access::Read, Expect::Text, Some(1), &get);
            assert_eq!(reply.await.ok(), Some(expected));
        }
        assert!(timeout(ENOUGH, connection.close()).await.is_ok());
    }

    #[tokio::test]
    async fn an_extra_reply_in_the_handshake_answers_no_command() {
        let (listener, mut options) = listen();
        // The thread ends with the process: it accepts clients until then.
        std::thread::spawn(move || {
            for mut client in listener.incoming().flatten() {
                // The client may disconnect during the handshake.
                let _ = let_in(&mut client, "$1\r\nx\r\n");
                let _ = client.read_to_end(&mut Vec::new());
            }
        });
        options.command_timeout = Duration::from_millis(500);
        let connection = Connection::open(&Handle::current(), options);
        let set: [&[u8]; 3] = [b"SET", b"k", b"v"];
        let reply = connection
            .ask(Access::Write, Expect::Okay, None, &set)
            .await;
        assert!(reply.is_err(), "{reply:?}");
    }

    /// Reports requests for credentials.
    struct CredentialsRequests(mpsc::UnboundedSender<()>);

    impl Watch for CredentialsRequests {
        fn event(&self, event: &Event) {
            if let Event::CredentialsWanted = event {
                // The test may be over.
                let _ = self.0.send(());
            }
        }
    }

    fn password(text: &str) -> Credentials {
        Credentials {
            username: None,
            password: Some(Secret::new(text.into())),
            expires_in: None,
        }
    }

    #[tokio::test]
    async fn credentials_renewed_during_the_handshake_are_sent_after_it() {
        let (listener, mut options) = listen();
        let (report, mut received_texts) = mpsc::unbounded_channel();
        let (go, may_reply) = std::sync::mpsc::channel::<()>();
        // Accepts the handshake after `go`, and reports the bytes that the client sends.
        let server = std::thread::spawn(move || -> std::io::Result<()> {
            let (mut client, _) = listener.accept()?;
            let handshake = received(&mut client)?;
            let replies = welcome(&handshake, "");
            // The test may be over.
            let _ = report.send(handshake);
            let _ = may_reply.recv();
            client.write_all(replies.as_bytes())?;
            let _ = report.send(received(&mut client)?);
            client.write_all(b"+OK\r\n")
        });
        options.credentials = Some(1);
        let connection = Connection::open(&Handle::current(), options);
        let (want, mut requests) = mpsc::unbounded_channel();
        let watch: Arc<dyn Watch> = Arc::new(CredentialsRequests(want));
        connection.watch(Arc::downgrade(&watch));
        requests.recv().await.expect("a request");
        connection.give_credentials(Ok(password("old")));
        assert!(
            received_texts
                .recv()
                .await
                .expect("a client")
                .contains("old")
        );
        connection.renew_credentials(password("new"));
        tokio::task::yield_now().await;
        go.send(()).expect("a server");
        let next = timeout(ENOUGH, received_texts.recv()).await;
        assert!(matches!(next, Ok(Some(text)) if text.contains("new")));
        assert!(server.join().expect("no panic").is_ok());
    }

    /// Notes that its commands are sent.
    struct Sending(Arc<AtomicBool>);

    impl crate::connection::ReplyHandler for Sending {
        fn on_sent(&mut self) {
            self.0.store(true, Ordering::Release);
        }

        fn on_replies(&mut self, _: Vec<(usize, crate::connection::Reply)>) {}
    }

    #[tokio::test]
    async fn a_handler_learns_that_its_commands_are_sent_before_the_server_receives_them() {
        let (listener, options) = listen();
        let sent = Arc::new(AtomicBool::new(false));
        let is_sent = Arc::clone(&sent);
        let server = std::thread::spawn(move || -> std::io::Result<[bool; 2]> {
            let (mut client, _) = listener.accept()?;
            let handshake = received(&mut client)?;
            let while_queued = is_sent.load(Ordering::Acquire);
            client.write_all(welcome(&handshake, "").as_bytes())?;
            client.read_exact(&mut [0])?;
            Ok([while_queued, is_sent.load(Ordering::Acquire)])
        });
        let connection = Connection::open(&Handle::current(), options);
        let words: [&[u8]; 2] = [b"GET", b"k"];
        let get = super::super::Commands::of(Access::Read, Expect::Text, Some(1), &words);
        connection.send(get, Box::new(Sending(sent)));
        let joined = tokio::task::spawn_blocking(|| server.join());
        let seen = timeout(ENOUGH, joined).await.expect("in time");
        let seen = seen.expect("joined").expect("no panic");
        assert_eq!(seen.expect("a client"), [false, true]);
    }

    #[tokio::test]
    async fn a_connection_task_that_panics_is_reported_and_restarted() {
        let (listener, options) = listen();
        // The thread ends with the process: it accepts clients until then.
        std::thread::spawn(move || {
            for mut client in listener.incoming().flatten() {
                std::thread::spawn(move || serve(&mut client));
            }
        });
        let connection = Connection::open(&Handle::current(), options);
        let (report, mut errors) = mpsc::unbounded_channel();
        let watch: Arc<dyn Watch> = Arc::new(Errors(report));
        connection.watch(Arc::downgrade(&watch));
        let words: [&[u8]; 2] = [b"GET", b"k"];
        let get = super::super::Commands::of(Access::Read, Expect::Text, Some(1), &words);
        connection.send(get, Box::new(Panicking));
        let error = timeout(ENOUGH, errors.recv()).await;
        assert!(matches!(error, Ok(Some(error)) if error.contains("ended unexpectedly")));
        let reply = connection.ask(Access::Read, Expect::Text, Some(1), &words);
        let reply = timeout(ENOUGH, reply).await;
        assert!(matches!(reply, Ok(Ok(_))), "{reply:?}");
        assert!(timeout(ENOUGH, connection.close()).await.is_ok());
    }

    #[test]
    fn jitter_stays_between_half_and_all_of_the_backoff() {
        for _ in 0..1000 {
            let backoff = jittered(Duration::from_millis(100));
            assert!((50..=100).contains(&backoff.as_millis()), "{backoff:?}");
        }
    }
}
