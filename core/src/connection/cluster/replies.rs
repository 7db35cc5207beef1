//! What becomes of the replies of nodes: answers, or further tries.

use super::Router;
use super::jobs::{Place, Routed};
use super::slot_map::Redirection;
use crate::connection::Reply;
use crate::connection::commands::Access;
use crate::connection::supervisor::slow_start::MAX_HANG_UPS;
use crate::error::Error;
use crate::options::Node;
use tokio::time::Instant;

/// A command that was sent so often and is still sent on goes round among nodes that do not agree.
const MOST_HOPS: u32 = 4;

/// Final replies, those to one job together.
#[derive(Default)]
struct ReplyCollector(Vec<(u64, Vec<(usize, Reply)>)>);

impl ReplyCollector {
    fn add(&mut self, place: Place, reply: Reply) {
        match self.0.last_mut() {
            Some((job, replies)) if *job == place.job => replies.push((place.at, reply)),
            _ => self.0.push((place.job, vec![(place.at, reply)])),
        }
    }
}

impl Router {
    pub(super) fn take_replies(&mut self, node: &Node, replies: Vec<(Routed, Reply)>) {
        let mut answers = ReplyCollector::default();
        for ((place, slot), reply) in replies {
            self.note_back(slot);
            // Its time may have run out meanwhile.
            if self.jobs.of(place).is_none() {
                continue;
            }
            // One before it is yet to be done: it would be undone by that.
            if self.jobs.access(place) == Access::Write && self.is_behind(slot, place) {
                self.park(slot, place, None);
                continue;
            }
            let reply = match reply {
                Ok(value) => Ok(value),
                Err(error) => match self.try_again(node, place, slot, error) {
                    Some(error) => Err(error),
                    None => continue,
                },
            };
            self.parked.note_served(slot);
            answers.add(place, reply);
        }
        for (job, replies) in answers.0 {
            self.jobs.settle(job, replies);
        }
    }

    /// A command of the slot has come back.
    fn note_back(&mut self, slot: u16) {
        let under_way = &mut self.under_way[usize::from(slot)];
        *under_way -= 1;
        if *under_way == 0 {
            self.parked.come_back(slot);
        }
    }

    /// Whether one that was sent before is parked in the slot.
    fn is_behind(&self, slot: u16, place: Place) -> bool {
        let first = self.parked.first(slot);
        first.is_some_and(|(first, _)| first < place)
    }

    /// Parks a command that a node has not done, to be sent again. Gives the error if that is the answer.
    fn try_again(
        &mut self,
        node: &Node,
        place: Place,
        slot: u16,
        mut error: Error,
    ) -> Option<Error> {
        let work = self.jobs.of(place)?;
        let redirection = Redirection::read(&error, node, &self.cluster.nat_map, &self.slots);
        let mut is_final = redirection.is_none() && !error.is_passing() && !error.is_loss();
        let open = work.open_at(place.at);
        let goes_round = open.as_ref().is_some_and(|open| open.sent > MOST_HOPS);
        if let (Error::HungUp { count, .. } | Error::UnreadableReply { count, .. }, Some(open)) =
            (&mut error, open)
        {
            open.hang_ups += 1;
            *count = open.hang_ups;
            is_final = open.hang_ups >= MAX_HANG_UPS;
        }
        if is_final {
            return Some(error);
        }
        work.trouble = Some(error.clone());
        let (ask, is_put_off) = match redirection {
            Some(Redirection::Moved(Some(owner))) => {
                self.note_moved(slot, owner);
                (None, goes_round)
            }
            // The node that has it is found by asking for the slots.
            Some(Redirection::Moved(None)) => {
                self.note_change();
                self.hurry();
                (None, true)
            }
            Some(Redirection::Ask(None)) => (None, true),
            Some(Redirection::Ask(Some(owner))) => {
                self.members.open(&owner);
                let is_put_off = goes_round || self.is_in_trouble(&owner);
                (Some(owner), is_put_off)
            }
            None => {
                self.hurry();
                (None, error.is_passing() && !self.avoid(node, slot))
            }
        };
        self.park(slot, place, ask);
        if is_put_off {
            self.parked.put_off(slot, error, Instant::now());
        } else {
            self.parked.note_served(slot);
        }
        None
    }

    /// Has a node that put something off not be read from for a while; whether it is a replica.
    fn avoid(&mut self, node: &Node, slot: u16) -> bool {
        let shard = self.slots.shard(slot);
        let is_replica = shard.is_some_and(|shard| shard.replicas.contains(node));
        if is_replica {
            self.members.avoid(node);
        }
        is_replica
    }
}
