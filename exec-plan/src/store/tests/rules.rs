//! What each operation does, and what it refuses.

use super::*;

#[test]
fn what_is_staged_does_not_serve() {
    let store = in_memory();
    store.stage(&served("shop", "1.0.0", &["pkg.Shop"], 1), false).unwrap();
    assert!(store.resolve_service("pkg.Shop").is_none());
    assert_eq!(store.resolve_named("shop", None).unwrap_err(), Unresolved::NotServing);
    let asked = store.resolve_named("shop", Some(&version("1.0.0")));
    assert_eq!(asked.unwrap_err(), Unresolved::VersionNotServing);
    assert!(store.inspect(&name("shop"), Some(&version("1.0.0"))).is_some());
}

#[test]
fn what_is_published_serves_by_service_by_name_and_by_default() {
    let store = in_memory();
    store.set_default(&name("shop"), None).unwrap();
    assert!(store.resolve_default().is_none());
    let receipt = store.deploy(&served("shop", "1.0.0", &["pkg.Shop", "pkg.Till"], 1));
    assert_eq!((receipt.from, receipt.in_flight_at_flip), (None, 0));
    assert!(receipt.drained_at_ms.is_some());
    let by_service = store.resolve_service("pkg.Till").unwrap();
    let by_name = store.resolve_named("shop", None).unwrap();
    let by_default = store.resolve_default().unwrap();
    let label = by_service.label().clone();
    assert!(label.starts_with("shop@1.0.0#"), "{label}");
    assert_eq!([by_name.label(), by_default.label()], [&label, &label]);
    assert_eq!(store.get(&name("shop")).unwrap().in_flight, 3);
    drop((by_service, by_name, by_default));
    assert_eq!(store.get(&name("shop")).unwrap().in_flight, 0);
}

#[test]
fn a_call_keeps_its_plan_and_the_receipt_waits_for_it() {
    let store = in_memory();
    store.deploy(&shop("1.0.0", 1));
    let held = store.resolve_named("shop", None).unwrap();
    let receipt = store.deploy(&shop("2.0.0", 2));
    let id = receipt.id.unwrap();
    let latest = || store.receipts().pop().unwrap();
    assert_eq!((receipt.in_flight_at_flip, receipt.in_flight, receipt.drained_at_ms), (1, 1, None));
    assert_eq!(receipt.from.as_ref().unwrap().version, version("1.0.0"));
    assert_eq!(receipt.to.as_ref().unwrap().version, version("2.0.0"));
    assert_eq!(held.version(), &version("1.0.0"));
    assert_eq!(serving(&store, "shop").unwrap(), "2.0.0");
    assert_eq!(latest(), receipt);
    drop(held);
    let drained = latest();
    assert!(drained.drained_at_ms.unwrap() >= receipt.at_ms);
    assert_eq!((drained.id, drained.in_flight_at_flip, drained.in_flight), (Some(id), 1, 0));
}

#[tokio::test]
async fn whoever_waits_for_a_swap_is_woken_by_its_last_call() {
    let store = Arc::new(in_memory());
    store.deploy(&shop("1.0.0", 1));
    let held = store.resolve_named("shop", None).unwrap();
    let id = store.deploy(&shop("2.0.0", 2)).id.unwrap();
    let waiting = tokio::spawn({
        let store = store.clone();
        async move { store.drained(id).await }
    });
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    drop(held);
    assert!(waiting.await.unwrap().unwrap().drained_at_ms.is_some());
    assert!(store.drained(id + 1).await.is_none());
}

#[test]
fn a_call_that_asked_for_its_version_belongs_to_no_swap() {
    let store = in_memory();
    store.deploy(&shop("1.0.0", 1));
    store.deploy(&shop("2.0.0", 2));
    let old = store.resolve_named("shop", Some(&version("1.0.0"))).unwrap();
    let new = store.resolve_named("shop", Some(&version("2.0.0"))).unwrap();
    assert_eq!((old.version(), new.version()), (&version("1.0.0"), &version("2.0.0")));
    let receipt = store.deploy(&shop("3.0.0", 3));
    assert_eq!(receipt.in_flight_at_flip, 0);
    assert!(receipt.drained_at_ms.is_some());
    let status = store.get(&name("shop")).unwrap();
    let in_flight: Vec<u64> = status.versions.iter().map(|version| version.in_flight).collect();
    assert_eq!(in_flight, [1, 1, 0]);
    let missing = store.resolve_named("shop", Some(&version("4.0.0")));
    assert_eq!(missing.unwrap_err(), Unresolved::UnknownVersion);
    assert_eq!(store.resolve_named("shed", None).unwrap_err(), Unresolved::UnknownGraph);
}

#[test]
fn the_same_content_is_staged_once_however_it_is_written() {
    let store = in_memory();
    assert!(store.stage(&shop("1.0.0", 1), false).unwrap().is_new);
    let mut reformatted = String::from_utf8(shop("1.0.0", 1).text.to_vec()).unwrap();
    reformatted.retain(|c| !c.is_whitespace());
    assert!(!store.stage(&source(&reformatted), false).unwrap().is_new);
    assert_eq!(store.get(&name("shop")).unwrap().versions.len(), 1);
}

#[test]
fn other_content_for_a_version_is_refused_unless_forced() {
    let store = in_memory();
    store.deploy(&shop("1.0.0", 1));
    let before = store.list();
    let Err(StageError::Conflict { held, refused, .. }) = store.stage(&shop("1.0.0", 2), false) else {
        panic!("other content was taken");
    };
    assert_eq!(held, before[0].active.as_ref().unwrap().hash);
    assert_ne!(held, refused);
    assert_eq!(store.list(), before);

    // Forced, it still waits to be published; until then the version gives what it gave.
    store.stage(&shop("1.0.0", 2), true).unwrap();
    let hash_of = |lease: PlanLease| lease.hash();
    let by_version = || store.resolve_named("shop", Some(&version("1.0.0"))).unwrap();
    assert_eq!(hash_of(store.resolve_named("shop", None).unwrap()), held);
    assert_eq!(hash_of(by_version()), held);
    let receipt = store.publish(&name("shop"), &version("1.0.0")).unwrap();
    assert_eq!((receipt.from.unwrap().hash, receipt.to.unwrap().hash), (held, refused));
    assert_eq!(hash_of(by_version()), refused);

    // And there is a way back to the very content.
    store.rollback(&name("shop")).unwrap();
    assert_eq!(hash_of(store.resolve_named("shop", None).unwrap()), held);
}

#[test]
fn replaced_content_goes_once_nothing_refers_to_it() {
    let store = in_memory();
    for content in 0..5 {
        store.stage(&shop("1.0.0", content), true).unwrap();
    }
    assert_eq!(store.get(&name("shop")).unwrap().versions.len(), 1);
    for content in 0..5 {
        store.deploy(&shop("1.0.0", content));
    }
    // What is active, and what a rollback goes to.
    assert_eq!(store.get(&name("shop")).unwrap().versions.len(), 2);
    assert_eq!(store.live_plans(), 2);
}

#[test]
fn publishing_what_is_active_changes_nothing() {
    let store = in_memory();
    store.deploy(&shop("1.0.0", 1));
    let held = store.resolve_named("shop", None).unwrap();
    let receipt = store.publish(&name("shop"), &version("1.0.0")).unwrap();
    assert_eq!((receipt.id, &receipt.from, receipt.in_flight_at_flip), (None, &receipt.to, 0));
    assert_eq!(store.receipts().len(), 1);
    assert!(matches!(store.rollback(&name("shop")), Err(PublishError::NoPrevious { .. })));
    drop(held);
}

#[test]
fn rolling_back_goes_back_step_by_step() {
    let store = in_memory();
    for (text, content) in [("1.0.0", 1), ("2.0.0", 2), ("3.0.0", 3), ("2.0.0", 2)] {
        store.deploy(&shop(text, content));
    }
    for expected in ["3.0.0", "2.0.0", "1.0.0"] {
        let receipt = store.rollback(&name("shop")).unwrap();
        assert_eq!(receipt.cause, SwapCause::Rollback);
        assert_eq!(serving(&store, "shop").unwrap(), expected);
    }
    assert!(matches!(store.rollback(&name("shop")), Err(PublishError::NoPrevious { .. })));
    assert!(matches!(store.rollback(&name("shed")), Err(PublishError::UnknownGraph { .. })));
}

#[test]
fn the_way_back_is_bounded() {
    let store = in_memory();
    let swaps = ledger::HISTORY_KEPT + 50;
    for step in 0..swaps {
        store.deploy(&shop(if step % 2 == 0 { "1.0.0" } else { "2.0.0" }, 1));
    }
    let steps = (0..swaps).take_while(|_| store.rollback(&name("shop")).is_ok()).count();
    assert_eq!(steps, ledger::HISTORY_KEPT);
}

#[test]
fn a_pin_holds_whatever_is_published() {
    let store = in_memory();
    store.stage(&shop("1.0.0", 1), false).unwrap();
    assert!(matches!(
        store.pin(&name("shop"), Some(&version("1.0.0"))),
        Err(PublishError::NotPublished { .. })
    ));
    store.deploy(&shop("1.0.0", 1));
    store.deploy(&shop("2.0.0", 2));
    let pinned = store.pin(&name("shop"), Some(&version("1.0.0"))).unwrap();
    assert_eq!(pinned.to.unwrap().version, version("1.0.0"));
    assert_eq!(pinned.active.unwrap().version, version("2.0.0"));
    let held = store.deploy(&shop("3.0.0", 3));
    assert_eq!((held.id, &held.from), (None, &held.to));
    assert_eq!(held.active.unwrap().version, version("3.0.0"));
    assert_eq!(serving(&store, "shop").unwrap(), "1.0.0");
    let receipt = store.pin(&name("shop"), None).unwrap();
    assert_eq!((receipt.cause, receipt.to.unwrap().version), (SwapCause::Unpin, version("3.0.0")));
    assert_eq!(serving(&store, "shop").unwrap(), "3.0.0");
}

#[test]
fn two_graphs_cannot_serve_the_same_service() {
    let store = in_memory();
    store.deploy(&served("shop", "1.0.0", &["pkg.A", "pkg.B"], 1));
    store.stage(&served("shed", "1.0.0", &["pkg.B"], 1), false).unwrap();
    let refused = store.publish(&name("shed"), &version("1.0.0")).unwrap_err();
    assert_eq!(refused.to_string(), r#"shed and shop both serve "pkg.B""#);
    assert!(store.resolve_named("shed", None).is_err());

    // A service that its graph no longer claims is free, until the graph wants to go back to it.
    store.deploy(&served("shop", "2.0.0", &["pkg.A"], 1));
    store.publish(&name("shed"), &version("1.0.0")).unwrap();
    let back = store.rollback(&name("shop")).unwrap_err();
    assert!(matches!(back, PublishError::ServiceTaken { by, .. } if by == name("shed")));
    assert_eq!(&**store.resolve_service("pkg.B").unwrap().label(), store.list()[0].versions[0].label);
}

#[test]
fn a_pinned_graph_keeps_its_services_and_those_of_what_is_active() {
    let store = in_memory();
    store.deploy(&served("shop", "1.0.0", &[], 1));
    store.deploy(&served("shop", "2.0.0", &["pkg.A"], 2));
    store.pin(&name("shop"), Some(&version("1.0.0"))).unwrap();
    assert!(store.resolve_service("pkg.A").is_none());
    store.stage(&served("shed", "1.0.0", &["pkg.A"], 1), false).unwrap();
    let refused = store.publish(&name("shed"), &version("1.0.0"));
    assert!(matches!(refused, Err(PublishError::ServiceTaken { .. })));
    store.pin(&name("shop"), None).unwrap();
    assert!(store.resolve_service("pkg.A").is_some());

    // And those of what it is held at, whatever is active.
    store.pin(&name("shop"), Some(&version("2.0.0"))).unwrap();
    store.publish(&name("shop"), &version("1.0.0")).unwrap();
    let refused = store.publish(&name("shed"), &version("1.0.0"));
    assert!(matches!(refused, Err(PublishError::ServiceTaken { .. })));
}

#[test]
fn a_withdrawn_graph_serves_by_no_way_and_can_come_back() {
    let store = in_memory();
    store.deploy(&served("shop", "1.0.0", &["pkg.A"], 1));
    let held = store.resolve_service("pkg.A").unwrap();
    let receipt = store.withdraw(&name("shop")).unwrap();
    assert_eq!((receipt.to, receipt.in_flight_at_flip, receipt.drained_at_ms), (None, 1, None));
    assert!(store.resolve_service("pkg.A").is_none());
    let asked = store.resolve_named("shop", Some(&version("1.0.0")));
    assert_eq!(asked.unwrap_err(), Unresolved::VersionNotServing);
    assert!(matches!(store.withdraw(&name("shop")), Err(PublishError::NotPublished { .. })));
    drop(held);
    assert!(store.receipts().pop().unwrap().drained_at_ms.is_some());
    store.rollback(&name("shop")).unwrap();
    assert!(store.resolve_service("pkg.A").is_some());

    store.withdraw(&name("shop")).unwrap();
    store.evict(&name("shop"), &version("1.0.0")).unwrap();
    assert_eq!(store.list(), []);
    assert_eq!(store.live_plans(), 0);
}

#[test]
fn what_has_a_role_is_not_evicted() {
    let store = in_memory();
    for (text, content) in [("1.0.0", 1), ("2.0.0", 2), ("3.0.0", 3), ("4.0.0", 4), ("5.0.0", 5)] {
        store.deploy(&shop(text, content));
    }
    store.pin(&name("shop"), Some(&version("3.0.0"))).unwrap();
    store.set_default(&name("shop"), Some(&version("2.0.0"))).unwrap();
    let roles = [
        ("2.0.0", Role::Default),
        ("3.0.0", Role::Pinned),
        ("4.0.0", Role::Previous),
        ("5.0.0", Role::Active),
    ];
    for (text, expected) in roles {
        match store.evict(&name("shop"), &version(text)) {
            Err(EvictError::InUse { role, .. }) => assert_eq!(role, expected),
            other => panic!("{text}: {other:?}"),
        }
    }
    let running = store.resolve_named("shop", Some(&version("1.0.0"))).unwrap();
    store.evict(&name("shop"), &version("1.0.0")).unwrap();
    assert_eq!(running.version(), &version("1.0.0"));
    let again = store.evict(&name("shop"), &version("1.0.0"));
    assert!(matches!(again, Err(EvictError::UnknownVersion { .. })));
    assert_eq!(store.live_plans(), 5);
    drop(running);
    assert_eq!(store.live_plans(), 4);
}

#[test]
fn the_versions_staged_longest_ago_make_room() {
    let store = keeping(3);
    store.deploy(&shop("9.0.0", 9));
    for (text, content) in [("2.0.0", 2), ("3.0.0", 3)] {
        assert_eq!(store.stage(&shop(text, content), false).unwrap().evicted, []);
    }
    // Staged again, 2.0.0 is younger than 3.0.0; and 9.0.0 is active.
    store.stage(&shop("2.0.0", 22), true).unwrap();
    assert_eq!(store.stage(&shop("1.0.0", 1), false).unwrap().evicted, [version("3.0.0")]);
    let kept: Vec<String> =
        store.get(&name("shop")).unwrap().versions.iter().map(|v| v.version.to_string()).collect();
    assert_eq!(kept, ["1.0.0", "2.0.0", "9.0.0"]);
}

#[test]
fn the_default_may_be_held_at_a_version_and_must_answer() {
    let store = in_memory();
    store.deploy(&shop("1.0.0", 1));
    store.set_default(&name("shop"), Some(&version("1.0.0"))).unwrap();
    store.deploy(&shop("2.0.0", 2));
    assert_eq!(store.resolve_default().unwrap().version(), &version("1.0.0"));
    assert_eq!(serving(&store, "shop").unwrap(), "2.0.0");

    store.deploy(&inner("part", "1.0.0"));
    assert!(matches!(store.set_default(&name("part"), None), Err(PublishError::Inner { .. })));
    store.set_default(&name("later"), None).unwrap();
    store.stage(&inner("later", "1.0.0"), false).unwrap();
    let refused = store.publish(&name("later"), &version("1.0.0"));
    assert!(matches!(refused, Err(PublishError::Inner { .. })));
}

#[test]
fn an_inner_graph_serves_other_graphs_alone() {
    let store = in_memory();
    store.deploy(&inner("part", "1.0.0"));
    assert_eq!(store.resolve_named("part", None).unwrap_err(), Unresolved::Inner);
    let asked = store.resolve_named("part", Some(&version("1.0.0")));
    assert_eq!(asked.unwrap_err(), Unresolved::Inner);
    let graphs: &dyn GraphResolver = &store;
    let lease = graphs.plan("part").unwrap();
    assert!(!lease.plan().answers());
    let receipt = store.deploy(&inner("part", "2.0.0"));
    assert_eq!((receipt.in_flight_at_flip, receipt.drained_at_ms), (1, None));
    drop(lease);
    assert!(store.receipts().pop().unwrap().drained_at_ms.is_some());
    assert!(graphs.plan("whole").is_none());
}

#[test]
fn what_does_not_compile_is_refused_with_its_problems() {
    let store = in_memory();
    let Err(StageError::Invalid(problems)) = store.stage(&source(r#"{"name": "x", "nodes": 1}"#), false)
    else {
        panic!("nonsense was staged");
    };
    assert!(problems.to_string().contains("nodes"), "{problems}");
    assert!(store.check(&shop("1.0.0", 1)).is_ok());
    assert_eq!(store.list(), []);
}

#[test]
fn the_oldest_receipts_are_forgotten() {
    let store = in_memory();
    for content in 0..300 {
        store.deploy(&shop(if content % 2 == 0 { "1.0.0" } else { "2.0.0" }, content % 2));
    }
    let receipts = store.receipts();
    assert_eq!(receipts.len(), receipt::RECEIPTS_KEPT);
    assert_eq!(receipts.last().unwrap().id, Some(300));
    assert!(receipts.iter().all(|receipt| receipt.drained_at_ms.is_some()));
}

#[test]
fn reports_are_plain_json() {
    let store = in_memory();
    let receipt = serde_json::to_value(store.deploy(&served("shop", "1.0.0", &["pkg.A"], 1))).unwrap();
    assert_eq!(receipt["cause"], "publish");
    assert_eq!(receipt["to"]["version"], "1.0.0");
    assert_eq!(receipt["dropped"], 0);
    let list = serde_json::to_value(store.list()).unwrap();
    assert_eq!(list[0]["name"], "shop");
    assert_eq!(list[0]["versions"][0]["roles"], serde_json::json!(["active"]));
    assert_eq!(list[0]["serves"], serde_json::json!(["pkg.A"]));
}

fn route(version: &str, content: i64) -> GraphSource {
    served("route", version, &["pkg.Route"], content)
}

#[test]
fn installing_stages_and_publishes_as_one_change() {
    let store = in_memory();
    let mut flips = store.flips();
    let before = *flips.borrow_and_update();
    let first = store.install(&route("1.0.0", 1), &|_| false).unwrap();
    assert_eq!(*flips.borrow_and_update(), before + 1);
    assert_eq!(first.receipt.unwrap().to, Some(first.staged.release.clone()));
    assert!(store.serves("pkg.Route") && !store.serves("pkg.Other"));
    let label = store.resolve_service("pkg.Route").unwrap().label().clone();
    assert_eq!(store.services(), [("pkg.Route".into(), label)]);

    let again = store.install(&route("1.0.0", 1), &|_| false).unwrap();
    assert!(!again.staged.is_new && again.receipt.unwrap().id.is_none());
    let own = [first.staged.release];
    let second = store.install(&route("1.0.0", 2), &|id| own.contains(id)).unwrap();
    assert_eq!(second.receipt.unwrap().from, Some(own[0].clone()));
    assert_eq!(store.get(&name("route")).unwrap().previous, Some(own[0].clone()));
}

#[test]
fn installing_displaces_nothing_of_others() {
    let store = in_memory();
    store.deploy(&route("1.0.0", 1));
    let refused = store.install(&route("1.0.0", 2), &|_| false).unwrap_err();
    let InstallError::Stage(refused) = refused else { panic!("{refused:?}") };
    assert!(matches!(*refused, StageError::Conflict { .. }), "{refused:?}");
    let beside = store.install(&route("2.0.0", 2), &|_| false).unwrap();
    assert_eq!((beside.staged.is_new, beside.receipt), (true, None));
    assert_eq!(serving(&store, "route").unwrap(), "1.0.0");
    let taken = store.install(&served("other", "1.0.0", &["pkg.Route"], 1), &|_| true).unwrap_err();
    let InstallError::Publish(taken) = taken else { panic!("{taken:?}") };
    assert!(matches!(*taken, PublishError::ServiceTaken { .. }), "{taken:?}");
    assert!(store.get(&name("other")).is_none(), "half an installation");
}

#[test]
fn what_is_retired_is_gone_and_its_calls_go_on() {
    let store = in_memory();
    let install = |source| store.install(&source, &|_| true).unwrap().staged.release;
    let old = install(route("1.0.0", 1));
    let new = install(route("2.0.0", 2));
    let held = store.resolve_service("pkg.Route").unwrap();
    let receipt = store.retire(&name("route"), std::slice::from_ref(&new), Some(&old)).unwrap();
    assert_eq!((receipt.cause, receipt.from, receipt.in_flight), (SwapCause::Retire, Some(new.clone()), 1));
    assert_eq!((receipt.to, held.version()), (Some(old.clone()), &new.version));
    let status = store.get(&name("route")).unwrap();
    assert_eq!((status.previous, status.versions.len()), (None, 1));
    drop(held);
    // Only what serves has a successor.
    let idle = install(route("3.0.0", 3));
    install(route("4.0.0", 4));
    store.retire(&name("route"), &[idle], Some(&old)).unwrap();
    assert_eq!(serving(&store, "route").unwrap(), "4.0.0");
    let left = store.get(&name("route")).unwrap().versions;
    let left: Vec<_> = left.into_iter().map(|v| ReleaseId { version: v.version, hash: v.hash }).collect();
    assert!(store.retire(&name("route"), &left, None).unwrap().to.is_none());
    assert!(store.get(&name("route")).is_none() && !store.serves("pkg.Route"));
    assert!(store.retire(&name("route"), &left, None).is_err());
}
