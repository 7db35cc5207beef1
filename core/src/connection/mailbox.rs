//! The mailbox: messages from the handles of a connection to the task behind it.

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

/// Receives the primaries, for a caller that scans their keys.
pub(super) type PrimariesSender = oneshot::Sender<Result<Vec<Connection>, Error>>;

/// A message from a handle to the task behind it.
pub(super) enum Message {
    Job(Job),
    /// Requests the primaries; sent to clusters only.
    Primaries(PrimariesSender),
    Watch(Weak<dyn Watch>),
    /// The credentials that the task asked for, or the reason why the app's function failed.
    Credentials(Result<Credentials, String>),
    /// Replaces the credentials.
    Renewal(Credentials),
    /// The executor of the client transport.
    #[expect(
        dead_code,
        reason = "unused since lib/backends/client runs commands on the app's client"
    )]
    Executor(Arc<dyn Executor>),
    /// A message from the app's client.
    Said(Said),
    /// Sends the waiting commands over another connection, if this one has never served.
    HandOver(Connection),
    /// Ends the task after the commands sent so far have completed.
    Close(oneshot::Sender<()>),
}

/// Credentials, as the app's function returned them.
#[derive(Clone, Debug)]
pub struct Credentials {
    pub username: Option<String>,
    /// `None` for no authentication.
    pub password: Option<Secret>,
    /// The time after which the credentials expire.
    pub expires_in: Option<Duration>,
}

/// The receiving end of the messages.
pub(super) struct Mailbox {
    messages: mpsc::UnboundedReceiver<Message>,
    /// True once no message can arrive any more. The channel's own `is_closed` is not enough: it becomes true as soon
    /// as the last handle is dropped, which a job may have held, while `next` is not being polled.
    is_exhausted: bool,
    /// Set by a `Close`, or when the last handle is dropped. Holds the callers that wait for the end of the task.
    closing: Option<Vec<oneshot::Sender<()>>>,
}

impl Mailbox {
    pub(super) fn new(messages: mpsc::UnboundedReceiver<Message>) -> Self {
        Self {
            messages,
            is_exhausted: false,
            closing: None,
        }
    }

    /// Returns the next message. Records a `Close`, and returns `None` for it. Never resolves once no message can
    /// arrive any more. Cancel-safe.
    pub(super) async fn next(&mut self) -> Option<Message> {
        if self.is_exhausted {
            return pending().await;
        }
        let message = self.messages.recv().await;
        if message.is_none() {
            // All handles have been dropped.
            self.is_exhausted = true;
            self.closing.get_or_insert_default();
        }
        message.and_then(|message| self.filter_close(message))
    }

    /// Returns the next message if it has arrived already.
    pub(super) fn try_next(&mut self) -> Option<Message> {
        while let Ok(message) = self.messages.try_recv() {
            if let Some(message) = self.filter_close(message) {
                return Some(message);
            }
        }
        None
    }

    /// Records a `Close`, and returns any other message.
    fn filter_close(&mut self, message: Message) -> Option<Message> {
        match message {
            Message::Close(done) => {
                self.closing.get_or_insert_default().push(done);
                None
            }
            message => Some(message),
        }
    }

    /// Returns true if the task must start nothing new, and end once the commands sent so far have completed.
    pub(super) fn is_closing(&self) -> bool {
        self.closing.is_some()
    }

    /// Returns the number of messages waiting in the mailbox.
    pub(super) fn len(&self) -> usize {
        self.messages.len()
    }

    /// Refuses further messages. Those already sent can still be received.
    pub(super) fn shut(&mut self) {
        self.messages.close();
    }

    /// Notifies the callers of `close` that the task has ended.
    pub(super) fn notify_ended(&mut self) {
        for done in self.closing.take().into_iter().flatten() {
            // The caller may have stopped waiting.
            let _ = done.send(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    fn mailbox() -> (mpsc::UnboundedSender<Message>, Mailbox) {
        let (handle, messages) = mpsc::unbounded_channel();
        (handle, Mailbox::new(messages))
    }

    fn credentials() -> Message {
        Message::Credentials(Err("none".into()))
    }

    #[test]
    fn next_resolves_once_when_the_last_handle_was_dropped_between_polls() {
        let (handle, mut mailbox) = mailbox();
        assert!(mailbox.next().now_or_never().is_none());
        drop(handle);
        assert!(!mailbox.is_closing());
        assert!(matches!(mailbox.next().now_or_never(), Some(None)));
        assert!(mailbox.is_closing());
        // Reported once: a further `next` is not woken repeatedly.
        assert!(mailbox.next().now_or_never().is_none());
    }

    #[test]
    fn next_returns_pending_messages_before_the_end_when_the_last_handle_is_dropped() {
        let (handle, mut mailbox) = mailbox();
        assert!(handle.send(credentials()).is_ok());
        drop(handle);
        assert!(matches!(
            mailbox.next().now_or_never(),
            Some(Some(Message::Credentials(_)))
        ));
        assert!(!mailbox.is_closing());
        assert!(matches!(mailbox.next().now_or_never(), Some(None)));
        assert!(mailbox.is_closing());
    }

    #[test]
    fn close_is_confirmed_when_the_task_has_ended() {
        let (handle, mut mailbox) = mailbox();
        let (done, mut ended) = oneshot::channel();
        assert!(handle.send(Message::Close(done)).is_ok());
        assert!(handle.send(credentials()).is_ok());
        assert!(matches!(mailbox.next().now_or_never(), Some(None)));
        assert!(mailbox.is_closing() && ended.try_recv().is_err());
        mailbox.shut();
        assert!(handle.send(credentials()).is_err());
        assert!(mailbox.try_next().is_some() && mailbox.try_next().is_none());
        mailbox.notify_ended();
        assert!(ended.try_recv().is_ok());
    }
}
