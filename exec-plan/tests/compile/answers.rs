//! The proof that a graph answers once agrees with trying everything.

use std::collections::BTreeSet;

use exec_plan::{GraphError, GraphErrorCode};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::compile;

/// One node of a random graph.
#[derive(Clone, Debug)]
struct Node {
    kind: Kind,
    /// Which of the outputs before it feed it, modulo how many there are.
    reads: Vec<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Fires one of its outputs.
    Switch(usize),
    /// Fires the second of its outputs if it fails.
    Try,
    /// Waits for all that feeds it.
    Gather,
    /// Waits for any that feeds it.
    Join,
    /// Answers.
    Answer,
    /// Ends the run, which its owner answers.
    Fail,
    /// Answers, or fires its only output.
    TryAnswer,
}

/// An output: of which node, in which outcome it fires; `None` for in every one.
type Port = (usize, Option<usize>, &'static str);

const CASES: [&str; 4] = ["a", "b", "c", "d"];

impl Kind {
    fn outcomes(self) -> usize {
        match self {
            Self::Switch(cases) => cases,
            Self::Try | Self::TryAnswer => 2,
            Self::Gather | Self::Join | Self::Answer | Self::Fail => 1,
        }
    }

    fn ports(self, node: usize) -> Vec<Port> {
        match self {
            Self::Switch(cases) => (0..cases).map(|case| (node, Some(case), CASES[case])).collect(),
            Self::Try => vec![(node, Some(0), "value"), (node, Some(1), "failed")],
            Self::Gather | Self::Join => vec![(node, None, "value")],
            Self::Answer | Self::Fail => vec![],
            Self::TryAnswer => vec![(node, Some(1), "failed")],
        }
    }

    fn answers(self, outcome: usize) -> bool {
        matches!((self, outcome), (Self::Answer | Self::Fail | Self::TryAnswer, 0))
    }
}

/// What each node reads; `None` is a constant.
fn reads(nodes: &[Node]) -> Vec<Vec<Option<Port>>> {
    let mut ports: Vec<Port> = Vec::new();
    let mut all = Vec::new();
    for (index, node) in nodes.iter().enumerate() {
        let pick = |read: &usize| match read % (ports.len() + 1) {
            0 => None,
            port => Some(ports[port - 1]),
        };
        let single = matches!(node.kind, Kind::Switch(_) | Kind::Try);
        all.push(node.reads.iter().take(if single { 1 } else { 3 }).map(pick).collect());
        ports.extend(node.kind.ports(index));
    }
    all
}

fn document(nodes: &[Node]) -> String {
    let mut specs: Vec<Value> = Vec::new();
    let mut bindings = Vec::new();
    for (index, (node, reads)) in nodes.iter().zip(reads(nodes)).enumerate() {
        let id = format!("n{index}");
        let inputs: Vec<&str> = match node.kind {
            Kind::Switch(_) | Kind::Try => vec!["value"],
            _ => CASES[..reads.len()].to_vec(),
        };
        for (input, read) in inputs.iter().zip(&reads) {
            let from = read.map_or(json!(1), |(node, _, port)| json!(format!("n{node}.{port}")));
            bindings.push(json!({ "to": format!("{id}.{input}"), "from": from }));
        }
        specs.push(match node.kind {
            Kind::Switch(cases) => json!({ "id": id, "kernel": "switch", "outputs": CASES[..cases] }),
            Kind::Try => {
                json!({ "id": id, "kernel": "identity", "outputs": ["value", "failed"], "fallback": "failed" })
            }
            Kind::Gather => json!({ "id": id, "kernel": "gather", "inputs": inputs }),
            Kind::Join => json!({ "id": id, "kernel": "join", "inputs": inputs }),
            Kind::Answer => json!({ "id": id, "kernel": "answer", "inputs": inputs }),
            Kind::Fail => json!({ "id": id, "kernel": "fail", "inputs": inputs }),
            Kind::TryAnswer => json!({
                "id": id, "kernel": "answer", "inputs": inputs, "outputs": ["failed"], "fallback": "failed"
            }),
        });
    }
    json!({ "nodes": specs, "bindings": bindings }).to_string()
}

/// Which nodes run if each takes the outcome given for it.
fn runs(nodes: &[Node], reads: &[Vec<Option<Port>>], outcomes: &[usize]) -> Vec<bool> {
    let mut runs: Vec<bool> = Vec::new();
    for (node, reads) in nodes.iter().zip(reads) {
        let fired: Vec<bool> = reads
            .iter()
            .map(|read| match read {
                None => true,
                Some((from, outcome, _)) => {
                    runs[*from] && outcome.is_none_or(|outcome| outcome == outcomes[*from])
                }
            })
            .collect();
        runs.push(match node.kind {
            _ if fired.is_empty() => true,
            Kind::Join => fired.contains(&true),
            _ => !fired.contains(&false),
        });
    }
    runs
}

/// Every way to choose, with what runs then and how many answers there are.
fn everything(nodes: &[Node]) -> Vec<(Vec<usize>, Vec<bool>, usize)> {
    let reads = reads(nodes);
    let mut ways = Vec::new();
    let mut outcomes = vec![0; nodes.len()];
    loop {
        let runs = runs(nodes, &reads, &outcomes);
        let answers =
            (0..nodes.len()).filter(|node| runs[*node] && nodes[*node].kind.answers(outcomes[*node]));
        ways.push((outcomes.clone(), runs.clone(), answers.count()));
        let Some(next) = (0..nodes.len()).find(|node| outcomes[*node] + 1 < nodes[*node].kind.outcomes())
        else {
            return ways;
        };
        outcomes[next] += 1;
        outcomes[..next].fill(0);
    }
}

/// The choices an error tells: of which node, which outcome.
fn told(nodes: &[Node], error: &GraphError) -> Vec<(usize, usize)> {
    let choices = error.message.split_once(" if ").map_or("", |(_, rest)| rest);
    let choices = choices.split_once(':').map_or(choices, |(choices, _)| choices);
    let choice = |text: &str| {
        let mut words = text.split(' ').map(|word| word.trim_matches('`'));
        let node: usize = words.next().unwrap().strip_prefix('n').unwrap().parse().unwrap();
        let outcome = match words.next().unwrap() {
            "takes" => {
                let case = words.next().unwrap();
                CASES.iter().position(|name| *name == case).unwrap()
            }
            "succeeds" => 0,
            "fails" => 1,
            word => panic!("{word}"),
        };
        assert!(outcome < nodes[node].kind.outcomes());
        (node, outcome)
    };
    choices
        .split([','])
        .flat_map(|part| part.split(" and "))
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .map(choice)
        .collect()
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![
        3 => (1..4_usize).prop_map(Kind::Switch),
        2 => Just(Kind::Try),
        2 => Just(Kind::Gather),
        2 => Just(Kind::Join),
        3 => Just(Kind::Answer),
        1 => Just(Kind::Fail),
        1 => Just(Kind::TryAnswer),
    ]
}

fn graph() -> impl Strategy<Value = Vec<Node>> {
    let node =
        (kind(), prop::collection::vec(any::<usize>(), 1..4)).prop_map(|(kind, reads)| Node { kind, reads });
    prop::collection::vec(node, 1..8).prop_map(|mut nodes| {
        if !nodes.iter().any(|node| matches!(node.kind, Kind::Answer | Kind::TryAnswer)) {
            nodes.push(Node { kind: Kind::Answer, reads: vec![3] });
        }
        nodes
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn the_proof_agrees_with_trying_everything(nodes in graph()) {
        let ways = everything(&nodes);
        let text = document(&nodes);
        let mut expected = BTreeSet::new();
        expected.extend(ways.iter().any(|way| way.2 == 0).then_some("never-answers"));
        expected.extend(ways.iter().any(|way| way.2 > 1).then_some("answers-twice"));
        let result = compile(text.clone());
        let errors = result.as_ref().err().map_or(&[][..], |errors| errors.errors());
        let found: BTreeSet<&str> = errors.iter().map(|error| error.code.name()).collect();
        prop_assert_eq!(found, expected, "{}", text);
        for error in errors {
            let told = told(&nodes, error);
            let matching = ways.iter().filter(|(outcomes, runs, _)| {
                told.iter().all(|(node, outcome)| runs[*node] && outcomes[*node] == *outcome)
            });
            let answers: Vec<usize> = matching.map(|way| way.2).collect();
            prop_assert!(!answers.is_empty(), "what is told cannot happen: {}\n{}", error.message, text);
            let wrong = |answers: &usize| (error.code == GraphErrorCode::NeverAnswers) == (*answers == 0) && *answers != 1;
            prop_assert!(answers.iter().all(wrong), "what is told is not enough: {}\n{}", error.message, text);
        }
    }
}

#[test]
fn both_verdicts_are_common() {
    // The property above would hold if every random graph were refused.
    let accepted = [
        vec![Node { kind: Kind::Answer, reads: vec![0] }],
        vec![
            Node { kind: Kind::Switch(2), reads: vec![0] },
            Node { kind: Kind::Answer, reads: vec![1] },
            Node { kind: Kind::Answer, reads: vec![2] },
        ],
        vec![Node { kind: Kind::TryAnswer, reads: vec![0] }, Node { kind: Kind::Answer, reads: vec![1] }],
    ];
    for nodes in accepted {
        compile(document(&nodes)).unwrap_or_else(|errors| panic!("{errors}"));
    }
}
