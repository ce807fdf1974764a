//! Every documented graph, called. What each shows is in `graphs/README.md`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tests::graph::Graphs;
use tests::rpc::{Call, Code, Reply};
use tests::server::{Okra, Serve, okra};
use tests::upstream::{Asked, Told, Upstream};
use tests::{documented_graph, repository};
use tokio::sync::Barrier;

#[tokio::test]
async fn echo_gives_back_every_byte() -> anyhow::Result<()> {
    let okra = Serve::graphs(documented_graph("echo.json")).start().await?;
    let client = okra.client().await?;
    for size in [0, 1, 64, 4096, 1 << 20] {
        let message: Vec<u8> = (0..size).map(|n: u32| n.to_le_bytes()[0]).collect();
        let reply = client.call(Call::new("/any.Service/Method", message.clone())).await?;
        assert_eq!((reply.code, reply.payload.as_deref()), (Code::Ok, Some(&message[..])), "{size} bytes");
    }
    assert!(okra.stop().await?.success(), "a clean stop ends with 0");
    Ok(())
}

#[tokio::test]
async fn methods_are_routed_inside_the_graph() -> anyhow::Result<()> {
    let okra = Serve::graphs(documented_graph("method_routing.json")).start().await?;
    let client = okra.client().await?;
    assert_eq!(client.call(Call::new("/greeter.Greeter/Hello", "Ada")).await?.text()?, "Hello, Ada!");
    assert_eq!(client.call(Call::new("/greeter.Greeter/Echo", "Ada")).await?.text()?, "Ada");
    let reply = client.call(Call::new("/greeter.Greeter/Sing", "Ada")).await?;
    assert_eq!(reply.code, Code::Unimplemented, "{reply:?}");
    Ok(())
}

#[tokio::test]
async fn the_sides_of_a_diamond_run_at_the_same_time() -> anyhow::Result<()> {
    // Neither side is answered before the other has arrived, so one after the other would never end.
    let both = Arc::new(Barrier::new(2));
    let upstream = Upstream::start(move |asked| {
        let both = both.clone();
        async move {
            both.wait().await;
            match asked.method.as_str() {
                "/shop.Prices/Get" => Told::ok(r#"{"price": 12}"#),
                "/shop.Stock/Get" => Told::ok(r#"{"stock": 3}"#),
                _ => Told::failed(Code::Unimplemented, "no such method"),
            }
        }
    })
    .await?;
    let (_graphs, okra) = serve("diamond.json", &upstream).await?;
    let call = Call::new("/shop.Shop/Show", r#"{"item": "tea"}"#).timeout(Duration::from_secs(5));
    let reply = okra.client().await?.call(call).await?;
    assert_eq!(reply.json()?, json!({ "price": 12, "stock": 3 }));
    assert_eq!(upstream.finished(), 2);
    Ok(())
}

#[tokio::test]
async fn a_branch_answers_from_one_of_two_places() -> anyhow::Result<()> {
    let okra = Serve::graphs(documented_graph("two_answers.json")).start().await?;
    let client = okra.client().await?;
    let order = async |amount| {
        client.call(Call::new("/shop.Orders/Place", json!({ "amount": amount }).to_string())).await
    };
    assert_eq!(order(50).await?.json()?, json!({ "accepted": 50 }));
    let reply = order(5000).await?;
    assert_eq!((reply.code, reply.payload), (Code::FailedPrecondition, None), "{}", reply.message);
    let reply = client.call(Call::new("/shop.Orders/Place", "no JSON")).await?;
    assert_eq!(reply.code, Code::InvalidArgument, "{reply:?}");
    Ok(())
}

#[tokio::test]
async fn an_upstream_that_recovers_is_tried_again() -> anyhow::Result<()> {
    let upstream = Upstream::start(async |asked: Asked| match asked.number {
        0 | 1 => Told::failed(Code::Unavailable, "not yet"),
        _ => Told::ok(r#"{"stock": 3}"#),
    })
    .await?;
    let (_graphs, okra) = serve("retry_fallback.json", &upstream).await?;
    assert_eq!(stock(&okra).await?.json()?, json!({ "stock": 3 }));
    assert_eq!(upstream.finished(), 3);
    Ok(())
}

#[tokio::test]
async fn an_upstream_that_stays_away_is_replaced_by_the_fallback() -> anyhow::Result<()> {
    let upstream = Upstream::start(async |_| Told::failed(Code::Unavailable, "down")).await?;
    let (_graphs, okra) = serve("retry_fallback.json", &upstream).await?;
    assert_eq!(stock(&okra).await?.json()?, json!({ "stock": null }));
    assert_eq!(upstream.finished(), 3, "three attempts in all");
    Ok(())
}

#[tokio::test]
async fn a_failure_that_time_does_not_mend_is_not_tried_again() -> anyhow::Result<()> {
    let upstream = Upstream::start(async |_| Told::failed(Code::InvalidArgument, "never")).await?;
    let (_graphs, okra) = serve("retry_fallback.json", &upstream).await?;
    assert_eq!(stock(&okra).await?.json()?, json!({ "stock": null }));
    assert_eq!(upstream.finished(), 1);
    Ok(())
}

#[tokio::test]
async fn an_aggregate_asks_everyone_when_there_is_time() -> anyhow::Result<()> {
    let upstream = shop(Duration::ZERO, Duration::ZERO).await?;
    let (_graphs, okra) = serve("deadline_aggregate.json", &upstream).await?;
    let reply = product(&okra, Some(Duration::from_secs(5))).await?;
    assert_eq!(reply.json()?, json!({ "price": 12, "stock": 3, "reviews": ["good"] }));
    let reply = product(&okra, None).await?;
    assert_eq!(reply.json()?, json!({ "price": 12, "stock": 3, "reviews": ["good"] }));
    Ok(())
}

#[tokio::test]
async fn an_aggregate_leaves_out_what_there_is_no_time_for() -> anyhow::Result<()> {
    let upstream = shop(Duration::ZERO, Duration::ZERO).await?;
    let (_graphs, okra) = serve("deadline_aggregate.json", &upstream).await?;
    let reply = product(&okra, Some(Duration::from_millis(400))).await?;
    assert_eq!(reply.json()?, json!({ "price": 12, "stock": 3, "reviews": null }));
    assert_eq!(upstream.started(), 2, "reviews were asked for");
    Ok(())
}

#[tokio::test]
async fn an_aggregate_does_not_wait_for_a_part_it_can_do_without() -> anyhow::Result<()> {
    let upstream = shop(Duration::ZERO, Duration::from_secs(20)).await?;
    let (_graphs, okra) = serve("deadline_aggregate.json", &upstream).await?;
    let begun = Instant::now();
    let reply = product(&okra, Some(Duration::from_secs(10))).await?;
    assert_eq!(reply.json()?, json!({ "price": 12, "stock": null, "reviews": ["good"] }));
    assert!(begun.elapsed() < Duration::from_secs(2), "answered after {:?}", begun.elapsed());
    Ok(())
}

#[tokio::test]
async fn an_aggregate_fails_in_time_without_the_part_it_needs() -> anyhow::Result<()> {
    let upstream = shop(Duration::from_secs(20), Duration::ZERO).await?;
    let (_graphs, okra) = serve("deadline_aggregate.json", &upstream).await?;
    let begun = Instant::now();
    let reply = product(&okra, Some(Duration::from_secs(1))).await?;
    assert_eq!(reply.code, Code::DeadlineExceeded, "{reply:?}");
    assert!(begun.elapsed() < Duration::from_secs(2), "answered after {:?}", begun.elapsed());
    Ok(())
}

#[tokio::test]
async fn a_forwarded_call_arrives_whole_and_comes_back_whole() -> anyhow::Result<()> {
    let upstream = Upstream::start(async |asked: Asked| {
        assert_eq!(asked.method, "/any.Service/Method");
        assert_eq!(asked.metadata["authorization"], "Bearer x");
        assert!(!asked.metadata.contains_key("secret"), "metadata that is not listed was passed on");
        Told::ok(asked.payload)
    })
    .await?;
    let (_graphs, okra) = serve("forward.json", &upstream).await?;
    let call = Call::new("/any.Service/Method", "hello")
        .metadata("authorization", "Bearer x")
        .metadata("secret", "s");
    assert_eq!(okra.client().await?.call(call).await?.text()?, "hello");

    let upstream = Upstream::start(async |_| Told::failed(Code::NotFound, "no such thing")).await?;
    let (_graphs, okra) = serve("forward.json", &upstream).await?;
    let reply = okra.client().await?.call(Call::new("/any.Service/Method", "hello")).await?;
    assert_eq!((reply.code, reply.message.as_str()), (Code::NotFound, "no such thing"));
    Ok(())
}

#[test]
fn every_documented_graph_passes_the_check() -> anyhow::Result<()> {
    let mut checked = 0;
    for folder in ["graphs", "graphs/kernels"] {
        let Ok(entries) = std::fs::read_dir(repository().join(folder)) else { continue };
        for entry in entries {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "json") {
                let said = okra(&["graph", "check", &path.to_string_lossy()])?;
                assert!(said.status.success(), "{}: {}{}", path.display(), said.stdout, said.stderr);
                checked += 1;
            }
        }
    }
    assert!(checked >= 9, "only {checked} graphs were found");
    Ok(())
}

#[test]
fn a_bad_graph_is_refused_with_all_its_mistakes() -> anyhow::Result<()> {
    let graphs = Graphs::new()?;
    let text = std::fs::read_to_string(documented_graph("echo.json"))?;
    let path = graphs.write(
        "bad.json",
        &text.replace("rpc_server_input", "rpc_sever_input").replace("in.payload", "in.load"),
    )?;
    let said = okra(&["graph", "check", &path.to_string_lossy()])?;
    assert_eq!(said.status.code(), Some(3), "{said:?}");
    let told = said.stdout + &said.stderr;
    assert!(
        told.contains("rpc_sever_input") && told.contains("rpc_server_input"),
        "no cause and fix: {told}"
    );
    assert!(told.contains("bad.json:6"), "no place: {told}");
    Ok(())
}

/// A server of a documented graph, calling `upstream`.
async fn serve(file: &str, upstream: &Upstream) -> anyhow::Result<(Graphs, Okra)> {
    let graphs = Graphs::new()?;
    let okra = Serve::graphs(graphs.with_upstream(file, upstream.address())?).start().await?;
    Ok((graphs, okra))
}

/// An upstream that knows prices, stock and reviews, the first two after a while.
async fn shop(price_after: Duration, stock_after: Duration) -> anyhow::Result<Upstream> {
    Upstream::start(move |asked: Asked| async move {
        match asked.method.as_str() {
            "/shop.Prices/Get" => {
                tokio::time::sleep(price_after).await;
                Told::ok(r#"{"price": 12}"#)
            }
            "/shop.Stock/Get" => {
                tokio::time::sleep(stock_after).await;
                Told::ok(r#"{"stock": 3}"#)
            }
            "/shop.Reviews/Get" => Told::ok(r#"{"reviews": ["good"]}"#),
            _ => Told::failed(Code::Unimplemented, "no such method"),
        }
    })
    .await
}

async fn product(okra: &Okra, timeout: Option<Duration>) -> anyhow::Result<Reply> {
    let call = Call::new("/shop.Shop/Show", json!({ "item": "tea" }).to_string());
    okra.client()
        .await?
        .call(match timeout {
            Some(timeout) => call.timeout(timeout),
            None => call,
        })
        .await
}

async fn stock(okra: &Okra) -> anyhow::Result<Reply> {
    let item: Value = json!({ "item": "tea" });
    okra.client().await?.call(Call::new("/shop.Shop/Stock", item.to_string())).await
}
