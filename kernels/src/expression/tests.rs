use std::time::Instant;

use bytes::Bytes;
use exec_plan::{Cancel, Inputs, Metadata};
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::testing::{cx, cx_with, json as json_value, text};

fn compile(expression: &str, inputs: &[&str]) -> Result<Expression, String> {
    let mut names = Names::new(Some(inputs));
    Expression::compile(expression, "/expr", &mut names).map_err(|errors| {
        let lines: Vec<_> = errors
            .iter()
            .map(|error| match &error.help {
                Some(help) => format!("{} ({help})", error.message),
                None => error.message.clone(),
            })
            .collect();
        lines.join("\n")
    })
}

fn eval_in(cx: &RequestContext, expression: &str, inputs: &[(&'static str, Value)]) -> Result<Value, Fault> {
    let names: Vec<_> = inputs.iter().map(|(name, _)| *name).collect();
    let compiled = compile(expression, &names).unwrap_or_else(|error| panic!("{expression}: {error}"));
    let names: Vec<_> = names.into_iter().map(Cow::Borrowed).collect();
    let values: Inputs = inputs.iter().map(|(_, value)| Some(value.clone())).collect();
    compiled.evaluate(&names, &values, cx)
}

fn eval(expression: &str, inputs: &[(&'static str, Value)]) -> String {
    eval_in(&cx(), expression, inputs).map_or_else(|fault| fault.to_string(), |value| format!("{value:?}"))
}

fn metadata() -> Value {
    let mut metadata = Metadata::new();
    for (name, value) in [("user", &b"ann"[..]), ("x-id", b"7"), ("user", b"bob"), ("raw-bin", b"\xff")] {
        metadata.append(name, Bytes::from_static(value)).unwrap();
    }
    Value::Metadata(metadata.into())
}

#[test]
fn every_kind_of_value_goes_in_and_comes_out() {
    for (value, as_cel, expected) in [
        (Value::Null, "x == null", "null"),
        (Value::Bool(true), "x", "true"),
        (Value::I64(-3), "type(x) == int", "-3"),
        (Value::F64(1.5), "type(x) == double", "1.5"),
        (text("é"), "x.size() == 1", r#""é""#),
        (Value::Bytes("ab".into()), "x == b'ab'", "bytes(2)"),
        (
            json_value(json!({"a": [1, 2.5, null, "s", true]})),
            "x.a[1] == 2.5",
            r#"json({"a":[1,2.5,null,"s",true]})"#,
        ),
        (
            json_value(json!(u64::MAX)),
            "type(x) == uint",
            "OUT_OF_RANGE: CEL: 18446744073709551615 does not fit i64",
        ),
        (Value::List([Value::I64(1), text("a")].into()), "x[1] == 'a'", r#"json([1,"a"])"#),
    ] {
        assert_eq!(eval(as_cel, &[("x", value.clone())]), "true", "{as_cel}");
        assert_eq!(eval("x", &[("x", value)]), expected);
    }
}

#[test]
fn lists_and_maps_become_json() {
    for (expression, expected) in [
        ("{'a': 1, 'b': [true, null, 'x', 2.5, 3u]}", r#"json({"a":1,"b":[true,null,"x",2.5,3]})"#),
        ("{1: 'i', true: 'b', 2u: 'u'}", r#"json({"1":"i","2":"u","true":"b"})"#),
        ("[b'\\x01\\x02', {'k': b''}]", r#"json(["AQI=",{"k":""}])"#),
        ("[18446744073709551615u]", "json([18446744073709551615])"),
        ("3u", "3"),
        ("0.0 / 0.0", "NaN"),
        ("[0.0 / 0.0]", "OUT_OF_RANGE: CEL: NaN in JSON"),
        ("type(1)", r#""int""#),
        ("optional.of(1)", "INVALID_ARGUMENT: CEL: optional_type has no form outside CEL"),
        ("optional.of(1).orValue(2)", "1"),
    ] {
        assert_eq!(eval(expression, &[]), expected, "{expression}");
    }
}

#[test]
fn metadata_is_a_map_of_first_values() {
    for (expression, expected) in [
        ("m.user", r#""ann""#),
        ("m['x-id']", r#""7""#),
        ("m['raw-bin']", "bytes(1)"),
        ("has(m.user) && !has(m.other)", "true"),
        ("'x-id' in m && m.size() == 3", "true"),
        ("m.other", "INVALID_ARGUMENT: CEL: No such key: other"),
    ] {
        assert_eq!(eval(expression, &[("m", metadata())]), expected, "{expression}");
    }
}

#[test]
fn paths_into_json_mean_what_they_mean_in_cel() {
    let document = json!({"a": {"b": {"c": 7}}, "s": "x", "l": [{"k": 1}], "n": null});
    for (expression, expected) in [
        ("v.a.b.c", "7"),
        ("v.a.b", r#"json({"c":7})"#),
        ("v.a['b'].c", "7"),
        ("v['a'].b.c", "7"),
        ("v.l[0].k", "1"),
        ("v.n == null", "true"),
        ("v.z", "INVALID_ARGUMENT: CEL: No such key: z"),
        ("v.a.z.c", "INVALID_ARGUMENT: CEL: No such key: z"),
        ("has(v.a)", "true"),
        ("has(v.z)", "false"),
        ("has(v.a.b.c)", "true"),
        ("has(v.a.b.z)", "false"),
        ("has(v.n)", "true"),
        ("has(v.l[0].k)", "true"),
        ("has(v['a'].z)", "false"),
        ("has(v.z.c)", "INVALID_ARGUMENT: CEL: has(v.z.c): there is no such map"),
        ("has(v.s.c)", "INVALID_ARGUMENT: CEL: has(v.s.c): there is no such map"),
        ("has(v.z) && v.z > 1", "false"),
        ("has(v.z.c) || true", "true"),
        ("v.l.all(v, has(v.k) && v.k == 1)", "true"),
        ("v.l.map(x, x.k + v.a.b.c)", "json([8])"),
    ] {
        assert_eq!(eval(expression, &[("v", json_value(document.clone()))]), expected, "{expression}");
    }
}

#[test]
fn a_problem_says_what_and_where() {
    for (expression, expected) in [
        ("a + b", "\"b\" is no input (the node's inputs are a)"),
        ("b.c.d > 1", "\"b\" is no input (the node's inputs are a)"),
        ("has(b.c)", "\"b\" is no input (the node's inputs are a)"),
        ("a.map(x, x + y)", "\"y\" is no input (the node's inputs are a)"),
        ("a.map(x, x) + [x]", "\"x\" is no input (the node's inputs are a)"),
        ("len(a)", "there is no function \"len\""),
        ("a.len()", "there is no function \"len\""),
        ("_f(a)", "there is no function \"_f\""),
        (".a", "\".a\": names with a leading dot are not supported (write \"a\")"),
        ("Order{id: a}", "there is no message type \"Order\" here"),
        ("a +", "column 4: mismatched input '<EOF>'"),
        ("a\n+ ?", "line 2 column 3: "),
        ("", "column 1: mismatched input '<EOF>'"),
        ("has(a)", "column 5: invalid argument to has() macro"),
    ] {
        let found = compile(expression, &["a"]).unwrap_err();
        assert!(found.starts_with(expected), "{expression}: {found}");
    }
    assert!(
        compile("a.map(x, x + a).all(y, type(y) == int || y in a) ? optional.none() : dyn(null)", &["a"])
            .is_ok()
    );
}

/// Expressions that would overflow the stack, or that trouble the parser.
fn nasty() -> Vec<String> {
    let repeated = |unit: &str, n: usize| unit.repeat(n);
    vec![
        format!("1{}", repeated("+1", 4000)),
        format!("{}1{}", repeated("(", 4000), repeated(")", 4000)),
        format!("{}1{}", repeated("[", 4000), repeated("]", 4000)),
        format!("{}true", repeated("!", 8000)),
        format!("{}1", repeated("- ", 4000)),
        format!("a{}", repeated(".b", 4000)),
        format!("a{}", repeated("[0]", 2700)),
        format!("a{}", repeated(".f()", 2000)),
        format!("{}1{}", repeated("true?", 1300), repeated(":1", 600)),
        format!("true{}", repeated("&&true", 1300)),
        format!("{}true{}", repeated("!(", 2000), repeated(")", 2000)),
        format!("{}[1]{}", repeated("[1].map(x,", 700), repeated(")", 700)),
        format!("{}[1]{}", repeated("[1].map(x,", 30), repeated(")", 30)),
        format!("[{}1]", repeated("1,", 4000)),
        repeated("(", 8000),
        repeated("'\\", 4000),
        repeated("a?b:", 2000),
        format!("{}1{}", repeated("{1:", 1300), repeated("}", 1300)),
        "has(has(a.b))".to_owned(),
        "a.map(a.b, c)".to_owned(),
        "a.map()".to_owned(),
        "[].map(@result, 1)".to_owned(),
        "9223372036854775808".to_owned(),
        "-9223372036854775808".to_owned(),
        "'\\ud800'".to_owned(),
        "b'\\777'".to_owned(),
        "a.matches('(')".to_owned(),
        "{[1]: 2}".to_owned(),
        "1e999999".to_owned(),
        "a[?0]".to_owned(),
        "a.?b".to_owned(),
        "`x`".to_owned(),
        "\u{0}".to_owned(),
        "\u{feff}1".to_owned(),
    ]
}

#[test]
fn no_expression_takes_the_process_down() {
    for expression in nasty() {
        // What they come to does not matter here, only that they come to something.
        if let Ok(compiled) = compile(&expression, &["a"]) {
            let inputs: Inputs = [Some(text("x"))].into_iter().collect();
            drop(compiled.evaluate(&["a".into()], &inputs, &cx()));
        }
    }
    let deep = compile(&format!("1{}", "+1".repeat(200)), &[]).unwrap_err();
    assert_eq!(deep, "the expression is more than 96 operators deep (split it into several nodes)");
    let nested = compile(&"(".repeat(200), &[]).unwrap_err();
    assert_eq!(nested, "the expression is nested too deeply");
    let long = compile(&" ".repeat(MAX_TEXT + 1), &[]).unwrap_err();
    assert_eq!(long, "the expression has 8193 bytes, more than 8192");
}

fn list(len: i64) -> Value {
    Value::List((0..len).map(Value::I64).collect())
}

#[test]
fn loops_give_what_they_give_unmetered() {
    for expression in [
        "[1, 2, 3].map(x, x * 2)",
        "[1, 2, 3].map(x, x > 1, x * 2)",
        "[1, 2, 3].filter(x, x > 1)",
        "[1, 2, 3].all(x, x > 0)",
        "[1, 2, 3].exists(x, x > 2)",
        "[1, 2, 3].exists_one(x, x > 1)",
        "[1, 2].map(x, [3, 4].map(y, [x, y]))",
        "[[1, 2], [], [3]].filter(l, l.exists(x, x > 1)).map(l, l.size())",
        "{'a': 1}.map(k, k)",
        "[1, 'a'].all(x, x > 0)",
        "['a', 0].all(x, x > 0)",
        "1.map(x, x)",
        "[].map(x, x)",
    ] {
        let unmetered = Env::stdlib().compile(expression).unwrap().execute(&Context::default());
        let unmetered = unmetered.map(|value| Box::<dyn Val>::try_from(value).unwrap());
        let expected = match unmetered {
            Ok(value) => format!("{:?}", convert::from_cel(&*value).unwrap()),
            Err(error) => format!("INVALID_ARGUMENT: CEL: {error}"),
        };
        assert_eq!(eval(expression, &[]), expected, "{expression}");
    }
}

#[test]
fn a_loop_stays_linear() {
    let start = Instant::now();
    assert_eq!(eval("l.map(x, x + 1).filter(x, x % 2 == 0).size()", &[("l", list(100_000))]), "50000");
    assert!(start.elapsed().as_secs() < 10, "a quadratic loop takes minutes");
}

#[test]
fn loops_end_after_so_many_steps() {
    let exhausted = "RESOURCE_EXHAUSTED: the CEL expression takes more than 4000000 steps for these inputs";
    let l = list(2000);
    for expression in [
        "l.all(a, l.all(b, l.all(c, true)))",
        "l.exists(a, l.exists(b, l.exists(c, false)))",
        "l.map(a, l.map(b, l.map(c, c))).size() > 0",
        "l.exists_one(a, l.exists_one(b, a == 5))",
        // The loop's end looks like a result, and an error in it can be absorbed: neither may show.
        "l.all(a, l.all(b, l.all(c, true))) || true",
        "l.all(a, l.all(b, l.map(c, c).size() > 0) || a == 0)",
    ] {
        assert_eq!(eval(expression, &[("l", l.clone())]), exhausted, "{expression}");
    }
}

#[test]
fn what_loops_keep_is_bounded() {
    let inputs = [("l", list(10_000)), ("s", text(&"x".repeat(100_000)))];
    for expression in
        ["l.map(i, s + 'y').size()", "[s + 'y'].map(t, l.map(i, t)).size()", "l.map(i, [s + 'y']).size()"]
    {
        let outcome = eval(expression, &inputs);
        assert!(outcome.starts_with("RESOURCE_EXHAUSTED: "), "{expression}: {outcome}");
    }
}

#[test]
fn a_loop_ends_when_nobody_waits() {
    let inputs = [("l", list(1000))];
    let forever = "l.all(a, l.all(b, true))";
    let cancel = Cancel::new();
    cancel.cancel();
    assert_eq!(eval_in(&cx_with(&cancel), forever, &inputs).unwrap_err().code(), Code::Cancelled);
    let late = cx().with_deadline(Some(Instant::now()));
    assert_eq!(eval_in(&late, forever, &inputs).unwrap_err().code(), Code::DeadlineExceeded);
}

#[test]
fn an_error_never_quotes_more_than_its_bound() {
    let long = text(&"é".repeat(1_000_000));
    let outcome = eval("s + [s]", &[("s", long)]);
    assert!(outcome.starts_with("INVALID_ARGUMENT: CEL: ") && outcome.ends_with('…'), "{}", outcome.len());
    assert!(outcome.len() < 400, "{} bytes", outcome.len());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn strange_texts_neither_panic_nor_hang(
        words in prop::collection::vec(
            prop_oneof![
                Just("a"), Just("."), Just("["), Just("]"), Just("("), Just(")"), Just("{"), Just("}"), Just(":"),
                Just("?"), Just(","), Just("+"), Just("-"), Just("=="), Just("&&"), Just("||"), Just("!"),
                Just("in"), Just("1"), Just("1.5"), Just("2u"), Just("'s'"), Just("b'\\xff'"), Just("has"),
                Just("map"), Just("all"), Just("x"), Just("null"), Just("true"), Just("\n"), Just("\\"), Just("\""),
                Just("r'"), Just("'''"), Just("é"), Just("//"), Just("0x"), Just("`"), Just("@"), Just("size"),
            ],
            0..24,
        ),
    ) {
        if let Ok(compiled) = compile(&words.join(" "), &["a"]) {
            let inputs: Inputs = [Some(json_value(json!({"x": [1, "s"], "s": null})))].into_iter().collect();
            drop(compiled.evaluate(&["a".into()], &inputs, &cx()));
        }
    }
}
