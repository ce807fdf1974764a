//! What the compiler accepts, what it refuses, and how it says so.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::wildcard_enum_match_arm, reason = "a test names the cases it is about")]

mod answers;
mod broken;
mod hash;
mod kernels;
mod schema;
mod size;
mod text;

use exec_plan::{ExecPlan, GraphErrors, GraphSource};

/// Compiles a document that came from `graph.json`, with the kernels of [`kernels`].
fn compile(text: impl Into<Vec<u8>>) -> Result<ExecPlan, GraphErrors> {
    let text = text.into().into();
    let source = GraphSource { origin: "graph.json".into(), stem: Some("graph".into()), text };
    ExecPlan::compile(&source, &kernels::registry(), &kernels::schema())
}
