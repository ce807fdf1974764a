//! `delay`: waits, then passes its input on.
//!
//! | port | type | |
//! |---|---|---|
//! | input `value` | any | |
//! | output `value` | as the input | what came in |
//!
//! | parameter | default | |
//! |---|---|---|
//! | `ms` | | how long to wait, 0 to 60,000 milliseconds |
//!
//! Waits without a thread. Fails with CANCELLED if the caller leaves meanwhile.
//!
//! ```json
//! { "id": "slowly", "kernel": "delay", "params": { "ms": 20 },
//!   "inputs": ["value"], "outputs": ["value"] }
//! ```

use std::time::Duration;

use exec_plan::{
    AsyncKernel, BindError, Body, BoundKernel, Code, Fault, Gives, InputPort, Inputs, KernelFactory,
    NodeSpec, OutputPort, Outputs, RequestContext, Signature, Site, TypeSet,
};
use futures_util::future::BoxFuture;
use serde::Deserialize;

use crate::ports;

/// The `delay` kernel.
pub(crate) struct Delay;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Params {
    ms: u64,
}

struct Wait(Duration);

/// The longest delay, in milliseconds.
const MAX_MS: u64 = 60_000;

impl KernelFactory for Delay {
    fn name(&self) -> &str {
        "delay"
    }

    fn bind(&self, node: &NodeSpec<'_>) -> Result<BoundKernel, Vec<BindError>> {
        let Params { ms } = node.params.parse()?;
        if ms > MAX_MS {
            let message = format!("a delay is at most {MAX_MS} ms, not {ms}");
            return Err(vec![BindError::new(Site::Param("/ms".to_owned()), message)]);
        }
        let signature = Signature::new(
            [InputPort::required("value", TypeSet::ANY)],
            [OutputPort::new("value", Gives::SameAsInput(0))],
        );
        Ok(BoundKernel { signature, body: Body::Async(Box::new(Wait(Duration::from_millis(ms)))) })
    }
}

impl AsyncKernel for Wait {
    fn run<'a>(
        &'a self,
        mut inputs: Inputs,
        cx: &'a RequestContext,
    ) -> BoxFuture<'a, Result<Outputs, Fault>> {
        Box::pin(async move {
            tokio::select! {
                biased;
                () = cx.cancel().cancelled() => Err(Fault::new(Code::Cancelled, "the caller left during a delay")),
                () = tokio::time::sleep(self.0) => ports::take(&mut inputs, 0).map(Outputs::one),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use exec_plan::{Cancel, Value};
    use serde_json::json;
    use tokio::time::{Instant, timeout};

    use super::*;
    use crate::testing::{bind, cx, cx_with, problems, run_with};

    #[tokio::test(start_paused = true)]
    async fn the_value_passes_once_the_time_is_over() {
        let kernel = bind(&Delay, &json!({"params": {"ms": 50}})).unwrap();
        let start = Instant::now();
        assert_eq!(run_with(&kernel, [("value", Value::I64(7))], &cx()).await.unwrap(), "value=7");
        assert!(start.elapsed() >= Duration::from_millis(50));
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_who_leaves_ends_the_wait() {
        let kernel = bind(&Delay, &json!({"params": {"ms": 60000}})).unwrap();
        let cancel = Cancel::new();
        let cx = cx_with(&cancel);
        let run = run_with(&kernel, [("value", Value::Null)], &cx);
        tokio::pin!(run);
        assert!(timeout(Duration::from_millis(10), &mut run).await.is_err());
        cancel.cancel();
        let ended = timeout(Duration::from_millis(1), run).await.expect("the wait must end at once");
        assert_eq!(ended.unwrap_err().code(), Code::Cancelled);
    }

    #[test]
    fn a_delay_is_bounded() {
        for (params, expected) in [
            (json!({"ms": 60001}), "/ms: a delay is at most 60000 ms, not 60001"),
            (json!({"ms": -1}), "invalid value: integer `-1`, expected u64"),
            (json!({}), "missing field `ms`"),
        ] {
            assert_eq!(problems(&Delay, &json!({"params": params})), expected);
        }
    }
}
