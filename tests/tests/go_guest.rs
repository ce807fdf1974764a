//! A service written in Go, `guests/math`: built by Go's own compiler, packed, deployed and called, as it is and
//! primed.

use anyhow::ensure;
use bytes::Bytes;
use prost::Message;
use serde_json::{Value, json};
use tests::guests::go_guest;
use tests::http::Http;
use tests::package::{DEPLOY, pack_with};
use tests::repository;
use tests::rpc::{Call, Client, Code};
use tests::server::{Okra, Serve};

const ADD: &str = "/test.math.MathService/add";
const SUMMARIZE: &str = "/test.math.MathService/summarize";

#[derive(Clone, PartialEq, Message)]
struct AddInput {
    #[prost(int32, tag = "1")]
    a: i32,
    #[prost(int32, tag = "2")]
    b: i32,
}

#[derive(Clone, PartialEq, Message)]
struct AddResponse {
    #[prost(int32, tag = "1")]
    sum: i32,
}

#[derive(Clone, PartialEq, Message)]
struct Sample {
    #[prost(string, tag = "1")]
    id: String,
    #[prost(double, repeated, tag = "2")]
    values: Vec<f64>,
    #[prost(int64, tag = "3")]
    weight: i64,
    #[prost(message, optional, tag = "4")]
    taken: Option<Timestamp>,
    #[prost(string, repeated, tag = "5")]
    labels: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
struct Summary {
    #[prost(string, tag = "1")]
    id: String,
    #[prost(int32, tag = "2")]
    count: i32,
    #[prost(double, tag = "3")]
    mean: f64,
    #[prost(int64, tag = "4")]
    weight: i64,
    #[prost(message, optional, tag = "5")]
    taken: Option<Timestamp>,
    #[prost(string, repeated, tag = "6")]
    labels: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Timestamp {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

/// More than a double can count to.
const LARGE: i64 = (1 << 53) + 1;

/// One test, because a guest of some megabytes takes seconds to be compiled for a host.
#[tokio::test(flavor = "multi_thread")]
async fn a_service_in_go_is_called_like_any_other() -> anyhow::Result<()> {
    let package: Bytes = std::fs::read(go_guest("math")?)?.into();
    let server = Serve::empty().start().await?;
    let deployed = server.admin().upload(DEPLOY, package).await?.json()?;
    ensure!(deployed["service_id"] == "test.math.MathService.v1", "{deployed}");
    it_serves(&server).await?;
    let replaced = server.admin().upload(&format!("{DEPLOY}?override=true"), primed()?).await?.json()?;
    ensure!(replaced["service_id"] == deployed["service_id"], "{replaced}");
    it_serves(&server).await
}

/// The same guest, primed by calls of both of its methods.
fn primed() -> anyhow::Result<Bytes> {
    let folder = repository().join("guests/math");
    let wasm = std::fs::read(folder.join("build/service.wasm"))?;
    let schema = std::fs::read_to_string(folder.join("service.okra.gql"))?;
    let sample = json!({ "id": "s", "values": [1.5], "weight": "7", "taken": "2023-11-14T22:13:20Z" });
    let calls = json!([
        { "method": "add", "payload": { "a": 20, "b": 22 } },
        { "method": "summarize", "payload": sample },
        { "method": "add", "payload": { "a": 20, "b": 22 } },
    ]);
    pack_with(&schema, &wasm, &json!({ "primed": { "calls": calls } }))?.bytes()
}

async fn it_serves(server: &Okra) -> anyhow::Result<()> {
    it_is_called_in_json_and_in_protobuf(server).await?;
    every_kind_of_value_reaches_it_and_comes_back(server).await?;
    its_errors_come_back_in_its_own_words(server).await?;
    several_at_once(server).await
}

async fn it_is_called_in_json_and_in_protobuf(server: &Okra) -> anyhow::Result<()> {
    let mut http = Http::one(server.service()).await?;
    let client = server.client().await?;
    for (a, b, sum) in [(5, 3, 8), (0, 0, 0), (-7, 2, -5), (i32::MAX, 1, i32::MIN)] {
        let added: AddResponse = call(&client, ADD, &AddInput { a, b }).await?;
        assert_eq!(added.sum, sum);
        let (status, added) = post(&mut http, ADD, &json!({ "a": a, "b": b })).await?;
        // Zero is left out, as protobuf's JSON has it.
        assert_eq!((status, added), (200, if sum == 0 { json!({}) } else { json!({ "sum": sum }) }));
    }
    Ok(())
}

async fn every_kind_of_value_reaches_it_and_comes_back(server: &Okra) -> anyhow::Result<()> {
    let mut http = Http::one(server.service()).await?;
    let client = server.client().await?;
    let sample = Sample {
        id: "s-1".to_owned(),
        values: vec![0.1, 0.2, 1e300, -1e300],
        weight: LARGE,
        taken: Some(Timestamp { seconds: 1_700_000_000, nanos: 123_456_789 }),
        labels: vec!["z".to_owned(), String::new(), "ä\"\\\n".to_owned()],
    };
    let summary: Summary = call(&client, SUMMARIZE, &sample).await?;
    let labels = vec![String::new(), "z".to_owned(), "ä\"\\\n".to_owned()];
    let mean = sample.values.iter().sum::<f64>() / 4.0;
    let expected =
        Summary { id: "s-1".to_owned(), count: 4, mean, weight: 4 * LARGE, taken: sample.taken, labels };
    assert_eq!(summary, expected);

    let sample = json!({
        "id": "s-2", "values": [1.5, 2.75], "weight": LARGE.to_string(),
        "taken": "2023-11-14T22:13:20.123456789Z", "labels": ["b", "a"],
    });
    let expected = json!({
        "id": "s-2", "count": 2, "mean": 2.125, "weight": (2 * LARGE).to_string(),
        "taken": "2023-11-14T22:13:20.123456789Z", "labels": ["a", "b"],
    });
    assert_eq!(post(&mut http, SUMMARIZE, &sample).await?, (200, expected));
    // What need not be there is not there afterwards.
    let least = json!({ "values": [0] });
    assert_eq!(post(&mut http, SUMMARIZE, &least).await?, (200, json!({ "count": 1 })));
    Ok(())
}

async fn its_errors_come_back_in_its_own_words(server: &Okra) -> anyhow::Result<()> {
    let mut http = Http::one(server.service()).await?;
    let client = server.client().await?;
    let says = "the sample has no values";
    let reply = client.call(Call::new(SUMMARIZE, Sample::default().encode_to_vec())).await?;
    assert_eq!((reply.code, reply.message.as_str()), (Code::Unknown, says));
    let (status, error) = post(&mut http, SUMMARIZE, &json!({})).await?;
    assert_eq!((status, error), (500, json!({ "code": "unknown", "message": says })));
    // What does not fit its types never gets to it.
    let (status, error) = post(&mut http, ADD, &json!({ "a": 3_000_000_000_u32 })).await?;
    assert_eq!((status, &error["code"]), (400, &json!("invalid_argument")), "{error}");
    let reply = client.call(Call::new("/test.math.MathService/Add", "")).await?;
    assert_eq!(reply.code, Code::Unimplemented, "{}", reply.message);
    Ok(())
}

async fn call<O: Message + Default>(
    client: &Client,
    path: &'static str,
    input: &impl Message,
) -> anyhow::Result<O> {
    let reply = client.call(Call::new(path, input.encode_to_vec())).await?;
    ensure!(reply.code == Code::Ok, "{:?} {}", reply.code, reply.message);
    Ok(O::decode(reply.payload.unwrap_or_default())?)
}

async fn post(http: &mut Http, path: &str, input: &Value) -> anyhow::Result<(u16, Value)> {
    let reply = http.send("POST", path, &[("content-type", "application/json")], input.to_string()).await?;
    Ok((reply.status.as_u16(), reply.json()?))
}

/// Calls on several connections, each with numbers of its own.
async fn several_at_once(server: &Okra) -> anyhow::Result<()> {
    let mut callers = tokio::task::JoinSet::new();
    for caller in 0..8 {
        let client = server.client().await?;
        callers.spawn(async move {
            for number in 0..50 {
                let added: AddResponse =
                    call(&client, ADD, &AddInput { a: caller * 1000, b: number }).await?;
                ensure!(added.sum == caller * 1000 + number, "{caller} {number}: {added:?}");
            }
            anyhow::Ok(())
        });
    }
    while let Some(ended) = callers.join_next().await {
        ended??;
    }
    Ok(())
}
