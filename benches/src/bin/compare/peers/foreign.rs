//! What is not built together with this program: built from `benches/peers` by the compilers of the machine.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, ensure};

use super::wasmtime;

/// A program in another language, or a guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Foreign {
    /// grpc-go, fetched by `go` at the version of its `go.sum`.
    Go,
    /// C++ gRPC as the distribution packages it.
    Cpp,
    /// The `wasmtime` command, and the component that it serves.
    Wasmtime,
    /// The guest that okra runs beside that.
    Guest,
}

// === impl Foreign ===

impl Foreign {
    /// Where what is built lies.
    pub(crate) fn path(self) -> PathBuf {
        match self {
            Self::Go => built().join("echo-go"),
            Self::Cpp => built().join("echo-cpp"),
            Self::Wasmtime => wasmtime::program(),
            Self::Guest => built().join("okra-echo/wasm32-wasip1/release/okra_echo.wasm"),
        }
    }

    /// Builds it; what takes minutes only if it may be `slow`.
    ///
    /// # Errors
    /// What is missing, and how to install it.
    pub(crate) fn build(self, slow: bool) -> anyhow::Result<()> {
        let program = self.path();
        std::fs::create_dir_all(built())?;
        match self {
            Self::Wasmtime => wasmtime::build(slow),
            Self::Guest => guest("okra-echo", "wasm32-wasip1"),
            Self::Go => {
                let mut go = Command::new("go");
                go.current_dir(sources().join("go"))
                    .args(["build", "-mod=readonly", "-o"])
                    .arg(program)
                    .arg(".");
                done(&mut go, "install Go 1.26, https://go.dev/dl")
            }
            Self::Cpp => {
                let mut flags = Command::new("pkg-config");
                let found = flags.args(["--cflags", "--libs", "grpc++"]).output().context(APT)?;
                ensure!(found.status.success(), "no grpc++: {APT}");
                let flags = String::from_utf8(found.stdout)?;
                let mut compiler = Command::new("g++");
                compiler.args(["-O2", "-std=c++17", "-o"]).arg(program);
                compiler.arg(sources().join("cpp").join("echo.cc")).args(flags.split_whitespace());
                done(&mut compiler, APT)
            }
        }
    }
}

/// Builds the guest of a folder of `benches/peers`.
pub(super) fn guest(folder: &str, target: &str) -> anyhow::Result<()> {
    let mut cargo = cargo();
    cargo.args(["build", "--quiet", "--release", "--locked", "--target", target, "--target-dir"]);
    cargo.arg(built().join(folder)).current_dir(sources().join(folder));
    done(&mut cargo, &format!("rustup target add {target}"))
}

/// The cargo that runs this program, without the flags for the host's own build.
pub(super) fn cargo() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.env_remove("RUSTFLAGS").env_remove("CARGO_TARGET_DIR");
    cargo
}

/// Where everything is built.
pub(super) fn built() -> PathBuf {
    tests::repository().join("target").join("peers")
}

fn sources() -> PathBuf {
    tests::repository().join("benches").join("peers")
}

pub(super) fn done(command: &mut Command, remedy: &str) -> anyhow::Result<()> {
    let status = command.status().with_context(|| remedy.to_owned())?;
    ensure!(status.success(), "{:?} does not build: {remedy}", command.get_program());
    Ok(())
}

/// What the C++ peer needs.
const APT: &str = "apt-get install g++ pkg-config libgrpc++-dev";
