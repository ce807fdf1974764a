use prost_types::FileDescriptorSet;

use super::*;

const CONFIG: &[u8] = br#"{"name": "MathService", "version": "1.0.0", "language": "go"}"#;
const IDL: &[u8] = br#"@okra(namespace: "test.math", version: "v1")
service MathService {
  add(input: AddInput): AddResponse @auth(cel: "true") @durable
}
type AddInput { a: Int! b: Int! }
type AddResponse { sum: Int! }
"#;
const WASM: &[u8] = b"\0asm\x01\0\0\0";
const PROTO: &str = include_str!("tests/orders.proto");

/// What a compiler makes of files, with all that they import and with their comments.
fn compiled(files: &[(&str, &str)]) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(dir.path().join(name), text).unwrap();
    }
    let mut compiler = protox::Compiler::new([dir.path()]).unwrap();
    compiler.include_imports(true).include_source_info(true);
    for (name, _) in files {
        compiler.open_file(dir.path().join(name)).unwrap();
    }
    // Options that nobody here knows are in it.
    compiler.encode_file_descriptor_set()
}

fn orders() -> Vec<u8> {
    compiled(&[("orders.proto", PROTO)])
}

fn packed(config: &str, set: &[u8]) -> Result<Packed, PackError> {
    pack(&PackageParts { config: config.as_bytes(), interface: Interface::Descriptors(set), wasm: WASM })
}

fn read(packed: &Packed) -> Package {
    Package::read(packed.archive.clone(), &PackageLimits::default()).unwrap()
}

fn refused(config: &str, set: &[u8], fragment: &str) -> PackError {
    let error = packed(config, set).unwrap_err();
    assert!(error.to_string().contains(fragment), "{error}");
    error
}

#[test]
fn what_is_packed_can_be_read() {
    let parts = PackageParts { config: CONFIG, interface: Interface::Schema(IDL), wasm: WASM };
    let packed = pack(&parts).unwrap();
    assert_eq!(packed.archive, pack(&parts).unwrap().archive);
    assert_eq!(packed.left_out, [""; 0]);
    let package = read(&packed);
    assert_eq!(package.service_id(), "test.math.MathService.v1");
    assert_eq!(package.route(), "test.math.MathService");
    assert_eq!(package.semver().to_string(), "1.0.0");
    assert_eq!(package.notes(), [""; 0]);
    insta::assert_snapshot!(package.description().to_json());
}

#[test]
fn compiled_files_make_a_package_of_the_service_that_the_configuration_names() {
    let set = orders();
    let packed = packed(r#"{"name": "Orders"}"#, &set).unwrap();
    assert_eq!(packed.left_out, ["follow", "import"]);
    let package = read(&packed);
    assert_eq!(package.service_id(), "shop.v1.Orders.v1");
    assert_eq!(package.route(), "shop.v1.Orders");
    assert_eq!(package.notes(), [""; 0]);
    assert_eq!(package.idl(), None);
    let methods: Vec<_> = package
        .methods()
        .iter()
        .map(|method| (&*method.name, &*method.input, &*method.output, method.is_without_side_effects))
        .collect();
    let (order, empty) = ("shop.v1.Order", "google.protobuf.Empty");
    assert_eq!(
        methods,
        [
            ("place", order, "shop.v1.Receipt", false),
            ("look", "shop.v1.Order.Key", order, true),
            ("ping", empty, empty, false)
        ]
    );
    insta::assert_snapshot!(package.description().to_json());
}

#[test]
fn all_but_what_streams_is_packed_as_it_was_compiled() {
    let set = orders();
    let package = read(&packed(r#"{"name": "Orders"}"#, &set).unwrap());
    // An option that nobody here knows is still there, of the method that is and not of the one that is not.
    let has = |text: &str| package.descriptor_bytes().windows(text.len()).any(|part| part == text.as_bytes());
    assert!(has("kept as it is") && !has("gone with its method"));
    let mut expected = FileDescriptorSet::decode(&*set).unwrap();
    for file in expected.file.iter_mut().filter(|file| file.package() == "shop.v1") {
        let service = file.service.iter_mut().find(|service| service.name() == "Orders").unwrap();
        service.method.retain(|method| !["follow", "import"].contains(&method.name()));
        // It speaks of methods by their places.
        file.source_code_info = None;
    }
    assert_eq!(*package.descriptor_set(), expected);
    // Where nothing streams, nothing changes.
    let package = read(&packed(r#"{"name": "Stock"}"#, &set).unwrap());
    assert_eq!(package.descriptor_bytes(), &set);
}

#[test]
fn the_configuration_says_the_version_of_a_compiled_service_and_of_no_other() {
    let package = read(
        &packed(r#"{"name": "Orders", "version": "7.0.0", "service_version": "v2.1"}"#, &orders()).unwrap(),
    );
    assert_eq!(package.service_id(), "shop.v1.Orders.v2.1");
    assert_eq!(package.semver().to_string(), "2.1.0");
    refused(r#"{"name": "Orders", "service_version": "v 2"}"#, &orders(), "the version 'v 2' cannot be part");
    let config = br#"{"name": "MathService", "service_version": "v2"}"#;
    let error = pack(&PackageParts { config, interface: Interface::Schema(IDL), wasm: WASM }).unwrap_err();
    assert_eq!(error, PackError::VersionTwice);
    assert!(error.help().is_some_and(|help| help.contains("@okra(version:")));
}

#[test]
fn a_service_without_a_package_is_called_by_its_name_alone() {
    let set = compiled(&[(
        "plain.proto",
        r#"syntax = "proto3"; message A { string a = 1; } service Plain { rpc say(A) returns (A); }"#,
    )]);
    let package = read(&packed(r#"{"name": "Plain"}"#, &set).unwrap());
    assert_eq!((package.service_id(), package.route()), ("default.Plain.v1", "Plain"));
    assert_eq!(package.description().services[0].methods[0].input_type, "A");
}

#[test]
fn a_set_that_makes_no_package_is_refused_with_the_way_out() {
    let set = orders();
    let error = refused(r#"{"name": "Order"}"#, &set, "service Order is not among");
    assert!(error.to_string().ends_with("of the descriptors: Orders, Stock, Feed"), "{error}");
    assert_eq!(error.help(), Some("`name` in okra.json is the name of one of them"));
    refused(r#"{"name": "Orders"}"#, b"", "there are none");
    refused(r#"{"name": "Orders"}"#, b"\xff\xff\xff\xff", "not a descriptor set");
    refused(r#"{"name": "Orders"}"#, &[0x0a, 0].repeat(200_000), "more than the 100000 elements");
    refused(r#"{"name": "Feed"}"#, &set, "all methods of the service Feed stream");
    refused(r#"{"name": "Orders", "abi": 1}"#, &set, "failed to parse config");

    let twin = PROTO.replace("package shop.v1;", "package zoo;").replace("50001", "50002");
    let twins = compiled(&[("orders.proto", PROTO), ("twin.proto", &twin)]);
    let error = refused(r#"{"name": "Orders"}"#, &twins, "in more than one package: shop.v1, zoo");
    assert!(error.help().is_some());

    // As `protoc` makes it when it is not told to include what is imported.
    let mut without = FileDescriptorSet::decode(&*set).unwrap();
    without.file.retain(|file| file.package() == "shop.v1");
    let error = refused(r#"{"name": "Orders"}"#, &without.encode_to_vec(), "google.protobuf.");
    assert!(error.help().is_some_and(|help| help.contains("--include_imports")), "{error:?}");
}

#[test]
fn a_schema_described_from_its_own_descriptors_is_described_as_before() {
    let idl = br#"@okra(namespace: "shop", version: "v1")
service Orders { place(input: Order): Receipt look(input: Order): Order @idempotent(level: "NO_SIDE_EFFECTS") ping: Receipt }
type Order { id: String! count: Int at: Time lines: [Line] kind: Kind! weights: [Double] raw: Bytes ok: Boolean! }
type Line { sku: Long price: Float }
type Receipt { order: Order }
enum Kind { SMALL LARGE }
"#;
    let idl = Idl::parse(idl).unwrap();
    let set = idl.descriptor_set().encode_to_vec();
    let described = read(&packed(r#"{"name": "Orders", "service_version": "v1"}"#, &set).unwrap());
    let mut expected = idl.description().clone();
    // In the order in which the methods come upon them.
    expected.types.swap(1, 2);
    assert_eq!(described.description(), &expected);
}

#[test]
fn a_compiled_set_broken_off_or_changed_anywhere_is_packed_or_refused() {
    let set = orders();
    let config = r#"{"name": "Orders"}"#;
    let step = set.len().div_ceil(CUTS);
    for at in (0..set.len()).step_by(step) {
        let _ = packed(config, &set[..at]);
        for mask in [1, 4, 0x80, 0xff] {
            let mut set = set.clone();
            set[at] ^= mask;
            let _ = packed(config, &set);
        }
    }
}

/// How many places of a set are tried.
const CUTS: usize = 120;
