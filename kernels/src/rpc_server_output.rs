//! `rpc_server_output`: answers the call.
//!
//! | port | type | |
//! |---|---|---|
//! | input `call` | call | bound from `$req.rpc.call` |
//! | input `payload` | any with a JSON form | optional; the response message: bytes and text as they are, else compact JSON |
//! | input `status` | string or i64 | optional; a status code's name or number |
//! | input `message` | string | optional; the status message |
//! | input `details` | bytes or JSON | optional; a serialized `google.rpc.Status`, or an error info |
//! | input `headers` | metadata or JSON | optional; sent before the message |
//! | input `trailers` | metadata or JSON | optional; sent after it |
//! | input `metadata` | metadata or JSON | optional; another name for `trailers` |
//!
//! | parameter | default | |
//! |---|---|---|
//! | `status` | `"OK"` | a status code, by name or number |
//! | `message` | `""` | the status message |
//! | `details` | | an error info, `{"reason": "…", "domain": "…", "metadata": {…}}`; the last two may be left out |
//! | `headers`, `trailers` | `{}` | objects of text, or of arrays of text; under `-bin` names base64 |
//!
//! An input wins over its parameter, save that headers and trailers add up. With a status other than OK
//! the payload is not sent; with OK, message and details are not.
//!
//! Does not wait. Fails with INTERNAL if the call was answered before, or an input is no status, details
//! or metadata; with INVALID_ARGUMENT if the payload has no JSON form; with CANCELLED if the call is
//! closed, because its time was up or its client left.
//!
//! ```json
//! { "id": "out", "kernel": "rpc_server_output", "params": { "headers": { "cache-control": "no-store" } },
//!   "inputs": ["call", "payload"], "outputs": [] }
//! ```

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use exec_plan::{
    BindError, Body, BoundKernel, Code, Fault, InputPort, Kernel, KernelFactory, Metadata, NodeSpec, Ports,
    ReadInputs, RequestContext, Signature, Site, Type, Value,
};
use serde::Deserialize;
use serde_json::{Map, Value as Json};

use crate::call::{Answer, AnswerError, RpcServerCall};
use crate::status::{self, CodeParam, ErrorInfo};
use crate::{json, metadata_json};

/// The `rpc_server_output` kernel.
pub(crate) struct RpcServerOutput;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Params {
    status: Option<CodeParam>,
    #[serde(default)]
    message: String,
    details: Option<ErrorInfo>,
    #[serde(default)]
    headers: Map<String, Json>,
    #[serde(default)]
    trailers: Map<String, Json>,
}

struct Respond {
    status: Code,
    message: String,
    details: Option<ErrorInfo>,
    headers: Option<Arc<Metadata>>,
    trailers: Option<Arc<Metadata>>,
}

const CALL: usize = 0;
const PAYLOAD: usize = 1;
const STATUS: usize = 2;
const MESSAGE: usize = 3;
const DETAILS: usize = 4;
const HEADERS: usize = 5;
const TRAILERS: usize = 6;
const METADATA: usize = 7;
const COST: Duration = Duration::from_nanos(150);

impl KernelFactory for RpcServerOutput {
    fn name(&self) -> &str {
        "rpc_server_output"
    }

    fn bind(&self, node: &NodeSpec<'_>) -> Result<BoundKernel, Vec<BindError>> {
        let Params { status, message, details, headers, trailers } = node.params.parse()?;
        let (headers, trailers) = match (constant(&headers, "/headers"), constant(&trailers, "/trailers")) {
            (Ok(headers), Ok(trailers)) => (headers, trailers),
            (headers, trailers) => return Err(headers.err().into_iter().chain(trailers.err()).collect()),
        };
        let mut signature = Signature::new(
            [
                InputPort::required("call", Type::Call),
                InputPort::optional("payload", json::DOCUMENT),
                InputPort::optional("status", status::CODE),
                InputPort::optional("message", Type::String),
                InputPort::optional("details", status::DETAILS),
                InputPort::optional("headers", metadata_json::READABLE),
                InputPort::optional("trailers", metadata_json::READABLE),
                InputPort::optional("metadata", metadata_json::READABLE),
            ],
            [],
        );
        signature.answers = true;
        signature.cost = COST;
        let status = status.map_or(Code::Ok, |status| status.0);
        let respond = Respond { status, message, details, headers, trailers };
        Ok(BoundKernel { signature, body: Body::Inline(Box::new(respond)) })
    }
}

impl Kernel for Respond {
    fn run(&self, ports: &mut Ports<'_>, _cx: &RequestContext) -> Result<(), Fault> {
        let code = ports.get(STATUS).map_or(Ok(self.status), status::code)?;
        let headers = added(&self.headers, ports, &[HEADERS])?;
        let trailers = added(&self.trailers, ports, &[TRAILERS, METADATA])?;
        let answer = if code == Code::Ok {
            let payload = match ports.take(PAYLOAD) {
                Some(Value::Bytes(bytes)) => bytes,
                Some(other) => json::to_text(other)?,
                None => Bytes::new(),
            };
            Answer { code, message: String::new(), payload, details: None, headers, trailers }
        } else {
            let message = match ports.get(MESSAGE) {
                Some(Value::Str(message)) => message.to_string(),
                _ => self.message.clone(),
            };
            let details = match ports.take(DETAILS) {
                Some(details) => Some(status::details(details, code, &message)?),
                None => self.details.as_ref().map(|info| info.encode(code, &message)),
            };
            Answer { headers, trailers, details, ..Answer::failed(code, message) }
        };
        RpcServerCall::of(ports.call(CALL)?)?.answer(answer).map_err(|error| match error {
            AnswerError::AlreadyAnswered => Fault::new(Code::Internal, error.to_string()),
            AnswerError::Closed => Fault::new(Code::Cancelled, error.to_string()),
        })
    }
}

/// The metadata of a parameter; none if it is empty.
fn constant(members: &Map<String, Json>, pointer: &str) -> Result<Option<Arc<Metadata>>, BindError> {
    let metadata = metadata_json::from_object(members)
        .map_err(|error| BindError::new(Site::Param(pointer.to_owned()), error.to_string()))?;
    Ok(Some(metadata).filter(|metadata| !metadata.is_empty()).map(Arc::new))
}

/// `constant` and what inputs add to it, which most graphs leave unbound.
fn added(
    constant: &Option<Arc<Metadata>>,
    ports: &mut Ports<'_>,
    inputs: &[usize],
) -> Result<Option<Arc<Metadata>>, Fault> {
    let mut all = constant.clone();
    for input in inputs {
        if ports.get(*input).is_some() {
            let more = ports.take(*input).map(metadata_json::from_value).transpose();
            let more =
                more.map_err(|error| Fault::new(Code::Internal, format!("the graph answers with {error}")))?;
            all = metadata_json::concat(all, more);
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::call::Closed;
    use crate::testing::{call, json as json_value, outcome, problems, text};

    fn answered(params: Json, inputs: Vec<(&str, Value)>) -> Result<Answer, String> {
        let call = call();
        let inputs = inputs.into_iter().chain([("call", Value::Call(call.clone()))]);
        let outcome = outcome(&RpcServerOutput, &json!({"params": params}), inputs);
        call.take_answer().ok_or(outcome)
    }

    fn show(metadata: Option<Arc<Metadata>>) -> String {
        let metadata = metadata.unwrap_or_default();
        metadata.iter().map(|(name, value)| format!("{name}={} ", value.escape_ascii())).collect()
    }

    #[test]
    fn a_payload_is_sent_as_it_is_or_as_json() {
        for (payload, expected) in [
            (Some(Value::Bytes("raw".into())), "raw"),
            (Some(text("text")), "text"),
            (Some(json_value(json!({"a": [1, null]}))), r#"{"a":[1,null]}"#),
            (Some(Value::I64(7)), "7"),
            (Some(Value::List([text("a"), Value::Null].into())), r#"["a",null]"#),
            (None, ""),
        ] {
            let inputs = payload.map(|payload| ("payload", payload)).into_iter().collect();
            let answer = answered(json!({}), inputs).unwrap();
            assert_eq!((answer.code, answer.payload), (Code::Ok, Bytes::from(expected)));
        }
    }

    #[test]
    fn a_status_comes_from_the_parameters_or_the_inputs() {
        let params = json!({"status": "UNIMPLEMENTED", "message": "not yet", "details": {"reason": "R"}});
        let answer = answered(params.clone(), vec![("payload", text("dropped"))]).unwrap();
        assert_eq!(
            (answer.code, answer.message.as_str(), answer.payload.len()),
            (Code::Unimplemented, "not yet", 0)
        );
        let info = ErrorInfo { reason: "R".into(), domain: String::new(), metadata: Default::default() };
        assert_eq!(answer.details, Some(info.encode(Code::Unimplemented, "not yet")));

        let inputs = vec![
            ("status", Value::I64(5)),
            ("message", text("no order 7")),
            ("details", json_value(json!({"reason": "GONE"}))),
        ];
        let answer = answered(params.clone(), inputs).unwrap();
        assert_eq!((answer.code, answer.message.as_str()), (Code::NotFound, "no order 7"));
        let info = ErrorInfo { reason: "GONE".into(), ..info };
        assert_eq!(answer.details, Some(info.encode(Code::NotFound, "no order 7")));

        let answer = answered(params, vec![("status", text("OK")), ("payload", text("fine"))]).unwrap();
        assert_eq!((answer.code, answer.details, answer.payload), (Code::Ok, None, "fine".into()));
    }

    #[test]
    fn headers_and_trailers_add_up() {
        let params = json!({"headers": {"a": "1"}, "trailers": {"b": ["2", "3"]}});
        let mut more = Metadata::new();
        more.append("b", "4").unwrap();
        let inputs = vec![
            ("headers", json_value(json!({"a": "5", "k-bin": "AQ=="}))),
            ("trailers", Value::Metadata(more.clone().into())),
            ("metadata", json_value(json!({"c": "6"}))),
        ];
        let answer = answered(params, inputs).unwrap();
        assert_eq!(show(answer.headers), r"a=1 a=5 k-bin=\x01 ");
        assert_eq!(show(answer.trailers), "b=2 b=3 b=4 c=6 ");
        assert!(answered(json!({}), vec![]).unwrap().headers.is_none());
    }

    #[test]
    fn the_graphs_own_mistakes_are_internal() {
        for (inputs, expected) in [
            (vec![("status", text("FINE"))], r#"INTERNAL: the graph gives "FINE" as a status code"#),
            (
                vec![("headers", json_value(json!({"a": 1})))],
                r#"INTERNAL: the graph answers with the metadata under "a" is not text"#,
            ),
            (vec![("payload", Value::F64(f64::NAN))], "INVALID_ARGUMENT: NaN has no JSON form"),
        ] {
            assert_eq!(answered(json!({}), inputs).unwrap_err(), expected);
        }
    }

    #[test]
    fn a_second_answer_and_a_late_one_fail() {
        let call = call();
        let again = || outcome(&RpcServerOutput, &json!({}), [("call", Value::Call(call.clone()))]);
        assert_eq!(again(), "");
        assert_eq!(again(), "INTERNAL: the call is answered already");
        let call = crate::testing::call();
        call.close(Closed::Expired);
        let late = outcome(&RpcServerOutput, &json!({}), [("call", Value::Call(call))]);
        assert_eq!(late, "CANCELLED: the call is closed");
    }

    #[test]
    fn parameters_are_checked() {
        let params = json!({"headers": {"A": "x"}, "trailers": {"b": 1}});
        let expected = "\
/headers: metadata name \"A\" must be non-empty and made of a-z, 0-9, '-', '_' and '.'
/trailers: the metadata under \"b\" is not text";
        assert_eq!(problems(&RpcServerOutput, &json!({"params": params})), expected);
        let params = json!({"details": {"domain": "d"}});
        assert_eq!(problems(&RpcServerOutput, &json!({"params": params})), "missing field `reason`");
    }
}
