//! A connection's events on their way to JavaScript, among the completions.

use crate::completions::Queue;
use connect_redis_core::{Completion, CompletionSink, Lane, RequestId};
use connect_redis_core::{Event, Watch};
use std::sync::Arc;

/// Lives as long as its store.
#[derive(Debug)]
pub(crate) struct Watcher {
    answers: Arc<Queue>,
    request: RequestId,
}

impl Watcher {
    pub(crate) fn new(answers: Arc<Queue>, request: RequestId) -> Self {
        Self { answers, request }
    }

    fn tell(&self, answer: Completion) {
        let lane = Lane::of_request(self.request);
        self.answers.answer(vec![(self.request, lane, answer)]);
    }
}

impl Watch for Watcher {
    fn event(&self, event: &Event) {
        let answer = match event {
            Event::Ready => Completion::Event("ready", None),
            Event::Reconnecting(error) => Completion::Event("reconnecting", Some(error.clone())),
            Event::Failed(error) => Completion::Event("error", Some(error.clone())),
            Event::CredentialsWanted => Completion::Event("credentials", None),
        };
        self.tell(answer);
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.tell(Completion::Ended);
    }
}
