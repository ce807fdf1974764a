//! Any description, descriptors and configuration are read or refused, and any descriptors and configuration
//! become a package or are refused.
//!
//! The input is cut in three at its first two `\n\0`.

use flate2::Compression;
use flate2::write::GzEncoder;
use packages::{Interface, ModuleNames, PackError, Package, PackageLimits, PackageParts, pack};

pub(crate) fn check(input: &[u8]) {
    let (config, rest) = cut(input);
    let (description, descriptors) = cut(rest);
    let _ = ModuleNames::read(input);
    let interface = Interface::Descriptors(descriptors);
    // What is described from descriptors agrees with them.
    if let Err(PackError::Refused(error)) =
        pack(&PackageParts { config, interface, wasm: b"\0asm\x01\0\0\0" })
    {
        assert_ne!(error.code(), "methods_disagree");
    }
    let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::none()));
    let files: [(&str, &[u8]); 4] = [
        ("service.wasm", b"\0asm\x01\0\0\0"),
        ("service.description.json", description),
        ("okra.json", config),
        ("service.pb.desc", descriptors),
    ];
    for (name, data) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(data.len() as u64);
        tar.append_data(&mut header, name, data).expect("memory can be written");
    }
    let archive = tar.into_inner().and_then(GzEncoder::finish).expect("memory can be written");
    if let Ok(package) = Package::read(archive.into(), &PackageLimits::default()) {
        assert!(package.descriptor_set().file.iter().any(|file| !file.service.is_empty()));
    }
}

fn cut(input: &[u8]) -> (&[u8], &[u8]) {
    match input.windows(2).position(|pair| pair == b"\n\0") {
        Some(at) => (&input[..at], &input[at + 2..]),
        None => (input, &[]),
    }
}
