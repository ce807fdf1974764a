//! Upstreams that fail, through the whole binary: each call gets the status that is documented for what
//! happened, all other graphs go on as if nothing were, and a call succeeds as soon as the upstream is back.
//!
//! The statuses are documented in one table, in the head of `kernels/src/upstream.rs`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use h2::Reason;
use tests::bystander::Bystander;
use tests::faulty::{Fault, Faulty, Told};
use tests::graph::{Graphs, waiting};
use tests::process::Process;
use tests::rpc::{Call, Client, Code, Reply};
use tests::server::{Okra, Serve};
use tests::upstream::{self, Upstream};
use tests::{documented_graph, eventually, say};

/// An upstream that is wrong in one way, and what its callers must get.
struct Case {
    /// The graph that calls it.
    name: &'static str,
    /// A method of that graph.
    method: &'static str,
    fault: Fault,
    /// What the graph gives each of its calls.
    timeout: Duration,
    code: Code,
    message: &'static str,
}

#[tokio::test(flavor = "multi_thread")]
async fn each_fault_has_its_status_and_costs_no_other_graph_a_call() -> anyhow::Result<()> {
    let cases = cases();
    let graphs = Graphs::new()?;
    let mut faulty = Vec::new();
    for case in &cases {
        let upstream = Faulty::start(case.fault.clone())?;
        graphs.write(
            &format!("{}.json", case.name),
            &calling(case.name, &upstream.address().to_string(), case.timeout, ""),
        )?;
        faulty.push(Arc::new(upstream));
    }
    let (okra, bystanders, _sound) = host_with_bystanders(&graphs).await?;
    let client = okra.client().await?;
    let before = Process(okra.id()).holding()?;

    let callers: Vec<_> = (0..CALLERS)
        .flat_map(|_| &cases)
        .map(|case| (client.clone(), case.name, case.method, case.code, case.message))
        .map(|(client, name, method, code, message)| {
            tokio::spawn(async move {
                for _ in 0..ROUNDS {
                    let reply = client.call(Call::new(method, "hello").timeout(PATIENCE)).await?;
                    anyhow::ensure!(tells(&reply, code, message), "{name}: {reply:?}");
                }
                Ok(())
            })
        })
        .collect();
    let faults = callers.len() * ROUNDS;
    for caller in callers {
        caller.await??;
    }

    let mut slowest = Duration::ZERO;
    for (case, upstream) in cases.iter().zip(&faulty) {
        let offered = upstream.connections();
        upstream.mend()?;
        let back = recovered(&client, case.method).await?;
        slowest = slowest.max(back);
        for _ in 0..20 {
            let reply = client.call(Call::new(case.method, "again").timeout(PATIENCE)).await?;
            assert_eq!(reply.text()?, "again", "{}", case.name);
        }
        let offered = upstream.connections() - offered;
        assert!(offered <= 3, "{}: {offered} connections to be back once", case.name);
    }

    let answered = untouched(bystanders).await?;
    quiet(&okra).await?;
    let after = Process(okra.id()).holding()?;
    say(format!(
        "{} kinds of fault, {faults} calls, each with its status; back within {slowest:?}; \
         {answered} calls beside them, all answered; {before:?}, {after:?}",
        cases.len()
    ));
    // A connection to each upstream, and what a scrape may hold.
    assert!(after.files <= before.files + cases.len() + 8, "{before:?} {after:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_killed_in_the_middle_of_calls_fails_them_at_once_and_is_reached_when_it_is_back()
-> anyhow::Result<()> {
    let behind = Graphs::new()?;
    behind.write("late.json", &waiting("late", 1500))?;
    let upstream = Serve::graphs(behind.path()).start().await?;
    let address = upstream.service();
    let graphs = Graphs::new()?;
    graphs.write("front.json", &calling("front", &address.to_string(), PATIENCE, ""))?;
    let (okra, bystanders, _sound) = host_with_bystanders(&graphs).await?;
    let client = okra.client().await?;

    let call = |message: &'static str| {
        let client = client.clone();
        tokio::spawn(async move { client.call(Call::new("/front.Front/Say", message)).await })
    };
    let under_way: Vec<_> = (0..32).map(|_| call("held")).collect();
    eventually("the calls upstream", async || {
        Ok(Some(upstream.admin().stats().await?).filter(|stats| stats.in_flight == 32))
    })
    .await?;
    let killed = Instant::now();
    upstream.kill().await?;
    for reply in under_way {
        let reply = reply.await??;
        assert!(tells(&reply, Code::Unavailable, "the connection to the upstream broke"), "{reply:?}");
    }
    let told = killed.elapsed();
    assert!(told < Duration::from_secs(5), "told {told:?} after the kill");
    assert!(okra.log().contains("the connection to the upstream broke: "), "the log does not say why");
    for _ in 0..20 {
        let reply = call("down").await??;
        assert!(tells(&reply, Code::Unavailable, "cannot connect to the upstream"), "{reply:?}");
    }

    let again = Serve::graphs(behind.path()).port(address.port()).start().await?;
    assert_eq!(again.service(), address);
    let back = recovered(&client, "/front.Front/Say").await?;
    let answered = untouched(bystanders).await?;
    quiet(&okra).await?;
    say(format!(
        "32 calls told within {told:?} of the kill; back within {back:?}; {answered} calls beside them"
    ));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_hangs_holds_no_more_calls_than_it_may_and_no_other_graph() -> anyhow::Result<()> {
    let upstream = Serve::graphs(documented_graph("echo.json")).start().await?;
    let graphs = Graphs::new()?;
    let bounds = r#", "max_in_flight": 4, "max_waiting": 4, "max_wait_ms": 60000"#;
    let address = upstream.service().to_string();
    graphs.write("front.json", &calling("front", &address, Duration::from_millis(500), bounds))?;
    let (okra, bystanders, _sound) = host_with_bystanders(&graphs).await?;
    let client = okra.client().await?;
    let call = || {
        let client = client.clone();
        tokio::spawn(async move { client.call(Call::new("/front.Front/Say", "hello")).await })
    };
    assert_eq!(call().await??.text()?, "hello");

    upstream.signal("STOP")?;
    let (mut late, mut refused) = (0, 0);
    let calls: Vec<_> = (0..64).map(|_| call()).collect();
    for reply in calls {
        let reply = reply.await??;
        if tells(&reply, Code::DeadlineExceeded, "the upstream did not answer in time") {
            late += 1;
        } else {
            assert!(
                tells(&reply, Code::ResourceExhausted, "too many calls wait for the upstream"),
                "{reply:?}"
            );
            refused += 1;
        }
    }
    // Eight at a time, for half a second each: later ones find a place only if they come after that.
    assert!(late >= 8 && refused >= 1, "{late} late, {refused} refused");
    upstream.signal("CONT")?;
    let back = recovered(&client, "/front.Front/Say").await?;
    let answered = untouched(bystanders).await?;
    quiet(&okra).await?;
    say(format!(
        "{late} calls hung for their time, {refused} refused; back within {back:?}; {answered} calls beside them"
    ));
    Ok(())
}

/// A host of these graphs and two more, which are called all the while: one that answers itself, and one that
/// calls an upstream that is sound.
async fn host_with_bystanders(graphs: &Graphs) -> anyhow::Result<(Okra, [Bystander; 2], Upstream)> {
    let sound = Upstream::start(|asked| async move { upstream::Told::ok(asked.payload) }).await?;
    graphs.write("sound.json", &calling("sound", &sound.address().to_string(), PATIENCE, ""))?;
    graphs.write("near.json", NEAR)?;
    let okra = Serve::graphs(graphs.path()).start().await?;
    let bystanders = [
        Bystander::start(&okra, "/near.Near/Say").await?,
        Bystander::start(&okra, "/sound.Sound/Say").await?,
    ];
    Ok((okra, bystanders, sound))
}

/// Whether an answer is this status, with this message; before it stands which node failed.
fn tells(reply: &Reply, code: Code, message: &str) -> bool {
    reply.code == code && reply.message.starts_with("node up of graph ") && reply.message.contains(message)
}

/// How many calls the bystanders made: all of them succeeded.
async fn untouched(bystanders: [Bystander; 2]) -> anyhow::Result<u64> {
    let mut answered = 0;
    for bystander in bystanders {
        let seen = bystander.stop().await?;
        anyhow::ensure!(seen.problems.is_empty() && seen.answered > 10, "{seen:?}");
        answered += seen.answered;
    }
    Ok(answered)
}

/// Calls until a call succeeds, and gives how long that took.
async fn recovered(client: &Client, method: &'static str) -> anyhow::Result<Duration> {
    let begun = Instant::now();
    eventually(method, async || {
        let reply = client.call(Call::new(method, "back").timeout(PATIENCE)).await?;
        Ok(Some(reply).filter(|reply| reply.text().is_ok_and(|text| text == "back")))
    })
    .await?;
    Ok(begun.elapsed())
}

/// The host's book adds up, and nothing is under way.
async fn quiet(okra: &Okra) -> anyhow::Result<()> {
    let stats = eventually("quiet", async || Ok(Some(okra.admin().stats().await?).filter(|s| s.is_quiet())));
    let stats = stats.await?;
    anyhow::ensure!(stats.adds_up() && stats.cancelled == 0, "{stats:?}");
    Ok(())
}

// === impl Case ===

impl Case {
    fn new(
        (name, method): (&'static str, &'static str),
        fault: Fault,
        code: Code,
        message: &'static str,
    ) -> Self {
        let timeout = if code == Code::DeadlineExceeded { BRIEF } else { PATIENCE };
        Self { name, method, fault, timeout, code, message }
    }

    fn answered(names: (&'static str, &'static str), told: Told, code: Code, message: &'static str) -> Self {
        Self::new(names, Fault::Answers(told), code, message)
    }
}

fn cases() -> Vec<Case> {
    use Code::Unavailable;
    let (internal, refused) = (Reason::INTERNAL_ERROR, Reason::REFUSED_STREAM);
    let http1: &[u8] = b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n";
    let (broke, reset) = ("the connection to the upstream broke", "the upstream reset the call");
    let mut cases = vec![
        Case::new(("none", "/none.S/Say"), Fault::Refuses, Unavailable, "cannot connect to the upstream"),
        Case::new(("closes", "/closes.S/Say"), Fault::Closes, Unavailable, broke),
        Case::new(("resets", "/resets.S/Say"), Fault::Resets, Unavailable, broke),
        Case::new(
            ("silent", "/silent.S/Say"),
            Fault::IsSilent,
            Code::DeadlineExceeded,
            "did not answer in time",
        ),
        Case::new(("noise", "/noise.S/Say"), Fault::Says(b"\0\0\0no frame of anything"), Unavailable, broke),
        Case::new(("http1", "/http1.S/Say"), Fault::Says(http1), Unavailable, broke),
        Case::new(("leaves", "/leaves.S/Say"), Fault::GoesAway(internal), Unavailable, broke),
        Case::new(("fails", "/fails.S/Say"), Fault::ResetsCalls(internal), Code::Internal, reset),
        Case::new(("sheds", "/sheds.S/Say"), Fault::ResetsCalls(refused), Unavailable, reset),
    ];
    cases.extend(answers());
    cases
}

/// Faults of what is sound HTTP/2.
fn answers() -> Vec<Case> {
    let half = Told { trailers: None, ..Told::framed("\0\0\0\0\x05he") };
    let html = Told { content_type: Some("text/html"), ..Told::framed("<html>") };
    let gateway = Told { status: 503, ..html.clone() };
    let endless = Told { trailers: Some(&[]), ..Told::ok(b"hello") };
    let large = Told::ok(&[b'y'; 1025]);
    let huge = Told::framed(&b"\0\xff\xff\xff\xff"[..]);
    vec![
        Case::answered(("half", "/half.S/Say"), half, Code::DeadlineExceeded, "did not answer in time"),
        Case::answered(("html", "/html.S/Say"), html, Code::Unknown, "the upstream does not speak gRPC"),
        Case::answered(
            ("gateway", "/gateway.S/Say"),
            gateway,
            Code::Unavailable,
            "the upstream answered HTTP 503",
        ),
        Case::answered(
            ("torn", "/torn.S/Say"),
            Told::framed("\0\0\0\0\x05he"),
            Code::Internal,
            "the message is truncated",
        ),
        Case::answered(
            ("flag", "/flag.S/Say"),
            Told::framed("\x07\0\0\0\0"),
            Code::Internal,
            "the compression flag is neither 0 nor 1",
        ),
        Case::answered(
            ("endless", "/endless.S/Say"),
            endless,
            Code::Internal,
            "the upstream ended the call without a status",
        ),
        Case::answered(("large", "/large.S/Say"), large, Code::ResourceExhausted, "larger than 1024 bytes"),
        Case::answered(("huge", "/huge.S/Say"), huge, Code::ResourceExhausted, "larger than 1024 bytes"),
    ]
}

/// A graph `name` that passes on what its service gets, with these further parameters.
fn calling(name: &str, target: &str, timeout: Duration, more: &str) -> String {
    let service = match name {
        "front" => "front.Front".to_owned(),
        "sound" => "sound.Sound".to_owned(),
        name => format!("{name}.S"),
    };
    let timeout = timeout.as_millis();
    format!(
        r#"{{
  "version": "1.0.0", "name": "{name}", "serves": ["{service}"],
  "nodes": [
    {{ "id": "in", "kernel": "rpc_server_input", "inputs": ["call"], "outputs": ["payload"] }},
    {{ "id": "up", "kernel": "rpc_unary_call",
      "params": {{ "target": "http://{target}", "method": "/late.Late/Say", "timeout_ms": {timeout},
                  "max_message_bytes": 1024{more} }},
      "inputs": ["payload"], "outputs": ["payload"] }},
    {{ "id": "out", "kernel": "rpc_server_output", "inputs": ["call", "payload"], "outputs": [] }}
  ],
  "bindings": [
    {{ "to": "in.call", "from": "$req.rpc.call" }},
    {{ "to": "up.payload", "from": "in.payload" }},
    {{ "to": "out.call", "from": "$req.rpc.call" }},
    {{ "to": "out.payload", "from": "up.payload" }}
  ]
}}"#
    )
}

/// A graph that answers by itself.
const NEAR: &str = r#"{
  "version": "1.0.0", "name": "near", "serves": ["near.Near"],
  "nodes": [
    { "id": "in", "kernel": "rpc_server_input", "inputs": ["call"], "outputs": ["payload"] },
    { "id": "out", "kernel": "rpc_server_output", "inputs": ["call", "payload"], "outputs": [] }
  ],
  "bindings": [
    { "to": "in.call", "from": "$req.rpc.call" },
    { "to": "out.call", "from": "$req.rpc.call" },
    { "to": "out.payload", "from": "in.payload" }
  ]
}"#;

/// Callers of each graph at a time, and calls of each.
const CALLERS: usize = 4;
const ROUNDS: usize = 5;

/// What a graph gives an upstream that will not answer.
const BRIEF: Duration = Duration::from_millis(400);

/// Longer than any answer takes that comes at all.
const PATIENCE: Duration = Duration::from_secs(20);
