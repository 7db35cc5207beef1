//! Saves that look for conflicts: compare and set, until it holds.
//!
//! The first attempt is sent in its place among the other commands; if the stored text is the expected
//! one, that is all. If not, the reply has the stored text, and the save goes on by itself.

use super::merge::{merge, same_content};
use super::{Completion, Sessions, unexpected};
use crate::cache::PendingWrite;
use crate::connection::{Access, Commands, Connection, Expect, Reply, clock};
use crate::error::Error;
use crate::worker::{self, LONG};
use redis::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::time::Instant;

/// For servers without `SET … IFEQ`. Stores `ARGV[1]` for `ARGV[2]` ms (0: without an end) if `ARGV[3]` is
/// stored or, without an `ARGV[3]`, nothing is, and says so by an array, which no JavaScript client takes
/// for a text; else gives what is stored.
const SCRIPT: &str = "\
local stored = redis.call('GET', KEYS[1])
if stored ~= (ARGV[3] or false) then return stored end
if ARGV[2] == '0' then redis.call('SET', KEYS[1], ARGV[1])
else redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2]) end
return {}";
/// By this name a server knows the script once it has run it.
const SCRIPT_SHA1: &str = "995f2c552b430d9883a34c6acc8877fa929bf6bd";

const UNKNOWN: &str = "what this request loaded is not known, since its session was not made by the store's \
    createSession";

/// How the server compares and sets. Found out by trying, for each connection: after a reconnect, it may be
/// another server.
#[derive(Debug)]
pub(super) struct CasSupport {
    /// The number of the connection that needs the script.
    scripted: AtomicU64,
}

impl Default for CasSupport {
    fn default() -> Self {
        Self {
            scripted: AtomicU64::new(u64::MAX),
        }
    }
}

impl CasSupport {
    fn needs_script(&self, connection: &Connection) -> bool {
        self.scripted.load(Ordering::Relaxed) == connection.connections()
    }

    fn note_script(&self, connection: &Connection) {
        self.scripted
            .store(connection.connections(), Ordering::Relaxed);
    }
}

/// What has to hold for a save.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Nothing is stored.
    New,
    /// The stored session is the base but for the cookie, or what is saved is.
    Unchanged,
    /// None: what was stored since is merged.
    Merged,
}

/// How an attempt was made, which decides what its reply means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CasMethod {
    /// `SET … IFEQ … GET` or, where nothing may be stored, `SET … NX GET`.
    Native,
    /// The script by its name.
    Named,
    Whole,
}

/// A save under a rule.
pub(super) struct ConditionalSave {
    pub(super) rule: Condition,
    pub(super) key: Vec<u8>,
    /// The text that this request loaded, empty if it is not known; nothing for a new session.
    pub(super) base: Option<Vec<u8>>,
    /// The text that it saves.
    pub(super) mine: Vec<u8>,
    pub(super) ttl: Option<u64>,
    pub(super) since: Instant,
}

/// What an attempt came to.
enum Outcome {
    Stored,
    /// There is no session any more.
    Missing,
    Found(Vec<u8>),
    /// The server does not know this way.
    Unknown,
    Failed(Error),
}

/// What is left to do when another text than the expected one is stored.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    Store(Vec<u8>),
    GiveUp(&'static str),
}

impl ConditionalSave {
    /// The first attempt, as a command among others.
    pub(super) fn begin(
        &self,
        dialect: &CasSupport,
        connection: &Connection,
        commands: &mut Commands,
    ) -> CasMethod {
        let means = if dialect.needs_script(connection) {
            CasMethod::Named
        } else {
            CasMethod::Native
        };
        self.add(commands, means, self.base.as_deref(), &self.mine);
        means
    }

    fn add(
        &self,
        commands: &mut Commands,
        means: CasMethod,
        expected: Option<&[u8]>,
        value: &[u8],
    ) {
        let ttl = self.ttl.unwrap_or(0).to_string();
        let key = self.key.as_slice();
        let mut words: Vec<&[u8]> = Vec::with_capacity(8);
        let (key_at, expect) = match means {
            CasMethod::Native => {
                words.extend([b"SET", key, value]);
                match expected {
                    Some(expected) => words.extend([b"IFEQ", expected]),
                    None => words.push(b"NX"),
                }
                words.push(b"GET");
                if self.ttl.is_some() {
                    words.extend([b"PX", ttl.as_bytes()]);
                }
                (1, Expect::Text)
            }
            CasMethod::Named | CasMethod::Whole => {
                match means {
                    CasMethod::Named => words.extend([&b"EVALSHA"[..], SCRIPT_SHA1.as_bytes()]),
                    _ => words.extend([&b"EVAL"[..], SCRIPT.as_bytes()]),
                }
                words.extend([b"1", key, value, ttl.as_bytes()]);
                words.extend(expected);
                (3, Expect::Any)
            }
        };
        commands.add(Access::Write, expect, Some(key_at), &words);
    }

    /// The answer to the first attempt, if that is the end of it.
    pub(super) fn settle(
        &self,
        dialect: &CasSupport,
        connection: &Connection,
        means: CasMethod,
        reply: Reply,
    ) -> Result<Completion, Attempt> {
        match outcome(dialect, connection, means, self.base.as_deref(), reply) {
            Outcome::Stored => Ok(Completion::Done),
            Outcome::Missing => Ok(Completion::Missing),
            Outcome::Failed(error) => Ok(Completion::Failed("set", error)),
            Outcome::Unknown => Err(Attempt {
                means: further(means),
                found: None,
            }),
            Outcome::Found(text) => Err(Attempt {
                means,
                found: Some(text),
            }),
        }
    }

    /// Goes on after the first attempt, until the save holds or cannot.
    pub(super) async fn go_on(
        self: Arc<Self>,
        sessions: Sessions,
        attempt: Attempt,
        writing: Option<PendingWrite>,
    ) -> Completion {
        let connection = sessions.connection();
        let waited = connection.command_timeout();
        let deadline = self.since + waited;
        let answer = clock::timeout_at(
            deadline,
            self.contend(connection, &sessions.dialect, attempt),
        )
        .await
        .unwrap_or_else(|| {
            let server = connection.server().to_owned();
            Completion::Failed("set", Error::Contended { server, waited })
        });
        // Reads that followed the first attempt may have seen what was there before the last.
        connection.flights().close(&self.key);
        drop(writing);
        answer
    }

    async fn contend(
        self: &Arc<Self>,
        connection: &Connection,
        dialect: &CasSupport,
        Attempt { mut means, found }: Attempt,
    ) -> Completion {
        let mut expected = found;
        loop {
            // An attempt that the server did not know is made again as it was.
            let value = match &expected {
                None => self.mine.clone(),
                Some(theirs) => match self.next_of(theirs).await {
                    Next::Store(value) => value,
                    Next::GiveUp(reason) => {
                        return Completion::Conflict(reason, expected.unwrap_or_default());
                    }
                },
            };
            loop {
                let mut commands = Commands::default();
                let against = expected.as_deref().or(self.base.as_deref());
                self.add(&mut commands, means, against, &value);
                let reply = connection.query(commands).await.pop();
                let reply = reply.unwrap_or(Err(Error::Abandoned));
                match outcome(dialect, connection, means, against, reply) {
                    Outcome::Stored => return Completion::Done,
                    Outcome::Missing => return Completion::Missing,
                    Outcome::Failed(error) => return Completion::Failed("set", error),
                    Outcome::Unknown => means = further(means),
                    Outcome::Found(text) => {
                        expected = Some(text);
                        break;
                    }
                }
            }
        }
    }

    /// The same as `next`, by the worker where the texts are long.
    async fn next_of(self: &Arc<Self>, theirs: &[u8]) -> Next {
        let base = self.base.as_ref().map_or(0, Vec::len);
        if theirs.len() + self.mine.len() + base <= LONG {
            return self.next(theirs);
        }
        let (save, theirs) = (Arc::clone(self), theirs.to_vec());
        let next = worker::compute(move || save.next(&theirs)).await;
        next.unwrap_or(Next::GiveUp("the three versions could not be compared"))
    }

    fn next(&self, theirs: &[u8]) -> Next {
        // An attempt whose reply was lost, or another request that saved the same. Once more, since the
        // session is to live as long from here on.
        if theirs == self.mine {
            return Next::Store(self.mine.clone());
        }
        match (self.rule, self.base.as_deref()) {
            (Condition::New, _) | (_, None) => {
                Next::GiveUp("a session is stored under its id, which this request has not loaded")
            }
            (_, Some([])) => {
                if same_content(theirs, &self.mine) {
                    Next::Store(self.mine.clone())
                } else {
                    Next::GiveUp(UNKNOWN)
                }
            }
            (Condition::Unchanged, Some(base)) => {
                if same_content(theirs, base) || same_content(theirs, &self.mine) {
                    Next::Store(self.mine.clone())
                } else if same_content(base, &self.mine) {
                    self.merged(base, theirs)
                } else {
                    Next::GiveUp("the stored session has changed since this request loaded it")
                }
            }
            (Condition::Merged, Some(base)) => self.merged(base, theirs),
        }
    }

    fn merged(&self, base: &[u8], theirs: &[u8]) -> Next {
        match merge(base, theirs, &self.mine) {
            Ok(merged) => Next::Store(merged),
            Err(which) => Next::GiveUp(which.reason()),
        }
    }
}

/// Where a save stands after its first attempt.
pub(super) struct Attempt {
    means: CasMethod,
    found: Option<Vec<u8>>,
}

/// The way to try after one that the server did not know.
fn further(means: CasMethod) -> CasMethod {
    match means {
        CasMethod::Native => CasMethod::Named,
        CasMethod::Named | CasMethod::Whole => CasMethod::Whole,
    }
}

/// Returns true if the server does not know the arguments of a command, rather than refusing what it was asked.
fn is_syntax_unknown(error: &Error) -> bool {
    let Error::Reply { reply, message, .. } = error else {
        return false;
    };
    let message = message.to_ascii_lowercase();
    reply == "ERR"
        && [
            "syntax",
            "argument",
            "unknown",
            "unsupported",
            "not support",
        ]
        .iter()
        .any(|words| message.contains(words))
}

fn outcome(
    dialect: &CasSupport,
    connection: &Connection,
    means: CasMethod,
    expected: Option<&[u8]>,
    reply: Reply,
) -> Outcome {
    let value = match reply {
        Ok(value) => value,
        Err(error) if means == CasMethod::Native && is_syntax_unknown(&error) => {
            dialect.note_script(connection);
            return Outcome::Unknown;
        }
        Err(error)
            if means == CasMethod::Named
                && (error.reply() == "NOSCRIPT" || error.is_command_denied()) =>
        {
            return Outcome::Unknown;
        }
        Err(error) => return Outcome::Failed(error),
    };
    match (means, value, expected) {
        // It gives what was stored before, whether it stores or not.
        (CasMethod::Native, Value::Nil, None) => Outcome::Stored,
        (CasMethod::Native, Value::BulkString(text), Some(expected)) if text == expected => {
            Outcome::Stored
        }
        (CasMethod::Named | CasMethod::Whole, Value::Array(_), _) => Outcome::Stored,
        (_, Value::BulkString(text), _) => Outcome::Found(text),
        (_, Value::Nil, Some(_)) => Outcome::Missing,
        (_, value, _) => Outcome::Failed(unexpected(connection.server(), &value)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn save(rule: Condition, base: Option<&str>, mine: &str) -> ConditionalSave {
        ConditionalSave {
            rule,
            key: b"k".to_vec(),
            base: base.map(Into::into),
            mine: mine.into(),
            ttl: Some(150),
            since: Instant::now(),
        }
    }

    fn words(save: &ConditionalSave, means: CasMethod) -> Vec<String> {
        let mut commands = Commands::default();
        save.add(&mut commands, means, save.base.as_deref(), &save.mine);
        String::from_utf8_lossy(commands.bytes(0))
            .split("\r\n")
            .filter(|part| !part.starts_with(['*', '$']) && !part.is_empty())
            .map(Into::into)
            .collect()
    }

    #[test]
    fn commands() {
        let known = save(Condition::Merged, Some("b"), "m");
        assert_eq!(
            words(&known, CasMethod::Native),
            ["SET", "k", "m", "IFEQ", "b", "GET", "PX", "150"]
        );
        assert_eq!(
            words(&known, CasMethod::Named),
            ["EVALSHA", SCRIPT_SHA1, "1", "k", "m", "150", "b"]
        );
        let mut new = save(Condition::New, None, "m");
        assert_eq!(
            words(&new, CasMethod::Native),
            ["SET", "k", "m", "NX", "GET", "PX", "150"]
        );
        new.ttl = None;
        assert_eq!(
            words(&new, CasMethod::Native),
            ["SET", "k", "m", "NX", "GET"]
        );
        assert_eq!(
            words(&new, CasMethod::Whole),
            ["EVAL", SCRIPT, "1", "k", "m", "0"]
        );
    }

    #[test]
    fn only_arguments_that_the_server_does_not_know_make_it_need_the_script() {
        for (code, details, is_unknown) in [
            ("ERR", "syntax error", true),
            ("ERR", "Syntax error in SET", true),
            ("ERR", "unknown argument 'IFEQ'", true),
            (
                "ERR",
                "string exceeds maximum allowed size (proto-max-bulk-len)",
                false,
            ),
            ("ERR", "invalid expire time in 'set' command", false),
            (
                "NOPERM",
                "User app has no permissions to run the 'set' command",
                false,
            ),
            (
                "OOM",
                "command not allowed when used memory > 'maxmemory'.",
                false,
            ),
        ] {
            let error = Error::from_reply("redis://h:1", code, Some(details));
            assert_eq!(is_syntax_unknown(&error), is_unknown, "{details}");
        }
    }

    #[test]
    fn a_text_that_is_stored_already_is_stored_anew() {
        let mine = || Next::Store(b"mine".to_vec());
        for rule in [Condition::Unchanged, Condition::Merged] {
            assert_eq!(save(rule, Some("{}"), "mine").next(b"mine"), mine());
        }
        assert_eq!(save(Condition::New, None, "mine").next(b"mine"), mine());
    }

    #[test]
    fn what_is_no_loss_is_no_conflict() {
        let rejecting = save(
            Condition::Unchanged,
            Some(r#"{"cookie":1,"a":1}"#),
            r#"{"a":2}"#,
        );
        let store = |mine: &str| Next::Store(mine.into());
        assert_eq!(
            rejecting.next(br#"{"cookie":2,"a":1}"#),
            store(r#"{"a":2}"#)
        );
        assert_eq!(
            rejecting.next(br#"{"cookie":2,"a":2}"#),
            store(r#"{"a":2}"#)
        );
        assert!(matches!(rejecting.next(br#"{"a":3}"#), Next::GiveUp(_)));
        let changing_nothing = save(
            Condition::Unchanged,
            Some(r#"{"cookie":1,"a":1}"#),
            r#"{"cookie":2,"a":1}"#,
        );
        assert_eq!(
            changing_nothing.next(br#"{"cookie":3,"a":3,"b":1}"#),
            store(r#"{"cookie":2,"a":3,"b":1}"#)
        );
        assert!(matches!(rejecting.next(b"binary"), Next::GiveUp(_)));
    }

    #[test]
    fn what_is_compared_with_a_base_that_is_not_known() {
        for rule in [Condition::Unchanged, Condition::Merged] {
            let unknown = save(rule, Some(""), r#"{"cookie":1,"a":1}"#);
            assert_eq!(
                words(&unknown, CasMethod::Native)[3..5],
                ["IFEQ", "GET"],
                "an empty word"
            );
            assert_eq!(
                unknown.next(br#"{"cookie":2,"a":1}"#),
                Next::Store(unknown.mine.clone())
            );
            assert_eq!(unknown.next(br#"{"a":2}"#), Next::GiveUp(UNKNOWN));
        }
    }

    #[test]
    fn without_a_base_there_is_no_merge() {
        for rule in [Condition::New, Condition::Unchanged, Condition::Merged] {
            assert!(matches!(
                save(rule, None, "{}").next(br#"{"a":1}"#),
                Next::GiveUp(_)
            ));
        }
        assert!(matches!(
            save(Condition::Merged, Some("{}"), "{}").next(b"[]"),
            Next::GiveUp(_)
        ));
    }
}
