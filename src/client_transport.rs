//! The app's own client as what runs commands: they go out to it among the completions, and what it says
//! comes back by a port.

use crate::completions::Queue;
use connect_redis_core::redact;
use connect_redis_core::{Completion, CompletionSink, Lane, RequestId};
use connect_redis_core::{Executor, Port, Said};
use napi_derive::napi;
use std::sync::Arc;

/// Lives as long as the connection that it serves.
#[derive(Debug)]
pub(crate) struct Client {
    answers: Arc<Queue>,
    request: RequestId,
}

impl Client {
    pub(crate) fn new(answers: Arc<Queue>, request: RequestId) -> Self {
        Self { answers, request }
    }

    fn tell(&self, answer: Completion) {
        let lane = Lane::of_request(self.request);
        self.answers.answer(vec![(self.request, lane, answer)]);
    }
}

impl Executor for Client {
    fn ask_state(&self) {
        self.tell(Completion::Event("state", None));
    }

    fn ask_nodes(&self) {
        self.tell(Completion::Event("nodes", None));
    }

    fn run(&self, batch: String) {
        self.tell(Completion::Commands(batch.into_bytes()));
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.tell(Completion::Ended);
    }
}

/// By which `lib/connection/transport.js` answers. Does not keep the connection open.
#[napi]
#[derive(Debug)]
pub struct ClientPort {
    port: Port,
}

impl ClientPort {
    pub(crate) fn new(port: Port) -> Self {
        Self { port }
    }
}

#[napi]
impl ClientPort {
    /// The client is connected.
    #[napi(catch_unwind)]
    pub fn connected(&self) {
        self.port.say(Said::Connected);
    }

    /// The client is not connected at the moment.
    #[napi(catch_unwind)]
    pub fn away(&self, cause: String) {
        self.port.say(Said::Away(redact(&cause)));
    }

    /// Something failed in the client, such as an attempt to connect.
    #[napi(catch_unwind)]
    pub fn failed(&self, cause: String) {
        self.port.say(Said::Failed(redact(&cause)));
    }

    /// The app has closed the client.
    #[napi(catch_unwind)]
    pub fn ended(&self) {
        self.port.say(Said::Ended);
    }

    /// Replies, as [`Said::Replies`] describes them.
    #[napi(catch_unwind)]
    pub fn replies(&self, bytes: &[u8]) {
        self.port.say(Said::Replies(bytes.to_vec()));
    }

    /// The numbers of the nodes that hold keys.
    #[napi(catch_unwind)]
    pub fn nodes(&self, numbers: Vec<u32>) {
        self.port.say(Said::Nodes(numbers));
    }

    /// Why the nodes could not be found out.
    #[napi(catch_unwind)]
    pub fn no_nodes(&self, cause: String) {
        self.port.say(Said::NoNodes(redact(&cause)));
    }
}
