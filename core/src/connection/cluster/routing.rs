//! Routing: sends each command to the node that serves its slot, or parks it.

use super::jobs::Routed;
use super::node_batch::NodeBatch;
use super::parked::ParkedCommand;
use super::router::Router;
use crate::connection::commands::Access;
use crate::connection::job::{Job, Place};
use crate::connection::origin::ServerId;
use crate::options::Node;
use std::collections::HashMap;
use tokio::time::Instant;

/// The commands to send to each node.
type NodeBatches = HashMap<Node, NodeBatch>;

impl Router {
    /// Sends the commands of a job, or parks them.
    pub(super) fn dispatch(&mut self, job: Job) {
        let mut batches = NodeBatches::default();
        let mut is_refused = false;
        for (place, slot) in self.jobs.add(job) {
            match self.target_node(slot, self.jobs.access(place)) {
                Some(node) if !self.parked.must_wait(slot) => {
                    self.add(&mut batches, node, (place, slot), false);
                }
                target => {
                    // All commands of an operation are refused, or none.
                    if self.jobs.is_operation(place) {
                        is_refused = target.is_none() && !self.has_capacity();
                    }
                    if is_refused {
                        let error = self.shared.full(self.unavailable_cause(slot));
                        let server = ServerId::default();
                        let replies = vec![(place.at, Err(error))];
                        self.jobs.complete(place.job, replies, server);
                    } else {
                        self.park(slot, place, None);
                    }
                }
            }
        }
        self.send(batches);
    }

    /// Sends the parked commands of slots that have no command in flight and whose nodes are ready.
    pub(super) fn send_parked(&mut self) {
        let mut batches = NodeBatches::default();
        for slot in self.parked.take_due(Instant::now()) {
            if self.in_flight[usize::from(slot)] > 0 {
                // The slot becomes due when they have returned.
                continue;
            }
            // A command that cannot be sent yet blocks those after it: they may have the same key.
            while let Some((place, ask)) = self.parked.first(slot) {
                // The `ASK` target may be outdated if it cannot be reached.
                let ask = ask.filter(|node| !self.is_failing(node)).cloned();
                let asks = ask.is_some();
                let target = match ask {
                    Some(node) => self.nodes.is_ready(&node).then_some(node),
                    None => self.target_node(slot, self.jobs.access(place)),
                };
                let Some(node) = target else {
                    break;
                };
                self.parked.remove(slot, place);
                self.add(&mut batches, node, (place, slot), asks);
                // After a transient error, a single command checks whether the node has recovered.
                if self.parked.transient_error(slot).is_some() {
                    self.parked.hold(slot);
                    break;
                }
            }
        }
        self.send(batches);
    }

    /// Returns the target node of a command, if its connection is ready.
    fn target_node(&mut self, slot: u16, access: Access) -> Option<Node> {
        let Some(shard) = self.slot_map.shard(slot) else {
            // A node may serve the slot by now.
            self.refresh_soon();
            return None;
        };
        if access == Access::Read && self.cluster.reads_from_replicas {
            self.next_replica = self.next_replica.wrapping_add(1);
            let count = shard.replicas.len();
            let mut replicas = (0..count).map(|n| &shard.replicas[(self.next_replica + n) % count]);
            if let Some(replica) = replicas.find(|replica| self.nodes.is_readable(replica)) {
                return Some(replica.clone());
            }
        }
        let primary = &shard.primary;
        self.nodes.is_ready(primary).then(|| primary.clone())
    }

    /// Returns true if the node's connection has failed and is not ready again.
    pub(super) fn is_failing(&self, node: &Node) -> bool {
        self.nodes.last_error(node).is_some()
    }

    /// Parks a command. `ask` is the target of an `ASK` redirect, for the next attempt only.
    pub(super) fn park(&mut self, slot: u16, place: Place, ask: Option<Node>) {
        let is_operation = self.jobs.is_operation(place);
        let command = ParkedCommand { ask, is_operation };
        self.parked.add(slot, place, command);
    }

    /// Holds a slot with commands in flight at a node that no longer serves it: later commands wait for them.
    pub(super) fn hold(&mut self, slot: u16) {
        if self.in_flight[usize::from(slot)] > 0 {
            self.parked.hold(slot);
        }
    }

    /// Adds a command to the batch of a node, unless its job is completed.
    fn add(&mut self, batches: &mut NodeBatches, node: Node, command: Routed, asks: bool) {
        let (place, slot) = command;
        if let Some(job) = self.jobs.get_mut(place) {
            job.note_sent(place.at);
            self.in_flight[usize::from(slot)] += 1;
            let batch = batches.entry(node).or_default();
            batch.add(job.commands(), place, slot, asks);
        }
    }

    fn send(&self, batches: NodeBatches) {
        for (node, batch) in batches {
            let connection = self.nodes.connection(&node);
            batch.send(node.clone(), connection, self.sender.clone());
        }
    }

    /// Returns true if another operation may wait. The waiters of single-flight reads count as well.
    fn has_capacity(&self) -> bool {
        self.parked.operations() + self.shared.single_flight.waiters() < self.shared.queue_limit()
    }
}
