//! Tests of whole connections, against servers in memory and mostly in paused time.
//!
//! Each module answers one question:
//!
//! - [`deadlines`]: when does an operation fail? [`heartbeat`]: when is a server probed or given up?
//! - [`backoff`]: when is the next attempt to connect made? [`credentials`]: with which credentials?
//! - [`retry_order`]: which commands are sent again, and in which order? [`failover`]: to which server?
//! - [`matching`]: does each reply reach its command? [`panics`]: what does a panic do?

mod backoff;
mod credentials;
mod deadlines;
mod failover;
mod fixtures;
mod heartbeat;
mod matching;
mod panics;
mod retry_order;
