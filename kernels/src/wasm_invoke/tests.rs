use std::time::{Duration, Instant};

use exec_plan::{ExecPlan, Executor, GraphResolver, GraphSource, HeldPlan, KernelRegistry};
use kernels_wasm::{Abi, Engine, EngineOptions, GuestFault, GuestStatus, Limits, LoadOptions, Payload};
use prost::Message as _;
use prost_types::field_descriptor_proto::{Label, Type as FieldType};
use prost_types::{
    DescriptorProto, FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet, MethodDescriptorProto,
    ServiceDescriptorProto,
};
use proto_json::Schema;
use serde_json::json;

use super::*;
use crate::registry::builtin_with;
use crate::testing::{bind, call, problems, run_with, text};
use crate::{Answer, RpcServerCall};

/// A guest whose `handle_request` is this text, after the functions of the echo guest.
fn module(imports: &str, data: &str, body: &str) -> Vec<u8> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../guests/echo/echo.wat");
    let echo = std::fs::read_to_string(path).unwrap();
    let (head, _) = echo.split_once("  (func (export \"handle_request\")").unwrap();
    let head = head.replacen("  (memory", &format!("{imports}  (memory"), 1);
    let text = format!(
        "{head} {data} (func (export \"handle_request\") (param i32 i32) (param $input i32) (param $len i32)
           (result i64) (local $out i32) (local $reply i64) (local $size i32) {body}))"
    );
    wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

fn echo() -> Vec<u8> {
    wat::parse_file(concat!(env!("CARGO_MANIFEST_DIR"), "/../guests/echo/echo.wat")).unwrap()
}

/// Calls `service` with `{"text": "hi"}` and answers with a message whose `text` is the reply.
fn forwarder(service: &str) -> Vec<u8> {
    let request = format!(r#"{{"service":"{service}","method":"Say","payload":{{"text":"hi"}}}}"#);
    let escaped = request.replace('"', "\\\"");
    let len = request.len();
    module(
        "(import \"okra\" \"call_service\" (func $call (param i32 i32) (result i64)))",
        &format!("(data (i32.const 16) \"{escaped}\")"),
        &format!(
            "(local.set $reply (call $call (i32.const 16) (i32.const {len})))
             (local.set $size (i32.wrap_i64 (local.get $reply)))
             (local.set $out (call $allocate (i32.add (local.get $size) (i32.const 3))))
             (i32.store8 (local.get $out) (i32.const 10))
             (i32.store8 offset=1 (local.get $out) (i32.or (local.get $size) (i32.const 128)))
             (i32.store8 offset=2 (local.get $out) (i32.shr_u (local.get $size) (i32.const 7)))
             (memory.copy (i32.add (local.get $out) (i32.const 3))
               (i32.wrap_i64 (i64.shr_u (local.get $reply) (i64.const 32))) (local.get $size))
             (call $deallocate (i32.wrap_i64 (i64.shr_u (local.get $reply) (i64.const 32))))
             (i64.or (i64.shl (i64.extend_i32_u (local.get $out)) (i64.const 32))
               (i64.extend_i32_u (i32.add (local.get $size) (i32.const 3))))"
        ),
    )
}

/// The schema of `route`: `Say` takes and gives a message with a `text`.
fn schema(route: &str) -> Schema {
    let (package, name) = route.rsplit_once('.').unwrap();
    let field = FieldDescriptorProto {
        name: Some("text".into()),
        number: Some(1),
        label: Some(Label::Optional.into()),
        r#type: Some(FieldType::String.into()),
        ..FieldDescriptorProto::default()
    };
    let message =
        DescriptorProto { name: Some("Text".into()), field: vec![field], ..DescriptorProto::default() };
    let kind = Some(format!(".{package}.Text"));
    let method = MethodDescriptorProto {
        name: Some("Say".into()),
        input_type: kind.clone(),
        output_type: kind,
        ..MethodDescriptorProto::default()
    };
    let file = FileDescriptorProto {
        name: Some("t.proto".into()),
        package: Some(package.into()),
        syntax: Some("proto3".into()),
        message_type: vec![message],
        service: vec![ServiceDescriptorProto {
            name: Some(name.into()),
            method: vec![method],
            ..ServiceDescriptorProto::default()
        }],
        ..FileDescriptorProto::default()
    };
    Schema::parse(FileDescriptorSet { file: vec![file] }.encode_to_vec()).unwrap()
}

/// Services, and the graphs that answer for them: what a host has after some deploys.
struct World {
    services: Services,
    engine: Engine,
    plans: Vec<(String, Arc<ExecPlan>)>,
}

impl World {
    fn new() -> Self {
        let engine = Engine::new(EngineOptions { max_instances: 32, ..EngineOptions::default() }).unwrap();
        Self { services: Services::new(), engine, plans: Vec::new() }
    }

    async fn deploy(&mut self, route: &str, wasm: Vec<u8>, abi: Abi, calls: &[&str]) {
        let limits = Limits { max_instances: std::num::NonZeroU32::MIN, ..Limits::default() };
        let id: Arc<str> = format!("{route}.v1").into();
        let guest = self.engine.load(wasm, LoadOptions { name: id.clone(), abi, limits }).await.unwrap();
        self.services.insert(Service {
            id,
            route: route.into(),
            digest: "d".into(),
            schema: schema(route),
            guest,
            calls: calls.iter().map(|name| Arc::from(*name)).collect(),
        });
        let graph = json!({
            "name": route, "version": "1.0.0", "serves": [route],
            "nodes": [
                { "id": "guest", "kernel": "wasm_invoke", "params": { "service": format!("{route}.v1"), "digest": "d" },
                  "inputs": ["payload"], "outputs": ["payload"] },
                { "id": "out", "kernel": "rpc_server_output", "inputs": ["call", "payload"] } ],
            "bindings": [
                { "to": "guest.payload", "from": "$req.rpc.payload" },
                { "to": "out.call", "from": "$req.rpc.call" },
                { "to": "out.payload", "from": "guest.payload" } ]
        });
        let source = GraphSource { origin: route.into(), stem: None, text: graph.to_string().into() };
        let kernels: KernelRegistry = builtin_with(&self.services);
        let plan = ExecPlan::compile(&source, &kernels, &serve_env());
        let plan = plan.unwrap_or_else(|errors| panic!("{errors}"));
        self.plans.push((route.to_owned(), Arc::new(plan)));
    }

    /// What a client of a route gets for a message with this text: the text of the answer, or the failure.
    async fn ask(self: &Arc<Self>, route: &str, given: &str, deadline: Option<Instant>) -> String {
        let mut payload = vec![10, u8::try_from(given.len()).unwrap()];
        payload.extend(given.as_bytes());
        let envelope = crate::RequestEnvelope {
            method: format!("/{route}/Say").into(),
            payload: payload.into(),
            ..call().envelope().clone()
        };
        let call = Arc::new(RpcServerCall::new(envelope));
        let cx = RequestContext::new(call.clone()).with_deadline(deadline).with_graphs(self.clone());
        let (_, plan) = self.plans.iter().find(|(name, _)| name == route).unwrap();
        let cx = Arc::new(cx);
        let answer = match Executor::drive(plan, &cx, cx.offload()).await {
            Ok(_) => call.take_answer().unwrap(),
            Err(error) => Answer::from(&error.fault),
        };
        match answer.code {
            Code::Ok => {
                let mut json = Vec::new();
                let method = schema(route).service(route).unwrap().method("Say").unwrap();
                method.output.proto_to_json(&answer.payload, Default::default(), &mut json).unwrap();
                let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
                json["text"].as_str().unwrap_or_default().to_owned()
            }
            code => format!("{code}: {}", answer.message),
        }
    }
}

impl GraphResolver for World {
    fn plan(&self, name: &str) -> Option<HeldPlan> {
        let (_, plan) = self.plans.iter().find(|(route, _)| route == name)?;
        Some(HeldPlan::Owned(plan.clone()))
    }
}

const PROTOBUF: Abi = Abi { payload: Payload::Protobuf, envelope: false };

#[tokio::test]
async fn a_guest_is_called_by_digest_or_by_what_is_deployed() {
    let mut world = World::new();
    world.deploy("demo.Echo", echo(), PROTOBUF, &[]).await;
    let kernel = WasmInvoke::new(world.services.clone());
    for params in [
        json!({ "service": "demo.Echo.v1" }),
        json!({ "service": "demo.Echo.v1", "digest": "d", "isolation": "fresh", "method": "/demo.Echo/Say" }),
    ] {
        let node = bind(&kernel, &json!({ "params": params })).unwrap();
        let cx = RequestContext::new(call());
        let said = run_with(&node, [("payload", text("hello"))], &cx).await.unwrap();
        assert_eq!(said, "payload=bytes(5) headers=metadata(0) trailers=metadata(0)");
    }
    let node = bind(&kernel, &json!({ "params": { "service": "demo.Echo.v1" } })).unwrap();
    assert!(world.services.remove("demo.Echo.v1", "d"));
    let cx = RequestContext::new(call());
    let gone = run_with(&node, [("payload", text("hello"))], &cx).await.unwrap_err();
    assert_eq!(gone.to_string(), "FAILED_PRECONDITION: service demo.Echo.v1 is not deployed here");
}

#[test]
fn a_package_that_is_not_loaded_is_refused_by_the_compiler() {
    let kernel = WasmInvoke::default();
    let found = problems(&kernel, &json!({ "params": { "service": "a.B.v1", "digest": "00" } }));
    assert_eq!(found, "/digest: no package of a.B.v1 with this digest is loaded here");
    assert!(problems(&kernel, &json!({ "params": {} })).contains("service"));
}

#[tokio::test]
async fn an_envelope_brings_metadata_and_a_status() {
    let answers = |bytes: &[u8]| {
        let data: String = bytes.iter().map(|byte| format!("\\{byte:02x}")).collect();
        let len = bytes.len();
        let body = format!(
            "(local.set $out (call $allocate (i32.const {len})))
             (memory.copy (local.get $out) (i32.const 16) (i32.const {len}))
             (i64.or (i64.shl (i64.extend_i32_u (local.get $out)) (i64.const 32)) (i64.const {len}))"
        );
        module("", &format!("(data (i32.const 16) \"{data}\")"), &body)
    };
    let abi = Abi { envelope: true, ..PROTOBUF };
    for (bytes, expected) in [
        (
            &b"\x0a\x02ok\x2a\x06\x0a\x01h\x12\x01v\x32\x06\x0a\x01t\x12\x01v"[..],
            "payload=bytes(2) headers=metadata(1) trailers=metadata(1)",
        ),
        (b"\x10\x05\x1a\x04gone\x32\x06\x0a\x01t\x12\x01v", "NOT_FOUND: gone"),
        (b"\x10\x63\x1a\x04gone", "UNKNOWN: gone"),
        (b"\x2a\x06\x0a\x01H\x12\x01v", "INTERNAL: the service gave metadata with an invalid name"),
        (b"\xff", "INTERNAL: the service gave a result that is no okra.guest.v1.Response"),
    ] {
        let mut world = World::new();
        world.deploy("demo.E", answers(bytes), abi, &[]).await;
        let kernel = WasmInvoke::new(world.services.clone());
        let node = bind(&kernel, &json!({ "params": { "service": "demo.E.v1" } })).unwrap();
        let cx = RequestContext::new(call());
        let said = run_with(&node, [("payload", text("x"))], &cx).await;
        let told = said.unwrap_or_else(|fault| {
            assert_eq!(fault.metadata().is_some(), fault.code() == Code::NotFound);
            fault.to_string()
        });
        assert_eq!(told, expected);
    }
}

#[test]
fn every_fault_of_a_guest_has_its_code() {
    let status = |code| GuestFault::GuestStatus(Box::new(GuestStatus { code, ..GuestStatus::default() }));
    let why = String::new;
    for (fault, expected) in [
        (GuestFault::Busy, Code::ResourceExhausted),
        (GuestFault::Deadline, Code::DeadlineExceeded),
        (GuestFault::Exited(0), Code::Internal),
        (GuestFault::Guest(why()), Code::Unknown),
        (GuestFault::GuestSilent, Code::Unknown),
        (status(9), Code::FailedPrecondition),
        (status(-1), Code::Unknown),
        (status(99), Code::Unknown),
        (GuestFault::HostCalls { limit: 1 }, Code::ResourceExhausted),
        (GuestFault::InputRefused, Code::ResourceExhausted),
        (GuestFault::MemoryLimit { limit: 1 }, Code::ResourceExhausted),
        (GuestFault::Malformed("m"), Code::Internal),
        (GuestFault::NoRuntime, Code::Internal),
        (GuestFault::ResultTooLarge { limit: 1 }, Code::Internal),
        (GuestFault::StackOverflow, Code::ResourceExhausted),
        (GuestFault::Starting { why: why(), retry_in: Duration::ZERO }, Code::Unavailable),
        (GuestFault::TableLimit { limit: 1 }, Code::ResourceExhausted),
        (GuestFault::Trapped { what: why() }, Code::Internal),
        (GuestFault::UnknownMethod(why()), Code::Unimplemented),
    ] {
        assert_eq!(status::code(&fault), expected, "{fault:?}");
    }
}

#[tokio::test]
async fn a_service_calls_another_through_its_graph() {
    let mut world = World::new();
    for (route, wasm, calls) in [
        ("demo.Echo", echo(), &[][..]),
        ("demo.ById", forwarder("demo.Echo.v1"), &["demo.Echo.v1"]),
        ("demo.ByRoute", forwarder("demo.Echo"), &["demo.*"]),
        ("demo.Nobody", forwarder("demo.Gone"), &["*"]),
        ("demo.Stranger", forwarder("demo.Echo"), &["other.*", "demo.Ech"]),
    ] {
        world.deploy(route, wasm, PROTOBUF, calls).await;
    }
    let world = Arc::new(world);
    let echoed = r#"{"success":true,"data":{"text":"hi"}}"#;
    assert_eq!(world.ask("demo.ById", "?", None).await, echoed);
    assert_eq!(world.ask("demo.ByRoute", "?", None).await, echoed);
    let nobody = world.ask("demo.Nobody", "?", None).await;
    assert!(nobody.contains("SERVICE_NOT_FOUND"), "{nobody}");
    let stranger = world.ask("demo.Stranger", "?", None).await;
    assert!(stranger.contains("UNAUTHORIZED"), "{stranger}");
}

#[tokio::test]
async fn services_that_call_each_other_end_at_the_depth_limit() {
    let mut world = World::new();
    world.deploy("demo.A", forwarder("demo.B"), PROTOBUF, &["*"]).await;
    world.deploy("demo.B", forwarder("demo.A.v1"), PROTOBUF, &["*"]).await;
    let world = Arc::new(world);
    let said = world.ask("demo.A", "?", None).await;
    assert!(said.contains("services call each other deeper than 8"), "{said}");
    // One instance each, and nobody waited for himself.
    let stats = world.services.list().iter().map(|s| s.guest.stats()).collect::<Vec<_>>();
    assert_eq!(stats.iter().map(|s| (s.completed, s.live)).collect::<Vec<_>>(), [(5, 1), (4, 1)]);
}

#[tokio::test]
async fn the_deadline_reaches_the_guest_that_is_called() {
    let mut world = World::new();
    let endless = module("", "", "(loop $l (br $l)) (unreachable)");
    world.deploy("demo.Loop", endless, PROTOBUF, &[]).await;
    world.deploy("demo.Caller", forwarder("demo.Loop"), PROTOBUF, &["*"]).await;
    let world = Arc::new(world);
    let begun = Instant::now();
    let said = world.ask("demo.Caller", "?", Some(begun + Duration::from_millis(100))).await;
    // Either the caller is told in time to pass it on, or its own time is up as well.
    assert!(said.contains("DEADLINE_EXCEEDED"), "{said}");
    assert!(begun.elapsed() < Duration::from_secs(2));
    for service in world.services.list() {
        let stats = service.guest.stats();
        assert_eq!((stats.running, stats.live), (0, stats.idle), "{}: {stats:?}", service.id);
    }
}
