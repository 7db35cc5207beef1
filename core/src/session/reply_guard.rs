//! Requests that are still to be answered.

use super::{Completion, CompletionSink, Lane, RequestId};
use crate::error::Error;
use std::sync::Arc;

/// A request, the name of its operation in errors, and the lane of its answers.
pub(super) type Named = (RequestId, &'static str, Lane);

/// Whatever happens to the task that holds them — a panic, the end of the runtime — each is answered exactly once.
pub(super) struct ReplyGuard<A: CompletionSink> {
    answers: Arc<A>,
    /// `None` once answered, or where nobody asked.
    requests: Vec<Option<Named>>,
}

impl<A: CompletionSink> ReplyGuard<A> {
    pub(super) fn new(answers: &Arc<A>, requests: Vec<Option<Named>>) -> Self {
        let answers = Arc::clone(answers);
        Self { answers, requests }
    }

    pub(super) fn one(answers: &Arc<A>, request: RequestId, name: &'static str) -> Self {
        Self::new(
            answers,
            vec![Some((request, name, Lane::of_request(request)))],
        )
    }

    /// CompletionSink that are not the last of a request.
    pub(super) fn continue_with(&self, items: Vec<(RequestId, Completion)>) {
        let items = items.into_iter();
        let items = items.map(|(request, item)| (request, Lane::of_request(request), item));
        self.answers.answer(items.collect());
    }

    /// The last answers of the requests at these places.
    pub(super) fn settle(&mut self, answers: Vec<(usize, Completion)>) {
        let requests = &mut self.requests;
        let answers: Vec<_> = answers
            .into_iter()
            .filter_map(|(at, answer)| {
                let (request, _, lane) = requests.get_mut(at)?.take()?;
                Some((request, lane, answer))
            })
            .collect();
        if !answers.is_empty() {
            self.answers.answer(answers);
        }
    }

    /// The last answer of the only request.
    pub(super) fn finish(mut self, answer: Completion) {
        self.settle(vec![(0, answer)]);
    }

    /// Leaves the request at a place to somebody else.
    pub(super) fn hand_over(&mut self, at: usize) -> Option<Self> {
        let request = self.requests.get_mut(at)?.take()?;
        Some(Self::new(&self.answers, vec![Some(request)]))
    }
}

impl<A: CompletionSink> Drop for ReplyGuard<A> {
    fn drop(&mut self) {
        let abandoned =
            |(request, name, lane)| (request, lane, Completion::Failed(name, Error::Abandoned));
        let left = self.requests.drain(..).flatten();
        let answers: Vec<_> = left.map(abandoned).collect();
        if !answers.is_empty() {
            self.answers.answer(answers);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[derive(Default)]
    struct Record(Mutex<Vec<(RequestId, String)>>);

    impl CompletionSink for Record {
        fn answer(self: &Arc<Self>, answers: Vec<(RequestId, Lane, Completion)>) {
            let answers = answers
                .iter()
                .map(|(id, _, answer)| (*id, format!("{answer:?}")));
            self.0.lock().expect("unpoisoned").extend(answers);
        }
    }

    impl Record {
        fn take(&self) -> Vec<(RequestId, String)> {
            std::mem::take(&mut self.0.lock().expect("unpoisoned"))
        }
    }

    #[test]
    fn each_is_answered_once_whoever_drops_it() {
        let record = Arc::<Record>::default();
        let named = |request, name| Some((request, name, Lane::of_request(request)));
        let requests = vec![named(7, "get"), None, named(8, "set"), named(9, "set")];
        let mut unanswered = ReplyGuard::new(&record, requests);
        unanswered.settle(vec![(0, Completion::Done), (1, Completion::Done)]);
        unanswered.settle(vec![(0, Completion::Missing)]);
        assert_eq!(record.take(), [(7, "Done".into())]);
        let handed = unanswered.hand_over(2).expect("not answered yet");
        assert!(unanswered.hand_over(2).is_none());
        drop(unanswered);
        assert_eq!(record.take(), [(9, "Failed(\"set\", Abandoned)".into())]);
        handed.finish(Completion::Missing);
        assert_eq!(record.take(), [(8, "Missing".into())]);
    }
}
