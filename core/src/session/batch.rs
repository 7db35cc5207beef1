//! A batch of requests, taken in its order: what is sent together, and what runs on as a task of its own.

use super::cached::CacheIntent;
use super::eager::begun;
use super::expiry::{Clock, TellEnd};
use super::in_flight_batch::{InFlightBatch, read};
use super::pipeline::Pipeline;
use super::reply_guard::ReplyGuard;
use super::stored::Stored;
use super::{
    Bulk, Completion, CompletionSink, Lane, Operation, Request, RequestId, ScanId, SessionRequest,
    Sessions, UnderWay,
};
use crate::cache::Moment;
use crate::connection::Reply;
use std::future::Future;
use std::sync::Arc;
use tokio::runtime::Handle;

/// Requests that are sent as one: the first of ten thousand need not wait for the last.
const MOST_REQUESTS: usize = 128;

impl Sessions {
    /// Sends the requests of one batch in order; walks and the end run on as tasks of their own. `marks`
    /// were made when the batch was issued, and `clock` is that of JavaScript at that time.
    pub fn run<A: CompletionSink>(
        &self,
        requests: &[Request],
        bytes: &[u8],
        marks: Vec<CacheIntent>,
        clock: Clock,
        answers: &Arc<A>,
        tasks: &Handle,
    ) {
        let room = requests.len().min(MOST_REQUESTS);
        let mut batch = Batch {
            sessions: self,
            bytes,
            clock,
            answers,
            tasks,
            piece: Pipeline::with_room(Moment::now(), room, bytes.len()),
            key: Vec::new(),
        };
        let mut marks = marks.into_iter();
        for request in requests {
            batch.add(request, marks.next().unwrap_or_default());
        }
        batch.send();
    }
}

struct Batch<'a, A: CompletionSink> {
    sessions: &'a Sessions,
    /// The ids, values and bases of its requests.
    bytes: &'a [u8],
    clock: Clock,
    answers: &'a Arc<A>,
    tasks: &'a Handle,
    /// The pipeline that is sent next.
    piece: Pipeline,
    /// Room for a key.
    key: Vec<u8>,
}

impl<A: CompletionSink> Batch<'_, A> {
    fn add(&mut self, request: &Request, mark: CacheIntent) {
        match request {
            Request::Session(one) => self.one(one, mark),
            Request::Bulk(request, bulk) => self.walk(*request, *bulk),
            Request::Page(request, walk) => self.page(*request, *walk),
            Request::Close(request) => self.close(*request),
        }
    }

    fn one(&mut self, one: &SessionRequest, mark: CacheIntent) {
        let bytes = self.bytes;
        self.sessions
            .keys
            .key_into(&bytes[one.id.clone()], &mut self.key);
        if let Operation::Get(tell_end) = one.operation
            && self.join(one.request, tell_end)
        {
            return;
        }
        let stored = Stored {
            key: &self.key,
            value: &bytes[one.value.clone()],
            base: &bytes[one.base.clone()],
            ttl: one.ttl,
        };
        self.piece
            .add(self.sessions, one.request, one.operation, &stored, mark);
        if self.piece.len() == MOST_REQUESTS {
            self.send();
        }
    }

    /// Joins a read of the same key, if there is one that may be shared.
    fn join(&self, request: RequestId, tell_end: TellEnd) -> bool {
        let connection = self.sessions.connection();
        if !connection.may_join_read(self.piece.len()) {
            return false;
        }
        connection
            .single_flight()
            .join(&self.key, self.piece.now, || {
                let named = (request, "get", Lane::of_key(&self.key));
                let unanswered = ReplyGuard::new(self.answers, vec![Some(named)]);
                let under_way = self.sessions.begin();
                let server = connection.server().to_owned();
                let clock = self.clock;
                move |text: &Reply, left: &Reply| {
                    let now = clock.now();
                    unanswered.finish(read(tell_end, &server, now, text.clone(), left.clone()));
                    drop(under_way);
                }
            })
    }

    fn walk(&mut self, request: RequestId, bulk: Bulk) {
        self.send();
        let unanswered = ReplyGuard::one(self.answers, request, bulk.name());
        let walk = self.sessions.clone().walk(bulk, unanswered);
        self.begin(walk, self.sessions.begin());
    }

    fn page(&mut self, request: RequestId, walk: ScanId) {
        self.send();
        let answers = Arc::clone(self.answers);
        // It holds what closing waits for by itself.
        let page = self
            .sessions
            .clone()
            .page(walk, request, self.clock, answers);
        self.begin(page, None);
    }

    fn close(&mut self, request: RequestId) {
        self.send();
        let unanswered = ReplyGuard::one(self.answers, request, "close");
        let sessions = self.sessions.clone();
        self.tasks.spawn(async move {
            // Others may share the connection: what is ours must be over first.
            drop(sessions.under_way.write().await);
            sessions.lease.end().await;
            unanswered.finish(Completion::Done);
        });
    }

    /// Begins a walk in its place among what is sent.
    fn begin(&self, walk: impl Future<Output = ()> + Send + 'static, under_way: UnderWay) {
        if let Some(walk) = begun(walk) {
            self.tasks.spawn(async move {
                walk.await;
                drop(under_way);
            });
        }
    }

    fn send(&mut self) {
        let piece = self.piece.take();
        if piece.len() == 0 {
            return;
        }
        let (commands, sent) =
            InFlightBatch::of(piece, self.sessions, self.clock, self.answers, self.tasks);
        self.sessions.connection().send(commands, Box::new(sent));
    }
}
