//! Topology refreshes: asks the nodes for their slot maps, and applies the result.

use super::agreement;
use super::events::RouterEvent;
use super::router::Router;
use super::slot_map::{SLOT_COUNT, SlotMap};
use crate::connection::handle::Connection;
use crate::connection::status::Event;
use crate::error::Error;
use crate::observers::{Observation, kind};
use crate::options::Node;
use std::collections::HashSet;
use std::mem;
use tokio::time::Instant;

impl Router {
    /// Starts a topology refresh: asks all nodes for their slot maps.
    pub(super) fn refresh_topology(&mut self) {
        self.refresh.begin();
        self.current_waiters.append(&mut self.next_waiters);
        for node in &self.cluster.nodes {
            self.nodes.open(node);
        }
        let nodes = self.nodes.connections();
        let nodes = nodes.map(|(node, connection)| (node.clone(), connection.clone()));
        let server = self.shared.server.clone();
        let slot_map = agreement::slot_map(nodes.collect(), self.cluster.nat_map.clone(), server);
        let events = self.sender.clone();
        tokio::spawn(async move {
            // The router ends only when no caller is left.
            let _ = events.send(RouterEvent::SlotMap(slot_map.await));
        });
    }

    /// Schedules a topology refresh soon.
    pub(super) fn refresh_soon(&mut self) {
        self.refresh.schedule_soon(Instant::now());
    }

    /// Applies the slot map of a topology refresh.
    pub(super) fn apply_slot_map(&mut self, slot_map: SlotMap) {
        self.refresh_error = None;
        if self.slot_map != slot_map {
            self.refresh.reset_backoff(Instant::now());
            let former = mem::replace(&mut self.slot_map, slot_map);
            self.report_failovers(&former);
            if !former.has_same_primaries(&self.slot_map) {
                self.clear_cache("the slot map has changed");
                for slot in 0..SLOT_COUNT {
                    if former.primary(slot) != self.slot_map.primary(slot) {
                        self.hold(slot);
                    }
                }
            }
            self.parked.mark_all_due(Instant::now());
        }
        self.update_connections();
        self.update_health(None);
        self.end_refresh(self.parked.is_empty() && self.shared.health.is_ready());
        for waiter in mem::take(&mut self.current_waiters) {
            // The receiver may have stopped waiting.
            let _ = waiter.send(Ok(self.primaries()));
        }
    }

    /// Reports the replicas that have become primaries.
    fn report_failovers(&self, former: &SlotMap) {
        if !self.shared.observers.want(kind::CHANGES) {
            return;
        }
        let mut reported = HashSet::new();
        for slot in 0..SLOT_COUNT {
            if let (Some(former), Some(to)) = (former.shard(slot), self.slot_map.primary(slot))
                && former.replicas.contains(to)
                && reported.insert((&former.primary, to))
            {
                self.shared
                    .observers
                    .report(kind::CHANGES, || Observation::FailedOver {
                        server: self.shared.server.clone(),
                        from: former.primary.to_string(),
                        to: to.to_string(),
                    });
            }
        }
    }

    /// Handles a failed topology refresh: no node could be asked, or none returned slots.
    pub(super) fn handle_refresh_error(&mut self, error: Error) {
        self.end_refresh(false);
        self.update_health(Some(&error));
        self.watches.notify(&Event::Failed(error.clone()));
        if !error.is_loss() && !error.is_transient() {
            // Another refresh will not solve it by itself.
            self.fail_waiting(&error);
        }
        self.refresh_error = Some(error);
    }

    /// Moves a slot to another node, after a `MOVED` redirect.
    pub(super) fn note_moved(&mut self, slot: u16, owner: Node) {
        self.nodes.open(&owner);
        self.slot_map.move_slot(slot, owner);
        self.hold(slot);
        self.clear_cache("a slot has moved");
        self.refresh_soon();
    }

    /// Clears the cache, since keys may be at other nodes than those that send their invalidations.
    pub(super) fn clear_cache(&self, reason: &'static str) {
        if let Some(cache) = &self.shared.cache {
            cache.clear(reason);
        }
    }

    /// Opens connections to the nodes that are needed, and closes the others.
    fn update_connections(&mut self) {
        let mut needed: HashSet<Node> = HashSet::new();
        for shard in self.slot_map.shards() {
            needed.insert(shard.primary.clone());
            if self.cluster.reads_from_replicas {
                needed.extend(shard.replicas.iter().cloned());
            }
        }
        for node in &needed {
            self.nodes.open(node);
        }
        // Keep the configured nodes: they may be the only ones left to ask when all others have moved.
        let seeds = &self.cluster.nodes;
        let parked = &self.parked;
        self.nodes.retain(|node| {
            needed.contains(node) || seeds.contains(node) || parked.has_redirect_to(node)
        });
    }

    /// Returns the connections to all primaries.
    fn primaries(&self) -> Vec<Connection> {
        let shards = self.slot_map.shards().iter();
        let primaries = shards.filter_map(|shard| self.nodes.connection(&shard.primary));
        primaries.cloned().collect()
    }

    /// Ends a refresh, and schedules another one at once if callers wait for it.
    fn end_refresh(&mut self, is_healthy: bool) {
        let now = Instant::now();
        self.refresh.end(now, is_healthy);
        if !self.next_waiters.is_empty() {
            self.refresh.schedule_now(now);
        }
    }
}
