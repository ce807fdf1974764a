//! What is refused before the first call, and how it is told.

use crate::workshop::{engine, guest_file, load, refused};

#[tokio::test]
async fn what_the_abi_needs_is_named() {
    let engine = engine();
    let all = [
        r#"(func (export "handle_request") (param i32 i32 i32 i32) (result i64) (i64.const 0))"#,
        r#"(func (export "allocate") (param i32) (result i32) (i32.const 0))"#,
        r#"(func (export "deallocate") (param i32))"#,
        r#"(memory (export "memory") 1)"#,
    ];
    for (left_out, expected) in [
        (0, "handle_request function not found"),
        (1, "allocate function not found"),
        (2, "deallocate function not found"),
        (3, "memory not found"),
    ] {
        let parts: Vec<_> = (0..4).filter(|i| *i != left_out).map(|i| all[i]).collect();
        let text = format!("(module {})", parts.join(" "));
        let error = refused(&engine, wat::parse_str(&text).unwrap()).await;
        assert_eq!(error.to_string(), expected);
    }
    load(&engine, wat::parse_str(format!("(module {})", all.join(" "))).unwrap()).await;
}

#[tokio::test]
async fn imports_nobody_offers_are_named() {
    let text = r#"(module
        (import "env" "now" (func (result i64)))
        (import "wasi_snapshot_preview1" "fd_write" (func (param i32 i32 i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "fd_dance" (func))
        (import "okra" "dance" (func (param i32 i32) (result i64)))
        (func (export "handle_request") (param i32 i32 i32 i32) (result i64) (i64.const 0))
        (func (export "allocate") (param i32) (result i32) (i32.const 0))
        (func (export "deallocate") (param i32))
        (memory (export "memory") 1))"#;
    let error = refused(&engine(), wat::parse_str(text).unwrap()).await;
    let expected = "unknown imports: env.now, wasi_snapshot_preview1.fd_dance, okra.dance";
    assert_eq!(error.to_string(), expected);
}

#[tokio::test]
async fn imports_of_another_type_are_named() {
    let engine = engine();
    for (import, expected) in [
        (
            r#"(import "okra" "next" (func (param i32) (result i64)))"#,
            "import okra.next must be (i32, i32) -> (i32, i32) or (i32, i32) -> i64",
        ),
        (
            r#"(import "wasi_snapshot_preview1" "proc_exit" (func))"#,
            "import wasi_snapshot_preview1.proc_exit must",
        ),
    ] {
        let text = format!(
            r#"(module {import}
            (func (export "handle_request") (param i32 i32 i32 i32) (result i64) (i64.const 0))
            (func (export "allocate") (param i32) (result i32) (i32.const 0))
            (func (export "deallocate") (param i32))
            (memory (export "memory") 1))"#
        );
        let error = refused(&engine, wat::parse_str(&text).unwrap()).await.to_string();
        assert!(error.starts_with(expected), "{error}");
    }
}

#[tokio::test]
async fn a_module_that_begins_over_its_limit_is_refused() {
    let text = r#"(module
        (func (export "handle_request") (param i32 i32 i32 i32) (result i64) (i64.const 0))
        (func (export "allocate") (param i32) (result i32) (i32.const 0))
        (func (export "deallocate") (param i32))
        (memory (export "memory") 1025))"#;
    let error = refused(&engine(), wat::parse_str(text).unwrap()).await;
    let text = error.to_string();
    assert!(text.contains("memory") && text.contains("67174400"), "{text}");
}

#[tokio::test]
async fn the_documented_echo_loads() {
    let guest = load(&engine(), guest_file("echo/echo.wat")).await;
    assert_eq!((guest.stats().live, guest.stats().idle, guest.stats().starts), (1, 1, 1));
    assert!(!guest.imports_host());
}
