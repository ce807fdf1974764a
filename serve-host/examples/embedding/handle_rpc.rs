//! `handle_rpc`: answers the methods of `text.Text`.
//!
//! | port | type | |
//! |---|---|---|
//! | input `method` | string | `/text.Text/Upper` or `/text.Text/Greet` |
//! | input `payload` | bytes | UTF-8 text |
//! | input `meta` | metadata | `Greet` looks for `language` |
//! | output `payload` | bytes | the answer |
//!
//! No parameters. Does not wait. Fails with UNIMPLEMENTED for other methods, INVALID_ARGUMENT for a
//! payload that is no text.

use exec_plan::{
    BindError, Body, BoundKernel, Code, Fault, InputPort, Kernel, KernelFactory, NodeSpec, OutputPort, Ports,
    ReadInputs, RequestContext, Signature, Type, Value,
};

/// The factory, and the body of every node: there is nothing to configure.
pub(crate) struct HandleRpc;

const METHOD: usize = 0;
const PAYLOAD: usize = 1;
const META: usize = 2;

impl KernelFactory for HandleRpc {
    fn name(&self) -> &str {
        "handle_rpc"
    }

    fn bind(&self, _: &NodeSpec<'_>) -> Result<BoundKernel, Vec<BindError>> {
        let inputs = [
            InputPort::required("method", Type::String),
            InputPort::required("payload", Type::Bytes),
            InputPort::required("meta", Type::Metadata),
        ];
        let signature = Signature::new(inputs, [OutputPort::new("payload", Type::Bytes)]);
        Ok(BoundKernel { signature, body: Body::Inline(Box::new(Self)) })
    }
}

impl Kernel for HandleRpc {
    fn run(&self, ports: &mut Ports<'_>, _: &RequestContext) -> Result<(), Fault> {
        let text = std::str::from_utf8(ports.bytes(PAYLOAD)?)
            .map_err(|_| Fault::new(Code::InvalidArgument, "the payload is no text"))?;
        let answer = match &**ports.str(METHOD)? {
            "/text.Text/Upper" => text.to_uppercase(),
            "/text.Text/Greet" => {
                let french = ports.metadata(META)?.first("language").is_some_and(|language| language == "fr");
                format!("{}, {text}!", if french { "Bonjour" } else { "Hello" })
            }
            other => return Err(Fault::new(Code::Unimplemented, format!("there is no {other}"))),
        };
        ports.set(0, Value::Bytes(answer.into()));
        Ok(())
    }
}
