//! What hostile packages cost: memory in proportion to what was sent, never to what was claimed.
//!
//! One test in a process of its own, because it looks at the most memory the process ever had.

use std::io::Write;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use packages::{Package, PackageLimits};

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// What reading any of the packages below may add.
const ALLOWED_KIB: u64 = 48 * 1024;

/// A package that is no larger than it says, but unpacks to much.
struct Bomb {
    name: &'static str,
    archive: Bytes,
    code: &'static str,
}

/// A tar of these files, each of zeros, in gzip, written without ever having it in memory.
fn zeros(files: &[(&str, u64)]) -> Outcome<Bytes> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    for (name, size) in files {
        let mut header = tar::Header::new_ustar();
        header.set_path(name)?;
        header.set_size(*size);
        header.set_cksum();
        gzip.write_all(header.as_bytes())?;
        let chunk = [0; 64 * 1024];
        let mut left = size.next_multiple_of(512);
        while left > 0 {
            let part = usize::try_from(left)?.min(chunk.len());
            gzip.write_all(&chunk[..part])?;
            left -= part as u64;
        }
    }
    gzip.write_all(&[0; 1024])?;
    Ok(gzip.finish()?.into())
}

/// The whole package with one file spoilt, as any tool would write it.
fn with(name: &str, content: &[u8]) -> Outcome<Bytes> {
    let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::best()));
    let files: [(&str, &[u8]); 4] = [
        ("service.wasm", b"\0asm\x01\0\0\0"),
        ("service.description.json", br#"{"services": [{"name": "S"}]}"#),
        ("okra.json", br#"{"name": "S"}"#),
        ("service.pb.desc", &[0x0a, 0]),
    ];
    for (file, data) in files {
        let data = if file == name { content } else { data };
        let mut header = tar::Header::new_ustar();
        header.set_size(data.len() as u64);
        tar.append_data(&mut header, file, data)?;
    }
    Ok(tar.into_inner()?.finish()?.into())
}

/// The most memory this process ever had, in KiB.
fn peak() -> Outcome<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

#[test]
fn a_bomb_takes_no_more_than_it_was() -> Outcome<()> {
    let mib = 1 << 20;
    let many: Vec<(String, u64)> = (0..60).map(|number| (format!("f{number}"), mib)).collect();
    let many: Vec<(&str, u64)> = many.iter().map(|(name, size)| (name.as_str(), *size)).collect();
    let objects = "{},".repeat(340_000);
    let bombs = [
        Bomb {
            name: "one file of 400 MB",
            archive: zeros(&[("service.wasm", 400_000_000)])?,
            code: "entry_too_large",
        },
        Bomb {
            name: "a guest of 32 MiB",
            archive: zeros(&[("service.wasm", 32 * mib)])?,
            code: "compression_ratio",
        },
        Bomb { name: "many files", archive: zeros(&many)?, code: "compression_ratio" },
        Bomb {
            name: "a schema of empty types",
            archive: with("service.description.json", format!("{{\"types\":[{objects}{{}}]}}").as_bytes())?,
            code: "no_service",
        },
        Bomb {
            name: "a schema of lists",
            archive: with("service.description.json", "[".repeat(1_000_000).as_bytes())?,
            code: "invalid_description",
        },
        Bomb {
            name: "a set of empty files",
            archive: with("service.pb.desc", &[0x0a, 0].repeat(500_000))?,
            code: "descriptors_too_large",
        },
    ];
    // What reading anything takes at all.
    assert!(Package::read(with("", b"")?, &PackageLimits::default()).is_err());
    let mut report = Vec::new();
    for Bomb { name, archive, code } in bombs {
        let size = archive.len();
        let before = peak()?;
        let Err(error) = Package::read(archive, &PackageLimits::default()) else {
            return Err(format!("{name} was read").into());
        };
        let grown = peak()? - before;
        assert_eq!(error.code(), code, "{name}: {error}");
        report.push(format!("{name}: {size} bytes, {grown} KiB"));
        assert!(grown <= ALLOWED_KIB, "{report:#?}");
    }
    println!("{report:#?}");
    Ok(())
}
