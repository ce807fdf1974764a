//! Counts as functions of choices: multi-valued decision diagrams, each function stored once.
//!
//! A diagram asks for the latest choice first. A choice is a number from zero; a node of a diagram says
//! what becomes of choice zero and lists the choices of which something else becomes. So a branch among
//! thousands costs no more than one among two. Equal functions have equal names, whatever led to them.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use foldhash::HashMap;
use smallvec::{SmallVec, smallvec};

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
    /// Between how many outcomes each chooser chooses.
    choices: Vec<usize>,
    steps_left: usize,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Node {
    chooser: usize,
    /// What becomes of the choices that `cases` does not list; there is at least one. Zero if zero
    /// becomes of any choice, else what becomes of the first.
    default: Count,
    /// The choices of which something else becomes, ascending.
    cases: Cases,
}

type Cases = SmallVec<[(usize, Count); 1]>;

/// A combination in progress.
struct Frame {
    a: Count,
    b: Count,
    chooser: usize,
    /// What has to be combined for each choice; last and without one, for those not listed.
    parts: Vec<(Option<usize>, Count, Count)>,
    results: Vec<Count>,
}

// === impl Diagrams ===

impl Diagrams {
    pub(super) const NONE: Count = Count(0);
    pub(super) const ONE: Count = Count(1);
    pub(super) const MANY: Count = Count(2);
    const CONSTANTS: u32 = 3;

    pub(super) fn new(choices: Vec<usize>, max_steps: usize) -> Self {
        Self {
            nodes: Vec::new(),
            names: HashMap::default(),
            combined: HashMap::default(),
            picked: HashMap::default(),
            choices,
            steps_left: max_steps,
        }
    }

    /// `count` if `chooser` takes `choice`, else zero. `count` does not depend on this or a later chooser,
    /// and is always the same for one chooser.
    pub(super) fn when(&mut self, chooser: usize, choice: usize, count: Count) -> Result<Count, TooLarge> {
        if let Some(known) = self.picked.get(&(chooser, choice)) {
            return Ok(*known);
        }
        let made = self.make(chooser, Self::NONE, smallvec![(choice, count)])?;
        self.picked.insert((chooser, choice), made);
        Ok(made)
    }

    /// Zero if `chooser` takes `choice`, else `count`.
    pub(super) fn unless(&mut self, chooser: usize, choice: usize, count: Count) -> Result<Count, TooLarge> {
        self.make(chooser, count, smallvec![(choice, Self::NONE)])
    }

    /// Combines any number of counts; the earlier with the earlier, so that what belongs together meets
    /// while it is small.
    pub(super) fn combine(&mut self, op: Op, counts: &[Count]) -> Result<Count, TooLarge> {
        let mut counts: SmallVec<[Count; 8]> = counts.into();
        while counts.len() > 1 {
            let mut combined = SmallVec::with_capacity(counts.len().div_ceil(2));
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

    /// The fewest further choices that lead from a function to a constant when some are taken already;
    /// `None` if nothing leads there.
    pub(super) fn way(&self, from: Count, to: Count, taken: &BTreeMap<usize, usize>) -> Option<Vec<Choice>> {
        let mut came_from: HashMap<Count, (Count, Choice)> = HashMap::default();
        let mut queue = VecDeque::from([from]);
        while let Some(at) = queue.pop_front() {
            if at == to {
                return Some(Self::steps(from, to, &came_from));
            }
            let Some(node) = self.node(at) else { continue };
            for (choice, next) in node.branches(taken.get(&node.chooser).copied()) {
                if next != from && !came_from.contains_key(&next) {
                    came_from.insert(next, (at, (node.chooser, choice)));
                    queue.push_back(next);
                }
            }
        }
        None
    }

    fn steps(from: Count, to: Count, came_from: &HashMap<Count, (Count, Choice)>) -> Vec<Choice> {
        let mut steps = Vec::new();
        let mut at = to;
        while at != from
            && let Some((before, choice)) = came_from.get(&at)
        {
            steps.push(*choice);
            at = *before;
        }
        steps
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
            let default = results.last().copied().unwrap_or(Self::NONE);
            let cases = parts.iter().map_while(|part| part.0).zip(results).collect();
            let made = self.make(chooser, default, cases)?;
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
        let mut parts = Vec::with_capacity(cases_a.len().max(cases_b.len()) + 1);
        let (mut rest_a, mut rest_b) = (cases_a.iter().peekable(), cases_b.iter().peekable());
        loop {
            let choice = match (rest_a.peek(), rest_b.peek()) {
                (Some((a, _)), Some((b, _))) => *a.min(b),
                (Some((only, _)), None) | (None, Some((only, _))) => *only,
                (None, None) => break,
            };
            let a = rest_a.next_if(|case| case.0 == choice).map_or(default_a, |case| case.1);
            let b = rest_b.next_if(|case| case.0 == choice).map_or(default_b, |case| case.1);
            parts.push((Some(choice), a, b));
        }
        if self.choices.get(chooser).is_some_and(|choices| *choices > parts.len()) {
            parts.push((None, default_a, default_b));
        }
        self.spend(parts.len())?;
        Ok(Frame { a, b, chooser, results: Vec::with_capacity(parts.len()), parts })
    }

    /// The function that `cases` lists; of choices not listed, if there are any, becomes `default`.
    fn make(&mut self, chooser: usize, default: Count, mut cases: Cases) -> Result<Count, TooLarge> {
        let choices = self.choices.get(chooser).copied().ok_or(TooLarge)?;
        let is_listed = cases.len() == choices;
        let reaches_none =
            (default == Self::NONE && !is_listed) || cases.iter().any(|case| case.1 == Self::NONE);
        let first = cases.first().filter(|case| case.0 == 0).map_or(default, |case| case.1);
        let common = if reaches_none { Self::NONE } else { first };
        if common != default && !is_listed {
            let mut listed = cases.iter().copied().peekable();
            let all = (0..choices)
                .map(|choice| listed.next_if(|case| case.0 == choice).unwrap_or((choice, default)));
            cases = all.collect();
        }
        cases.retain(|(_, count)| *count != common);
        if cases.is_empty() {
            return Ok(common);
        }
        self.spend(cases.len())?;
        let node = Rc::new(Node { chooser, default: common, cases });
        if let Some(known) = self.names.get(&node) {
            return Ok(*known);
        }
        let name = Count(u32::try_from(self.nodes.len()).map_err(|_| TooLarge)? + Self::CONSTANTS);
        self.nodes.push(node.clone());
        self.names.insert(node, name);
        Ok(name)
    }

    /// Pays for an entry of a table and for what it lists.
    fn spend(&mut self, listed: usize) -> Result<(), TooLarge> {
        self.steps_left = self.steps_left.checked_sub(listed + 1).ok_or(TooLarge)?;
        Ok(())
    }

    fn node(&self, count: Count) -> Option<&Node> {
        let index = count.0.checked_sub(Self::CONSTANTS)?;
        self.nodes.get(index as usize).map(|node| &**node)
    }
}

// === impl Node ===

impl Node {
    /// The choices and what becomes of them, one of those not listed first; only the one taken if it is
    /// known.
    fn branches(&self, taken: Option<usize>) -> impl Iterator<Item = (usize, Count)> {
        let unlisted = self.cases.iter().zip(0..).take_while(|(case, choice)| case.0 == *choice).count();
        let choice = taken.unwrap_or(unlisted);
        let is_listed = self.cases.binary_search_by_key(&choice, |case| case.0).is_ok();
        let default = (!is_listed).then_some((choice, self.default));
        let cases =
            self.cases.iter().copied().filter(move |case| taken.is_none_or(|choice| choice == case.0));
        default.into_iter().chain(cases)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Five choosers, the last with three outcomes.
    fn diagrams(max_steps: usize) -> Diagrams {
        Diagrams::new(vec![1, 2, 4, 4, 2, 3], max_steps)
    }

    #[test]
    fn branches_that_cover_all_choices_count_once() {
        let mut diagrams = diagrams(1000);
        let branches: Vec<Count> =
            (0..3).map(|choice| diagrams.when(5, choice, Diagrams::ONE).unwrap()).collect();
        assert_eq!(diagrams.combine(Op::Add, &branches), Ok(Diagrams::ONE));
        assert_eq!(diagrams.combine(Op::Or, &branches), Ok(Diagrams::ONE));
        assert_eq!(diagrams.combine(Op::And, &branches), Ok(Diagrams::NONE));
    }

    #[test]
    fn the_order_of_work_does_not_change_a_function() {
        let mut diagrams = diagrams(1000);
        let a = diagrams.when(1, 1, Diagrams::ONE).unwrap();
        let b = diagrams.unless(2, 0, Diagrams::ONE).unwrap();
        let c = diagrams.when(3, 2, a).unwrap();
        for op in [Op::And, Op::Or, Op::Add] {
            let left = diagrams.apply(op, a, b).and_then(|ab| diagrams.apply(op, ab, c));
            let right = diagrams.apply(op, c, b).and_then(|cb| diagrams.apply(op, a, cb));
            assert_eq!(left, right);
        }
    }

    #[test]
    fn one_function_has_one_name_however_it_is_written() {
        let mut diagrams = diagrams(1000);
        let (one, many) = (Diagrams::ONE, Diagrams::MANY);
        let some_listed = diagrams.make(2, one, smallvec![(1, many), (3, many)]);
        let others_listed = diagrams.make(2, many, smallvec![(0, one), (2, one)]);
        let all_listed = diagrams.make(2, many, smallvec![(0, one), (1, many), (2, one), (3, many)]);
        assert!(some_listed == others_listed && others_listed == all_listed);
        let unless = diagrams.unless(1, 0, one);
        assert_eq!(unless, diagrams.when(1, 1, one));
    }

    #[test]
    fn a_way_names_the_choices_that_matter() {
        let mut diagrams = diagrams(1000);
        let a = diagrams.when(1, 1, Diagrams::ONE).unwrap();
        let b = diagrams.when(2, 3, Diagrams::ONE).unwrap();
        let sum = diagrams.combine(Op::Add, &[a, b]).unwrap();
        let free = BTreeMap::new();
        assert_eq!(diagrams.way(sum, Diagrams::MANY, &free), Some(vec![(1, 1), (2, 3)]));
        assert_eq!(diagrams.way(sum, Diagrams::NONE, &free), Some(vec![(1, 0), (2, 0)]));
        assert_eq!(diagrams.way(Diagrams::ONE, Diagrams::MANY, &free), None);
        assert_eq!(diagrams.way(Diagrams::NONE, Diagrams::NONE, &free), Some(vec![]));
        let taken = BTreeMap::from([(2, 1)]);
        assert_eq!(diagrams.way(sum, Diagrams::MANY, &taken), None);
        assert_eq!(diagrams.way(sum, Diagrams::ONE, &taken), Some(vec![(1, 1), (2, 1)]));
    }

    #[test]
    fn work_beyond_the_budget_is_refused() {
        let mut diagrams = diagrams(5);
        let a = diagrams.when(2, 1, Diagrams::ONE).unwrap();
        let b = diagrams.when(3, 1, Diagrams::ONE).unwrap();
        assert_eq!(diagrams.apply(Op::Add, a, b), Err(TooLarge));
    }
}
