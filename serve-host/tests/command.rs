//! The `okra` command as scripts see it: what it prints, and how it exits.

#![expect(clippy::unwrap_used, reason = "a test ends where it cannot go on")]

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use exec_plan::{GraphSource, PlanStore, StoreOptions};
use protox::file::{ChainFileResolver, File, FileResolver, GoogleFileResolver};
use serde_json::{Value, json};
use serve_host::{Fallback, GrpcService, HostConfig, ServeHost, Server, ServerConfig, TransportLimits};
use tempfile::TempDir;

/// The longest anything here may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// A run of the command that came to its end.
#[derive(Debug)]
struct Ended {
    code: i32,
    stdout: String,
    stderr: String,
}

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_okra"));
    // What the tests inherit must not decide how they end.
    for name in ["OKRA_CONFIG", "RUST_LOG", "NO_COLOR", "CLICOLOR_FORCE"] {
        command.env_remove(name);
    }
    command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn okra(args: &[&str]) -> Ended {
    let output = command(args).output().unwrap();
    Ended {
        code: output.status.code().unwrap(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

impl Ended {
    fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self:?}");
        self
    }

    /// The one document on standard output.
    fn document(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    fn says(self, text: &str) -> Self {
        assert!(self.stderr.contains(text) || self.stdout.contains(text), "no {text:?} in {self:?}");
        self
    }
}

/// A graph that answers with what it is sent, after a while, or fails.
fn graph(name: &str, version: &str, delay_ms: u64) -> String {
    json!({
        "name": name, "version": version, "serves": ["test.Echo"],
        "nodes": [
            {"id": "wait", "kernel": "delay", "params": {"ms": delay_ms}, "inputs": ["value"], "outputs": ["value"]},
            {"id": "out", "kernel": "rpc_server_output", "inputs": ["call", "payload"], "outputs": []},
        ],
        "bindings": [
            {"to": "wait.value", "from": "$req.rpc.payload"},
            {"to": "out.call", "from": "$req.rpc.call"},
            {"to": "out.payload", "from": "wait.value"},
        ],
    })
    .to_string()
}

fn write(dir: &TempDir, name: &str, text: &str) -> PathBuf {
    let path = dir.path().join(name);
    std::fs::write(&path, text).unwrap();
    path
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

// === the command line and the configuration ===

#[test]
fn a_command_line_that_is_wrong_exits_2() {
    okra(&["serve", "--max-inflght", "3"]).exits(2).says("--max-inflight");
    okra(&["nonsense"]).exits(2);
    let ended = okra(&["call", "nowhere", "a.B/C", "--json"]).exits(2);
    assert_eq!(ended.document()["error"]["exit"], 2);
    okra(&["--help"]).exits(0).says("130  ");
    okra(&["--version"]).exits(0).says(env!("CARGO_PKG_VERSION"));
}

#[test]
fn every_mistake_of_the_configuration_is_told_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let file = write(&dir, "okra.toml", "max_inflght = 1\n[drain]\ngrace = 5\n");
    let ended = okra(&["serve", "--config", text(&file), "--service-port", "x"]).exits(2);
    for mistake in [
        "okra.toml:1:1: max_inflght",
        "did you mean max_inflight?",
        "okra.toml:3:9: drain.grace",
        "--service-port: ",
    ] {
        assert!(ended.stderr.contains(mistake), "{mistake}: {ended:?}");
    }
    okra(&["serve", "--config", "/nonexistent/okra.toml"]).exits(2).says("--config: cannot read");
}

#[test]
fn an_admin_port_open_to_others_is_refused_without_a_token() {
    let ended = okra(&["serve", "--check", "--admin-host", "0.0.0.0"]).exits(2);
    assert!(ended.stderr.contains("admin.token_file") && ended.stderr.contains("openssl rand"), "{ended:?}");
    let dir = tempfile::tempdir().unwrap();
    let short = write(&dir, "short", "secret");
    okra(&["serve", "--check", "--admin-token-file", text(&short)]).exits(2).says("at least 22");
    let long = write(&dir, "long", "0123456789abcdef0123456789abcdef");
    okra(&["serve", "--check", "--admin-host", "0.0.0.0", "--admin-token-file", text(&long)]).exits(0);
}

#[test]
fn the_configuration_is_shown_with_its_origins() {
    let dir = tempfile::tempdir().unwrap();
    let file = write(&dir, "okra.toml", "max_inflight = 5\n");
    let show = |args: &[&str]| {
        let mut command = command(&["config", "show", "--config", text(&file), "--drain-grace", "5s"]);
        let output = command.args(args).env("OKRA_QUEUE_CAPACITY", "7").output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let shown = show(&["--origin"]);
    for (line, origin) in [
        ("max_inflight = 5", "okra.toml:1:16"),
        ("queue_capacity = 7", "OKRA_QUEUE_CAPACITY"),
        ("grace = \"5s\"", "--drain-grace"),
    ] {
        assert!(shown.lines().any(|l| l.starts_with(line) && l.ends_with(origin)), "{line}: {shown}");
    }
    let document: Value = serde_json::from_str(&show(&["--json"])).unwrap();
    let grace = document["settings"].as_array().unwrap().iter().find(|s| s["key"] == "drain.grace").unwrap();
    assert_eq!(
        (&grace["value"], &grace["default"], &grace["origin"]),
        (&json!("5s"), &json!("30s"), &json!("--drain-grace"))
    );
}

#[test]
fn completions_exist_for_four_shells() {
    for (shell, mark) in [
        ("bash", "complete -F"),
        ("zsh", "#compdef okra"),
        ("fish", "complete -c okra"),
        ("elvish", "edit:completion"),
    ] {
        okra(&["completions", shell]).exits(0).says(mark);
        assert_eq!(okra(&["completions", shell, "--json"]).exits(0).document()["shell"], shell);
    }
}

// === graphs, without a host ===

#[test]
fn documents_are_checked_without_a_host() {
    let dir = tempfile::tempdir().unwrap();
    let good = write(&dir, "good.json", &graph("good", "1.0.0", 0));
    okra(&["graph", "check", text(&good)]).exits(0).says("good@1.0.0#");
    let bad = write(&dir, "bad.json", &graph("bad", "1.0.0", 0).replace("\"delay\"", "\"dealy\""));
    okra(&["graph", "check", text(&good), text(&bad)]).exits(3).says("did you mean");
    okra(&["graph", "check", "/nonexistent.json"]).exits(4);

    let document = okra(&["graph", "check", "--json", text(dir.path())]).exits(3).document();
    assert_eq!((&document["valid"], &document["documents"][0]["valid"]), (&json!(false), &json!(false)));
    assert_eq!(document["documents"][0]["errors"][0]["code"], "unknown-kernel");
    assert_eq!(document["documents"][1]["graph"].as_str().unwrap().split('#').next(), Some("good@1.0.0"));

    okra(&["serve", "--check", "--graphs", text(&good)]).exits(0);
    okra(&["serve", "--check", "--graphs", text(dir.path())]).exits(3);
    okra(&["serve", "--check", "--graphs", "/nonexistent"]).exits(4);
    okra(&["serve", "--graphs", "/nonexistent"]).exits(4).says("graphs: cannot read /nonexistent");
}

#[test]
fn plans_are_explained_without_a_host() {
    let dir = tempfile::tempdir().unwrap();
    let good = write(&dir, "good.json", &graph("good", "1.0.0", 0));
    for (format, mark) in
        [("text", "wait"), ("json", "\"critical_path\""), ("mermaid", "flowchart"), ("svg", "<svg")]
    {
        okra(&["graph", "explain", text(&good), "--format", format]).exits(0).says(mark);
    }
    assert_eq!(okra(&["graph", "explain", text(&good), "--json"]).exits(0).document()["graph"], "good");
    let bad = write(&dir, "bad.json", "{");
    okra(&["graph", "explain", text(&bad)]).exits(3);
    assert!(okra(&["graph", "schema"]).exits(0).document()["properties"]["nodes"].is_object());
}

// === calls ===

const PROTO: &str = r#"
    syntax = "proto3";
    package test;
    import "test/word.proto";
    service Echo { rpc Say(Said) returns (Said); rpc Stream(Said) returns (stream Said); }
    message Said { string text = 1; int64 count = 2; Word word = 3; }
"#;

const IMPORTED: &str = r#"
    syntax = "proto3";
    package test;
    message Word { repeated string letters = 1; }
"#;

struct Protos;

impl FileResolver for Protos {
    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        match name {
            "test/echo.proto" => File::from_source(name, PROTO),
            "test/word.proto" => File::from_source(name, IMPORTED),
            _ => Err(protox::Error::file_not_found(name)),
        }
    }
}

fn descriptors() -> Vec<u8> {
    let mut files = ChainFileResolver::new();
    files.add(Protos);
    files.add(GoogleFileResolver::new());
    let mut compiler = protox::Compiler::with_file_resolver(files);
    compiler.include_imports(true).open_file("test/echo.proto").unwrap();
    compiler.encode_file_descriptor_set()
}

/// Which version of reflection a server speaks.
#[derive(Clone, Copy)]
enum Reflection {
    None,
    V1,
    V1Alpha,
}

/// A host of one graph, in this process.
fn host(document: &str, reflection: Reflection) -> Server {
    let (store, _) =
        PlanStore::open(StoreOptions::in_memory(kernels::builtin(), kernels::serve_env())).unwrap();
    let source = GraphSource { origin: "test".into(), stem: None, text: document.to_owned().into() };
    let staged = store.stage(&source, false).unwrap();
    store.publish(&staged.graph, &staged.release.version).unwrap();
    let host = ServeHost::new(Arc::new(store), HostConfig::default()).unwrap();
    let builder = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(Box::leak(descriptors().into_boxed_slice()))
    };
    let claims = ["/grpc.reflection."];
    let fallback = match reflection {
        Reflection::None => None,
        Reflection::V1 => Some(Fallback::new(builder().build_v1().unwrap()).claiming(claims)),
        Reflection::V1Alpha => Some(Fallback::new(builder().build_v1alpha().unwrap()).claiming(claims)),
    };
    let address = SocketAddr::from(([127, 0, 0, 1], 0));
    let config = ServerConfig {
        address,
        threads: std::num::NonZeroUsize::MIN,
        fallback,
        transport: serve_host::TransportKind::default(),
    };
    Server::bind(config, GrpcService::new(Arc::new(host), TransportLimits::default())).unwrap()
}

/// A graph that answers every call with this status.
fn refusal(code: &str) -> String {
    json!({
        "name": "refusal", "version": "1.0.0", "serves": ["test.Echo"],
        "nodes": [{"id": "out", "kernel": "rpc_server_output", "inputs": ["call", "status", "message"], "outputs": []}],
        "bindings": [
            {"to": "out.call", "from": "$req.rpc.call"},
            {"to": "out.status", "from": code},
            {"to": "out.message", "from": "as the graph says"},
        ],
    })
    .to_string()
}

#[test]
fn a_call_speaks_json_by_reflection_of_either_version() {
    for reflection in [Reflection::V1, Reflection::V1Alpha] {
        let server = host(&graph("echo", "1.0.0", 0), reflection);
        let address = server.local_addr().to_string();
        let said = r#"{"text": "hi", "count": "7", "word": {"letters": ["h", "i"]}}"#;
        let ended = okra(&["call", &address, "test.Echo/Say", "-d", said]).exits(0);
        assert_eq!(ended.document(), serde_json::from_str::<Value>(said).unwrap());
        okra(&["call", &address, "test.Echo/Shout", "-d", said]).exits(4).says("known are: Say, Stream");
        okra(&["call", &address, "test.Nobody/Say", "-d", said]).exits(4);
        okra(&["call", &address, "test.Echo/Stream", "-d", said]).exits(2).says("streaming");
        okra(&["call", &address, "test.Echo/Say", "-d", r#"{"txt": "hi"}"#]).exits(3).says("txt");
    }
}

#[test]
fn a_call_takes_its_schema_from_a_file_and_its_data_from_anywhere() {
    let server = host(&graph("echo", "1.0.0", 0), Reflection::None);
    let address = server.local_addr().to_string();
    let dir = tempfile::tempdir().unwrap();
    let set = dir.path().join("echo.binpb");
    std::fs::write(&set, descriptors()).unwrap();
    let data = write(&dir, "data.json", r#"{"text": "from a file"}"#);
    let call = |extra: &[&str]| {
        let args = ["call", &address, "test.Echo/Say", "--json", "-H", "x-id: 7"];
        command(&[&args[..], extra].concat())
    };
    let run =
        |extra: &[&str]| -> Value { serde_json::from_slice(&call(extra).output().unwrap().stdout).unwrap() };
    let answer = run(&["--descriptor", text(&set), "-d", &format!("@{}", text(&data))]);
    assert_eq!(answer["message"], json!({"text": "from a file"}));
    assert_eq!(answer["status"], json!({"code": "OK", "number": 0, "message": ""}));
    assert_eq!(answer["trailers"]["grpc-status"], json!(["0"]));

    let mut piped = call(&["--raw", "-d", "-"]).stdin(Stdio::piped()).spawn().unwrap();
    piped.stdin.take().unwrap().write_all(b"\x01\x02").unwrap();
    let answer: Value = serde_json::from_slice(&piped.wait_with_output().unwrap().stdout).unwrap();
    assert_eq!(answer["message_base64"], "AQI=");

    okra(&["call", &address, "test.Echo/Say", "-d", "{}"]).exits(4).says("--descriptor");
    okra(&["call", &address, "test.Echo/Say", "-d", "@/nonexistent", "--raw"]).exits(4);
}

#[test]
fn the_status_of_a_call_is_its_exit_code() {
    for (code, exit) in
        [("NOT_FOUND", 4), ("INVALID_ARGUMENT", 3), ("ABORTED", 5), ("UNAVAILABLE", 6), ("INTERNAL", 1)]
    {
        let server = host(&refusal(code), Reflection::None);
        let address = server.local_addr().to_string();
        okra(&["call", &address, "test.Echo/Say", "--raw"]).exits(exit).says("as the graph says");
        let ended = okra(&["call", &address, "test.Echo/Say", "--raw", "--json"]).exits(exit);
        assert_eq!(ended.document()["status"]["code"], code);
    }
}

#[test]
fn a_call_that_gets_no_answer_exits_6() {
    okra(&["call", "127.0.0.1:1", "test.Echo/Say", "--raw"]).exits(6).says("Connection refused");
    let server = host(&graph("slow", "1.0.0", 5_000), Reflection::None);
    let address = server.local_addr().to_string();
    let begun = Instant::now();
    okra(&["call", &address, "test.Echo/Say", "--raw", "--timeout", "200ms"]).exits(6);
    assert!(begun.elapsed() < Duration::from_secs(4));
}

// === a host ===

/// A running `okra serve`. Dropping it kills it.
struct Served {
    process: Child,
    service: String,
    admin: String,
}

impl Served {
    fn start(args: &[&str]) -> Self {
        let fixed = ["serve", "--json", "--host", "127.0.0.1", "--service-port", "0", "--admin-port", "0"];
        let mut process = command(&[&fixed[..], args].concat()).spawn().unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut document = String::new();
        let announced = loop {
            document.push_str(&lines.next().expect("it announces its ports").unwrap());
            if let Ok(announced) = serde_json::from_str::<Value>(&document) {
                break announced;
            }
        };
        let address = |key: &str| announced[key].as_str().unwrap().to_owned();
        Self { service: address("service"), admin: address("admin"), process }
    }

    fn signal(&self, name: &str) {
        let status =
            Command::new("kill").args([&format!("-{name}"), &self.process.id().to_string()]).status();
        assert!(status.unwrap().success());
    }

    fn ended(&mut self) -> ExitStatus {
        let give_up = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.process.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < give_up, "still running");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// A command that talks to its control plane.
    fn ask(&self, args: &[&str]) -> Ended {
        okra(&[args, &["--admin", &self.admin, "--json"]].concat())
    }

    /// A call that is under way when this returns.
    fn begin_call(&self) -> Child {
        let before = self.in_flight();
        let child = command(&["call", &self.service, "test.Echo/Say", "--raw", "-d", "x"]).spawn().unwrap();
        let give_up = Instant::now() + PATIENCE;
        while self.in_flight() == before {
            assert!(Instant::now() < give_up, "the call does not arrive");
            std::thread::sleep(Duration::from_millis(10));
        }
        child
    }

    fn in_flight(&self) -> u64 {
        self.ask(&["stats"]).exits(0).document()["in_flight"].as_u64().unwrap()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn graphs_are_published_rolled_back_and_listed_on_a_host() {
    let dir = tempfile::tempdir().unwrap();
    let one = write(&dir, "one.json", &graph("echo", "1.0.0", 0));
    let two = write(&dir, "two.json", &graph("echo", "2.0.0", 0));
    let other = write(&dir, "other.json", &graph("echo", "2.0.0", 1));
    let bad = write(&dir, "bad.json", "{");
    let served = Served::start(&[]);
    let publish =
        |path: &Path, extra: &[&str]| served.ask(&[&["graph", "publish", text(path)], extra].concat());

    assert_eq!(publish(&one, &["--stage-only"]).exits(0).document()["receipt"], Value::Null);
    assert_eq!(publish(&one, &[]).exits(0).document()["receipt"]["to"]["version"], "1.0.0");
    assert_eq!(publish(&two, &[]).exits(0).document()["receipt"]["from"]["version"], "1.0.0");
    publish(&other, &[]).exits(5).says("--force");
    publish(&other, &["--force"]).exits(0);
    publish(&bad, &[]).exits(3).says("1:2");
    let graphs = served.ask(&["graph", "list"]).exits(0).document();
    assert_eq!(graphs["graphs"][0]["serving"]["version"], "2.0.0");
    okra(&["call", &served.service, "test.Echo/Say", "--raw", "-d", "hello"]).exits(0).says("hello");
    assert_eq!(served.ask(&["graph", "rollback", "echo"]).exits(0).document()["cause"], "rollback");
    served.ask(&["graph", "rollback", "nothing"]).exits(4);
    assert_eq!(served.ask(&["stats"]).exits(0).document()["completed"], 1);
    okra(&["stats", "--admin", "127.0.0.1:1"]).exits(6).says("okra serve");
    let listed = okra(&["graph", "list", "--admin", &served.admin]).exits(0);
    assert!(listed.stdout.starts_with("GRAPH") && listed.stdout.contains("echo"), "{listed:?}");
}

#[test]
fn a_host_with_a_token_asks_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let token = write(&dir, "token", "0123456789abcdef0123456789abcdef\n");
    let served = Served::start(&["--admin-token-file", text(&token)]);
    served.ask(&["graph", "list"]).exits(1).says("--token-file");
    served.ask(&["graph", "list", "--token-file", text(&token)]).exits(0);
}

#[test]
fn a_signal_drains_and_calls_in_flight_finish() {
    let dir = tempfile::tempdir().unwrap();
    let file = write(&dir, "echo.json", &graph("echo", "1.0.0", 700));
    for signal in ["TERM", "INT"] {
        let mut served = Served::start(&["--graphs", text(&file)]);
        let call = served.begin_call();
        served.signal(signal);
        let answer = call.wait_with_output().unwrap();
        assert_eq!((answer.status.code(), &answer.stdout[..]), (Some(0), &b"x"[..]), "{answer:?}");
        assert_eq!(served.ended().code(), Some(0));
    }
}

#[test]
fn a_drain_that_runs_out_of_time_exits_7_and_a_second_signal_130() {
    let dir = tempfile::tempdir().unwrap();
    let file = write(&dir, "echo.json", &graph("echo", "1.0.0", 30_000));
    let mut served = Served::start(&["--graphs", text(&file), "--drain-grace", "300ms"]);
    let call = served.begin_call();
    served.signal("TERM");
    assert_eq!(served.ended().code(), Some(7));
    assert_ne!(call.wait_with_output().unwrap().status.code(), Some(0));

    let mut served = Served::start(&["--graphs", text(&file)]);
    let call = served.begin_call();
    served.signal("TERM");
    std::thread::sleep(Duration::from_millis(200));
    served.signal("TERM");
    assert_eq!(served.ended().code(), Some(130));
    assert_ne!(call.wait_with_output().unwrap().status.code(), Some(0));
}

#[test]
fn a_lame_duck_says_so_and_goes_on_serving() {
    let dir = tempfile::tempdir().unwrap();
    let file = write(&dir, "echo.json", &graph("echo", "1.0.0", 0));
    let mut served = Served::start(&["--graphs", text(&file), "--drain-lame-duck", "1s"]);
    served.signal("TERM");
    std::thread::sleep(Duration::from_millis(200));
    okra(&["call", &served.service, "test.Echo/Say", "--raw", "-d", "still"]).exits(0).says("still");
    assert_eq!(served.ended().code(), Some(0));
}

#[test]
fn a_host_that_cannot_begin_says_why() {
    let served = Served::start(&[]);
    let port = served.service.rsplit(':').next().unwrap().to_owned();
    let fixed = ["serve", "--host", "127.0.0.1", "--admin-port", "0", "--service-port"];
    okra(&[&fixed[..], &[&port]].concat()).exits(1).says("cannot bind the service port");

    let dir = tempfile::tempdir().unwrap();
    let _first = Served::start(&["--data-dir", text(dir.path())]);
    let fixed = ["serve", "--host", "127.0.0.1", "--admin-port", "0", "--service-port", "0", "--data-dir"];
    okra(&[&fixed[..], &[text(dir.path())]].concat()).exits(5).says("in use by another process");
}
