//! What goes to a node at once, and how its replies come home.

use super::RouterEvent;
use super::jobs::{Place, Routed};
use crate::connection::commands::{Access, Commands, Expect};
use crate::connection::{Connection, Reply, ReplyHandler};
use crate::error::Error;
use crate::options::Node;
use std::mem;
use tokio::sync::mpsc;

/// Commands for a node.
#[derive(Default)]
pub(super) struct NodeBatch {
    commands: Commands,
    /// Whose command each is; `None` for our own.
    places: Vec<Option<Routed>>,
}

impl NodeBatch {
    /// Has a command of `commands` done by the node that has its slot.
    pub(super) fn add(&mut self, commands: &Commands, place: Place, slot: u16) {
        self.commands.copy(commands, place.at);
        self.places.push(Some((place, slot)));
    }

    /// Has a command done by a node to which its slot is on the move.
    pub(super) fn add_asking(&mut self, commands: &Commands, place: Place, slot: u16) {
        self.commands
            .add(Access::Write, Expect::Okay, None, &[b"ASKING"]);
        self.places.push(None);
        self.add(commands, place, slot);
    }

    /// Sends it. `None` in the place of a connection gives all of it back.
    pub(super) fn send(
        self,
        node: Node,
        connection: Option<&Connection>,
        events: mpsc::UnboundedSender<RouterEvent>,
    ) {
        let handler = NodeReplies {
            node,
            places: self.places,
            events,
        };
        match connection {
            Some(connection) => connection.send(self.commands, Box::new(handler)),
            None => drop(handler),
        }
    }
}

/// Brings the replies of a node home; what it never replied to, too.
struct NodeReplies {
    node: Node,
    places: Vec<Option<Routed>>,
    events: mpsc::UnboundedSender<RouterEvent>,
}

impl ReplyHandler for NodeReplies {
    fn on_replies(&mut self, replies: Vec<(usize, Reply)>) {
        let replies = replies
            .into_iter()
            .filter_map(|(at, reply)| Some((self.places.get_mut(at)?.take()?, reply)))
            .collect();
        self.report(replies);
    }
}

impl NodeReplies {
    fn report(&self, replies: Vec<(Routed, Reply)>) {
        if !replies.is_empty() {
            // The router is gone only when nobody needs to know.
            let _ = self
                .events
                .send(RouterEvent::Replies(self.node.clone(), replies));
        }
    }
}

impl Drop for NodeReplies {
    fn drop(&mut self) {
        let places = mem::take(&mut self.places);
        let lost = Error::Unreachable {
            server: format!("redis://{}", self.node),
            cause: "the node is not part of the cluster any more".into(),
        };
        let replies = places.into_iter().flatten();
        self.report(replies.map(|place| (place, Err(lost.clone()))).collect());
    }
}
