//! `okra compile-guest`: the process in which one guest is compiled, started by the host and limited.
//!
//! Nobody types this. The exit codes are those that the engine reads, not those of other commands.

use std::io::{self, Write};
use std::path::PathBuf;

use kernels_wasm::{CompilerCommand, compile_guest};

use super::exit::{Exit, Failure};

/// `okra compile-guest`
#[derive(Debug, clap::Args)]
pub(crate) struct CompileGuestArgs {
    /// Where the code goes.
    output: PathBuf,
}

/// How a host starts this command: as the program that it is itself, even if its file was replaced since.
pub(crate) fn command() -> CompilerCommand {
    CompilerCommand { program: PathBuf::from("/proc/self/exe"), args: vec!["compile-guest".into()] }
}

/// Compiles the module on standard input, and leaves.
pub(crate) fn run(args: &CompileGuestArgs) -> Result<Exit, Failure> {
    let (code, complaint) = compile_guest(io::stdin().lock(), &args.output);
    // The host reads what it can.
    let _ = io::stderr().write_all(complaint.as_bytes());
    std::process::exit(code)
}
