use super::*;
use crate::description::Metadata;

fn of(namespace: &str, service: &str, version: &str) -> Result<Identity, PackageError> {
    let meta =
        Metadata { namespace: namespace.to_owned(), version: version.to_owned(), ..Metadata::default() };
    Identity::of(service, &Description { meta, ..Description::default() })
}

#[test]
fn versions_become_those_of_graphs() {
    let cases = [
        ("", "1.0.0"),
        ("v1", "1.0.0"),
        ("1", "1.0.0"),
        ("v1.2", "1.2.0"),
        ("v1.2.3", "1.2.3"),
        ("1.2.3-rc.1", "1.2.3-rc.1"),
        ("v1beta1", "0.0.0-v1beta1"),
        ("stable", "0.0.0-stable"),
        ("1.2.3.4", "0.0.0-1.2.3.4"),
        ("01", "0.0.0-x-3031"),
        ("v1_beta", "0.0.0-x-76315f62657461"),
    ];
    for (version, expected) in cases {
        assert_eq!(of("a", "S", version).unwrap().semver().to_string(), expected, "{version}");
    }
}

#[test]
fn ids_are_made_of_names() {
    assert_eq!(of("", "S", "").unwrap().id, "default.S.v1");
    assert_eq!(of("a.b_c", "My_Service2", "v2-x").unwrap().id, "a.b_c.My_Service2.v2-x");
    let refused = [
        ("a-b", "S", "v1"),
        (".a", "S", "v1"),
        ("a.", "S", "v1"),
        ("ä", "S", "v1"),
        ("a b", "S", "v1"),
        ("a", "", "v1"),
        ("a", "My-S", "v1"),
        ("a", "1S", "v1"),
        ("a", "S.T", "v1"),
        ("a", "Sé", "v1"),
        ("a", "S", "v1/2"),
        ("a", "S", "."),
        ("a", "S", "v1..2"),
        ("a", "S", "_1"),
        ("a", "S", "v1+b"),
    ];
    for (namespace, service, version) in refused {
        let error = of(namespace, service, version).unwrap_err();
        assert_eq!(error.code(), "invalid_identity", "{namespace} {service} {version}");
    }
    assert_eq!(of(&"a".repeat(300), "S", "v1").unwrap_err().code(), "invalid_identity");
}
