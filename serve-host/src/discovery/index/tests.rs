use prost_types::FileDescriptorSet;

use super::*;

/// Compiles files, the first of which is asked for.
pub(in super::super) fn compiled(files: &[(&str, &str)]) -> Bytes {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(dir.path().join(name), text).unwrap();
    }
    let set = protox::compile([files[0].0], [dir.path()]).unwrap();
    Bytes::from(set.encode_to_vec())
}

fn described(service: &str, descriptors: &Bytes) -> Described {
    Described { service: service.into(), descriptors: descriptors.clone() }
}

fn one(field: &str) -> Bytes {
    let text = format!(
        r#"syntax = "proto3"; package test; import "google/protobuf/timestamp.proto"; import "part.proto";
        message Asked {{ google.protobuf.Timestamp {field} = 1; Part part = 2; enum Kind {{ NONE = 0; }} }}
        service {field}Service {{ rpc Ask(Asked) returns (Asked); }}"#
    );
    let part = format!(r#"syntax = "proto3"; package test; message Part {{ string {field} = 1; }}"#);
    compiled(&[("service.proto", &text), ("part.proto", &part)])
}

fn names(files: Option<Vec<Vec<u8>>>) -> Vec<String> {
    let decoded = files.unwrap_or_default();
    let name = |file: &Vec<u8>| FileDescriptorProto::decode(file.as_slice()).unwrap().name().to_owned();
    decoded.iter().map(name).collect()
}

#[test]
fn whatever_a_file_declares_leads_to_it_and_what_it_imports() {
    let index = Index::of(&[described("test.aService", &one("a"))]);
    assert_eq!(index.services().collect::<Vec<_>>(), ["test.aService"]);
    let whole = ["service.proto", "google/protobuf/timestamp.proto", "part.proto"];
    for symbol in ["test.aService", "test.aService.Ask", "test.Asked", ".test.Asked.Kind", "test.Asked.a"] {
        assert_eq!(names(index.symbol(symbol)), whole, "{symbol}");
    }
    // The values of an enum are named beside it.
    assert_eq!(names(index.symbol("test.Asked.NONE")), whole);
    assert!(index.symbol("test.Asked.Kind.NONE").is_none());
    assert_eq!(names(index.file("part.proto")), ["part.proto"]);
    assert_eq!(names(index.symbol("test.Part")), ["part.proto"]);
    assert_eq!(names(index.symbol("google.protobuf.Timestamp")), ["google/protobuf/timestamp.proto"]);
    assert!(index.file("absent.proto").is_none() && index.symbol("test.Absent").is_none());
    assert_eq!(index.extension_numbers("test.Asked"), Some(vec![]));
    assert_eq!(index.extension_numbers("test.Absent"), None);
}

#[test]
fn two_sets_with_the_same_file_names_stand_side_by_side() {
    let (a, b) = (one("a"), one("b"));
    let index = Index::of(&[described("test.bService", &b), described("test.aService", &a)]);
    assert_eq!(index.services().collect::<Vec<_>>(), ["test.aService", "test.bService"]);
    assert_eq!(
        names(index.symbol("test.aService")),
        ["service.proto", "google/protobuf/timestamp.proto", "part.proto"]
    );
    let renamed = names(index.symbol("test.bService"));
    assert_eq!(
        renamed,
        ["test.bService/service.proto", "google/protobuf/timestamp.proto", "test.bService/part.proto"]
    );
    let file = index.file("test.bService/service.proto").unwrap().remove(0);
    let file = FileDescriptorProto::decode(file.as_slice()).unwrap();
    assert_eq!(file.dependency, ["google/protobuf/timestamp.proto", "test.bService/part.proto"]);
    assert_eq!(file.message_type[0].field[0].name(), "b");
}

#[test]
fn a_set_that_two_services_share_is_there_once() {
    let set = compiled(&[(
        "two.proto",
        r#"syntax = "proto3"; package p; message M {} service A { rpc X(M) returns (M); }
        service B { rpc X(M) returns (M); } service Idle { rpc X(M) returns (M); }"#,
    )]);
    let index = Index::of(&[described("p.A", &set), described("p.B", &set), described("p.Absent", &set)]);
    assert_eq!(index.services().collect::<Vec<_>>(), ["p.A", "p.B"]);
    assert_eq!(index.files.len(), 1);
}

#[test]
fn renaming_keeps_every_byte_that_is_not_a_name() {
    let mut file = FileDescriptorProto::decode(
        FileDescriptorSet::decode(one("a").as_ref()).unwrap().file.last().unwrap().encode_to_vec().as_slice(),
    )
    .unwrap();
    let mut bytes = file.encode_to_vec();
    // An option and a field that this program knows nothing of, with and without a length.
    bytes.extend_from_slice(&[0xa2, 0x06, 0x03, b'x', b'y', b'z', 0xa8, 0x06, 0x96, 0x01]);
    let renamed = with_names(&Bytes::from(bytes.clone()), &|name| format!("p/{name}")).unwrap();
    assert!(renamed.ends_with(&bytes[bytes.len() - 10..]));
    let found = FileDescriptorProto::decode(renamed).unwrap();
    file.name = Some(format!("p/{}", file.name()));
    file.dependency = file.dependency.iter().map(|name| format!("p/{name}")).collect();
    assert_eq!(found, file);
}

#[test]
fn a_set_that_cannot_be_read_hides_no_other() {
    let set = one("a");
    let broken = set.slice(..set.len() - 1);
    let garbage = Bytes::from_static(&[0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]);
    let services =
        [described("a.Broken", &broken), described("b.Garbage", &garbage), described("test.aService", &set)];
    assert_eq!(Index::of(&services).services().collect::<Vec<_>>(), ["test.aService"]);
}

#[test]
fn extensions_are_found_by_their_number() {
    let set = compiled(&[(
        "ext.proto",
        r#"syntax = "proto2"; package p; message M { extensions 100 to 200; }
        extend M { optional string colour = 120; } message Scope { extend M { optional int32 size = 130; } }
        service S { rpc X(M) returns (M); }"#,
    )]);
    let index = Index::of(&[described("p.S", &set)]);
    assert_eq!(index.extension_numbers("p.M"), Some(vec![120, 130]));
    assert_eq!(names(index.extension("p.M", 130)), ["ext.proto"]);
    assert!(index.extension("p.M", 131).is_none());
    assert_eq!(names(index.symbol("p.Scope.size")), ["ext.proto"]);
}
