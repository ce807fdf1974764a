//! Reflection and health follow each deploy at once, as grpcurl and grpcio see it.

use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde_json::{Value, json};
use tests::clients::{go_tool, python, run, script};
use tests::eventually;
use tests::package::{Orders, deployed};
use tests::server::Serve;

#[tokio::test(flavor = "multi_thread")]
async fn reflection_and_health_follow_each_deploy() -> anyhow::Result<()> {
    let Some(_) = go_tool("grpcurl")? else { return Ok(()) };
    let server = Serve::empty().start().await?;
    let target = server.service().to_string();
    let grpcurl = |arguments: &[&str]| -> anyhow::Result<String> {
        let mut command = go_tool("grpcurl")?.context("grpcurl")?;
        Ok(String::from_utf8(command.arg("-plaintext").args(arguments).output()?.stdout)?)
    };
    let health = |service: &str| {
        grpcurl(&["-d", &json!({ "service": service }).to_string(), &target, "grpc.health.v1.Health/Check"])
    };
    assert!(!grpcurl(&[&target, "list"])?.contains("Orders"));
    assert!(health("")?.contains("SERVING"));
    assert!(!health("shop.Orders")?.contains("SERVING"));
    deployed(&server, &Orders::saying("v1", "hello").pack()?).await?;
    deployed(&server, &Orders { namespace: "stock", ..Orders::saying("v1", "other") }.pack()?).await?;
    let listed = grpcurl(&[&target, "list"])?;
    assert!(listed.contains("shop.Orders") && listed.contains("stock.Orders"), "{listed}");
    assert!(health("shop.Orders")?.contains("SERVING"));
    // Both packages have a `service.proto`, and each is described by its own.
    for (service, says) in [("shop.Orders", "hello"), ("stock.Orders", "other")] {
        let described = grpcurl(&[&target, "describe", service])?;
        assert!(described.contains("rpc place"), "{described}");
        let answer = grpcurl(&["-d", r#"{"item":"x"}"#, &target, &format!("{service}/place")])?;
        assert_eq!(serde_json::from_str::<Value>(&answer)?, json!({ "said": says }));
    }
    assert_eq!(server.admin().delete("/api/v1/packages/shop.Orders.v1").await?.status, 204);
    let listed = grpcurl(&[&target, "list"])?;
    assert!(!listed.contains("shop.Orders") && listed.contains("stock.Orders"), "{listed}");
    assert!(!health("shop.Orders")?.contains("SERVING"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn grpcios_health_and_reflection_follow_each_deploy() -> anyhow::Result<()> {
    let Some(mut python) = python()? else { return Ok(()) };
    let package = Orders::saying("v1", "hello").pack()?;
    let server = Serve::empty().start().await?;
    let heard = run(python
        .arg(script("python/discovery.py"))
        .args([server.service().to_string(), server.admin().address().to_string()])
        .arg(package.path()))?;
    let heard: Vec<String> = serde_json::from_str(&heard)?;
    let turn = ["SERVING", "SERVICE_UNKNOWN"];
    assert_eq!(heard, [&["SERVICE_UNKNOWN"][..], &turn, &turn, &turn].concat());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_of_health_does_not_hold_up_the_end() -> anyhow::Result<()> {
    let Some(mut grpcurl) = go_tool("grpcurl")? else { return Ok(()) };
    let server = Serve::empty().start().await?;
    let target = server.service().to_string();
    let mut watching = grpcurl
        .args(["-plaintext", "-d", "{}", &target, "grpc.health.v1.Health/Watch"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    eventually("a watch", async || {
        Ok((server.admin().metrics().await?.sum("okra_connections_open", &[]) > 0.5).then_some(()))
    })
    .await?;
    // Its first answer may still be on the way.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let begun = Instant::now();
    let status = server.stop().await?;
    assert_eq!(status.code(), Some(0));
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    watching.wait()?;
    let mut told = String::new();
    std::io::Read::read_to_string(&mut watching.stdout.take().context("stdout")?, &mut told)?;
    let (serving, rest) = told.split_once("\"SERVING\"").context("it was told that the host serves")?;
    assert!(!serving.contains("NOT_SERVING") && rest.contains("NOT_SERVING"), "{told}");
    Ok(())
}
