//! `misbehave`: passes its payload on, and does what no kernel should when the payload asks for it.
//!
//! | port | type | |
//! |---|---|---|
//! | input `payload` | bytes | text; what begins with `!` sets it off |
//! | output `payload` | bytes | the same |
//! | output `trap` | call | nobody reads it; in `drop`, its destructor panics |
//!
//! | parameter | |
//! |---|---|
//! | `how` | `inline`, `blocking`, `async`: panics there. `drop`: panics in the destructor of an output. `sleep`: blocks its thread for as many milliseconds as the payload says |

use std::sync::Arc;
use std::time::Duration;

use exec_plan::{
    AsyncKernel, BindError, Body, BoundKernel, Code, Fault, InputPort, Inputs, Kernel, KernelFactory,
    NodeSpec, OutputPort, Outputs, Ports, ReadInputs, RequestContext, Signature, Type, Value,
};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde::Deserialize;

/// The factory.
pub(crate) struct Misbehave;

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum How {
    Inline,
    Blocking,
    Async,
    Drop,
    Sleep,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Params {
    how: How,
}

/// The body of every node but those that wait.
struct Sync(How);

/// The body of those that wait.
struct Waits;

/// Panics when it is dropped.
struct Trap;

impl KernelFactory for Misbehave {
    fn name(&self) -> &str {
        "misbehave"
    }

    fn bind(&self, node: &NodeSpec<'_>) -> Result<BoundKernel, Vec<BindError>> {
        let Params { how } = node.params.parse()?;
        let outputs = [OutputPort::new("payload", Type::Bytes), OutputPort::new("trap", Type::Call)];
        let signature = Signature::new([InputPort::required("payload", Type::Bytes)], outputs);
        let body = match how {
            How::Inline | How::Drop => Body::Inline(Box::new(Sync(how))),
            How::Blocking | How::Sleep => Body::Blocking(Box::new(Sync(how))),
            How::Async => Body::Async(Box::new(Waits)),
        };
        Ok(BoundKernel { signature, body })
    }
}

impl Kernel for Sync {
    fn run(&self, ports: &mut Ports<'_>, _: &RequestContext) -> Result<(), Fault> {
        let payload = ports.bytes(0)?.clone();
        match self.0 {
            How::Inline | How::Blocking | How::Async => explode_if_asked(&payload),
            How::Drop if payload.starts_with(b"!") => ports.set(1, Value::Call(Arc::new(Trap))),
            How::Drop => {}
            How::Sleep => {
                let text = std::str::from_utf8(&payload).ok().and_then(|text| text.parse().ok());
                let pause = text.ok_or_else(|| Fault::new(Code::InvalidArgument, "not a number"))?;
                std::thread::sleep(Duration::from_millis(pause));
            }
        }
        ports.set(0, Value::Bytes(payload));
        Ok(())
    }
}

impl AsyncKernel for Waits {
    fn run<'a>(&'a self, inputs: Inputs, _: &'a RequestContext) -> BoxFuture<'a, Result<Outputs, Fault>> {
        async move {
            tokio::task::yield_now().await;
            let payload = inputs.bytes(0)?.clone();
            explode_if_asked(&payload);
            Ok(Outputs::one(Value::Bytes(payload)))
        }
        .boxed()
    }
}

impl Drop for Trap {
    fn drop(&mut self) {
        panic!("in drop, as asked");
    }
}

fn explode_if_asked(payload: &[u8]) {
    assert!(!payload.starts_with(b"!"), "as asked");
}
