//! Owns a connection: connect, serve, notice the loss, back off, connect again, until closed.
//!
//! One task per connection; it alone begins and ends sockets. While there is none, jobs wait in
//! order, each until its own deadline. A server that refuses to let us in (wrong password, unknown
//! database) fails them at once, and is asked again all the same: somebody may mend it.
//!
//! - [`connect`]: attempts and pauses; [`credentials`]: those that the app's function gives.
//! - [`serve`]: an open connection in use; [`in_flight`]: what is in its socket; [`replies`]: to whom its replies go,
//!   [`retry`]: what of a job they leave to be done; [`heartbeat`]: whether the server lives.
//! - [`requeue`]: what is sent again; [`held`]: what that holds up; [`slow_start`]: how much of it at once.

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

// The client transport goes by this name, until it is removed.
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
    /// Where what is read is kept.
    tracking: Option<Tracking>,
    tls: Option<tls::Client>,
    /// Only where the address is theirs.
    sentinels: Option<Sentinels>,
    /// Not in the socket yet. Deadlines never decrease, since all jobs have the same time to live.
    waiting: VecDeque<Job>,
    in_flight: InFlight,
    slow_start: SlowStart,
    /// What the server will do later; goes back before what waits.
    retry_queue: VecDeque<Job>,
    /// The server's answer that began this: no more is sent, replies to reads count, writes are
    /// repeated so that they keep their order.
    transient_error: Option<Failure>,
    /// The keys of what is to be sent again.
    held: Held,
    /// A command was denied that has a substitute: no more is sent until what is in flight is answered, and then what
    /// was denied, and the writes after it.
    substitution_pending: bool,
    /// How many links have served, the present one included.
    link_count: u64,
    /// Commands on which a proxy hung up: each connection begins with their substitutes, for a while.
    hung_up_on: Denied,
    /// What the server let us say last at the begin of a connection, for as long.
    greeting: Greeting,
    watches: Watches,
    credentials: Option<Credentials>,
    /// An attempt to connect waits for credentials.
    awaiting_credentials: Option<oneshot::Sender<Result<Credentials, String>>>,
    /// The system time when credentials are to be asked for anew.
    renewal_at: Option<Instant>,
    /// For how long the server may keep silent while an answer is due.
    read_timeout: Duration,
    /// The connection has answered something.
    has_served: bool,
    /// When its last whole answer came.
    last_reply_at: Instant,
    /// Before the next attempt to connect.
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

    /// Goes on after a panic, which has lost the socket: what is in flight is sent again.
    fn recover(&mut self) {
        let server = self.shared.server.to_string();
        let error = Error::Interrupted { server };
        self.end_tracking();
        self.shared.health.set_ready(false);
        self.shared.health.set_down(Down {
            attempts: 0,
            cause: error.to_string(),
            silent: false,
        });
        self.requeue_in_flight(&error, None);
        self.transient_error = None;
        self.awaiting_credentials = None;
        self.watches.tell(&Event::Failed(error));
    }

    fn handle_message(&mut self, message: Message) {
        match message {
            Message::Job(job) if self.mailbox.is_closing() => {
                self.note_dequeued(&job);
                job.fail(&Error::Closed);
            }
            Message::Job(job) => self.waiting.push_back(job),
            // Asked of clusters only, said by the app's client, and taken note of by the inbox.
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

    /// What a connection that served has sent, or is to repeat, stays: its order is known here alone.
    fn hand_over(&mut self, connection: &Connection) {
        if self.has_served || self.shared.health.is_ready() {
            return;
        }
        for job in std::mem::take(&mut self.waiting) {
            self.note_dequeued(&job);
            connection.take_over(job);
        }
    }

    /// The commands of a job leave the queue that `max_queue` bounds.
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

    /// Nothing is left to do before the end.
    fn is_done(&self) -> bool {
        self.mailbox.is_closing() && self.waiting.is_empty() && self.retry_queue.is_empty()
    }

    /// Fails what has run out of time; whether replies to some of it may still come.
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

    /// Why nothing came in time of a job that was sent so often: once more than in vain, if its last answer is still due.
    fn timeout_error(&self, job: &Job, sent: u32) -> Error {
        let server = self.shared.server.to_string();
        let waited = self.options.command_timeout;
        let down = self.shared.health.down();
        let cause = match &self.transient_error {
            Some(failure) => Some(failure.cause.clone()),
            // No attempt to connect has failed since.
            None if job.failed_attempts > 0 && down.attempts <= 1 && !down.silent => {
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

    /// Tells everybody that it is over.
    fn finish(mut self) {
        self.mailbox.shut();
        while let Some(message) = self.mailbox.try_next() {
            self.handle_message(message);
        }
        self.mailbox.tell_ended();
    }
}

/// Between half and the whole of `pause`, so that many processes do not come back in step.
pub(super) fn jittered(backoff: Duration) -> Duration {
    use std::hash::{BuildHasher, RandomState};
    // A fresh `RandomState` hashes differently each time: enough randomness for this.
    let fraction = (RandomState::new().hash_one(0) % 1024) as u32;
    backoff / 2 + backoff / 2 * fraction / 1024
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::commands::{Access, Expect};
    use crate::options::Secret;
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use tokio::runtime::Handle;
    use tokio::sync::mpsc;
    use tokio::time::timeout;

    /// For what comes soon, if it ever does: the floods of servers leave a busy machine little time.
    const ENOUGH: Duration = Duration::from_secs(30);

    /// A server, and the settings of a connection to it.
    fn listen() -> (TcpListener, ConnectionOptions) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let options =
            crate::options::parse_url(&format!("redis://127.0.0.1:{port}")).expect("a URL");
        (listener, options)
    }

    /// What a client sends at once.
    fn received(client: &mut TcpStream) -> std::io::Result<String> {
        let mut bytes = vec![0; 64 * 1024];
        let count = client.read(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes[..count]).into_owned())
    }

    /// The replies to the set-up of a client, with `more` behind the one to its HELLO.
    fn welcome(set_up: &str, more: &str) -> String {
        let oks = "+OK\r\n".repeat(set_up.matches("CLIENT\r\n").count());
        format!("%1\r\n$5\r\nproto\r\n:3\r\n{more}{oks}")
    }

    /// Lets a client in, with `more` behind the reply to its HELLO.
    fn let_in(client: &mut TcpStream, more: &str) -> std::io::Result<()> {
        let set_up = received(client)?;
        client.write_all(welcome(&set_up, more).as_bytes())
    }

    /// Lets a client in, and answers the first command with `head`, and then `text` over and over.
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
    async fn a_server_that_never_stops_keeps_nobody_from_deadlines_and_the_end() {
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
            // It was left.
            assert!(server.join().expect("no panic").is_err());
        }
    }

    #[tokio::test]
    async fn what_was_put_off_and_has_no_answer_to_the_last_attempt_tells_why_it_was_put_off() {
        let (listener, mut options) = listen();
        // Ends with the process: it accepts for as long as it is connected to.
        std::thread::spawn(move || -> std::io::Result<()> {
            let mut reply: &[u8] = b"-READONLY not now\r\n";
            for client in listener.incoming() {
                let mut client = client?;
                let_in(&mut client, "")?;
                client.read_exact(&mut [0])?;
                client.write_all(std::mem::take(&mut reply))?;
                // A client that leaves has no more to say.
                let _ = client.read_to_end(&mut Vec::new());
            }
            Ok(())
        });
        options.command_timeout = Duration::from_millis(500);
        let connection = Connection::open(&Handle::current(), options);
        let set: [&[u8]; 3] = [b"SET", b"k", b"v"];
        let reply = connection.ask(Access::Write, Expect::Okay, None, &set);
        let Ok(Err(Error::Unserved { sent, cause, .. })) = timeout(ENOUGH, reply).await else {
            panic!("served, or of another cause");
        };
        assert_eq!(sent, 2);
        assert!(cause.contains("READONLY"), "{cause}");
    }

    #[tokio::test]
    async fn a_server_that_leaves_commands_unprocessed_until_more_bytes_arrive_gets_them() {
        let (listener, mut options) = listen();
        // Answers one command for each time that bytes arrive, as KeyDB does behind a SCAN.
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
    async fn a_reply_too_many_in_the_set_up_answers_no_command() {
        let (listener, mut options) = listen();
        // Ends with the process: it accepts for as long as it is connected to.
        std::thread::spawn(move || {
            for mut client in listener.incoming().flatten() {
                // A client that leaves has what it was asked for.
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

    /// Tells when credentials are wanted.
    struct Wanting(mpsc::UnboundedSender<()>);

    impl Watch for Wanting {
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
    async fn credentials_that_are_renewed_while_it_connects_come_into_force() {
        let (listener, mut options) = listen();
        let (tell, mut told) = mpsc::unbounded_channel();
        let (go, goes) = std::sync::mpsc::channel::<()>();
        // Lets the client in when told to, and tells what it says.
        let server = std::thread::spawn(move || -> std::io::Result<()> {
            let (mut client, _) = listener.accept()?;
            let set_up = received(&mut client)?;
            let replies = welcome(&set_up, "");
            // The test may be over.
            let _ = tell.send(set_up);
            let _ = goes.recv();
            client.write_all(replies.as_bytes())?;
            let _ = tell.send(received(&mut client)?);
            client.write_all(b"+OK\r\n")
        });
        options.credentials = Some(1);
        let connection = Connection::open(&Handle::current(), options);
        let (want, mut wanted) = mpsc::unbounded_channel();
        let watch: Arc<dyn Watch> = Arc::new(Wanting(want));
        connection.watch(Arc::downgrade(&watch));
        wanted.recv().await.expect("asked for");
        connection.give_credentials(Ok(password("old")));
        assert!(told.recv().await.expect("a client").contains("old"));
        connection.renew_credentials(password("new"));
        tokio::task::yield_now().await;
        go.send(()).expect("a server");
        let next = timeout(ENOUGH, told.recv()).await;
        assert!(matches!(next, Ok(Some(text)) if text.contains("new")));
        assert!(server.join().expect("no panic").is_ok());
    }

    /// Panics when it is given replies.
    struct Panicking;

    impl crate::connection::ReplyHandler for Panicking {
        fn on_replies(&mut self, _: Vec<(usize, crate::connection::Reply)>) {
            panic!("expected by this test");
        }
    }

    /// Collects the messages of errors.
    struct Errors(mpsc::UnboundedSender<String>);

    impl Watch for Errors {
        fn event(&self, event: &Event) {
            if let Event::Failed(error) = event {
                // The test may be over.
                let _ = self.0.send(error.to_string());
            }
        }
    }

    #[tokio::test]
    async fn a_connection_task_that_panics_is_reported_and_restarted() {
        let (listener, options) = listen();
        // Ends with the process: it accepts for as long as it is connected to.
        std::thread::spawn(move || {
            for mut client in listener.incoming().flatten() {
                std::thread::spawn(move || -> std::io::Result<()> {
                    let_in(&mut client, "")?;
                    loop {
                        let commands = received(&mut client)?;
                        if commands.is_empty() {
                            return Ok(());
                        }
                        let pongs = commands.matches("PING").count();
                        let gets = commands.matches("GET").count();
                        client.write_all("+PONG\r\n".repeat(pongs).as_bytes())?;
                        client.write_all("$1\r\nx\r\n".repeat(gets).as_bytes())?;
                    }
                });
            }
        });
        let connection = Connection::open(&Handle::current(), options);
        let (tell, mut errors) = mpsc::unbounded_channel();
        let watch: Arc<dyn Watch> = Arc::new(Errors(tell));
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
    fn pauses_stay_between_half_and_whole() {
        for _ in 0..1000 {
            let backoff = jittered(Duration::from_millis(100));
            assert!((50..=100).contains(&backoff.as_millis()), "{backoff:?}");
        }
    }
}
