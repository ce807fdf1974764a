//! A service that nobody calls for a long while is there when somebody does, and can be changed as before.

use std::time::{Duration, Instant};

use anyhow::ensure;
use serde_json::{Value, json};
use tests::http::Http;
use tests::package::{Orders, Packed, deploy, deployed, said, services};
use tests::process::Process;
use tests::rpc::{Call, Client, Code};
use tests::server::{Okra, Serve};
use tests::texts::{message, talk, text_guest};
use tests::{long_form, say};

#[tokio::test(flavor = "multi_thread")]
async fn a_service_left_idle_answers_as_before() -> anyhow::Result<()> {
    let idle = Duration::from_secs(if long_form() { 600 } else { 3 });
    let server = Serve::empty().start().await?;
    let orders = Orders::saying("v1", "one").pack()?;
    let echo = talk("idle", &text_guest("echo/echo.wat")?, &json!({}))?;
    for package in [&orders, &echo] {
        deployed(&server, package).await?;
    }
    let before = Answers::of(&server).await?;
    let kept = server.client().await?;
    steady(&kept).await?;
    let usual = steady(&kept).await?;
    let held = Process(server.id()).holding()?;

    tokio::time::sleep(idle).await;
    let still_open = kept.is_ready().await;
    let begun = Instant::now();
    let client = server.client().await?;
    talked(&client, "first").await?;
    let first = begun.elapsed();
    let after = steady(&client).await?;
    assert_eq!(Answers::of(&server).await?, before);
    if still_open {
        talked(&kept, "on the connection of before").await?;
    }
    let holds = Process(server.id()).holding()?;
    say(format!(
        "idle for {idle:?}: median before {usual:?}, the first call on a new connection {first:?}, median \
         after {after:?}; resident KiB {} > {}, files {} > {}; the old connection {}",
        held.memory_kib,
        holds.memory_kib,
        held.files,
        holds.files,
        if still_open { "is still open" } else { "was closed" },
    ));
    assert!(first < Duration::from_secs(1), "the first call took {first:?}");
    assert!(after < usual * 10 + Duration::from_millis(20), "{usual:?} > {after:?}");
    assert!(holds.memory_kib < held.memory_kib + (32 << 10), "{held:?} > {holds:?}");

    can_be_changed(&server, &orders).await
}

/// Deployed already, replaced, taken away and deployed again, and with a second version beside it.
async fn can_be_changed(server: &Okra, orders: &Packed) -> anyhow::Result<()> {
    let ok = |text: &str| Ok(text.to_owned());
    assert_eq!(deploy(server, orders, false).await?.status, 409);
    assert_eq!(said(server, None).await?, ok("one"));
    assert_eq!(server.admin().delete("/api/v1/packages/shop.Orders.v1").await?.status, 204);
    assert_eq!(said(server, None).await?, Err(Code::Unimplemented));
    assert_eq!(deploy(server, orders, false).await?.status, 200);
    assert_eq!(said(server, None).await?, ok("one"));
    assert_eq!(deploy(server, &Orders::saying("v2", "two").pack()?, false).await?.status, 200);
    assert_eq!((said(server, None).await?, said(server, Some("v1")).await?), (ok("two"), ok("one")));
    deployed(server, &Orders::saying("v1", "three").pack()?).await?;
    assert_eq!((said(server, None).await?, said(server, Some("v2")).await?), (ok("three"), ok("two")));
    Ok(())
}

/// All that one sees of the two services, and by which protocol.
#[derive(Debug, PartialEq)]
struct Answers {
    grpc: Result<String, Code>,
    connect: Value,
    grpc_web: Vec<u8>,
    listed: Vec<Value>,
    ready: u16,
}

impl Answers {
    async fn of(server: &Okra) -> anyhow::Result<Self> {
        let mut http = Http::one(server.service()).await?;
        let json = [("content-type", "application/json")];
        let connect = http.send("POST", "/idle.Talk/say", &json, r#"{"text":"hello"}"#).await?.json()?;
        assert_eq!(connect, json!({ "text": "hello" }));
        let web = [("content-type", "application/grpc-web+proto")];
        let framed = [&[0, 0, 0, 0, 7][..], &message("hello")].concat();
        let grpc_web = http.send("POST", "/idle.Talk/say", &web, framed.clone()).await?.body.to_vec();
        assert!(grpc_web.starts_with(&framed), "{grpc_web:?}");
        Ok(Self {
            grpc: said(server, None).await?,
            connect,
            grpc_web,
            listed: services(server).await?,
            ready: server.admin().get("/readyz").await?.status,
        })
    }
}

async fn talked(client: &Client, text: &str) -> anyhow::Result<()> {
    let reply = client.call(Call::new("/idle.Talk/say", message(text))).await?;
    ensure!(reply.payload.as_deref() == Some(&*message(text)), "{text}: {reply:?}");
    Ok(())
}

/// The median of some hundred calls.
async fn steady(client: &Client) -> anyhow::Result<Duration> {
    let mut took = Vec::new();
    for number in 0..300 {
        let begun = Instant::now();
        talked(client, &number.to_string()).await?;
        took.push(begun.elapsed());
    }
    took.sort_unstable();
    Ok(took[took.len() / 2])
}
