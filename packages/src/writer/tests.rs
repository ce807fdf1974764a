use super::*;

const CONFIG: &[u8] = br#"{"name": "MathService", "version": "1.0.0", "language": "go"}"#;
const IDL: &[u8] = br#"@okra(namespace: "test.math", version: "v1")
service MathService {
  add(input: AddInput): AddResponse @auth(cel: "true") @durable
}
type AddInput { a: Int! b: Int! }
type AddResponse { sum: Int! }
"#;

#[test]
fn what_is_packed_can_be_read() {
    let parts = PackageParts { config: CONFIG, idl: IDL, wasm: b"\0asm\x01\0\0\0" };
    let bytes = pack(&parts).unwrap();
    assert_eq!(bytes, pack(&parts).unwrap());
    let package = Package::read(bytes, &PackageLimits::default()).unwrap();
    assert_eq!(package.service_id(), "test.math.MathService.v1");
    assert_eq!(package.route(), "test.math.MathService");
    assert_eq!(package.semver().to_string(), "1.0.0");
    assert_eq!(package.notes(), [""; 0]);
    insta::assert_snapshot!(package.description().to_json());
}
