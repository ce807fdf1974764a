//! The services of `guests/` as packages, built and packed as their README says, once for each test program.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;
use parking_lot::Mutex;
use prost::Message as _;

use crate::repository;
use crate::server::okra;
use crate::{SOON, clients};

/// The package of a guest written in Rust, by its folder's name.
///
/// # Errors
/// What the compiler or the packer says.
pub fn rust_guest(name: &str) -> anyhow::Result<PathBuf> {
    once(name, |folder, package| {
        build_rust(folder)?;
        pack(folder, package)
    })
}

/// The package of a guest written in Go, by its folder's name.
///
/// # Errors
/// What the compiler or the packer says.
pub fn go_guest(name: &str) -> anyhow::Result<PathBuf> {
    once(name, |folder, package| {
        let mut go = Command::new("go");
        go.args(["build", "-buildmode=c-shared", "-ldflags=-s -w", "-o", "build/service.wasm"]);
        clients::run(go.current_dir(folder).env("GOOS", "wasip1").env("GOARCH", "wasm"))?;
        pack(folder, package)
    })
}

/// The package of `guests/conformance`. Its service is described by the suite's own `.proto` files, in the
/// folder `protos`.
///
/// # Errors
/// What the compilers or the packer say.
pub fn conformance_guest(protos: &Path) -> anyhow::Result<PathBuf> {
    once("conformance", |folder, package| {
        build_rust(folder)?;
        let set = protox::compile([protos.join("connectrpc/conformance/v1/service.proto")], [protos])?;
        std::fs::create_dir_all(folder.join("build"))?;
        std::fs::write(folder.join("build/service.pb.desc"), set.encode_to_vec())?;
        pack(folder, package)
    })
}

fn build_rust(folder: &Path) -> anyhow::Result<()> {
    let mut cargo = Command::new("cargo");
    cargo.args(["build", "--quiet", "--release", "--locked", "--target", "wasm32-wasip1"]);
    // Flags for the host's own build, of a coverage run for example, are not for guests.
    cargo.current_dir(folder).env_remove("RUSTFLAGS").env_remove("CARGO_TARGET_DIR");
    clients::run(&mut cargo).context("tests/run adds the target: `rustup target add wasm32-wasip1`").map(drop)
}

fn pack(folder: &Path, package: &Path) -> anyhow::Result<()> {
    let (from, to) = (folder.display().to_string(), package.display().to_string());
    let done = okra(&["package", "pack", &from, "-o", &to])?;
    anyhow::ensure!(done.status.success(), "cannot pack {from}: {}", done.stderr);
    Ok(())
}

/// Makes a package, unless this program has made it before.
fn once(name: &str, make: impl FnOnce(&Path, &Path) -> anyhow::Result<()>) -> anyhow::Result<PathBuf> {
    static MADE: Mutex<Option<HashMap<String, PathBuf>>> = Mutex::new(None);
    let mut made = MADE.try_lock_for(SOON * 30).context("another test still builds guests")?;
    let made = made.get_or_insert_default();
    if let Some(package) = made.get(name) {
        return Ok(package.clone());
    }
    let folder = repository().join("guests").join(name);
    let packages = repository().join("target/guests");
    std::fs::create_dir_all(&packages)?;
    let package = packages.join(format!("{name}.okra.pkg"));
    // Renamed into place: another program may be reading the one that is there.
    let fresh = packages.join(format!("{name}.{}.tmp", std::process::id()));
    make(&folder, &fresh).with_context(|| format!("cannot make a package of guests/{name}"))?;
    std::fs::rename(&fresh, &package)?;
    made.insert(name.to_owned(), package.clone());
    Ok(package)
}
