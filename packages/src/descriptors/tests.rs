use prost::Message;
use prost_types::field_descriptor_proto::Label;
use prost_types::method_options::IdempotencyLevel;

use super::*;
use crate::idl::Idl;

const USERS: &[u8] = include_bytes!("../idl/tests/users.okra.gql");

/// What a protobuf compiler makes of a text, without its comments.
fn compiled(source: &str) -> FileDescriptorSet {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("service.proto"), source).unwrap();
    let mut set = protox::compile(["service.proto"], [directory.path()]).unwrap();
    set.file.iter_mut().for_each(|file| file.source_code_info = None);
    set.file.sort_by(|a, b| a.name.cmp(&b.name));
    set
}

fn built(idl: &[u8]) -> FileDescriptorSet {
    let mut set = Idl::parse(idl).unwrap().descriptor_set();
    set.file.sort_by(|a, b| a.name.cmp(&b.name));
    set
}

fn read(set: &FileDescriptorSet, service: &str) -> Result<Descriptors, DescriptorError> {
    Descriptors::read(&set.encode_to_vec(), service, "auth.users", &PackageLimits::default())
}

#[test]
fn a_schema_becomes_what_a_compiler_makes_of_the_same_in_protobuf() {
    let expected = compiled(include_str!("tests/users.proto"));
    let actual = built(USERS);
    assert_eq!(actual.file.len(), 3);
    for (actual, expected) in actual.file.iter().zip(&expected.file) {
        assert_eq!(actual, expected);
    }
}

#[test]
fn imports_come_first_and_only_if_they_are_used() {
    let names = |idl: &[u8]| {
        let set = Idl::parse(idl).unwrap().descriptor_set();
        set.file.iter().map(|file| file.name().to_owned()).collect::<Vec<_>>()
    };
    let (time, empty, own) =
        ("google/protobuf/timestamp.proto", "google/protobuf/empty.proto", "service.proto");
    assert_eq!(names(USERS), [time, empty, own]);
    assert_eq!(names(b"type A { a: Int } service S { m(a: A): A }"), [own]);
    assert_eq!(names(b"type A { a: Int } service S { m: A }"), [empty, own]);
    assert_eq!(names(b"type A { a: [Time] } service S { m(a: A): A }"), [time, own]);
    assert_eq!(names(b"type A { a: Int } service S { m(a: A): DateTime }"), [time, own]);
}

#[test]
fn a_schema_without_a_namespace_is_in_the_package_service() {
    let set = built(b"type A { a: [Int] } service S { m(a: A): A }");
    assert_eq!(set.file[0].package(), "service");
    assert_eq!(set.file[0].message_type[0].field[0].label(), Label::Repeated);
    assert_eq!(set.file[0].service[0].method[0].input_type(), ".service.A");
}

#[test]
fn a_group_of_one_gets_a_name_that_no_field_has() {
    // A schema has no such names, because JSON would have one name for them; a description may.
    let description = crate::Description::parse(
        br#"{"types": [{"name": "A", "fields": [{"name": "_a", "type": "Int"}, {"name": "b", "type": "Int"}, {"name": "_b", "type": "Int"}]}]}"#,
    );
    let set = build::build(&description.unwrap());
    let names: Vec<_> = set.file[0].message_type[0].oneof_decl.iter().map(|oneof| oneof.name()).collect();
    assert_eq!(names, ["X_a", "X_b", "XX_b"]);
}

#[test]
fn directives_become_the_option_that_says_the_same() {
    let set = built(USERS);
    let service = &set.file.iter().find(|file| !file.service.is_empty()).unwrap().service[0];
    let levels: Vec<_> = service
        .method
        .iter()
        .map(|method| method.options.as_ref().map(|options| options.idempotency_level()))
        .collect();
    let no_effects = Some(IdempotencyLevel::NoSideEffects);
    assert_eq!(levels, [Some(IdempotencyLevel::Idempotent), no_effects, no_effects, None, None]);
}

#[test]
fn a_service_is_found_by_its_name_in_the_package_that_is_expected() {
    let mut set = built(USERS);
    assert_eq!(read(&set, "UserService").unwrap().package, "auth.users");
    let error = read(&set, "Other").unwrap_err();
    assert_eq!(error.to_string(), "service Other not found in descriptors");
    // Another of the same name comes first.
    let other = Idl::parse(b"@okra(namespace: \"zoo\") type A { a: Int } service UserService { m(a: A): A }")
        .unwrap();
    set.file.insert(0, other.descriptor_set().file.remove(0));
    assert_eq!(read(&set, "UserService").unwrap().package, "auth.users");
    set.file.retain(|file| file.package() != "auth.users");
    assert_eq!(read(&set, "UserService").unwrap().package, "zoo");
}

#[test]
fn a_set_is_whole_or_it_is_refused() {
    let set = built(USERS);
    let without = FileDescriptorSet {
        file: set.file.iter().filter(|file| file.package() == "auth.users").cloned().collect(),
    };
    let error = read(&without, "UserService").unwrap_err();
    assert_eq!(error.code(), "unknown_type");
    assert!(error.to_string().contains("google.protobuf.Timestamp"), "{error}");

    let spoil = |spoil: fn(&mut prost_types::FileDescriptorProto)| {
        let mut set = set.clone();
        set.file.iter_mut().filter(|file| file.package() == "auth.users").for_each(spoil);
        read(&set, "UserService").unwrap_err().code()
    };
    assert_eq!(spoil(|file| file.service[0].method[0].server_streaming = Some(true)), "streaming_method");
    assert_eq!(spoil(|file| file.service[0].method[0].client_streaming = Some(true)), "streaming_method");
    assert_eq!(spoil(|file| file.service[0].method[0].name = Some("getUser".to_owned())), "duplicate_method");
    assert_eq!(spoil(|file| file.service[0].method[0].input_type = Some(".a.B".to_owned())), "unknown_type");
    // An enum is no message.
    assert_eq!(
        spoil(|file| file.service[0].method[0].output_type = Some(".auth.users.UserRole".to_owned())),
        "unknown_type"
    );
    assert_eq!(spoil(|file| drop(file.message_type.pop())), "unknown_type");
}

#[test]
fn small_bytes_that_would_become_large_are_refused_before_they_are_decoded() {
    let limits = PackageLimits::default();
    // Files, messages in a file, options in a file: two or three bytes each.
    let files = [0x0a, 0].repeat(1 << 20);
    let message = [0x22, 0].repeat(1 << 20);
    let in_file = |inner: &[u8]| {
        let mut bytes = vec![0x0a];
        prost::encoding::encode_varint(inner.len() as u64, &mut bytes);
        bytes.extend_from_slice(inner);
        bytes
    };
    let mut options = vec![0x42];
    prost::encoding::encode_varint(3 << 20, &mut options);
    options.extend([0xba, 0x3e, 0].repeat(1 << 20));
    for bytes in [files, in_file(&message), in_file(&options)] {
        let error = Descriptors::read(&bytes, "S", "", &limits).unwrap_err();
        assert_eq!(error.code(), "descriptors_too_large");
    }
    assert!(census::elements(&built(USERS).encode_to_vec()) < 1000);
}

#[test]
fn a_set_broken_off_or_changed_anywhere_is_read_or_refused() {
    let bytes = built(USERS).encode_to_vec();
    let limits = PackageLimits::default();
    for length in 0..bytes.len() {
        let _ = Descriptors::read(&bytes[..length], "UserService", "auth.users", &limits);
    }
    for at in 0..bytes.len() {
        for mask in [1, 4, 0x80, 0xff] {
            let mut bytes = bytes.clone();
            bytes[at] ^= mask;
            let _ = Descriptors::read(&bytes, "UserService", "auth.users", &limits);
        }
    }
}
