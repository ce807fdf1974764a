use super::*;

fn parse(text: &str) -> PackageConfig {
    PackageConfig::parse(text.as_bytes()).unwrap()
}

fn refused(text: &str, fragment: &str) {
    let error = PackageConfig::parse(text.as_bytes()).unwrap_err();
    assert!(error.to_string().contains(fragment), "{error}");
}

#[test]
fn every_key_is_optional_in_any_case_and_may_be_null() {
    assert_eq!(parse("{}"), PackageConfig::default());
    assert_eq!(parse("null"), PackageConfig::default());
    let config = parse(
        r#"{"NAME": "S", "Version": null, "build": {"OUTPUT": "./x.wasm"}, "dev": {"watch": ["*.go"]}, "host": 1}"#,
    );
    assert_eq!((config.name.as_str(), config.version.as_str()), ("S", ""));
    assert_eq!(config.output_path(), "./x.wasm");
    assert_eq!(parse(r#"{"build": null}"#).output_path(), "./build/service.wasm");
    assert_eq!(parse(r#"{"name": "a", "Name": "b", "name": null}"#).name, "b");
    refused(r#"{"name": 1}"#, "invalid type: integer `1`, expected a string at line 1 column");
    refused(r#"{"name": "a"} x"#, "trailing characters");
}

#[test]
fn an_interface_is_a_schema_or_by_its_name_a_descriptor_set() {
    use InterfacePath::{Descriptors, Schema};
    let either = [Schema("./service.okra.gql"), Descriptors("./service.pb.desc")];
    assert_eq!(parse("{}").interface_paths(), either);
    for (name, expected) in [
        ("a/b.okra.gql", Schema("a/b.okra.gql")),
        ("plain", Schema("plain")),
        ("a.pb/b.graphql", Schema("a.pb/b.graphql")),
        ("build/orders.PB", Descriptors("build/orders.PB")),
        ("orders.binpb", Descriptors("orders.binpb")),
        ("orders.pb.desc", Descriptors("orders.pb.desc")),
        ("orders.protoset", Descriptors("orders.protoset")),
    ] {
        assert_eq!(parse(&format!(r#"{{"schema": "{name}"}}"#)).interface_paths(), [expected]);
    }
    assert_eq!(parse(r#"{"service_version": "v2"}"#).service_version, "v2");
    refused(r#"{"service_version": 2}"#, "expected a string");
}

#[test]
fn our_own_keys_are_read_strictly() {
    let config = parse(
        r#"{"abi": {"payload": "protobuf", "envelope": true}, "limits": {"memory_bytes": 1048576, "timeout_ms": 250}}"#,
    );
    assert_eq!(config.abi, Abi { payload: Payload::Protobuf, envelope: true });
    let limits = GuestLimits { memory_bytes: Some(1 << 20), timeout_ms: Some(250), ..GuestLimits::default() };
    assert_eq!(config.limits, limits);
    refused(r#"{"abi": {"payload": "xml"}}"#, "`abi.payload` is \"json\" or \"protobuf\", not \"xml\"");
    refused(r#"{"abi": {"envelop": true}}"#, "unknown key `envelop`");
    refused(r#"{"abi": "protobuf"}"#, "expected an object");
    refused(r#"{"limits": {"memory": 1}}"#, "unknown key `memory`");
    refused(r#"{"limits": {"memory_bytes": 0}}"#, "a limit is at least 1");
    refused(r#"{"limits": {"memory_bytes": -1}}"#, "invalid value");
    refused(r#"{"limits": {"memory_bytes": 1.5}}"#, "invalid type");
}

#[test]
fn a_guest_is_primed_by_the_calls_it_lists() {
    assert_eq!(parse("{}").primed, None);
    assert_eq!(parse(r#"{"primed": null}"#).primed, None);
    assert_eq!(parse(r#"{"primed": {}}"#).primed, Some(Primed::default()));
    let primed = parse(
        r#"{"primed": {"calls": [{"method": "add", "payload": {"a": 1, "b": [ 1e0 ]}}, {"method": "add"}]}}"#,
    );
    let calls = primed.primed.unwrap().calls;
    let texts: Vec<_> = calls.iter().map(|call| (call.method.as_str(), call.payload.as_str())).collect();
    assert_eq!(texts, [("add", r#"{"a": 1, "b": [ 1e0 ]}"#), ("add", "{}")]);
    refused(r#"{"primed": true}"#, "expected an object");
    refused(r#"{"primed": {"call": []}}"#, "unknown key `call`");
    refused(r#"{"primed": {"calls": [{"input": {}}]}}"#, "unknown key `input`");
    refused(r#"{"primed": {"calls": {}}}"#, "expected a sequence");
    let many = |count: usize| format!(r#"{{"primed": {{"calls": [{}{{}}]}}}}"#, "{},".repeat(count - 1));
    assert_eq!(parse(&many(32)).primed.unwrap().calls.len(), 32);
    refused(&many(33), "at most 32 calls");
    let long = |length: usize| {
        format!(r#"{{"primed": {{"calls": [{{"payload": "{}"}}]}}}}"#, "a".repeat(length - 2))
    };
    assert!(parse(&long(64 << 10)).primed.is_some());
    refused(&long((64 << 10) + 1), "at most 65536 bytes");
}

#[test]
fn a_package_calls_whom_it_lists() {
    let none = parse("{}").calls;
    assert!(!none.allows("shop.Stock.v1"));
    let calls = parse(r#"{"calls": ["shop.Stock.v1", "auth.users.*"]}"#).calls;
    assert_eq!(calls.rules().len(), 2);
    let cases = [
        ("shop.Stock.v1", true),
        ("shop.Stock.v2", false),
        ("shop.Stock.v10", false),
        ("shop.Stock", false),
        ("auth.users.Users.v1", true),
        ("auth.users.deep.Users.v1", true),
        ("auth.users", false),
        ("auth.users.", false),
        ("auth.usersx.Users.v1", false),
        ("auth.Users.v1", false),
    ];
    for (id, allowed) in cases {
        assert_eq!(calls.allows(id), allowed, "{id}");
    }
    for rule in ["", "*", ".*", "shop", "shop.*.v1", "a..b", "a/b.c", "*.Stock.v1", "shop. *"] {
        refused(&format!(r#"{{"calls": ["{rule}"]}}"#), "`calls` lists service ids");
    }
    refused(r#"{"calls": "shop.*"}"#, "expected a sequence");
    let many = format!(r#"{{"calls": [{}"a.b"]}}"#, r#""a.b","#.repeat(256));
    refused(&many, "at most 256 rules");
}
