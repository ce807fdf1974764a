//! Fields that the wire brings in pieces, twice, or in another form than one would write.

use proto_json::{ReadOptions, Schema, WriteOptions};

use crate::compiled::{compile, delimited, message, to_json, to_wire};

/// The JSON of the wire forms of several JSON texts, one after the other.
fn merged(name: &str, parts: &[&str]) -> String {
    let (message, _) = message(name);
    let wire = parts.iter().flat_map(|json| to_wire(&message, json, ReadOptions::default()).unwrap());
    to_json(&message, &wire.collect::<Vec<_>>(), WriteOptions::default()).unwrap()
}

#[test]
fn the_last_scalar_wins_and_messages_are_merged() {
    for (name, parts, expected) in [
        ("Scalars", vec![r#"{"a":1,"n":"x"}"#, r#"{"n":"y"}"#], r#"{"a":1,"n":"y"}"#),
        (
            "Tree",
            vec![
                r#"{"left":{"value":1,"left":{"value":2}}}"#,
                r#"{"left":{"left":{"text":"x"},"rest":[{}]}}"#,
            ],
            r#"{"left":{"value":1,"left":{"value":2,"text":"x"},"rest":[{}]}}"#,
        ),
        (
            "Tree",
            vec![r#"{"rest":[{"value":1}]}"#, r#"{"rest":[{"value":2}]}"#],
            r#"{"rest":[{"value":1},{"value":2}]}"#,
        ),
        ("Maps", vec![r#"{"a":{"x":1,"y":2}}"#, r#"{"a":{"x":3}}"#], r#"{"a":{"x":3,"y":2}}"#),
        (
            "Known",
            vec![r#"{"timestamp":"1970-01-01T00:00:05Z"}"#, r#"{"timestamp":"1970-01-01T00:00:00.5Z"}"#],
            r#"{"timestamp":"1970-01-01T00:00:05.500Z"}"#,
        ),
        ("Known", vec![r#"{"value":[1]}"#, r#"{"value":[2]}"#], r#"{"value":[1,2]}"#),
        ("Known", vec![r#"{"value":[1]}"#, r#"{"value":"x"}"#], r#"{"value":"x"}"#),
    ] {
        assert_eq!(merged(name, &parts), expected, "{parts:?}");
    }
}

#[test]
fn of_a_oneof_the_last_field_counts() {
    for (parts, expected) in [
        (vec![r#"{"text":"a"}"#, r#"{"number":1}"#], r#"{"number":"1"}"#),
        (vec![r#"{"number":1}"#, r#"{"text":"a"}"#], r#"{"text":"a"}"#),
        (vec![r#"{"node":{"value":1}}"#, r#"{"node":{"text":"x"}}"#], r#"{"node":{"value":1,"text":"x"}}"#),
        (
            vec![r#"{"node":{"value":1}}"#, r#"{"text":"a"}"#, r#"{"node":{"left":{}}}"#],
            r#"{"node":{"left":{}}}"#,
        ),
    ] {
        assert_eq!(merged("Tree", &parts), expected, "{parts:?}");
    }
}

#[test]
fn numbers_may_be_packed_or_not() {
    let (lists, _) = message("Lists");
    let json = |wire: &[u8]| to_json(&lists, wire, WriteOptions::default());
    // `a`, an int32: packed, alone, packed with nothing, packed.
    assert_eq!(json(&[0x0a, 2, 1, 2, 0x08, 3, 0x0a, 0, 0x0a, 1, 4]).unwrap(), r#"{"a":[1,2,3,4]}"#);
    // `b` is not packed by its schema.
    assert_eq!(json(&[0x12, 2, 1, 2, 0x10, 3]).unwrap(), r#"{"b":["-1","1","-2"]}"#);
    assert_eq!(json(&[0x4d, 1, 0, 0, 0]).unwrap(), r#"{"i":[1]}"#);
    assert_eq!(json(&[0x0a, 1, 0x80]).unwrap_err(), "byte 2: unexpected end");
    assert_eq!(json(&[0x4a, 3, 1, 0, 0]).unwrap_err(), "byte 2: unexpected end");
}

#[test]
fn unknown_fields_and_other_wire_types_are_dropped() {
    let (scalars, _) = message("Scalars");
    let json = |wire: &[u8]| to_json(&scalars, wire, WriteOptions::default());
    assert_eq!(json(&[0x08, 1, 0xa0, 0x06, 5, 0xa3, 0x06, 0x08, 1, 0xa4, 0x06]).unwrap(), r#"{"a":1}"#);
    assert_eq!(json(&[0x0d, 1, 2, 3, 4, 0x10, 2]).unwrap(), r#"{"b":"2"}"#);
    assert_eq!(json(&[0xa3, 0x06]).unwrap_err(), "byte 2: unexpected end");
    assert_eq!(json(&[0xa4, 0x06]).unwrap_err(), "byte 2: unmatched group");
    assert_eq!(json(&[0xa3, 0x06, 0x0c]).unwrap_err(), "byte 2: unmatched group");
    assert_eq!(json(&[0x00, 0]).unwrap_err(), "byte 0: invalid tag");
    assert_eq!(json(&[0x0e, 0]).unwrap_err(), "byte 0: invalid tag");
    assert_eq!(json(&[0x72, 5, b'a']).unwrap_err(), "byte 1: unexpected end");
    assert_eq!(
        json(&[0x08, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1]).unwrap_err(),
        "byte 1: varint too long"
    );
    assert_eq!(json(&[0x72, 1, 0xff]).unwrap_err(), "field n contains invalid UTF-8");
    // An int32 is the low half of its varint.
    assert_eq!(json(&[0x08, 0x81, 0x80, 0x80, 0x80, 0x10]).unwrap(), r#"{"a":1}"#);
}

#[test]
fn an_entry_may_lack_its_key_or_value() {
    let (maps, _) = message("Maps");
    let json = |wire: &[u8]| to_json(&maps, wire, WriteOptions::default());
    assert_eq!(json(&[0x0a, 0]).unwrap(), r#"{"a":{"":0}}"#);
    assert_eq!(json(&[0x0a, 2, 0x10, 5]).unwrap(), r#"{"a":{"":5}}"#);
    assert_eq!(json(&[0x0a, 6, 0x10, 5, 0x0a, 1, b'k', 0x18]).unwrap_err(), "byte 8: unexpected end");
    assert_eq!(json(&[0x1a, 0, 0x1a, 2, 0x08, 1]).unwrap(), r#"{"c":{"0":{},"1":{}}}"#);
    // A value in two parts is merged.
    assert_eq!(
        json(&[0x1a, 10, 0x08, 1, 0x12, 2, 0x08, 1, 0x12, 2, 0x10, 2]).unwrap(),
        r#"{"c":{"1":{"a":1,"b":"2"}}}"#
    );
    assert_eq!(json(&[0x3a, 0]).unwrap(), r#"{"g":{"0":null}}"#);
}

#[test]
fn what_has_no_json_form_says_so() {
    let (known, _) = message("Known");
    let json = |wire: &[u8]| to_json(&known, wire, WriteOptions::default());
    let far = "google.protobuf.Timestamp has no JSON form: seconds out of range";
    assert_eq!(json(&[0x42, 7, 0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]).unwrap_err(), far);
    let signs = "google.protobuf.Duration has no JSON form: seconds and nanos differ in sign";
    assert_eq!(
        json(&[0x12, 13, 0x08, 1, 0x10, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1]).unwrap_err(),
        signs
    );
    let path = "google.protobuf.FieldMask has no JSON form: a path is not lower_snake";
    for mask in ["aB", "a__b", "a_", "a_1"] {
        let wire = delimited(&[0x22], &delimited(&[0x0a], mask.as_bytes()));
        assert_eq!(json(&wire).unwrap_err(), path, "{mask}");
    }
    let number = "google.protobuf.Value has no JSON form: the number is not finite";
    assert_eq!(json(&[0x32, 9, 0x11, 0, 0, 0, 0, 0, 0, 0xf0, 0x7f]).unwrap_err(), number);
    assert_eq!(json(&[0x32, 0]).unwrap(), r#"{"value":null}"#);
    assert_eq!(
        json(&[0x0a, 5, 0x0a, 3, b't', b'/', b'x']).unwrap_err(),
        "unable to resolve \"t/x\": not found"
    );
    assert_eq!(json(&[0x0a, 2, 0x12, 0]).unwrap(), r#"{"any":{}}"#);
}

#[test]
fn groups_and_closed_enums_are_those_of_proto2() {
    let set = compile(
        r#"syntax = "proto2"; package p;
           enum E { ONE = 1; TWO = 2; }
           message M {
             optional group Inner = 1 { optional int32 a = 1; }
             repeated group Many = 2 { optional string b = 1; }
             optional E e = 3; repeated E list = 4; map<string, E> map = 5; repeated E packed = 6 [packed = true];
             optional int32 zero = 7; required string must = 8;
             extensions 100 to 200;
           }
           extend M { optional int32 more = 100; }"#,
        true,
    );
    let message = Schema::parse(set).unwrap().message("p.M").unwrap();
    let json = |wire: &[u8]| to_json(&message, wire, WriteOptions::default());
    let wire = |json: &str| to_wire(&message, json, ReadOptions::default());
    let text = r#"{"inner":{"a":1},"many":[{"b":"x"},{}],"e":"TWO","list":["ONE"],"map":{"k":"TWO"},"packed":["ONE"],"zero":0,"must":""}"#;
    let bytes = wire(text).unwrap();
    assert_eq!(json(&bytes).unwrap(), text);
    assert_eq!(&bytes[..4], [0x0b, 0x08, 1, 0x0c]);
    // The parts of a group are merged, too.
    assert_eq!(json(&[0x0b, 0x08, 1, 0x0c, 0x0b, 0x0c]).unwrap(), r#"{"inner":{"a":1}}"#);
    // Values that the enum does not have are unknown fields.
    assert_eq!(json(&[0x18, 1, 0x18, 9]).unwrap(), r#"{"e":"ONE"}"#);
    assert_eq!(
        json(&[0x20, 9, 0x20, 2, 0x32, 3, 1, 9, 2]).unwrap(),
        r#"{"list":["TWO"],"packed":["ONE","TWO"]}"#
    );
    assert_eq!(
        json(&[0x2a, 5, 0x0a, 1, b'k', 0x10, 9, 0x2a, 3, 0x0a, 1, b'l']).unwrap(),
        r#"{"map":{"l":0}}"#
    );
    assert_eq!(wire(r#"{"[p.more]":1}"#).unwrap_err(), "(line 1:2): unknown field \"[p.more]\"");
}
