//! Single values out of encoded messages.

use proto_json::{Found, ReadOptions};

use crate::compiled::{message, to_wire};

fn found(name: &str, json: &str, path: &str) -> String {
    let (message, _) = message(name);
    let wire = to_wire(&message, json, ReadOptions::default()).unwrap();
    match message.path(path) {
        Ok(path) => match path.get(&wire, 1 << 20) {
            Ok(Some(Found::Json(json))) => String::from_utf8(json).unwrap(),
            Ok(Some(found)) => format!("{found:?}"),
            Ok(None) => "nothing".to_owned(),
            Err(error) => format!("wire: {error}"),
        },
        Err(error) => format!("path: {error}"),
    }
}

#[test]
fn a_path_leads_to_every_kind_of_value() {
    let scalars = r#"{"a":-1,"d":"18446744073709551615","k":1.5,"m":true,"n":"x","o":"AQI=","p":"RED","snakeCaseName":7}"#;
    for (path, expected) in [
        ("a", "I64(-1)"),
        ("d", "U64(18446744073709551615)"),
        ("k", "F64(1.5)"),
        ("m", "Bool(true)"),
        ("n", "Str(\"x\")"),
        ("o", "Bytes([1, 2])"),
        ("p", "Str(\"RED\")"),
        ("snake_case_name", "I64(7)"),
        ("snakeCaseName", "I64(7)"),
        ("b", "I64(0)"),
        ("opt_number", "nothing"),
        ("opt_text", "nothing"),
        (
            "",
            r#"{"a":-1,"d":"18446744073709551615","k":1.5,"m":true,"n":"x","o":"AQI=","p":"RED","snake_case_name":7}"#,
        ),
    ] {
        assert_eq!(found("Scalars", scalars, path), expected, "{path}");
    }
    assert_eq!(found("Scalars", r#"{"p":77}"#, "p"), "I64(77)");
}

#[test]
fn a_path_goes_through_messages_lists_and_maps() {
    let tree = r#"{"left":{"rest":[{"value":1},{"value":2,"text":"x"}]},"number":"5"}"#;
    for (path, expected) in [
        ("left.rest.1.text", "Str(\"x\")"),
        ("left.rest.1", r#"{"value":2,"text":"x"}"#),
        ("left.rest", r#"[{"value":1},{"value":2,"text":"x"}]"#),
        ("left.rest.2", "nothing"),
        ("right.value", "nothing"),
        ("rest", "[]"),
        ("number", "I64(5)"),
        ("text", "nothing"),
        ("left.value", "I64(0)"),
    ] {
        assert_eq!(found("Tree", tree, path), expected, "{path}");
    }
    let maps =
        r#"{"a":{"x":1},"c":{"-5":{"n":"deep"},"6":{}},"d":{"true":"AQ=="},"f":{"-2":0.5},"e":{"7":"RED"}}"#;
    for (path, expected) in [
        ("a.x", "I64(1)"),
        ("a.y", "nothing"),
        ("a", r#"{"x":1}"#),
        ("c.-5.n", "Str(\"deep\")"),
        ("c.6", "{}"),
        ("d.true", "Bytes([1])"),
        ("d.false", "nothing"),
        ("f.-2", "F64(0.5)"),
        ("e.7", "Str(\"RED\")"),
    ] {
        assert_eq!(found("Maps", maps, path), expected, "{path}");
    }
    let known = r#"{"timestamp":"1970-01-01T00:00:05Z","struct":{"a":{"b":[1]}},"int64":"7"}"#;
    for (path, expected) in [
        ("timestamp", r#""1970-01-01T00:00:05Z""#),
        ("timestamp.seconds", "I64(5)"),
        ("int64", r#""7""#),
        ("int64.value", "I64(7)"),
        ("struct", r#"{"a":{"b":[1]}}"#),
        ("struct.fields.a.struct_value.fields.b", "[1]"),
    ] {
        assert_eq!(found("Known", known, path), expected, "{path}");
    }
    assert_eq!(found("Lists", r#"{"a":[5,6],"b":["7"]}"#, "a.1"), "I64(6)");
    assert_eq!(found("Lists", r#"{"a":[5,6],"b":["7"]}"#, "b.0"), "I64(7)");
    assert_eq!(found("Lists", r#"{"a":[5,6],"b":["7"]}"#, "a.2"), "nothing");
}

#[test]
fn a_path_that_leads_nowhere_is_no_path() {
    for (path, expected) in [
        ("zz", "path: all.Tree has no field \"zz\""),
        ("left.zz", "path: all.Tree has no field \"zz\""),
        ("value.x", "path: nothing is inside value, so \"x\" is not"),
        ("rest.x", "path: \"x\" is no place in a list"),
        ("rest.+1", "path: \"+1\" is no place in a list"),
        ("left..value", "path: step 2 of the path is empty"),
    ] {
        assert_eq!(found("Tree", "{}", path), expected, "{path}");
    }
    let (tree, _) = message("Tree");
    assert_eq!(tree.path(&"left.".repeat(200)).unwrap_err().to_string(), "the path has more than 100 steps");
}

#[test]
fn merged_parts_are_one_message_to_a_path() {
    let (tree, _) = message("Tree");
    let wire: Vec<_> = [r#"{"left":{"value":1}}"#, r#"{"left":{"text":"x"},"text":"y"}"#, r#"{"number":3}"#]
        .iter()
        .flat_map(|json| to_wire(&tree, json, ReadOptions::default()).unwrap())
        .collect();
    let get = |path: &str| {
        let path = tree.path(path).unwrap();
        format!("{:?}", path.get(&wire, 1 << 20).unwrap())
    };
    assert_eq!(get("left.value"), "Some(I64(1))");
    assert_eq!(get("left.text"), "Some(Str(\"x\"))");
    assert_eq!(get("text"), "None");
    assert_eq!(get("number"), "Some(I64(3))");
}
