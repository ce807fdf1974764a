//! Files that are not as they were left: each is named and set aside, and the rest serves.

use std::fs;
use std::path::PathBuf;

use super::super::archive::{STATE, STATE_COPY};
use super::*;

/// Two graphs that serve, one of them with a past.
fn filled() -> (TempDir, Vec<GraphStatus>) {
    let dir = empty_dir();
    let store = open_clean(&dir);
    store.deploy(&served("shop", "1.0.0", &["pkg.Shop"], 1));
    store.deploy(&served("shop", "2.0.0", &["pkg.Shop"], 2));
    store.deploy(&served("shed", "1.0.0", &["pkg.Shed"], 1));
    store.pin(&name("shed"), Some(&version("1.0.0"))).unwrap();
    let list = store.list();
    (dir, list)
}

fn file(dir: &TempDir, name: &str) -> PathBuf {
    dir.path().join(GRAPHS_DIR).join(name)
}

fn documents(dir: &TempDir) -> Vec<String> {
    let entries = fs::read_dir(dir.path().join(GRAPHS_DIR)).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut documents: Vec<_> = names.filter(|name| name.contains('@')).collect();
    documents.sort();
    documents
}

/// The bytes with any one of them changed, in three ways, or with the end missing.
fn damages(whole: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let flips = (0..whole.len()).flat_map(|at| [0x01, 0x20, 0x80].map(|bits| (at, bits)));
    let flipped = flips.map(|(at, bits)| {
        let mut bytes = whole.to_vec();
        bytes[at] ^= bits;
        bytes
    });
    flipped.chain((0..whole.len()).map(|length| whole[..length].to_vec()))
}

/// As many of them as a disk that takes its time can be asked for, spread over all.
fn some_damages(whole: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    const STRIDE: usize = 37;
    damages(whole).step_by(STRIDE)
}

#[test]
fn no_change_of_a_single_byte_and_no_missing_end_goes_unnoticed() {
    let (dir, _) = filled();
    let whole = fs::read(file(&dir, STATE)).unwrap();
    assert!(state::decode(&whole).is_ok());
    for bytes in damages(&whole) {
        assert_eq!(state::decode(&bytes).unwrap_err(), state::StateFault::Damaged);
    }
    let document = fs::read(file(&dir, &documents(&dir)[0])).unwrap();
    let digest = release::TextDigest::of(&document);
    assert!(damages(&document).all(|bytes| release::TextDigest::of(&bytes) != digest));
}

#[test]
fn a_damaged_state_file_is_restored_from_its_copy() {
    for damaged in [STATE, STATE_COPY] {
        let (dir, list) = filled();
        let whole = fs::read(file(&dir, damaged)).unwrap();
        for bytes in some_damages(&whole) {
            fs::write(file(&dir, damaged), &bytes).unwrap();
            let (store, recovery) = open(&dir);
            assert_eq!(store.list(), list);
            let [Finding::StateRestored { file: named, kept_as: Some(kept_as) }] = &recovery.findings[..]
            else {
                panic!("{:?}", recovery.findings);
            };
            assert_eq!(named, damaged);
            assert_eq!(fs::read(file(&dir, kept_as)).unwrap(), bytes);
            fs::remove_file(file(&dir, kept_as)).unwrap();
            assert_eq!(fs::read(file(&dir, damaged)).unwrap(), whole);
        }
    }
}

#[test]
fn without_any_state_the_documents_are_staged_and_nothing_serves() {
    let (dir, list) = filled();
    fs::write(file(&dir, STATE), "x").unwrap();
    fs::remove_file(file(&dir, STATE_COPY)).unwrap();
    let (store, recovery) = open(&dir);
    let kept_as = vec![format!("quarantine/{STATE}")];
    assert_eq!(recovery.findings, [Finding::StateLost { kept_as }]);
    assert_eq!((recovery.serving, recovery.versions), (0, 3));
    let staged = |list: &[GraphStatus]| -> Vec<(GraphName, String)> {
        let each = |graph: &GraphStatus| graph.versions.iter().map(|v| v.label.clone()).collect::<Vec<_>>();
        list.iter()
            .flat_map(|graph| each(graph).into_iter().map(|label| (graph.name.clone(), label)))
            .collect()
    };
    assert_eq!(staged(&store.list()), staged(&list));
    assert!(store.resolve_service("pkg.Shop").is_none());
    store.publish(&name("shop"), &version("2.0.0")).unwrap();
    drop(store);
    assert!(open_clean(&dir).resolve_service("pkg.Shop").is_some());
}

#[test]
fn a_damaged_document_is_set_aside_and_the_rest_serves() {
    let (dir, _) = filled();
    let document = documents(&dir).into_iter().find(|file| file.starts_with("shed@")).unwrap();
    let whole = fs::read(file(&dir, &document)).unwrap();
    for bytes in some_damages(&whole) {
        fs::write(file(&dir, &document), &bytes).unwrap();
        let (store, recovery) = open(&dir);
        let [Finding::Altered { graph, file: named, kept_as: Some(kept_as), .. }] = &recovery.findings[..]
        else {
            panic!("{:?}", recovery.findings);
        };
        assert_eq!((graph, named), (&name("shed"), &document));
        assert!(store.resolve_service("pkg.Shop").is_some());
        assert!(store.resolve_service("pkg.Shed").is_none());
        assert_eq!(fs::read(file(&dir, kept_as)).unwrap(), bytes);
        fs::remove_file(file(&dir, kept_as)).unwrap();
    }
}

#[test]
fn staging_a_lost_document_again_mends_its_version() {
    let (dir, list) = filled();
    let document = documents(&dir).into_iter().find(|file| file.starts_with("shed@")).unwrap();
    fs::remove_file(file(&dir, &document)).unwrap();
    let (store, recovery) = open(&dir);
    assert!(matches!(&recovery.findings[..], [Finding::Missing { .. }]), "{:?}", recovery.findings);
    let shed = store.get(&name("shed")).unwrap();
    assert_eq!((shed.active, shed.pinned), (list[0].active.clone(), list[0].pinned.clone()));
    assert!(shed.serving.is_none() && shed.versions[0].unusable.is_some());
    let unusable = store.publish(&name("shed"), &version("1.0.0"));
    assert!(matches!(unusable, Err(PublishError::Unusable { .. })));
    // Its services stay its own meanwhile.
    store.stage(&served("other", "1.0.0", &["pkg.Shed"], 1), false).unwrap();
    let taken = store.publish(&name("other"), &version("1.0.0"));
    assert!(matches!(taken, Err(PublishError::ServiceTaken { .. })));
    store.evict(&name("other"), &version("1.0.0")).unwrap();

    assert!(store.stage(&served("shed", "1.0.0", &["pkg.Shed"], 1), false).unwrap().is_new);
    assert!(store.resolve_service("pkg.Shed").is_some());
    assert_eq!(store.list(), list);
    drop(store);
    assert_eq!(open_clean(&dir).list(), list);
}

#[test]
fn a_version_whose_kernel_is_gone_waits_for_it() {
    let (dir, list) = filled();
    let before = documents(&dir);
    let mut kernels = KernelRegistry::new();
    kernels.register(Nothing).unwrap();
    let fewer = StoreOptions { kernels, ..options(Some(dir.path())) };
    let (store, recovery) = PlanStore::open(fewer).unwrap();
    assert_eq!((recovery.serving, recovery.versions, recovery.findings.len()), (0, 0, 3));
    assert!(recovery.findings[0].to_string().contains("answer"), "{}", recovery.findings[0]);
    store.deploy(&inner("part", "1.0.0"));
    drop(store);
    assert!(before.iter().all(|file| documents(&dir).contains(file)));
    let store = open_clean(&dir);
    assert_eq!(store.list().into_iter().filter(|graph| graph.name != name("part")).collect::<Vec<_>>(), list);
    assert!(store.resolve_service("pkg.Shop").is_some());
}

#[test]
fn a_document_that_cannot_be_read_is_left_where_it_is() {
    let (dir, _) = filled();
    let document = documents(&dir).into_iter().find(|file| file.starts_with("shed@")).unwrap();
    fs::remove_file(file(&dir, &document)).unwrap();
    fs::create_dir(file(&dir, &document)).unwrap();
    let (store, recovery) = open(&dir);
    assert!(matches!(&recovery.findings[..], [Finding::Unusable { .. }]), "{:?}", recovery.findings);
    assert!(store.resolve_service("pkg.Shop").is_some() && store.resolve_service("pkg.Shed").is_none());
    assert!(file(&dir, &document).is_dir());
}

#[test]
fn what_no_state_names_is_set_aside() {
    let (dir, list) = filled();
    let stray = format!("shop@{}.json", "0".repeat(64));
    fs::write(file(&dir, &stray), "{}").unwrap();
    fs::write(file(&dir, "state.json.tmp"), "half").unwrap();
    fs::write(file(&dir, "README"), "not the store's").unwrap();
    let (store, mut recovery) = open(&dir);
    assert_eq!(store.list(), list);
    recovery.findings.sort_by_key(ToString::to_string);
    let kept_as = Some(format!("quarantine/{stray}"));
    let expected = [
        Finding::Leftover { file: stray, kept_as },
        Finding::Leftover { file: "state.json.tmp".to_owned(), kept_as: None },
    ];
    assert_eq!(recovery.findings, expected);
    assert!(file(&dir, "README").exists() && !file(&dir, "state.json.tmp").exists());
    drop(store);
    open_clean(&dir);
}

#[test]
fn the_quarantine_overwrites_nothing() {
    let (dir, _) = filled();
    for round in 0..3 {
        fs::write(file(&dir, STATE), format!("round {round}")).unwrap();
        let _store = open(&dir);
    }
    let kept = |name: &str| fs::read_to_string(file(&dir, "quarantine").join(name)).unwrap();
    assert_eq!(
        [kept("state.json"), kept("state.json.1"), kept("state.json.2")],
        ["round 0", "round 1", "round 2"]
    );
}

#[test]
fn a_state_from_a_later_program_is_left_alone() {
    let (dir, _) = filled();
    let whole = fs::read_to_string(file(&dir, STATE)).unwrap();
    let body = whole.split_once('\n').unwrap().1.replace("\"format\":1", "\"format\":2");
    let later = format!("{}\n{body}", release::TextDigest::of(body.as_bytes()));
    fs::write(file(&dir, STATE), &later).unwrap();
    fs::write(file(&dir, "left.tmp"), "").unwrap();
    let refused = PlanStore::open(options(Some(dir.path()))).unwrap_err();
    assert!(matches!(refused, OpenError::LaterFormat { format: 2, known: 1, .. }), "{refused}");
    assert_eq!(fs::read_to_string(file(&dir, STATE)).unwrap(), later);
    assert!(file(&dir, "left.tmp").exists());
}

#[test]
fn a_directory_is_open_once() {
    let (dir, _) = filled();
    let store = open_clean(&dir);
    let second = PlanStore::open(options(Some(dir.path()))).unwrap_err();
    assert!(matches!(second, OpenError::InUse { .. }), "{second}");
    drop(store);
    open_clean(&dir);
}

#[test]
fn a_document_without_a_name_keeps_the_one_it_was_staged_under() {
    let dir = empty_dir();
    let store = open_clean(&dir);
    let mut nameless = shop("1.0.0", 1);
    let text = String::from_utf8(nameless.text.to_vec()).unwrap().replace(r#""name": "shop","#, "");
    nameless = GraphSource { stem: Some("kiosk".to_owned()), text: Bytes::from(text), ..nameless };
    store.deploy(&nameless);
    let list = store.list();
    drop(store);
    assert_eq!(open_clean(&dir).list(), list);
    assert_eq!(list[0].name, name("kiosk"));
}
