//! What a store compiles documents with: one set of kernels, one environment.

use std::sync::Arc;

use crate::context::EnvSchema;
use crate::diagnostic::GraphErrors;
use crate::kernel::KernelRegistry;
use crate::plan::{ExecPlan, GraphSource};

/// Compiles documents.
#[derive(Debug)]
pub(super) struct Compiler {
    pub(super) kernels: KernelRegistry,
    pub(super) env: EnvSchema,
}

// === impl Compiler ===

impl Compiler {
    pub(super) fn compile(&self, source: &GraphSource) -> Result<Arc<ExecPlan>, GraphErrors> {
        ExecPlan::compile(source, &self.kernels, &self.env).map(Arc::new)
    }
}
