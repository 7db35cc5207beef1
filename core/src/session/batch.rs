//! Processes the requests of a batch in order: fills pipelines, and starts tasks for operations on all sessions.

use super::cached::{CacheIntent, Issued};
use super::completion::{Completion, CompletionSink};
use super::eager::begun;
use super::expiry::{Clock, ReportEnd};
use super::in_flight::InFlightGuard;
use super::in_flight_batch::{InFlightBatch, read};
use super::meter::Meter;
use super::pipeline::Pipeline;
use super::reply_guard::{NamedRequest, ReplyGuard};
use super::request::{
    Bulk, Lane, Name, Operation, Request, RequestId, ScanId, ScriptRequest, SessionRequest,
};
use super::script::Script;
use super::sessions::Sessions;
use super::stored::Stored;
use crate::cache::Moment;
use crate::connection::{Delivery, Origin, Reply};
use std::future::Future;
use std::sync::Arc;
use tokio::runtime::Handle;

/// The maximum number of requests in a pipeline: the first of ten thousand need not wait for the last.
const MAX_REQUESTS: usize = 128;

impl Sessions {
    /// Sends the requests of a batch in order; operations on all sessions and `close` continue in their own tasks.
    /// `issued` is the result of [`Self::issue`], and `clock` is JavaScript's, both from when the batch was issued.
    pub fn run<A: CompletionSink>(
        &self,
        requests: &[Request],
        bytes: &[u8],
        issued: Issued,
        clock: Clock,
        answers: &Arc<A>,
        tasks: &Handle,
    ) {
        let capacity = requests.len().min(MAX_REQUESTS);
        let mut batch = Batch {
            sessions: self,
            meter: self.meter(issued.at),
            bytes,
            clock,
            answers,
            tasks,
            pipeline: Pipeline::with_capacity(Moment::now(), capacity, bytes.len()),
            key: Vec::new(),
        };
        let mut intents = issued.intents.into_iter();
        for request in requests {
            batch.add(request, intents.next().unwrap_or_default());
        }
        batch.send();
    }
}

struct Batch<'a, A: CompletionSink> {
    sessions: &'a Sessions,
    meter: Meter,
    /// The IDs, values and bases of the requests.
    bytes: &'a [u8],
    clock: Clock,
    answers: &'a Arc<A>,
    tasks: &'a Handle,
    /// The pipeline that is sent next.
    pipeline: Pipeline,
    /// A buffer for a key.
    key: Vec<u8>,
}

impl<A: CompletionSink> Batch<'_, A> {
    fn add(&mut self, request: &Request, intent: CacheIntent) {
        match request {
            Request::Session(request) => self.session(request, intent),
            Request::Bulk {
                request,
                bulk,
                is_traced,
            } => self.bulk(*request, *bulk, *is_traced),
            Request::Abort(request, aborted) => self.abort(*request, *aborted),
            Request::Page {
                request,
                scan,
                is_traced,
            } => self.page(*request, *scan, *is_traced),
            Request::Script(request) => self.script(request),
            Request::Close(request) => self.close(*request),
        }
    }

    fn session(&mut self, request: &SessionRequest, intent: CacheIntent) {
        let bytes = self.bytes;
        self.sessions
            .keys
            .key_into(&bytes[request.id.clone()], &mut self.key);
        if let Operation::Get(report_end) = request.operation
            && self.join(request, report_end)
        {
            return;
        }
        let stored = Stored {
            key: &self.key,
            value: &bytes[request.value.clone()],
            base: &bytes[request.base.clone()],
            ttl: request.ttl,
        };
        self.pipeline.add(self.sessions, request, &stored, intent);
        if self.pipeline.len() == MAX_REQUESTS {
            self.send();
        }
    }

    /// Joins a single-flight read of the same key, if there is one that may be shared.
    fn join(&self, request: &SessionRequest, report_end: ReportEnd) -> bool {
        let connection = self.sessions.connection();
        if !connection.may_join_read(self.pipeline.len()) {
            return false;
        }
        connection
            .single_flight()
            .join(&self.key, self.pipeline.now, || {
                let named = NamedRequest::of(request, &self.key);
                let guard = ReplyGuard::new(self.answers, vec![Some(named)], self.meter.clone());
                let in_flight = self.sessions.in_flight.begin();
                let server = connection.server().clone();
                let clock = self.clock;
                move |text: &Reply, left: &Reply, delivery: Delivery| {
                    let now = clock.now();
                    let completion = read(report_end, &server, now, text.clone(), left.clone());
                    guard.finish_at(completion, &delivery.shared());
                    drop(in_flight);
                }
            })
    }

    fn bulk(&mut self, request: RequestId, bulk: Bulk, is_traced: bool) {
        self.send();
        let meter = self.meter.clone();
        let guard = ReplyGuard::one(self.answers, request, bulk.name(), is_traced, meter);
        self.sessions.running_bulk.begin(request);
        let task = self.sessions.clone().run_bulk(bulk, request, guard);
        self.begin(task, self.sessions.in_flight.begin());
    }

    /// Completes at once. Not an operation of its own, so it is not counted.
    fn abort(&mut self, request: RequestId, aborted: RequestId) {
        self.sessions.running_bulk.stop(aborted);
        let lane = Lane::of_request(request);
        self.answers
            .complete(vec![(request, lane, Completion::Done)]);
    }

    fn script(&mut self, request: &ScriptRequest) {
        self.send();
        let meter = self.meter.clone();
        // A malformed script abandons its request.
        let guard = ReplyGuard::one(self.answers, request.request, Name::Script, false, meter);
        if let Some(script) = Script::new(request, self.bytes) {
            let sessions = self.sessions.clone();
            let task = sessions.run_script(script, request.request, guard);
            self.begin(task, self.sessions.in_flight.begin());
        }
    }

    fn page(&mut self, request: RequestId, scan: ScanId, is_traced: bool) {
        self.send();
        let answers = Arc::clone(self.answers);
        // The scan itself makes `close` wait.
        let page = self.sessions.clone().page(
            scan,
            (request, is_traced),
            self.clock,
            answers,
            self.meter.clone(),
        );
        self.begin(page, None);
    }

    fn close(&mut self, request: RequestId) {
        self.send();
        let guard = ReplyGuard::one(
            self.answers,
            request,
            Name::Close,
            false,
            self.meter.clone(),
        );
        let sessions = self.sessions.clone();
        self.tasks.spawn(async move {
            // Other stores may share the connection: this store's operations must end first.
            sessions.in_flight.ended().await;
            sessions.lease.end().await;
            guard.finish(Completion::Done, Origin::default());
        });
    }

    /// Starts a task whose first commands are sent in order with the pipelines.
    fn begin(&self, task: impl Future<Output = ()> + Send + 'static, in_flight: InFlightGuard) {
        if let Some(task) = begun(task) {
            self.tasks.spawn(async move {
                task.await;
                drop(in_flight);
            });
        }
    }

    fn send(&mut self) {
        let pipeline = self.pipeline.take();
        if pipeline.len() == 0 {
            return;
        }
        let (commands, batch) = InFlightBatch::of(
            pipeline,
            self.sessions,
            self.clock,
            self.answers,
            self.tasks,
            self.meter.clone(),
        );
        self.sessions.connection().send(commands, Box::new(batch));
    }
}
