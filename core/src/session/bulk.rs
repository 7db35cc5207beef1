//! The operations on all sessions that have one answer: their number, and to clear them.

use super::key_scan::KeyScan;
use super::reply_guard::ReplyGuard;
use super::{Bulk, Completion, CompletionSink, Sessions};
use crate::connection::{Access, Commands, Expect};
use crate::error::Error;
use std::iter::once;

/// Keys in a command, where it may have several: little enough for Redis to be soon at others' commands.
const UNLINKED_AT_ONCE: usize = 64;
/// Keys whose commands to unlink them are on their way at a time.
const UNLINKED_IN_A_STEP: usize = 4096;

impl Sessions {
    /// CompletionSink a request about all sessions.
    pub(super) async fn walk<A: CompletionSink>(self, bulk: Bulk, unanswered: ReplyGuard<A>) {
        let mut scan = self.scan(b"*", self.scan_count);
        let result = match bulk {
            Bulk::Length => count(&mut scan).await,
            Bulk::Clear => {
                let result = self.unlink(&mut scan).await;
                // What the server tells of the last of them may be still to come.
                self.note_clear();
                result
            }
        };
        unanswered.finish(result.unwrap_or_else(|error| Completion::Failed(bulk.name(), error)));
    }

    async fn unlink(&self, scan: &mut KeyScan) -> Result<Completion, Error> {
        let mut at_once = if self.connection().takes_many_keys() {
            UNLINKED_AT_ONCE
        } else {
            1
        };
        while !scan.is_at_end() {
            let found = scan.next().await?;
            for keys in found.chunks(UNLINKED_IN_A_STEP) {
                let result = self.unlink_each(keys, at_once).await;
                // A single node of a cluster has slots, too, and a proxy may take one key at a time.
                if at_once > 1 && matches!(result, Err(Error::Reply { .. })) {
                    at_once = 1;
                    self.unlink_each(keys, at_once).await?;
                } else {
                    result?;
                }
            }
        }
        Ok(Completion::Done)
    }

    /// Unlinks keys, so many by one command.
    async fn unlink_each(&self, keys: &[Vec<u8>], at_once: usize) -> Result<(), Error> {
        let mut commands = Commands::default();
        for keys in keys.chunks(at_once) {
            let keys = keys.iter().map(Vec::as_slice);
            let words: Vec<&[u8]> = once(&b"UNLINK"[..]).chain(keys).collect();
            commands.add(Access::Write, Expect::Integer, Some(1), &words);
        }
        let replies = self.connection().query(commands).await;
        replies.into_iter().try_for_each(|reply| reply.map(drop))
    }
}

async fn count(scan: &mut KeyScan) -> Result<Completion, Error> {
    while !scan.is_at_end() {
        scan.next_new().await?;
    }
    Ok(Completion::Count(scan.seen() as u64))
}
