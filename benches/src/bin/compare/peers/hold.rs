//! `hold`: keeps its thread for `ms` milliseconds, then passes its input on.
//!
//! The built-in kernels that wait do so without a thread. This one blocks, as an embedder's kernel may, so
//! that what it costs its neighbours can be measured; with 0 ms it only sends its plan to the request pool.

use std::time::Duration;

use exec_plan::{
    BindError, Body, BoundKernel, Code, Fault, Gives, InputPort, Kernel, KernelFactory, NodeSpec, OutputPort,
    Ports, ReadInputs, RequestContext, Signature, TypeSet,
};
use serde::Deserialize;

/// The `hold` kernel.
pub(super) struct Hold;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Params {
    ms: u64,
}

struct Held(Duration);

impl KernelFactory for Hold {
    fn name(&self) -> &str {
        "hold"
    }

    fn bind(&self, node: &NodeSpec<'_>) -> Result<BoundKernel, Vec<BindError>> {
        let Params { ms } = node.params.parse()?;
        let signature = Signature::new(
            [InputPort::required("value", TypeSet::ANY)],
            [OutputPort::new("value", Gives::SameAsInput(0))],
        );
        Ok(BoundKernel { signature, body: Body::Blocking(Box::new(Held(Duration::from_millis(ms)))) })
    }
}

impl Kernel for Held {
    fn run(&self, ports: &mut Ports<'_>, _: &RequestContext) -> Result<(), Fault> {
        if !self.0.is_zero() {
            std::thread::sleep(self.0);
        }
        let value = ports.take(0).ok_or_else(|| Fault::new(Code::Internal, "nothing to pass on"))?;
        ports.set(0, value);
        Ok(())
    }
}
