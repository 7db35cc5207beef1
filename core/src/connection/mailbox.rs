//! The mailbox: messages from the handles of a connection to the task behind it.

use super::handle::{Message, Messages};
use std::future::pending;
use tokio::sync::oneshot;

/// The receiving end of the messages.
pub(super) struct Mailbox {
    messages: Messages,
    /// True once no message can arrive any more. The channel's own `is_closed` is not enough: it becomes true as soon
    /// as the last handle is dropped, which a job may have held, while `next` is not being polled.
    is_exhausted: bool,
    /// Set by a `Close`, or when the last handle is dropped. Holds the callers that wait for the end of the task.
    closing: Option<Vec<oneshot::Sender<()>>>,
}

impl Mailbox {
    pub(super) fn new(messages: Messages) -> Self {
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
    use tokio::sync::mpsc;

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
