//! Which graph answers a call: by its service, by metadata, by default; and which version.

use anyhow::Context as _;
use serde_json::json;
use tests::documented_graph;
use tests::graph::Graphs;
use tests::rpc::{Call, Client, Code};
use tests::server::{Okra, Serve};

#[tokio::test]
async fn a_service_name_goes_before_the_default() -> anyhow::Result<()> {
    let graphs = Graphs::new()?;
    let echo = std::fs::read_to_string(documented_graph("echo.json"))?;
    graphs.write(
        "echo.json",
        &echo.replace(r#""name": "echo","#, r#""name": "echo", "serves": ["echo.Echo"],"#),
    )?;
    copy(&graphs, "method_routing.json")?;
    let okra = Serve::graphs(graphs.path()).flag("--default-graph", "method_routing").start().await?;
    let client = okra.client().await?;
    assert_eq!(client.call(Call::new("/echo.Echo/Say", "x")).await?.text()?, "x");
    assert_eq!(client.call(Call::new("/greeter.Greeter/Hello", "x")).await?.text()?, "Hello, x!");
    assert_eq!(client.call(Call::new("/other.Other/Say", "x")).await?.code, Code::Unimplemented);
    Ok(())
}

#[tokio::test]
async fn metadata_chooses_a_graph_and_a_version() -> anyhow::Result<()> {
    let okra = both_versions().await?;
    publish(&okra, "1.0.0").await?;
    let client = okra.client().await?;
    assert_eq!(answer(&client, &[]).await?, "1.0.0");
    assert_eq!(answer(&client, &[("okra-graph-version", "2.0.0")]).await?, "2.0.0");
    assert_eq!(answer(&client, &[("okra-graph", "swap"), ("okra-graph-version", "2.0.0")]).await?, "2.0.0");
    assert_eq!(answer(&client, &[("sr-graph-name", "swap"), ("sr-graph-version", "2")]).await?, "2.0.0");

    let call = Call::new(METHOD, "{}").metadata("okra-graph", "nothing");
    assert_eq!(client.call(call).await?.code, Code::NotFound);
    let call = Call::new(METHOD, "{}").metadata("okra-graph-version", "3.0.0");
    assert_eq!(client.call(call).await?.code, Code::NotFound);
    Ok(())
}

#[tokio::test]
async fn an_answer_names_its_plan_when_asked() -> anyhow::Result<()> {
    let okra = both_versions().await?;
    publish(&okra, "2.0.0").await?;
    let client = okra.client().await?;
    assert!(!client.call(Call::new(METHOD, "{}")).await?.trailers.contains_key("okra-plan"), "nobody asked");
    let reply = client.call(Call::new(METHOD, "{}").metadata("okra-plan", "")).await?;
    let plan = reply.trailers.get("okra-plan").context("no plan")?.to_str()?;
    assert!(plan.starts_with("swap@2.0.0#"), "{plan}");
    Ok(())
}

async fn both_versions() -> anyhow::Result<Okra> {
    let graphs = Graphs::new()?;
    copy(&graphs, "swap_v1.json")?;
    copy(&graphs, "swap_v2.json")?;
    Serve::graphs(graphs.path()).flag("--default-graph", "swap").start().await
}

fn copy(graphs: &Graphs, file: &str) -> anyhow::Result<()> {
    graphs.write(file, &std::fs::read_to_string(documented_graph(file))?)?;
    Ok(())
}

async fn publish(okra: &Okra, version: &str) -> anyhow::Result<()> {
    okra.admin().post("/api/v1/graphs/swap/publish", &json!({ "version": version })).await?.expect_ok()?;
    Ok(())
}

async fn answer(client: &Client, metadata: &[(&'static str, &str)]) -> anyhow::Result<String> {
    let call =
        metadata.iter().fold(Call::new(METHOD, "{}"), |call, (name, value)| call.metadata(name, value));
    Ok(client.call(call).await?.json()?["first"].as_str().context("a version")?.to_owned())
}

const METHOD: &str = "/swap.Swap/Read";
