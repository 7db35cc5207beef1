//! The operations that walk all keys under a prefix.

use super::{Answer, Answers, Bulk, RequestId, Sessions, Unanswered, unexpected};
use crate::connection::{Access, Expect};
use crate::error::Error;
use redis::Value;
use std::collections::HashSet;

/// Keys in one `MGET` or `UNLINK`: bounds how long one command keeps Redis from its other work.
const CHUNK_KEYS: usize = 100;

impl Sessions {
    /// Answers one bulk request.
    pub(super) async fn walk<A: Answers>(
        self,
        bulk: Bulk,
        request: RequestId,
        unanswered: Unanswered<A>,
    ) {
        let result = match bulk {
            Bulk::Length => self
                .scan()
                .await
                .map(|keys| Answer::Count(keys.len() as u64)),
            Bulk::Ids => self.scan().await.map(|keys| {
                for chunk in keys.chunks(CHUNK_KEYS) {
                    let ids = chunk.iter().map(|key| (request, self.id(key)));
                    unanswered.continue_with(ids.collect());
                }
                Answer::Done
            }),
            Bulk::Clear => self.unlink_all().await,
            Bulk::All => self.read_all(request, &unanswered).await,
        };
        unanswered.finish(|name| match result {
            Ok(Answer::Count(count)) => Answer::Count(count),
            Ok(_) => Answer::Done,
            Err(ref error) => Answer::Failed(name, error.clone()),
        });
    }

    fn id(&self, key: &[u8]) -> Answer {
        // `scan` gives keys under the prefix only.
        Answer::Id(self.keys.id(key).unwrap_or(key).to_vec())
    }

    async fn one(&self, access: Access, expect: Expect, words: &[&[u8]]) -> Result<Value, Error> {
        let connection = self.lease.connection();
        connection.ask(access, expect, None, words).await
    }

    fn misfit(&self, value: &Value) -> Error {
        unexpected(self.lease.connection().server(), value)
    }

    /// Every key under the prefix, each once, though SCAN may give one several times.
    async fn scan(&self) -> Result<Vec<Vec<u8>>, Error> {
        let mut seen = HashSet::new();
        let mut cursor = b"0".to_vec();
        loop {
            let reply = self
                .one(
                    Access::Read,
                    Expect::Array,
                    &[
                        b"SCAN",
                        &cursor,
                        b"MATCH",
                        self.keys.pattern(),
                        b"COUNT",
                        self.scan_count.to_string().as_bytes(),
                    ],
                )
                .await?;
            let Value::Array(parts) = reply else {
                return Err(self.misfit(&reply));
            };
            let Ok([Value::BulkString(next), Value::Array(keys)]) = <[Value; 2]>::try_from(parts)
            else {
                return Err(self.misfit(&Value::Array(Vec::new())));
            };
            seen.extend(keys.into_iter().filter_map(|key| match key {
                Value::BulkString(key) if self.keys.id(&key).is_some() => Some(key),
                _ => None,
            }));
            if next == b"0" {
                return Ok(seen.into_iter().collect());
            }
            cursor = next;
        }
    }

    async fn unlink_all(&self) -> Result<Answer, Error> {
        for chunk in self.scan().await?.chunks(CHUNK_KEYS) {
            self.one(Access::Write, Expect::Integer, &words(b"UNLINK", chunk))
                .await?;
        }
        Ok(Answer::Done)
    }

    async fn read_all<A: Answers>(
        &self,
        request: RequestId,
        unanswered: &Unanswered<A>,
    ) -> Result<Answer, Error> {
        for chunk in self.scan().await?.chunks(CHUNK_KEYS) {
            let reply = self
                .one(Access::Read, Expect::Array, &words(b"MGET", chunk))
                .await?;
            let Value::Array(values) = reply else {
                return Err(self.misfit(&reply));
            };
            let mut items = Vec::with_capacity(2 * chunk.len());
            for (key, value) in chunk.iter().zip(values) {
                // Nil: gone since the scan, or not a string.
                if let Value::BulkString(bytes) = value {
                    items.push((request, self.id(key)));
                    items.push((request, Answer::Item(bytes)));
                }
            }
            unanswered.continue_with(items);
        }
        Ok(Answer::Done)
    }
}

fn words<'a>(name: &'a [u8], keys: &'a [Vec<u8>]) -> Vec<&'a [u8]> {
    std::iter::once(name)
        .chain(keys.iter().map(Vec::as_slice))
        .collect()
}
