//! The hash of a document is that of its content.

use proptest::prelude::*;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::compile;

fn hash(text: &str) -> String {
    compile(text).unwrap_or_else(|errors| panic!("{errors}")).hash().to_string()
}

fn document(version: &Value, constant: &Value) -> Value {
    json!({ "version": version, "nodes": [], "outputs": [{ "from": constant, "as": "one" }] })
}

#[test]
fn the_hash_is_that_of_the_tokens_name_and_version() {
    let text = r#"{ "nodes": [], "outputs": [ { "from": "a\u00e9", "as": "one" } ] }"#;
    let tokens = r#"{"nodes":[],"outputs":[{"from":"aé","as":"one"}]}"#;
    let digest = Sha256::digest(format!("{tokens}\ngraph 0.0.0"));
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hash(text), hex);
}

#[test]
fn content_name_and_version_change_the_hash() {
    let texts = [
        r#"{ "nodes": [], "outputs": [{ "from": 1, "as": "one" }] }"#,
        r#"{ "nodes": [], "outputs": [{ "from": 2, "as": "one" }] }"#,
        r#"{ "nodes": [], "outputs": [{ "from": "1", "as": "one" }] }"#,
        r#"{ "nodes": [], "outputs": [{ "from": "a b", "as": "one" }] }"#,
        r#"{ "nodes": [], "outputs": [{ "from": "ab", "as": "one" }] }"#,
        r#"{ "nodes": [], "outputs": [{ "from": 1, "as": "one" }], "name": "other" }"#,
        r#"{ "nodes": [], "outputs": [{ "from": 1, "as": "one" }], "version": 2 }"#,
        r#"{ "nodes": [], "outputs": [{ "from": [[], 1], "as": "one" }] }"#,
        r#"{ "nodes": [], "outputs": [{ "from": [[1]], "as": "one" }] }"#,
    ];
    let hashes: std::collections::BTreeSet<String> = texts.iter().map(|text| hash(text)).collect();
    assert_eq!(hashes.len(), texts.len());
}

/// JSON values that no rewriting changes.
fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[ -~é\n\"\\\\]{0,8}".prop_map(|text| Value::from(format!(" {text}"))),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-c]{1,2}", inner, 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn formatting_does_not_change_the_hash(value in values(), spaces in 0..3_usize, escape in any::<bool>()) {
        let document = document(&json!(1), &value);
        let compact = document.to_string();
        let mut reformatted = serde_json::to_string_pretty(&document).unwrap();
        reformatted = reformatted.replace("\n", &format!("\r\n{}", " ".repeat(spaces)));
        if escape {
            reformatted = reformatted.replace('é', "\\u00e9").replace("one", "\\u006f\\u006Ee");
        }
        prop_assert_eq!(hash(&compact), hash(&reformatted));
    }
}
