//! A compiler for guests, as an engine starts it: reads a module on standard input and writes its code to
//! the path in the last argument. Host programs usually start themselves for it, with an argument that
//! leads here.

#![expect(clippy::print_stderr, reason = "the engine reads the compiler's complaint there")]

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let Some(path) = std::env::args_os().next_back() else { return ExitCode::FAILURE };
    let (code, complaint) = kernels_wasm::compile_guest(std::io::stdin().lock(), Path::new(&path));
    if !complaint.is_empty() {
        eprintln!("{complaint}");
    }
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}
