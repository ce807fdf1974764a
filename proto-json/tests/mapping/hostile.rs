//! Input made to hurt: nothing panics, nothing runs away, whatever the bytes.

use proptest::prelude::*;
use proto_json::{ReadOptions, Schema, WireError, WriteOptions, Zeros};

use crate::compiled::{compile, delimited, message, to_json, to_wire};

const SAMPLES: &[(&str, &str)] = &[
    (
        "Scalars",
        r#"{"a":-1,"b":"5","e":-3,"g":7,"k":1.5,"l":1e-7,"m":true,"n":"a\n\u00e9","o":"AQID","p":"RED","optText":""}"#,
    ),
    ("Lists", r#"{"a":[1,200,-1],"c":[0.5],"d":[true],"e":["x",""],"g":["RED",9],"h":[{"a":1},{}],"i":[7]}"#),
    (
        "Maps",
        r#"{"a":{"x":1,"y":2},"b":{"1":"m"},"c":{"5":{"a":1}},"d":{"true":"AQ=="},"g":{"1":[null,{"a":1}]}}"#,
    ),
    ("Tree", r#"{"left":{"rest":[{"text":"x"},{"number":"7"}]},"anything":{"deep":[[["x"]]]}}"#),
    (
        "Known",
        r#"{"any":{"@type":"t/all.Tree","value":1,"left":{}},"duration":"-1.5s","mask":"a.bC","struct":{"a":[1,{}]}}"#,
    ),
    (
        "Known",
        r#"{"any":{"@type":"t/google.protobuf.Duration","value":"1s"},"timestamp":"2024-01-01T00:00:00.5+01:00","bytes":"_-8"}"#,
    ),
];

fn each_damage(sample: &[u8], mut check: impl FnMut(&[u8])) {
    for end in 0..sample.len() {
        check(&sample[..end]);
    }
    for at in 0..sample.len() {
        let flipped = (0..8).map(|bit| sample[at] ^ 1 << bit);
        for byte in flipped.chain(*b"{}[]\",:\\0-n\xff\x80") {
            let mut damaged = sample.to_vec();
            damaged[at] = byte;
            check(&damaged);
        }
        let mut doubled = sample.to_vec();
        doubled.insert(at, sample[at]);
        check(&doubled);
    }
}

#[test]
fn damaged_json_is_read_or_refused() {
    for (name, json) in SAMPLES {
        let (message, _) = message(name);
        let (mut read, mut refused) = (0, 0);
        for options in [
            ReadOptions::default(),
            ReadOptions { ignore_unknown_fields: true, lenient: true, ..ReadOptions::default() },
        ] {
            each_damage(json.as_bytes(), |damaged| {
                let mut wire = Vec::new();
                match message.json_to_proto(damaged, options, &mut wire) {
                    // Whatever was read has a JSON form, and that form is read.
                    Ok(()) => {
                        let written = to_json(&message, &wire, WriteOptions::default()).unwrap();
                        to_wire(&message, &written, ReadOptions::default()).unwrap();
                        read += 1;
                    }
                    Err(error) => {
                        assert!(wire.is_empty());
                        assert!(error.line + error.column <= damaged.len() + 2, "{error}");
                        refused += 1;
                    }
                }
            });
        }
        assert!(read > 100 && refused > 100, "{name}: {read} read, {refused} refused");
    }
}

#[test]
fn damaged_messages_are_written_or_refused() {
    for (name, json) in SAMPLES {
        let (message, _) = message(name);
        let wire = to_wire(&message, json, ReadOptions::default()).unwrap();
        each_damage(&wire, |damaged| {
            for zeros in [Zeros::Omitted, Zeros::Scalars, Zeros::All] {
                let mut json = Vec::new();
                let options = WriteOptions { zeros, ..WriteOptions::default() };
                if message.proto_to_json(damaged, options, &mut json).is_ok() {
                    let text = str::from_utf8(&json).unwrap();
                    serde_json::from_str::<serde_json::Value>(text)
                        .unwrap_or_else(|error| panic!("{error}: {text}"));
                    to_wire(&message, text, ReadOptions::default())
                        .unwrap_or_else(|error| panic!("{error}: {text}"));
                } else {
                    assert!(json.is_empty());
                }
            }
        });
    }
}

#[test]
fn damaged_descriptor_sets_are_schemas_or_refused() {
    let set = compile(
        r#"syntax = "proto2"; package p; import "google/protobuf/timestamp.proto";
           enum E { A = 0; } message M { optional E e = 1; map<string, M> m = 2; oneof o { int32 i = 3; google.protobuf.Timestamp t = 4; } }
           service S { rpc C(M) returns (M); }"#,
        false,
    );
    let mut parsed = 0;
    each_damage(&set, |damaged| {
        let Ok(schema) = Schema::parse(damaged.to_vec()) else { return };
        parsed += 1;
        for message in schema
            .services()
            .flat_map(|service| service.methods().map(|method| method.input).collect::<Vec<_>>())
        {
            let mut out = Vec::new();
            _ = message.json_to_proto(
                br#"{"e":0,"m":{"":{"i":1}},"t":"1970-01-01T00:00:01Z"}"#,
                ReadOptions::default(),
                &mut out,
            );
            _ = message.proto_to_json(
                &[8, 0, 0x12, 0, 0x18, 1, 0x22, 0],
                WriteOptions::default(),
                &mut Vec::new(),
            );
        }
    });
    assert!(parsed > 100, "only {parsed}");
}

#[test]
fn nesting_is_bounded_both_ways() {
    let (tree, _) = message("Tree");
    let (known, _) = message("Known");
    let nested = |levels: usize| format!("{}{{}}{}", r#"{"left":"#.repeat(levels), "}".repeat(levels));
    let wire = to_wire(&tree, &nested(99), ReadOptions::default()).unwrap();
    assert_eq!(to_json(&tree, &wire, WriteOptions::default()).unwrap(), nested(99));
    assert!(
        to_wire(&tree, &nested(100), ReadOptions::default())
            .unwrap_err()
            .ends_with("exceeded max recursion depth")
    );

    let mut deeper = Vec::new();
    for _ in 0..100 {
        deeper = delimited(&[0x12], &deeper);
    }
    assert_eq!(to_json(&tree, &deeper, WriteOptions::default()).unwrap_err(), "exceeded max recursion depth");

    for levels in [98, 100_000] {
        for (open, close) in [("[", "]"), (r#"{"a":"#, "}")] {
            let inner = if open == "[" { "" } else { "1" };
            let json = format!(r#"{{"value":{}{inner}{}}}"#, open.repeat(levels), close.repeat(levels));
            let wire = to_wire(&known, &json, ReadOptions::default());
            match levels {
                98 => assert_eq!(to_json(&known, &wire.unwrap(), WriteOptions::default()).unwrap(), json),
                _ => assert!(wire.unwrap_err().ends_with("exceeded max recursion depth")),
            }
        }
    }
    let options = ReadOptions { ignore_unknown_fields: true, ..ReadOptions::default() };
    let unknown = format!(r#"{{"x":{}"#, "[".repeat(100_000));
    assert!(to_wire(&known, &unknown, options).unwrap_err().ends_with("exceeded max recursion depth"));
    let anys = format!(r#"{{"any":{}"#, r#"{"@type":"t/google.protobuf.Any","value":"#.repeat(100_000));
    assert!(
        to_wire(&known, &anys, ReadOptions::default()).unwrap_err().ends_with("exceeded max recursion depth")
    );
    assert_eq!(
        to_json(&known, &[0x0b].repeat(100_000), WriteOptions::default()).unwrap_err(),
        "exceeded max recursion depth"
    );
}

#[test]
fn output_is_bounded_both_ways() {
    let (lists, _) = message("Lists");
    // Two bytes on the wire for over a hundred of JSON.
    let bomb = [0x42, 0].repeat(10_000);
    let options = WriteOptions { zeros: Zeros::All, max_output_bytes: 100_000, ..WriteOptions::default() };
    let mut json = b"kept".to_vec();
    let error = lists.proto_to_json(&bomb, options, &mut json).unwrap_err();
    assert_eq!(error, WireError::OutputTooLarge { limit: 100_000 });
    assert_eq!(json, b"kept");
    assert!(json.capacity() < 300_000);

    let options = ReadOptions { max_output_bytes: 1000, ..ReadOptions::default() };
    let long = format!(r#"{{"e":[{}""]}}"#, r#""","#.repeat(1000));
    assert!(to_wire(&lists, &long, options).unwrap_err().contains("larger than 1000 bytes"));
}

#[test]
fn work_grows_with_the_input_and_no_faster() {
    let (known, _) = message("Known");
    let (maps, _) = message("Maps");
    let entries: Vec<_> = (0..20_000).map(|n| format!(r#""{n}":{n}"#)).collect();
    let json = format!(r#"{{"a":{{{}}}}}"#, entries.join(","));
    let start = std::time::Instant::now();
    let wire = to_wire(&maps, &json, ReadOptions::default()).unwrap();
    assert_eq!(to_json(&maps, &wire, WriteOptions::default()).unwrap().len(), json.len());
    // The type last, fifty levels deep: each level looks for it once.
    let padding = "x".repeat(50_000);
    let mut any = r#"{"@type":"t/all.Tree"}"#.to_owned();
    for _ in 0..50 {
        any = format!(r#"{{"value":{any},"@type":"t/google.protobuf.Any"}}"#);
    }
    let json = format!(r#"{{"string":"{padding}","any":{any}}}"#);
    to_wire(&known, &json, ReadOptions::default()).unwrap();
    assert!(start.elapsed().as_secs() < 20, "{:?}", start.elapsed());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_a_message_or_not(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
        for name in ["Scalars", "Lists", "Maps", "Tree", "Known"] {
            let (message, _) = message(name);
            let mut json = Vec::new();
            if message.proto_to_json(&bytes, WriteOptions::default(), &mut json).is_ok() {
                let text = str::from_utf8(&json).unwrap();
                prop_assert!(to_wire(&message, text, ReadOptions::default()).is_ok(), "{}", text);
            }
            _ = message.json_to_proto(&bytes, ReadOptions::default(), &mut Vec::new());
        }
        _ = Schema::parse(bytes);
    }
}
