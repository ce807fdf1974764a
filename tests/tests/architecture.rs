//! The rules of the house that a machine can check. Each test is one invariant of `ARCHITECTURE.md`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;
use serde_json::Value;
use tests::repository;

/// Which crates of this repository each may depend on. Arrows point down only, siblings don't see
/// each other, and a crate that is not listed here does not belong.
const LAYERS: &[(&str, &[&str])] = &[
    ("exec-plan", &[]),
    ("http2-core", &[]),
    ("proto-json", &[]),
    ("kernels-wasm", &[]),
    ("kernels", &["exec-plan", "kernels-wasm", "proto-json"]),
    ("packages", &["proto-json"]),
    ("models", &[]),
    ("fuzz", &["exec-plan", "kernels", "packages", "proto-json", "serve-host"]),
    ("serve-host", &["exec-plan", "http2-core", "kernels", "kernels-wasm", "packages", "proto-json"]),
    ("tests", &["exec-plan", "kernels", "packages", "proto-json", "serve-host"]),
    (
        "benches",
        &[
            "exec-plan",
            "http2-core",
            "kernels",
            "kernels-wasm",
            "packages",
            "proto-json",
            "serve-host",
            "tests",
        ],
    ),
];

/// What must not be anywhere below a crate.
const ABSENT: &[(&str, &[&str])] = &[
    ("exec-plan", &["axum", "h2", "http", "http-body", "hyper", "prost", "tonic", "wasmtime"]),
    ("http2-core", &["h2", "hyper", "mio", "tokio", "tonic"]),
    ("kernels-wasm", &["axum", "hyper", "tonic"]),
    ("packages", &["hyper", "tokio", "tonic", "wasmtime"]),
    ("proto-json", &["hyper", "tokio", "tonic", "wasmtime"]),
];

/// The one file with unsafe code.
const UNSAFE: &str = "kernels/wasm/src/cache.rs";

/// The most lines of code in a file, without blank lines and comments.
const CODE_LINES: usize = 600;

#[test]
fn crates_depend_downward_only() -> anyhow::Result<()> {
    let workspace = Workspace::read()?;
    for (name, package) in &workspace.members {
        let allowed = allowed(name).with_context(|| format!("{name} is in no layer"))?;
        let own = dependencies(package).filter(|dependency| workspace.members.contains_key(*dependency));
        let wrong: Vec<_> = own.filter(|dependency| !allowed.contains(dependency)).collect();
        assert!(wrong.is_empty(), "{name} must not depend on {wrong:?}");
    }
    Ok(())
}

#[test]
fn lower_crates_know_nothing_of_what_lies_above() -> anyhow::Result<()> {
    let workspace = Workspace::read()?;
    for (name, absent) in ABSENT {
        if !workspace.members.contains_key(*name) {
            continue;
        }
        let below = workspace.below(name)?;
        let found: Vec<_> = absent.iter().filter(|absent| below.contains(**absent)).collect();
        assert!(found.is_empty(), "{name} has {found:?} below it");
        assert!(
            below.contains("bytes") || below.contains("thiserror"),
            "the tree of {name} was not read: {below:?}"
        );
    }
    Ok(())
}

/// `foo/tests.rs` is introduced by `foo.rs`, whose tests it holds.
#[test]
fn every_file_introduces_itself() -> anyhow::Result<()> {
    let mut silent = sources()?;
    silent.retain(|(path, text)| !path.ends_with("tests.rs") && !text.starts_with("//! "));
    assert!(silent.is_empty(), "no `//!` on the first line of {:?}", paths(&silent));
    Ok(())
}

#[test]
fn files_are_short() -> anyhow::Result<()> {
    for (path, text) in sources()? {
        let lines = text.lines().map(str::trim);
        let code = lines.filter(|line| !line.is_empty() && !line.starts_with("//")).count();
        assert!(code <= CODE_LINES, "{} has {code} lines of code", path.display());
    }
    Ok(())
}

#[test]
fn modules_are_named_files() -> anyhow::Result<()> {
    let banned = ["mod.rs", "utils.rs", "util.rs", "helpers.rs", "common.rs", "manager.rs", "misc.rs"];
    let sources = sources()?;
    let found: Vec<_> =
        paths(&sources).into_iter().filter(|path| banned.iter().any(|name| path.ends_with(name))).collect();
    assert!(found.is_empty(), "a file is named after what it defines: {found:?}");
    Ok(())
}

/// Nothing is unsafe, save one function that maps compiled guests and says why it may.
#[test]
fn nothing_is_unsafe() -> anyhow::Result<()> {
    let root = std::fs::read_to_string(repository().join("Cargo.toml"))?;
    assert!(root.contains("unsafe_code = \"deny\""), "the workspace no longer denies unsafe code");
    for (name, package) in &Workspace::read()?.members {
        let manifest = package["manifest_path"].as_str().context("a manifest has a path")?;
        let manifest = std::fs::read_to_string(manifest)?;
        assert!(manifest.contains("[lints]\nworkspace = true"), "{name} does not take the workspace's lints");
    }
    for (path, text) in sources()? {
        // Guests are programs of their own, which this host runs without trusting them.
        if path.starts_with("guests") || path.ends_with("tests/tests/architecture.rs") {
            continue;
        }
        let (opts_out, is_named) = (text.contains("unsafe_code"), path == Path::new(UNSAFE));
        assert_eq!(
            opts_out,
            is_named,
            "{} opts out of the ban on unsafe code, or no longer does",
            path.display()
        );
        if is_named {
            assert_eq!(text.matches("unsafe_code").count(), 1, "{UNSAFE} opts out more than once");
            assert_eq!(text.matches("unsafe {").count(), 1, "{UNSAFE} has more than one unsafe block");
            assert!(text.contains("// SAFETY: "), "{UNSAFE} does not say why it is sound");
        }
    }
    Ok(())
}

#[test]
fn every_kernel_has_a_file_a_contract_and_a_graph() -> anyhow::Result<()> {
    let sources = sources()?;
    let graphs: Vec<_> = files("*.json")?.into_iter().filter(|path| path.starts_with("graphs")).collect();
    let graphs: Vec<_> = graphs
        .iter()
        .map(|path| std::fs::read_to_string(repository().join(path)))
        .collect::<Result<_, _>>()?;
    let graphs: String = graphs.concat();
    let mut kernels = 0;
    for (path, text) in sources.iter().filter(|(path, _)| path.starts_with("kernels/src")) {
        if !text.contains("\nimpl KernelFactory for ") {
            continue;
        }
        let name = path.file_stem().and_then(|stem| stem.to_str()).context("a file has a name")?;
        assert!(
            text.starts_with(&format!("//! `{name}`: ")),
            "{} does not begin with its contract",
            path.display()
        );
        assert!(text.contains(&format!("\"{name}\"")), "{} does not define {name:?}", path.display());
        assert!(graphs.contains(&format!("\"kernel\": \"{name}\"")), "no graph in graphs/ uses {name}");
        kernels += 1;
    }
    assert!(kernels >= 20, "only {kernels} kernels were found");
    Ok(())
}

/// What `cargo metadata` says.
struct Workspace {
    members: BTreeMap<String, Value>,
    names: BTreeMap<String, String>,
    nodes: BTreeMap<String, Value>,
}

impl Workspace {
    fn read() -> anyhow::Result<Self> {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let output = Command::new(cargo)
            .args(["metadata", "--format-version", "1", "--offline"])
            .current_dir(repository())
            .output()?;
        anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let metadata: Value = serde_json::from_slice(&output.stdout)?;
        let text = |value: &Value| value.as_str().map(str::to_owned).context("expected text");
        let list = |value: &Value| value.as_array().cloned().context("expected a list");

        let own: BTreeSet<_> =
            list(&metadata["workspace_members"])?.iter().map(text).collect::<Result<_, _>>()?;
        let mut workspace = Self { members: BTreeMap::new(), names: BTreeMap::new(), nodes: BTreeMap::new() };
        for package in list(&metadata["packages"])? {
            let (id, name) = (text(&package["id"])?, text(&package["name"])?);
            workspace.names.insert(id.clone(), name.clone());
            if own.contains(&id) {
                workspace.members.insert(name, package);
            }
        }
        for node in list(&metadata["resolve"]["nodes"])? {
            workspace.nodes.insert(text(&node["id"])?, node);
        }
        Ok(workspace)
    }

    /// The names of all crates that end up in the same program because of this one.
    fn below(&self, name: &str) -> anyhow::Result<BTreeSet<&str>> {
        let start = self.members[name]["id"].as_str().context("a package has an id")?;
        let mut seen = BTreeSet::new();
        let mut open = vec![start];
        while let Some(id) = open.pop() {
            for dependency in self.nodes[id]["deps"].as_array().into_iter().flatten() {
                let kinds = dependency["dep_kinds"].as_array().into_iter().flatten();
                let linked = kinds.into_iter().any(|kind| kind["kind"].is_null());
                let id = dependency["pkg"].as_str().context("a dependency has an id")?;
                if linked && seen.insert(id) {
                    open.push(id);
                }
            }
        }
        Ok(seen.into_iter().map(|id| self.names[id].as_str()).collect())
    }
}

fn allowed(name: &str) -> Option<&'static [&'static str]> {
    LAYERS.iter().find(|(layer, _)| *layer == name).map(|(_, below)| *below)
}

fn dependencies(package: &Value) -> impl Iterator<Item = &str> {
    package["dependencies"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|dependency| dependency["name"].as_str())
}

/// Every Rust file with its text.
fn sources() -> anyhow::Result<Vec<(PathBuf, String)>> {
    let mut sources = Vec::new();
    for path in files("*.rs")? {
        let text = std::fs::read_to_string(repository().join(&path))?;
        sources.push((path, text));
    }
    anyhow::ensure!(sources.len() > 10, "the sources were not found");
    Ok(sources)
}

/// Every file of this kind that git knows or would add.
fn files(pattern: &str) -> anyhow::Result<Vec<PathBuf>> {
    let output = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard", pattern])
        .current_dir(repository())
        .output()?;
    anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let listed = String::from_utf8(output.stdout)?;
    Ok(listed.lines().map(PathBuf::from).filter(|path| repository().join(path).is_file()).collect())
}

fn paths(sources: &[(PathBuf, String)]) -> Vec<&Path> {
    sources.iter().map(|(path, _)| path.as_path()).collect()
}
