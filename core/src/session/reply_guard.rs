//! A guard that completes its requests with an error if it is dropped before they were completed.

use super::completion::{Completion, CompletionSink};
use super::request::{Lane, RequestId};
use crate::error::Error;
use std::sync::Arc;

/// A request, the name of its operation in errors, and the lane of its completions.
pub(super) type NamedRequest = (RequestId, &'static str, Lane);

/// Completes each of its requests exactly once, even if the task that owns it panics or ends with the runtime.
pub(super) struct ReplyGuard<A: CompletionSink> {
    sink: Arc<A>,
    /// `None` once completed, or for commands that no request asked for.
    requests: Vec<Option<NamedRequest>>,
}

impl<A: CompletionSink> ReplyGuard<A> {
    pub(super) fn new(sink: &Arc<A>, requests: Vec<Option<NamedRequest>>) -> Self {
        let sink = Arc::clone(sink);
        Self { sink, requests }
    }

    pub(super) fn one(sink: &Arc<A>, request: RequestId, name: &'static str) -> Self {
        Self::new(sink, vec![Some((request, name, Lane::of_request(request)))])
    }

    /// Sends completions that are not the last of their request.
    pub(super) fn continue_with(&self, items: Vec<(RequestId, Completion)>) {
        let items = items.into_iter();
        let items = items.map(|(request, item)| (request, Lane::of_request(request), item));
        self.sink.complete(items.collect());
    }

    /// Completes the requests at these indices.
    pub(super) fn complete(&mut self, completions: Vec<(usize, Completion)>) {
        let requests = &mut self.requests;
        let completions: Vec<_> = completions
            .into_iter()
            .filter_map(|(index, completion)| {
                let (request, _, lane) = requests.get_mut(index)?.take()?;
                Some((request, lane, completion))
            })
            .collect();
        if !completions.is_empty() {
            self.sink.complete(completions);
        }
    }

    /// Completes the only request.
    pub(super) fn finish(mut self, completion: Completion) {
        self.complete(vec![(0, completion)]);
    }

    /// Moves the request at an index to a guard of its own.
    pub(super) fn hand_over(&mut self, index: usize) -> Option<Self> {
        let request = self.requests.get_mut(index)?.take()?;
        Some(Self::new(&self.sink, vec![Some(request)]))
    }
}

impl<A: CompletionSink> Drop for ReplyGuard<A> {
    fn drop(&mut self) {
        let abandoned =
            |(request, name, lane)| (request, lane, Completion::Failed(name, Error::Abandoned));
        let left = self.requests.drain(..).flatten();
        let completions: Vec<_> = left.map(abandoned).collect();
        if !completions.is_empty() {
            self.sink.complete(completions);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[derive(Default)]
    struct RecordingSink(Mutex<Vec<(RequestId, String)>>);

    impl CompletionSink for RecordingSink {
        fn complete(self: &Arc<Self>, completions: Vec<(RequestId, Lane, Completion)>) {
            let completions = completions
                .iter()
                .map(|(id, _, completion)| (*id, format!("{completion:?}")));
            self.0.lock().expect("unpoisoned").extend(completions);
        }
    }

    impl RecordingSink {
        fn take(&self) -> Vec<(RequestId, String)> {
            std::mem::take(&mut self.0.lock().expect("unpoisoned"))
        }
    }

    #[test]
    fn each_request_is_completed_once_even_if_the_guard_is_dropped() {
        let sink = Arc::<RecordingSink>::default();
        let named = |request, name| Some((request, name, Lane::of_request(request)));
        let requests = vec![named(7, "get"), None, named(8, "set"), named(9, "set")];
        let mut guard = ReplyGuard::new(&sink, requests);
        guard.complete(vec![(0, Completion::Done), (1, Completion::Done)]);
        guard.complete(vec![(0, Completion::Missing)]);
        assert_eq!(sink.take(), [(7, "Done".into())]);
        let moved = guard.hand_over(2).expect("not completed yet");
        assert!(guard.hand_over(2).is_none());
        drop(guard);
        assert_eq!(sink.take(), [(9, "Failed(\"set\", Abandoned)".into())]);
        moved.finish(Completion::Missing);
        assert_eq!(sink.take(), [(8, "Missing".into())]);
    }
}
