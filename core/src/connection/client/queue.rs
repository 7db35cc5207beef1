//! Commands that wait until the client can be given them, in the order in which the app issued them.

use super::jobs::Place;
use std::collections::BTreeMap;

#[derive(Default)]
pub(super) struct Queue {
    /// Each with whether an operation begins with it.
    places: BTreeMap<Place, bool>,
    operations: usize,
}

impl Queue {
    pub(super) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// How many operations begin with what waits.
    pub(super) fn operations(&self) -> usize {
        self.operations
    }

    pub(super) fn add(&mut self, place: Place, is_operation: bool) {
        if self.places.insert(place, is_operation).is_none() {
            self.operations += usize::from(is_operation);
        }
    }

    pub(super) fn remove(&mut self, place: Place) {
        if let Some(is_operation) = self.places.remove(&place) {
            self.operations -= usize::from(is_operation);
        }
    }

    pub(super) fn pop_first(&mut self) -> Option<Place> {
        let (place, is_operation) = self.places.pop_first()?;
        self.operations -= usize::from(is_operation);
        Some(place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_are_counted_whatever_their_commands() {
        let mut queue = Queue::default();
        let place = |at| Place { job: 1, at };
        for at in [2, 3, 0, 1] {
            queue.add(place(at), at % 2 == 0);
        }
        queue.add(place(0), true);
        assert_eq!(queue.operations(), 2);
        assert_eq!(queue.pop_first(), Some(place(0)));
        assert_eq!(queue.operations(), 1);
        queue.remove(place(2));
        queue.remove(place(2));
        assert_eq!(queue.operations(), 0);
        assert!(!queue.is_empty(), "what goes with an operation");
    }
}
