//! Sends connection events to JavaScript, among the completions.

use crate::completions::Queue;
use connect_redis_core::{Completion, CompletionSink, Lane, RequestId};
use connect_redis_core::{Event, Watch};
use std::sync::Arc;

/// Watches a connection for a store, and lives as long as the store.
#[derive(Debug)]
pub(crate) struct Watcher {
    queue: Arc<Queue>,
    request: RequestId,
}

impl Watcher {
    pub(crate) fn new(queue: Arc<Queue>, request: RequestId) -> Self {
        Self { queue, request }
    }

    fn send(&self, completion: Completion) {
        let lane = Lane::of_request(self.request);
        self.queue.complete(vec![(self.request, lane, completion)]);
    }
}

impl Watch for Watcher {
    fn event(&self, event: &Event) {
        let completion = match event {
            Event::Ready => Completion::Event("ready", None),
            Event::Reconnecting(error) => Completion::Event("reconnecting", Some(error.clone())),
            Event::Failed(error) => Completion::Event("error", Some(error.clone())),
            Event::CredentialsWanted => Completion::Event("credentials", None),
        };
        self.send(completion);
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.send(Completion::Ended);
    }
}
