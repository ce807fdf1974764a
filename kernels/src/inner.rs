//! Running one graph inside another: what `graph_call` and `scatter` share.
//!
//! The inner graph's `$req.` keys are the inputs of the node that runs it; keys of the served request
//! (`rpc.metadata` and the like) still mean that request. Deadline, cancellation and trace carry over.

use std::sync::Arc;

use exec_plan::{
    BindError, Code, EnvKey, Environment, ExecPlan, Executor, Fault, GraphName, HeldPlan, RequestContext,
    RunOutputs, Site, TraceParent, Value,
};

/// The environment of an inner run.
pub(crate) struct InnerEnvironment {
    outer: Arc<dyn Environment>,
    given: Vec<(Arc<str>, Value)>,
}

// === impl InnerEnvironment ===

impl InnerEnvironment {
    /// The given values, by key, in front of the environment of the run that calls.
    pub(crate) fn new(cx: &RequestContext, given: Vec<(Arc<str>, Value)>) -> Self {
        Self { outer: cx.environment().clone(), given }
    }

    fn given(&self, name: &str) -> Option<&Value> {
        self.given.iter().find(|(key, _)| &**key == name).map(|(_, value)| value)
    }
}

impl Environment for InnerEnvironment {
    fn value(self: Arc<Self>, key: &EnvKey) -> Value {
        match self.given(&key.name) {
            Some(value) => value.clone(),
            None => self.outer.clone().value(key),
        }
    }

    fn trace_parent(&self) -> Option<TraceParent> {
        self.outer.trace_parent()
    }

    fn request_id(&self) -> Option<Arc<str>> {
        self.outer.request_id()
    }
}

/// The plan that answers for a graph now.
///
/// # Errors
/// FAILED_PRECONDITION if there is none, or if it answers calls and so cannot be run inside another.
pub(crate) fn resolve(graph: &GraphName, cx: &RequestContext) -> Result<HeldPlan, Fault> {
    let refuse = |what: &str| Err(Fault::new(Code::FailedPrecondition, format!("graph {graph} {what}")));
    let Some(held) = cx.graphs().and_then(|graphs| graphs.plan(graph.as_str())) else {
        return refuse("is not published here");
    };
    if held.plan().answers() {
        return refuse("answers calls itself; only graphs that give outputs run inside another");
    }
    Ok(held)
}

/// Runs a plan inside the run of `cx`.
///
/// # Errors
/// FAILED_PRECONDITION if the plan needs an input that is not given, RESOURCE_EXHAUSTED if graphs call
/// each other too deep; else the fault of the inner run.
pub(crate) async fn run(
    plan: &Arc<ExecPlan>,
    environment: InnerEnvironment,
    cx: &RequestContext,
) -> Result<RunOutputs, Fault> {
    let missing = plan.env_keys().find(|key| key.index.is_none() && environment.given(&key.name).is_none());
    if let Some(key) = missing {
        let message = format!("graph {} needs the input {:?}", plan.name(), key.name);
        return Err(Fault::new(Code::FailedPrecondition, message));
    }
    let Some(nested) = cx.nested(Arc::new(environment)) else {
        let message = format!("graphs call each other deeper than {}", RequestContext::MAX_DEPTH);
        return Err(Fault::new(Code::ResourceExhausted, message));
    };
    let ran = Executor::drive(plan, &Arc::new(nested), cx.offload()).await;
    // The node within goes to the logs; callers see the failure as they would without the inner graph.
    ran.map_err(|error| {
        let node = error.node.as_deref().unwrap_or("its begin or end");
        error.fault.through(format!("graph {} at {node}", plan.label()))
    })
}

/// The value of an output of an inner run.
///
/// # Errors
/// FAILED_PRECONDITION if the graph has no such output or the node behind it was skipped.
pub(crate) fn output(plan: &ExecPlan, outputs: &RunOutputs, name: &str) -> Result<Value, Fault> {
    outputs.get(name).cloned().ok_or_else(|| {
        Fault::new(Code::FailedPrecondition, format!("graph {} gave no output {name:?}", plan.name()))
    })
}

/// The name of a graph, as a parameter gives it.
pub(crate) fn graph_name(text: &str) -> Result<GraphName, BindError> {
    text.parse().map_err(|error: exec_plan::InvalidGraphName| {
        BindError::new(Site::Param("/graph".to_owned()), error.to_string())
    })
}

#[cfg(test)]
mod tests;
