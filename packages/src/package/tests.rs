use super::*;
use crate::archive;
use crate::config::Payload;
use crate::descriptors::build;
use crate::sample::MAX_SAMPLE_BYTES;

const CONFIG: &str = r#"{"name": "Service", "version": "1.0.0", "language": "go"}"#;
const DESCRIPTION: &str = r#"{
  "types": [
    {"name": "GreetRequest", "doc": "", "fields": [{"name": "name", "type": "String", "required": true, "directives": [], "doc": ""}]},
    {"name": "GreetResponse", "fields": [{"name": "message", "type": "String"}], "unknown": [1, {"a": null}]}
  ],
  "enums": null,
  "SERVICES": [{"name": "Service", "methods": [{"name": "greet", "inputType": "GreetRequest", "outputType": "GreetResponse"}]}],
  "meta": {"namespace": "test", "version": "v1"}
}"#;
const WASM: &[u8] = b"\0asm\x01\0\0\0";

/// The four files, each of which a test may spoil.
#[derive(Clone)]
struct Files {
    wasm: Option<Vec<u8>>,
    description: Option<Vec<u8>>,
    config: Option<Vec<u8>>,
    descriptors: Option<Vec<u8>>,
}

impl Files {
    fn good() -> Self {
        let description = Description::parse(DESCRIPTION.as_bytes()).unwrap();
        Self {
            wasm: Some(WASM.to_vec()),
            description: Some(DESCRIPTION.into()),
            config: Some(CONFIG.into()),
            descriptors: Some(descriptors(&description)),
        }
    }

    /// With a description, and descriptors made from it.
    fn described(description: &str) -> Self {
        let parsed = Description::parse(description.as_bytes()).unwrap();
        Self {
            description: Some(description.into()),
            descriptors: Some(descriptors(&parsed)),
            ..Self::good()
        }
    }

    fn packed(&self) -> Bytes {
        let files = [
            (PackageFile::Wasm, &self.wasm),
            (PackageFile::Description, &self.description),
            (PackageFile::Config, &self.config),
            (PackageFile::Descriptors, &self.descriptors),
        ];
        let files: Vec<_> = files.iter().filter_map(|(file, data)| Some((*file, data.as_deref()?))).collect();
        archive::write(&files).unwrap()
    }

    fn read(&self) -> Result<Package, PackageError> {
        Package::read(self.packed(), &PackageLimits::default())
    }

    fn refused(&self, code: &str, fragment: &str) {
        let error = self.read().unwrap_err();
        assert_eq!(error.code(), code, "{error}");
        assert!(error.to_string().contains(fragment), "{error}");
    }
}

fn descriptors(description: &Description) -> Vec<u8> {
    prost::Message::encode_to_vec(&build::build(description))
}

#[test]
fn a_whole_package_says_what_it_is() {
    let archive = Files::good().packed();
    let package = Package::read(archive.clone(), &PackageLimits::default()).unwrap();
    assert_eq!(package.service_id(), "test.Service.v1");
    assert_eq!(package.service(), "Service");
    assert_eq!(package.route(), "test.Service");
    assert_eq!(package.version(), "v1");
    assert_eq!(package.wasm(), WASM);
    assert_eq!(package.config().version, "1.0.0");
    assert_eq!((package.abi().payload, package.abi().envelope), (Payload::Json, false));
    assert_eq!(package.archive_bytes(), archive.len() as u64);
    assert_eq!(package.digest(), digest(&archive));
    assert_eq!(package.digest().len(), 64);
    assert_eq!(package.descriptor_set().file.len(), 1);
    assert_eq!(package.notes(), [""; 0]);
    let method = PackageMethod {
        name: "greet".to_owned(),
        input: "test.GreetRequest".to_owned(),
        output: "test.GreetResponse".to_owned(),
        is_without_side_effects: false,
    };
    assert_eq!(package.methods(), [method]);
}

#[test]
fn a_digest_is_that_of_the_bytes() {
    assert_eq!(digest(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

#[test]
fn what_is_no_archive_cannot_be_extracted() {
    let cases: [&'static [u8]; 4] = [b"", b"random bytes, not a package", &[0x1f, 0x8b, 8, 0], b"PK\x03\x04"];
    for bytes in cases {
        let error = Package::read(Bytes::from_static(bytes), &PackageLimits::default()).unwrap_err();
        assert!(error.to_string().contains("failed to extract package"), "{error}");
    }
}

#[test]
fn each_file_is_required_in_order() {
    let missing = |spoil: fn(&mut Files), name: &str| {
        let mut files = Files::good();
        spoil(&mut files);
        files.refused("missing_file", &format!("invalid package: missing required file: {name}"));
    };
    missing(|files| files.wasm = None, "service.wasm");
    missing(|files| files.description = None, "service.description.json");
    missing(|files| files.config = None, "okra.json");
    missing(|files| files.descriptors = None, "service.pb.desc");
    let nothing = Files { wasm: None, description: None, config: None, descriptors: None };
    nothing.refused("missing_file", "service.wasm");
}

#[test]
fn each_file_has_to_make_sense() {
    let spoilt = |spoil: fn(&mut Files), code: &str, fragment: &str| {
        let mut files = Files::good();
        spoil(&mut files);
        files.refused(code, fragment);
    };
    spoilt(
        |files| files.config = Some(b"{invalid json".into()),
        "invalid_config",
        "failed to parse config: ",
    );
    spoilt(|files| files.config = Some(b"[]".into()), "invalid_config", "at line 1 column");
    spoilt(
        |files| files.description = Some(b"{invalid json".into()),
        "invalid_description",
        "failed to parse schema: ",
    );
    spoilt(
        |files| files.wasm = Some(vec![0, 0x61]),
        "invalid_wasm",
        "invalid package: invalid WASM file: file too small",
    );
    spoilt(
        |files| files.wasm = Some(b"MZ\0\0\0".into()),
        "invalid_wasm",
        "invalid WASM file: incorrect magic number",
    );
    spoilt(
        |files| files.descriptors = Some(vec![0xff; 3]),
        "descriptors_malformed",
        "failed to load protobuf descriptors: ",
    );
    spoilt(
        |files| files.description = Some(br#"{"services":[]}"#.into()),
        "no_service",
        "failed to create service package: schema must contain at least one service",
    );
    spoilt(
        |files| files.description = Some(b"null".into()),
        "no_service",
        "schema must contain at least one service",
    );
}

/// The original loads such a set and then serves nothing; here it is refused at once.
#[test]
fn the_service_has_to_be_in_the_descriptors() {
    for set in [vec![0x0a, 0], Vec::new()] {
        let files = Files { descriptors: Some(set), ..Files::good() };
        files.refused(
            "service_not_in_descriptors",
            "failed to load protobuf descriptors: service Service not found in descriptors",
        );
    }
}

#[test]
fn config_and_schema_name_the_same_service() {
    let files = Files { config: Some(br#"{"name": "ServiceA"}"#.into()), ..Files::good() };
    files.refused("name_mismatch", "service name mismatch: config has 'ServiceA', schema has 'Service'");
    let files = Files { config: Some(b"{}".into()), ..Files::good() };
    files.refused("name_mismatch", "config has ''");
}

#[test]
fn methods_are_the_same_in_both_files() {
    let with = |methods: &str| DESCRIPTION.replace(r#""methods": ["#, &format!(r#""methods": [{methods}"#));
    let other = with(r#"{"name": "more", "outputType": "GreetResponse"},"#);
    let files = Files { description: Some(other.clone().into()), ..Files::good() };
    files
        .refused("methods_disagree", "method more is in service.description.json but not in service.pb.desc");
    let files = Files { description: Some(DESCRIPTION.into()), ..Files::described(&other) };
    files
        .refused("methods_disagree", "method more is in service.pb.desc but not in service.description.json");
}

#[test]
fn of_equal_methods_the_last_counts() {
    let twice = DESCRIPTION.replace(
        r#""methods": ["#,
        r#""methods": [{"name": "greet", "directives": [{"name": "readonly"}]},"#,
    );
    let files = Files { description: Some(twice.into()), ..Files::good() };
    let package = files.read().unwrap();
    assert_eq!(package.methods().len(), 1);
    assert!(!package.methods()[0].is_without_side_effects);
}

#[test]
fn names_are_those_the_original_gives() {
    let named = |namespace: &str, version: &str| {
        let meta = format!(r#""meta": {{"namespace": "{namespace}", "version": "{version}"}}"#);
        Files::described(&DESCRIPTION.replace(r#""meta": {"namespace": "test", "version": "v1"}"#, &meta))
            .read()
    };
    let bare = named("", "").unwrap();
    assert_eq!((bare.service_id(), bare.route()), ("default.Service.v1", "service.Service"));
    let deep = named("auth.users", "v1.2").unwrap();
    assert_eq!((deep.service_id(), deep.route()), ("auth.users.Service.v1.2", "auth.users.Service"));
    for (namespace, version) in [
        ("my-space", "v1"),
        ("a..b", "v1"),
        ("a/b", "v1"),
        ("a", "../x"),
        ("a", "v 1"),
        ("a", "-1"),
        ("1a", "v1"),
    ] {
        let error = named(namespace, version).unwrap_err();
        assert_eq!(error.code(), "invalid_identity", "{namespace} {version}: {error}");
    }
}

#[test]
fn a_namespace_that_is_not_the_protobuf_package_is_noted() {
    let elsewhere = Files {
        descriptors: Files::described(&DESCRIPTION.replace("\"test\"", "\"other\"")).descriptors,
        ..Files::good()
    };
    let package = elsewhere.read().unwrap();
    assert_eq!((package.service_id(), package.route()), ("test.Service.v1", "other.Service"));
    assert_eq!(package.notes(), ["the namespace is test, the route has the protobuf package other"]);
}

#[test]
fn the_promise_to_change_nothing_is_found_in_either_file() {
    let promised = DESCRIPTION.replace(
        r#""outputType": "GreetResponse""#,
        r#""outputType": "GreetResponse", "directives": [{"name": "readonly", "args": {}}]"#,
    );
    let in_both = Files::described(&promised);
    let only_described = Files { description: Some(promised.into()), ..Files::good() };
    let only_compiled = Files { description: Some(DESCRIPTION.into()), ..in_both.clone() };
    for files in [in_both, only_described, only_compiled] {
        assert!(files.read().unwrap().methods()[0].is_without_side_effects);
    }
    assert!(!Files::good().read().unwrap().methods()[0].is_without_side_effects);
}

#[test]
fn what_came_along_is_kept_or_noted() {
    let files = Files::good();
    let parts = [
        (PackageFile::Wasm, files.wasm.as_deref().unwrap()),
        (PackageFile::Description, files.description.as_deref().unwrap()),
        (PackageFile::Config, files.config.as_deref().unwrap()),
        (PackageFile::Descriptors, files.descriptors.as_deref().unwrap()),
        (PackageFile::Idl, b"# a schema, never parsed".as_slice()),
    ];
    let package = Package::read(archive::write(&parts).unwrap(), &PackageLimits::default()).unwrap();
    assert_eq!(package.idl().unwrap(), "# a schema, never parsed");
}

#[test]
fn packages_are_read_side_by_side() {
    let archive = Files::good().packed();
    std::thread::scope(|scope| {
        let read = || Package::read(archive.clone(), &PackageLimits::default()).unwrap().digest().to_owned();
        let threads: Vec<_> = (0..5).map(|_| scope.spawn(read)).collect();
        for thread in threads {
            assert_eq!(thread.join().unwrap(), digest(&archive));
        }
    });
}

#[test]
fn a_package_that_breaks_off_anywhere_is_refused() {
    let archive = Files::good().packed();
    for length in 0..archive.len() {
        let error = Package::read(archive.slice(..length), &PackageLimits::default()).unwrap_err();
        let expected = if length == 0 { "not_gzip" } else { "truncated" };
        assert_eq!(error.code(), expected, "{length} of {}", archive.len());
    }
}

/// Bits that say nothing (the time and system of gzip, the ones that fill up its last byte) may change
/// unnoticed; what was packed may not.
#[test]
fn a_package_with_any_byte_changed_is_refused_or_the_same() {
    let archive = Files::good().packed();
    let whole = Package::read(archive.clone(), &PackageLimits::default()).unwrap();
    let mut same = 0;
    for at in 0..archive.len() {
        for mask in [0x01, 0x80, 0xff] {
            let mut bytes = archive.to_vec();
            bytes[at] ^= mask;
            match Package::read(bytes.into(), &PackageLimits::default()) {
                Ok(package) => {
                    assert_eq!(package.description(), whole.description());
                    assert_eq!(package.wasm(), whole.wasm());
                    assert_eq!(package.descriptor_bytes(), whole.descriptor_bytes());
                    assert_eq!(package.config(), whole.config());
                    assert_ne!(package.digest(), whole.digest());
                    same += 1;
                }
                Err(error) => assert!(matches!(error, PackageError::Archive(_)), "byte {at}: {error}"),
            }
        }
    }
    assert!(same <= 30, "{same}");
}

#[test]
fn the_calls_that_prime_a_guest_are_held_against_its_interface() {
    let primed = |calls: &str| {
        let config = CONFIG.replacen('}', &format!(r#", "primed": {{"calls": {calls}}}}}"#), 1);
        Files { config: Some(config.into()), ..Files::good() }.read()
    };
    assert_eq!(Files::good().read().unwrap().samples(), None);
    assert_eq!(primed("[]").unwrap().samples(), Some(&[][..]));
    let package = primed(r#"[{"method": "greet", "payload": {"name": "x"}}, {"method": "greet"}]"#).unwrap();
    let samples: Vec<_> =
        package.samples().unwrap().iter().map(|sample| (sample.method.as_str(), &*sample.input)).collect();
    // Before the guest is asked, what is not set is spelt out, as in its calls.
    assert_eq!(samples, [("greet", &br#"{"name":"x"}"#[..]), ("greet", br#"{"name":""}"#)]);
    for (calls, text, help) in [
        (
            r#"[{"method": "greet"}, {"method": "Greet"}]"#,
            "invalid package: okra.json: primed.calls[1] (Greet): the service has no such method",
            "`method` is a method of the schema",
        ),
        (
            r#"[{"method": "greet", "payload": {"nam": "x"}}]"#,
            "primed.calls[0] (greet): `payload` is no test.GreetRequest: (line 1:2): unknown field",
            "`payload` is a request in JSON",
        ),
        (r#"[{"method": "greet", "payload": {"name": 1}}]"#, "(line 1:10)", "`payload` is a request"),
    ] {
        let error = primed(calls).unwrap_err();
        assert!(error.to_string().contains(text), "{error}");
        assert!(error.help().unwrap().starts_with(help), "{error}");
        assert_eq!((error.code(), error.file()), ("invalid_sample", Some(PackageFile::Config)));
    }
}

#[test]
fn the_calls_that_prime_a_guest_have_a_bound_together() {
    // The text of so many bytes would be refused by its own bounds.
    let limits = PackageLimits { text_bytes: 2 << 20, ratio: u32::MAX, ..PackageLimits::default() };
    let primed = |payload: &str, lengths: &[usize]| {
        let call = |length: &usize| {
            format!(r#"{{"method": "greet", "payload": {{"name": "{}"}}}}"#, "x".repeat(*length))
        };
        let calls = Vec::from_iter(lengths.iter().map(call)).join(",");
        let keys = format!(r#", "abi": {{"payload": "{payload}"}}, "primed": {{"calls": [{calls}]}}}}"#);
        let files = Files { config: Some(CONFIG.replacen('}', &keys, 1).into()), ..Files::good() };
        Package::read(files.packed(), &limits)
    };
    // What a call has beside the text: its method's name, and `{"name":""}` or a tag and a length.
    for (payload, beside) in
        [("json", "greet".len() + r#"{"name":""}"#.len()), ("protobuf", "greet".len() + 4)]
    {
        let call = 60_000;
        let whole = MAX_SAMPLE_BYTES / (call + beside);
        let mut lengths = vec![call; whole];
        lengths.push(MAX_SAMPLE_BYTES - whole * (call + beside) - beside);
        let package = primed(payload, &lengths).unwrap();
        let bytes = |sample: &Sample| sample.method.len() + sample.input.len();
        assert_eq!(package.samples().unwrap().iter().map(bytes).sum::<usize>(), MAX_SAMPLE_BYTES);
        lengths[whole] += 1;
        let error = primed(payload, &lengths).unwrap_err();
        let text =
            "okra.json: primed.calls[17] (greet): with it, names and requests have more than 1048576 bytes";
        assert!(error.to_string().contains(text), "{error}");
        assert_eq!((error.code(), error.file()), ("invalid_sample", Some(PackageFile::Config)));
        assert!(error.help().unwrap().starts_with("fewer calls"), "{error}");
        // Those after it are not looked at.
        lengths.push(call);
        assert_eq!(primed(payload, &lengths).unwrap_err(), error);
    }
}
