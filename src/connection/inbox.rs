//! What the task behind a connection is told by its handles, and whether it is to end.

use super::Message;
use std::future::pending;
use tokio::sync::{mpsc, oneshot};

pub(super) struct Inbox {
    messages: mpsc::UnboundedReceiver<Message>,
    /// Set once by a `Close`, or by the last handle's end: these are told when it is over.
    closing: Option<Vec<oneshot::Sender<()>>>,
}

impl Inbox {
    pub(super) fn new(messages: mpsc::UnboundedReceiver<Message>) -> Self {
        Self {
            messages,
            closing: None,
        }
    }

    /// The next message, but for a `Close`: that is taken note of here, and `None` given. Never resolves when
    /// nothing can come any more. Nothing is lost when it is dropped.
    pub(super) async fn next(&mut self) -> Option<Message> {
        if self.messages.is_closed() && self.messages.is_empty() {
            return pending().await;
        }
        let message = self.messages.recv().await;
        if message.is_none() {
            // Every handle is gone: nobody can send or ask any more.
            self.messages.close();
            self.closing.get_or_insert_default();
        }
        message.and_then(|message| self.sort(message))
    }

    /// The next message, if it has come already.
    pub(super) fn try_next(&mut self) -> Option<Message> {
        while let Ok(message) = self.messages.try_recv() {
            if let Some(message) = self.sort(message) {
                return Some(message);
            }
        }
        None
    }

    fn sort(&mut self, message: Message) -> Option<Message> {
        match message {
            Message::Close(done) => {
                self.closing.get_or_insert_default().push(done);
                None
            }
            message => Some(message),
        }
    }

    /// Nothing new is to be begun, and the task ends when all is done.
    pub(super) fn is_closing(&self) -> bool {
        self.closing.is_some()
    }

    /// Messages that have come and were not taken.
    pub(super) fn len(&self) -> usize {
        self.messages.len()
    }

    /// Nobody can send any more; what has been sent can still be taken.
    pub(super) fn shut(&mut self) {
        self.messages.close();
    }

    /// It is over.
    pub(super) fn tell_ended(&mut self) {
        for done in self.closing.take().into_iter().flatten() {
            // Whoever asked may have stopped waiting.
            let _ = done.send(());
        }
    }
}
