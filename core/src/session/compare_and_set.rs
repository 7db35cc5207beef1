//! Compare-and-set: stores a text if the expected one is stored, or nothing, and returns the stored text otherwise.
//! Compare-and-delete, by a script.
//!
//! The command is sent in its place among the others. If the server does not support it, a task of its own sends the
//! one that replaces it. What follows a conflict is decided by `lib/session/conditional-save.js`.

use super::completion::Completion;
use super::replies::unexpected;
use super::request::Write;
use super::sessions::Sessions;
use super::stored::Stored;
use crate::cache::PendingWrite;
use crate::connection::{Access, Commands, Expect, Origin, Reply, clock};
use crate::error::Error;
use redis::Value;
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

/// Deletes the key if the stored text is `ARGV[1]`, and returns as [`SCRIPT`] does.
const DELETE_SCRIPT: &str = "\
local stored = redis.call('GET', KEYS[1])
if stored ~= ARGV[1] then return stored end
redis.call('DEL', KEYS[1])
return {}";
const DELETE_SCRIPT_SHA1: &str = "9d3d42d265e4b0262afe6309c18e290ac73d434e";

/// The command, which decides how its reply is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CasMethod {
    /// `SET … IFEQ … GET` or, where nothing may be stored, `SET … NX GET`.
    Native,
    /// `EVALSHA`: the script by its name.
    EvalSha,
    /// `EVAL`: the script itself.
    Eval,
}

/// A save, or a destroy, that takes effect only if the expected text is stored.
pub(super) struct CompareAndSet {
    write: Write,
    key: Vec<u8>,
    /// `None`: nothing may be stored.
    expected: Option<Vec<u8>>,
    value: Vec<u8>,
    ttl: Option<u64>,
    method: CasMethod,
    since: Instant,
    /// Held until the last reply.
    pending_write: Option<PendingWrite>,
    /// The origin of the replies so far.
    origin: Origin,
}

impl CompareAndSet {
    pub(super) fn new(
        sessions: &Sessions,
        stored: &Stored<'_>,
        write: Write,
        pending_write: Option<PendingWrite>,
    ) -> Self {
        let needs_script = write == Write::DestroyIfEqual
            || sessions.cas_support.needs_script(sessions.connection());
        Self {
            write,
            key: stored.key.to_vec(),
            expected: (write != Write::SetNew).then(|| stored.base.to_vec()),
            value: stored.value.to_vec(),
            ttl: stored.ttl,
            method: if needs_script {
                CasMethod::EvalSha
            } else {
                CasMethod::Native
            },
            since: clock::now(),
            pending_write,
            origin: Origin::default(),
        }
    }

    /// Adds the command to `commands`.
    pub(super) fn add_to(&self, commands: &mut Commands) {
        let ttl = self.ttl.unwrap_or(0).to_string();
        let (key, value) = (self.key.as_slice(), self.value.as_slice());
        let expected = self.expected.as_deref();
        let mut words: Vec<&[u8]> = Vec::with_capacity(8);
        let (key_at, expect) = match self.method {
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
                let (script, sha1) = match self.write {
                    Write::DestroyIfEqual => (DELETE_SCRIPT, DELETE_SCRIPT_SHA1),
                    _ => (SCRIPT, SCRIPT_SHA1),
                };
                match self.method {
                    CasMethod::EvalSha => words.extend([&b"EVALSHA"[..], sha1.as_bytes()]),
                    _ => words.extend([&b"EVAL"[..], script.as_bytes()]),
                }
                words.extend([&b"1"[..], key]);
                if self.write != Write::DestroyIfEqual {
                    words.extend([value, ttl.as_bytes()]);
                }
                words.extend(expected);
                (3, Expect::Any)
            }
        };
        commands.add(Access::Write, expect, Some(key_at), &words);
    }

    /// Handles the reply. Returns the completion, or `None` if the server does not support the command: then
    /// [`Self::retry`] has to follow.
    pub(super) fn on_reply(
        &mut self,
        sessions: &Sessions,
        reply: Reply,
        origin: Origin,
    ) -> Option<Completion> {
        self.origin.then(origin);
        let connection = sessions.connection();
        let value = match reply {
            Ok(value) => value,
            Err(error) => {
                self.method = match self.method {
                    CasMethod::Native if is_syntax_unknown(&error) => {
                        sessions.cas_support.note_script(connection);
                        CasMethod::EvalSha
                    }
                    CasMethod::EvalSha
                        if error.reply() == Some("NOSCRIPT") || error.is_command_denied() =>
                    {
                        CasMethod::Eval
                    }
                    _ => return Some(Completion::Failed(self.write.name().as_str(), error)),
                };
                return None;
            }
        };
        if self.method == CasMethod::Native {
            sessions.cas_support.note_native();
        }
        Some(match (self.method, value, self.expected.as_deref()) {
            // `GET` returns the previous text, whether the command stores or not.
            (CasMethod::Native, Value::Nil, None) => Completion::Done,
            (CasMethod::Native, Value::BulkString(text), Some(expected)) if text == expected => {
                Completion::Done
            }
            (CasMethod::EvalSha | CasMethod::Eval, Value::Array(_), _) => Completion::Done,
            (_, Value::BulkString(text), _) => Completion::Conflict(text),
            (_, Value::Nil, Some(_)) => Completion::Missing,
            (_, value, _) => Completion::Failed(
                self.write.name().as_str(),
                unexpected(connection.server(), &value),
            ),
        })
    }

    /// Sends the commands that replace one that the server does not support. Returns the origin of all replies, too.
    pub(super) async fn retry(mut self: Box<Self>, sessions: &Sessions) -> (Completion, Origin) {
        let connection = sessions.connection();
        let waited = connection.command_timeout();
        let completion = clock::timeout_at(self.since + waited, async {
            loop {
                let mut commands = Commands::default();
                self.add_to(&mut commands);
                let (mut replies, origin) = connection.query_with_origin(commands).await;
                let reply = replies.pop().unwrap_or(Err(Error::Abandoned));
                if let Some(completion) = self.on_reply(sessions, reply, origin) {
                    return completion;
                }
            }
        })
        .await
        .unwrap_or_else(|| {
            let server = connection.server().clone();
            Completion::Failed(
                self.write.name().as_str(),
                Error::Timeout { server, waited },
            )
        });
        // Reads sent after the first command may have returned the session as it was before the last one.
        connection.single_flight().close(&self.key);
        drop(self.pending_write);
        (completion, self.origin)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn words(method: CasMethod, expected: Option<&str>, ttl: Option<u64>) -> Vec<String> {
        words_of(Write::SetIfEqual, method, expected, ttl)
    }

    fn words_of(
        write: Write,
        method: CasMethod,
        expected: Option<&str>,
        ttl: Option<u64>,
    ) -> Vec<String> {
        let save = CompareAndSet {
            write,
            key: b"k".to_vec(),
            expected: expected.map(Into::into),
            value: b"v".to_vec(),
            ttl,
            method,
            since: Instant::now(),
            pending_write: None,
            origin: Origin::default(),
        };
        let mut commands = Commands::default();
        save.add_to(&mut commands);
        String::from_utf8_lossy(commands.bytes(0))
            .split("\r\n")
            .filter(|part| !part.starts_with(['*', '$']))
            .map(Into::into)
            .collect()
    }

    #[test]
    fn commands_of_each_method_are_encoded() {
        assert_eq!(
            words(CasMethod::Native, Some("b"), Some(150)),
            ["SET", "k", "v", "IFEQ", "b", "GET", "PX", "150", ""]
        );
        assert_eq!(
            words(CasMethod::Native, Some(""), None),
            ["SET", "k", "v", "IFEQ", "", "GET", ""],
            "an unknown text"
        );
        assert_eq!(
            words(CasMethod::Native, None, Some(150)),
            ["SET", "k", "v", "NX", "GET", "PX", "150", ""]
        );
        assert_eq!(
            words(CasMethod::EvalSha, Some("b"), Some(150)),
            ["EVALSHA", SCRIPT_SHA1, "1", "k", "v", "150", "b", ""]
        );
        assert_eq!(
            words(CasMethod::Eval, None, None),
            ["EVAL", SCRIPT, "1", "k", "v", "0", ""]
        );
        assert_eq!(
            words_of(Write::DestroyIfEqual, CasMethod::EvalSha, Some("b"), None),
            ["EVALSHA", DELETE_SCRIPT_SHA1, "1", "k", "b", ""]
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
}
