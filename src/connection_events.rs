//! Sends the events and the observations of a connection to JavaScript, among the completions.

use crate::completions::Queue;
use connect_redis_core::{Completion, CompletionSink, Lane, RequestId};
use connect_redis_core::{Event, Observation, Observe, Watch};
use std::sync::{Arc, Mutex, PoisonError};

/// Watches a connection for a store, and lives as long as the store.
#[derive(Debug)]
pub(crate) struct Watcher {
    queue: Arc<Queue>,
    request: RequestId,
    /// The prefix of the store's keys.
    prefix: Mutex<Vec<u8>>,
}

impl Watcher {
    pub(crate) fn new(queue: Arc<Queue>, request: RequestId) -> Self {
        Self {
            queue,
            request,
            prefix: Mutex::default(),
        }
    }

    pub(crate) fn set_prefix(&self, prefix: &[u8]) {
        // A poisoned lock still holds a prefix.
        let mut own = self.prefix.lock().unwrap_or_else(PoisonError::into_inner);
        own.clear();
        own.extend_from_slice(prefix);
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

impl Observe for Watcher {
    fn observe(&self, observation: &Observation) -> bool {
        let prefix = self.prefix.lock().unwrap_or_else(PoisonError::into_inner);
        let observation = observation.under(&prefix);
        drop(prefix);
        match observation.map(|observation| serde_json::to_string(&observation)) {
            Some(Ok(json)) => {
                self.send(Completion::Observed(json));
                true
            }
            // The observation has no values that JSON could not express.
            Some(Err(_)) => true,
            None => false,
        }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.send(Completion::Ended);
    }
}
