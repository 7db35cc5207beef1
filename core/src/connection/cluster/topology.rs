//! Which nodes a cluster has, and what follows when that changes.

use super::slot_map::{SLOTS, Slots};
use super::{News, Router, vote};
use crate::connection::Connection;
use crate::connection::status::Event;
use crate::error::Error;
use crate::options::Node;
use std::collections::HashSet;
use std::mem;
use tokio::time::Instant;

impl Router {
    /// Asks all nodes which slots are whose.
    pub(super) fn ask_for_slots(&mut self) {
        self.questions.begin();
        self.asked_walkers.append(&mut self.walkers);
        for node in &self.cluster.nodes {
            self.members.open(node);
        }
        let nodes = self.members.connections();
        let nodes = nodes.map(|(node, connection)| (node.clone(), connection.clone()));
        let server = self.shared.server.to_string();
        let slots = vote::slots(nodes.collect(), self.cluster.nat_map.clone(), server);
        let news = self.sender.clone();
        tokio::spawn(async move {
            // The router is gone only when nobody needs to know.
            let _ = news.send(News::Slots(slots.await));
        });
    }

    /// Has the nodes asked for the slots soon.
    pub(super) fn hurry(&mut self) {
        self.questions.hurry(Instant::now());
    }

    pub(super) fn take_slots(&mut self, slots: Slots) {
        self.ignorance = None;
        if self.slots != slots {
            self.questions.begin_anew(Instant::now());
            let former = mem::replace(&mut self.slots, slots);
            if !former.has_same_primaries(&self.slots) {
                self.note_change();
                for slot in 0..SLOTS {
                    if former.primary(slot) != self.slots.primary(slot) {
                        self.hold(slot);
                    }
                }
            }
            self.parked.try_all(Instant::now());
        }
        self.choose_members();
        self.note_health(None);
        self.note_answered(self.parked.is_empty() && self.shared.health.is_ready());
        for walker in mem::take(&mut self.asked_walkers) {
            // The receiver may have stopped waiting.
            let _ = walker.send(Ok(self.primaries()));
        }
    }

    /// The nodes could not be asked, or none knew.
    pub(super) fn take_ignorance(&mut self, error: Error) {
        self.note_answered(false);
        self.note_health(Some(&error));
        self.watches.tell(&Event::Failed(error.clone()));
        if !error.is_loss() && !error.is_passing() {
            // A further question will not change it by itself.
            self.fail_waiting(&error);
        }
        self.ignorance = Some(error);
    }

    /// A slot has been moved to a node, as another one says.
    pub(super) fn note_moved(&mut self, slot: u16, owner: Node) {
        self.members.open(&owner);
        self.slots.moved(slot, owner);
        self.hold(slot);
        self.note_change();
        self.hurry();
    }

    /// Keys may be at other nodes than those that told of their changes.
    pub(super) fn note_change(&self) {
        if let Some(cache) = &self.shared.cache {
            cache.clear();
        }
    }

    /// Opens connections to the nodes that are needed, and leaves the others.
    fn choose_members(&mut self) {
        let mut needed: HashSet<Node> = HashSet::new();
        for shard in self.slots.shards() {
            needed.insert(shard.primary.clone());
            if self.cluster.reads_from_replicas {
                needed.extend(shard.replicas.iter().cloned());
            }
        }
        for node in &needed {
            self.members.open(node);
        }
        // They may be what is left to ask when every other node has moved.
        let seeds = &self.cluster.nodes;
        let parked = &self.parked;
        self.members
            .retain(|node| needed.contains(node) || seeds.contains(node) || parked.asks(node));
    }

    fn primaries(&self) -> Vec<Connection> {
        let shards = self.slots.shards().iter();
        let primaries = shards.filter_map(|shard| self.members.connection(&shard.primary));
        primaries.cloned().collect()
    }

    fn note_answered(&mut self, is_calm: bool) {
        let now = Instant::now();
        self.questions.end(now, is_calm);
        if !self.walkers.is_empty() {
            self.questions.demand(now);
        }
    }
}
