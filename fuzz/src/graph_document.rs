//! A graph document compiles, or its problems are named, each at its place; what compiles compiles again to
//! the same plan.

use std::sync::LazyLock;

use bytes::Bytes;
use exec_plan::{EnvSchema, ExecPlan, GraphErrors, GraphSource, KernelRegistry};

static KERNELS: LazyLock<(KernelRegistry, EnvSchema)> =
    LazyLock::new(|| (kernels::builtin(), kernels::serve_env()));

pub(crate) fn check(input: &[u8]) {
    match compile(input) {
        Ok(plan) => {
            let again = compile(input);
            assert!(again.is_ok_and(|again| again.hash() == plan.hash()), "not the same twice");
            assert!(!plan.label().is_empty());
        }
        Err(errors) => {
            assert!(!errors.errors().is_empty());
            assert!(!errors.render(false).is_empty());
        }
    }
}

fn compile(input: &[u8]) -> Result<ExecPlan, GraphErrors> {
    let (kernels, env) = &*KERNELS;
    let text = Bytes::copy_from_slice(input);
    ExecPlan::compile(
        &GraphSource { origin: "fuzz".into(), stem: Some("fuzz".to_owned()), text },
        kernels,
        env,
    )
}
