//! The waiting line: bounded, first in first out, and anyone in it may leave at any time.
//!
//! A linked list in a slab, so that joining, leaving and serving the front each cost the same however
//! long the line is. It knows nothing of permits, clocks or calls. Invariants: never more than
//! `capacity` entries; entries leave in the order they came; a ticket is good for one departure.

use std::num::NonZeroU64;

/// How many may wait. Zero means that nobody waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueCapacity(pub usize);

/// The right to leave the line. A ticket whose entry has gone is void, also after its place was reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    place: usize,
    serial: NonZeroU64,
}

/// The line.
#[derive(Debug)]
pub struct Queue<T> {
    capacity: QueueCapacity,
    places: Vec<Place<T>>,
    free: Vec<usize>,
    front: Option<usize>,
    back: Option<usize>,
    len: usize,
    next_serial: NonZeroU64,
}

#[derive(Debug)]
struct Place<T> {
    serial: NonZeroU64,
    entry: Option<T>,
    before: Option<usize>,
    behind: Option<usize>,
}

// === impl Queue ===

impl<T> Queue<T> {
    /// An empty line.
    pub fn new(capacity: QueueCapacity) -> Self {
        Self {
            capacity,
            places: Vec::new(),
            free: Vec::new(),
            front: None,
            back: None,
            len: 0,
            next_serial: NonZeroU64::MIN,
        }
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many may wait.
    pub fn capacity(&self) -> QueueCapacity {
        self.capacity
    }

    /// Joins the line.
    ///
    /// # Errors
    /// Gives the entry back if the line is full.
    pub fn join(&mut self, entry: T) -> Result<Ticket, T> {
        if self.len >= self.capacity.0 {
            return Err(entry);
        }
        let serial = self.next_serial;
        self.next_serial = serial.saturating_add(1);
        let place = Place { serial, entry: Some(entry), before: self.back, behind: None };
        let index = match self.free.pop() {
            Some(index) => {
                self.places[index] = place;
                index
            }
            None => {
                self.places.push(place);
                self.places.len() - 1
            }
        };
        match self.back {
            Some(back) => self.places[back].behind = Some(index),
            None => self.front = Some(index),
        }
        self.back = Some(index);
        self.len += 1;
        Ok(Ticket { place: index, serial })
    }

    /// Serves the front.
    pub fn serve(&mut self) -> Option<T> {
        self.remove(self.front?)
    }

    /// Leaves the line; `None` if the entry has left or was served before.
    pub fn leave(&mut self, ticket: Ticket) -> Option<T> {
        let place = self.places.get(ticket.place)?;
        if place.serial != ticket.serial {
            return None;
        }
        self.remove(ticket.place)
    }

    fn remove(&mut self, index: usize) -> Option<T> {
        let place = &mut self.places[index];
        let entry = place.entry.take()?;
        let (before, behind) = (place.before.take(), place.behind.take());
        match before {
            Some(before) => self.places[before].behind = behind,
            None => self.front = behind,
        }
        match behind {
            Some(behind) => self.places[behind].before = before,
            None => self.back = before,
        }
        self.free.push(index);
        self.len -= 1;
        Some(entry)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_full_line_gives_the_entry_back() {
        let mut queue = Queue::new(QueueCapacity(1));
        queue.join('a').unwrap();
        assert_eq!(queue.join('b'), Err('b'));
        assert_eq!(queue.serve(), Some('a'));
        assert!(queue.join('b').is_ok());
    }

    #[test]
    fn nobody_waits_in_a_line_of_capacity_zero() {
        assert_eq!(Queue::new(QueueCapacity(0)).join('a'), Err('a'));
    }

    #[test]
    fn a_ticket_is_void_once_its_place_is_reused() {
        let mut queue = Queue::new(QueueCapacity(2));
        let first = queue.join('a').unwrap();
        assert_eq!(queue.leave(first), Some('a'));
        queue.join('b').unwrap();
        assert_eq!(queue.leave(first), None);
        assert_eq!(queue.serve(), Some('b'));
    }

    proptest! {
        #[test]
        fn it_behaves_like_a_list(steps in proptest::collection::vec((0u8..3, any::<prop::sample::Index>()), 0..400)) {
            let mut queue = Queue::new(QueueCapacity(8));
            let mut model: VecDeque<(Ticket, usize)> = VecDeque::new();
            for (number, (step, choice)) in steps.into_iter().enumerate() {
                match step {
                    0 => match queue.join(number) {
                        Ok(ticket) => model.push_back((ticket, number)),
                        Err(refused) => {
                            prop_assert_eq!(refused, number);
                            prop_assert_eq!(model.len(), 8);
                        }
                    },
                    1 => prop_assert_eq!(queue.serve(), model.pop_front().map(|(_, entry)| entry)),
                    _ if model.is_empty() => prop_assert!(queue.is_empty()),
                    _ => {
                        let (ticket, entry) = model.remove(choice.index(model.len())).unwrap();
                        prop_assert_eq!(queue.leave(ticket), Some(entry));
                        prop_assert_eq!(queue.leave(ticket), None);
                    }
                }
                prop_assert_eq!(queue.len(), model.len());
            }
        }
    }
}
