//! What the app's client is asked for, and what it says: the two sides of the boundary with JavaScript.

use crate::connection::handle::Message;
use tokio::sync::mpsc;

/// The app's client, on the other side of the boundary; it answers by a [`Port`]. Called on the
/// runtime's thread; must neither block nor wait.
pub trait Executor: Send + Sync {
    /// Asks whether it is connected, and to be told when that changes.
    fn ask_state(&self);
    /// Asks which nodes hold keys.
    fn ask_nodes(&self);
    /// Runs a batch, in order: a line of numbers, in brackets and with commas, and the words of its
    /// commands. The numbers of a command are: its own, the node (0 for any), which word is the key (0 for
    /// none, else counted from 1), 1 if it only reads, the number of words, their lengths in UTF-16 units.
    fn run(&self, batch: String);
}

/// What the app's client says.
#[derive(Debug)]
pub enum Said {
    Connected,
    /// It is not connected, but will be, as far as one knows.
    Away(String),
    /// Something failed, such as an attempt to connect.
    Failed(String),
    /// It was closed by the app.
    Ended,
    /// A RESP array of three values for each reply: the command's number; 0 for a reply of the server, 1
    /// for a failure of the connection, 2 for another one; the reply, or the client's message.
    Replies(Vec<u8>),
    /// The numbers of the nodes that hold keys.
    Nodes(Vec<u32>),
    NoNodes(String),
}

/// By which the client answers. Does not keep the connection open.
#[derive(Clone, Debug)]
pub struct Port(mpsc::WeakUnboundedSender<Message>);

impl Port {
    pub(in crate::connection) fn new(messages: &mpsc::UnboundedSender<Message>) -> Self {
        Self(messages.downgrade())
    }

    pub fn say(&self, said: Said) {
        // A connection that has ended needs no answer.
        if let Some(messages) = self.0.upgrade() {
            let _ = messages.send(Message::Said(said));
        }
    }
}
