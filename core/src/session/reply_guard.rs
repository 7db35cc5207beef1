//! A guard that completes its requests with an error if it is dropped before they were completed.

use super::completion::{Completion, CompletionSink};
use super::meter::{Meter, count};
use super::request::{Lane, Name, RequestId, SessionRequest};
use crate::connection::{Delivery, Origin};
use crate::error::Error;
use crate::stats::Tally;
use std::sync::Arc;

/// A request, the name of its operation, and the lane of its completions.
#[derive(Clone, Copy, Debug)]
pub(super) struct NamedRequest {
    pub(super) id: RequestId,
    pub(super) name: Name,
    pub(super) lane: Lane,
    pub(super) is_traced: bool,
}

/// Completes each of its requests exactly once, even if the task that owns it panics or ends with the runtime.
pub(super) struct ReplyGuard<A: CompletionSink> {
    sink: Arc<A>,
    /// `None` once completed, or for commands that no request asked for.
    requests: Vec<Option<NamedRequest>>,
    meter: Meter,
}

impl NamedRequest {
    /// Returns a request for the session under a key.
    pub(super) fn of(request: &SessionRequest, key: &[u8]) -> Self {
        Self {
            id: request.request,
            name: request.operation.name(),
            lane: Lane::of_key(key),
            is_traced: request.is_traced,
        }
    }

    fn is_operation(&self) -> bool {
        self.name.is_counted()
    }
}

impl<A: CompletionSink> ReplyGuard<A> {
    pub(super) fn new(sink: &Arc<A>, requests: Vec<Option<NamedRequest>>, meter: Meter) -> Self {
        let operations = requests.iter().flatten();
        meter.begin(operations.filter(|request| request.is_operation()).count());
        let sink = Arc::clone(sink);
        Self {
            sink,
            requests,
            meter,
        }
    }

    pub(super) fn one(
        sink: &Arc<A>,
        id: RequestId,
        name: Name,
        is_traced: bool,
        meter: Meter,
    ) -> Self {
        let request = NamedRequest {
            id,
            name,
            lane: Lane::of_request(id),
            is_traced,
        };
        Self::new(sink, vec![Some(request)], meter)
    }

    /// Sends completions that are not the last of their request.
    pub(super) fn continue_with(&self, items: Vec<(RequestId, Completion)>) {
        let items = items.into_iter();
        let items = items.map(|(request, item)| (request, Lane::of_request(request), item));
        self.sink.complete(items.collect());
    }

    /// Completes the requests at these indices.
    pub(super) fn complete(&mut self, completions: Vec<(usize, Completion)>, delivery: &Delivery) {
        let mut tally = Tally::default();
        let mut ended = 0;
        let mut sent = Vec::with_capacity(completions.len());
        for (index, completion) in completions {
            let request = self.requests.get_mut(index).and_then(Option::take);
            let Some(request) = request else {
                continue;
            };
            let NamedRequest {
                id,
                name,
                lane,
                is_traced,
            } = request;
            ended += usize::from(request.is_operation());
            count(&mut tally, name, &completion);
            // Nothing was sent without an attempt.
            if is_traced && delivery.origin.attempts > 0 {
                let served = Completion::Served {
                    origin: delivery.origin,
                    is_shared: delivery.is_shared,
                };
                sent.push((id, lane, served));
            }
            sent.push((id, lane, completion));
        }
        if !sent.is_empty() {
            // Before the app can see that they have completed.
            self.meter.end(ended, &tally, delivery.at);
            self.sink.complete(sent);
        }
    }

    /// Completes the only request.
    pub(super) fn finish(self, completion: Completion, origin: Origin) {
        self.finish_at(completion, &Delivery::now(origin));
    }

    /// Completes the only request with a delivery that completes others as well.
    pub(super) fn finish_at(mut self, completion: Completion, delivery: &Delivery) {
        self.complete(vec![(0, completion)], delivery);
    }

    /// Moves the request at an index to a guard of its own.
    pub(super) fn hand_over(&mut self, index: usize) -> Option<Self> {
        let request = self.requests.get_mut(index)?.take()?;
        Some(Self {
            sink: Arc::clone(&self.sink),
            requests: vec![Some(request)],
            meter: self.meter.clone(),
        })
    }
}

impl<A: CompletionSink> Drop for ReplyGuard<A> {
    fn drop(&mut self) {
        let requests = self.requests.iter().enumerate();
        let abandoned = requests.filter_map(|(index, request)| {
            let name = request.as_ref()?.name.as_str();
            Some((index, Completion::Failed(name, Error::Abandoned)))
        });
        let abandoned: Vec<_> = abandoned.collect();
        if !abandoned.is_empty() {
            self.complete(abandoned, &Delivery::now(Origin::default()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::clock;
    use std::sync::Mutex;
    use std::sync::atomic::Ordering;
    use std::time::Duration;

    fn meter() -> Meter {
        Meter {
            stats: Arc::default(),
            counters: Arc::default(),
            since: clock::now(),
        }
    }

    fn named(id: RequestId, name: Name) -> Option<NamedRequest> {
        Some(NamedRequest {
            id,
            name,
            lane: Lane::of_request(id),
            is_traced: false,
        })
    }

    /// Returns the number of operations that were recorded.
    fn recorded(meter: &Meter, name: Name) -> u64 {
        let figures = &meter.stats.figures()[name as usize];
        figures.counts.iter().sum()
    }

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
        let requests = vec![
            named(7, Name::Get),
            None,
            named(8, Name::Set),
            named(9, Name::Set),
        ];
        let meter = meter();
        let mut guard = ReplyGuard::new(&sink, requests, meter.clone());
        let delivery = Delivery::now(Origin::default());
        guard.complete(
            vec![(0, Completion::Done), (1, Completion::Done)],
            &delivery,
        );
        guard.complete(vec![(0, Completion::Missing)], &delivery);
        assert_eq!(sink.take(), [(7, "Done".into())]);
        let moved = guard.hand_over(2).expect("not completed yet");
        assert!(guard.hand_over(2).is_none());
        drop(guard);
        assert_eq!(sink.take(), [(9, "Failed(\"set\", Abandoned)".into())]);
        assert_eq!(meter.counters.pending.load(Ordering::Relaxed), 1);
        moved.finish(Completion::Missing, Origin::default());
        assert_eq!(sink.take(), [(8, "Missing".into())]);
        assert_eq!(meter.counters.pending.load(Ordering::Relaxed), 0);
        assert_eq!(recorded(&meter, Name::Get), 1);
        assert_eq!(recorded(&meter, Name::Set), 2);
    }

    #[test]
    fn a_traced_request_is_told_which_server_replied() {
        let sink = Arc::<RecordingSink>::default();
        let traced = |id| {
            named(id, Name::Get).map(|request| NamedRequest {
                is_traced: true,
                ..request
            })
        };
        let requests = vec![traced(1), traced(2), named(3, Name::Get)];
        let mut guard = ReplyGuard::new(&sink, requests, meter());
        let done = |index| vec![(index, Completion::Done)];
        let origin = Origin {
            attempts: 2,
            ..Origin::default()
        };
        guard.complete(done(0), &Delivery::now(origin).shared());
        guard.complete(done(1), &Delivery::now(Origin::default()));
        guard.complete(done(2), &Delivery::now(origin));
        let sent = sink.take();
        assert_eq!(sent.len(), 4, "{sent:?}");
        let (request, served) = &sent[0];
        assert_eq!(*request, 1);
        assert!(served.contains("attempts: 2") && served.contains("is_shared: true"));
        assert_eq!(sent[2], (2, "Done".into()), "it was not sent");
        assert_eq!(sent[3], (3, "Done".into()), "it is not traced");
    }

    #[tokio::test(start_paused = true)]
    async fn latencies_last_from_the_issue_to_the_completion() {
        let sink = Arc::<RecordingSink>::default();
        let meter = meter();
        let requests = vec![
            named(1, Name::Touch),
            named(2, Name::All),
            named(3, Name::Set),
        ];
        let mut guard = ReplyGuard::new(&sink, requests, meter.clone());
        tokio::time::advance(Duration::from_millis(3)).await;
        let delivery = Delivery::now(Origin::default());
        let conflict = Completion::Conflict(Vec::new());
        let completions = vec![(0, Completion::Done), (1, Completion::More), (2, conflict)];
        guard.complete(completions, &delivery);
        let touch = &meter.stats.figures()[Name::Touch as usize];
        assert_eq!(touch.sum, Duration::from_millis(3));
        assert_eq!(touch.counts[6], 1, "up to 5 ms");
        assert_eq!(recorded(&meter, Name::All), 0, "another page follows");
        assert_eq!(recorded(&meter, Name::Set), 0, "a decision follows");
        assert_eq!(meter.counters.pending.load(Ordering::Relaxed), 0);
    }
}
