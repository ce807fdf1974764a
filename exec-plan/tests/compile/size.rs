//! Documents at and beyond the limits: accepted or refused in seconds, with reports of bounded size.

use std::fmt::Write;
use std::time::{Duration, Instant};

use exec_plan::{ExecPlan, GraphErrorCode, GraphErrors};
use serde_json::json;

use crate::compile;

/// How long anything here may take, unoptimized and on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// Longer reports help nobody.
const MAX_REPORT_BYTES: usize = 400_000;

fn timed(text: impl Into<Vec<u8>>) -> Result<ExecPlan, GraphErrors> {
    let start = Instant::now();
    let result = compile(text);
    if let Err(errors) = &result {
        assert!(errors.to_string().len() < MAX_REPORT_BYTES);
    }
    assert!(start.elapsed() < PATIENCE, "{:?}", start.elapsed());
    result
}

fn refused(text: impl Into<Vec<u8>>) -> GraphErrors {
    timed(text).map(|_| ()).unwrap_err()
}

fn codes(errors: &GraphErrors) -> Vec<&'static str> {
    errors.errors().iter().map(|error| error.code.name()).collect()
}

/// A chain of nodes, each of which reads the one before it.
fn chain(nodes: usize) -> String {
    let mut text = String::from("{\n  \"nodes\": [\n    { \"id\": \"n0\", \"kernel\": \"number\" }");
    for node in 1..nodes {
        let _ = write!(
            text,
            ",\n    {{ \"id\": \"n{node}\", \"kernel\": \"identity\", \"inputs\": [\"value\"] }}"
        );
    }
    text.push_str("\n  ],\n  \"bindings\": [\n    ");
    for node in 1..nodes {
        let comma = if node > 1 { ",\n    " } else { "" };
        let _ = write!(text, "{comma}{{ \"to\": \"n{node}.value\", \"from\": \"n{}.value\" }}", node - 1);
    }
    let _ = write!(
        text,
        "\n  ],\n  \"outputs\": [{{ \"from\": \"n{}.value\", \"as\": \"last\" }}]\n}}",
        nodes - 1
    );
    text
}

#[test]
fn a_hundred_thousand_nodes_compile() {
    let plan = timed(chain(100_000)).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(plan.name().as_str(), "graph");
}

#[test]
fn one_mistake_in_a_hundred_thousand_nodes_is_found() {
    let errors = refused(
        chain(100_000).replace("\"n77777\", \"kernel\": \"identity\"", "\"n77777\", \"kernel\": \"identty\""),
    );
    assert_eq!(codes(&errors), ["unknown-kernel"], "{errors}");
    let error = &errors.errors()[0];
    assert_eq!((error.line, error.pointer.as_str()), (77780, "/nodes/77777/kernel"));

    let errors = refused(chain(100_000).replace("\"from\": \"n5.value\"", "\"from\": \"n99999.value\""));
    assert_eq!(codes(&errors), ["cycle"]);
    assert!(errors.to_string().len() < 2000, "{errors}");

    let errors = refused(chain(100_000).replace("\"from\": \"n99998.value\"", "\"from\": \"n99998.valeu\""));
    assert_eq!(codes(&errors), ["unknown-port"], "{errors}");
}

#[test]
fn a_node_too_many_is_refused() {
    assert_eq!(codes(&refused(chain(100_001)))[0], "too-large");
}

#[test]
fn a_text_too_long_is_refused() {
    let errors = refused(vec![b' '; 16 * 1024 * 1024 + 1]);
    assert_eq!(codes(&errors), ["too-large"]);
    let errors = refused(vec![b' '; 16 * 1024 * 1024]);
    assert_eq!(codes(&errors), ["syntax"]);
}

#[test]
fn nesting_ten_thousand_deep_is_refused_once() {
    let deep = format!("{}1{}", "[".repeat(10_000), "]".repeat(10_000));
    let text = format!("{{ \"nodes\": [], \"outputs\": [{{ \"from\": {deep}, \"as\": 7 }}] }}");
    let errors = refused(text);
    assert_eq!(codes(&errors), ["too-deep", "wrong-type"], "{errors}");
    for text in ["[".repeat(10_000), "{\"a\":".repeat(1_000_000)] {
        assert_eq!(codes(&refused(text)).iter().filter(|code| **code == "too-deep").count(), 1);
    }
}

#[test]
fn nesting_to_the_limit_compiles() {
    // The document, its outputs and the entry are three of the 128.
    let document = |depth: usize| {
        let deep = format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
        format!("{{ \"nodes\": [], \"outputs\": [{{ \"from\": {deep}, \"as\": \"one\" }}] }}")
    };
    timed(document(125)).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(codes(&refused(document(126))), ["too-deep"]);
}

#[test]
fn tens_of_thousands_of_mistakes_make_a_short_report() {
    let text = chain(20_000);
    let floods = [
        text.replace("\"identity\"", "\"identty\""),
        text.replace("\"inputs\"", "\"imputs\""),
        text.replace(".value\" }", ".valeu\" }"),
        text.replace("\"from\": \"n", "\"from\": \"m"),
        text.replace("\"to\": \"n", "\"to\": \"m"),
        text.replace("\"id\": \"n", "\"id\": \"n-"),
        text.replace("\"identity\",", "\"identity\""),
        text.replace("\"value\"", "\"value"),
        text.replace("\"id\": ", "\"id\": 1"),
        text.replace("\"from\": ", "\"from\": \"up.a\", \"from\": "),
        text.replace("\"identity\"", "\"upstream\""),
        text.replace("\"n", "'n"),
        text.replace('\n', " ").replace("identity", "identty"),
    ];
    for flood in floods {
        let errors = refused(flood);
        assert_eq!(errors.errors().len(), 100);
        assert!(errors.omitted() > 10_000, "{}: {}", errors.omitted(), errors.errors()[0].message);
        let last = errors.to_string();
        assert!(last.ends_with("of them not shown\n"), "{}", last.lines().last().unwrap_or_default());
    }
}

#[test]
fn hostile_texts_are_refused_quickly() {
    let many = 300_000;
    let texts = [
        "[".repeat(many),
        "]".repeat(many),
        "{".repeat(many),
        "\"".repeat(many),
        ",".repeat(many),
        ":".repeat(many),
        "/*".repeat(many),
        "//\n".repeat(many),
        "\\".repeat(many),
        "'".repeat(many),
        "1 ".repeat(many),
        "[}".repeat(many),
        "{]".repeat(many),
        "é".repeat(many),
        format!("[{}]", "'a',".repeat(many)),
        format!("\"{}", "\\x".repeat(many)),
        format!("\"{}", "\n".repeat(many)),
        format!("{{{}", "\"a\":1,".repeat(many)),
        format!("[{}1", "0,".repeat(many)),
        format!("[{}]", "\"\n,".repeat(many)),
        format!("[1{}", "0".repeat(many)),
        format!("{{\"a\" {}", "b ".repeat(many)),
    ];
    for text in texts {
        let errors = refused(text);
        assert!(!errors.errors().is_empty());
    }
}

#[test]
fn a_very_wide_node_compiles() {
    let count = 50_000;
    let names: Vec<String> = (0..count).map(|port| format!("p{port}")).collect();
    let bindings: Vec<_> = names
        .iter()
        .map(|name| json!({ "to": format!("all.{name}"), "from": format!("s.{name}") }))
        .collect();
    let mut document = json!({
        "nodes": [
            { "id": "s", "kernel": "switch", "outputs": names },
            { "id": "all", "kernel": "join", "inputs": names },
            { "id": "out", "kernel": "answer", "inputs": ["value"] }
        ],
        "bindings": bindings
    });
    let list = document["bindings"].as_array_mut().unwrap();
    list.push(json!({ "to": "s.value", "from": "text" }));
    list.push(json!({ "to": "out.value", "from": "all.value" }));
    timed(document.to_string()).unwrap_or_else(|errors| panic!("{errors}"));

    // One branch that does not lead to the join.
    document["bindings"].as_array_mut().unwrap().remove(31_415);
    document["nodes"][1]["inputs"].as_array_mut().unwrap().remove(31_415);
    let errors = refused(document.to_string());
    assert_eq!(codes(&errors), ["never-answers"]);
    assert!(errors.errors()[0].message.contains("`s` takes `p31415`"), "{errors}");
}

#[test]
fn thousands_of_answers_on_thousands_of_branches_are_proved() {
    let count = 10_000;
    let names: Vec<String> = (0..count).map(|port| format!("p{port}")).collect();
    let mut nodes = vec![json!({ "id": "s", "kernel": "switch", "outputs": names })];
    let mut bindings = vec![json!({ "to": "s.value", "from": "text" })];
    for name in &names {
        nodes.push(json!({ "id": format!("out_{name}"), "kernel": "answer", "inputs": ["value"] }));
        bindings.push(json!({ "to": format!("out_{name}.value"), "from": format!("s.{name}") }));
    }
    timed(json!({ "nodes": nodes, "bindings": bindings }).to_string())
        .unwrap_or_else(|errors| panic!("{errors}"));
}

/// A chain of choices, each of which answers or leads on.
fn ladder(steps: usize) -> String {
    let mut nodes = Vec::new();
    let mut bindings = Vec::new();
    for step in 0..steps {
        nodes.push(json!({ "id": format!("s{step}"), "kernel": "switch", "outputs": ["done", "on"] }));
        nodes.push(json!({ "id": format!("out{step}"), "kernel": "answer", "inputs": ["value"] }));
        let before = step.checked_sub(1).map_or(json!("text"), |before| json!(format!("s{before}.on")));
        bindings.push(json!({ "to": format!("s{step}.value"), "from": before }));
        bindings.push(json!({ "to": format!("out{step}.value"), "from": format!("s{step}.done") }));
    }
    nodes.push(json!({ "id": "last", "kernel": "answer", "inputs": ["value"] }));
    bindings.push(json!({ "to": "last.value", "from": format!("s{}.on", steps - 1) }));
    json!({ "nodes": nodes, "bindings": bindings }).to_string()
}

#[test]
fn thousands_of_choices_in_a_row_are_proved() {
    let text = ladder(5000);
    timed(text.clone()).unwrap_or_else(|errors| panic!("{errors}"));
    let errors = refused(text.replace("\"from\":\"s4999.on\"", "\"from\":\"s4998.on\""));
    assert_eq!(codes(&errors), ["answers-twice"], "{errors}");
    let errors = refused(text.replace("\"from\":\"s4999.on\"", "\"from\":\"s4999.done\""));
    assert_eq!(codes(&errors), ["never-answers", "answers-twice"], "{errors}");
}

#[test]
fn branches_beyond_proof_are_refused_and_explained() {
    // The answer waits for any of many pairs of choices, and the partners stand far apart: whoever has
    // seen the first half of the choices has to remember all of them.
    let pairs = 30;
    let mut nodes = Vec::new();
    let mut bindings = Vec::new();
    for choice in 0..2 * pairs {
        nodes.push(json!({ "id": format!("s{choice}"), "kernel": "switch", "outputs": ["a", "b"] }));
        bindings.push(json!({ "to": format!("s{choice}.value"), "from": "text" }));
    }
    for pair in 0..pairs {
        let id = format!("pair{pair}");
        nodes.push(json!({ "id": id, "kernel": "gather", "inputs": ["x", "y"] }));
        bindings.push(json!({ "to": format!("{id}.x"), "from": format!("s{pair}.a") }));
        bindings.push(json!({ "to": format!("{id}.y"), "from": format!("s{}.a", pair + pairs) }));
        bindings.push(json!({ "to": format!("any.p{pair}"), "from": format!("{id}.value") }));
    }
    let names: Vec<String> = (0..pairs).map(|pair| format!("p{pair}")).collect();
    nodes.push(json!({ "id": "any", "kernel": "join", "inputs": names }));
    nodes.push(json!({ "id": "out", "kernel": "answer", "inputs": ["value"] }));
    bindings.push(json!({ "to": "out.value", "from": "any.value" }));
    let errors = refused(json!({ "nodes": nodes, "bindings": bindings }).to_string());
    assert_eq!(errors.errors()[0].code, GraphErrorCode::ProofTooLarge, "{errors}");
}
