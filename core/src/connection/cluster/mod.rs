//! The cluster router: one handle for all nodes of a cluster. It sends each command to the node that serves its slot.
//!
//! A single task routes. Each node has a connection with a [`super::supervisor`] of its own, which returns the commands
//! that it could not complete. After a redirect, a lost link or a transient error, the command's slot is parked: the
//! router waits for the in-flight commands of the slot, and then sends all of its commands again in their order. A
//! write that succeeded although an earlier command of its slot did not is sent again as well. When a slot moves to
//! another node, the router waits for the in-flight commands at the previous node first. So the order is kept per key,
//! and no slot waits for another. On a failover, the topology refresh finds the new primary, and the parked commands go
//! there.
//!
//! - [`router`]: the task and its state; [`events`]: events from the nodes; [`health`]: the state that the app sees.
//! - [`jobs`]: unanswered jobs; [`routing`]: the target node of each command; [`parked`]: parked commands.
//! - [`node_batch`]: commands sent to a node together; [`replies`]: replies, redirects and retries; [`timeouts`]:
//!   expired jobs and their errors.
//! - [`nodes`]: a connection to each node, and its state.
//! - [`slot_map`]: the primary and replicas of each slot; [`refresh`]: the schedule of topology refreshes;
//!   [`agreement`]: the slot map on which most nodes agree; [`topology`]: applies a new slot map.

mod agreement;
#[cfg(feature = "bench")]
pub(crate) mod bench;
mod events;
mod health;
mod jobs;
mod node_batch;
mod nodes;
mod parked;
#[cfg(test)]
mod parked_model;
mod refresh;
mod replies;
mod router;
mod routing;
mod slot_map;
#[cfg(any(test, fuzzing))]
pub mod slot_map_fuzz;
mod timeouts;
mod topology;

pub(super) use self::router::spawn;
