//! Random operations on the parked commands, compared with plain sets.

use super::parked::{Parked, ParkedCommand};
use crate::connection::job::Place;
use crate::error::Error;
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::Duration;
use tokio::time::Instant;

#[derive(Clone, Debug)]
enum Step {
    Park(u16, u64),
    Remove(u16, u64),
    Hold(u16),
    NoteIdle(u16),
    BackOff(u16),
    NoteServed(u16),
    MarkDue(u16),
    MarkAllDue,
    TakeDue,
    TakeAll,
    /// Time passes: less than the shortest backoff, or more than the longest.
    Pause(bool),
}

fn step() -> impl Strategy<Value = Step> {
    let slot = || 0..4u16;
    prop_oneof![
        6 => (slot(), 0..50u64).prop_map(|(slot, job)| Step::Park(slot, job)),
        4 => (slot(), 0..50u64).prop_map(|(slot, job)| Step::Remove(slot, job)),
        2 => slot().prop_map(Step::Hold),
        2 => slot().prop_map(Step::NoteIdle),
        2 => slot().prop_map(Step::BackOff),
        1 => slot().prop_map(Step::NoteServed),
        1 => slot().prop_map(Step::MarkDue),
        1 => Just(Step::MarkAllDue),
        4 => Just(Step::TakeDue),
        1 => Just(Step::TakeAll),
        3 => any::<bool>().prop_map(Step::Pause),
    ]
}

fn place(job: u64) -> Place {
    Place { job, at: 0 }
}

/// The state by its definition.
#[derive(Default)]
struct Model {
    queues: HashMap<u16, BTreeSet<u64>>,
    held: HashSet<u16>,
    /// The slots whose state has changed since they were taken.
    changed: HashSet<u16>,
    /// The slots that back off.
    backoffs: HashSet<u16>,
    /// The times at which their last backoffs began.
    begun: HashMap<u16, Instant>,
}

impl Model {
    fn queue(&self, slot: u16) -> impl Iterator<Item = u64> {
        self.queues.get(&slot).into_iter().flatten().copied()
    }

    fn is_parked(&self, slot: u16) -> bool {
        self.queue(slot).next().is_some()
    }

    /// Returns true if the last backoff of a slot may not be over.
    fn may_wait(&self, slot: u16, now: Instant) -> bool {
        self.begun
            .get(&slot)
            .is_some_and(|&since| now - since < SURELY_OVER)
    }
}

const SLOTS: [u16; 4] = [0, 1, 2, 3];
/// Backoffs last from 50 to 500 ms, less their jitter.
const SURELY_OVER: Duration = Duration::from_secs(1);

fn run(steps: Vec<Step>) {
    let mut parked = Parked::default();
    let mut model = Model::default();
    let mut now = Instant::now();
    for step in steps {
        match step {
            Step::Park(slot, job) => {
                if model.queues.entry(slot).or_default().insert(job) {
                    let is_operation = job % 3 != 0;
                    let ask = None;
                    parked.add(slot, place(job), ParkedCommand { ask, is_operation });
                    if model.queue(slot).count() == 1 {
                        model.changed.insert(slot);
                    }
                }
            }
            Step::Remove(slot, job) => {
                parked.remove(slot, place(job));
                model.queues.entry(slot).or_default().remove(&job);
            }
            Step::Hold(slot) => {
                parked.hold(slot);
                model.held.insert(slot);
            }
            Step::NoteIdle(slot) => {
                parked.note_idle(slot);
                model.held.remove(&slot);
                model.changed.insert(slot);
            }
            Step::BackOff(slot) => {
                parked.back_off(slot, Error::Closed, now);
                if !model.backoffs.contains(&slot) || !model.may_wait(slot, now) {
                    model.begun.insert(slot, now);
                }
                model.backoffs.insert(slot);
                model.changed.insert(slot);
            }
            Step::NoteServed(slot) => {
                parked.note_served(slot);
                model.backoffs.remove(&slot);
            }
            Step::MarkDue(slot) => {
                parked.mark_due(slot);
                model.changed.insert(slot);
            }
            Step::MarkAllDue => {
                parked.mark_all_due(now);
                model.begun.clear();
                model.changed.extend(SLOTS);
            }
            Step::TakeDue => {
                let due: HashSet<_> = parked.take_due(now).into_iter().collect();
                assert!(due.iter().all(|&slot| model.is_parked(slot)));
                for slot in SLOTS {
                    if model.backoffs.contains(&slot) && model.may_wait(slot, now) {
                        assert!(!due.contains(&slot), "slot {slot} is served too early");
                    }
                    if !model.may_wait(slot, now) && model.changed.remove(&slot) {
                        assert_eq!(due.contains(&slot), model.is_parked(slot), "slot {slot}");
                    }
                }
            }
            Step::TakeAll => {
                let taken: BTreeSet<_> = parked.take_all().map(|place| place.job).collect();
                let all: BTreeSet<_> = SLOTS
                    .into_iter()
                    .flat_map(|slot| model.queue(slot))
                    .collect();
                assert_eq!(taken, all);
                model = Model {
                    held: model.held,
                    ..Model::default()
                };
            }
            // At most a hundred short pauses pass between two long ones.
            Step::Pause(is_long) => {
                now += if is_long {
                    SURELY_OVER
                } else {
                    Duration::from_micros(100)
                };
            }
        }
        for slot in SLOTS {
            let first = parked.first(slot).map(|(place, _)| place.job);
            assert_eq!(first, model.queue(slot).next());
            let must_wait = first.is_some() || model.held.contains(&slot);
            assert_eq!(parked.must_wait(slot), must_wait);
            assert_eq!(
                parked.transient_error(slot).is_some(),
                model.backoffs.contains(&slot)
            );
        }
        let operations = SLOTS
            .into_iter()
            .flat_map(|slot| model.queue(slot))
            .filter(|job| job % 3 != 0);
        assert_eq!(parked.operations(), operations.count());
        assert_eq!(
            parked.is_empty(),
            !SLOTS.iter().any(|&slot| model.is_parked(slot))
        );
    }
}

#[test]
fn parked_commands_keep_their_order_and_no_slot_is_forgotten() {
    proptest!(crate::fuzz::config(), |(steps in vec(step(), 0..100))| run(steps));
}
