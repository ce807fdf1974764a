//! Connect, gRPC-Web and gRPC with JSON on the service port, as their bytes stand on the wire: what the
//! protocols promise, and that none of the faults of the original gateway is here.

use std::time::Duration;

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use serde_json::{Value, json};
use tests::admin::Stats;
use tests::clients::{node, run, script};
use tests::greet::Greet;
use tests::http::{Http, HttpReply};
use tests::rpc::{Call, Client, Code};

const JSON: (&str, &str) = ("content-type", "application/json");
const PROTO: (&str, &str) = ("content-type", "application/proto");
const SAY: &str = "/greet.v1.Greeter/Say";
const LOOK: &str = "/greet.v1.Greeter/Look";

/// `full_name: "Ada"`.
const ADA: &[u8] = b"\x0a\x03Ada";

/// Does the same over HTTP/1.1 and over HTTP/2, by both transports.
async fn everywhere(check: impl AsyncFn(&mut Http) -> anyhow::Result<()>) -> anyhow::Result<()> {
    for transport in ["tonic", "native"] {
        let greet = Greet::start(&[("--transport", transport)]).await?;
        let address = greet.okra.service();
        check(&mut Http::one(address).await?).await.with_context(|| format!("HTTP/1.1, {transport}"))?;
        check(&mut Http::two(address).await?).await.with_context(|| format!("HTTP/2, {transport}"))?;
    }
    Ok(())
}

fn code(reply: &HttpReply) -> anyhow::Result<(u16, String)> {
    let body = reply.json()?;
    Ok((reply.status.as_u16(), body["code"].as_str().context("a code")?.to_owned()))
}

#[tokio::test]
async fn either_path_and_either_name_of_a_field_will_do() -> anyhow::Result<()> {
    everywhere(async |http| {
        for path in [SAY.to_owned(), format!("/connect{SAY}")] {
            for body in [r#"{"fullName":"Ada","count":"0"}"#, r#"{"full_name":"Ada"}"#] {
                let reply = http.send("POST", &path, &[JSON], body).await?;
                assert_eq!(
                    (reply.status.as_u16(), reply.header("content-type")),
                    (200, Some("application/json"))
                );
                assert_eq!(reply.json()?, json!({ "fullName": "Ada" }), "zero values are left out");
            }
            let reply = http.send("POST", &path, &[PROTO], ADA).await?;
            assert_eq!((reply.header("content-type"), &reply.body[..]), (Some("application/proto"), ADA));
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn content_types_are_read_as_http_says() -> anyhow::Result<()> {
    everywhere(async |http| {
        let ada = json!({ "fullName": "Ada" });
        for (content_type, answered) in [
            ("application/json; charset=utf-8", "application/json"),
            ("Application/JSON", "application/json"),
            ("application/json; invalid-param", "application/json"),
            ("application/connect+json", "application/connect+json"),
        ] {
            let headers = [("content-type", content_type), ("connect-protocol-version", "1")];
            let reply = http.send("POST", SAY, &headers, ada.to_string()).await?;
            assert_eq!((reply.status.as_u16(), reply.header("content-type")), (200, Some(answered)));
            assert_eq!(reply.json()?, ada, "{content_type} is answered in JSON");
        }
        for headers in [&[("content-type", "application/x-protobuf")][..], &[]] {
            let reply = http.send("POST", SAY, headers, ADA).await?;
            assert_eq!((reply.header("content-type"), &reply.body[..]), (Some("application/proto"), ADA));
        }
        for content_type in ["text/plain", "application/jsonx", "application/grpc-web+xml"] {
            let reply = http.send("POST", SAY, &[("content-type", content_type)], "{}").await?;
            assert_eq!(reply.status, 415, "{content_type}");
            assert!(reply.header("accept-post").is_some_and(|types| types.contains("application/json")));
        }
        let envelope = [("content-type", "application/connect+json")];
        let reply = http.send("POST", SAY, &envelope, &b"\0\0\0\0\x02{}"[..]).await?;
        assert_eq!(code(&reply)?, (400, "invalid_argument".to_owned()));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_connection_whose_request_was_not_read_is_not_used_again() -> anyhow::Result<()> {
    let greet = Greet::start(&[]).await?;
    let text = [("content-type", "text/plain")];
    let mut http = Http::one(greet.okra.service()).await?;
    let short = http.send("POST", SAY, &text, "{}").await?;
    assert_eq!((short.status.as_u16(), short.header("connection")), (415, None));
    let long = http.send("POST", SAY, &text, vec![b' '; 200_000]).await?;
    assert_eq!((long.status.as_u16(), long.header("connection")), (415, Some("close")));
    Ok(())
}

#[tokio::test]
async fn what_is_no_call_runs_nothing() -> anyhow::Result<()> {
    let greet = Greet::start(&[]).await?;
    for http in [&mut Http::one(greet.okra.service()).await?, &mut Http::two(greet.okra.service()).await?] {
        for method in ["HEAD", "PUT", "DELETE", "PATCH", "OPTIONS"] {
            for (path, allow) in [(SAY, "POST"), (LOOK, "GET, POST")] {
                let reply = http.send(method, path, &[JSON], "").await?;
                assert_eq!(
                    (reply.status.as_u16(), reply.header("allow")),
                    (405, Some(allow)),
                    "{method} {path}"
                );
            }
        }
        let reply = http.send("GET", &format!("{SAY}?encoding=json&message=%7B%7D"), &[], "").await?;
        assert_eq!(
            (reply.status.as_u16(), reply.header("allow")),
            (405, Some("POST")),
            "it has side effects"
        );
        let preflight = [("origin", "https://a.example"), ("access-control-request-method", "POST")];
        let reply = http.send("OPTIONS", SAY, &preflight, "").await?;
        assert_eq!((reply.status.as_u16(), reply.header("access-control-allow-origin")), (405, None));
        for path in ["/", "/greet.v1.Greeter", "/greet.v1.Greeter/", "/connect/greet.v1.Greeter", "/connect"]
        {
            let reply = http.send("POST", path, &[JSON], "{}").await?;
            assert_eq!(code(&reply)?, (404, "unimplemented".to_owned()), "{path} leads nowhere else");
            assert_eq!(reply.header("location"), None);
        }
    }
    assert_eq!(greet.okra.admin().stats().await?.accepted, 0);
    Ok(())
}

#[tokio::test]
async fn what_is_not_there_is_not_found() -> anyhow::Result<()> {
    everywhere(async |http| {
        for path in ["/greet.v1.Nobody/Say", "/greet.v1.Greeter/Shout"] {
            let reply = http.send("POST", path, &[JSON], "{}").await?;
            assert_eq!(code(&reply)?, (404, "unimplemented".to_owned()), "{path}");
            let web = [("content-type", "application/grpc-web+proto")];
            let reply = http.send("POST", path, &web, &b"\0\0\0\0\0"[..]).await?;
            assert_eq!(reply.status, 200);
            assert!(reply.body.windows(15).any(|line| line == b"grpc-status: 12"), "{path}");
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_get_brings_its_message() -> anyhow::Result<()> {
    everywhere(async |http| {
        let seven = format!("{LOOK}?connect=v1&encoding=json&message=%7B%22count%22%3A7%7D");
        let reply = http.send("GET", &seven, &[], "").await?;
        assert_eq!((reply.status.as_u16(), reply.json()?), (200, json!({ "count": "7" })));
        assert_eq!(reply.header("vary"), Some("accept-encoding"));
        let reply =
            http.send("GET", &format!("{LOOK}?encoding=proto&base64=1&message=CgNBZGE"), &[], "").await?;
        assert_eq!((reply.header("content-type"), &reply.body[..]), (Some("application/proto"), ADA));
        for (query, expected) in [
            ("connect=v1&encoding=json", (400, "invalid_argument")),
            ("connect=v9&encoding=json&message=%7B%7D", (400, "invalid_argument")),
            ("encoding=json&message=%7B", (400, "invalid_argument")),
            ("encoding=json&message=%21&base64=1", (400, "invalid_argument")),
            ("encoding=json&message=%7B%7D&compression=br", (501, "unimplemented")),
        ] {
            let reply = http.send("GET", &format!("{LOOK}?{query}"), &[], "").await?;
            assert_eq!(code(&reply)?, (expected.0, expected.1.to_owned()), "{query}");
        }
        for query in ["encoding=xml&message=%7B%7D", "message=%7B%7D"] {
            assert_eq!(http.send("GET", &format!("{LOOK}?{query}"), &[], "").await?.status, 415, "{query}");
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_and_not_ignored() -> anyhow::Result<()> {
    everywhere(async |http| {
        for (header, body, expected) in [
            (("connect-timeout-ms", "soon"), "{}", (400, "invalid_argument")),
            (("connect-timeout-ms", "12345678901"), "{}", (400, "invalid_argument")),
            (("connect-timeout-ms", "-1"), "{}", (400, "invalid_argument")),
            (("connect-timeout-ms", "0"), "{}", (504, "deadline_exceeded")),
            (("connect-protocol-version", "2"), "{}", (400, "invalid_argument")),
            (("content-encoding", "br"), "{}", (501, "unimplemented")),
            (("content-encoding", "gzip"), "{}", (500, "internal")),
            (("x-a", "1"), "", (400, "invalid_argument")),
            (("x-a", "1"), "{invalid json", (400, "invalid_argument")),
            (("x-a", "1"), r#"{"nobody":1}"#, (400, "invalid_argument")),
            (("x-a", "1"), r#"{"count":1.5}"#, (400, "invalid_argument")),
        ] {
            let reply = http.send("POST", SAY, &[JSON, header], body).await?;
            assert_eq!(code(&reply)?, (expected.0, expected.1.to_owned()), "{header:?} {body}");
        }
        let reply = http.send("POST", "/plain.Echo/Say", &[JSON], "{}").await?;
        assert_eq!(code(&reply)?, (415, "unimplemented".to_owned()), "nobody says how its JSON looks");
        assert!(reply.json()?["message"].as_str().is_some_and(|text| text.contains("services.descriptors")));
        let reply = http.send("POST", "/plain.Echo/Say", &[PROTO], "anything").await?;
        assert_eq!(reply.body, "anything");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_failure_is_told_with_details_and_metadata() -> anyhow::Result<()> {
    everywhere(async |http| {
        let reply = http.send("POST", "/greet.v1.Grumbler/Say", &[PROTO], "").await?;
        assert_eq!((reply.status.as_u16(), reply.header("content-type")), (400, Some("application/json")));
        assert_eq!((reply.header("x-leading"), reply.header("trailer-x-trailing")), (Some("1"), Some("2")));
        let body = reply.json()?;
        assert_eq!(
            (&body["code"], &body["message"]),
            (&json!("failed_precondition"), &json!("not today: ☹"))
        );
        let detail = &body["details"][0];
        assert_eq!(detail["type"], "google.rpc.ErrorInfo");
        let value = STANDARD_NO_PAD.decode(detail["value"].as_str().context("text")?)?;
        assert!(value.ends_with(b"greet.v1"));

        let text = [("content-type", "application/grpc-web-text")];
        let reply = http.send("POST", "/greet.v1.Grumbler/Say", &text, "AAAAAAA=").await?;
        assert_eq!((reply.header("content-type"), reply.header("x-leading")), (Some(text[0].1), Some("1")));
        let trailers = String::from_utf8(STANDARD.decode(&reply.body)?.split_off(5))?;
        assert!(
            trailers.starts_with("grpc-status: 9\r\ngrpc-message: not today: %E2%98%B9\r\n"),
            "{trailers}"
        );
        assert!(trailers.ends_with("x-trailing: 2\r\n"), "{trailers}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_message_too_large_is_refused_by_its_size_inside() -> anyhow::Result<()> {
    let greet = Greet::start(&[("--messages-max-receive", "64KiB")]).await?;
    for http in [&mut Http::one(greet.okra.service()).await?, &mut Http::two(greet.okra.service()).await?] {
        let fits = vec![0x0a; 64 << 10];
        assert_eq!(http.send("POST", "/plain.Echo/Say", &[PROTO], fits.clone()).await?.body, fits);
    }
    for (method, size) in [("one byte", (64 << 10) + 1), ("many", 11 << 20)] {
        let mut http = Http::two(greet.okra.service()).await?;
        let reply = http.send("POST", "/plain.Echo/Say", &[PROTO], vec![0x0a; size]).await?;
        assert_eq!(code(&reply)?, (413, "resource_exhausted".to_owned()), "{method}");
    }
    Ok(())
}

#[tokio::test]
async fn pages_may_call_if_they_are_allowed_to() -> anyhow::Result<()> {
    let greet = Greet::start(&[("--cors-allowed-origins", "https://a.example")]).await?;
    let mut http = Http::one(greet.okra.service()).await?;
    let page = ("origin", "https://a.example");
    let asks = ("access-control-request-method", "POST");
    let names = ("access-control-request-headers", "content-type,connect-protocol-version,x-user");
    let reply = http.send("OPTIONS", SAY, &[page, asks, names], "").await?;
    assert_eq!((reply.status.as_u16(), reply.header("access-control-allow-origin")), (204, Some(page.1)));
    assert_eq!(reply.header("access-control-allow-headers"), Some(names.1));
    let reply = http.send("OPTIONS", SAY, &[("origin", "https://b.example"), asks], "").await?;
    assert_eq!((reply.status.as_u16(), reply.header("access-control-allow-origin")), (403, None));
    assert_eq!(greet.okra.admin().stats().await?, Stats::default(), "a preflight runs nothing");

    let reply = http.send("POST", "/greet.v1.Grumbler/Say", &[JSON, page], "{}").await?;
    assert_eq!(reply.header("access-control-allow-origin"), Some(page.1));
    let exposed = reply.header("access-control-expose-headers").unwrap_or_default();
    assert!(exposed.contains("x-leading") && exposed.contains("trailer-x-trailing"), "{exposed}");
    assert_eq!(reply.header("vary"), Some("origin"));
    let reply = http.send("POST", SAY, &[JSON, ("origin", "https://b.example")], "{}").await?;
    assert_eq!((reply.status.as_u16(), reply.header("access-control-allow-origin")), (200, None));
    Ok(())
}

#[tokio::test]
async fn grpc_and_connect_share_one_connection() -> anyhow::Result<()> {
    for transport in ["tonic", "native"] {
        let greet = Greet::start(&[("--transport", transport)]).await?;
        let mut http = Http::two(greet.okra.service()).await?;
        let framed = [&[0, 0, 0, 0, 5][..], ADA].concat();
        for _ in 0..20 {
            let grpc =
                http.send("POST", SAY, &[("content-type", "application/grpc")], framed.clone()).await?;
            assert_eq!((&grpc.body[..], &grpc.trailers["grpc-status"]), (&framed[..], &"0".parse()?));
            let json = [("content-type", "application/grpc+json")];
            let reply = http.send("POST", SAY, &json, &b"\0\0\0\0\x13{\"full_name\":\"Ada\"}"[..]).await?;
            assert_eq!(&reply.body[..], b"\0\0\0\0\x12{\"fullName\":\"Ada\"}");
            assert_eq!(reply.trailers["grpc-status"], "0");
            let reply = http.send("POST", SAY, &[JSON], r#"{"fullName":"Ada"}"#).await?;
            assert_eq!(reply.json()?, json!({ "fullName": "Ada" }));
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_deadline_and_a_client_that_leaves_end_the_call() -> anyhow::Result<()> {
    let graphs = tests::graph::Graphs::new()?;
    graphs.write("slow.json", &tests::graph::waiting("slow", 20_000))?;
    let okra = tests::server::Serve::graphs(graphs.path()).start().await?;
    for http in [&mut Http::one(okra.service()).await?, &mut Http::two(okra.service()).await?] {
        let reply = http.send("POST", "/slow.Slow/Wait", &[PROTO, ("connect-timeout-ms", "100")], "").await?;
        assert_eq!(code(&reply)?, (504, "deadline_exceeded".to_owned()));
    }
    for two in [false, true] {
        let mut http = if two { Http::two(okra.service()).await? } else { Http::one(okra.service()).await? };
        let call = http.send("POST", "/slow.Slow/Wait", &[PROTO], "");
        assert!(tokio::time::timeout(Duration::from_millis(100), call).await.is_err());
        drop(http);
    }
    tests::eventually("two calls whose client has left", async || {
        let stats = okra.admin().stats().await?;
        Ok((stats.cancelled == 2 && stats.expired == 2 && stats.is_quiet()).then_some(()))
    })
    .await
}

#[tokio::test]
async fn figures_tell_the_protocols_apart() -> anyhow::Result<()> {
    let greet = Greet::start(&[]).await?;
    let mut http = Http::one(greet.okra.service()).await?;
    http.send("POST", SAY, &[JSON], "{}").await?;
    http.send("POST", SAY, &[("content-type", "application/grpc-web")], &b"\0\0\0\0\0"[..]).await?;
    let grpc = Client::connect(greet.okra.service()).await?;
    assert_eq!(grpc.call(Call::new("/greet.v1.Greeter/Say", "")).await?.code, Code::Ok);
    let metrics = tests::eventually("three calls", async || {
        let metrics = greet.okra.admin().metrics().await?;
        Ok((metrics.sum("okra_rpc_requests_total", &[]) == 3.0).then_some(metrics))
    })
    .await?;
    for protocol in ["grpc", "grpc_web", "connect"] {
        let label = format!("protocol=\"{protocol}\"");
        assert_eq!(metrics.sum("okra_rpc_requests_total", &[&label]), 1.0, "{protocol}");
    }
    Ok(())
}

#[tokio::test]
async fn connect_node_and_connect_web_call_it_in_every_way_they_know() -> anyhow::Result<()> {
    let Some(mut node) = node()? else { return Ok(()) };
    let greet = Greet::start(&[]).await?;
    let said = run(node
        .arg(script("node/connect.js"))
        .arg(greet.okra.service().to_string())
        .arg(greet.descriptors()))?;
    let said: Value = serde_json::from_str(&said)?;
    let metrics = greet.okra.admin().metrics().await?;
    for protocol in ["grpc", "grpc_web", "connect"] {
        let label = format!("protocol=\"{protocol}\"");
        let counted = metrics.sum("okra_rpc_requests_total", &[&label]);
        assert_eq!(Some(counted), said[protocol].as_f64(), "{protocol}");
    }
    Ok(())
}

#[tokio::test]
async fn curl_calls_it_over_http1_and_http2() -> anyhow::Result<()> {
    let greet = Greet::start(&[]).await?;
    for version in ["--http1.1", "--http2-prior-knowledge"] {
        let said = run(std::process::Command::new("curl")
            .args(["-sS", "--fail-with-body", version, "-H", "content-type: application/json"])
            .args(["-d", r#"{"fullName":"Ada","tags":["x"]}"#])
            .arg(format!("http://{}/connect{SAY}", greet.okra.service())))?;
        assert_eq!(serde_json::from_str::<Value>(&said)?, json!({ "fullName": "Ada", "tags": ["x"] }));
    }
    Ok(())
}
