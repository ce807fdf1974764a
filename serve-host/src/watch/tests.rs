use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use exec_plan::{PlanStore, StoreOptions};
use tempfile::TempDir;

use super::*;

fn store() -> Arc<PlanStore> {
    let options = StoreOptions::in_memory(kernels::builtin(), kernels::serve_env());
    Arc::new(PlanStore::open(options).unwrap().0)
}

fn graph(name: &str, version: &str, says: &str) -> String {
    format!(
        r#"{{"name": "{name}", "version": "{version}",
            "nodes": [{{"id": "out", "kernel": "rpc_server_output", "inputs": ["call", "payload"], "outputs": []}}],
            "bindings": [{{"to": "out.call", "from": "$req.rpc.call"}}, {{"to": "out.payload", "from": "{says}"}}]}}"#
    )
}

fn folder(dir: &Path) -> (GraphFolder, Arc<PlanStore>) {
    let store = store();
    (GraphFolder::new(dir, store.clone(), 1 << 20), store)
}

/// What each report is about, in a word.
fn words(reports: &[FileReport]) -> Vec<String> {
    let word = |outcome: &Outcome| match outcome {
        Outcome::Broken(_) => "broken",
        Outcome::Gone => "gone",
        Outcome::Published { replaced: true, .. } => "replaced",
        Outcome::Published { .. } => "published",
        Outcome::Remembered(_) => "remembered",
        Outcome::NotStaged(_) => "not staged",
        Outcome::NotPublished(..) => "not published",
        Outcome::Outranked(..) => "outranked",
        Outcome::Unreadable(_) => "unreadable",
    };
    let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    reports.iter().map(|report| format!("{} {}", name(&report.path), word(&report.outcome))).collect()
}

fn serving(store: &PlanStore, name: &str) -> Option<String> {
    let status = store.get(&name.parse().unwrap())?;
    Some(status.serving?.to_string())
}

#[test]
fn a_folder_is_published_and_a_broken_file_does_not_stop_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a.json"), graph("shop", "1.0.0", "one")).unwrap();
    fs::write(dir.path().join("b.json"), "{").unwrap();
    fs::write(dir.path().join("c.json"), graph("stock", "1.0.0", "one")).unwrap();
    fs::write(dir.path().join(".hidden.json"), "{").unwrap();
    fs::write(dir.path().join("notes.txt"), "{").unwrap();
    let (mut folder, store) = folder(dir.path());
    let reports = folder.look();
    assert_eq!(words(&reports), ["b.json broken", "a.json published", "c.json published"]);
    assert!(reports[0].is_failure() && !reports[1].is_failure());
    assert!(serving(&store, "shop").is_some() && serving(&store, "stock").is_some());
    assert!(folder.look().is_empty(), "nothing changed");
}

#[test]
fn a_change_is_published_and_a_mistake_leaves_the_old_serving() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("shop.json");
    fs::write(&file, graph("shop", "1.0.0", "one")).unwrap();
    let (mut folder, store) = folder(dir.path());
    folder.look();
    let first = serving(&store, "shop");

    fs::write(&file, "{ broken").unwrap();
    assert_eq!(words(&folder.look()), ["shop.json broken"]);
    assert_eq!(serving(&store, "shop"), first);
    assert!(folder.look().is_empty(), "a mistake is told once");

    fs::write(&file, graph("shop", "1.0.0", "other")).unwrap();
    assert_eq!(words(&folder.look()), ["shop.json replaced"]);
    let second = serving(&store, "shop");
    assert_ne!(second, first);

    fs::write(&file, graph("shop", "1.1.0", "more")).unwrap();
    assert_eq!(words(&folder.look()), ["shop.json published"]);
    assert!(serving(&store, "shop").unwrap().starts_with("1.1.0"));
}

#[test]
fn a_file_that_is_renamed_over_another_counts_as_a_change() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("shop.json");
    fs::write(&file, graph("shop", "1.0.0", "one")).unwrap();
    let (mut folder, store) = folder(dir.path());
    folder.look();
    let beside = dir.path().join(".shop.json.tmp");
    fs::write(&beside, graph("shop", "2.0.0", "two")).unwrap();
    assert!(folder.look().is_empty());
    fs::rename(&beside, &file).unwrap();
    assert_eq!(words(&folder.look()), ["shop.json published"]);
    assert!(serving(&store, "shop").unwrap().starts_with("2.0.0"));
}

#[test]
fn a_file_that_is_gone_leaves_its_graph_serving() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("shop.json");
    fs::write(&file, graph("shop", "1.0.0", "one")).unwrap();
    let (mut folder, store) = folder(dir.path());
    folder.look();
    fs::remove_file(&file).unwrap();
    assert_eq!(words(&folder.look()), ["shop.json gone"]);
    assert!(serving(&store, "shop").is_some());
    fs::write(&file, graph("shop", "1.0.0", "one")).unwrap();
    assert_eq!(words(&folder.look()), ["shop.json published"]);
}

#[test]
fn of_two_versions_the_higher_serves() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a.json"), graph("shop", "2.0.0", "two")).unwrap();
    fs::write(dir.path().join("b.json"), graph("shop", "1.0.0", "one")).unwrap();
    let (mut folder, store) = folder(dir.path());
    assert_eq!(words(&folder.look()), ["a.json published", "b.json outranked"]);
    fs::write(dir.path().join("b.json"), graph("shop", "1.5.0", "more")).unwrap();
    assert_eq!(words(&folder.look()), ["b.json outranked"]);
    assert!(serving(&store, "shop").unwrap().starts_with("2.0.0"));
}

#[test]
fn what_was_active_at_the_end_is_active_at_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a.json"), graph("shop", "1.0.0", "one")).unwrap();
    fs::write(dir.path().join("b.json"), graph("shop", "2.0.0", "two")).unwrap();
    let (mut first, store) = folder(dir.path());
    first.look();
    store.publish(&"shop".parse().unwrap(), &"1.0.0".parse().unwrap()).unwrap();

    // The store outlives the folder's first reader, as a data directory does.
    let mut second = GraphFolder::new(dir.path(), store.clone(), 1 << 20);
    assert_eq!(words(&second.look()), ["a.json remembered", "b.json remembered"]);
    assert!(serving(&store, "shop").unwrap().starts_with("1.0.0"));

    fs::write(dir.path().join("b.json"), graph("shop", "2.1.0", "more")).unwrap();
    assert_eq!(words(&second.look()), ["b.json published"]);
    fs::write(dir.path().join("b.json"), graph("shop", "2.0.0", "two")).unwrap();
    assert_eq!(words(&second.look()), ["b.json published"], "an edit that is taken back counts");
    assert!(serving(&store, "shop").unwrap().starts_with("2.0.0"));
}

#[test]
fn a_single_document_may_be_watched_and_takes_its_name_from_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("shop.json");
    fs::write(&file, graph("x", "1.0.0", "one").replace(r#""name": "x", "#, "")).unwrap();
    fs::write(dir.path().join("other.json"), "{").unwrap();
    let (mut folder, store) = folder(&file);
    assert_eq!(words(&folder.look()), ["shop.json published"]);
    assert!(serving(&store, "shop").is_some());
    assert_eq!(folder.directory(), dir.path());
}

#[test]
fn a_document_named_alone_may_answer_the_calls_that_name_no_graph() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("shop.json");
    fs::write(&file, graph("shop", "1.0.0", "one")).unwrap();
    for (path, is_default) in [(file.as_path(), true), (dir.path(), false)] {
        let (folder, store) = folder(path);
        folder.with_single_as_default().look();
        assert_eq!(store.resolve_default().is_some(), is_default);
    }
    let (mut plain, store) = folder(&file);
    plain.look();
    assert!(store.resolve_default().is_none());
}

#[test]
fn what_cannot_be_read_is_told_once() {
    let dir = tempfile::tempdir().unwrap();
    let (mut absent, _) = folder(&dir.path().join("absent"));
    assert_eq!(words(&absent.look()), ["absent unreadable"]);
    assert!(absent.look().is_empty());

    fs::write(dir.path().join("large.json"), " ".repeat(100)).unwrap();
    let mut small = GraphFolder::new(dir.path(), store(), 99);
    assert_eq!(words(&small.look()), ["large.json unreadable"]);
    assert!(small.look().is_empty());
}

/// Watches a folder, and waits until its graph serves a release that begins like this.
async fn serves(store: &PlanStore, name: &str, begins: &str) {
    let deadline = Instant::now() + Duration::from_secs(5);
    while !serving(store, name).is_some_and(|release| release.starts_with(begins)) {
        assert!(Instant::now() < deadline, "{name} does not serve {begins}");
        sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_watched_folder_publishes_what_is_written_into_it() {
    let dir: TempDir = tempfile::tempdir().unwrap();
    let (folder, store) = folder(dir.path());
    let stop = CancellationToken::new();
    let watching = tokio::spawn(watch(folder, stop.clone()));
    // The watcher begins a moment later than the task.
    sleep(Duration::from_millis(200)).await;
    let begun = Instant::now();
    fs::write(dir.path().join("shop.json"), graph("shop", "1.0.0", "one")).unwrap();
    serves(&store, "shop", "1.0.0").await;
    fs::write(dir.path().join("shop.json"), graph("shop", "1.1.0", "two")).unwrap();
    serves(&store, "shop", "1.1.0").await;
    assert!(begun.elapsed() < LOOK_AGAIN, "seen by an event, not by chance");
    stop.cancel();
    watching.await.unwrap();
}
