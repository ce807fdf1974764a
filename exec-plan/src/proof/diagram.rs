//! Counts as functions of choices: multi-valued decision diagrams, each function stored once.
//!
//! A diagram asks for the latest choice first. A choice is a number from zero; a node of a diagram says
//! what becomes of choice zero and lists the choices of which something else becomes. So a branch among
//! thousands costs no more than one among two. Equal functions have equal names, whatever led to them.

use std::rc::Rc;

use foldhash::HashMap;

/// A function from choices to a count: zero, one, or two for "more than one".
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Count(u32);

/// What combines two counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Op {
    /// Of zeros and ones: one if both are.
    And,
    /// Of zeros and ones: one if either is.
    Or,
    /// The sum.
    Add,
}

/// The diagrams would take more steps than they may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooLarge;

/// A choice that was made: which node, which of its outcomes.
pub(super) type Choice = (usize, usize);

/// All functions made so far.
pub(super) struct Diagrams {
    /// Those that are not constant; whatever one refers to comes before it.
    nodes: Vec<Rc<Node>>,
    names: HashMap<Rc<Node>, Count>,
    combined: HashMap<(Op, Count, Count), Count>,
    picked: HashMap<(usize, usize), Count>,
    steps_left: usize,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Node {
    chooser: usize,
    /// What becomes of choice zero, and of all that `cases` does not list.
    default: Count,
    /// The choices of which something else becomes, ascending.
    cases: Vec<(usize, Count)>,
}

/// A combination in progress.
struct Frame {
    a: Count,
    b: Count,
    chooser: usize,
    /// What has to be combined for each choice, the default first.
    parts: Vec<(usize, Count, Count)>,
    results: Vec<Count>,
}

// === impl Diagrams ===

impl Diagrams {
    pub(super) const NONE: Count = Count(0);
    pub(super) const ONE: Count = Count(1);
    pub(super) const MANY: Count = Count(2);
    const CONSTANTS: u32 = 3;

    pub(super) fn new(max_steps: usize) -> Self {
        Self {
            nodes: Vec::new(),
            names: HashMap::default(),
            combined: HashMap::default(),
            picked: HashMap::default(),
            steps_left: max_steps,
        }
    }

    /// `count` if `chooser` takes `choice`, one of `choices`; else zero. `count` does not depend on this
    /// or a later chooser, and is the same whenever the rest is.
    pub(super) fn when(
        &mut self,
        chooser: usize,
        choice: usize,
        choices: usize,
        count: Count,
    ) -> Result<Count, TooLarge> {
        if let Some(known) = self.picked.get(&(chooser, choice)) {
            return Ok(*known);
        }
        let (default, cases) = if choice == 0 {
            (count, (1..choices).map(|other| (other, Self::NONE)).collect())
        } else {
            (Self::NONE, vec![(choice, count)])
        };
        let made = self.make(chooser, default, cases)?;
        self.picked.insert((chooser, choice), made);
        Ok(made)
    }

    /// Zero if `chooser` takes `choice`, which is not zero; else `count`.
    pub(super) fn unless(&mut self, chooser: usize, choice: usize, count: Count) -> Result<Count, TooLarge> {
        self.make(chooser, count, vec![(choice, Self::NONE)])
    }

    /// Combines any number of counts; the earlier with the earlier, so that what belongs together meets
    /// while it is small.
    pub(super) fn combine(&mut self, op: Op, mut counts: Vec<Count>) -> Result<Count, TooLarge> {
        while counts.len() > 1 {
            let mut combined = Vec::with_capacity(counts.len().div_ceil(2));
            for pair in counts.chunks(2) {
                combined.push(match *pair {
                    [a, b] => self.apply(op, a, b)?,
                    [a, ..] => a,
                    [] => continue,
                });
            }
            counts = combined;
        }
        Ok(counts.first().copied().unwrap_or(Self::NONE))
    }

    /// The fewest choices that lead from a function to a constant, in the order of the choosers.
    pub(super) fn shortest_way(&self, from: Count, to: Count) -> Option<Vec<Choice>> {
        // What a node refers to comes before it, so one pass finds how far each is from the goal.
        let end = (from.0 + 1).max(Self::CONSTANTS) as usize;
        let mut distances = vec![u32::MAX; end];
        distances[to.0 as usize] = 0;
        for index in Self::CONSTANTS as usize..end {
            let node = self.node(Count(index as u32))?;
            let nearest = node.branches().map(|(_, count)| distances[count.0 as usize]).min();
            distances[index] = nearest.unwrap_or(u32::MAX).saturating_add(1);
        }
        if distances[from.0 as usize] == u32::MAX {
            return None;
        }
        let mut way = Vec::new();
        let mut at = from;
        while let Some(node) = self.node(at) {
            let (choice, next) = node.branches().min_by_key(|(_, count)| distances[count.0 as usize])?;
            way.push((node.chooser, choice));
            at = next;
        }
        way.reverse();
        Some(way)
    }

    /// One step at a time and not by recursion: a diagram may be as deep as the graph has branches.
    fn apply(&mut self, op: Op, a: Count, b: Count) -> Result<Count, TooLarge> {
        if let Some(known) = self.known(op, a, b) {
            return Ok(known);
        }
        let mut frames = vec![self.frame(a, b)?];
        loop {
            let Some(frame) = frames.last_mut() else { return Err(TooLarge) };
            if let Some((_, a, b)) = frame.parts.get(frame.results.len()).copied() {
                match self.known(op, a, b) {
                    Some(known) => frame.results.push(known),
                    None => frames.push(self.frame(a, b)?),
                }
                continue;
            }
            let Some(Frame { a, b, chooser, parts, results }) = frames.pop() else { return Err(TooLarge) };
            let mut results = parts.iter().map(|(choice, ..)| *choice).zip(results);
            let Some((_, default)) = results.next() else { return Err(TooLarge) };
            let made = self.make(chooser, default, results.collect())?;
            self.combined.insert((op, a.min(b), a.max(b)), made);
            match frames.last_mut() {
                Some(frame) => frame.results.push(made),
                None => return Ok(made),
            }
        }
    }

    /// A combination that needs no work or was made before.
    fn known(&self, op: Op, a: Count, b: Count) -> Option<Count> {
        let (a, b) = (a.min(b), a.max(b));
        match (op, a, b) {
            (Op::And, Self::NONE, _) => Some(Self::NONE),
            (Op::And, Self::ONE, other) | (Op::Or | Op::Add, Self::NONE, other) => Some(other),
            (Op::Or, Self::ONE, _) => Some(Self::ONE),
            (Op::And | Op::Or, a, b) if a == b => Some(a),
            (Op::Add, Self::MANY, _) | (Op::Add, Self::ONE, Self::ONE | Self::MANY) => Some(Self::MANY),
            _ => self.combined.get(&(op, a, b)).copied(),
        }
    }

    fn frame(&mut self, a: Count, b: Count) -> Result<Frame, TooLarge> {
        let chooser_of = |count| self.node(count).map(|node| node.chooser);
        // A constant has no chooser, and `None` is the least.
        let chooser = chooser_of(a).max(chooser_of(b)).ok_or(TooLarge)?;
        let side = |count: Count| match self.node(count) {
            Some(node) if node.chooser == chooser => (node.default, node.cases.as_slice()),
            _ => (count, [].as_slice()),
        };
        let ((default_a, cases_a), (default_b, cases_b)) = (side(a), side(b));
        let mut parts = vec![(0, default_a, default_b)];
        let (mut rest_a, mut rest_b) = (cases_a.iter().peekable(), cases_b.iter().peekable());
        loop {
            let choice = match (rest_a.peek(), rest_b.peek()) {
                (Some((a, _)), Some((b, _))) => *a.min(b),
                (Some((only, _)), None) | (None, Some((only, _))) => *only,
                (None, None) => break,
            };
            let a = rest_a.next_if(|case| case.0 == choice).map_or(default_a, |case| case.1);
            let b = rest_b.next_if(|case| case.0 == choice).map_or(default_b, |case| case.1);
            parts.push((choice, a, b));
        }
        self.steps_left = self.steps_left.checked_sub(parts.len()).ok_or(TooLarge)?;
        Ok(Frame { a, b, chooser, results: Vec::with_capacity(parts.len()), parts })
    }

    fn make(
        &mut self,
        chooser: usize,
        default: Count,
        mut cases: Vec<(usize, Count)>,
    ) -> Result<Count, TooLarge> {
        cases.retain(|(_, count)| *count != default);
        if cases.is_empty() {
            return Ok(default);
        }
        self.steps_left = self.steps_left.checked_sub(cases.len()).ok_or(TooLarge)?;
        let node = Rc::new(Node { chooser, default, cases });
        if let Some(known) = self.names.get(&node) {
            return Ok(*known);
        }
        let name = Count(u32::try_from(self.nodes.len()).map_err(|_| TooLarge)? + Self::CONSTANTS);
        self.nodes.push(node.clone());
        self.names.insert(node, name);
        Ok(name)
    }

    fn node(&self, count: Count) -> Option<&Node> {
        let index = count.0.checked_sub(Self::CONSTANTS)?;
        self.nodes.get(index as usize).map(|node| &**node)
    }
}

// === impl Node ===

impl Node {
    fn branches(&self) -> impl Iterator<Item = (usize, Count)> {
        std::iter::once((0, self.default)).chain(self.cases.iter().copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn branches_that_cover_all_choices_count_once() {
        let mut diagrams = Diagrams::new(1000);
        let branches = (0..3).map(|choice| diagrams.when(5, choice, 3, Diagrams::ONE).unwrap()).collect();
        assert_eq!(diagrams.combine(Op::Add, branches), Ok(Diagrams::ONE));
    }

    #[test]
    fn the_order_of_work_does_not_change_a_function() {
        let mut diagrams = Diagrams::new(1000);
        let a = diagrams.when(1, 1, 2, Diagrams::ONE).unwrap();
        let b = diagrams.when(2, 0, 2, Diagrams::ONE).unwrap();
        let c = diagrams.when(3, 2, 4, Diagrams::ONE).unwrap();
        for op in [Op::And, Op::Or, Op::Add] {
            let left = diagrams.apply(op, a, b).and_then(|ab| diagrams.apply(op, ab, c));
            let right = diagrams.apply(op, c, b).and_then(|cb| diagrams.apply(op, a, cb));
            assert_eq!(left, right);
        }
    }

    #[test]
    fn the_shortest_way_names_the_choices_that_matter() {
        let mut diagrams = Diagrams::new(1000);
        let a = diagrams.when(1, 1, 2, Diagrams::ONE).unwrap();
        let b = diagrams.when(2, 3, 4, Diagrams::ONE).unwrap();
        let sum = diagrams.combine(Op::Add, vec![a, b]).unwrap();
        assert_eq!(diagrams.shortest_way(sum, Diagrams::MANY), Some(vec![(1, 1), (2, 3)]));
        assert_eq!(diagrams.shortest_way(sum, Diagrams::NONE), Some(vec![(1, 0), (2, 0)]));
        assert_eq!(diagrams.shortest_way(Diagrams::ONE, Diagrams::MANY), None);
        assert_eq!(diagrams.shortest_way(Diagrams::NONE, Diagrams::NONE), Some(vec![]));
    }

    #[test]
    fn work_beyond_the_budget_is_refused() {
        let mut diagrams = Diagrams::new(10);
        let a = diagrams.when(1, 0, 4, Diagrams::ONE).unwrap();
        let b = diagrams.when(2, 0, 4, Diagrams::ONE).unwrap();
        assert_eq!(diagrams.apply(Op::Add, a, b), Err(TooLarge));
    }
}
