//! Session operations as Redis commands.
//!
//! | operation | commands |
//! |---|---|
//! | get | `GET`, `PTTL` |
//! | set | `SET … PX`, or `SET` alone for a session without a lifetime |
//! | … of a session that was loaded or saved before | the same with `XX` |
//! | … with conflict detection | `SET … IFEQ … GET`, or a script where the server lacks it: [`compare_and_set`] |
//! | touch | `PEXPIRE` |
//! | destroy | `DEL` |
//! | length, ids | `SCAN` |
//! | all, scan | `SCAN`, and `GET`, `PTTL` per session |
//! | … after a set or touch, if sessions are cached: [`cached`] | `GET`, `PTTL` |
//! | clear | `SCAN`, and `UNLINK` of many keys at once; of one key each in a cluster |
//! | destroy, if a text is stored | a script: [`compare_and_set`] |
//! | on the index of a user's sessions | scripts: [`script`] |
//!
//! - [`sessions`]: the sessions under one prefix; [`request`]: their requests; [`completion`]: the results;
//!   [`in_flight`]: the operations that `close` waits for.
//! - [`batch`]: processes requests in order; [`pipeline`]: encodes their commands; [`stored`]: what they store;
//!   [`in_flight_batch`]: turns replies into completions; [`reply_guard`]: completes each request exactly once;
//!   [`meter`]: records their statistics; [`replies`]: reads replies that several operations share.
//! - [`compare_and_set`]: saves that store only if the expected text is stored; [`cas_support`]: the command for them.
//! - [`scans`]: the open scans; [`scan_pages`]: scans page by page; [`bulk`]: `length` and `clear`;
//!   [`running_bulk`]: stops them; [`key_scan`]: iterates over keys for all; [`seen_keys`]: removes duplicates.
//! - [`script`]: scripts on a key that belongs to no session.
//! - [`cached`]: lookups and fills of the cache.
//! - [`keys`]: IDs and keys; [`expiry`]: the expiry in force; [`strings`]: lists of short texts; [`eager`]: futures
//!   that start at once.

mod batch;
#[cfg(feature = "bench")]
pub(crate) mod bench;
mod bulk;
mod cached;
mod cas_support;
mod compare_and_set;
#[cfg(any(test, fuzzing))]
pub mod compare_and_set_fuzz;
mod completion;
mod eager;
mod expiry;
#[cfg(any(test, fuzzing))]
pub mod expiry_fuzz;
mod in_flight;
mod in_flight_batch;
mod key_scan;
mod keys;
mod meter;
mod pipeline;
mod replies;
mod reply_guard;
mod request;
mod running_bulk;
mod scan_pages;
mod scans;
mod script;
mod seen_keys;
mod sessions;
mod stored;
mod strings;

pub use self::completion::{Completion, CompletionSink};
pub use self::expiry::{Clock, ReportEnd};
pub use self::request::{
    Bulk, Lane, Operation, Request, RequestId, ScanId, ScriptRequest, SessionRequest, Write,
};
pub use self::scans::{ScanKind, Scans};
pub use self::sessions::Sessions;
