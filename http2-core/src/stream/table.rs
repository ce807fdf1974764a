//! The live streams of a connection: a slab, and an open-addressed map from ids to slots.
//!
//! Ids are dense odd numbers, so half an id is its own hash, and with a quarter of the places used at most a
//! look-up mostly hits at the first probe. The map begins small, as most connections have few streams at once,
//! and grows with them.

use std::num::NonZeroU16;
use std::ops::{Index, IndexMut};

use super::{Request, Stream};

/// Where a live stream is, counted from one. Valid until that stream is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot(NonZeroU16);

/// The live streams.
#[derive(Debug)]
pub(crate) struct StreamTable {
    slots: Vec<Option<Stream>>,
    free: Vec<Slot>,
    /// Places hold slots; the number of places is a power of two.
    places: Box<[Option<Slot>]>,
}

// === impl StreamTable ===

impl StreamTable {
    /// A table without streams.
    pub(crate) fn new() -> Self {
        Self { slots: Vec::new(), free: Vec::new(), places: vec![None; FIRST_PLACES].into() }
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn find(&self, id: u32) -> Option<Slot> {
        let mut place = self.home(id);
        loop {
            let slot = self.places[place]?;
            if self.id_of(slot) == id {
                return Some(slot);
            }
            place = self.next(place);
        }
    }

    /// Adds a stream that is not in the table; the caller keeps to the limit of streams, far below 2^16.
    pub(crate) fn insert(&mut self, stream: Stream) -> Slot {
        debug_assert!(self.find(stream.id).is_none());
        if self.len() == self.places.len() / PLACES_PER_STREAM {
            self.grow();
        }
        let place = self.vacant(stream.id);
        let slot = match self.free.pop() {
            Some(slot) => {
                self.slots[slot.index()] = Some(stream);
                slot
            }
            None => {
                self.slots.push(Some(stream));
                Slot::of_last(self.slots.len())
            }
        };
        self.places[place] = Some(slot);
        slot
    }

    pub(crate) fn remove(&mut self, slot: Slot) -> Stream {
        let mut hole = self.home(self.id_of(slot));
        while self.places[hole] != Some(slot) {
            hole = self.next(hole);
        }
        // Close the gap: what was pushed behind this place by a collision moves up.
        let mut place = self.next(hole);
        while let Some(other) = self.places[place] {
            let home = self.home(self.id_of(other));
            if self.distance(home, place) >= self.distance(hole, place) {
                self.places[hole] = Some(other);
                hole = place;
            }
            place = self.next(place);
        }
        self.places[hole] = None;
        self.free.push(slot);
        self.slots[slot.index()].take().expect("a slot is live until its stream is removed")
    }

    /// Takes all streams out.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = Stream> + use<> {
        self.places.fill(None);
        self.free.clear();
        std::mem::take(&mut self.slots).into_iter().flatten()
    }

    /// Gives memory back that only many streams at once need; for a table that is empty and will be so.
    pub(crate) fn release_memory(&mut self) {
        if self.is_empty() {
            *self = Self::new();
        }
    }

    /// Where the streams are of which the handler has not heard.
    pub(crate) fn unopened(&self) -> Vec<Slot> {
        let unopened = |stream: &Stream| matches!(stream.request, Request::Unopened);
        self.slots
            .iter()
            .enumerate()
            .filter(|(_, stream)| stream.as_ref().is_some_and(unopened))
            .map(|(index, _)| Slot::of_last(index + 1))
            .collect()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Stream> {
        self.slots.iter().flatten()
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Stream> {
        self.slots.iter_mut().flatten()
    }

    fn id_of(&self, slot: Slot) -> u32 {
        self[slot].id
    }

    /// Doubles the map, and puts every stream in its place there.
    #[cold]
    fn grow(&mut self) {
        self.places = vec![None; self.places.len() * 2].into();
        for index in 0..self.slots.len() {
            if let Some(stream) = &self.slots[index] {
                self.places[self.vacant(stream.id)] = Some(Slot::of_last(index + 1));
            }
        }
    }

    /// Where an id that is not in the table goes.
    fn vacant(&self, id: u32) -> usize {
        let mut place = self.home(id);
        while self.places[place].is_some() {
            place = self.next(place);
        }
        place
    }

    fn home(&self, id: u32) -> usize {
        (id >> 1) as usize & (self.places.len() - 1)
    }

    fn next(&self, place: usize) -> usize {
        (place + 1) & (self.places.len() - 1)
    }

    /// Steps from one place forward to another.
    fn distance(&self, from: usize, to: usize) -> usize {
        to.wrapping_sub(from) & (self.places.len() - 1)
    }
}

// === impl Slot ===

impl Slot {
    /// The last of `len` slots.
    fn of_last(len: usize) -> Self {
        let number = u16::try_from(len).ok().and_then(NonZeroU16::new);
        Self(number.expect("a table has between one and 2^13 streams"))
    }

    fn index(self) -> usize {
        usize::from(self.0.get()) - 1
    }
}

impl Index<Slot> for StreamTable {
    type Output = Stream;

    fn index(&self, slot: Slot) -> &Stream {
        self.slots[slot.index()].as_ref().expect("a slot is live until its stream is removed")
    }
}

impl IndexMut<Slot> for StreamTable {
    fn index_mut(&mut self, slot: Slot) -> &mut Stream {
        self.slots[slot.index()].as_mut().expect("a slot is live until its stream is removed")
    }
}

const PLACES_PER_STREAM: usize = 4;

/// Places of a map that has not grown: for eight streams.
const FIRST_PLACES: usize = 8 * PLACES_PER_STREAM;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::stream::Progress;
    use crate::tick::Tick;
    use crate::window::{ReceiveWindow, SendWindow};

    fn stream(id: u32) -> Stream {
        Stream {
            id,
            head: crate::head::tests::any(),
            request: Request::Ended,
            answer: Progress::Due,
            visible: false,
            receive: ReceiveWindow::new(1),
            send: SendWindow::new(1),
            body_left: None,
            unconsumed: 0,
            outgoing: None,
            opened: Tick::default(),
            moved: Tick::default(),
        }
    }

    #[test]
    fn an_empty_table_gives_its_memory_back() {
        let mut table = StreamTable::new();
        let slot = table.insert(stream(1));
        table.release_memory();
        assert_eq!(table.find(1), Some(slot));
        table.remove(slot);
        table.release_memory();
        assert_eq!((table.slots.capacity(), table.len(), table.find(1)), (0, 0, None));
        table.insert(stream(3));
        assert_eq!((table.find(1), table.len()), (None, 1));
    }

    proptest::proptest! {
        #[test]
        fn a_table_is_a_set_of_ids(steps in proptest::collection::vec((0u32..400, proptest::bool::ANY), 0..300)) {
            let mut table = StreamTable::new();
            let mut model = BTreeSet::new();
            // Sparse ids make collisions, which dense ones would not.
            for (id, add) in steps.into_iter().map(|(half, add)| (half * 2 + 1, add)) {
                match table.find(id) {
                    Some(slot) if !add => {
                        assert_eq!(table.remove(slot).id, id);
                        assert!(model.remove(&id));
                    }
                    None if add && model.len() < 40 => {
                        table.insert(stream(id));
                        model.insert(id);
                    }
                    found => assert_eq!(found.is_some(), model.contains(&id)),
                }
                assert_eq!(table.len(), model.len());
                for id in &model {
                    assert_eq!(table.find(*id).map(|slot| table[slot].id), Some(*id));
                }
            }
            assert_eq!(table.drain().map(|stream| stream.id).collect::<BTreeSet<_>>(), model);
            assert!(table.is_empty());
        }
    }
}
