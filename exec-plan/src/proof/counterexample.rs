//! Tells the way on which a graph does not answer exactly once.

use std::collections::BTreeMap;

use super::diagram::Choice;
use crate::diagnostic::{GraphErrorCode as Code, Problem};
use crate::document::{GraphDoc, NodeDoc, Span};
use crate::kernel::{Emits, Fires};
use crate::wire::{Wire, WiredNode};

/// One way through a graph.
pub(super) struct Counterexample<'g> {
    doc: &'g GraphDoc<'g>,
    nodes: &'g [WiredNode],
    /// Which outcome each node takes, for those on the way that have a choice.
    choices: BTreeMap<usize, usize>,
    runs: Vec<bool>,
}

/// How many choices and how many nodes of one kind are named.
const MAX_NAMED: usize = 8;

// === impl Counterexample ===

impl<'g> Counterexample<'g> {
    pub(super) fn new(
        doc: &'g GraphDoc<'g>,
        nodes: &'g [WiredNode],
        choices: BTreeMap<usize, usize>,
    ) -> Self {
        let mut way = Self { doc, nodes, choices, runs: Vec::with_capacity(nodes.len()) };
        for node in nodes {
            let runs = way.runs_next(node);
            way.runs.push(runs);
        }
        way
    }

    pub(super) fn problem(&self) -> Problem {
        let answering: Vec<usize> = (0..self.nodes.len()).filter(|node| self.answers(*node)).collect();
        let choices = self.choices.iter().map(|(node, choice)| (*node, *choice));
        let decisive: Vec<Choice> = choices.filter(|(node, _)| self.runs[*node]).collect();
        let when = match decisive.as_slice() {
            [] if self.runs.contains(&false) => " whatever the branches choose".to_owned(),
            [] => String::new(),
            choices => {
                let told: Vec<String> = choices.iter().map(|choice| self.told(*choice)).collect();
                format!(" if {}", enumerated(&told))
            }
        };
        if answering.is_empty() {
            self.unanswered(&when, &decisive)
        } else {
            self.answered_twice(&when, &decisive, &answering)
        }
    }

    fn unanswered(&self, when: &str, decisive: &[Choice]) -> Problem {
        let skipped: Vec<usize> = (0..self.nodes.len()).filter(|node| !self.runs[*node]).collect();
        let silent: Vec<usize> = skipped.iter().copied().filter(|node| self.answering(*node)).collect();
        let message = match skipped.as_slice() {
            [] => format!("the call gets no answer{when}"),
            [_] => format!("the call gets no answer{when}: {} is skipped", self.names(&skipped)),
            _ => format!("the call gets no answer{when}: {} are skipped", self.names(&skipped)),
        };
        let place = match decisive.last() {
            Some(choice) => self.choice_place(*choice),
            None => silent.first().map_or(self.doc.span, |node| self.place(*node)),
        };
        let mut problem = Problem::new(Code::NeverAnswers, place, message)
            .help("every way through the graph ends in one node that answers");
        for node in silent {
            if self.place(node) != place {
                problem = problem.related(self.place(node), "this would answer but is skipped");
            }
        }
        problem
    }

    fn answered_twice(&self, when: &str, decisive: &[Choice], answering: &[usize]) -> Problem {
        let message = format!("the call gets more than one answer{when}: from {}", self.names(answering));
        let (first, place) = match answering {
            [first, second, ..] => (Some(*first), self.place(*second)),
            _ => (None, self.doc.span),
        };
        let mut problem = Problem::new(Code::AnswersTwice, place, message)
            .help("put the answers on different branches, or join the branches before one answer");
        if let Some(first) = first {
            problem = problem.related(self.place(first), "this answers too");
        }
        for choice in decisive {
            problem = problem.related(self.choice_place(*choice), format!("if {}", self.told(*choice)));
        }
        problem
    }

    /// Whether the next node runs, given what those before it do.
    fn runs_next(&self, node: &WiredNode) -> bool {
        let fired = |wire: &Wire| match wire {
            Wire::Unbound => None,
            Wire::Env(_) | Wire::Const(_) => Some(true),
            Wire::Node { node, output } => Some(self.fires(*node, *output)),
        };
        let mut fired = node.inputs.iter().filter_map(fired).peekable();
        match node.bound.signature.fires {
            _ if fired.peek().is_none() => true,
            Fires::All => fired.all(|fired| fired),
            Fires::Any => fired.any(|fired| fired),
        }
    }

    fn fires(&self, node: usize, output: usize) -> bool {
        let choice = self.nodes[node].choice_of(output);
        self.runs[node] && choice.is_none_or(|choice| choice == self.choice(node))
    }

    /// The outcome a node takes; one that has no bearing on the answer takes the first.
    fn choice(&self, node: usize) -> usize {
        self.choices.get(&node).copied().unwrap_or(0)
    }

    fn answering(&self, node: usize) -> bool {
        self.nodes[node].settles()
    }

    fn answers(&self, node: usize) -> bool {
        self.answering(node) && self.runs[node] && self.nodes[node].failure() != Some(self.choice(node))
    }

    fn told(&self, (node, choice): Choice) -> String {
        let WiredNode { id, bound, .. } = &self.nodes[node];
        match bound.signature.emits {
            _ if self.nodes[node].failure() == Some(choice) => format!("`{id}` fails"),
            Emits::All => format!("`{id}` succeeds"),
            Emits::One => match bound.signature.outputs.get(choice) {
                Some(output) => format!("`{id}` takes `{}`", output.name),
                None => format!("`{id}` takes no output"),
            },
        }
    }

    fn names(&self, nodes: &[usize]) -> String {
        let names: Vec<String> = nodes.iter().map(|node| format!("`{}`", self.nodes[*node].id)).collect();
        enumerated(&names)
    }

    fn document(&self, node: usize) -> Option<&'g NodeDoc<'g>> {
        let id = &self.nodes[node].id;
        self.doc.nodes.iter().find(|node| node.id.is_some_and(|word| word.text == &**id))
    }

    fn place(&self, node: usize) -> Span {
        self.document(node).map_or(self.doc.span, NodeDoc::place)
    }

    /// The output that a choice fires, where the node lists it.
    fn choice_place(&self, (node, choice): Choice) -> Span {
        let failure = self.nodes[node].failure() == Some(choice);
        let routes = self.nodes[node].bound.signature.emits == Emits::One;
        let listed = self.document(node).and_then(|document| {
            if failure {
                return Some(document.failure_output()?.span);
            }
            let output = self.nodes[node].bound.signature.outputs.get(choice).filter(|_| routes)?;
            self.doc.ports(document.outputs).find(|port| port.text == output.name).map(|port| port.span)
        });
        listed.unwrap_or_else(|| self.place(node))
    }
}

/// `a`, `a and b`, `a, b and c`; the middle of a long enumeration is left out.
fn enumerated(items: &[String]) -> String {
    match items {
        [] => String::new(),
        [only] => only.clone(),
        [rest @ .., last] if items.len() <= MAX_NAMED => format!("{} and {last}", rest.join(", ")),
        _ => format!("{} and {} more", items[..MAX_NAMED].join(", "), items.len() - MAX_NAMED),
    }
}
