//! Random histories of a gate against its model: permits never exceed the limit, the line is first in, first
//! out, nobody waits while a permit is free, and every entry ends exactly once.

use std::collections::VecDeque;
use std::sync::mpsc;

use proptest::prelude::*;
use proptest::sample::Index;

use super::super::*;

type Outcome = Result<(), TestCaseError>;

/// What should be true of a gate.
#[derive(Default)]
struct Model {
    running: Vec<Permit<u32>>,
    line: VecDeque<(Ticket, u32)>,
    closed: bool,
    /// Entries so far, and how many of them have ended.
    begun: u32,
    ended: usize,
}

/// A gate and what should be true of it.
struct Trial {
    limit: usize,
    capacity: usize,
    gate: Arc<Gate<u32>>,
    served: mpsc::Receiver<(Option<Permit<u32>>, u32)>,
    model: Model,
    /// Tickets of entries that were served or have left.
    void: Vec<Ticket>,
}

// === impl Trial ===

impl Trial {
    fn new(limit: usize, capacity: usize) -> Self {
        let (sender, served) = mpsc::channel();
        let max_inflight = MaxInflight(NonZeroUsize::new(limit).unwrap());
        let gate = Gate::new(max_inflight, QueueCapacity(capacity), move |permit, entry| {
            let (kept, given_back) =
                if needs_none(entry) { (None, Some(permit)) } else { (Some(permit), None) };
            drop(sender.send((kept, entry)));
            given_back
        });
        Self { limit, capacity, gate, served, model: Model::default(), void: Vec::new() }
    }

    /// A call comes: it runs, waits, or is refused.
    fn call(&mut self) -> Outcome {
        let model = &mut self.model;
        model.begun += 1;
        let free = !model.closed && model.line.is_empty() && model.running.len() < self.limit;
        if let Some(pass) = self.gate.try_pass() {
            prop_assert!(free, "beyond the limit, or past somebody who waits");
            model.running.push(pass.into_permit());
            return Ok(());
        }
        prop_assert!(!free, "refused although a permit is free");
        let mut joined = false;
        let room = model.line.len() < self.capacity;
        match self.gate.wait(model.begun, || joined = true) {
            Ok(ticket) => {
                prop_assert!(joined && !model.closed && room);
                model.line.push_back((ticket, model.begun));
                return Ok(());
            }
            Err(Refusal::Full(entry)) => prop_assert!(entry == model.begun && !model.closed && !room),
            Err(Refusal::Closed(entry)) => prop_assert!(entry == model.begun && model.closed),
        }
        prop_assert!(!joined, "counted as accepted, and refused");
        model.ended += 1;
        Ok(())
    }

    /// One that runs ends.
    fn complete(&mut self, choice: &Index) {
        if self.model.running.is_empty() {
            // One that runs in place.
            drop(self.gate.try_pass());
        } else {
            let at = choice.index(self.model.running.len());
            drop(self.model.running.swap_remove(at));
            self.model.ended += 1;
        }
    }

    /// One in line gives up, because its client left or its time is up.
    fn leave(&mut self, choice: &Index) -> Outcome {
        if let Some(at) = (!self.model.line.is_empty()).then(|| choice.index(self.model.line.len())) {
            let (ticket, entry) = self.model.line.remove(at).unwrap();
            prop_assert_eq!(self.gate.leave(ticket), Some(entry));
            self.void.push(ticket);
            self.model.ended += 1;
        }
        Ok(())
    }

    /// One gives up that is not in line any more.
    fn leave_again(&self, choice: &Index) -> Outcome {
        if !self.void.is_empty() {
            prop_assert_eq!(self.gate.leave(self.void[choice.index(self.void.len())]), None);
        }
        Ok(())
    }

    fn close(&mut self) -> Outcome {
        let waited: Vec<u32> = self.model.line.drain(..).map(|(_, entry)| entry).collect();
        self.model.ended += waited.len();
        self.model.closed = true;
        prop_assert_eq!(self.gate.close(), waited);
        Ok(())
    }

    /// Whoever can be served was served, in order, and the gate is where the model is.
    fn settle(&mut self) -> Outcome {
        let model = &mut self.model;
        while model.running.len() < self.limit
            && let Some((ticket, entry)) = model.line.pop_front()
        {
            let Ok((permit, found)) = self.served.try_recv() else {
                return Err(TestCaseError::fail(format!("{entry} waits while a permit is free")));
            };
            prop_assert_eq!(found, entry, "out of order");
            prop_assert_eq!(permit.is_none(), needs_none(entry));
            self.void.push(ticket);
            model.ended += usize::from(permit.is_none());
            model.running.extend(permit);
        }
        prop_assert!(self.served.try_recv().is_err(), "served once too often");
        prop_assert_eq!(self.gate.free(), self.limit - model.running.len());
        prop_assert_eq!(self.gate.state.load(Ordering::Relaxed) / WAITER, model.line.len());
        prop_assert_eq!(model.begun as usize, model.ended + model.running.len() + model.line.len());
        Ok(())
    }
}

/// Every fifth entry has ended while it waited: it needs no permit.
fn needs_none(entry: u32) -> bool {
    entry.is_multiple_of(5)
}

proptest! {
    #[test]
    fn a_gate_behaves_like_its_model(
        limit in 1_usize..4,
        capacity in 0_usize..5,
        steps in proptest::collection::vec((0_u8..20, any::<Index>()), 0..300),
    ) {
        let mut trial = Trial::new(limit, capacity);
        for (step, choice) in steps {
            match step {
                0..9 => trial.call()?,
                9..14 => trial.complete(&choice),
                14..17 => trial.leave(&choice)?,
                17..19 => trial.leave_again(&choice)?,
                _ => trial.close()?,
            }
            trial.settle()?;
        }
    }
}
