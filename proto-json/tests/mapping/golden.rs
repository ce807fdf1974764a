//! JSON beside what it becomes after a way to the wire and back, or beside what is wrong with it.

use proto_json::{FieldNames, ReadOptions, WriteOptions, Zeros};

use crate::compiled::{message, oracle, to_json, to_wire};

const GUEST: WriteOptions =
    WriteOptions { field_names: FieldNames::Original, zeros: Zeros::Scalars, max_output_bytes: 1 << 20 };

/// Reads JSON, lets the oracle read the wire form, and writes JSON again.
fn back(name: &str, json: &str) -> String {
    let (message, descriptor) = message(name);
    match to_wire(&message, json, ReadOptions::default()) {
        Ok(wire) => {
            let written = to_json(&message, &wire, WriteOptions::default());
            let again = crate::compiled::encoded(&oracle(&descriptor, &wire));
            assert_eq!(to_json(&message, &again, WriteOptions::default()), written, "{json}");
            written.unwrap_or_else(|error| format!("not written: {error}"))
        }
        Err(error) => error,
    }
}

fn check(name: &str, cases: &[(&str, &str)]) {
    for (json, expected) in cases {
        assert_eq!(back(name, json), *expected, "{json}");
    }
}

fn same(name: &str, cases: &[&str]) {
    for json in cases {
        assert_eq!(back(name, json), *json);
    }
}

#[test]
fn every_scalar_has_a_form() {
    same(
        "Scalars",
        &[
            "{}",
            r#"{"a":-2147483648,"b":"-9223372036854775808","c":4294967295,"d":"18446744073709551615"}"#,
            r#"{"e":-2147483648,"f":"-9223372036854775808","g":4294967295,"h":"18446744073709551615"}"#,
            r#"{"i":-1,"j":"-1","k":1.5,"l":0.1,"m":true,"n":"x","o":"AQID","p":"RED"}"#,
            r#"{"k":"NaN","l":"-Infinity"}"#,
            r#"{"k":3.4028235e+38,"l":1.7976931348623157e+308}"#,
            r#"{"optNumber":0,"optText":"","other name":"y","snakeCaseName":1}"#,
            r#"{"p":-7}"#,
        ],
    );
    check(
        "Scalars",
        &[
            (r#"{"a":0,"b":0,"k":0,"m":false,"n":"","o":"","p":"UNKNOWN"}"#, "{}"),
            (
                r#"{"a":"1","b":1,"c":1e2,"d":1.0,"e":" 1"}"#,
                "(line 1:36): invalid value for sint32 field e: \" 1\"",
            ),
            (r#"{"a":"1","b":1,"c":1e2,"d":1.0,"e":"-1"}"#, r#"{"a":1,"b":"1","c":100,"d":"1","e":-1}"#),
            (r#"{"k":"1.5","l":"Infinity"}"#, r#"{"k":1.5,"l":"Infinity"}"#),
            (r#"{"p":"ROUGE"}"#, r#"{"p":"RED"}"#),
            (r#"{"p":1}"#, r#"{"p":"RED"}"#),
            (r#"{"p":-5}"#, r#"{"p":"BLUE"}"#),
            (r#"{"o":"_-8"}"#, r#"{"o":"/+8="}"#),
            (r#"{"o":"\/+8"}"#, r#"{"o":"/+8="}"#),
            (
                r#"{"opt_number":1,"renamed":"z","snake_case_name":2}"#,
                r#"{"optNumber":1,"other name":"z","snakeCaseName":2}"#,
            ),
            (r#"{"a":null,"optNumber":null}"#, "{}"),
            (r#"{"n":"\u00e9\ud83d\ude00\n\t\"\\\/"}"#, "{\"n\":\"é😀\\n\\t\\\"\\\\/\"}"),
            (r#"{"\u0061":1}"#, r#"{"a":1}"#),
            ("{\"n\":\"\u{7f}\u{2028}\u{0}\"}", "syntax error (line 1:9): invalid character '\\0' in string"),
            (r#"{"n":"\u0000\u001f"}"#, r#"{"n":"\u0000\u001f"}"#),
        ],
    );
}

#[test]
fn zero_keeps_its_sign() {
    let (scalars, _) = message("Scalars");
    let wire = to_wire(&scalars, r#"{"k":-0.0,"l":-0}"#, ReadOptions::default()).unwrap();
    assert_eq!(to_json(&scalars, &wire, WriteOptions::default()).unwrap(), r#"{"k":-0,"l":-0}"#);
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    check(
        "Scalars",
        &[
            ("", "syntax error (line 1:1): unexpected end"),
            ("[1]", "syntax error (line 1:1): unexpected token ["),
            ("null", "syntax error (line 1:1): unexpected token null"),
            ("\"x\"", "syntax error (line 1:1): unexpected token \"x\""),
            (r#"{"a":1.5}"#, "(line 1:6): invalid value for int32 field a: 1.5"),
            (r#"{"a":1,"b":2,"zz":3}"#, "(line 1:14): unknown field \"zz\""),
            (r#"{"a":1,"a":2}"#, "(line 1:8): duplicate field \"a\""),
            (r#"{"optNumber":1,"opt_number":2}"#, "(line 1:16): duplicate field \"opt_number\""),
            (r#"{"a":1,}"#, "syntax error (line 1:8): unexpected token }"),
            (r#"{"a":1 "b":2}"#, "syntax error (line 1:8): unexpected token \"b\""),
            (r#"{"a":1}x"#, "syntax error (line 1:8): unexpected token x"),
            (r#"{"a":01}"#, "syntax error (line 1:6): unexpected token 01"),
            (r#"{"a":2147483648}"#, "(line 1:6): invalid value for int32 field a: 2147483648"),
            (r#"{"c":-1}"#, "(line 1:6): invalid value for uint32 field c: -1"),
            (r#"{"a":true}"#, "(line 1:6): invalid value for int32 field a: true"),
            (r#"{"m":"true"}"#, "(line 1:6): invalid value for bool field m: \"true\""),
            (r#"{"m":truer}"#, "(line 1:6): invalid value for bool field m: truer"),
            (r#"{"k":1e39}"#, "(line 1:6): invalid value for float field k: 1e39"),
            (r#"{"l":"1e999"}"#, "(line 1:6): invalid value for double field l: \"1e999\""),
            (r#"{"l":"inf"}"#, "(line 1:6): invalid value for double field l: \"inf\""),
            (r#"{"n":1}"#, "(line 1:6): invalid value for string field n: 1"),
            (r#"{"o":"!"}"#, "(line 1:6): invalid value for bytes field o: \"!\""),
            (r#"{"p":"GREEN"}"#, "(line 1:6): invalid value for enum field p: \"GREEN\""),
            (r#"{"p":""}"#, "(line 1:6): invalid value for enum field p: \"\""),
            (r#"{"n":"\ud83d"}"#, "syntax error (line 1:7): invalid escape code \"\\\\ud83d\" in string"),
            (r#"{"n":"\x"}"#, "syntax error (line 1:7): invalid escape code \"\\\\x\" in string"),
            (r#"{"n":"abc"#, "syntax error (line 1:10): unexpected end"),
            (r#"{"a""#, "syntax error (line 1:5): unexpected end"),
            ("{\n \"n\": \"é\", \"zz\": 1}", "(line 2:12): unknown field \"zz\""),
        ],
    );
    let (scalars, _) = message("Scalars");
    let mut out = b"kept".to_vec();
    let error = scalars.json_to_proto(b"{\"n\":\"\xff\"}", ReadOptions::default(), &mut out).unwrap_err();
    assert_eq!(error.to_string(), "syntax error (line 1:7): invalid UTF-8");
    let error =
        scalars.json_to_proto(b"{\"n\":\"long\",\"a\":x}", ReadOptions::default(), &mut out).unwrap_err();
    assert_eq!((error.line, error.column, error.syntax), (1, 17, false));
    assert_eq!(out, b"kept");
}

#[test]
fn lists_and_maps_have_forms() {
    same(
        "Lists",
        &[
            r#"{"a":[0,1,-1],"b":["5","-6"],"c":[0.5,"NaN"],"d":[true,false],"e":["","x"]}"#,
            r#"{"f":["","AQ=="],"g":["UNKNOWN","RED",9],"h":[{},{"a":1}],"i":[7]}"#,
        ],
    );
    check(
        "Lists",
        &[
            (r#"{"a":[],"h":[],"e":null}"#, "{}"),
            (r#"{"a":[null]}"#, "(line 1:7): invalid value for int32 field a: null"),
            (r#"{"h":[null]}"#, "syntax error (line 1:7): unexpected token null"),
            (r#"{"a":1}"#, "syntax error (line 1:6): unexpected token 1"),
            (r#"{"a":[1,]}"#, "(line 1:9): invalid value for int32 field a: ]"),
        ],
    );
    same(
        "Maps",
        &[
            r#"{"a":{"":0,"x":1},"b":{"-1":"m","2":"p"},"c":{"1":{},"10":{"a":5}}}"#,
            r#"{"d":{"false":"","true":"AQ=="},"e":{"18446744073709551615":"RED"},"f":{"-2":0.5}}"#,
            r#"{"g":{"1":null,"2":[1,{"a":"b"}]},"h":{"-1":"1970-01-01T00:00:00Z"}}"#,
        ],
    );
    check(
        "Maps",
        &[
            (r#"{"a":{"b":1,"a":2,"c":3}}"#, r#"{"a":{"a":2,"b":1,"c":3}}"#),
            (r#"{"a":{"b":1,"a":2,"b":3}}"#, "(line 1:19): duplicate map key \"b\""),
            (r#"{"b":{"1":"x","1.0":"y"}}"#, "(line 1:15): duplicate map key \"1.0\""),
            (r#"{"b":{"x":"y"}}"#, "(line 1:7): invalid value for int32 key: \"x\""),
            (r#"{"d":{"1":""}}"#, "(line 1:7): invalid value for bool key: \"1\""),
            (r#"{"a":{"x":null}}"#, "(line 1:11): invalid value for int32 field value: null"),
            (r#"{"a":{},"b":null}"#, "{}"),
        ],
    );
}

#[test]
fn a_oneof_is_set_once() {
    same(
        "Tree",
        &[
            r#"{"text":""}"#,
            r#"{"number":"0"}"#,
            r#"{"node":{}}"#,
            r#"{"nothing":null}"#,
            r#"{"anything":null}"#,
            r#"{"value":1,"left":{"value":2,"rest":[{},{"text":"x"}]},"right":{}}"#,
        ],
    );
    check(
        "Tree",
        &[
            (
                r#"{"text":"a","number":1}"#,
                "(line 1:13): error parsing \"number\", oneof all.Tree.choice is already set",
            ),
            (r#"{"text":null,"number":1}"#, r#"{"number":"1"}"#),
            (
                r#"{"text":"a","nothing":null}"#,
                "(line 1:13): error parsing \"nothing\", oneof all.Tree.choice is already set",
            ),
        ],
    );
}

#[test]
fn well_known_messages_have_their_own_forms() {
    same(
        "Known",
        &[
            r#"{"duration":"1.500s","empty":{},"mask":"a.b,cD","timestamp":"2024-02-29T12:30:00.000001Z"}"#,
            r#"{"duration":"-0.000000001s","timestamp":"0001-01-01T00:00:00Z"}"#,
            r#"{"struct":{"a":[null,true,1,1.5,"x",{"b":[]},{}],"b":{}},"value":null,"list":[[],[1]]}"#,
            r#"{"value":"text"}"#,
            r#"{"value":{"a":{}}}"#,
            r#"{"double":0,"float":1.5,"int64":"-1","uint64":"0","int32":0,"uint32":7}"#,
            r#"{"bool":false,"string":"","bytes":"","values":[null,1,"x"],"numbers":[0,1]}"#,
            r#"{"times":["1970-01-01T00:00:00Z","9999-12-31T23:59:59.999999999Z"]}"#,
        ],
    );
    check(
        "Known",
        &[
            (r#"{"duration":null,"double":null,"empty":null,"struct":null,"list":null,"null":null}"#, "{}"),
            (r#"{"duration":"1"}"#, "(line 1:13): invalid google.protobuf.Duration value \"1\""),
            (
                r#"{"timestamp":"2024-02-30T00:00:00Z"}"#,
                "(line 1:14): invalid google.protobuf.Timestamp value \"2024-02-30T00:00:00Z\"",
            ),
            (r#"{"timestamp":"2024-01-01T00:00:00+02:00"}"#, r#"{"timestamp":"2023-12-31T22:00:00Z"}"#),
            (r#"{"timestamp":1}"#, "syntax error (line 1:14): unexpected token 1"),
            (r#"{"mask":"a_b"}"#, "(line 1:9): invalid google.protobuf.FieldMask value \"a_b\""),
            (r#"{"mask":""}"#, r#"{"mask":""}"#),
            (r#"{"struct":{"a":1,"a":2}}"#, "(line 1:18): duplicate map key \"a\""),
            (r#"{"struct":[]}"#, "syntax error (line 1:11): unexpected token ["),
            (r#"{"value":1e999}"#, "(line 1:10): invalid value for double: 1e999"),
            (r#"{"int64":"x"}"#, "(line 1:10): invalid value for int64 field value: \"x\""),
            (r#"{"empty":{"a":1}}"#, "(line 1:11): unknown field \"a\""),
            (r#"{"numbers":[null]}"#, "(line 1:13): invalid value for int32 field value: null"),
        ],
    );
}

#[test]
fn an_any_holds_every_message_of_the_schema() {
    same(
        "Known",
        &[
            r#"{"any":{}}"#,
            r#"{"any":{"@type":"type.googleapis.com/all.Scalars","a":1,"n":"x"}}"#,
            r#"{"any":{"@type":"x/all.Scalars"}}"#,
            r#"{"any":{"@type":"type.googleapis.com/google.protobuf.Duration","value":"1s"}}"#,
            r#"{"any":{"@type":"type.googleapis.com/google.protobuf.Empty","value":{}}}"#,
            r#"{"any":{"@type":"type.googleapis.com/google.protobuf.Value","value":null}}"#,
            r#"{"any":{"@type":"t/google.protobuf.Any","value":{"@type":"t/all.Tree","left":{"text":"y"}}}}"#,
        ],
    );
    check(
        "Known",
        &[
            (
                r#"{"any":{"n":"x","@type":"t/all.Scalars","a":1}}"#,
                r#"{"any":{"@type":"t/all.Scalars","a":1,"n":"x"}}"#,
            ),
            (
                r#"{"any":{"value":"1s","@type":"t/google.protobuf.Duration"}}"#,
                r#"{"any":{"@type":"t/google.protobuf.Duration","value":"1s"}}"#,
            ),
            (
                r#"{"any":{"@type":"t/google.protobuf.Empty"}}"#,
                r#"{"any":{"@type":"t/google.protobuf.Empty","value":{}}}"#,
            ),
            (r#"{"any":{"a":1}}"#, "(line 1:8): missing \"@type\" field"),
            (
                r#"{"any":{"@type":"all.Scalars"}}"#,
                "(line 1:17): unable to resolve \"all.Scalars\": not found",
            ),
            (r#"{"any":{"@type":"t/no.Such"}}"#, "(line 1:17): unable to resolve \"t/no.Such\": not found"),
            (r#"{"any":{"@type":1}}"#, "(line 1:17): @type field value is not a string: 1"),
            (
                r#"{"any":{"@type":"t/all.Scalars","@type":"t/all.Tree"}}"#,
                "(line 1:33): duplicate \"@type\" field",
            ),
            (
                r#"{"any":{"a":1,"@type":"t/all.Scalars","@type":"t/all.Tree"}}"#,
                "(line 1:39): duplicate \"@type\" field",
            ),
            (r#"{"any":{"@type":"t/google.protobuf.Duration"}}"#, "(line 1:8): missing \"value\" field"),
            (
                r#"{"any":{"@type":"t/google.protobuf.Duration","value":"1s","a":1}}"#,
                "(line 1:59): unknown field \"a\"",
            ),
        ],
    );
}

#[test]
fn guests_get_original_names_and_zeros() {
    let (tree, _) = message("Scalars");
    let expected = concat!(
        r#"{"a":0,"b":"0","c":0,"d":"0","e":0,"f":"0","g":0,"h":"0","i":0,"j":"0","k":0,"l":0,"m":false,"#,
        r#""n":"","o":"","renamed":"","snake_case_name":0}"#
    );
    assert_eq!(to_json(&tree, b"", GUEST).unwrap(), expected);
    // A zero that was sent is written as one that was not; the enum's is not.
    assert_eq!(to_json(&tree, &[8, 0, 0x80, 1, 0], GUEST).unwrap(), expected);
    let all = WriteOptions { zeros: Zeros::All, ..WriteOptions::default() };
    let (lists, _) = message("Lists");
    assert_eq!(
        to_json(&lists, &[0x0a, 0], all).unwrap(),
        r#"{"a":[],"b":[],"c":[],"d":[],"e":[],"f":[],"g":[],"h":[],"i":[]}"#
    );
    assert_eq!(to_json(&lists, &[0x0a, 0], GUEST).unwrap(), "{}");
    assert!(to_json(&tree, b"", all).unwrap().contains(r#""p":"UNKNOWN""#));
}

#[test]
fn what_guests_answer_is_understood() {
    let lenient = ReadOptions { lenient: true, ..ReadOptions::default() };
    let read = |name: &str, json: &str| {
        let (message, _) = message(name);
        to_wire(&message, json, lenient).and_then(|wire| to_json(&message, &wire, WriteOptions::default()))
    };
    assert_eq!(read("AddResponse", "7").unwrap(), r#"{"response":7}"#);
    assert_eq!(read("AddResponse", r#"{"response":7}"#).unwrap(), r#"{"response":7}"#);
    assert_eq!(read("AddResponse", " null ").unwrap(), "{}");
    assert_eq!(read("ListResponse", r#"["a","b"]"#).unwrap(), r#"{"response":["a","b"]}"#);
    assert_eq!(
        read("AddResponse", r#""x""#).unwrap_err(),
        "(line 1:1): invalid value for int32 field response: \"x\""
    );
    assert_eq!(read("Scalars", r#"{"p":""}"#).unwrap(), "{}");
    assert_eq!(read("Scalars", "7").unwrap_err(), "syntax error (line 1:1): unexpected token 7");
    let strict = to_wire(&message("AddResponse").0, "7", ReadOptions::default());
    assert_eq!(strict.unwrap_err(), "syntax error (line 1:1): unexpected token 7");
}

#[test]
fn unknown_fields_and_values_are_passed_over_if_asked() {
    let options = ReadOptions { ignore_unknown_fields: true, ..ReadOptions::default() };
    let read = |name: &str, json: &str| {
        let (message, _) = message(name);
        to_wire(&message, json, options).and_then(|wire| to_json(&message, &wire, WriteOptions::default()))
    };
    let json = r#"{"x":{"y":[1,"a\"",{"z":null}]},"a":1,"p":"GREEN"}"#;
    assert_eq!(read("Scalars", json).unwrap(), r#"{"a":1}"#);
    assert_eq!(read("Lists", r#"{"g":["RED","GREEN","BLUE"]}"#).unwrap(), r#"{"g":["RED","BLUE"]}"#);
    assert_eq!(read("Lists", r#"{"g":["GREEN"]}"#).unwrap(), "{}");
    assert_eq!(read("Maps", r#"{"e":{"1":"GREEN","2":"RED"}}"#).unwrap(), r#"{"e":{"2":"RED"}}"#);
    assert_eq!(read("Scalars", r#"{"x":[1,}"#).unwrap_err(), "syntax error (line 1:9): unexpected token }");
}
