//! Packages are replaced under load, and found again after restarts, kills and damage.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;
use tests::http::Http;
use tests::package::{DEPLOY, Orders, REQUEST, deployed, said, services};
use tests::rpc::{Call, Client, Code};
use tests::server::{Okra, Serve};
use tests::{eventually, long_form, say};

#[tokio::test(flavor = "multi_thread")]
async fn deploys_survive_a_restart_and_a_kill() -> anyhow::Result<()> {
    let data = TempDir::new()?;
    let serve = || Serve::empty().data_dir(data.path());
    let server = serve().start().await?;
    for package in [Orders::saying("v1", "one"), Orders::saying("v2", "two"), Orders::saying("v1", "three")] {
        deployed(&server, &package.pack()?).await?;
    }
    let before = services(&server).await?;
    server.stop().await?;
    let server = serve().start().await?;
    assert_eq!(services(&server).await?, before);
    assert_eq!(said(&server, None).await?, Ok("three".to_owned()));
    assert_eq!(said(&server, Some("v2")).await?, Ok("two".to_owned()));
    // What was replaced is kept for a rollback, also across a restart.
    server.admin().post("/api/v1/graphs/shop.Orders/rollback", &json!({})).await?.expect_ok()?;
    assert_eq!(said(&server, None).await?, Ok("two".to_owned()));
    server.kill().await?;
    let server = serve().start().await?;
    assert_eq!(said(&server, None).await?, Ok("two".to_owned()));
    assert_eq!(server.admin().delete("/api/v1/packages/shop.Orders.v2").await?.status, 204);
    assert_eq!(said(&server, None).await?, Ok("three".to_owned()));
    server.kill().await?;

    // One whose package was damaged does not serve, is named, and hides no other.
    let server = serve().start().await?;
    let other = Orders { namespace: "stock", ..Orders::saying("v1", "other") }.pack()?;
    let digest = deployed(&server, &other).await?["digest"].as_str().context("a digest")?.to_owned();
    server.stop().await?;
    let file = data.path().join("packages").join(format!("{digest}.okra.pkg"));
    let mut bytes = fs::read(&file)?;
    bytes[100] ^= 1;
    fs::write(&file, bytes)?;
    let server = serve().start().await?;
    assert!(server.log().contains("stock.Orders.v1"), "{}", server.log());
    assert_eq!(said(&server, None).await?, Ok("three".to_owned()));
    let states: Vec<Value> =
        services(&server).await?.iter().map(|service| service["state"].clone()).collect();
    assert_eq!(states, ["active", "unserved"]);
    assert!(services(&server).await?[1]["reason"].is_string());
    deployed(&server, &other).await?;
    assert_eq!(services(&server).await?[1]["state"], "active");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_at_any_moment_of_a_deploy_leaves_the_old_or_the_new() -> anyhow::Result<()> {
    let packages = [Orders::saying("v1", "even").pack()?, Orders::saying("v1", "odd").pack()?];
    let data = TempDir::new()?;
    let serve = || Serve::empty().data_dir(data.path());
    let server = serve().start().await?;
    deployed(&server, &packages[0]).await?;
    let begun = Instant::now();
    deployed(&server, &packages[1]).await?;
    // Somewhat longer than a deploy takes, so that some are killed after their end.
    let longest = begun.elapsed() * 2;
    server.stop().await?;
    let rounds: u32 = if long_form() { 300 } else { 30 };
    let (mut changed, mut acknowledged) = (0, 0);
    for round in 0..rounds {
        let server = serve().start().await?;
        let now = said(&server, None).await?.map_err(|code| anyhow::anyhow!("round {round}: {code:?}"))?;
        let (next, says) = if now == "even" { (&packages[1], "odd") } else { (&packages[0], "even") };
        let deploying = server.admin().clone();
        let bytes = next.bytes()?;
        let answer =
            tokio::spawn(async move { deploying.upload(&format!("{DEPLOY}?override=true"), bytes).await });
        tokio::time::sleep(longest * round / rounds).await;
        server.kill().await?;
        let is_acknowledged = answer.await?.is_ok_and(|response| response.status == 200);
        acknowledged += u32::from(is_acknowledged);
        let server = serve().start().await?;
        let found = said(&server, None).await?.map_err(|code| anyhow::anyhow!("round {round}: {code:?}"))?;
        assert!(found == says || (found == now && !is_acknowledged), "round {round}: {found}");
        changed += u32::from(found != now);
        let files: BTreeSet<String> = names(&data.path().join("packages"))?;
        let kept = files.iter().filter(|file| file.ends_with(".okra.pkg")).count();
        assert!(kept <= 2 && !files.iter().any(|file| file.ends_with(".tmp")), "round {round}: {files:?}");
        server.kill().await?;
    }
    say(format!(
        "{rounds} kills: the new package served after {changed}, {acknowledged} of them acknowledged"
    ));
    assert!(changed > 0 && changed < rounds, "the kills came too early or too late");
    Ok(())
}

fn names(dir: &Path) -> anyhow::Result<BTreeSet<String>> {
    fs::read_dir(dir)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn redeploys_under_load_lose_and_mix_nothing() -> anyhow::Result<()> {
    let packages = [Orders::saying("v1", "even").pack()?, Orders::saying("v1", "odd").pack()?];
    let data = TempDir::new()?;
    let server = Arc::new(Serve::empty().data_dir(data.path()).start().await?);
    deployed(&server, &packages[0]).await?;
    let (stop, calls) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let mut callers = Vec::new();
    for spelling in [Spelling::Grpc, Spelling::Connect, Spelling::GrpcWeb, Spelling::ConnectOverHttp2] {
        let (stop, calls, address) = (stop.clone(), calls.clone(), server.service());
        callers.push(tokio::spawn(async move {
            let mut caller = Caller::connect(spelling, address).await?;
            while !stop.load(Relaxed) {
                let said = caller.call().await?;
                ensure!(said == "even" || said == "odd", "{spelling:?}: {said}");
                calls.fetch_add(1, Relaxed);
            }
            anyhow::Ok(())
        }));
    }
    let (warm_up, redeploys) = (20, if long_form() { 1000 } else { 100 });
    let (mut files, mut memory) = ((0, 0), (0, 0));
    let begun = Instant::now();
    for number in 0..warm_up + redeploys {
        let answer = deployed(&server, &packages[(number + 1) % 2]).await?;
        assert_eq!(answer["receipt"]["dropped"], 0, "{answer}");
        if number == warm_up {
            files.0 = open_files(&server)?;
            memory.0 = resident_mib(&server)?;
        }
    }
    let took = begun.elapsed();
    stop.store(true, Relaxed);
    for caller in callers {
        caller.await??;
    }
    eventually("files to be closed", async || {
        files.1 = open_files(&server)?;
        Ok((files.1 <= files.0 + 2).then_some(()))
    })
    .await?;
    memory.1 = resident_mib(&server)?;
    let kept = fs::read_dir(data.path().join("cache"))?.count();
    assert!(kept <= 4, "compiled code of {kept} files for two packages");
    assert!(memory.1 < memory.0 + 64, "{memory:?} MiB");
    say(format!(
        "{} redeploys in {took:?} under {} calls, none failed; open files {files:?}, resident MiB {memory:?}",
        warm_up + redeploys,
        calls.load(Relaxed)
    ));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_packages_are_there_soon_after_a_restart() -> anyhow::Result<()> {
    const NAMESPACES: [&str; 20] = [
        "a0", "a1", "a2", "a3", "a4", "a5", "a6", "a7", "a8", "a9", "b0", "b1", "b2", "b3", "b4", "b5", "b6",
        "b7", "b8", "b9",
    ];
    let data = TempDir::new()?;
    let server = Serve::empty().data_dir(data.path()).start().await?;
    for namespace in NAMESPACES {
        deployed(&server, &Orders { namespace, ..Orders::saying("v1", namespace) }.pack()?).await?;
    }
    server.stop().await?;
    let begun = Instant::now();
    let server = Serve::empty().data_dir(data.path()).start().await?;
    let ready = begun.elapsed();
    let client = server.client().await?;
    let mut times = Vec::new();
    for method in ["/a0.Orders/place", "/a1.Orders/place", "/a0.Orders/place", "/a0.Orders/place"] {
        let begun = Instant::now();
        let reply = client.call(Call::new(method, REQUEST)).await?;
        ensure!(reply.code == Code::Ok, "{method}: {:?} {}", reply.code, reply.message);
        times.push(begun.elapsed());
    }
    say(format!("20 packages: ready after {ready:?}; first and later calls took {times:?}"));
    assert_eq!(services(&server).await?.len(), NAMESPACES.len());
    assert!(ready < Duration::from_secs(5), "{ready:?}");
    Ok(())
}

fn resident_mib(server: &Okra) -> anyhow::Result<u64> {
    let statm = fs::read_to_string(format!("/proc/{}/statm", server.id()))?;
    let pages: u64 = statm.split(' ').nth(1).context("a count")?.parse()?;
    Ok((pages * 4096) >> 20)
}

fn open_files(server: &Okra) -> anyhow::Result<usize> {
    Ok(fs::read_dir(format!("/proc/{}/fd", server.id()))?.count())
}

/// How a call is spelled.
#[derive(Clone, Copy, Debug)]
enum Spelling {
    Grpc,
    Connect,
    ConnectOverHttp2,
    GrpcWeb,
}

enum Caller {
    Grpc(Client),
    Connect(Http),
    GrpcWeb(Http),
}

impl Caller {
    async fn connect(spelling: Spelling, address: SocketAddr) -> anyhow::Result<Self> {
        Ok(match spelling {
            Spelling::Grpc => Self::Grpc(Client::connect(address).await?),
            Spelling::Connect => Self::Connect(Http::one(address).await?),
            Spelling::ConnectOverHttp2 => Self::Connect(Http::two(address).await?),
            Spelling::GrpcWeb => Self::GrpcWeb(Http::one(address).await?),
        })
    }

    /// What the service says.
    async fn call(&mut self) -> anyhow::Result<String> {
        const PATH: &str = "/shop.Orders/place";
        let text = |bytes: &[u8]| Ok(String::from_utf8_lossy(bytes).into_owned());
        match self {
            Self::Grpc(client) => {
                let reply = client.call(Call::new(PATH, REQUEST)).await?;
                text(&reply.payload.with_context(|| format!("{:?} {}", reply.code, reply.message))?[2..])
            }
            Self::Connect(http) => {
                let kind = [("content-type", "application/json")];
                let reply = http.send("POST", PATH, &kind, r#"{"item":"x"}"#).await?;
                ensure!(reply.status == 200, "{reply:?}");
                Ok(reply.json()?["said"].as_str().context("text")?.to_owned())
            }
            Self::GrpcWeb(http) => {
                let kind = [("content-type", "application/grpc-web+proto")];
                let reply = http.send("POST", PATH, &kind, &b"\0\0\0\0\x03\x0a\x01x"[..]).await?;
                let length = usize::from(*reply.body.get(4).context("a frame")?);
                let message = reply.body.get(5..5 + length).context("a message")?;
                ensure!(reply.body[5 + length..].ends_with(b"grpc-status: 0\r\n"), "{reply:?}");
                text(&message[2..])
            }
        }
    }
}
