//! Compiled code: kept, found again, found out when it is damaged, and made by a process of its own.

use std::path::{Path, PathBuf};
use std::time::Instant;

use kernels_wasm::{CompileError, CompilerCommand, Engine, EngineOptions, Limits, LoadError};

use crate::workshop::{ask, guest_file, load, module, options};

pub(crate) fn engine(cache: &Path, compiler: Option<CompilerCommand>) -> Engine {
    let options = EngineOptions {
        max_instances: 4,
        cache: Some(cache.to_owned()),
        compiler,
        ..EngineOptions::default()
    };
    Engine::new(options).unwrap()
}

/// A compiler that does what a line of shell says.
pub(crate) fn shell(line: &str) -> Option<CompilerCommand> {
    Some(CompilerCommand { program: "/bin/sh".into(), args: vec!["-c".into(), line.into()] })
}

/// The compiler that stands beside this crate's tests.
pub(crate) fn compiler() -> Option<CompilerCommand> {
    let test = std::env::current_exe().unwrap();
    let program = test.parent().and_then(Path::parent).unwrap().join("examples/compile_guest");
    Some(CompilerCommand { program, args: Vec::new() })
}

pub(crate) fn files(dir: &Path, extension: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.extension().is_some_and(|e| e == extension)).collect()
}

#[tokio::test]
async fn code_is_found_again_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let compiled = Instant::now();
    load(&engine(dir.path(), None), guest_file("echo/echo.wat")).await;
    let compiled = compiled.elapsed();
    assert_eq!((files(dir.path(), "cwasm").len(), files(dir.path(), "tmp").len()), (1, 0));
    // Another engine, and a compiler that fails: it is not asked.
    let engine = engine(dir.path(), shell("exit 9"));
    let found = Instant::now();
    let guest = load(&engine, guest_file("echo/echo.wat")).await;
    println!("compiled in {compiled:?}, found again in {:?}", found.elapsed());
    assert_eq!(ask(&guest, "m", "x").await.unwrap(), "x");
}

#[tokio::test]
async fn kept_code_is_found_by_its_digest_alone() {
    let dir = tempfile::tempdir().unwrap();
    load(&engine(dir.path(), None), guest_file("echo/echo.wat")).await;
    let code = files(dir.path(), "cwasm").remove(0);
    let name = code.file_name().unwrap().to_string_lossy().into_owned();
    let digest = std::array::from_fn(|at| u8::from_str_radix(&name[2 * at..2 * at + 2], 16).unwrap());
    let kept = || async {
        let engine = engine(dir.path(), shell("exit 9"));
        engine.load_kept(digest, options("e", Limits::default())).await.unwrap()
    };
    assert_eq!(ask(&kept().await.unwrap(), "m", "x").await.unwrap(), "x");
    // What is damaged is not there, and neither is what was never compiled.
    let mut damaged = std::fs::read(&code).unwrap();
    damaged[100] ^= 1;
    std::fs::write(&code, damaged).unwrap();
    assert!(kept().await.is_none() && !code.exists());
    assert!(kept().await.is_none());
    // An engine that keeps nothing has nothing.
    let bare = Engine::new(EngineOptions { max_instances: 4, ..EngineOptions::default() }).unwrap();
    assert!(bare.load_kept(digest, options("e", Limits::default())).await.unwrap().is_none());
}

#[tokio::test]
async fn damaged_code_is_compiled_again() {
    let dir = tempfile::tempdir().unwrap();
    load(&engine(dir.path(), None), guest_file("echo/echo.wat")).await;
    let (code, sum) = (files(dir.path(), "cwasm").remove(0), files(dir.path(), "sum").remove(0));
    let whole = std::fs::read(&code).unwrap();
    let flipped = |at: usize| {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        bytes
    };
    for damaged in [
        Vec::new(),
        whole[..whole.len() / 2].to_vec(),
        flipped(0),
        flipped(whole.len() / 2),
        flipped(whole.len() - 1),
    ] {
        std::fs::write(&code, &damaged).unwrap();
        // Nothing is mapped that is not whole: with a compiler that fails, neither is anything loaded.
        let failing = engine(dir.path(), shell("exit 9"));
        let loaded = failing.load(guest_file("echo/echo.wat"), options("e", Limits::default())).await;
        assert!(matches!(loaded, Err(LoadError::Compile(CompileError::Run(_)))), "{loaded:?}");
        assert!(!code.exists() && !sum.exists());
        let guest = load(&engine(dir.path(), None), guest_file("echo/echo.wat")).await;
        assert_eq!(ask(&guest, "m", "x").await.unwrap(), "x");
        assert_eq!(std::fs::read(&code).unwrap().len(), whole.len());
    }
    // Code without its sum is no code: the sum is written last.
    std::fs::remove_file(&sum).unwrap();
    let failing = engine(dir.path(), shell("exit 9"));
    assert!(failing.load(guest_file("echo/echo.wat"), options("e", Limits::default())).await.is_err());
}

#[tokio::test]
async fn code_is_looked_at_again_only_if_somebody_wrote_to_it() {
    let dir = tempfile::tempdir().unwrap();
    load(&engine(dir.path(), None), guest_file("echo/echo.wat")).await;
    let (code, sum) = (files(dir.path(), "cwasm").remove(0), files(dir.path(), "sum").remove(0));
    let text = std::fs::read_to_string(&sum).unwrap();
    let (digest, stamp) = text.split_once(' ').unwrap();
    // A digest that no code has: whoever compares it compiles again, which fails.
    std::fs::write(&sum, format!("{} {stamp}", "0".repeat(digest.len()))).unwrap();
    let failing = || engine(dir.path(), shell("exit 9"));
    load(&failing(), guest_file("echo/echo.wat")).await;
    // The same bytes, written anew.
    std::fs::write(&code, std::fs::read(&code).unwrap()).unwrap();
    let loaded = failing().load(guest_file("echo/echo.wat"), options("e", Limits::default())).await;
    assert!(matches!(loaded, Err(LoadError::Compile(CompileError::Run(_)))), "{loaded:?}");
}

#[tokio::test]
async fn what_nobody_can_use_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    load(&engine(dir.path(), None), guest_file("echo/echo.wat")).await;
    for useless in ["1-0.tmp", "aa-0123456789abcdef.cwasm", "aa-0123456789abcdef.sum"] {
        std::fs::write(dir.path().join(useless), "x").unwrap();
    }
    std::fs::write(dir.path().join("notes.txt"), "not ours").unwrap();
    let engine = engine(dir.path(), shell("exit 9"));
    let count = |extension| files(dir.path(), extension).len();
    assert_eq!([count("tmp"), count("cwasm"), count("sum"), count("txt")], [0, 1, 1, 1]);
    load(&engine, guest_file("echo/echo.wat")).await;
}

#[tokio::test]
async fn the_oldest_code_goes_when_there_is_too_much() {
    let dir = tempfile::tempdir().unwrap();
    let engine = engine(dir.path(), None);
    load(&engine, guest_file("echo/echo.wat")).await;
    let first = files(dir.path(), "cwasm").remove(0);
    for n in 0..256 {
        let stem = first.file_stem().unwrap().to_string_lossy().replacen(|_| true, "", 3);
        for extension in ["cwasm", "sum"] {
            std::fs::write(dir.path().join(format!("{n:03}{stem}.{extension}")), "x").unwrap();
        }
    }
    load(&engine, guest_file("attackers/trap.wat")).await;
    assert_eq!((files(dir.path(), "cwasm").len(), files(dir.path(), "sum").len()), (256, 256));
    assert!(!first.exists(), "it was the oldest");
}

#[tokio::test]
async fn another_process_compiles_the_same_code() {
    let dir = tempfile::tempdir().unwrap();
    let engine = engine(dir.path(), compiler());
    let guest = load(&engine, guest_file("echo/echo.wat")).await;
    assert_eq!(ask(&guest, "m", "x").await.unwrap(), "x");
    let invalid = engine.load(&b"\0asm\x01\0\0\0\xff"[..], options("e", Limits::default())).await;
    let Err(LoadError::Compile(CompileError::Invalid(why))) = invalid else { panic!("{invalid:?}") };
    assert!(!why.is_empty());
    assert_eq!(files(dir.path(), "tmp").len(), 0);
    // Each process makes what the other finds.
    load(&self::engine(dir.path(), shell("exit 9")), guest_file("echo/echo.wat")).await;
}

#[tokio::test]
async fn the_end_of_a_compiler_is_told() {
    for (line, expected) in [
        ("kill -XCPU $$", "failed to compile module: it takes longer than 30 s"),
        ("kill -KILL $$", "failed to compile module: it takes longer than 30 s"),
        ("kill -ABRT $$", "failed to compile module: it takes more than 1024 MiB of memory"),
        ("exit 3", "failed to compile module: it takes more than 1024 MiB of memory"),
        ("echo bad >&2; exit 2", "failed to compile module: bad"),
        ("exit 1", "the compiler cannot be run"),
        // It says that all is well, and has written nothing.
        ("exit 0", "the compiled code cannot be kept"),
        ("echo rubbish >\"$0\"", "failed to compile module: "),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let engine = engine(dir.path(), shell(line));
        let loaded = engine.load(guest_file("echo/echo.wat"), options("e", Limits::default())).await;
        let told = loaded.expect_err(line).to_string();
        assert!(told.starts_with(expected) && !told.contains('/'), "{line}: {told}");
        assert_eq!(files(dir.path(), "tmp").len(), 0, "{line}");
    }
    let dir = tempfile::tempdir().unwrap();
    let none = CompilerCommand { program: dir.path().join("none"), args: Vec::new() };
    let loaded = engine(dir.path(), Some(none))
        .load(guest_file("echo/echo.wat"), options("e", Limits::default()))
        .await;
    assert!(matches!(loaded, Err(LoadError::Compile(CompileError::Run(_)))));
}

/// A function of so many additions: megabytes of code for the compiler.
#[tokio::test]
async fn a_large_module_stays_within_the_compilers_limits() {
    let body = format!(
        "{} (i64.const 0)",
        "(local.set $out (i32.add (local.get $out) (i32.load (local.get $out))))".repeat(20_000)
    );
    let dir = tempfile::tempdir().unwrap();
    let begun = Instant::now();
    load(&engine(dir.path(), compiler()), module("", "", &body)).await;
    println!("compiled in {:?}", begun.elapsed());
}

#[tokio::test]
async fn code_that_nobody_needs_is_removed_and_what_is_loaded_goes_on() {
    use sha2::{Digest, Sha256};
    let dir = tempfile::tempdir().unwrap();
    let engine = engine(dir.path(), None);
    let echo = load(&engine, guest_file("echo/echo.wat")).await;
    let other = load(&engine, guest_file("attackers/trap.wat")).await;
    for left in ["9-1.tmp", "0-0.cwasm", "0-0.sum", "not-ours"] {
        std::fs::write(dir.path().join(left), "").unwrap();
    }
    let kept: [u8; 32] = Sha256::digest(guest_file("echo/echo.wat")).into();
    engine.keep_compiled(&[kept]).unwrap();
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 3);
    assert_eq!((files(dir.path(), "cwasm").len(), files(dir.path(), "sum").len()), (1, 1));
    assert_eq!(ask(&echo, "m", "x").await.unwrap(), "x");
    assert!(ask(&other, "m", "x").await.is_err());
    // What is kept is found, what is not is compiled again.
    let engine = self::engine(dir.path(), shell("exit 9"));
    load(&engine, guest_file("echo/echo.wat")).await;
    let gone = engine.load(guest_file("attackers/trap.wat"), options("t", Limits::default())).await;
    assert!(matches!(gone, Err(LoadError::Compile(CompileError::Run(_)))), "{gone:?}");
    engine.keep_compiled(&[]).unwrap();
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}
