//! `length` and `clear`: operations on all sessions that have one completion.

use super::completion::{Completion, CompletionSink};
use super::key_scan::KeyScan;
use super::reply_guard::ReplyGuard;
use super::request::{Bulk, RequestId};
use super::sessions::Sessions;
use crate::connection::{Access, Commands, Expect};
use crate::error::Error;
use std::iter::once;

/// The number of keys in one `UNLINK`, where it may have several. Small, so that Redis soon serves other clients.
const KEYS_PER_UNLINK: usize = 64;
/// The number of keys whose `UNLINK` commands are in flight at once.
const KEYS_IN_FLIGHT: usize = 4096;

impl Sessions {
    /// Runs a bulk operation and completes its request. Ends early, with a result that no one expects, if it is stopped.
    pub(super) async fn run_bulk<A: CompletionSink>(
        self,
        bulk: Bulk,
        request: RequestId,
        guard: ReplyGuard<A>,
    ) {
        let is_stopped = || self.running_bulk.is_stopped(request);
        let mut scan = KeyScan::new(self.connection(), &self.keys, b"*", self.scan_count);
        let result = match bulk {
            Bulk::Length => count(&mut scan, is_stopped).await,
            Bulk::Clear => {
                let result = self.unlink(&mut scan, is_stopped).await;
                // The server's invalidations of the last keys may still be on their way.
                self.note_clear();
                result
            }
        };
        self.running_bulk.stop(request);
        let origin = scan.take_origin();
        let failed = |error| Completion::Failed(bulk.name().as_str(), error);
        guard.finish(result.unwrap_or_else(failed), origin);
    }

    async fn unlink(
        &self,
        scan: &mut KeyScan,
        is_stopped: impl Fn() -> bool,
    ) -> Result<Completion, Error> {
        let mut keys_per_command = if self.connection().takes_many_keys() {
            KEYS_PER_UNLINK
        } else {
            1
        };
        while !scan.is_at_end() {
            let found = scan.next().await?;
            for keys in found.chunks(KEYS_IN_FLIGHT) {
                if is_stopped() {
                    return Ok(Completion::Done);
                }
                let result = self.unlink_each(keys, keys_per_command).await;
                // A single cluster node checks slots, too, and a proxy may accept only one key per command.
                if keys_per_command > 1 && matches!(result, Err(Error::Reply { .. })) {
                    keys_per_command = 1;
                    self.unlink_each(keys, keys_per_command).await?;
                } else {
                    result?;
                }
            }
        }
        Ok(Completion::Done)
    }

    /// Unlinks `keys`, `keys_per_command` of them by each command.
    async fn unlink_each(&self, keys: &[Vec<u8>], keys_per_command: usize) -> Result<(), Error> {
        let mut commands = Commands::default();
        for keys in keys.chunks(keys_per_command) {
            let keys = keys.iter().map(Vec::as_slice);
            let words: Vec<&[u8]> = once(&b"UNLINK"[..]).chain(keys).collect();
            commands.add(Access::Write, Expect::Integer, Some(1), &words);
        }
        let replies = self.connection().query(commands).await;
        replies.into_iter().try_for_each(|reply| reply.map(drop))
    }
}

async fn count(scan: &mut KeyScan, is_stopped: impl Fn() -> bool) -> Result<Completion, Error> {
    while !scan.is_at_end() && !is_stopped() {
        scan.next_new().await?;
    }
    Ok(Completion::Count(scan.seen() as u64))
}
