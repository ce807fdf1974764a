//! The store with real, small graphs. Here: kernels, documents and a few words for what tests ask.

mod damage;
mod faults;
mod model;
mod rules;
mod stress;

use std::num::NonZeroUsize;
use std::path::Path;

use bytes::Bytes;
use tempfile::TempDir;

use super::disk::DiskWatch;
use super::*;
use crate::context::RequestContext;
use crate::fault::Fault;
use crate::kernel::{
    BindError, Body, BoundKernel, InputPort, Kernel, KernelFactory, NodeSpec, OutputPort, Signature,
};
use crate::ports::Ports;
use crate::value::Type;

/// Answers a call; its `params` are whatever a test wants two documents to differ in.
struct Answer;

/// Gives null.
struct Nothing;

struct Idle;

// === impl Answer ===

impl KernelFactory for Answer {
    fn name(&self) -> &str {
        "answer"
    }

    fn bind(&self, _: &NodeSpec<'_>) -> Result<BoundKernel, Vec<BindError>> {
        let mut signature = Signature::new([InputPort::required("value", Type::I64)], []);
        signature.answers = true;
        Ok(BoundKernel { signature, body: Body::Inline(Box::new(Idle)) })
    }
}

// === impl Nothing ===

impl KernelFactory for Nothing {
    fn name(&self) -> &str {
        "nothing"
    }

    fn bind(&self, _: &NodeSpec<'_>) -> Result<BoundKernel, Vec<BindError>> {
        let signature = Signature::new([], [OutputPort::new("value", Type::Null)]);
        Ok(BoundKernel { signature, body: Body::Inline(Box::new(Idle)) })
    }
}

impl Kernel for Idle {
    fn run(&self, _: &mut Ports<'_>, _: &RequestContext) -> Result<(), Fault> {
        Ok(())
    }
}

fn kernels() -> KernelRegistry {
    let mut kernels = KernelRegistry::new();
    kernels.register(Answer).unwrap();
    kernels.register(Nothing).unwrap();
    kernels
}

fn options(dir: Option<&Path>) -> StoreOptions {
    let dir = dir.map(Path::to_owned);
    StoreOptions { dir, ..StoreOptions::in_memory(kernels(), EnvSchema::default()) }
}

fn in_memory() -> PlanStore {
    PlanStore::open(options(None)).unwrap().0
}

fn keeping(keep: usize) -> PlanStore {
    let keep = NonZeroUsize::new(keep).unwrap();
    PlanStore::open(StoreOptions { keep, ..options(None) }).unwrap().0
}

/// A directory in memory, where there is such a thing: these tests sync thousands of times.
fn empty_dir() -> TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { TempDir::new_in(memory) } else { TempDir::new() }.unwrap()
}

fn open(dir: &TempDir) -> (PlanStore, Recovery) {
    PlanStore::open(options(Some(dir.path()))).unwrap()
}

fn open_clean(dir: &TempDir) -> PlanStore {
    let (store, recovery) = open(dir);
    assert_eq!(recovery.findings, []);
    store
}

/// A document that answers, `content` apart from others of its version.
fn served(graph: &str, version: &str, serves: &[&str], content: i64) -> GraphSource {
    source(&format!(
        r#"{{"name": "{graph}", "version": "{version}", "serves": {serves:?},
            "nodes": [{{"id": "out", "kernel": "answer", "inputs": ["value"], "outputs": []}}],
            "bindings": [{{"to": "out.value", "from": {content}}}]}}"#
    ))
}

/// A document of the graph `shop` that serves no service by name.
fn shop(version: &str, content: i64) -> GraphSource {
    served("shop", version, &[], content)
}

/// A document that other graphs run.
fn inner(graph: &str, version: &str) -> GraphSource {
    source(&format!(
        r#"{{"name": "{graph}", "version": "{version}",
            "nodes": [{{"id": "n", "kernel": "nothing", "inputs": [], "outputs": ["value"]}}],
            "bindings": [], "outputs": [{{"from": "n.value", "as": "value"}}]}}"#
    ))
}

fn source(text: &str) -> GraphSource {
    GraphSource { origin: "test".into(), stem: None, text: Bytes::from(text.to_owned()) }
}

fn name(text: &str) -> GraphName {
    text.parse().unwrap()
}

fn version(text: &str) -> Version {
    text.parse().unwrap()
}

/// What serves a graph, as its version.
fn serving(store: &PlanStore, graph: &str) -> Option<String> {
    store.resolve_named(graph, None).ok().map(|lease| lease.version().to_string())
}

impl PlanStore {
    /// Stages and publishes, both of which must go well.
    fn deploy(&self, source: &GraphSource) -> SwapReceipt {
        let staged = self.stage(source, true).unwrap();
        self.publish(&staged.graph, &staged.release.version).unwrap()
    }
}
