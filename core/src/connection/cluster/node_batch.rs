//! Commands that are sent to a node together, and the reply handler that returns the replies to the router.

use super::events::RouterEvent;
use super::jobs::Routed;
use crate::connection::commands::{Access, Commands, Expect};
use crate::connection::handle::Connection;
use crate::connection::job::{Place, Reply, ReplyHandler};
use crate::connection::origin::{Origin, ServerId};
use crate::error::Error;
use crate::options::{Address, Node};
use crate::server::Server;
use std::mem;
use tokio::sync::mpsc;

/// Commands for one node.
#[derive(Default)]
pub(super) struct NodeBatch {
    commands: Commands,
    /// The place of each command; `None` for an `ASKING` of the router.
    places: Vec<Option<Routed>>,
}

impl NodeBatch {
    /// Adds the command at `place`. `asks` is true for a node that imports its slot: `ASKING` precedes the command.
    pub(super) fn add(&mut self, commands: &Commands, place: Place, slot: u16, asks: bool) {
        if asks {
            self.commands
                .add(Access::Write, Expect::Okay, None, &[b"ASKING"]);
            self.places.push(None);
        }
        self.commands.copy(commands, place.at);
        self.places.push(Some((place, slot)));
    }

    /// Sends the commands. Without a connection, reports all of them as not executed.
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

/// Reports the replies of a node to the router; on drop, reports an error for each command without a reply.
struct NodeReplies {
    node: Node,
    places: Vec<Option<Routed>>,
    events: mpsc::UnboundedSender<RouterEvent>,
}

impl ReplyHandler for NodeReplies {
    fn on_replies(&mut self, replies: Vec<(usize, Reply)>, origin: Origin) {
        let replies = replies
            .into_iter()
            .filter_map(|(at, reply)| Some((self.places.get_mut(at)?.take()?, reply)))
            .collect();
        self.report(replies, origin.server);
    }
}

impl NodeReplies {
    fn report(&self, replies: Vec<(Routed, Reply)>, server: ServerId) {
        if !replies.is_empty() {
            // The router ends only when no caller is left.
            let _ = self
                .events
                .send(RouterEvent::Replies(self.node.clone(), replies, server));
        }
    }
}

impl Drop for NodeReplies {
    fn drop(&mut self) {
        let places = mem::take(&mut self.places);
        let lost = Error::Unreachable {
            server: Server::new(
                format!("redis://{}", self.node),
                Some(Address::Tcp(self.node.clone())),
                true,
            ),
            cause: "the node is no longer part of the cluster".into(),
        };
        let replies = places.into_iter().flatten();
        let replies = replies.map(|place| (place, Err(lost.clone())));
        self.report(replies.collect(), ServerId::default());
    }
}
