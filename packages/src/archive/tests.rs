use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;

use super::*;
use crate::limits::RATIO_APPLIES_BEYOND;

/// A tar made by hand, so that it can be wrong.
#[derive(Default)]
struct Tar(Vec<u8>);

impl Tar {
    /// A header and what it announces.
    fn entry(self, kind: u8, name: &[u8], data: &[u8]) -> Self {
        self.entry_of_size(kind, name, data, data.len() as u64)
    }

    fn entry_of_size(self, kind: u8, name: &[u8], data: &[u8], size: u64) -> Self {
        let mut header = Header::new_ustar();
        header.as_old_mut().name[..name.len()].copy_from_slice(name);
        header.set_entry_type(EntryType::new(kind));
        header.set_size(size);
        header.set_mode(0o644);
        header.set_cksum();
        self.block(header.as_bytes()).block(data)
    }

    /// Bytes, filled up to a whole block.
    fn block(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self.0.resize(self.0.len().next_multiple_of(BLOCK), 0);
        self
    }

    fn file(self, name: &str, data: &[u8]) -> Self {
        self.entry(b'0', name.as_bytes(), data)
    }

    fn pax(self, kind: u8, records: &[(&str, &[u8])]) -> Self {
        let data: Vec<u8> = records.iter().flat_map(|(key, value)| pax_record(key, value)).collect();
        self.entry(kind, b"PaxHeaders/x", &data)
    }

    /// With the end marker.
    fn ended(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 2 * BLOCK, 0);
        self.0
    }

    fn read(self) -> Result<Contents, ArchiveError> {
        read(&gzip(&self.ended()))
    }

    fn code(self) -> &'static str {
        self.read().unwrap_err().code()
    }
}

fn pax_record(key: &str, value: &[u8]) -> Vec<u8> {
    let rest = [b" ", key.as_bytes(), b"=", value, b"\n"].concat();
    let length = (1..)
        .map(|digits| rest.len() + digits)
        .find(|length| length.to_string().len() + rest.len() == *length);
    [length.unwrap().to_string().as_bytes(), &rest].concat()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn read(bytes: &[u8]) -> Result<Contents, ArchiveError> {
    Contents::read(bytes, &PackageLimits::default())
}

fn code(bytes: &[u8]) -> &'static str {
    read(bytes).unwrap_err().code()
}

#[test]
fn files_are_kept_directories_passed_over_and_others_noted() {
    let tar = Tar::default().entry(b'5', b"./", b"").entry(b'5', b"assets/", b"").entry(0, b"old/", b"");
    let tar = tar.file("./service.wasm", b"wasm").file("okra.json", b"").file("LICENSE", b"text");
    let mut contents = tar.read().unwrap();
    assert_eq!(contents.take(PackageFile::Wasm).unwrap(), "wasm");
    assert_eq!(contents.take(PackageFile::Config).unwrap(), "");
    assert_eq!(contents.take(PackageFile::Descriptors), None);
    assert_eq!(contents.ignored, ["LICENSE"]);
    assert_eq!(contents.unpacked_bytes, 10 * BLOCK as u64);
}

#[test]
fn names_that_lead_elsewhere_are_refused_by_their_fault() {
    let cases: &[(&[u8], &str)] = &[
        (b"../../../etc/passwd", "path_traversal"),
        (b"x/../service.wasm", "path_traversal"),
        (b"./..", "path_traversal"),
        (b"/service.wasm", "absolute_path"),
        (b"//service.wasm", "absolute_path"),
        (b"a\\..\\service.wasm", "backslash_in_name"),
        (b"service.wasm\0.txt", "nul_in_name"),
        (b"\xff\xfe", "name_not_utf8"),
        (b"dir/service.wasm", "nested_path"),
        (b"", "empty_name"),
        (b".", "empty_name"),
    ];
    for (name, expected) in cases {
        let shown = String::from_utf8_lossy(name);
        assert_eq!(Tar::default().entry(b'0', name, b"x").code(), *expected, "{shown:?}");
        // Said in a longer form, it is the same.
        assert_eq!(
            Tar::default().pax(b'x', &[("path", name)]).file("x", b"x").code(),
            *expected,
            "{shown:?}"
        );
        let gnu = Tar::default().entry(b'L', b"././@LongLink", &[name, &b"\0"[..]].concat());
        assert_eq!(gnu.file("x", b"x").code(), *expected, "{shown:?}");
    }
    let error = Tar::default().file("../../../etc/passwd", b"").read().unwrap_err();
    assert!(error.to_string().starts_with("invalid file name in package: ../../../etc/passwd"), "{error}");
    assert_eq!(Tar::default().entry(b'5', b"../", b"").code(), "path_traversal");
}

#[test]
fn what_is_no_regular_file_is_refused_by_what_it_is() {
    let kinds = [
        (b'1', "hardlink"),
        (b'2', "symlink"),
        (b'3', "device"),
        (b'4', "device"),
        (b'6', "fifo"),
        (b'7', "unknown_entry_type"),
        (b'S', "sparse_file"),
        (b'V', "unknown_entry_type"),
        (b'Z', "unknown_entry_type"),
    ];
    for (kind, expected) in kinds {
        assert_eq!(Tar::default().entry(kind, b"service.wasm", b"").code(), expected, "{}", char::from(kind));
    }
    assert_eq!(Tar::default().entry(b'5', b"dir/", b"data").code(), "directory_with_data");
    let sparse = [("GNU.sparse.major", &b"1"[..]), ("GNU.sparse.minor", b"0")];
    assert_eq!(Tar::default().pax(b'x', &sparse).file("service.wasm", b"").code(), "sparse_file");
}

#[test]
fn a_name_occurs_once() {
    let twice = || Tar::default().file("okra.json", b"1");
    assert_eq!(twice().file("./okra.json", b"2").code(), "duplicate_entry");
    assert_eq!(twice().pax(b'x', &[("path", b"okra.json")]).file("y", b"2").code(), "duplicate_entry");
    assert_eq!(Tar::default().file("extra", b"1").file("extra", b"2").code(), "duplicate_entry");
}

#[test]
fn extended_headers_say_one_thing_of_one_entry() {
    let file = |tar: Tar| tar.file("x", b"data");
    let named =
        file(Tar::default().pax(b'x', &[("mtime", b"1.5"), ("path", b"./service.wasm"), ("size", b"4")]));
    assert_eq!(named.read().unwrap().take(PackageFile::Wasm).unwrap(), "data");
    let gnu = Tar::default().entry(b'K', b"@", b"target\0").entry(b'L', b"@", b"service.wasm\0");
    assert_eq!(file(gnu).read().unwrap().take(PackageFile::Wasm).unwrap(), "data");
    // As `git archive` writes it.
    let commented = file(Tar::default().pax(b'g', &[("comment", b"0123")]));
    assert_eq!(commented.read().unwrap().ignored, ["x"]);

    let pax = |records: &[(&str, &[u8])]| file(Tar::default().pax(b'x', records)).code();
    assert_eq!(pax(&[("size", b"5")]), "pax_size_mismatch");
    assert_eq!(pax(&[("size", b"04")]), "pax_size_mismatch");
    assert_eq!(pax(&[("size", b"99999999999999999999")]), "pax_size_mismatch");
    assert_eq!(pax(&[("path", b"a"), ("path", b"b")]), "extension_conflict");
    for records in [&[("path", &b"okra.json"[..])][..], &[("size", b"4")], &[("GNU.sparse.name", b"a")]] {
        assert_eq!(file(Tar::default().pax(b'g', records)).code(), "extension_conflict");
    }
    let twice = || Tar::default().pax(b'x', &[("path", b"a")]);
    assert_eq!(file(twice().pax(b'x', &[("path", b"b")])).code(), "extension_conflict");
    assert_eq!(file(twice().pax(b'g', &[])).code(), "extension_conflict");
    let long = || Tar::default().entry(b'L', b"@", b"a\0");
    assert_eq!(file(long().entry(b'L', b"@", b"b\0")).code(), "extension_conflict");

    let raw = |data: &[u8]| file(Tar::default().entry(b'x', b"@", data)).code();
    for malformed in [
        &b"5 a=b\n"[..],
        b"x a=b\n",
        b"6 ab\n\n",
        b"6 a=b",
        b"6 a=bc",
        b" a=b\n",
        b"99999999999999999999 a=b\n",
        b"0 a=b\n",
        b"\0",
    ] {
        assert_eq!(raw(malformed), "pax_invalid", "{}", String::from_utf8_lossy(malformed));
    }
    let huge = vec![b'a'; 65 * 1024];
    assert_eq!(file(Tar::default().entry(b'L', b"@", &huge)).code(), "extension_too_large");
    assert_eq!(twice().code(), "extension_of_nothing");
    assert_eq!(long().code(), "extension_of_nothing");
}

#[test]
fn sizes_are_checked_before_anything_is_read() {
    let huge = |name: &str, size| Tar::default().entry_of_size(b'0', name.as_bytes(), b"", size).code();
    let mib = 1 << 20;
    assert_eq!(huge("service.wasm", 32 * mib + 1), "entry_too_large");
    assert_eq!(huge("okra.json", mib + 1), "entry_too_large");
    assert_eq!(huge("service.pb.desc", 4 * mib + 1), "entry_too_large");
    assert_eq!(huge("other", 64 * mib + 1), "entry_too_large");
    assert_eq!(huge("other", 64 * mib), "truncated");
    let largest = i64::MAX.unsigned_abs();
    assert_eq!(huge("other", largest), "entry_too_large");
    assert_eq!(huge("other", largest + 1), "header_invalid");
    assert_eq!(huge("other", u64::MAX), "header_invalid");
}

#[test]
fn there_is_a_bound_for_everything() {
    let small = PackageLimits {
        compressed_bytes: 1000,
        entries: 3,
        unpacked_bytes: 6 * 512,
        ..PackageLimits::default()
    };
    let code = |bytes: &[u8]| Contents::read(bytes, &small).map(drop).map_err(|error| error.code());
    let three = || Tar::default().file("a", b"").file("b", b"").file("c", b"");
    assert_eq!(code(&gzip(&three().ended())), Ok(()));
    assert_eq!(code(&gzip(&three().file("d", b"").ended())), Err("too_many_entries"));
    assert_eq!(code(&gzip(&Tar::default().file("a", &[0; 2048]).ended())), Err("unpacked_too_large"));
    assert_eq!(code(&[0; 1001]), Err("archive_too_large"));
    // What follows the end counts as well.
    assert_eq!(code(&gzip(&[0; 7 * 512])), Err("unpacked_too_large"));
}

#[test]
fn a_bomb_goes_off_at_two_hundred_times_its_size() {
    let free = usize::try_from(RATIO_APPLIES_BEYOND).unwrap();
    assert_eq!(read(&gzip(&vec![0; free])).unwrap().unpacked_bytes, free as u64);
    assert_eq!(code(&gzip(&vec![0; free + 1])), "compression_ratio");
    let wasm = Tar::default().file("service.wasm", &vec![0; 10 << 20]).ended();
    assert_eq!(code(&gzip(&wasm)), "compression_ratio");
    // A bomb in a bomb is but bytes.
    let nested = Tar::default().file("inner.tar.gz", &gzip(&wasm)).read().unwrap();
    assert_eq!(nested.ignored, ["inner.tar.gz"]);
}

#[test]
fn gzip_is_one_whole_member() {
    let good = gzip(&Tar::default().file("okra.json", b"{}").ended());
    assert_eq!(code(b""), "not_gzip");
    assert_eq!(code(b"PK\x03\x04"), "not_gzip");
    assert_eq!(code(&[0x1f, 0x8b, 8, 0]), "truncated");
    assert_eq!(code(&gzip(b"this is no tar, and short")), "truncated");
    assert_eq!(code(&gzip(&[b'x'; 600])), "header_checksum");
    assert_eq!(code(&[&good[..], b"\0"].concat()), "data_after_gzip");
    assert_eq!(code(&[&good[..], &good].concat()), "data_after_gzip");
    let broken = |at: usize| {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        code(&bytes)
    };
    assert_eq!(broken(good.len() - 8), "gzip_checksum");
    assert_eq!(broken(good.len() - 1), "gzip_checksum");
    assert_eq!(broken(2), "not_gzip");
    let reserved = [&good[..3], &[0x20], &good[4..]].concat();
    assert_eq!(code(&reserved), "not_gzip");
}

#[test]
fn the_optional_parts_of_a_gzip_header_are_read() {
    let good = gzip(&Tar::default().file("okra.json", b"{}").ended());
    let extended = |flags: u8, more: &[u8]| [&good[..3], &[flags], &good[4..10], more, &good[10..]].concat();
    for whole in [extended(4, b"\x03\0abc"), extended(8, b"name\0"), extended(24, b"name\0comment\0")] {
        assert_eq!(read(&whole).unwrap().unpacked_bytes, 2048);
        assert_eq!(code(&whole[..12]), "truncated");
    }
    assert_eq!(code(&extended(2, b"\0\0")), "gzip_checksum");
    let mut crc = flate2::Crc::new();
    crc.update(&extended(2, b"")[..10]);
    assert!(read(&extended(2, &crc.sum().to_le_bytes()[..2])).is_ok());
}

#[test]
fn nothing_follows_the_end_of_a_tar() {
    let end = || Tar::default().file("okra.json", b"{}").ended();
    let padded = [end(), vec![0; 8192]].concat();
    assert!(read(&gzip(&padded)).is_ok());
    assert_eq!(code(&gzip(&[end(), b"more".to_vec()].concat())), "data_after_tar");
    assert_eq!(code(&gzip(&[end(), end()].concat())), "data_after_tar");
    // The original's tools end without a marker as well as with one.
    let unmarked = Tar::default().file("okra.json", b"{}").0;
    assert!(read(&gzip(&unmarked)).is_ok());
    assert_eq!(code(&gzip(&unmarked[..unmarked.len() - 1])), "truncated");
    assert_eq!(code(&gzip(&unmarked[..100])), "truncated");
}

#[test]
fn what_other_tools_write_is_read() {
    let mut builder = tar::Builder::new(Vec::new());
    for format in [Header::new_gnu(), Header::new_ustar(), Header::new_old()] {
        let mut header = format;
        header.set_size(2);
        let names = ["okra.json", "service.wasm", "service.pb.desc"];
        let name =
            names[usize::from(header.as_gnu().is_some()) + 2 * usize::from(header.as_ustar().is_some())];
        builder.append_data(&mut header, name, &b"ab"[..]).unwrap();
    }
    let mut header = Header::new_gnu();
    header.set_size(0);
    builder.append_data(&mut header, "l".repeat(300), &b""[..]).unwrap();
    let mut contents = read(&gzip(&builder.into_inner().unwrap())).unwrap();
    assert!(
        [PackageFile::Config, PackageFile::Wasm, PackageFile::Descriptors]
            .map(|file| contents.take(file))
            .iter()
            .all(Option::is_some)
    );
    assert_eq!(contents.ignored, ["l".repeat(300)]);
}

#[test]
fn a_strangers_name_is_shown_on_one_short_line() {
    let error = Tar::default().entry(b'2', b"a\nb\x1b[31m", b"").read().unwrap_err();
    assert_eq!(error.to_string(), r"failed to read tar entry: a\nb\u{1b}[31m is a symbolic link");
    let long = [&b"../"[..], &[b'a'; 4000]].concat();
    let error = Tar::default().pax(b'x', &[("path", &long)]).file("x", b"").read().unwrap_err();
    assert!(error.to_string().len() < 250, "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_bytes_in_a_valid_gzip_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..2048)) {
        let _ = read(&gzip(&bytes));
        let _ = read(&bytes);
    }

    #[test]
    fn any_header_with_a_valid_checksum_is_read_or_refused(
        kind: u8, name in proptest::collection::vec(any::<u8>(), 0..100), size: u64,
        data in proptest::collection::vec(any::<u8>(), 0..1024),
    ) {
        let _ = Tar::default().entry_of_size(kind, &name, &data, size).read();
        let size = size % 1500;
        let _ = Tar::default().entry_of_size(kind, &name, &data, size).file("okra.json", b"").read();
    }
}
