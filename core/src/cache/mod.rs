//! The near-cache: cached sessions in this process, coherent with the server.
//!
//! The server remembers which keys a connection has read (client tracking, `CLIENT TRACKING`) and sends it an
//! invalidation, between its replies, when one of them changes. The cache contains sessions that such a connection
//! read, under these invariants:
//!
//! - **Server order.** Entries are stored and invalidated in the order in which the server sent the replies and the
//!   invalidations, so that an invalidation always finds the entry that it is about.
//! - **Own writes.** An entry is removed when a write is issued, and again when it is answered. A read that was sent
//!   before the write stores nothing ([`Ticket::serial`](near_cache::Ticket)).
//! - **Lost connections.** A lost connection empties the cache, and a read that was issued before the loss stores
//!   nothing ([`Ticket::epoch`](near_cache::Ticket)).
//! - **Freshness.** An entry is returned only if a command sent less than `max_staleness` ago has been answered: every
//!   invalidation up to the time when it was sent has arrived.
//!
//! JavaScript threads read the cache; they and the runtime's thread write it. Every lock is held for a few map
//! operations only, and large values are dropped after it is released.
//!
//! - [`near_cache`]: lookups, fills and invalidations; [`entries`]: the sessions, within the limits.
//! - [`pending_writes`]: the writes in flight; [`write_guard`]: records one of them.
//! - [`freshness`]: the time up to which all changes are known; [`tracked_link`]: a connection that reports them.
//! - [`clock`]: the steady clock and the wall clock.

mod clock;
mod entries;
mod freshness;
#[cfg(test)]
mod model;
mod near_cache;
mod pending_writes;
mod tracked_link;
mod write_guard;

pub(crate) use self::clock::Moment;
pub(crate) use self::entries::Entry;
pub(crate) use self::freshness::Confirmation;
pub use self::near_cache::CacheOptions;
pub(crate) use self::near_cache::{Cache, Invalidation, Stats, Ticket};
pub(crate) use self::tracked_link::TrackedLink;
pub(crate) use self::write_guard::PendingWrite;
