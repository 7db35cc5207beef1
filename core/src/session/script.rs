//! Scripts on keys that belong to no session, such as the indexes of users' sessions (`lib/user-index`). Each call has
//! one key.
//!
//! The caller provides the SHA-1 of the script, by which it is called; or the script as well, which is then sent.

use super::completion::{Completion, CompletionSink};
use super::replies::unexpected;
use super::reply_guard::ReplyGuard;
use super::request::{Name, RequestId, ScriptRequest};
use super::sessions::Sessions;
use super::strings::Strings;
use crate::connection::{Access, Commands, Expect, Reply};
use crate::error::Error;
use crate::server::Server;
use redis::Value;

/// The length of a SHA-1 in hexadecimal digits.
const SHA1_DIGITS: usize = 40;

/// The calls of a script.
pub(super) struct Script {
    commands: Commands,
}

impl Script {
    /// Returns `None` if the bytes are malformed.
    pub(super) fn new(request: &ScriptRequest, bytes: &[u8]) -> Option<Self> {
        let script = bytes.get(request.script.clone())?;
        let (sha1, text) = script.split_at_checked(SHA1_DIGITS)?;
        let [name, script]: [&[u8]; 2] = if text.is_empty() {
            [b"EVALSHA", sha1]
        } else {
            [b"EVAL", text]
        };
        let mut commands = Commands::default();
        for call in unpack(bytes.get(request.calls.clone())?)? {
            let mut words = vec![name, script, b"1"];
            words.extend(unpack(call)?);
            commands.add(Access::Write, Expect::Any, Some(3), &words);
        }
        Some(Self { commands })
    }
}

/// Splits texts, each written as its length in bytes, a colon and its bytes.
fn unpack(mut packed: &[u8]) -> Option<Vec<&[u8]>> {
    let mut unpacked = Vec::new();
    while !packed.is_empty() {
        let colon = packed.iter().position(|&byte| byte == b':')?;
        let length: usize = str::from_utf8(&packed[..colon]).ok()?.parse().ok()?;
        let (text, rest) = packed[colon + 1..].split_at_checked(length)?;
        unpacked.push(text);
        packed = rest;
    }
    Some(unpacked)
}

impl Sessions {
    /// Runs the calls of a script, and completes its request with the elements of all replies, or the first error.
    pub(super) async fn run_script<A: CompletionSink>(
        self,
        script: Script,
        request: RequestId,
        guard: ReplyGuard<A>,
    ) {
        let connection = self.connection();
        let (replies, origin) = connection.query_with_origin(script.commands).await;
        match texts(connection.server(), replies) {
            Ok(texts) => {
                if texts.len() > 0 {
                    guard.continue_with(vec![(request, Completion::Ids(texts))]);
                }
                guard.finish(Completion::Done, origin);
            }
            Err(error) => guard.finish(Completion::Failed(Name::Script.as_str(), error), origin),
        }
    }
}

/// Returns the elements of the replies, which are arrays of bulk strings.
fn texts(server: &Server, replies: Vec<Reply>) -> Result<Strings, Error> {
    let mut texts = Strings::default();
    for reply in replies {
        let value = reply?;
        let Value::Array(elements) = &value else {
            return Err(unexpected(server, &value));
        };
        for element in elements {
            match element {
                Value::BulkString(text) => texts.push(text),
                other => return Err(unexpected(server, other)),
            }
        }
    }
    Ok(texts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_unpacked_unless_they_are_malformed() {
        let unpacked = |packed: &str| {
            let texts = unpack(packed.as_bytes())?;
            Some(
                texts
                    .iter()
                    .map(|text| String::from_utf8_lossy(text).into_owned())
                    .collect::<Vec<_>>(),
            )
        };
        assert_eq!(unpacked(""), Some(vec![]));
        assert_eq!(
            unpacked("3:a:b0:2:\u{e9}"),
            Some(vec!["a:b".into(), String::new(), "\u{e9}".into()])
        );
        for malformed in ["3", "x:a", "2:a", "99999999999999999999:a", "-1:a"] {
            assert_eq!(unpacked(malformed), None, "{malformed}");
        }
    }

    #[test]
    fn each_call_is_a_command_with_one_key() {
        let bytes = format!("6:1:k1:a3:1:l{}", "0".repeat(SHA1_DIGITS));
        let request = ScriptRequest {
            request: 0,
            calls: 0..13,
            script: 13..bytes.len(),
        };
        let commands = Script::new(&request, bytes.as_bytes()).map(|script| script.commands);
        let commands = commands.unwrap_or_default();
        assert_eq!(commands.len(), 2);
        assert!(commands.bytes(0).ends_with(b"\r\n$1\r\nk\r\n$1\r\na\r\n"));
        assert!(commands.bytes(1).ends_with(b"\r\n$1\r\nl\r\n"));
    }

    #[test]
    fn replies_other_than_arrays_of_bulk_strings_are_errors() {
        let text = || Value::Array(vec![Value::BulkString(b"a".to_vec())]);
        let texts = |replies| texts(&"redis://h".into(), replies).map(|texts| texts.len());
        assert_eq!(texts(vec![Ok(text()), Ok(text())]).ok(), Some(2));
        assert!(texts(vec![Ok(text()), Ok(Value::Nil)]).is_err());
        assert!(texts(vec![Ok(Value::Array(vec![Value::Nil]))]).is_err());
        assert!(texts(vec![Ok(text()), Err(Error::Closed)]).is_err());
    }
}
