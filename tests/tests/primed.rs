//! Primed packages: their guests begin after the calls that `okra.json` lists, and a list that does not work
//! leaves what served before serving.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::SystemTime;

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;
use tests::package::{DEPLOY, Orders, Packed, deploy, deployed, pack_with, problem, said};
use tests::server::{Okra, Serve, okra};

/// A guest that says how many calls it has had, this one included. An item that begins with `!` is an error
/// of its own, one with `?` traps, one with `~` loops.
const COUNTER: &str = r#"(module
  (memory (export "memory") 2)
  (data (i32.const 1024) "{\"said\":\"0\"}")
  (data (i32.const 1040) "{\"error\":\"not that one\"}")
  (global $top (mut i32) (i32.const 65536))
  (func (export "_initialize"))
  (func (export "allocate") (param $size i32) (result i32)
    (local $at i32)
    (local.set $at (global.get $top))
    (global.set $top (i32.add (global.get $top) (local.get $size)))
    (local.get $at))
  (func (export "deallocate") (param i32))
  (func (export "handle_request") (param i32 i32) (param $input i32) (param i32) (result i64)
    (local $first i32)
    (global.set $top (i32.const 65536))
    (local.set $first (i32.load8_u offset=9 (local.get $input)))
    (if (i32.eq (local.get $first) (i32.const 33)) (then (return (i64.const 0x8000041000000018))))
    (if (i32.eq (local.get $first) (i32.const 63)) (then unreachable))
    (if (i32.eq (local.get $first) (i32.const 126)) (then (loop $again (br $again))))
    (i32.store8 (i32.const 1033) (i32.add (i32.load8_u (i32.const 1033)) (i32.const 1)))
    (i64.const 0x000004000000000c)))"#;

/// The counter, primed by calls with these items. A call of it may take half a second.
fn counter(items: &[&str]) -> anyhow::Result<Packed> {
    let calls: Vec<_> =
        items.iter().map(|item| json!({ "method": "place", "payload": { "item": item } })).collect();
    primed(&json!({ "calls": calls }))
}

fn primed(primed: &Value) -> anyhow::Result<Packed> {
    let further = json!({ "primed": primed, "limits": { "timeout_ms": 500 } });
    pack_with(&Orders::saying("v1", "").schema(), &wat::parse_str(COUNTER)?, &further)
}

async fn steps(server: &Okra, package: &Packed) -> anyhow::Result<Vec<String>> {
    let body = json!({ "source": package.source(), "override": true });
    let text = server.admin().post_for_lines(DEPLOY, &body).await?.expect_ok()?;
    let lines: Vec<Value> =
        std::str::from_utf8(&text)?.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    Ok(lines.iter().filter_map(|line| Some(line["step"].as_str()?.to_owned())).collect())
}

/// The compiled code that is kept, and since when.
fn code(data: &Path) -> anyhow::Result<BTreeMap<String, SystemTime>> {
    let mut code = BTreeMap::new();
    for entry in fs::read_dir(data.join("cache"))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.ends_with(".cwasm") {
            code.insert(name, entry.metadata()?.modified()?);
        }
    }
    Ok(code)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_primed_service_begins_after_its_samples_also_after_a_restart() -> anyhow::Result<()> {
    let data = TempDir::new()?;
    let package = counter(&["x", "y", "z"])?;
    let serve =
        || Serve::empty().data_dir(data.path()).flag("--packages-roots", package.root().display()).start();
    let server = serve().await?;
    assert_eq!(steps(&server, &package).await?, ["fetch", "wait", "check", "prime", "plan", "publish"]);
    assert_eq!(said(&server, None).await?, Ok("4".to_owned()));
    assert_eq!(said(&server, None).await?, Ok("5".to_owned()), "this instance has had a call");
    let kept = code(data.path())?;
    assert_eq!(kept.len(), 1, "{kept:?}");
    server.stop().await?;
    let server = serve().await?;
    assert_eq!(said(&server, None).await?, Ok("4".to_owned()));
    assert_eq!(code(data.path())?, kept, "what was compiled is found and stays");
    // The same guest without it, and with fewer.
    deployed(&server, &primed(&Value::Null)?).await?;
    assert_eq!(said(&server, None).await?, Ok("1".to_owned()));
    deployed(&server, &primed(&json!({}))?).await?;
    assert_eq!(said(&server, None).await?, Ok("1".to_owned()));
    deployed(&server, &counter(&["x"])?).await?;
    assert_eq!(said(&server, None).await?, Ok("2".to_owned()));
    server.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sample_that_fails_leaves_the_old_version_serving() -> anyhow::Result<()> {
    let data = TempDir::new()?;
    let server = Serve::empty().data_dir(data.path()).start().await?;
    deployed(&server, &counter(&["x"])?).await?;
    let mut expected = 2;
    let kept = code(data.path())?;
    for (items, why) in [
        (&["x", "!"][..], "sample 1 of `primed.calls` (place) failed: not that one"),
        (&["?"][..], "sample 0 of `primed.calls` (place) failed: the service trapped: "),
        (
            &["x", "x", "~"][..],
            "sample 2 of `primed.calls` (place) failed: the service did not answer in time",
        ),
    ] {
        let (status, error) = problem(&deploy(&server, &counter(items)?, true).await?)?;
        assert_eq!(status, 422, "{error}");
        assert!(error.starts_with("failed to deploy to runtime: failed to prime: "), "{error}");
        assert!(error.contains(why), "{error}");
        assert_eq!(said(&server, None).await?, Ok(expected.to_string()));
        expected += 1;
        assert_eq!(code(data.path())?, kept, "nothing of it is left");
    }
    let table = COUNTER.replacen(
        "(func (export \"_initialize\"))",
        "(table 1 funcref) (func (export \"_initialize\") (table.set (i32.const 0) (ref.null func)))",
        1,
    );
    let further = json!({ "primed": {} });
    let package = pack_with(&Orders::saying("v1", "").schema(), &wat::parse_str(table)?, &further)?;
    let (status, error) = problem(&deploy(&server, &package, true).await?)?;
    assert!(status == 422 && error.contains("its state cannot be kept: unsupported `table.set`"), "{error}");
    assert_eq!(said(&server, None).await?, Ok(expected.to_string()));
    Ok(())
}

#[test]
fn calls_that_are_none_of_the_service_are_not_packed() -> anyhow::Result<()> {
    let call = |method: &str, payload: Value| json!({ "calls": [{ "method": method, "payload": payload }] });
    let big = "x".repeat(64 << 10);
    for (further, words) in [
        (call("put", json!({})), "primed.calls[0] (put): the service has no such method"),
        (call("place", json!({ "itm": 1 })), "primed.calls[0] (place): `payload` is no shop.PlaceRequest"),
        (call("place", json!({ "item": big })), "a `payload` of `primed.calls` has at most 65536 bytes"),
        (json!({ "calls": vec![json!({ "method": "place" }); 33] }), "`primed.calls` has at most 32 calls"),
        (json!({ "call": [] }), "unknown key `call`"),
    ] {
        let error = primed(&further).err().context(words)?.to_string();
        ensure!(error.contains(words), "{words}: {error}");
    }
    // What is not set is spelt out for the guest: there, these are seven times as long.
    let schema = Orders::saying("v1", "").schema().replacen(
        "item: String! }",
        "item: String!, lines: [Line] }\ntype Line { sku: String!, note: String! }",
        1,
    );
    let lines = |calls: usize| {
        let call = json!({ "method": "place", "payload": { "lines": vec![json!({}); 10_000] } });
        let further = json!({ "primed": { "calls": vec![call; calls] } });
        pack_with(&schema, &wat::parse_str(COUNTER)?, &further)
    };
    lines(4)?;
    let error = lines(5).err().context("so many lines")?.to_string();
    let words = "primed.calls[4] (place): with it, names and requests have more than 1048576 bytes together";
    ensure!(error.contains(words), "{error}");
    let package = counter(&["x", "x"])?;
    let path = package.path().to_string_lossy().into_owned();
    let shown = okra(&["package", "inspect", &path])?.stdout;
    ensure!(shown.contains("primed   place, place"), "{shown}");
    let shown: Value = serde_json::from_str(&okra(&["package", "inspect", "--json", &path])?.stdout)?;
    assert_eq!(shown["primed"], json!(["place", "place"]));
    ensure!(okra(&["package", "check", &path])?.status.success());
    Ok(())
}
