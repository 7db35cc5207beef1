//! To which node a command goes, and when.

use super::Router;
use super::jobs::Place;
use super::node_batch::NodeBatch;
use super::parked::ParkedCommand;
use crate::connection::Job;
use crate::connection::commands::{Access, Commands};
use crate::options::Node;
use std::collections::HashMap;
use tokio::time::Instant;

/// What goes to each node.
type NodeBatches = HashMap<Node, NodeBatch>;

impl Router {
    /// Sends the commands of a job, or parks them.
    pub(super) fn dispatch(&mut self, job: Job) {
        let mut batches = NodeBatches::default();
        let mut is_refused = false;
        for (place, slot) in self.jobs.add(job) {
            match self.target_node(slot, self.jobs.access(place)) {
                Some(node) if !self.parked.must_wait(slot) => {
                    self.add(&mut batches, node, place, slot);
                }
                target => {
                    // What goes with a command shares its fate.
                    if self.jobs.is_operation(place) {
                        is_refused = target.is_none() && !self.has_capacity();
                    }
                    if is_refused {
                        let error = self.shared.full(self.unavailable_cause(slot));
                        self.jobs.complete(place.job, vec![(place.at, Err(error))]);
                    } else {
                        self.park(slot, place, None);
                    }
                }
            }
        }
        self.send(batches);
    }

    /// Sends what is parked in slots where nothing is under way any more and whose nodes serve.
    pub(super) fn send_parked(&mut self) {
        let mut batches = NodeBatches::default();
        for slot in self.parked.take_due(Instant::now()) {
            if self.in_flight[usize::from(slot)] > 0 {
                // Tried again when it has come back.
                continue;
            }
            // One that cannot go yet holds up those behind it: they may be about the same key.
            while let Some((place, ask)) = self.parked.first(slot) {
                // One that cannot be asked may not be the one to ask any more.
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
                if asks {
                    self.add_asking(&mut batches, node, place, slot);
                } else {
                    self.add(&mut batches, node, place, slot);
                }
                // One is enough to find out whether the node still puts it off.
                if self.parked.transient_error(slot).is_some() {
                    self.parked.hold(slot);
                    break;
                }
            }
        }
        self.send(batches);
    }

    /// The node for a command, if its connection serves.
    fn target_node(&mut self, slot: u16, access: Access) -> Option<Node> {
        let Some(shard) = self.slot_map.shard(slot) else {
            // It may be some node's by now.
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

    pub(super) fn is_failing(&self, node: &Node) -> bool {
        self.nodes.last_error(node).is_some()
    }

    /// `ask` is a node to which the slot is on the move: the command goes to that, this once.
    pub(super) fn park(&mut self, slot: u16, place: Place, ask: Option<Node>) {
        let is_operation = self.jobs.is_operation(place);
        let command = ParkedCommand { ask, is_operation };
        self.parked.add(slot, place, command);
    }

    /// What is under way in a slot is at another node than what follows would go to: that waits.
    pub(super) fn hold(&mut self, slot: u16) {
        if self.in_flight[usize::from(slot)] > 0 {
            self.parked.hold(slot);
        }
    }

    fn add(&mut self, batches: &mut NodeBatches, node: Node, place: Place, slot: u16) {
        if let Some(commands) = self.note_sent(place, slot) {
            batches.entry(node).or_default().add(commands, place, slot);
        }
    }

    fn add_asking(&mut self, batches: &mut NodeBatches, node: Node, place: Place, slot: u16) {
        if let Some(commands) = self.note_sent(place, slot) {
            let batch = batches.entry(node).or_default();
            batch.add_asking(commands, place, slot);
        }
    }

    /// A command is sent. The commands that it is one of, unless its time is over.
    fn note_sent(&mut self, place: Place, slot: u16) -> Option<&Commands> {
        let job = self.jobs.get_mut(place)?;
        if let Some(command) = job.command_mut(place.at) {
            command.attempts = command.attempts.saturating_add(1);
        }
        self.in_flight[usize::from(slot)] += 1;
        Some(&job.commands)
    }

    fn send(&self, batches: NodeBatches) {
        for (node, batch) in batches {
            let connection = self.nodes.connection(&node);
            batch.send(node.clone(), connection, self.sender.clone());
        }
    }

    /// Whether one more operation may wait for a connection. Those that follow a read wait as well.
    fn has_capacity(&self) -> bool {
        self.parked.operations() + self.shared.flights.followers() < self.shared.queue_limit()
    }
}
