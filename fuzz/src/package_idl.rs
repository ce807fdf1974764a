//! Any schema is read or refused, and one that is read can become a package.

use packages::{Description, Idl, Interface, PackError, Package, PackageLimits, PackageParts, pack};

pub(crate) fn check(input: &[u8]) {
    let idl = match Idl::parse(input) {
        Ok(idl) => idl,
        Err(errors) => {
            assert!(!errors.errors().is_empty());
            assert!(!errors.to_string().is_empty());
            return;
        }
    };
    let json = idl.description().to_json();
    let read = Description::parse(json.as_bytes()).expect("what is written can be read");
    assert_eq!(read, *idl.description());
    let Some(service) = read.services.first() else { return };
    let config = format!("{{\"name\": \"{}\"}}", service.name);
    let parts = PackageParts {
        config: config.as_bytes(),
        interface: Interface::Schema(input),
        wasm: b"\0asm\x01\0\0\0",
    };
    match pack(&parts) {
        Ok(packed) => {
            let package =
                Package::read(packed.archive, &PackageLimits::default()).expect("what is packed can be read");
            assert_eq!(package.description(), idl.description());
            assert_eq!(package.methods().len(), service.methods.len());
        }
        // Names may be good ones and too long.
        Err(PackError::Refused(error)) => assert_eq!(error.code(), "invalid_identity"),
        Err(error) => panic!("{error}"),
    }
}
