use super::*;
use crate::description::{Field, Method, Service};

fn parse(text: &str) -> Description {
    match Idl::parse(text.as_bytes()) {
        Ok(idl) => idl.description,
        Err(errors) => panic!("{errors}"),
    }
}

/// The errors as `code line:column`, and the report.
fn refused(text: &str) -> (Vec<String>, String) {
    let errors = Idl::parse(text.as_bytes()).unwrap_err();
    let places =
        errors.errors().iter().map(|error| format!("{} {}:{}", error.code.name(), error.line, error.column));
    (places.collect(), errors.to_string())
}

fn service(text: &str) -> Service {
    let description = parse(&format!("type A {{ a: Int }} type B {{ b: Int }}\n{text}"));
    assert_eq!(description.services.len(), 1, "{description:?}");
    description.services.into_iter().next().unwrap()
}

/// Each method with its directives, in a line.
fn methods(text: &str) -> Vec<String> {
    let line = |method: Method| {
        let marks: Vec<_> =
            method.directives.iter().map(|directive| format!("@{}", directive.name)).collect();
        format!("{}({}): {} {}", method.name, method.input_type, method.output_type, marks.join(" "))
            .trim_end()
            .to_owned()
    };
    service(text).methods.into_iter().map(line).collect()
}

fn field(of: &str) -> Field {
    let description = parse(&format!("type E {{ a: Int }} enum Color {{ RED }} type T {{ f: {of} }}"));
    description.types[1].fields[0].clone()
}

#[test]
fn nothing_is_a_schema_without_anything() {
    for text in ["", "\n\n", "# only a comment\n", "\u{feff}", " , , \t\r\n", "type A {}"] {
        let description = parse(text);
        assert!(description.services.is_empty(), "{text:?}");
    }
    assert_eq!(parse("type A {}\nservice S{}").services[0].methods, []);
}

#[test]
fn types_keep_their_name_lists_and_whether_they_are_required() {
    for (of, name, required) in [
        ("String", "String", false),
        ("String!", "String", true),
        ("[String]", "[String]", false),
        ("[String!]!", "[String]", true),
        ("[E!]", "[E]", false),
        ("Color!", "Color", true),
        ("[ E ] !", "[E]", true),
    ] {
        let field = field(of);
        assert_eq!((field.type_name.as_str(), field.required), (name, required), "{of}");
    }
    for name in scalar::NAMES {
        assert_eq!(field(name).type_name, name);
    }
}

#[test]
fn names_are_those_of_graphql() {
    let named = |name: &str| {
        Idl::parse(
            format!(
                "@okra(namespace: \"a\")\nservice {name} {{ m: {name}2 }}\ntype {name}2 {{ {name}: Int }}"
            )
            .as_bytes(),
        )
    };
    for name in ["Service", "service", "type", "My_Service", "_private", "S2", "__x", "okra", "Query"] {
        let idl = named(name).unwrap();
        assert_eq!(idl.description().services[0].name, name);
        assert_eq!(idl.description().types[0].fields[0].name, name);
    }
    for name in ["Sérvice", "My Service", "1Service", "My-Service", "My.Service", "Ж"] {
        let errors = named(name).unwrap_err();
        assert_eq!(errors.errors()[0].code, IdlErrorCode::Syntax, "{name}");
    }
}

#[test]
fn a_service_may_be_spelt_in_many_ways() {
    for text in [
        "service S { m(input: A): B }",
        "  service S { m(input: A): B }",
        "service S\n{\n  m(input: A): B\n}",
        "service\tS{m(input:A):B}",
        "service S @okra(namespace: \"a\") { m(input: A): B }",
        "service S @auth @okra(namespace: \"a\", version: 2)\n{ m(input: A,): B, }",
        "@auth(cel: \"x { } ( )\") service S { m(input: A): B }",
        "type Service_S { m(input: A): B }",
        "\"\"\"\nservice X {\n\"\"\"\nservice S { m(input: A): B }",
        "# service X {\nservice S { m(input: A, more: String): B }",
        "scalar X service S { m(input: A): B }",
        "union U = A | B\nservice S { m(input: A = {a: 1}): B }",
        "service S {\r\n  m(input: A): B\r\n}\r\n",
    ] {
        let service = service(text);
        assert_eq!(service.name, "S", "{text}");
        let [method] = &service.methods[..] else { panic!("{text}: {service:?}") };
        assert_eq!(
            (method.name.as_str(), method.input_type.as_str(), method.output_type.as_str()),
            ("m", "A", "B")
        );
    }
    // Where it is but a name.
    assert_eq!(parse("type service { service: Int }").types[0].name, "service");
    assert_eq!(
        parse("type X implements service { a: Int }\ninterface service { a: Int }").types[0].name,
        "X"
    );
    assert_eq!(parse("enum E { type service }").enums[0].values.len(), 2);
}

#[test]
fn what_okra_says_may_stand_anywhere_at_the_top() {
    let meta = |text: &str| parse(text).meta;
    let whole =
        meta("@okra(namespace: \"auth.users\", version: \"v1\", service: \"x\")\nservice S { m: ID }");
    assert_eq!(
        (whole.namespace.as_str(), whole.version.as_str(), whole.service.as_str()),
        ("auth.users", "v1", "x")
    );
    assert_eq!(meta("service S { m: ID } @okra(version: 1)").version, "1");
    assert_eq!(
        meta("  @okra(\n  version: v2,\n  namespace: \"\"\"a.b\"\"\"\n)\ntype A { a: Int }").version,
        "v2"
    );
    assert_eq!(meta("type A\n@okra(namespace: \"a\")\ntype B { b: Int }").namespace, "a");
    assert_eq!(meta("@okra(version: 1) @okra(namespace: \"a\") @okra(version: 2)").version, "2");
    assert_eq!(meta("@okra(version: 1, version: 3)").version, "3");
    assert_eq!(meta("@okra").version, "");
    assert_eq!(meta("# @okra(version: 1)\n\"@okra(version: 2)\" type A { a: Int }").version, "");
}

#[test]
fn arguments_become_text_as_the_original_has_it() {
    let service = service(
        r#"service S { m(input: A): B @d(s: "a \"b\" \n", b: """ block "x" """, e: FULL, t: true, i: -42, f: 1.5, n: null, l: [1], o: {a: 1}, d: 1, d: 2) @x }"#,
    );
    let [directive, last] = &service.methods[0].directives[..] else { panic!() };
    let args: Vec<_> = directive.args.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let expected = [
        ("b", " block \"x\" "),
        ("d", "2"),
        ("e", "FULL"),
        ("f", "1.500000"),
        ("i", "-42"),
        ("l", ""),
        ("n", ""),
        ("o", ""),
        ("s", r#"a \"b\" \n"#),
        ("t", "true"),
    ];
    assert_eq!(args, expected);
    assert_eq!((last.name.as_str(), last.args.len(), last.doc.as_str()), ("x", 0, ""));
}

#[test]
fn directives_stand_before_or_behind_a_method() {
    let behind = "service S {\n  a(input: A): B @one @two\n  b: B\n    @three(x: 1)\n    @four\n  c: B\n}";
    assert_eq!(methods(behind), ["a(A): B @one @two", "b(): B @three @four", "c(): B"]);
    let before = "service S {\n  @one(x: \"}{\") @two\n  a(input: A): B\n\n  @three\n  @four\n  b: B @five\n  @six\n\n  \"doc\"\n  c: B\n}";
    assert_eq!(methods(before), ["a(A): B @one @two", "b(): B @three @four @five", "c(): B @six"]);
    let tabs = "service S {\n\t@one\n\ta: B\n\t@two c: B\n}";
    assert_eq!(methods(tabs), ["a(): B @one", "c(): B @two"]);
    let inline = "service S { @one a: B @two b: B @three }";
    assert_eq!(methods(inline), ["a(): B @one @two", "b(): B @three"]);
    let arguments = "service S {\n  a(\n    \"doc\" input: A @x\n  ): B\n  @two\n  b(): B\n}";
    let (places, report) = refused(&format!("type A {{ a: Int }} type B {{ a: Int }}\n{arguments}"));
    assert_eq!(places[0], "syntax 7:5", "{report}");
    assert_eq!(methods(&arguments.replace("()", "")), ["a(A): B", "b(): B @two"]);
}

#[test]
fn a_directive_before_nothing_is_an_error() {
    let (places, report) = refused("type B { b: Int }\nservice S {\n  a: B\n  @readonly\n}");
    assert_eq!(places, ["dangling_directive 4:3"], "{report}");
    let (places, report) = refused("type B { b: Int }\nservice S {\n  @okra(version: 1)\n  a: B\n}");
    assert_eq!(places, ["misplaced_okra 3:3"], "{report}");
}

#[test]
fn docs_are_kept_without_their_quotes() {
    let description = parse(
        "\"\"\"\n  A type.\n  Two lines.\n\"\"\"\ninput A {\n  \"its field\" a: Int! @validate(cel: \"a > 0 && a < 9\")\n}\n\"colours\" enum C { \"red\" RED GREEN }\n\" a service \" service S { \"a method\" m(input: A): A }",
    );
    assert_eq!(description.types[0].doc, "A type.\n  Two lines.");
    assert_eq!(description.types[0].fields[0].doc, "its field");
    assert_eq!(description.enums[0].doc, "colours");
    assert_eq!(description.enums[0].values[0].doc, "red");
    assert_eq!(description.services[0].doc, "a service");
    assert_eq!(description.services[0].methods[0].doc, "a method");
}

#[test]
fn the_description_of_a_whole_schema_is_that_of_the_original() {
    let idl = Idl::parse(include_bytes!("tests/users.okra.gql")).unwrap();
    insta::assert_snapshot!(idl.description().to_json());
}

#[test]
fn what_a_description_says_can_be_read_back() {
    let idl = Idl::parse(include_bytes!("tests/users.okra.gql")).unwrap();
    let json = idl.description().to_json();
    assert_eq!(Description::parse(json.as_bytes()).unwrap(), *idl.description());
    assert!(json.contains(r"size(name) \u003e 0 \u0026\u0026 true"), "{json}");
}

#[test]
fn all_that_protobuf_cannot_have_is_found_at_once() {
    let (places, report) = refused(include_str!("tests/wrong.okra.gql"));
    let expected = [
        "invalid_namespace 1:18",
        "invalid_version 1:39",
        "json_name_clash 5:3",
        "duplicate_field 6:3",
        "nested_list 7:11",
        "unknown_type 8:9",
        "unknown_type 9:9",
        "unknown_type 10:10",
        "duplicate_name 13:28",
        "reserved_name 14:6",
        "duplicate_value 16:16",
        "enum_value_clash 17:18",
        "enum_value_clash 17:21",
        "enum_value_clash 18:18",
        "duplicate_name 20:9",
        "argument_not_message 21:16",
        "argument_not_message 22:14",
        "result_not_message 23:19",
        "result_not_message 24:19",
        "response_name_clash 25:3",
        "duplicate_method 26:3",
        "unknown_type 27:7",
    ];
    assert_eq!(places, expected, "{report}");
    insta::assert_snapshot!(report);
}

#[test]
fn mistakes_in_the_language_are_found_at_once_and_at_their_place() {
    let text = "service My-Service {\n  get(input: A): B\n}\ntype A {\n  a Int\n  @auth b: Int\n  c: Int!!\n}\nextend type A { x: Int }\nquery { a }\ntype B { b: [Int }\n";
    let (_, report) = refused(text);
    insta::assert_snapshot!(report);
}

#[test]
fn only_mistakes_of_the_language_are_told_while_there_are_any() {
    let (places, _) = refused("type A { a: Nothing }\nextend type A { b: Int }");
    assert_eq!(places, ["unsupported 2:1"]);
}

#[test]
fn values_alike_but_for_the_name_of_their_enum_are_one_to_protobuf() {
    let places = |values: &str| refused(&format!("enum FooBar {{ {values} }}")).0;
    assert_eq!(places("FOO_BAR_A A"), ["duplicate_value 1:25"]);
    assert_eq!(places("foobar_a A"), ["duplicate_value 1:24"]);
    assert_eq!(places("A_B AB a_b"), ["duplicate_value 1:22"]);
    parse("enum FooBar { FOO_BAR FOO BAR FOO_BAZ A_B AB }");
}

#[test]
fn long_and_deep_schemas_are_refused_without_harm() {
    let long = vec![b' '; MAX_BYTES + 1];
    assert_eq!(Idl::parse(&long).unwrap_err().errors()[0].code, IdlErrorCode::Unreadable);
    assert_eq!(Idl::parse(b"\xff").unwrap_err().errors()[0].code, IdlErrorCode::Unreadable);
    for part in [
        "[",
        "{",
        "(",
        "@a(",
        "@a(x:[",
        "@okra(x:{y:",
        "service S {",
        "type A { a: [",
        "\"",
        "service",
        "@",
        "!",
        "enum A {B",
        "type A {} ",
    ] {
        let text = part.repeat(100_000 / part.len());
        let errors = Idl::parse(text.as_bytes()).unwrap_err();
        assert!(errors.errors().len() <= 100, "{part}");
        assert!(errors.to_string().len() < 100_000, "{part}");
    }
}

#[test]
fn a_long_line_is_shown_in_part() {
    let fields =
        |from: usize| (from..from + 200).map(|number| format!("f{number}: Int ")).collect::<String>();
    let text = format!("type A {{ {}b: Wrong {}}}", fields(0), fields(1000));
    let errors = Idl::parse(text.as_bytes()).unwrap_err();
    let report = errors.to_string();
    let longest = report.lines().map(|line| line.chars().count()).max().unwrap();
    assert!(longest < 260, "{longest}: {report}");
    assert!(report.contains("Wrong"), "{report}");
}

#[test]
fn a_long_line_of_methods_takes_no_longer_than_its_length() {
    let methods = |count: usize| (0..count).map(|index| format!("@d m{index}: A ")).collect::<String>();
    let text = format!("type A {{ a: Int }} service S {{ {} }}", methods(20_000));
    assert_eq!(parse(&text).services[0].methods.len(), 20_000);
}

#[test]
fn fields_are_numbered_below_what_protobuf_keeps_for_itself() {
    let of = |count: usize| {
        format!("type A {{ {} }}", (0..count).map(|index| format!("f{index}: Int ")).collect::<String>())
    };
    parse(&of(18_999));
    assert!(refused(&of(19_000)).0[0].starts_with("too_many_fields 1:"));
}
