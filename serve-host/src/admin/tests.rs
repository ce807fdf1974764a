use std::collections::BTreeSet;

use axum::body::Body;
use axum::http::{HeaderMap, Method, Request};
use exec_plan::StoreOptions;
use http_body_util::BodyExt;
use kernels_wasm::{Engine, EngineOptions};
use serde_json::{Value, json};
use tower::ServiceExt;

use super::*;
use crate::config::{ByteSize, Config};
use crate::deploy::{DeployParts, LoadedPackages};
use crate::metrics::MetricsSources;
use crate::schemas::Schemas;
use crate::stats::Stats;

/// A control plane over a store in memory.
struct Plane {
    routes: Router,
    store: Arc<PlanStore>,
    readiness: Readiness,
    documented: Value,
}

/// An answer of the control plane.
struct Answer {
    status: u16,
    headers: HeaderMap,
    body: String,
}

/// A document that answers every call with a constant.
fn graph(name: &str, version: &str, says: &str) -> String {
    json!({
        "name": name,
        "version": version,
        "serves": [format!("test.{name}")],
        "nodes": [{"id": "out", "kernel": "rpc_server_output", "inputs": ["call", "payload"], "outputs": []}],
        "bindings": [
            {"to": "out.call", "from": "$req.rpc.call"},
            {"to": "out.payload", "from": says},
        ],
    })
    .to_string()
}

/// A deployer of a host that keeps nothing.
fn deployer(store: Arc<PlanStore>) -> Deployer {
    let options = EngineOptions { overrun_slots: 1, max_instances: 4, cache: None, compiler: None };
    let parts = DeployParts {
        services: kernels::Services::new(),
        schemas: Schemas::default(),
        engine: Engine::new(options).unwrap(),
    };
    let loading = LoadedPackages::load(Config::default().deploy(), parts, None);
    futures_util::FutureExt::now_or_never(loading).unwrap().unwrap().start(store).0
}

impl Plane {
    fn new() -> Self {
        Self::with(config::Admin::default(), None)
    }

    fn with(limits: config::Admin, token: Option<AdminToken>) -> Self {
        let options = StoreOptions::in_memory(kernels::builtin(), kernels::serve_env());
        let (store, _) = PlanStore::open(options).unwrap();
        let store = Arc::new(store);
        let counters = Arc::new(Stats::new());
        let stats: StatsSource = Arc::new(move || counters.snapshot());
        let readiness = Readiness::default();
        let metrics = Metrics::new(MetricsSources {
            stats: stats.clone(),
            store: store.clone(),
            readiness: readiness.clone(),
            config: &Config::default(),
            dropped_log_lines: Arc::default(),
        });
        let plane = ControlPlane {
            store: store.clone(),
            deployer: deployer(store.clone()),
            stats,
            metrics: Arc::new(metrics),
            readiness: readiness.clone(),
            token,
            limits,
        };
        let documented = serde_json::from_str(&ControlPlane::openapi()).unwrap();
        Self { routes: plane.into_router(), store, readiness, documented }
    }

    /// Sends a request, and checks that its status is documented for its route.
    async fn send(&self, method: Method, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut request = Request::builder().method(method.clone()).uri(path).header("host", "localhost");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::from(body.to_owned())).unwrap();
        let response = self.routes.clone().oneshot(request).await.unwrap();
        let (head, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let answer = Answer {
            status: head.status.as_u16(),
            headers: head.headers,
            body: String::from_utf8(body.to_vec()).unwrap(),
        };
        self.check_documented(&method, path, &answer);
        answer
    }

    async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, &[], "").await
    }

    async fn post(&self, path: &str, body: &str) -> Answer {
        self.send(Method::POST, path, &[("content-type", "application/json")], body).await
    }

    fn check_documented(&self, method: &Method, path: &str, answer: &Answer) {
        let path = path.split('?').next().unwrap();
        let operation = self.documented["paths"].as_object().unwrap().iter().find_map(|(template, item)| {
            let fits = template.split('/').count() == path.split('/').count()
                && template.split('/').zip(path.split('/')).all(|(t, p)| t.starts_with('{') || t == p);
            fits.then(|| &item[method.as_str().to_lowercase()])
        });
        if let Some(operation) = operation.filter(|operation| !operation.is_null()) {
            let status = answer.status.to_string();
            assert!(
                !operation["responses"][&status].is_null(),
                "{method} {path} answers {status}: {}",
                answer.body
            );
        }
    }
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }

    /// Checks that it is a problem of this status, and gives it.
    fn problem(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.body);
        assert_eq!(self.header("content-type"), "application/problem+json");
        let problem = self.json();
        assert_eq!(problem["status"], status);
        assert_eq!(problem["error"], problem["detail"]);
        for key in ["type", "title", "detail"] {
            assert!(problem[key].as_str().is_some_and(|text| !text.is_empty()), "{key} of {problem}");
        }
        problem
    }
}

#[tokio::test]
async fn a_graph_goes_from_its_document_to_serving_and_back() {
    let plane = Plane::new();
    let staged = plane.post("/api/v1/graphs", &graph("shop", "1.0.0", "one")).await;
    assert_eq!((staged.status, staged.header("location")), (201, "/api/v1/graphs/shop"));
    assert_eq!(staged.json()["receipt"], Value::Null);
    assert!(plane.store.resolve_service("test.shop").is_none());

    let published = plane.post("/api/v1/graphs/shop/publish", r#"{"version": "1.0.0"}"#).await;
    assert_eq!((published.status, &published.json()["to"]["version"]), (200, &json!("1.0.0")));
    assert!(plane.store.resolve_service("test.shop").is_some());

    let second = plane.post("/api/v1/graphs?publish=true", &graph("shop", "1.1.0", "two")).await;
    assert_eq!(second.json()["receipt"]["from"]["version"], "1.0.0");
    let shown = plane.get("/api/v1/graphs/shop").await.json();
    assert_eq!(
        (&shown["active"]["version"], &shown["previous"]["version"]),
        (&json!("1.1.0"), &json!("1.0.0"))
    );
    assert_eq!(
        (shown["versions"].as_array().unwrap().len(), shown["receipts"].as_array().unwrap().len()),
        (2, 2)
    );

    let back = plane.post("/api/v1/graphs/shop/rollback", "").await;
    assert_eq!((&back.json()["cause"], &back.json()["to"]["version"]), (&json!("rollback"), &json!("1.0.0")));

    assert_eq!(plane.post("/api/v1/graphs/shop/pin", r#"{"version": "1.0.0"}"#).await.json()["cause"], "pin");
    let listed = plane.get("/api/v1/graphs").await.json();
    assert_eq!(listed["graphs"][0]["pinned"]["version"], "1.0.0");
    assert_eq!(plane.post("/api/v1/graphs/shop/pin", r#"{"version": null}"#).await.json()["cause"], "unpin");

    assert_eq!(plane.post("/api/v1/graphs/shop/withdraw", "").await.status, 200);
    assert!(plane.store.resolve_service("test.shop").is_none());
}

#[tokio::test]
async fn a_version_is_shown_as_it_was_sent_and_can_be_forgotten() {
    let plane = Plane::new();
    let text = format!("  {}\n", graph("shop", "1.0.0", "one"));
    plane.post("/api/v1/graphs", &text).await;
    let document = plane.get("/api/v1/graphs/shop/versions/1.0.0").await;
    assert_eq!((document.status, document.body.as_str()), (200, text.as_str()));
    let hash =
        plane.get("/api/v1/graphs/shop").await.json()["versions"][0]["hash"].as_str().unwrap().to_owned();
    assert_eq!(document.header("etag"), format!("\"{hash}\""));
    let path = "/api/v1/graphs/shop/versions/1.0.0";
    assert_eq!(plane.send(Method::DELETE, path, &[], "").await.status, 204);
    plane.send(Method::DELETE, path, &[], "").await.problem(404);
}

#[tokio::test]
async fn staging_is_idempotent_and_other_content_is_a_conflict() {
    let plane = Plane::new();
    let (one, two) = (graph("shop", "1.0.0", "one"), graph("shop", "1.0.0", "two"));
    assert_eq!(plane.post("/api/v1/graphs?publish=true", &one).await.status, 201);
    let again = plane.post("/api/v1/graphs?publish=true", &one).await;
    assert_eq!((again.status, &again.json()["is_new"]), (200, &json!(false)));
    let conflict = plane.post("/api/v1/graphs", &two).await.problem(409);
    assert!(conflict["detail"].as_str().unwrap().contains("?force=true"), "{conflict}");
    assert_eq!(plane.post("/api/v1/graphs?force=true", &two).await.status, 201);
}

#[tokio::test]
async fn a_graph_with_mistakes_gets_all_of_them_at_their_places() {
    let plane = Plane::new();
    let broken = "{\n  \"name\": \"shop\",\n  \"version\": \"1.0.0\",\n  \"nodes\": [\n    \
                  {\"id\": \"out\", \"kernel\": \"rpc_server_outptu\"},\n    {\"id\": \"out\", \"kernel\": \"x\"}\n  ]\n}";
    for path in ["/api/v1/graphs", "/api/v1/graphs:validate"] {
        let problem = plane.post(path, broken).await.problem(422);
        let errors = problem["errors"].as_array().unwrap();
        let unknown = errors.iter().find(|error| error["code"] == "unknown-kernel").unwrap();
        assert_eq!((&unknown["pointer"], &unknown["line"]), (&json!("/nodes/0/kernel"), &json!(5)));
        assert!(unknown["help"].as_str().unwrap().contains("rpc_server_output"), "{unknown}");
        assert!(errors.iter().any(|error| error["code"] == "duplicate-node"), "{errors:?}");
    }
    assert!(plane.store.list().is_empty());
}

#[tokio::test]
async fn validating_keeps_nothing() {
    let plane = Plane::new();
    let valid = plane.post("/api/v1/graphs:validate", &graph("shop", "1.0.0", "one")).await;
    assert_eq!((valid.status, &valid.json()["graph"]), (200, &json!("shop")));
    assert!(plane.store.list().is_empty());
    let unnamed = graph("shop", "1.0.0", "one").replace("\"name\":\"shop\",", "");
    plane.post("/api/v1/graphs:validate", &unnamed).await.problem(422);
    let named = plane.post("/api/v1/graphs:validate?name=stock", &unnamed).await;
    assert_eq!(named.json()["graph"], "stock");
}

#[tokio::test]
async fn what_is_wrong_with_a_request_is_a_problem() {
    let limits = config::Admin { max_body: ByteSize(64), max_document: ByteSize(1000), ..Default::default() };
    let plane = Plane::with(limits, None);
    plane.post("/api/v1/graphs?publish=true", &graph("shop", "1.0.0", "one")).await;
    let large = "x".repeat(1001);
    let one = graph("shop", "1.0.0", "one");

    plane.post("/api/v1/graphs?publsh=true", &one).await.problem(400);
    plane.post("/api/v1/graphs?publish=perhaps", &one).await.problem(400);
    plane.post("/api/v1/graphs", &large).await.problem(413);
    plane.send(Method::POST, "/api/v1/graphs", &[("content-type", "text/plain")], &one).await.problem(415);
    plane.post("/api/v1/graphs/shop/publish", &large[..65]).await.problem(413);
    plane.post("/api/v1/graphs/shop/publish", r#"{"verson": "1.0.0"}"#).await.problem(400);
    plane.post("/api/v1/graphs/shop/publish", r#"{"version": "one"}"#).await.problem(400);
    plane.post("/api/v1/graphs/shop/publish", r#"{"version": "9.0.0"}"#).await.problem(404);
    plane.post("/api/v1/graphs/none/publish", r#"{"version": "1.0.0"}"#).await.problem(404);
    plane.post("/api/v1/graphs/shop/pin", "{}").await.problem(400);
    plane.post("/api/v1/graphs/shop/rollback", "").await.problem(409);
    plane.get("/api/v1/graphs/none").await.problem(404);
    plane.get("/api/v1/graphs/%2e%2e%2fetc").await.problem(404);
    plane.get("/api/v1/graphs/%ff").await.problem(404);
    plane.get("/api/v1/graphs/shop/versions/two").await.problem(404);
    plane.get("/api/v1/graphs/shop/explain?format=png").await.problem(400);
    plane.get("/api/v1/nothing").await.problem(404);
    let other = plane.send(Method::PUT, "/api/v1/graphs", &[], "").await;
    other.problem(405);
    assert_eq!(other.header("allow"), "GET,HEAD,POST");
    let active = plane.send(Method::DELETE, "/api/v1/graphs/shop/versions/1.0.0", &[], "").await;
    active.problem(409);
}

#[tokio::test]
async fn two_graphs_cannot_serve_one_service() {
    let plane = Plane::new();
    plane.post("/api/v1/graphs?publish=true", &graph("shop", "1.0.0", "one")).await;
    let rival = graph("rival", "1.0.0", "one").replace("test.rival", "test.shop");
    let problem = plane.post("/api/v1/graphs?publish=true", &rival).await.problem(409);
    assert!(problem["detail"].as_str().unwrap().contains("test.shop"), "{problem}");
}

#[tokio::test]
async fn a_plan_is_explained_in_every_form() {
    let plane = Plane::new();
    plane.post("/api/v1/graphs", &graph("shop", "1.0.0", "one")).await;
    plane.get("/api/v1/graphs/shop/explain").await.problem(404);
    for (query, kind, begins) in [
        ("version=1.0.0", "application/json", "{"),
        ("version=1.0.0&format=text", "text/plain; charset=utf-8", ""),
        ("version=1.0.0&format=mermaid", "text/plain; charset=utf-8", ""),
        ("version=1.0.0&format=svg", "image/svg+xml", "<svg"),
    ] {
        let explained = plane.get(&format!("/api/v1/graphs/shop/explain?{query}")).await;
        assert_eq!((explained.status, explained.header("content-type")), (200, kind));
        assert!(explained.body.starts_with(begins) && explained.body.contains("out"), "{}", explained.body);
        assert_eq!(explained.header("x-content-type-options"), "nosniff");
    }
}

#[tokio::test]
async fn readiness_says_why_not() {
    let plane = Plane::new();
    let ready = async |plane: &Plane| {
        let answer = plane.get("/readyz").await;
        (answer.status, answer.json()["reason"].as_str().unwrap_or_default().to_owned())
    };
    assert_eq!(ready(&plane).await, (503, "starting".to_owned()));
    plane.readiness.serving();
    assert_eq!(ready(&plane).await, (503, "no graph serves".to_owned()));
    plane.post("/api/v1/graphs?publish=true", &graph("shop", "1.0.0", "one")).await;
    assert_eq!(ready(&plane).await, (200, String::new()));
    plane.readiness.draining();
    assert_eq!(ready(&plane).await, (503, "draining".to_owned()));
    let checks = plane.get("/readyz?verbose").await.json()["checks"].clone();
    let names: Vec<_> = checks.as_array().unwrap().iter().map(|check| check["name"].clone()).collect();
    assert_eq!(names, ["listening", "graphs", "storage"]);
    // Whoever drains lives.
    assert_eq!(plane.get("/healthz").await.body, "ok\n");
    assert_eq!(plane.get("/api/v1/health").await.json()["status"], "healthy");
}

#[tokio::test]
async fn figures_are_served_as_json_and_as_metrics() {
    let plane = Plane::new();
    let stats = plane.get("/api/v1/stats").await.json();
    assert_eq!((&stats["accepted"], &stats["live_plans"]), (&json!(0), &json!(0)));
    let metrics = plane.get("/metrics").await;
    assert_eq!(metrics.header("content-type"), Metrics::CONTENT_TYPE);
    assert!(metrics.body.ends_with("# EOF\n"));
}

#[tokio::test]
async fn the_token_guards_all_but_the_probes() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("token");
    std::fs::write(&file, "0123456789abcdef0123456789abcdef\n").unwrap();
    let plane = Plane::with(config::Admin::default(), Some(AdminToken::read(&file).unwrap()));
    let refused = plane.get("/api/v1/graphs").await;
    refused.problem(401);
    assert!(refused.header("www-authenticate").starts_with("Bearer"));
    plane.get("/metrics").await.problem(401);
    plane.post("/api/v1/graphs", "{}").await.problem(401);
    let with = [("authorization", "Bearer 0123456789abcdef0123456789abcdef")];
    assert_eq!(plane.send(Method::GET, "/api/v1/graphs", &with, "").await.status, 200);
    assert_eq!(plane.get("/healthz").await.status, 200);
    plane.get("/readyz").await;
}

#[tokio::test(start_paused = true)]
async fn a_request_that_takes_too_long_is_answered() {
    let limit = std::time::Duration::from_secs(1);
    let routes = Router::new()
        .route("/", axum::routing::get(std::future::pending::<()>))
        .layer(from_fn_with_state(limit, problem::in_time));
    let request = Request::get("/").body(Body::empty()).unwrap();
    assert_eq!(routes.oneshot(request).await.unwrap().status().as_u16(), 503);
}

#[test]
fn the_openapi_document() {
    insta::assert_snapshot!(ControlPlane::openapi());
}

#[tokio::test]
async fn every_route_is_documented_and_every_document_is_a_route() {
    let plane = Plane::new();
    let served = plane.get("/openapi.json").await.json();
    assert_eq!(served, plane.documented);
    assert!(served["openapi"].as_str().unwrap().starts_with("3.1"));
    let mut operations = BTreeSet::new();
    for (path, item) in served["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            assert!(operations.insert(operation["operationId"].as_str().unwrap().to_owned()));
            assert!(operation["summary"].as_str().is_some_and(|text| !text.is_empty()), "{path}");
            let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
            let path = path.replace("{name}", "none").replace("{version}", "1.0.0");
            let answer = plane.send(method, &path, &[], "").await;
            assert_ne!(answer.status, 405, "{path}");
            assert!(!answer.body.contains("there is nothing at"), "{path}");
        }
    }
}
