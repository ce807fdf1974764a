//! `log`: writes a line to the host's log.
//!
//! | port | type | |
//! |---|---|---|
//! | any input | any | listed in the node's `inputs`, or else `value`; written as a field |
//! | output `value` | as the input | the input `value`, unchanged; only if there is one |
//!
//! | parameter | default | |
//! |---|---|---|
//! | `message` | | what the line says |
//! | `level` | `"info"` | `error`, `warn`, `info`, `debug` or `trace` |
//!
//! The event's target is `okra::graph`; it has the fields `node`, `request_id` and `inputs`, the last at
//! most 8 KiB long, in which bytes, metadata and calls show only their size. Text is escaped, so that no
//! caller can forge a line. A level that nobody listens to costs nothing.
//!
//! Does not wait. Never fails.
//!
//! ```json
//! { "id": "note", "kernel": "log", "params": { "message": "order priced", "level": "debug" },
//!   "inputs": ["value", "user"], "outputs": ["value"] }
//! ```

use std::borrow::Cow;
use std::fmt::Write as _;
use std::time::Duration;

use exec_plan::{
    BindError, Body, BoundKernel, Fault, Gives, Kernel, KernelFactory, NodeSpec, OutputPort, Ports,
    ReadInputs, RequestContext, Signature, TypeSet,
};
use serde::Deserialize;
use tracing::Level;

use crate::bounded::Bounded;
use crate::ports;

/// The `log` kernel.
pub(crate) struct Log;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Params {
    message: String,
    #[serde(default)]
    level: LevelParam,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum LevelParam {
    Error,
    Warn,
    #[default]
    Info,
    Debug,
    Trace,
}

struct Line {
    node: String,
    message: String,
    level: LevelParam,
    names: Vec<Cow<'static, str>>,
    /// The input that passes.
    value: Option<usize>,
}

/// The longest text of the inputs, in bytes.
const MAX_INPUTS: usize = 8 << 10;
const COST: Duration = Duration::from_micros(1);
const TARGET: &str = "okra::graph";

impl KernelFactory for Log {
    fn name(&self) -> &str {
        "log"
    }

    fn bind(&self, node: &NodeSpec<'_>) -> Result<BoundKernel, Vec<BindError>> {
        let Params { message, level } = node.params.parse()?;
        let inputs = ports::named(node.inputs.unwrap_or(&["value"]).iter().copied(), TypeSet::ANY);
        let names = ports::names(&inputs);
        let value = names.iter().position(|name| name == "value");
        let output = value.map(|input| OutputPort::new("value", Gives::SameAsInput(input)));
        let mut signature = Signature::new(inputs, output);
        signature.cost = COST;
        let line = Line { node: node.id.to_owned(), message, level, names, value };
        Ok(BoundKernel { signature, body: Body::Inline(Box::new(line)) })
    }
}

impl Kernel for Line {
    fn run(&self, ports: &mut Ports<'_>, cx: &RequestContext) -> Result<(), Fault> {
        self.write(ports, cx);
        if let Some(value) = self.value {
            let value = ports::take(ports, value)?;
            ports.set(0, value);
        }
        Ok(())
    }
}

impl Line {
    fn write(&self, ports: &Ports<'_>, cx: &RequestContext) {
        // An event's level is part of its static description.
        macro_rules! event {
            ($level:expr) => {
                if tracing::enabled!(target: TARGET, $level) {
                    let request_id = cx.environment().request_id();
                    let request_id = request_id.as_deref();
                    let (node, inputs, message) = (&self.node, self.inputs(ports), &self.message);
                    tracing::event!(target: TARGET, $level, node, request_id, inputs, "{message}");
                }
            };
        }
        match self.level {
            LevelParam::Error => event!(Level::ERROR),
            LevelParam::Warn => event!(Level::WARN),
            LevelParam::Info => event!(Level::INFO),
            LevelParam::Debug => event!(Level::DEBUG),
            LevelParam::Trace => event!(Level::TRACE),
        }
    }

    fn inputs(&self, ports: &Ports<'_>) -> String {
        let mut text = Bounded::new(MAX_INPUTS);
        for (i, name) in self.names.iter().enumerate() {
            let gap = if i == 0 { "" } else { " " };
            let written = match ports.get(i) {
                Some(value) => write!(text, "{gap}{name}={value:?}"),
                None => Ok(()),
            };
            if written.is_err() {
                break;
            }
        }
        text.finish()
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use exec_plan::Value;
    use serde_json::json;

    use super::*;
    use crate::testing::{json as json_value, outcome, problems, text};

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(node: &serde_json::Value, inputs: Vec<(&str, Value)>) -> (String, String) {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(Level::DEBUG)
            .with_ansi(false)
            .without_time()
            .with_writer(move || writer.clone())
            .finish();
        let outcome = tracing::subscriber::with_default(subscriber, || outcome(&Log, node, inputs));
        let logged = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        (outcome, logged)
    }

    #[test]
    fn a_line_has_the_message_and_the_inputs() {
        let node = json!({"params": {"message": "priced", "level": "warn"}, "inputs": ["value", "user"]});
        let inputs = vec![("value", json_value(json!({"a": 1}))), ("user", text("a\nb"))];
        let (outcome, line) = logged(&node, inputs);
        assert_eq!(outcome, r#"value=json({"a":1})"#);
        let expected =
            r#" WARN okra::graph: priced node="node" inputs="value=json({\"a\":1}) user=\"a\\nb\"""#;
        assert_eq!(line.trim_end(), expected);
    }

    #[test]
    fn a_level_nobody_listens_to_writes_nothing() {
        let node = json!({"params": {"message": "m", "level": "trace"}});
        assert_eq!(logged(&node, vec![("value", Value::I64(1))]), ("value=1".to_owned(), String::new()));
    }

    #[test]
    fn the_inputs_are_cut_at_their_bound() {
        let node = json!({"params": {"message": "m"}, "inputs": ["text"]});
        let (outcome, line) = logged(&node, vec![("text", text(&"é".repeat(100_000)))]);
        assert_eq!(outcome, "");
        assert!(line.contains("é…"), "the cut shows");
        assert!(line.len() < MAX_INPUTS + 200, "{} bytes", line.len());
    }

    #[test]
    fn an_unknown_level_is_refused() {
        let node = json!({"params": {"message": "m", "level": "loud"}});
        let expected = "unknown variant `loud`, expected one of `error`, `warn`, `info`, `debug`, `trace`";
        assert_eq!(problems(&Log, &node), expected);
    }
}
