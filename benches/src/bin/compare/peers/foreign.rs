//! The peers that are not written in Rust: built from `benches/peers` by the compiler of the machine.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, ensure};

/// A program in another language.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Foreign {
    /// grpc-go, fetched by `go` at the version of its `go.sum`.
    Go,
    /// C++ gRPC as the distribution packages it.
    Cpp,
}

// === impl Foreign ===

impl Foreign {
    /// Where the built program lies.
    pub(crate) fn program(self) -> PathBuf {
        tests::repository().join("target").join("peers").join(match self {
            Self::Go => "echo-go",
            Self::Cpp => "echo-cpp",
        })
    }

    /// Builds it.
    ///
    /// # Errors
    /// What is missing, and how to install it.
    pub(crate) fn build(self) -> anyhow::Result<()> {
        let program = self.program();
        if let Some(folder) = program.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let sources = tests::repository().join("benches").join("peers");
        match self {
            Self::Go => {
                let mut go = Command::new("go");
                go.current_dir(sources.join("go"))
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
                compiler.arg(sources.join("cpp").join("echo.cc")).args(flags.split_whitespace());
                done(&mut compiler, APT)
            }
        }
    }
}

fn done(command: &mut Command, remedy: &str) -> anyhow::Result<()> {
    let status = command.status().with_context(|| remedy.to_owned())?;
    ensure!(status.success(), "{:?} does not build: {remedy}", command.get_program());
    Ok(())
}

/// What the C++ peer needs.
const APT: &str = "apt-get install g++ pkg-config libgrpc++-dev";
