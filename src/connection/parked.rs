//! Commands of a cluster that wait, slot by slot, and which of the slots are worth a try.
//!
//! While a cluster is away, all that is sent waits here: nothing that is done per turn of the router's loop may
//! grow with it.

use super::cluster::Place;
use crate::options::Node;
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::mem;
use tokio::time::Instant;

#[derive(Default)]
pub(super) struct Parked {
    /// None of them is empty.
    slots: HashMap<u16, Slot>,
    /// Slots where what is under way must come back before anything else goes out.
    held: HashSet<u16>,
    /// How many operations begin with what is parked.
    operations: usize,
    /// Slots whose first command may be able to go.
    due: Vec<u16>,
    /// Slots that were put off, and until when. Times never decrease, since all are put off for equally long.
    put_off: VecDeque<(Instant, u16)>,
}

#[derive(Default)]
struct Slot {
    places: BTreeMap<Place, Waiting>,
    not_before: Option<Instant>,
}

pub(super) struct Waiting {
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
    pub(super) fn has(&self, slot: u16) -> bool {
        self.slots.contains_key(&slot) || self.held.contains(&slot)
    }

    /// What comes for the slot waits until what is under way has come back.
    pub(super) fn hold(&mut self, slot: u16) {
        self.held.insert(slot);
    }

    /// Nothing is under way in the slot any more.
    pub(super) fn come_back(&mut self, slot: u16) {
        self.held.remove(&slot);
        self.try_slot(slot);
    }

    pub(super) fn operations(&self) -> usize {
        self.operations
    }

    /// Each command is in one slot, once.
    pub(super) fn add(
        &mut self,
        slot: u16,
        place: Place,
        waiting: Waiting,
        not_before: Option<Instant>,
    ) {
        let parked = self.slots.entry(slot).or_default();
        self.operations += usize::from(waiting.is_operation);
        parked.places.insert(place, waiting);
        parked.not_before = parked.not_before.max(not_before);
        match not_before {
            Some(time) => self.put_off.push_back((time, slot)),
            // One that waits behind others changes nothing.
            None if parked.places.len() == 1 => self.due.push(slot),
            None => {}
        }
    }

    /// Something has changed for a slot.
    pub(super) fn try_slot(&mut self, slot: u16) {
        if self.slots.contains_key(&slot) {
            self.due.push(slot);
        }
    }

    /// Something has changed for any slot. Those that have waited longest come first.
    pub(super) fn try_all(&mut self) {
        let mut slots: Vec<_> = self.slots.iter().collect();
        slots.sort_unstable_by_key(|(_, parked)| parked.places.keys().next());
        self.due = slots.into_iter().map(|(&slot, _)| slot).collect();
    }

    /// The slots that are worth a try, each until something changes again.
    pub(super) fn take_due(&mut self, now: Instant) -> Vec<u16> {
        while let Some(&(time, slot)) = self.put_off.front()
            && time <= now
        {
            self.put_off.pop_front();
            self.try_slot(slot);
        }
        let mut due = mem::take(&mut self.due);
        due.retain(|slot| {
            let parked = self.slots.get(slot);
            parked.is_some_and(|parked| parked.not_before.is_none_or(|time| time <= now))
        });
        due
    }

    /// When a slot that was put off is worth a try.
    pub(super) fn alarm(&self) -> Option<Instant> {
        self.put_off.front().map(|(time, _)| *time)
    }

    pub(super) fn first(&self, slot: u16) -> Option<(Place, Option<&Node>)> {
        let (place, waiting) = self.slots.get(&slot)?.places.first_key_value()?;
        Some((*place, waiting.ask.as_ref()))
    }

    pub(super) fn remove(&mut self, slot: u16, place: Place) {
        let Some(parked) = self.slots.get_mut(&slot) else {
            return;
        };
        let Some(waiting) = parked.places.remove(&place) else {
            return;
        };
        self.operations -= usize::from(waiting.is_operation);
        if parked.places.is_empty() {
            self.slots.remove(&slot);
        }
    }

    /// Whether something is to be sent to the node, this once.
    pub(super) fn asks(&self, node: &Node) -> bool {
        let mut waiting = self.slots.values().flat_map(|slot| slot.places.values());
        waiting.any(|waiting| waiting.ask.as_ref() == Some(node))
    }

    pub(super) fn places(&self) -> impl Iterator<Item = Place> {
        let slots = self.slots.values();
        slots.flat_map(|slot| slot.places.keys().copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn place(job: u64) -> Place {
        Place { job, at: 0 }
    }

    fn add(parked: &mut Parked, slot: u16, job: u64, not_before: Option<Instant>) {
        let waiting = Waiting {
            ask: None,
            is_operation: true,
        };
        parked.add(slot, place(job), waiting, not_before);
    }

    #[test]
    fn a_slot_is_tried_once_for_each_change() {
        let now = Instant::now();
        let mut parked = Parked::default();
        add(&mut parked, 3, 1, None);
        assert_eq!(parked.take_due(now), [3]);
        add(&mut parked, 3, 2, None);
        assert_eq!(parked.take_due(now), [0; 0], "behind another");
        parked.try_slot(4);
        assert_eq!(parked.take_due(now), [0; 0], "nothing waits in it");
        parked.try_slot(3);
        assert_eq!(parked.take_due(now), [3]);
        add(&mut parked, 5, 0, None);
        parked.try_all();
        assert_eq!(parked.take_due(now), [5, 3], "the oldest first");
        assert_eq!(parked.take_due(now), [0; 0]);
    }

    #[test]
    fn a_time_that_has_passed_is_no_alarm() {
        let now = Instant::now();
        let later = now + Duration::from_millis(50);
        let mut parked = Parked::default();
        add(&mut parked, 3, 1, Some(later));
        add(&mut parked, 3, 2, None);
        parked.try_slot(3);
        assert_eq!(parked.take_due(now), [0; 0], "put off");
        assert_eq!(parked.alarm(), Some(later));
        assert_eq!(parked.take_due(later), [3]);
        assert_eq!(parked.alarm(), None, "whether or not it could go");
    }

    #[test]
    fn what_comes_for_a_slot_waits_for_what_is_under_way_elsewhere() {
        let now = Instant::now();
        let mut parked = Parked::default();
        assert!(!parked.has(3));
        parked.hold(3);
        assert!(parked.has(3) && !parked.has(4));
        assert!(parked.is_empty(), "it waits for nothing by itself");
        parked.come_back(3);
        assert!(!parked.has(3));
        assert_eq!(parked.take_due(now), [0; 0]);
        parked.hold(3);
        add(&mut parked, 3, 1, None);
        assert_eq!(
            parked.take_due(now),
            [3],
            "the router knows what is under way"
        );
        parked.come_back(3);
        assert_eq!(parked.take_due(now), [3]);
        assert!(parked.has(3));
    }

    #[test]
    fn what_is_parked_is_counted() {
        let mut parked = Parked::default();
        for job in 0..3 {
            add(&mut parked, 3, job, None);
        }
        let companion = Waiting {
            ask: None,
            is_operation: false,
        };
        parked.add(3, Place { job: 0, at: 1 }, companion, None);
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
