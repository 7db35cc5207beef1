//! The events that the nodes report to the router.

use super::jobs::Routed;
use super::slot_map::SlotMap;
use crate::connection::job::Reply;
use crate::connection::origin::ServerId;
use crate::connection::status::Event;
use crate::connection::tracking::TrackingEvent;
use crate::error::Error;
use crate::options::Node;

/// An event from a node's connection or from a topology refresh.
pub(super) enum RouterEvent {
    /// Replies of a node.
    Replies(Node, Vec<(Routed, Reply)>, ServerId),
    /// A change in the state of a node's connection.
    Node(Node, Event),
    /// A client tracking event, in order with the replies.
    Tracking(TrackingEvent),
    /// The result of a topology refresh.
    SlotMap(Result<SlotMap, Error>),
}
