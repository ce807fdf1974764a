//! Packages are replaced under load, and found again after restarts, kills and damage.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{
    AtomicBool, AtomicU64,
    Ordering::{Relaxed, SeqCst},
};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;
use tests::http::Http;
use tests::package::{DEPLOY, Orders, Packed, REQUEST, deployed, pack, said, services};
use tests::process::Process;
use tests::rpc::{Call, Client, Code};
use tests::server::Serve;
use tests::texts::{message, variation};
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

/// Calls of every spelling, while two packages replace each other whose replies differ in their numbers of
/// fields, too: a guest that met the other's schema, or a caller that met another's answer, would show.
#[tokio::test(flavor = "multi_thread")]
async fn redeploys_under_load_lose_and_mix_nothing() -> anyhow::Result<()> {
    let packages = [Signs::Even.pack()?, Signs::Odd.pack()?];
    let data = TempDir::new()?;
    let server = Arc::new(Serve::empty().data_dir(data.path()).start().await?);
    deployed(&server, &packages[0]).await?;
    let (stop, flips) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let callers: Vec<_> = Spelling::ALL
        .into_iter()
        .map(|spelling| {
            let (stop, flips, address) = (stop.clone(), flips.clone(), server.service());
            tokio::spawn(call_until_stopped(spelling, address, stop, flips))
        })
        .collect();
    let (warm_up, redeploys) = (20, if long_form() { 1000 } else { 100 });
    let mut before = Process(server.id()).holding()?;
    let begun = Instant::now();
    for number in 0..warm_up + redeploys {
        flips.fetch_add(1, SeqCst);
        let answer = deployed(&server, &packages[(number + 1) % 2]).await?;
        flips.fetch_add(1, SeqCst);
        assert_eq!(answer["receipt"]["dropped"], 0, "{answer}");
        tokio::time::sleep(BETWEEN).await;
        if number == warm_up {
            before = Process(server.id()).holding()?;
        }
    }
    let took = begun.elapsed();
    stop.store(true, Relaxed);
    let mut calls = Vec::new();
    for (spelling, caller) in Spelling::ALL.into_iter().zip(callers) {
        calls.push((spelling, caller.await??));
    }
    let after = eventually("files to be closed", async || {
        let holding = Process(server.id()).holding()?;
        Ok((holding.files <= before.files + 2).then_some(holding))
    })
    .await?;
    let kept = fs::read_dir(data.path().join("cache"))?.count();
    assert!(kept <= 4, "compiled code of {kept} files for two packages");
    say(format!(
        "{} redeploys in {took:?}, none failed or mixed of the calls {calls:?}; {before:?} > {after:?}",
        warm_up + redeploys,
    ));
    assert!(calls.iter().all(|(_, calls)| calls.answered > 100 && calls.settled > 0), "{calls:?}");
    assert!(after.memory_kib < before.memory_kib + (64 << 10), "{before:?} > {after:?}");
    Ok(())
}

/// Calls without pause. `flips` counts beginnings and ends of redeploys: a call during which none was under
/// way has to be answered by what was deployed last.
async fn call_until_stopped(
    spelling: Spelling,
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    flips: Arc<AtomicU64>,
) -> anyhow::Result<Calls> {
    let mut caller = Caller::connect(spelling, address).await?;
    let mut calls = Calls::default();
    while !stop.load(Relaxed) {
        let (item, flip) = (calls.answered.to_string(), flips.load(SeqCst));
        let begun = Instant::now();
        let answer = caller.call(&item).await.with_context(|| format!("{spelling:?}, {calls:?}"))?;
        ensure!(answer.item == item, "{spelling:?} {item}: {answer:?}");
        calls.answered += 1;
        calls.slowest = calls.slowest.max(begun.elapsed());
        if flip % 2 == 0 && flip == flips.load(SeqCst) {
            let deployed = if flip % 4 == 0 { Signs::Even } else { Signs::Odd };
            ensure!(answer.by == deployed, "{spelling:?} {item}: {answer:?} after {deployed:?} was deployed");
            calls.settled += 1;
        }
    }
    Ok(calls)
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

/// One of two packages of the same service, whose guests give back the item and sign it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Signs {
    Even,
    Odd,
}

impl Signs {
    /// The first field of its reply, and the second.
    fn fields(self) -> [&'static str; 2] {
        match self {
            Self::Even => ["said", "item"],
            Self::Odd => ["item", "said"],
        }
    }

    fn pack(self) -> anyhow::Result<Packed> {
        let [first, second] = self.fields();
        let schema = format!(
            "@okra(namespace: \"shop\", version: \"v1\")\n\
             service Orders {{ place(input: PlaceRequest): PlaceReply }}\n\
             type PlaceRequest {{ item: String! }}\n\
             type PlaceReply {{ {first}: String! {second}: String! }}\n"
        );
        // What it says, and then the request without its opening brace.
        let head = format!("{{\"said\":\"{self:?}\",");
        let (text, length) = (head.replace('"', "\\\""), head.len());
        let body = format!(
            "(local.set $out (call $allocate (i32.add (local.get $len) (i32.const {length}))))
             (memory.copy (local.get $out) (i32.const 64) (i32.const {length}))
             (memory.copy (i32.add (local.get $out) (i32.const {length}))
               (i32.add (local.get $input) (i32.const 1)) (i32.sub (local.get $len) (i32.const 1)))
             (i64.or (i64.shl (i64.extend_i32_u (local.get $out)) (i64.const 32))
               (i64.extend_i32_u (i32.add (local.get $len) (i32.const {}))))",
            length - 1
        );
        pack(&schema, &variation("", &format!("(data (i32.const 64) \"{text}\")"), &body)?)
    }
}

/// What came back for an item.
#[derive(Debug)]
struct Answer {
    by: Signs,
    item: String,
}

impl Answer {
    /// Reads a reply by the names of its fields.
    fn of(said: &str, item: &str) -> anyhow::Result<Self> {
        let signs = [Signs::Even, Signs::Odd].into_iter().find(|signs| format!("{signs:?}") == said);
        let by = signs.with_context(|| format!("mixed: it said {said:?} of {item:?}"))?;
        Ok(Self { by, item: item.to_owned() })
    }

    /// Reads a reply of two fields by their numbers.
    fn decode(mut message: &[u8]) -> anyhow::Result<Self> {
        let mut fields = Vec::new();
        while let [tag, length, rest @ ..] = message {
            let (text, rest) = rest.split_at_checked(usize::from(*length)).context("a field is cut off")?;
            fields.push((tag >> 3, std::str::from_utf8(text)?));
            message = rest;
        }
        // In the order in which the guest wrote them.
        fields.sort_unstable();
        let [(1, first), (2, second)] = fields[..] else { anyhow::bail!("mixed: {fields:?}") };
        // Which of the two said what is known by what it said; its numbers of fields have to be its own.
        match (Self::of(first, second), Self::of(second, first)) {
            (Ok(answer), Err(_)) if answer.by == Signs::Even => Ok(answer),
            (Err(_), Ok(answer)) if answer.by == Signs::Odd => Ok(answer),
            _ => anyhow::bail!("mixed: {fields:?}"),
        }
    }
}

/// Between two redeploys: long enough for some calls that see one package alone.
const BETWEEN: Duration = Duration::from_millis(5);

/// What became of one caller's calls.
#[derive(Debug, Default)]
struct Calls {
    answered: u64,
    /// Those during which no redeploy was under way.
    settled: u64,
    slowest: Duration,
}

/// How a call is spelled.
#[derive(Clone, Copy, Debug)]
enum Spelling {
    Grpc,
    Connect,
    ConnectOverHttp2,
    GrpcWeb,
}

impl Spelling {
    const ALL: [Self; 4] = [Self::Grpc, Self::Connect, Self::ConnectOverHttp2, Self::GrpcWeb];
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

    async fn call(&mut self, item: &str) -> anyhow::Result<Answer> {
        const PATH: &str = "/shop.Orders/place";
        match self {
            Self::Grpc(client) => {
                let reply = client.call(Call::new(PATH, message(item))).await?;
                let failure = || format!("{:?} {}", reply.code, reply.message);
                Answer::decode(reply.payload.as_deref().with_context(failure)?)
            }
            Self::Connect(http) => {
                let kind = [("content-type", "application/json")];
                let reply = http.send("POST", PATH, &kind, json!({ "item": item }).to_string()).await?;
                ensure!(reply.status == 200, "{reply:?}");
                let reply = reply.json()?;
                let field = |name: &str| reply[name].as_str().with_context(|| reply.to_string());
                Answer::of(field("said")?, field("item")?)
            }
            Self::GrpcWeb(http) => {
                let kind = [("content-type", "application/grpc-web+proto")];
                let message = message(item);
                let length = u8::try_from(message.len())?;
                let framed = [&[0, 0, 0, 0, length][..], &message].concat();
                let reply = http.send("POST", PATH, &kind, framed).await?;
                let length = usize::from(*reply.body.get(4).context("a frame")?);
                let message = reply.body.get(5..5 + length).context("a message")?;
                ensure!(reply.body[5 + length..].ends_with(b"grpc-status: 0\r\n"), "{reply:?}");
                Answer::decode(message)
            }
        }
    }
}
