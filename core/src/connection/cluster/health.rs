//! The health of the cluster: events of the nodes, and what the app sees of them.

use super::router::Router;
use crate::connection::status::{Down, Event, Watch};
use crate::error::Error;
use crate::options::Node;
use std::sync::Weak;
use tokio::time::Instant;

impl Router {
    pub(super) fn add_watch(&mut self, watch: Weak<dyn Watch>) {
        let cache = self.shared.cache.as_ref();
        if cache.is_some_and(|cache| cache.is_tracking()) {
            self.watches.set_warning(None);
        }
        let is_ready = self.shared.health.is_ready();
        self.watches
            .add(watch, is_ready, self.nodes.is_awaiting_credentials());
    }

    pub(super) fn handle_node_event(&mut self, node: Node, event: Event) {
        match event {
            Event::CredentialsWanted => {
                if self.nodes.add_awaiting_credentials(node) {
                    self.watches.ask_for_credentials();
                }
            }
            Event::Ready => {
                self.shared.health.note_connection();
                self.nodes.set_last_error(&node, None);
                self.parked.mark_all_due(Instant::now());
                self.update_health(None);
                // A node that reconnects may have become a replica.
                if !self.parked.is_empty() || self.slot_map.is_empty() {
                    self.refresh.reset_backoff(Instant::now());
                    self.refresh_soon();
                }
            }
            // The node serves, although without client tracking.
            Event::Failed(error @ Error::CacheOff { .. }) => {
                self.watches.set_warning(Some(error));
            }
            Event::Reconnecting(error) => {
                self.refresh.reset_backoff(Instant::now());
                self.handle_node_error(&node, error);
            }
            Event::Failed(error) => self.handle_node_error(&node, error),
        }
    }

    fn handle_node_error(&mut self, node: &Node, error: Error) {
        self.refresh_soon();
        if self.slot_map.is_primary(node) {
            self.update_health(Some(&error));
        }
        self.nodes.set_last_error(node, Some(error));
        if self.parked.has_redirect_to(node) {
            self.parked.mark_all_due(Instant::now());
        }
    }

    /// Updates the health of the cluster and reports changes. The cluster is ready when all primaries are.
    pub(super) fn update_health(&mut self, error: Option<&Error>) {
        let shards = self.slot_map.shards();
        let is_node_ready = |node| self.nodes.is_ready(node);
        let is_ready =
            !shards.is_empty() && shards.iter().all(|shard| is_node_ready(&shard.primary));
        if let Some(error) = error {
            let attempts = self.shared.health.down().attempts.saturating_add(1);
            self.shared.health.set_down(Down {
                attempts,
                cause: error.into(),
                timed_out: false,
            });
        }
        if is_ready != self.shared.health.is_ready() {
            self.shared.health.set_ready(is_ready);
            if is_ready {
                self.shared.health.attempted(0);
                self.watches.notify(&Event::Ready);
            } else if let Some(error) = error {
                self.watches.notify(&Event::Reconnecting(error.clone()));
            }
        }
    }
}
