//! Packages are deployed, listed, refused and undeployed: by curl's own lines, by the command line, from
//! files, uploads and S3, beside each other and before a full disk.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use serde_json::{Value, json};
use tempfile::TempDir;
use tests::clients::{python, run, script};
use tests::package::{DEPLOY, Orders, REQUEST, deploy, deployed, pack, problem, said, services};
use tests::rpc::{Call, Code};
use tests::server::{Serve, okra};
use tests::{eventually, say};

fn curl(arguments: &[&str]) -> anyhow::Result<String> {
    run(Command::new("curl").args(["-sS"]).args(arguments))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lines_of_the_documentation_work() -> anyhow::Result<()> {
    let package = Orders::saying("v1", "hello").pack()?;
    let server = Serve::empty().flag("--packages-roots", package.root().display()).start().await?;
    let (admin, service) = (server.admin().address(), server.service());
    let json = ["-H", "Content-Type: application/json"];
    let body = json!({ "source": package.source(), "override": false }).to_string();
    let url = format!("http://{admin}{DEPLOY}");
    let said = curl(&[&["-X", "POST", &url][..], &json, &["-d", &body]].concat())?;
    let said: Value = serde_json::from_str(&said)?;
    assert_eq!(said["service_id"], "shop.Orders.v1");
    assert_eq!(said["status"], "deployed");
    assert_eq!(said["endpoints"], json!(["/shop.Orders/place", "/shop.Orders/look"]));

    for path in ["/shop.Orders/place", "/connect/shop.Orders/place"] {
        let url = format!("http://{service}{path}");
        let answer = curl(&[&["-X", "POST", &url][..], &json, &["-d", r#"{"item": "x"}"#]].concat())?;
        assert_eq!(serde_json::from_str::<Value>(&answer)?, json!({ "said": "hello" }), "{path}");
    }
    let list: Value = serde_json::from_str(&curl(&[&format!("http://{admin}/api/v1/packages")])?)?;
    let listed = &list["services"][0];
    assert_eq!((&listed["id"], &listed["source"]), (&json!("shop.Orders.v1"), &json!(package.source())));
    assert_eq!((&listed["active"], &listed["state"]), (&json!(true), &json!("active")));
    assert!(listed["deployed_at"].as_str().is_some_and(|time| time.ends_with('Z')), "{listed}");

    let status = ["-o", "/dev/null", "-w", "%{http_code}"];
    let one = format!("http://{admin}/api/v1/packages/shop.Orders.v1");
    assert_eq!(curl(&[&status[..], &["-X", "DELETE", &one]].concat())?, "204");
    let url = format!("http://{service}/shop.Orders/place");
    assert_eq!(curl(&[&status[..], &["-X", "POST", &url], &json, &["-d", "{}"]].concat())?, "404");
    assert_eq!(tests::package::said(&server, None).await?, Err(Code::Unimplemented));
    assert_eq!(curl(&[&status[..], &["-X", "DELETE", &one]].concat())?, "404");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_deploys_lists_and_undeploys() -> anyhow::Result<()> {
    let package = Orders::saying("v1", "hello").pack()?;
    let server = Serve::empty().start().await?;
    let admin = server.admin().address().to_string();
    let file = package.path().to_string_lossy().into_owned();
    let run = |arguments: &[&str]| okra(&[arguments, &["--json", "--admin", &admin]].concat());
    let first = run(&["deploy", &file])?;
    assert_eq!(first.status.code(), Some(0), "{first:?}");
    let said: Value = serde_json::from_str(&first.stdout)?;
    assert_eq!((&said["service_id"], &said["status"]), (&json!("shop.Orders.v1"), &json!("deployed")));
    let again = run(&["deploy", &file])?;
    assert_eq!(again.status.code(), Some(5), "{again:?}");
    assert!(again.stderr.contains("service shop.Orders.v1 already deployed"), "{again:?}");
    assert_eq!(run(&["deploy", "--override", &file])?.status.code(), Some(0));
    let digest = said["digest"].as_str().context("a digest")?;
    assert_eq!(run(&["deploy", "--override", "--sha256", digest, &file])?.status.code(), Some(0));
    assert_eq!(run(&["deploy", "--override", "--sha256", &"0".repeat(64), &file])?.status.code(), Some(3));
    let listed: Value = serde_json::from_str(&run(&["services"])?.stdout)?;
    assert_eq!(listed["services"][0]["id"], "shop.Orders.v1");
    let text = okra(&["services", "--admin", &admin])?.stdout;
    assert!(text.contains("shop.Orders.v1  active  shop.Orders@1.0.0"), "{text}");
    assert_eq!(run(&["undeploy", "shop.Orders.v1"])?.status.code(), Some(0));
    assert_eq!(run(&["undeploy", "shop.Orders.v1"])?.status.code(), Some(4));
    assert_eq!(run(&["deploy", "/does/not/exist"])?.status.code(), Some(4));
    assert_eq!(run(&["deploy", "http://host/x"])?.status.code(), Some(3));
    assert_eq!(okra(&["services", "--admin", "127.0.0.1:1"])?.status.code(), Some(6));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_refusal_has_its_status_and_its_words() -> anyhow::Result<()> {
    let good = Orders::saying("v1", "hello").pack()?;
    let root = good.root();
    let server = Serve::empty().flag("--packages-roots", root.display()).start().await?;
    fs::write(root.join("empty"), "")?;
    fs::write(root.join("nonsense"), "nonsense")?;
    let file = |name: &str| format!("file://{}", root.join(name).display());
    let cases = [
        (json!({}), 400, "source is required"),
        (json!({ "source": "" }), 400, "source is required"),
        (json!({ "source": "not a url" }), 400, "unsupported source scheme: "),
        (json!({ "source": "http://host/x" }), 400, "unsupported source scheme: http"),
        (json!({ "source": "file:///etc/passwd" }), 400, "is not under a directory of packages.roots"),
        (json!({ "source": file("../../etc/passwd") }), 400, "is not under a directory of packages.roots"),
        (json!({ "source": file("absent") }), 404, "package file not found: stat "),
        (json!({ "source": format!("file://{}", root.display()) }), 400, "is not a regular file"),
        (json!({ "source": file("empty") }), 422, "failed to extract package"),
        (json!({ "source": file("nonsense") }), 422, "failed to create gzip reader"),
        (json!({ "source": "s3://bucket/key" }), 400, "packages.s3_buckets"),
        (json!({ "source": good.source(), "sha256": "00" }), 422, "the package's SHA-256 is "),
    ];
    for (body, status, words) in cases {
        let (found, error) = problem(&server.admin().post(DEPLOY, &body).await?)?;
        assert_eq!(found, status, "{body}: {error}");
        assert!(error.contains(words), "{body}: {error}");
    }
    let (status, error) = problem(&server.admin().post_text(DEPLOY, "{invalid").await?)?;
    assert_eq!((status, error.as_str()), (400, "invalid request body"));
    // A guest that is none, one that lacks what it must have, one that does not start.
    let schema = "service S { go(input: A): A }\ntype A { b: String }\n";
    let guests = [
        (r#"(module (func (export "f")))"#, "handle_request function not found"),
        (r#"(module (import "env" "missing" (func)) (func (export "handle_request")))"#, "handle_request"),
    ];
    for (text, words) in guests {
        let package = pack(schema, &wat::parse_str(text)?)?;
        let (status, error) = problem(&deploy(&server, &package, false).await?)?;
        assert_eq!(status, 422, "{error}");
        assert!(error.contains(words), "{error}");
    }
    let package = pack(schema, b"\0asm\x01\0\0\0\xff")?;
    let (status, error) = problem(&deploy(&server, &package, false).await?)?;
    assert!(status == 422 && error.contains("failed to compile WASM module"), "{status} {error}");

    assert_eq!(services(&server).await?, Vec::<Value>::new());
    assert_eq!(deploy(&server, &good, false).await?.status, 200);
    let (status, error) = problem(&deploy(&server, &good, false).await?)?;
    assert!(status == 409 && error.contains("service shop.Orders.v1 already deployed"), "{status} {error}");
    let (status, error) = problem(&server.admin().delete("/api/v1/packages/nobody").await?)?;
    assert_eq!((status, error.as_str()), (404, "service not found"));
    let (status, error) = problem(&server.admin().delete("/api/v1/packages/").await?)?;
    assert_eq!((status, error.as_str()), (400, "service ID required"));
    assert_eq!(server.admin().delete("/api/v1/packages").await?.status, 405);
    assert_eq!(server.admin().get(DEPLOY).await?.status, 405);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_has_a_limit() -> anyhow::Result<()> {
    let server = Serve::empty().flag("--packages-max-package", "10KiB").start().await?;
    let (status, _) = problem(&server.admin().upload(DEPLOY, Bytes::from(vec![0; 10 << 10])).await?)?;
    assert_eq!(status, 422);
    let (status, error) =
        problem(&server.admin().upload(DEPLOY, Bytes::from(vec![0; (10 << 10) + 1])).await?)?;
    assert!(status == 413 && error.contains("packages.max_package"), "{status} {error}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deploy_tells_its_steps_while_it_takes_them() -> anyhow::Result<()> {
    let package = Orders::saying("v1", "hello").pack()?;
    let server = Serve::empty().flag("--packages-roots", package.root().display()).start().await?;
    let lines = async |body: Value| {
        let text = server.admin().post_for_lines(DEPLOY, &body).await?.expect_ok()?;
        let lines = std::str::from_utf8(&text)?.lines().map(serde_json::from_str);
        anyhow::Ok(lines.collect::<Result<Vec<Value>, _>>()?)
    };
    let steps = |lines: &[Value]| -> Vec<String> {
        lines.iter().filter_map(|line| Some(line["step"].as_str()?.to_owned())).collect()
    };
    let told = lines(json!({ "source": package.source() })).await?;
    assert_eq!(steps(&told), ["fetch", "wait", "check", "compile", "plan", "publish"]);
    assert_eq!(told.last().context("a line")?["result"]["service_id"], "shop.Orders.v1");
    let told = lines(json!({ "source": package.source() })).await?;
    assert_eq!(steps(&told), ["fetch", "wait", "check"]);
    assert_eq!(told.last().context("a line")?["problem"]["status"], 409);
    // The same content has nothing to compile.
    let told = lines(json!({ "source": package.source(), "override": true })).await?;
    assert_eq!(steps(&told), ["fetch", "wait", "check", "plan", "publish"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_stand_side_by_side_and_the_last_one_has_the_plain_route() -> anyhow::Result<()> {
    let (v1, v2) = (Orders::saying("v1", "one").pack()?, Orders::saying("v2", "two").pack()?);
    let server = Serve::empty().start().await?;
    deployed(&server, &v1).await?;
    deployed(&server, &v2).await?;
    let ok = |text: &str| Ok(text.to_owned());
    assert_eq!(said(&server, None).await?, ok("two"));
    for (asked, says) in [("v1", "one"), ("1", "one"), ("1.0.0", "one"), ("v2", "two"), ("2.0.0", "two")] {
        assert_eq!(said(&server, Some(asked)).await?, ok(says), "{asked}");
    }
    assert!(said(&server, Some("v3")).await?.is_err());
    let states: Vec<Value> =
        services(&server).await?.iter().map(|service| service["state"].clone()).collect();
    assert_eq!(states, ["by_version", "active"]);
    // Replacing the older one makes it the last one.
    deployed(&server, &Orders::saying("v1", "one again").pack()?).await?;
    assert_eq!(said(&server, None).await?, ok("one again"));
    assert_eq!(said(&server, Some("v2")).await?, ok("two"));
    assert_eq!(server.admin().delete("/api/v1/packages/shop.Orders.v1").await?.status, 204);
    assert_eq!(said(&server, None).await?, ok("two"));
    assert!(said(&server, Some("v1")).await?.is_err());
    assert_eq!(server.admin().delete("/api/v1/packages/shop.Orders.v2").await?.status, 204);
    assert_eq!(said(&server, None).await?, Err(Code::Unimplemented));
    // And again, any number of times.
    for _ in 0..3 {
        deployed(&server, &v1).await?;
        assert_eq!(said(&server, None).await?, ok("one"));
        assert_eq!(server.admin().delete("/api/v1/packages/shop.Orders.v1").await?.status, 204);
        assert_eq!(said(&server, None).await?, Err(Code::Unimplemented));
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_graph_of_ones_own_stays_before_the_guest() -> anyhow::Result<()> {
    let server = Serve::empty().start().await?;
    let first = Orders::saying("v1", "one").pack()?;
    deployed(&server, &first).await?;
    let explained =
        server.admin().get("/api/v1/graphs/shop.Orders/explain?format=text").await?.expect_ok()?;
    assert!(String::from_utf8_lossy(&explained).contains("wasm_invoke"), "{explained:?}");
    // The generated document, with another version and without a digest: it follows what is deployed.
    let document = server.admin().get("/api/v1/graphs/shop.Orders/versions/1.0.0").await?.json()?;
    let mut own = document.clone();
    own["version"] = json!("9.0.0");
    for node in own["nodes"].as_array_mut().context("nodes")? {
        if let Some(params) = node.get_mut("params").and_then(Value::as_object_mut) {
            params.remove("digest");
        }
    }
    server.admin().post("/api/v1/graphs?publish=true", &own).await?.expect_ok()?;
    assert_eq!(said(&server, None).await?, Ok("one".to_owned()));
    let answer = deployed(&server, &Orders::saying("v1", "two").pack()?).await?;
    assert_eq!((&answer["status"], &answer["receipt"]), (&json!("staged"), &Value::Null), "{answer}");
    assert_eq!(said(&server, None).await?, Ok("two".to_owned()), "it follows what is deployed");
    assert_eq!(services(&server).await?[0]["active"], false);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_in_flight_outlives_its_service() -> anyhow::Result<()> {
    let slow = Orders { rounds: 300_000_000, ..Orders::saying("v1", "at last") }.pack()?;
    let server = Serve::empty().start().await?;
    deployed(&server, &slow).await?;
    let client = server.client().await?;
    let calling = tokio::spawn(async move { client.call(Call::new("/shop.Orders/place", REQUEST)).await });
    eventually("the call to run", async || Ok((server.admin().stats().await?.in_flight == 1).then_some(())))
        .await?;
    assert_eq!(server.admin().delete("/api/v1/packages/shop.Orders.v1").await?.status, 204);
    assert_eq!(said(&server, None).await?, Err(Code::Unimplemented));
    let reply = calling.await??;
    assert_eq!(reply.code, Code::Ok, "{}", reply.message);
    assert!(reply.payload.is_some_and(|payload| payload.ends_with(b"at last")));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn only_so_many_deploys_wait() -> anyhow::Result<()> {
    let server = Serve::empty().flag("--packages-max-waiting", 1).start().await?;
    let package = Orders::saying("v1", "hello").pack()?;
    let mut asked = Vec::new();
    for _ in 0..12 {
        let (admin, bytes) = (server.admin().clone(), package.bytes()?);
        asked
            .push(tokio::spawn(async move { admin.upload(&format!("{DEPLOY}?override=true"), bytes).await }));
    }
    let mut statuses = Vec::new();
    for answer in asked {
        statuses.push(answer.await??.status);
    }
    assert!(statuses.iter().all(|status| matches!(status, 200 | 429)), "{statuses:?}");
    assert!(statuses.contains(&200) && statuses.contains(&429), "{statuses:?}");
    assert_eq!(said(&server, None).await?, Ok("hello".to_owned()));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn packages_come_from_an_s3_server() -> anyhow::Result<()> {
    let Some(mut python) = python()? else { return Ok(()) };
    let package = Orders::saying("v1", "from far away").pack()?;
    let mut s3 = python
        .arg(script("python/s3.py"))
        .args(["packages", "some/orders.okra.pkg"])
        .arg(package.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let mut line = String::new();
    std::io::BufRead::read_line(
        &mut std::io::BufReader::new(s3.stdout.take().context("stdout")?),
        &mut line,
    )?;
    let endpoint: Value = serde_json::from_str(&line).context("the S3 server does not start")?;
    let secrets = TempDir::new()?;
    let (key, secret) = (secrets.path().join("key"), secrets.path().join("secret"));
    fs::write(&key, "k\n")?;
    fs::write(&secret, "s\n")?;
    let server = Serve::empty()
        .flag("--packages-s3-endpoint", endpoint["endpoint"].as_str().context("an endpoint")?)
        .flag("--packages-s3-buckets", "packages")
        .flag("--packages-s3-access-key-file", key.display())
        .flag("--packages-s3-secret-key-file", secret.display())
        .start()
        .await?;
    let ask = async |source: &str| server.admin().post(DEPLOY, &json!({ "source": source })).await;
    let answer = ask("s3://packages/some/orders.okra.pkg").await?.json()?;
    assert_eq!(answer["service_id"], "shop.Orders.v1");
    assert_eq!(said(&server, None).await?, Ok("from far away".to_owned()));
    assert_eq!(services(&server).await?[0]["source"], "s3://packages/some/orders.okra.pkg");
    let (status, error) = problem(&ask("s3://packages/absent").await?)?;
    assert!(status == 404 && error.contains("failed to download from S3"), "{status} {error}");
    let (status, error) = problem(&ask("s3://other/some/orders.okra.pkg").await?)?;
    assert!(status == 400 && error.contains("packages.s3_buckets"), "{status} {error}");
    drop(s3.stdin.take());
    s3.wait()?;
    let (status, error) = problem(&ask("s3://packages/some/orders.okra.pkg").await?)?;
    assert!(status == 422 && error.contains("failed to download from S3"), "{status} {error}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_a_deploy_and_calls_go_on() -> anyhow::Result<()> {
    let mount = TempDir::new()?;
    let path = mount.path().to_string_lossy().into_owned();
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=2m", "tmpfs", &path]).status()?;
    if !mounted.success() {
        say("no file system can be mounted here: not tried");
        return Ok(());
    }
    let tried = full_disk(mount.path()).await;
    Command::new("umount").arg(&path).status()?;
    tried
}

async fn full_disk(data: &Path) -> anyhow::Result<()> {
    let server = Serve::empty().data_dir(data).start().await?;
    deployed(&server, &Orders::saying("v1", "old").pack()?).await?;
    let before = (names(&data.join("packages"))?, names(&data.join("graphs"))?);
    let filler = data.join("filler");
    let next = Orders::saying("v1", "new").pack()?;
    // Leaves no room, then a little more each time, so that each step is the first to find none.
    for room in [0, 4, 8, 12, 16, 24, 32, 48] {
        fill(&filler, room)?;
        let answer = deploy(&server, &next, true).await?;
        if answer.status == 200 {
            break;
        }
        let (status, error) = problem(&answer)?;
        assert_eq!(status, 507, "{error}");
        assert_eq!(said(&server, None).await?, Ok("old".to_owned()));
        let after = (names(&data.join("packages"))?, names(&data.join("graphs"))?);
        assert_eq!(after, before, "{room} KiB of room");
    }
    fs::remove_file(&filler)?;
    deployed(&server, &next).await?;
    assert_eq!(said(&server, None).await?, Ok("new".to_owned()));
    server.kill().await?;
    let server = Serve::empty().data_dir(data).start().await?;
    assert_eq!(said(&server, None).await?, Ok("new".to_owned()));
    server.stop().await?;
    Ok(())
}

fn names(dir: &Path) -> anyhow::Result<BTreeSet<String>> {
    fs::read_dir(dir)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
}

/// Fills a file system but for so many KiB.
fn fill(filler: &Path, room: usize) -> anyhow::Result<()> {
    drop(fs::remove_file(filler));
    let written = Command::new("dd")
        .args(["if=/dev/zero", "bs=4096"])
        .arg(format!("of={}", filler.display()))
        .output()?;
    ensure!(!written.status.success(), "there was no end to it");
    let length = fs::metadata(filler)?.len();
    fs::File::options().write(true).open(filler)?.set_len(length.saturating_sub((room as u64) << 10))?;
    Ok(())
}
