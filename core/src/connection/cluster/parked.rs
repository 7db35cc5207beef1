//! Commands of a cluster that wait, slot by slot, and which of the slots are worth a try.
//!
//! While a cluster is away, all that is sent waits here: nothing that is done per turn of the router's loop may
//! grow with it.

use super::jobs::Place;
use crate::error::Error;
use crate::options::Node;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::mem;
use std::time::Duration;
use tokio::time::Instant;

/// Pauses before what was put off is tried again grow from the first to the longest.
const MIN_BACKOFF: Duration = Duration::from_millis(50);
const MAX_BACKOFF: Duration = Duration::from_millis(500);

#[derive(Default)]
pub(super) struct Parked {
    /// None of them is empty.
    slots: HashMap<u16, SlotQueue>,
    /// Slots where what is under way must come back before anything else goes out.
    held: HashSet<u16>,
    /// How many operations begin with what is parked.
    operations: usize,
    /// Slots whose first command may be able to go.
    due: Vec<u16>,
    /// Slots in which the last that was sent was put off.
    backoffs: HashMap<u16, SlotBackoff>,
    /// When these are worth a try.
    retry_times: BTreeSet<(Instant, u16)>,
}

/// What waits in a slot.
type SlotQueue = BTreeMap<Place, ParkedCommand>;

struct SlotBackoff {
    until: Instant,
    duration: Duration,
    error: Error,
}

pub(super) struct ParkedCommand {
    /// To be sent to this node, this once.
    pub(super) ask: Option<Node>,
    /// An operation begins with it.
    pub(super) is_operation: bool,
}

impl Parked {
    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Whether what comes for the slot has to wait.
    pub(super) fn must_wait(&self, slot: u16) -> bool {
        self.slots.contains_key(&slot) || self.held.contains(&slot)
    }

    /// What comes for the slot waits until what is under way has come back.
    pub(super) fn hold(&mut self, slot: u16) {
        self.held.insert(slot);
    }

    /// Nothing is under way in the slot any more.
    pub(super) fn note_idle(&mut self, slot: u16) {
        if !self.held.is_empty() {
            self.held.remove(&slot);
        }
        self.mark_due(slot);
    }

    pub(super) fn operations(&self) -> usize {
        self.operations
    }

    /// Each command is in one slot, once.
    pub(super) fn add(&mut self, slot: u16, place: Place, command: ParkedCommand) {
        let queue = self.slots.entry(slot).or_default();
        self.operations += usize::from(command.is_operation);
        queue.insert(place, command);
        // One that waits behind others changes nothing.
        if queue.len() == 1 {
            self.due.push(slot);
        }
    }

    /// What was sent in the slot is to be done later: it is tried again after a pause, by a single command.
    pub(super) fn back_off(&mut self, slot: u16, error: Error, now: Instant) {
        let duration = match self.backoffs.get(&slot) {
            // Together with others.
            Some(backoff) if backoff.until > now => return,
            Some(backoff) => (2 * backoff.duration).clamp(MIN_BACKOFF, MAX_BACKOFF),
            None => MIN_BACKOFF,
        };
        let until = now + duration;
        let backoff = SlotBackoff {
            until,
            duration,
            error,
        };
        self.backoffs.insert(slot, backoff);
        self.retry_times.insert((until, slot));
    }

    /// What was sent in the slot was not put off.
    pub(super) fn note_served(&mut self, slot: u16) {
        if !self.backoffs.is_empty() {
            self.backoffs.remove(&slot);
        }
    }

    /// Why the last that was sent in the slot was put off, if it was.
    pub(super) fn transient_error(&self, slot: u16) -> Option<&Error> {
        self.backoffs.get(&slot).map(|backoff| &backoff.error)
    }

    /// Something has changed for a slot.
    pub(super) fn mark_due(&mut self, slot: u16) {
        if self.slots.contains_key(&slot) {
            self.due.push(slot);
        }
    }

    /// Something has changed for any slot. Those that have waited longest come first.
    pub(super) fn mark_all_due(&mut self, now: Instant) {
        for backoff in self.backoffs.values_mut() {
            backoff.until = now;
            backoff.duration = Duration::ZERO;
        }
        let mut slots: Vec<_> = self.slots.iter().collect();
        slots.sort_unstable_by_key(|(_, queue)| queue.keys().next());
        self.due = slots.into_iter().map(|(&slot, _)| slot).collect();
    }

    /// The slots that are worth a try, each until something changes again.
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

    /// When a slot that was put off is worth a try.
    pub(super) fn next_retry(&self) -> Option<Instant> {
        self.retry_times.first().map(|(time, _)| *time)
    }

    pub(super) fn first(&self, slot: u16) -> Option<(Place, Option<&Node>)> {
        let (place, command) = self.slots.get(&slot)?.first_key_value()?;
        Some((*place, command.ask.as_ref()))
    }

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

    /// Whether something is to be sent to the node, this once.
    pub(super) fn has_redirect_to(&self, node: &Node) -> bool {
        let mut commands = self.slots.values().flat_map(SlotQueue::values);
        commands.any(|command| command.ask.as_ref() == Some(node))
    }

    /// Takes out all that waits. What is under way elsewhere has still to come back before anything else goes out.
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
    fn a_slot_is_tried_once_for_each_change() {
        let now = Instant::now();
        let mut parked = Parked::default();
        add(&mut parked, 3, 1);
        assert_eq!(parked.take_due(now), [3]);
        add(&mut parked, 3, 2);
        assert_eq!(parked.take_due(now), [0; 0], "behind another");
        parked.mark_due(4);
        assert_eq!(parked.take_due(now), [0; 0], "nothing waits in it");
        parked.mark_due(3);
        assert_eq!(parked.take_due(now), [3]);
        add(&mut parked, 5, 0);
        parked.mark_all_due(now);
        assert_eq!(parked.take_due(now), [5, 3], "the oldest first");
        assert_eq!(parked.take_due(now), [0; 0]);
    }

    #[test]
    fn what_is_put_off_is_tried_after_pauses_that_grow() {
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
            assert_eq!(parked.take_due(now), [0; 0], "put off");
            let until = parked.next_retry().expect("a time");
            durations.push((until - now).as_millis());
            now = until;
            assert_eq!(parked.take_due(now), [3]);
            assert_eq!(parked.next_retry(), None, "whether or not it could go");
            assert!(parked.transient_error(3).is_some());
            parked.remove(3, place(1));
        }
        assert_eq!(durations, [50, 100, 200, 400, 500, 500]);
        parked.back_off(3, Error::Closed, now);
        parked.mark_all_due(now);
        assert_eq!(parked.take_due(now), [3], "something has changed");
        parked.back_off(3, Error::Closed, now);
        assert_eq!(parked.next_retry(), Some(now + MIN_BACKOFF));
        parked.note_served(3);
        assert!(parked.transient_error(3).is_none());
    }

    #[test]
    fn what_comes_for_a_slot_waits_for_what_is_under_way_elsewhere() {
        let now = Instant::now();
        let mut parked = Parked::default();
        assert!(!parked.must_wait(3));
        parked.hold(3);
        assert!(parked.must_wait(3) && !parked.must_wait(4));
        assert!(parked.is_empty(), "it waits for nothing by itself");
        parked.note_idle(3);
        assert!(!parked.must_wait(3));
        assert_eq!(parked.take_due(now), [0; 0]);
        parked.hold(3);
        add(&mut parked, 3, 1);
        assert_eq!(
            parked.take_due(now),
            [3],
            "the router knows what is under way"
        );
        parked.note_idle(3);
        assert_eq!(parked.take_due(now), [3]);
        assert!(parked.must_wait(3));
    }

    #[test]
    fn what_is_given_up_is_not_overtaken_by_what_comes_after_it() {
        let mut parked = Parked::default();
        parked.hold(3);
        add(&mut parked, 3, 1);
        add(&mut parked, 4, 2);
        let mut taken: Vec<_> = parked.take_all().collect();
        taken.sort_unstable();
        assert_eq!(taken, [place(1), place(2)]);
        assert!(parked.is_empty());
        assert_eq!(parked.operations(), 0);
        assert!(parked.must_wait(3), "what is under way has not come back");
        parked.note_idle(3);
        assert!(!parked.must_wait(3));
    }

    #[test]
    fn what_is_parked_is_counted() {
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
