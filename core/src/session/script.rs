//! Scripts on one key that belongs to no session, such as the index of a user's sessions (`lib/user-index`).
//!
//! The caller provides the SHA-1 of the script, by which it is called; or the script as well, which is then sent.

use super::completion::{Completion, CompletionSink};
use super::replies::unexpected;
use super::reply_guard::ReplyGuard;
use super::request::{Name, RequestId, ScriptRequest};
use super::sessions::Sessions;
use super::strings::Strings;
use crate::connection::{Access, Commands, Expect};
use crate::error::Error;
use crate::server::Server;
use redis::Value;

/// The length of a SHA-1 in hexadecimal digits.
const SHA1_DIGITS: usize = 40;

/// A script, its key and its arguments.
pub(super) struct Script {
    /// The SHA-1 of the script's text, followed by the text if that is to be sent.
    script: Vec<u8>,
    key: Vec<u8>,
    arguments: Vec<Vec<u8>>,
}

impl Script {
    /// Returns `None` if the bytes are malformed.
    pub(super) fn new(request: &ScriptRequest, bytes: &[u8]) -> Option<Self> {
        let script = bytes.get(request.script.clone())?;
        (script.len() >= SHA1_DIGITS).then_some(())?;
        Some(Self {
            script: script.to_vec(),
            key: bytes.get(request.key.clone())?.to_vec(),
            arguments: unpack(bytes.get(request.arguments.clone())?)?,
        })
    }

    fn commands(&self) -> Commands {
        let (sha1, text) = self.script.split_at(SHA1_DIGITS);
        let mut words: Vec<&[u8]> = if text.is_empty() {
            vec![b"EVALSHA", sha1]
        } else {
            vec![b"EVAL", text]
        };
        words.extend([&b"1"[..], &self.key]);
        words.extend(self.arguments.iter().map(Vec::as_slice));
        Commands::of(Access::Write, Expect::Any, Some(3), &words)
    }
}

/// Splits `arguments`, each written as its length in bytes, a colon and its bytes.
fn unpack(mut arguments: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut unpacked = Vec::new();
    while !arguments.is_empty() {
        let colon = arguments.iter().position(|&byte| byte == b':')?;
        let length: usize = str::from_utf8(&arguments[..colon]).ok()?.parse().ok()?;
        let (argument, rest) = arguments[colon + 1..].split_at_checked(length)?;
        unpacked.push(argument.to_vec());
        arguments = rest;
    }
    Some(unpacked)
}

impl Sessions {
    /// Runs a script, and completes its request with the elements of its reply.
    pub(super) async fn run_script<A: CompletionSink>(
        self,
        script: Script,
        request: RequestId,
        guard: ReplyGuard<A>,
    ) {
        let connection = self.connection();
        let (mut replies, origin) = connection.query_with_origin(script.commands()).await;
        let reply = replies.pop().unwrap_or(Err(Error::Abandoned));
        match reply.and_then(|value| texts(connection.server(), value)) {
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

/// Returns the elements of a script's reply: an array of bulk strings.
fn texts(server: &Server, reply: Value) -> Result<Strings, Error> {
    let Value::Array(elements) = &reply else {
        return Err(unexpected(server, &reply));
    };
    let mut texts = Strings::default();
    for element in elements {
        match element {
            Value::BulkString(text) => texts.push(text),
            other => return Err(unexpected(server, other)),
        }
    }
    Ok(texts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_unpacked_unless_they_are_malformed() {
        let unpacked = |packed: &str| {
            let arguments = unpack(packed.as_bytes())?;
            Some(
                arguments
                    .iter()
                    .map(|part| String::from_utf8_lossy(part).into_owned())
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
    fn replies_other_than_arrays_of_bulk_strings_are_errors() {
        let texts = |value| texts(&"redis://h".into(), value).map(|texts| texts.len());
        assert_eq!(
            texts(Value::Array(vec![Value::BulkString(b"a".to_vec())])).ok(),
            Some(1)
        );
        assert!(texts(Value::Nil).is_err());
        assert!(texts(Value::Array(vec![Value::Nil])).is_err());
    }
}
