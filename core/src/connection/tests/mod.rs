//! Tests of whole connections, against servers in memory and mostly in paused time.
//!
//! - [`deadlines`] of operations; [`heartbeat`]: idle and silent links; [`backoff`]: pauses between attempts to connect.
//! - [`credentials`]; [`retry_order`]: the commands that are sent again; [`failover`]: the server that receives them.
//! - [`matching`]: the assignment of replies to commands; [`statistics`]; [`panics`].

mod backoff;
mod credentials;
mod deadlines;
mod failover;
mod fixtures;
mod heartbeat;
mod matching;
mod panics;
mod retry_order;
mod statistics;
