use std::time::Duration;

use exec_plan::{GraphSource, StoreOptions};
use futures_util::{FutureExt as _, StreamExt as _};
use parking_lot::Mutex;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::Health as _;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

use super::*;

fn store() -> Arc<PlanStore> {
    let options = StoreOptions::in_memory(kernels::builtin(), kernels::serve_env());
    Arc::new(PlanStore::open(options).unwrap().0)
}

/// A graph of one service, which answers with nothing.
fn serving(service: &str, version: u32) -> GraphSource {
    let text = format!(
        r#"{{"name": "{service}", "version": {version}, "serves": ["{service}"],
            "nodes": [{{"id": "out", "kernel": "rpc_server_output", "inputs": ["call"], "outputs": []}}],
            "bindings": [{{"to": "out.call", "from": "$req.rpc.call"}}]}}"#
    );
    GraphSource { origin: "test".into(), stem: None, text: Bytes::from(text) }
}

fn checked(health: &Health, service: &str) -> impl Future<Output = Result<i32, tonic::Code>> {
    let (health, service) = (health.clone(), service.to_owned());
    async move {
        let request = tonic::Request::new(HealthCheckRequest { service });
        let answer = health.check(request).await;
        answer.map(|response| response.into_inner().status).map_err(|status| status.code())
    }
}

#[tokio::test]
async fn health_follows_what_serves_and_the_drain() {
    let (store, readiness) = (store(), Readiness::default());
    let health = Health::new(store.clone(), &readiness, CancellationToken::new());
    assert_eq!(checked(&health, "").await, Ok(ServingStatus::NotServing as i32));
    readiness.serving();
    assert_eq!(checked(&health, "").await, Ok(ServingStatus::Serving as i32));
    assert_eq!(checked(&health, "pkg.Shop").await, Err(tonic::Code::NotFound));
    let installed = store.install(&serving("pkg.Shop", 1), &|_| false).unwrap();
    assert_eq!(checked(&health, "pkg.Shop").await, Ok(ServingStatus::Serving as i32));
    store.withdraw(&installed.staged.graph).unwrap();
    assert_eq!(checked(&health, "pkg.Shop").await, Err(tonic::Code::NotFound));
    store.rollback(&installed.staged.graph).unwrap();
    readiness.draining();
    assert_eq!(checked(&health, "pkg.Shop").await, Ok(ServingStatus::NotServing as i32));
}

#[tokio::test]
async fn a_watch_hears_every_change_once_and_ends_with_the_host() {
    let (store, readiness, stop) = (store(), Readiness::default(), CancellationToken::new());
    readiness.serving();
    let health = Health::new(store.clone(), &readiness, stop.clone());
    let request = tonic::Request::new(HealthCheckRequest { service: "pkg.Shop".to_owned() });
    let mut watching = health.watch(request).await.unwrap().into_inner();
    let mut heard = async || {
        let next = tokio::time::timeout(Duration::from_millis(100), watching.next()).await;
        next.map(|told| told.map(|told| told.map(|told| told.status).map_err(|status| status.code())))
    };
    assert_eq!(heard().await, Ok(Some(Ok(ServingStatus::ServiceUnknown as i32))));
    store.install(&serving("pkg.Other", 1), &|_| false).unwrap();
    assert!(heard().await.is_err(), "told of a change that was none");
    let installed = store.install(&serving("pkg.Shop", 1), &|_| false).unwrap();
    assert_eq!(heard().await, Ok(Some(Ok(ServingStatus::Serving as i32))));
    store.install(&serving("pkg.Shop", 2), &|_| true).unwrap();
    assert!(heard().await.is_err(), "a swap is no change of health");
    store.withdraw(&installed.staged.graph).unwrap();
    assert_eq!(heard().await, Ok(Some(Ok(ServingStatus::ServiceUnknown as i32))));
    store.rollback(&installed.staged.graph).unwrap();
    readiness.draining();
    assert_eq!(heard().await, Ok(Some(Ok(ServingStatus::NotServing as i32))));
    stop.cancel();
    assert_eq!(heard().await, Ok(Some(Err(tonic::Code::Unavailable))));
    assert_eq!(heard().await, Ok(None));
}

#[tokio::test]
async fn a_watch_is_told_of_the_drain_though_the_end_comes_with_it() {
    // As often as leaves nothing to luck.
    for _ in 0..32 {
        let (readiness, stop) = (Readiness::default(), CancellationToken::new());
        readiness.serving();
        let health = Health::new(store(), &readiness, stop.clone());
        let request = tonic::Request::new(HealthCheckRequest { service: String::new() });
        let mut watching = health.watch(request).await.unwrap().into_inner();
        assert_eq!(watching.next().await.unwrap().unwrap().status, ServingStatus::Serving as i32);
        let mut next = watching.next();
        assert!((&mut next).now_or_never().is_none(), "told of a change that was none");
        readiness.draining();
        stop.cancel();
        assert_eq!(next.await.unwrap().unwrap().status, ServingStatus::NotServing as i32);
        assert_eq!(watching.next().await.unwrap().unwrap_err().code(), tonic::Code::Unavailable);
        assert!(watching.next().await.is_none());
    }
}

#[test]
fn reflection_lists_what_serves_at_the_moment_it_is_asked() {
    let store = store();
    let described: Arc<Mutex<Vec<Described>>> = Arc::default();
    let source: DescribedServices = Arc::new({
        let described = described.clone();
        move || described.lock().clone()
    });
    let reflection = Reflection::new(source, store.flips(), CancellationToken::new());
    let list = || {
        let message_request = Some(MessageRequest::ListServices(String::new()));
        let request = ServerReflectionRequest { host: "h".to_owned(), message_request };
        let answer = reflection.answer(request);
        assert_eq!(answer.valid_host, "h");
        match answer.message_response {
            Some(MessageResponse::ListServicesResponse(list)) => {
                list.service.into_iter().map(|service| service.name).collect::<Vec<_>>()
            }
            other => panic!("{other:?}"),
        }
    };
    let own = [
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
    ];
    assert_eq!(list(), own);
    let set = index::tests::compiled(&[(
        "shop.proto",
        r#"syntax = "proto3"; package pkg; message M {} service Shop { rpc X(M) returns (M); }"#,
    )]);
    described.lock().push(Described { service: "pkg.Shop".into(), descriptors: set });
    store.install(&serving("pkg.Shop", 1), &|_| false).unwrap();
    assert_eq!(list(), [&own[..], &["pkg.Shop"]].concat());
    described.lock().clear();
    store.withdraw(&"pkg.Shop".parse().unwrap()).unwrap();
    assert_eq!(list(), own);
}
