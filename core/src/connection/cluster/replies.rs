//! Replies of nodes: each completes its command, or the command is retried.

use super::jobs::Routed;
use super::router::Router;
use super::slot_map::Redirect;
use crate::connection::commands::Access;
use crate::connection::job::{Place, Reply};
use crate::connection::origin::ServerId;
use crate::connection::retry_policy::{MAX_HANG_UPS, RetryPolicy};
use crate::error::Error;
use crate::observers::{Observation, kind};
use crate::options::Node;
use tokio::time::Instant;

/// The number of attempts after which another redirect counts as a loop between nodes that disagree.
const MAX_REDIRECTS: u32 = 4;

/// Collects final replies, grouped by job.
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
    /// Handles the replies of a node: completes commands, or parks them for a retry.
    pub(super) fn handle_replies(
        &mut self,
        node: &Node,
        replies: Vec<(Routed, Reply)>,
        server: ServerId,
    ) {
        let mut answers = ReplyCollector::default();
        let mut retries = 0;
        for ((place, slot), reply) in replies {
            self.note_returned(slot);
            // It may have expired in the meantime.
            if self.jobs.get_mut(place).is_none() {
                continue;
            }
            // An earlier command is parked, and its retry would overwrite this write.
            if self.jobs.access(place) == Access::Write && self.follows_parked(slot, place) {
                self.park(slot, place, None);
                retries += 1;
                continue;
            }
            let reply = match reply {
                Ok(value) => Ok(value),
                Err(error) => match self.retry(node, place, slot, error) {
                    Some(error) => Err(error),
                    None => {
                        retries += 1;
                        continue;
                    }
                },
            };
            self.parked.note_served(slot);
            answers.add(place, reply);
        }
        self.shared.report_retries(retries);
        for (job, replies) in answers.0 {
            self.jobs.complete(job, replies, server);
        }
    }

    /// Notes that a command of the slot has returned.
    fn note_returned(&mut self, slot: u16) {
        let in_flight = &mut self.in_flight[usize::from(slot)];
        *in_flight -= 1;
        if *in_flight == 0 {
            self.parked.note_idle(slot);
        }
    }

    /// Returns true if an earlier command is parked in the slot.
    fn follows_parked(&self, slot: u16, place: Place) -> bool {
        let first = self.parked.first(slot);
        first.is_some_and(|(first, _)| first < place)
    }

    /// Parks a command that a node did not execute, to be retried after a redirect, a lost link or a transient error.
    /// Returns the error if it is final.
    fn retry(&mut self, node: &Node, place: Place, slot: u16, mut error: Error) -> Option<Error> {
        let job = self.jobs.get_mut(place)?;
        let redirect = Redirect::parse(&error, node, &self.cluster.nat_map, &self.slot_map);
        let mut is_final = redirect.is_none() && !RetryPolicy::LostLinks.retries(&error);
        let command = job.command_mut(place.at);
        let is_redirect_loop = command
            .as_ref()
            .is_some_and(|command| command.attempts > MAX_REDIRECTS);
        if let (Error::HungUp { count, .. } | Error::UnreadableReply { count, .. }, Some(command)) =
            (&mut error, command)
        {
            command.hang_ups += 1;
            *count = command.hang_ups;
            is_final = command.hang_ups >= MAX_HANG_UPS;
        }
        if is_final {
            return Some(error);
        }
        job.last_error = Some(error.clone());
        if let Some(redirect) = &redirect {
            self.report_redirect(slot, node, redirect);
        }
        let (ask, needs_backoff) = match redirect {
            Some(Redirect::Moved(Some(owner))) => {
                self.note_moved(slot, owner);
                (None, is_redirect_loop)
            }
            // The topology refresh finds the new owner.
            Some(Redirect::Moved(None)) => {
                self.clear_cache("a slot has moved");
                self.refresh_soon();
                (None, true)
            }
            Some(Redirect::Ask(None)) => (None, true),
            Some(Redirect::Ask(Some(owner))) => {
                self.nodes.open(&owner);
                let needs_backoff = is_redirect_loop || self.is_failing(&owner);
                (Some(owner), needs_backoff)
            }
            None => {
                self.refresh_soon();
                (
                    None,
                    error.is_transient() && !self.avoid_replica(node, slot),
                )
            }
        };
        self.park(slot, place, ask);
        if needs_backoff {
            self.parked.back_off(slot, error, Instant::now());
        } else {
            self.parked.note_served(slot);
        }
        None
    }

    /// Reports a redirect; `MOVED` once for all commands that were in flight in the slot.
    fn report_redirect(&self, slot: u16, from: &Node, redirect: &Redirect) {
        let (redirect, to) = match redirect {
            Redirect::Moved(to) if to.is_some() && self.slot_map.primary(slot) == to.as_ref() => {
                return;
            }
            Redirect::Moved(to) => ("MOVED", to),
            Redirect::Ask(to) => ("ASK", to),
        };
        self.shared
            .observers
            .report(kind::CHANGES, || Observation::Redirected {
                server: self.shared.server.clone(),
                redirect,
                slot,
                from: from.to_string(),
                to: to.as_ref().map(Node::to_string),
            });
    }

    /// Avoids a replica that returned a transient error. Returns false if the node is not a replica of the slot.
    fn avoid_replica(&mut self, node: &Node, slot: u16) -> bool {
        let shard = self.slot_map.shard(slot);
        let is_replica = shard.is_some_and(|shard| shard.replicas.contains(node));
        if is_replica {
            self.nodes.avoid(node);
        }
        is_replica
    }
}
