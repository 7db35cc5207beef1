//! Parked commands: commands that wait, slot by slot, until a node can take them.
//!
//! While a cluster is unreachable, all commands wait here. So no work of the router's loop may grow with their number.

use crate::connection::backoff::Backoff;
use crate::connection::job::Place;
use crate::error::Error;
use crate::options::Node;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::mem;
use tokio::time::Instant;

/// The parked commands of all slots.
#[derive(Default)]
pub(super) struct Parked {
    /// The queue of each slot; none is empty.
    slots: HashMap<u16, SlotQueue>,
    /// Slots whose in-flight commands must return before another command is sent.
    held: HashSet<u16>,
    /// The number of parked commands that are the first of an operation.
    operations: usize,
    /// Slots whose first command may be ready to send.
    due: Vec<u16>,
    /// Slots whose last command got a transient error.
    backoffs: HashMap<u16, SlotBackoff>,
    /// The times at which their backoff ends.
    retry_times: BTreeSet<(Instant, u16)>,
}

/// The parked commands of a slot, in order.
type SlotQueue = BTreeMap<Place, ParkedCommand>;

/// The backoff of a slot after a transient error.
struct SlotBackoff {
    until: Instant,
    backoff: Backoff,
    error: Error,
}

/// A parked command.
pub(super) struct ParkedCommand {
    /// The target of an `ASK` redirect, for this attempt only.
    pub(super) ask: Option<Node>,
    /// True if it is the first command of an operation.
    pub(super) is_operation: bool,
}

impl Parked {
    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Returns true if new commands for the slot must wait.
    pub(super) fn must_wait(&self, slot: u16) -> bool {
        self.slots.contains_key(&slot) || self.held.contains(&slot)
    }

    /// Holds the slot: new commands wait until its in-flight commands have returned.
    pub(super) fn hold(&mut self, slot: u16) {
        self.held.insert(slot);
    }

    /// Notes that no command of the slot is in flight any more.
    pub(super) fn note_idle(&mut self, slot: u16) {
        if !self.held.is_empty() {
            self.held.remove(&slot);
        }
        self.mark_due(slot);
    }

    /// Returns the number of parked operations.
    pub(super) fn operations(&self) -> usize {
        self.operations
    }

    /// Parks a command. It must not be parked already.
    pub(super) fn add(&mut self, slot: u16, place: Place, command: ParkedCommand) {
        let queue = self.slots.entry(slot).or_default();
        self.operations += usize::from(command.is_operation);
        queue.insert(place, command);
        // A command behind others does not make the slot due.
        if queue.len() == 1 {
            self.due.push(slot);
        }
    }

    /// Backs off after a transient error in the slot: after the pause, a single command is sent.
    pub(super) fn back_off(&mut self, slot: u16, error: Error, now: Instant) {
        let mut backoff = match self.backoffs.get(&slot) {
            // It failed together with other commands.
            Some(last) if last.until > now => return,
            Some(last) => last.backoff,
            None => Backoff::default(),
        };
        backoff.grow();
        let until = now + backoff.pause();
        let backoff = SlotBackoff {
            until,
            backoff,
            error,
        };
        self.backoffs.insert(slot, backoff);
        self.retry_times.insert((until, slot));
    }

    /// Notes that the last command of the slot got no transient error, which ends the backoff.
    pub(super) fn note_served(&mut self, slot: u16) {
        if !self.backoffs.is_empty() {
            self.backoffs.remove(&slot);
        }
    }

    /// Returns the transient error of the slot's last command, if any.
    pub(super) fn transient_error(&self, slot: u16) -> Option<&Error> {
        self.backoffs.get(&slot).map(|backoff| &backoff.error)
    }

    /// Marks a slot as due, since its state has changed.
    pub(super) fn mark_due(&mut self, slot: u16) {
        if self.slots.contains_key(&slot) {
            self.due.push(slot);
        }
    }

    /// Marks all slots as due and ends their backoff, since the state of the cluster has changed. The slots that have
    /// waited longest come first.
    pub(super) fn mark_all_due(&mut self, now: Instant) {
        for backoff in self.backoffs.values_mut() {
            backoff.until = now;
            backoff.backoff.reset();
        }
        let mut slots: Vec<_> = self.slots.iter().collect();
        slots.sort_unstable_by_key(|(_, queue)| queue.keys().next());
        self.due = slots.into_iter().map(|(&slot, _)| slot).collect();
    }

    /// Takes the slots that are due. Each is returned once per change.
    pub(super) fn take_due(&mut self, now: Instant) -> Vec<u16> {
        while let Some(&(time, slot)) = self.retry_times.first()
            && time <= now
        {
            self.retry_times.pop_first();
            self.mark_due(slot);
        }
        let mut due = mem::take(&mut self.due);
        due.retain(|slot| {
            let backoff = self.backoffs.get(slot);
            self.slots.contains_key(slot) && backoff.is_none_or(|backoff| backoff.until <= now)
        });
        due
    }

    /// Returns the earliest time at which a backoff ends.
    pub(super) fn next_retry(&self) -> Option<Instant> {
        self.retry_times.first().map(|(time, _)| *time)
    }

    /// Returns the first command of a slot, with its `ASK` target.
    pub(super) fn first(&self, slot: u16) -> Option<(Place, Option<&Node>)> {
        let (place, command) = self.slots.get(&slot)?.first_key_value()?;
        Some((*place, command.ask.as_ref()))
    }

    /// Removes a command, if it is parked.
    pub(super) fn remove(&mut self, slot: u16, place: Place) {
        let Some(queue) = self.slots.get_mut(&slot) else {
            return;
        };
        let Some(command) = queue.remove(&place) else {
            return;
        };
        self.operations -= usize::from(command.is_operation);
        if queue.is_empty() {
            self.slots.remove(&slot);
        }
    }

    /// Returns true if an `ASK` redirect to the node is parked.
    pub(super) fn has_redirect_to(&self, node: &Node) -> bool {
        let mut commands = self.slots.values().flat_map(SlotQueue::values);
        commands.any(|command| command.ask.as_ref() == Some(node))
    }

    /// Takes all parked commands. Held slots stay held, since their in-flight commands have not returned.
    pub(super) fn take_all(&mut self) -> impl Iterator<Item = Place> + use<> {
        let held = Self {
            held: mem::take(&mut self.held),
            ..Self::default()
        };
        let taken = mem::replace(self, held);
        taken.slots.into_values().flat_map(SlotQueue::into_keys)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn place(job: u64) -> Place {
        Place { job, at: 0 }
    }

    fn add(parked: &mut Parked, slot: u16, job: u64) {
        let command = ParkedCommand {
            ask: None,
            is_operation: true,
        };
        parked.add(slot, place(job), command);
    }

    #[test]
    fn a_slot_is_due_once_per_change() {
        let now = Instant::now();
        let mut parked = Parked::default();
        add(&mut parked, 3, 1);
        assert_eq!(parked.take_due(now), [3]);
        add(&mut parked, 3, 2);
        assert_eq!(parked.take_due(now), [0; 0], "behind another command");
        parked.mark_due(4);
        assert_eq!(parked.take_due(now), [0; 0], "an empty slot");
        parked.mark_due(3);
        assert_eq!(parked.take_due(now), [3]);
        add(&mut parked, 5, 0);
        parked.mark_all_due(now);
        assert_eq!(parked.take_due(now), [5, 3], "the oldest first");
        assert_eq!(parked.take_due(now), [0; 0]);
    }

    #[test]
    fn the_backoff_of_a_slot_doubles_up_to_the_maximum() {
        let mut now = Instant::now();
        let mut parked = Parked::default();
        let mut durations = Vec::new();
        for _ in 0..6 {
            add(&mut parked, 3, 1);
            add(&mut parked, 3, 2);
            for _ in 1..=2 {
                parked.back_off(3, Error::Closed, now);
            }
            parked.mark_due(3);
            assert_eq!(parked.take_due(now), [0; 0], "during the backoff");
            let until = parked.next_retry().expect("a time");
            durations.push((until - now).as_millis());
            now = until;
            assert_eq!(parked.take_due(now), [3]);
            assert_eq!(
                parked.next_retry(),
                None,
                "even if the command was not sent"
            );
            assert!(parked.transient_error(3).is_some());
            parked.remove(3, place(1));
        }
        assert_eq!(durations, [50, 100, 200, 400, 500, 500]);
        parked.back_off(3, Error::Closed, now);
        parked.mark_all_due(now);
        assert_eq!(parked.take_due(now), [3], "after a change of the cluster");
        parked.back_off(3, Error::Closed, now);
        assert_eq!(parked.next_retry(), Some(now + Duration::from_millis(50)));
        parked.note_served(3);
        assert!(parked.transient_error(3).is_none());
    }

    #[test]
    fn new_commands_of_a_held_slot_wait_for_those_in_flight() {
        let now = Instant::now();
        let mut parked = Parked::default();
        assert!(!parked.must_wait(3));
        parked.hold(3);
        assert!(parked.must_wait(3) && !parked.must_wait(4));
        assert!(parked.is_empty(), "nothing is parked");
        parked.note_idle(3);
        assert!(!parked.must_wait(3));
        assert_eq!(parked.take_due(now), [0; 0]);
        parked.hold(3);
        add(&mut parked, 3, 1);
        assert_eq!(
            parked.take_due(now),
            [3],
            "the router counts the in-flight commands"
        );
        parked.note_idle(3);
        assert_eq!(parked.take_due(now), [3]);
        assert!(parked.must_wait(3));
    }

    #[test]
    fn taking_all_commands_keeps_held_slots_held() {
        let mut parked = Parked::default();
        parked.hold(3);
        add(&mut parked, 3, 1);
        add(&mut parked, 4, 2);
        let mut taken: Vec<_> = parked.take_all().collect();
        taken.sort_unstable();
        assert_eq!(taken, [place(1), place(2)]);
        assert!(parked.is_empty());
        assert_eq!(parked.operations(), 0);
        assert!(
            parked.must_wait(3),
            "its in-flight commands have not returned"
        );
        parked.note_idle(3);
        assert!(!parked.must_wait(3));
    }

    #[test]
    fn parked_operations_are_counted_once() {
        let mut parked = Parked::default();
        for job in 0..3 {
            add(&mut parked, 3, job);
        }
        let companion = ParkedCommand {
            ask: None,
            is_operation: false,
        };
        parked.add(3, Place { job: 0, at: 1 }, companion);
        assert_eq!(parked.operations(), 3);
        assert_eq!(parked.first(3), Some((place(0), None)));
        parked.remove(3, place(0));
        parked.remove(3, place(0));
        assert_eq!(parked.operations(), 2);
        for job in 1..3 {
            parked.remove(3, place(job));
        }
        parked.remove(3, Place { job: 0, at: 1 });
        assert_eq!(parked.operations(), 0);
        assert!(parked.is_empty());
    }
}
