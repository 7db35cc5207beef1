//! Conditional saves: a loop of compare-and-set, until the save is stored or conflicts.
//!
//! The first attempt is sent in its place among the other commands. If the stored text is the expected one, it
//! is the only attempt. Otherwise its reply contains the stored text, and a task of its own continues the save.

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

/// Compare-and-set for servers without `SET … IFEQ`. Stores `ARGV[1]` for `ARGV[2]` ms (0: without an expiry) if
/// the stored text is `ARGV[3]` or, without an `ARGV[3]`, if nothing is stored. Returns an array if it stored, which
/// no JavaScript client mistakes for a text; otherwise returns the stored text.
const SCRIPT: &str = "\
local stored = redis.call('GET', KEYS[1])
if stored ~= (ARGV[3] or false) then return stored end
if ARGV[2] == '0' then redis.call('SET', KEYS[1], ARGV[1])
else redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2]) end
return {}";
/// The name under which a server caches the script once it has run it.
const SCRIPT_SHA1: &str = "995f2c552b430d9883a34c6acc8877fa929bf6bd";

const UNKNOWN: &str = "what this request loaded is not known, since its session was not made by the store's \
    createSession";

/// Remembers whether the server supports `SET … IFEQ`. The first attempt over each link finds out: after a reconnect,
/// it may be another server.
#[derive(Debug)]
pub(super) struct CasSupport {
    /// The number of the link whose server needs the script.
    scripted_link: AtomicU64,
}

impl Default for CasSupport {
    fn default() -> Self {
        Self {
            scripted_link: AtomicU64::new(u64::MAX),
        }
    }
}

impl CasSupport {
    fn needs_script(&self, connection: &Connection) -> bool {
        self.scripted_link.load(Ordering::Relaxed) == connection.connections()
    }

    fn note_script(&self, connection: &Connection) {
        self.scripted_link
            .store(connection.connections(), Ordering::Relaxed);
    }
}

/// The condition of a save.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Nothing is stored.
    New,
    /// The stored session or the saved one equals the base, cookies aside.
    Unchanged,
    /// Always true: changes stored since the load are merged.
    Merged,
}

/// The command of an attempt, which decides how its reply is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CasMethod {
    /// `SET … IFEQ … GET` or, where nothing may be stored, `SET … NX GET`.
    Native,
    /// `EVALSHA`: the script by its name.
    EvalSha,
    /// `EVAL`: the script itself.
    Eval,
}

/// A save that is stored under a condition only.
pub(super) struct ConditionalSave {
    pub(super) condition: Condition,
    pub(super) key: Vec<u8>,
    /// The text that this request loaded; empty if unknown, `None` for a new session.
    pub(super) base: Option<Vec<u8>>,
    /// The text to store.
    pub(super) mine: Vec<u8>,
    pub(super) ttl: Option<u64>,
    pub(super) since: Instant,
}

/// The outcome of an attempt.
enum Outcome {
    Stored,
    /// The session was destroyed.
    Missing,
    /// Another text than the expected one is stored.
    Found(Vec<u8>),
    /// The server does not support the command.
    Unsupported,
    Failed(Error),
}

/// The next step when another text than the expected one is stored.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    Store(Vec<u8>),
    Conflict(&'static str),
}

impl ConditionalSave {
    /// Adds the first attempt to `commands` and returns its method.
    pub(super) fn begin(
        &self,
        cas_support: &CasSupport,
        connection: &Connection,
        commands: &mut Commands,
    ) -> CasMethod {
        let method = if cas_support.needs_script(connection) {
            CasMethod::EvalSha
        } else {
            CasMethod::Native
        };
        self.add(commands, method, self.base.as_deref(), &self.mine);
        method
    }

    fn add(
        &self,
        commands: &mut Commands,
        method: CasMethod,
        expected: Option<&[u8]>,
        value: &[u8],
    ) {
        let ttl = self.ttl.unwrap_or(0).to_string();
        let key = self.key.as_slice();
        let mut words: Vec<&[u8]> = Vec::with_capacity(8);
        let (key_at, expect) = match method {
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
            CasMethod::EvalSha | CasMethod::Eval => {
                match method {
                    CasMethod::EvalSha => words.extend([&b"EVALSHA"[..], SCRIPT_SHA1.as_bytes()]),
                    _ => words.extend([&b"EVAL"[..], SCRIPT.as_bytes()]),
                }
                words.extend([b"1", key, value, ttl.as_bytes()]);
                words.extend(expected);
                (3, Expect::Any)
            }
        };
        commands.add(Access::Write, expect, Some(key_at), &words);
    }

    /// Handles the reply to the first attempt. Returns the completion, or the attempt that has to follow.
    pub(super) fn on_first_reply(
        &self,
        cas_support: &CasSupport,
        connection: &Connection,
        method: CasMethod,
        reply: Reply,
    ) -> Result<Completion, NextAttempt> {
        match outcome(cas_support, connection, method, self.base.as_deref(), reply) {
            Outcome::Stored => Ok(Completion::Done),
            Outcome::Missing => Ok(Completion::Missing),
            Outcome::Failed(error) => Ok(Completion::Failed("set", error)),
            Outcome::Unsupported => Err(NextAttempt {
                method: next_method(method),
                found: None,
            }),
            Outcome::Found(text) => Err(NextAttempt {
                method,
                found: Some(text),
            }),
        }
    }

    /// Continues after the first attempt, until the save is stored or fails.
    pub(super) async fn run(
        self: Arc<Self>,
        sessions: Sessions,
        attempt: NextAttempt,
        pending_write: Option<PendingWrite>,
    ) -> Completion {
        let connection = sessions.connection();
        let waited = connection.command_timeout();
        let deadline = self.since + waited;
        let completion = clock::timeout_at(
            deadline,
            self.compare_and_set(connection, &sessions.cas_support, attempt),
        )
        .await
        .unwrap_or_else(|| {
            let server = connection.server().to_owned();
            Completion::Failed("set", Error::Contended { server, waited })
        });
        // Reads sent after the first attempt may have returned the session as it was before the last one.
        connection.flights().close(&self.key);
        drop(pending_write);
        completion
    }

    async fn compare_and_set(
        self: &Arc<Self>,
        connection: &Connection,
        cas_support: &CasSupport,
        NextAttempt { mut method, found }: NextAttempt,
    ) -> Completion {
        let mut stored = found;
        loop {
            // An attempt by an unsupported command is repeated with the same value.
            let value = match &stored {
                None => self.mine.clone(),
                Some(theirs) => match self.next_off_thread(theirs).await {
                    Next::Store(value) => value,
                    Next::Conflict(reason) => {
                        return Completion::Conflict(reason, stored.unwrap_or_default());
                    }
                },
            };
            loop {
                let mut commands = Commands::default();
                let expected = stored.as_deref().or(self.base.as_deref());
                self.add(&mut commands, method, expected, &value);
                let reply = connection.query(commands).await.pop();
                let reply = reply.unwrap_or(Err(Error::Abandoned));
                match outcome(cas_support, connection, method, expected, reply) {
                    Outcome::Stored => return Completion::Done,
                    Outcome::Missing => return Completion::Missing,
                    Outcome::Failed(error) => return Completion::Failed("set", error),
                    Outcome::Unsupported => method = next_method(method),
                    Outcome::Found(text) => {
                        stored = Some(text);
                        break;
                    }
                }
            }
        }
    }

    /// Calls [`Self::next`], on the worker thread if the texts are long.
    async fn next_off_thread(self: &Arc<Self>, theirs: &[u8]) -> Next {
        let base = self.base.as_ref().map_or(0, Vec::len);
        if theirs.len() + self.mine.len() + base <= LONG {
            return self.next(theirs);
        }
        let (save, theirs) = (Arc::clone(self), theirs.to_vec());
        let next = worker::compute(move || save.next(&theirs)).await;
        next.unwrap_or(Next::Conflict("the three versions could not be compared"))
    }

    /// Decides what to do when `theirs` is stored.
    fn next(&self, theirs: &[u8]) -> Next {
        // Stored by an attempt whose reply was lost, or by another request that saved the same. It is stored
        // again, so that the session's lifetime starts now.
        if theirs == self.mine {
            return Next::Store(self.mine.clone());
        }
        match (self.condition, self.base.as_deref()) {
            (Condition::New, _) | (_, None) => Next::Conflict(
                "a session is stored under its id, which this request has not loaded",
            ),
            (_, Some([])) => {
                if same_content(theirs, &self.mine) {
                    Next::Store(self.mine.clone())
                } else {
                    Next::Conflict(UNKNOWN)
                }
            }
            (Condition::Unchanged, Some(base)) => {
                if same_content(theirs, base) || same_content(theirs, &self.mine) {
                    Next::Store(self.mine.clone())
                } else if same_content(base, &self.mine) {
                    self.merged(base, theirs)
                } else {
                    Next::Conflict("the stored session has changed since this request loaded it")
                }
            }
            (Condition::Merged, Some(base)) => self.merged(base, theirs),
        }
    }

    fn merged(&self, base: &[u8], theirs: &[u8]) -> Next {
        match merge(base, theirs, &self.mine) {
            Ok(merged) => Next::Store(merged),
            Err(not_an_object) => Next::Conflict(not_an_object.reason()),
        }
    }
}

/// The state of a save after its first attempt.
pub(super) struct NextAttempt {
    method: CasMethod,
    found: Option<Vec<u8>>,
}

/// Returns the method to try after one that the server does not support.
fn next_method(method: CasMethod) -> CasMethod {
    match method {
        CasMethod::Native => CasMethod::EvalSha,
        CasMethod::EvalSha | CasMethod::Eval => CasMethod::Eval,
    }
}

/// Returns true if the server does not support the arguments of the command, rather than refusing to run it.
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
    cas_support: &CasSupport,
    connection: &Connection,
    method: CasMethod,
    expected: Option<&[u8]>,
    reply: Reply,
) -> Outcome {
    let value = match reply {
        Ok(value) => value,
        Err(error) if method == CasMethod::Native && is_syntax_unknown(&error) => {
            cas_support.note_script(connection);
            return Outcome::Unsupported;
        }
        Err(error)
            if method == CasMethod::EvalSha
                && (error.reply() == "NOSCRIPT" || error.is_command_denied()) =>
        {
            return Outcome::Unsupported;
        }
        Err(error) => return Outcome::Failed(error),
    };
    match (method, value, expected) {
        // `GET` returns the previous text, whether the command stores or not.
        (CasMethod::Native, Value::Nil, None) => Outcome::Stored,
        (CasMethod::Native, Value::BulkString(text), Some(expected)) if text == expected => {
            Outcome::Stored
        }
        (CasMethod::EvalSha | CasMethod::Eval, Value::Array(_), _) => Outcome::Stored,
        (_, Value::BulkString(text), _) => Outcome::Found(text),
        (_, Value::Nil, Some(_)) => Outcome::Missing,
        (_, value, _) => Outcome::Failed(unexpected(connection.server(), &value)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn save(condition: Condition, base: Option<&str>, mine: &str) -> ConditionalSave {
        ConditionalSave {
            condition,
            key: b"k".to_vec(),
            base: base.map(Into::into),
            mine: mine.into(),
            ttl: Some(150),
            since: Instant::now(),
        }
    }

    fn words(save: &ConditionalSave, method: CasMethod) -> Vec<String> {
        let mut commands = Commands::default();
        save.add(&mut commands, method, save.base.as_deref(), &save.mine);
        String::from_utf8_lossy(commands.bytes(0))
            .split("\r\n")
            .filter(|part| !part.starts_with(['*', '$']) && !part.is_empty())
            .map(Into::into)
            .collect()
    }

    #[test]
    fn commands_of_each_method_are_encoded() {
        let known = save(Condition::Merged, Some("b"), "m");
        assert_eq!(
            words(&known, CasMethod::Native),
            ["SET", "k", "m", "IFEQ", "b", "GET", "PX", "150"]
        );
        assert_eq!(
            words(&known, CasMethod::EvalSha),
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
            words(&new, CasMethod::Eval),
            ["EVAL", SCRIPT, "1", "k", "m", "0"]
        );
    }

    #[test]
    fn only_errors_about_unsupported_arguments_select_the_script() {
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
    fn a_text_that_is_already_stored_is_stored_again() {
        let mine = || Next::Store(b"mine".to_vec());
        for condition in [Condition::Unchanged, Condition::Merged] {
            assert_eq!(save(condition, Some("{}"), "mine").next(b"mine"), mine());
        }
        assert_eq!(save(Condition::New, None, "mine").next(b"mine"), mine());
    }

    #[test]
    fn a_save_that_loses_no_change_is_no_conflict() {
        let unchanged = save(
            Condition::Unchanged,
            Some(r#"{"cookie":1,"a":1}"#),
            r#"{"a":2}"#,
        );
        let store = |mine: &str| Next::Store(mine.into());
        assert_eq!(
            unchanged.next(br#"{"cookie":2,"a":1}"#),
            store(r#"{"a":2}"#)
        );
        assert_eq!(
            unchanged.next(br#"{"cookie":2,"a":2}"#),
            store(r#"{"a":2}"#)
        );
        assert!(matches!(unchanged.next(br#"{"a":3}"#), Next::Conflict(_)));
        let changing_nothing = save(
            Condition::Unchanged,
            Some(r#"{"cookie":1,"a":1}"#),
            r#"{"cookie":2,"a":1}"#,
        );
        assert_eq!(
            changing_nothing.next(br#"{"cookie":3,"a":3,"b":1}"#),
            store(r#"{"cookie":2,"a":3,"b":1}"#)
        );
        assert!(matches!(unchanged.next(b"binary"), Next::Conflict(_)));
    }

    #[test]
    fn a_save_with_an_unknown_base_conflicts_unless_the_content_is_the_same() {
        for condition in [Condition::Unchanged, Condition::Merged] {
            let unknown = save(condition, Some(""), r#"{"cookie":1,"a":1}"#);
            assert_eq!(
                words(&unknown, CasMethod::Native)[3..5],
                ["IFEQ", "GET"],
                "an empty word"
            );
            assert_eq!(
                unknown.next(br#"{"cookie":2,"a":1}"#),
                Next::Store(unknown.mine.clone())
            );
            assert_eq!(unknown.next(br#"{"a":2}"#), Next::Conflict(UNKNOWN));
        }
    }

    #[test]
    fn a_save_without_a_base_conflicts() {
        for condition in [Condition::New, Condition::Unchanged, Condition::Merged] {
            assert!(matches!(
                save(condition, None, "{}").next(br#"{"a":1}"#),
                Next::Conflict(_)
            ));
        }
        assert!(matches!(
            save(Condition::Merged, Some("{}"), "{}").next(b"[]"),
            Next::Conflict(_)
        ));
    }
}
