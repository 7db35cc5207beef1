//! The client transport: commands run on the app's own client. They are sent to JavaScript among the completions, and its
//! replies and state come back through a port.

use crate::completions::Queue;
use connect_redis_core::redact;
use connect_redis_core::{Completion, CompletionSink, Lane, RequestId};
use connect_redis_core::{Executor, Port, Said};
use napi_derive::napi;
use std::sync::Arc;

/// Sends commands and questions to the app's client. Lives as long as the connection that it serves.
#[derive(Debug)]
pub(crate) struct Client {
    queue: Arc<Queue>,
    request: RequestId,
}

impl Client {
    pub(crate) fn new(queue: Arc<Queue>, request: RequestId) -> Self {
        Self { queue, request }
    }

    fn send(&self, completion: Completion) {
        let lane = Lane::of_request(self.request);
        self.queue.complete(vec![(self.request, lane, completion)]);
    }
}

impl Executor for Client {
    fn ask_state(&self) {
        self.send(Completion::Event("state", None));
    }

    fn ask_nodes(&self) {
        self.send(Completion::Event("nodes", None));
    }

    fn run(&self, batch: String) {
        self.send(Completion::Commands(batch.into_bytes()));
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.send(Completion::Ended);
    }
}

/// The port through which `lib/connection/transport.js` reports replies and state. It does not keep the connection open.
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
    /// Reports that the client is connected.
    #[napi(catch_unwind)]
    pub fn connected(&self) {
        self.port.say(Said::Connected);
    }

    /// Reports that the client is not connected at present.
    #[napi(catch_unwind)]
    pub fn away(&self, cause: String) {
        self.port.say(Said::Away(redact(&cause)));
    }

    /// Reports an error in the client, such as a failed attempt to connect.
    #[napi(catch_unwind)]
    pub fn failed(&self, cause: String) {
        self.port.say(Said::Failed(redact(&cause)));
    }

    /// Reports that the app has closed the client.
    #[napi(catch_unwind)]
    pub fn ended(&self) {
        self.port.say(Said::Ended);
    }

    /// Passes replies, encoded as [`Said::Replies`] describes.
    #[napi(catch_unwind)]
    pub fn replies(&self, bytes: &[u8]) {
        self.port.say(Said::Replies(bytes.to_vec()));
    }

    /// Passes the numbers of the nodes that store keys.
    #[napi(catch_unwind)]
    pub fn nodes(&self, numbers: Vec<u32>) {
        self.port.say(Said::Nodes(numbers));
    }

    /// Reports why the nodes could not be determined.
    #[napi(catch_unwind)]
    pub fn no_nodes(&self, cause: String) {
        self.port.say(Said::NoNodes(redact(&cause)));
    }
}
