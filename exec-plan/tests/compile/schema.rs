//! The published JSON Schema and the compiler agree on what a document may look like.

use exec_plan::{GRAPH_SCHEMA, GraphErrorCode};
use jsonschema::Validator;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::{broken, compile};

fn schema() -> Validator {
    jsonschema::validator_for(&serde_json::from_str(GRAPH_SCHEMA).unwrap()).unwrap()
}

/// Whether the compiler finds nothing wrong that a schema could find.
fn looks_right(text: &str) -> bool {
    use GraphErrorCode as Code;
    let Err(errors) = compile(text) else { return true };
    assert_eq!(errors.omitted(), 0);
    errors.errors().iter().all(|error| match error.code {
        Code::UnknownKey | Code::MissingKey | Code::WrongType | Code::InvalidValue | Code::InvalidName => {
            false
        }
        Code::InvalidVersion | Code::UnknownStatus | Code::DuplicateService | Code::DuplicatePort => false,
        // A source may be any text; only with the nodes at hand it turns out to be a bad reference.
        Code::InvalidIdentifier | Code::InvalidEndpoint => error.pointer.ends_with("/from"),
        _ => true,
    })
}

/// A document that uses every key.
fn everything() -> Value {
    json!({
        "version": "1.2.0-rc.1+build.5",
        "name": "shop",
        "description": "Sells things.",
        "serves": ["shop.Orders", "Carts"],
        "nodes": [
            { "id": "in", "kernel": "rpc_server_input", "inputs": ["call"], "outputs": ["method", "payload"] },
            {
                "id": "up", "kernel": "upstream", "params": {}, "outputs": ["payload", "failed"],
                "timeout_ms": 250, "fallback": "failed",
                "retry": { "attempts": 3, "backoff_ms": 20, "on": ["UNAVAILABLE", "ABORTED"] }
            },
            { "id": "sure", "kernel": "upstream", "fallback": { "payload": "", "status": 0 } },
            { "id": "why", "kernel": "json_get", "params": { "path": "/message" } },
            { "id": "out", "kernel": "rpc_server_output" },
            { "id": "sorry", "kernel": "rpc_server_output" }
        ],
        "bindings": [
            { "to": "in.call", "from": "$req.rpc.call" },
            { "to": "up.payload", "from": "in.payload" },
            { "to": "sure.payload", "from": { "$base64": "aGk=" } },
            { "to": "why.json", "from": "up.failed" },
            { "to": "out.call", "from": "$req.rpc.call" },
            { "to": "out.payload", "from": "up.payload" },
            { "to": "sorry.call", "from": "$req.rpc.call" },
            { "to": "sorry.code", "from": 14 },
            { "to": "sorry.message", "from": "why.value" }
        ],
        "outputs": [{ "from": "sure.payload", "as": "rest" }]
    })
}

#[test]
fn the_schema_is_a_schema() {
    assert!(jsonschema::meta::is_valid(&serde_json::from_str(GRAPH_SCHEMA).unwrap()));
}

#[test]
fn a_document_with_every_key_pleases_both() {
    let document = everything();
    assert!(schema().is_valid(&document));
    compile(document.to_string()).unwrap_or_else(|errors| panic!("{errors}"));
}

#[test]
fn the_broken_documents_get_one_verdict() {
    let schema = schema();
    let mut refused = 0;
    for (name, text) in broken::documents() {
        let Ok(document) = serde_json::from_str::<Value>(&text) else { continue };
        assert_eq!(schema.is_valid(&document), looks_right(&text), "{name}");
        refused += usize::from(!schema.is_valid(&document));
    }
    assert!(refused > 20, "{refused}");
}

#[test]
fn values_at_the_edge_get_one_verdict() {
    let schema = schema();
    let edges = [
        ("/nodes/1/timeout_ms", json!([0, 1, 3_600_000, 3_600_001, -1, 1.5, "1", null])),
        ("/nodes/1/retry/attempts", json!([0, 1, 10, 11, -1])),
        ("/nodes/1/retry/backoff_ms", json!([0, 60_000, 60_001, -1])),
        (
            "/nodes/1/retry/on",
            json!([[], ["OK"], ["aborted"], ["ABORTED"], ["ABORTED", "ABORTED"], [14], "ABORTED"]),
        ),
        (
            "/version",
            json!([
                0,
                u64::MAX,
                -1,
                1.5,
                "1",
                "1.2",
                "1.2.3",
                "01.2.3",
                "1.2.3-",
                "1.2.3-01",
                "1.2.3+01",
                "v1.2.3"
            ]),
        ),
        ("/name", json!(["a", "", "a b", "-a", "a-b.c", ".a", "a".repeat(128), "a".repeat(129), "é"])),
        ("/serves", json!([[], [""], ["a"], ["a.b"], ["a."], [".a"], ["a..b"], ["a/b"], ["a", "a"], [1]])),
        ("/nodes/0/id", json!(["a", "", "1a", "a1", "a-b", "_", "ä"])),
        ("/nodes/0/inputs", json!([["call", "call"], ["1"], {}, [null]])),
        ("/nodes/1/fallback", json!([{}, "failed", "a b", null, 1, []])),
        ("/bindings/0/to", json!(["in.call", "in", "in.", ".in", "in.call.x", "in.1", "", 1])),
        ("/bindings/0/from", json!([null, true, [], {}, "", "a b.c", 1.5])),
        ("/outputs/0/as", json!(["a", "", "a.b", 1])),
    ];
    for (pointer, values) in edges {
        for value in values.as_array().unwrap() {
            let mut document = everything();
            *document.pointer_mut(pointer).unwrap() = value.clone();
            assert_eq!(schema.is_valid(&document), looks_right(&document.to_string()), "{pointer}: {value}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_document_changed_anywhere_gets_one_verdict(changes in prop::collection::vec(change(), 1..4)) {
        let mut document = everything();
        for change in changes {
            apply(&mut document, &change);
        }
        prop_assert_eq!(schema().is_valid(&document), looks_right(&document.to_string()), "{}", document);
    }
}

/// A place, counted in the order of a walk, and what happens there.
#[derive(Clone, Debug)]
enum Change {
    Replace(usize, Value),
    Remove(usize),
    Insert(usize, &'static str, Value),
}

fn change() -> impl Strategy<Value = Change> {
    let values = prop::sample::select(vec![
        json!(null),
        json!(true),
        json!(0),
        json!(7),
        json!(-1),
        json!(1.5),
        json!(4_000_000),
        json!(""),
        json!("a"),
        json!("a.b"),
        json!("a b"),
        json!("1.2.3"),
        json!("ABORTED"),
        json!([]),
        json!(["a"]),
        json!(["a", "a"]),
        json!({}),
        json!({ "id": "x", "kernel": "y" }),
        json!({ "to": "x.y", "from": 1 }),
        json!({ "attempts": 2 }),
    ]);
    let keys = ["version", "nodes", "id", "params", "retry", "on", "to", "as", "x"];
    prop_oneof![
        (any::<usize>(), values.clone()).prop_map(|(at, value)| Change::Replace(at, value)),
        any::<usize>().prop_map(Change::Remove),
        (any::<usize>(), prop::sample::select(keys.to_vec()), values)
            .prop_map(|(at, key, value)| Change::Insert(at, key, value)),
    ]
}

fn apply(document: &mut Value, change: &Change) {
    let mut pointers = Vec::new();
    walk(document, String::new(), &mut pointers);
    let at = |at: usize| pointers[at % pointers.len()].clone();
    match change {
        Change::Replace(index, value) => *document.pointer_mut(&at(*index)).unwrap() = value.clone(),
        Change::Remove(index) => {
            if let Some((parent, last)) = at(*index).rsplit_once('/') {
                match document.pointer_mut(parent).unwrap() {
                    Value::Array(elements) => {
                        elements.remove(last.parse().unwrap());
                    }
                    Value::Object(members) => {
                        members.remove(last);
                    }
                    _ => {}
                }
            }
        }
        Change::Insert(index, key, value) => match document.pointer_mut(&at(*index)).unwrap() {
            Value::Array(elements) => elements.push(value.clone()),
            Value::Object(members) => {
                members.insert((*key).to_owned(), value.clone());
            }
            _ => {}
        },
    }
}

fn walk(value: &Value, pointer: String, pointers: &mut Vec<String>) {
    match value {
        Value::Array(elements) => {
            for (index, element) in elements.iter().enumerate() {
                walk(element, format!("{pointer}/{index}"), pointers);
            }
        }
        Value::Object(members) => {
            for (key, member) in members {
                walk(member, format!("{pointer}/{key}"), pointers);
            }
        }
        _ => {}
    }
    pointers.push(pointer);
}
