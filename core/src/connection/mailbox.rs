//! What the task behind a connection is told by its handles, and whether it is to end.

use super::client::{Executor, Said};
use super::handle::Connection;
use super::job::Job;
use super::status::Watch;
use crate::error::Error;
use crate::options::Secret;
use std::future::pending;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// Waits for the nodes that hold keys.
pub(super) type Walker = oneshot::Sender<Result<Vec<Connection>, Error>>;

/// What a handle tells the task behind it.
pub(super) enum Message {
    Job(Job),
    /// Which nodes hold keys; asked of clusters only.
    Primaries(Walker),
    Watch(Weak<dyn Watch>),
    /// What was asked for, or why it is not to be had.
    Credentials(Result<Credentials, String>),
    /// What takes the place of the credentials so far.
    Renewal(Credentials),
    /// Of the app's client only: it, and what it says.
    Executor(Arc<dyn Executor>),
    Said(Said),
    /// Has what waits for a connection that never served sent over another one.
    HandOver(Connection),
    /// Finish what came before, then end.
    Close(oneshot::Sender<()>),
}

/// Who to be for the server, as a function of the app gave it.
#[derive(Clone, Debug)]
pub struct Credentials {
    pub username: Option<String>,
    /// `None` for nobody.
    pub password: Option<Secret>,
    /// After this time they are not valid any more.
    pub expires_in: Option<Duration>,
}

pub(super) struct Mailbox {
    messages: mpsc::UnboundedReceiver<Message>,
    /// Nothing can come any more. Not what the channel says of itself: it counts as closed as soon as the last
    /// handle is gone, which may be one that a job held and that went while nobody waited here.
    is_over: bool,
    /// Set once by a `Close`, or by the last handle's end: these are told when it is over.
    closing: Option<Vec<oneshot::Sender<()>>>,
}

impl Mailbox {
    pub(super) fn new(messages: mpsc::UnboundedReceiver<Message>) -> Self {
        Self {
            messages,
            is_over: false,
            closing: None,
        }
    }

    /// The next message, but for a `Close`: that is taken note of here, and `None` given. Never resolves when
    /// nothing can come any more. Nothing is lost when it is dropped.
    pub(super) async fn next(&mut self) -> Option<Message> {
        if self.is_over {
            return pending().await;
        }
        let message = self.messages.recv().await;
        if message.is_none() {
            // Every handle is gone: nobody can send or ask any more.
            self.is_over = true;
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

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    fn inbox() -> (mpsc::UnboundedSender<Message>, Mailbox) {
        let (handle, messages) = mpsc::unbounded_channel();
        (handle, Mailbox::new(messages))
    }

    fn credentials() -> Message {
        Message::Credentials(Err("none".into()))
    }

    #[test]
    fn the_last_handle_may_go_while_nobody_waits() {
        let (handle, mut inbox) = inbox();
        assert!(inbox.next().now_or_never().is_none());
        drop(handle);
        assert!(!inbox.is_closing());
        assert!(matches!(inbox.next().now_or_never(), Some(None)));
        assert!(inbox.is_closing());
        // TrackingEvent once: who waits on is not woken again and again.
        assert!(inbox.next().now_or_never().is_none());
    }

    #[test]
    fn what_the_last_handle_sent_is_taken_first() {
        let (handle, mut inbox) = inbox();
        assert!(handle.send(credentials()).is_ok());
        drop(handle);
        assert!(matches!(
            inbox.next().now_or_never(),
            Some(Some(Message::Credentials(_)))
        ));
        assert!(!inbox.is_closing());
        assert!(matches!(inbox.next().now_or_never(), Some(None)));
        assert!(inbox.is_closing());
    }

    #[test]
    fn who_asks_for_the_end_is_told_of_it() {
        let (handle, mut inbox) = inbox();
        let (done, mut ended) = oneshot::channel();
        assert!(handle.send(Message::Close(done)).is_ok());
        assert!(handle.send(credentials()).is_ok());
        assert!(matches!(inbox.next().now_or_never(), Some(None)));
        assert!(inbox.is_closing() && ended.try_recv().is_err());
        inbox.shut();
        assert!(handle.send(credentials()).is_err());
        assert!(inbox.try_next().is_some() && inbox.try_next().is_none());
        inbox.tell_ended();
        assert!(ended.try_recv().is_ok());
    }
}
