//! Tests of whole connections, against servers in memory and mostly in paused time.
//!
//! Each module answers one question: when does an operation fail ([`deadlines`]), when is the next attempt to
//! connect made ([`backoff`]), when is a server probed or given up ([`heartbeat`]), which commands are sent again and in which
//! order ([`retry_order`]), to which server ([`failover`]), does each reply reach its command ([`matching`]), with which
//! credentials ([`credentials`]), and what does a panic do ([`panics`]).

mod backoff;
mod credentials;
mod deadlines;
mod failover;
mod fixtures;
mod heartbeat;
mod matching;
mod panics;
mod retry_order;
