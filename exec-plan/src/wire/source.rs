//! What feeds an input, a graph output or a fallback: an output, a key of the request or a constant.

use super::constant::{Refusal, constant};
use super::nodes::{Side, listed};
use super::{Wire, Wiring};
use crate::context::EnvKey;
use crate::diagnostic::{GraphErrorCode as Code, Problem};
use crate::document::{Endpoint, Item, Span, Word, is_dotted, is_identifier};
use crate::value::{Type, TypeSet, Value};

/// What a source feeds.
#[derive(Clone, Copy, Debug)]
pub(super) enum Sink {
    Input {
        node: usize,
        input: usize,
    },
    /// An output of a node that has failed.
    Fallback {
        node: usize,
        output: usize,
    },
    GraphOutput,
    /// Something that does not exist, which has been reported.
    Unknown,
}

/// How a document begins a key of the environment.
const ENV_PREFIX: &str = "$req.";

// === impl Wiring ===

impl<'d> Wiring<'d, '_> {
    /// The wire from a source, which is an endpoint, a key of the environment or a constant.
    pub(super) fn source(&mut self, from: Item, sink: Sink) -> Option<Wire> {
        if let Some(word) = self.tree.word(from) {
            if let Some(key) = word.text.strip_prefix(ENV_PREFIX) {
                let key = word.part(key, ENV_PREFIX.len());
                return self.env_key(key, sink);
            }
            if word.text.starts_with('$') {
                let message = format!("{:?} is no source", word.text);
                let help =
                    "a source is `node.port`, `$req.key` or a constant; as a constant, the text is written";
                let problem = Problem::new(Code::InvalidEndpoint, word.span, message)
                    .help(format!("{help} {{\"$string\": {:?}}}", word.text));
                self.problems.push(problem);
                return None;
            }
            if let Some(endpoint) = Endpoint::split(word) {
                if let Some(node) = self.by_id.get(endpoint.node.text) {
                    return self.output(*node, endpoint, word);
                }
                if endpoint.is_well_formed() {
                    self.unknown_node(endpoint.node, Some(word.text));
                    return None;
                }
            }
        }
        self.constant(from, sink)
    }

    fn output(&mut self, node: usize, endpoint: Endpoint<'d>, from: Word<'d>) -> Option<Wire> {
        let port = endpoint.port;
        let failure = self.doc.nodes[node].failure_output();
        let Some(bound) = &self.drafts[node].bound else {
            // Its outputs are not known, but that its readers wait for it is.
            return Some(Wire::Node { node, output: 0 });
        };
        let output = if failure.is_some_and(|name| name.text == port.text) {
            Some(bound.signature.outputs.len())
        } else {
            self.port(node, Side::Output, port.text)
        };
        let Some(output) = output else {
            if self.port(node, Side::Input, port.text).is_some() {
                let message = format!("`{}` is an input of `{}`", port.text, endpoint.node.text);
                let problem = Problem::new(Code::BindingFromInput, port.span, message)
                    .help("bind what feeds that input instead");
                self.problems.push(problem);
            } else if is_identifier(port.text) {
                self.unknown_port(node, Side::Output, port);
            } else {
                self.invalid_endpoint(from, "an output");
            }
            return None;
        };
        let state = &mut self.outputs[self.drafts[node].first_output + output];
        state.read = true;
        let is_failure = failure.is_some_and(|name| name.text == port.text);
        if !state.listed
            && !is_failure
            && let Some(list) = self.doc.nodes[node].outputs
        {
            self.unlisted_port(endpoint, "outputs", list);
        }
        Some(Wire::Node { node, output })
    }

    fn env_key(&mut self, key: Word<'d>, sink: Sink) -> Option<Wire> {
        let known = self.schema.get(key.text);
        if known.is_none() && self.served {
            self.unknown_env_key(key);
            return None;
        }
        if known.is_none() && !is_dotted(key.text) {
            let message = format!("{:?} is not a key", key.text);
            let problem = Problem::new(Code::InvalidIdentifier, key.span, message)
                .help("a key of an inner graph is identifiers joined by dots");
            self.problems.push(problem);
            return None;
        }
        if let Some((_, kind)) = known
            && !self.accepts(sink).contains(kind)
        {
            self.mismatch(key.span, &format!("`{ENV_PREFIX}{}`", key.text), kind.into(), sink);
        }
        let env = &mut self.env;
        let index = *self.env_by_name.entry(key.text).or_insert_with(|| {
            env.push(EnvKey { name: key.text.into(), index: known.map(|(index, _)| index) });
            env.len() - 1
        });
        Some(Wire::Env(index))
    }

    #[cold]
    fn unknown_env_key(&mut self, key: Word<'d>) {
        let mut names = self.schema.names().peekable();
        let mut help = match names.peek() {
            None => "this host gives its graphs no keys".to_owned(),
            Some(_) => format!("the keys are {}", listed(names)),
        };
        if let Some(name) = self.problems.closest(key.text, self.schema.names()) {
            help = format!("did you mean `{name}`? {help}");
        }
        let message = format!("a request has no key {:?}", key.text);
        self.problems.push(Problem::new(Code::UnknownEnvKey, key.span, message).help(help));
    }

    /// The wire from a constant, of a type that the sink accepts.
    pub(super) fn constant(&mut self, item: Item, sink: Sink) -> Option<Wire> {
        let problem = match constant(self.tree, item, self.accepts(sink)) {
            Ok(value) => return Some(Wire::Const(value)),
            Err(Refusal::Type(found)) => {
                let id =
                    self.tree.word(item).map(|word| word.text).filter(|text| self.by_id.contains_key(text));
                let message = format!("the constant is {found}, but {}", self.wanted(sink));
                Problem::new(Code::TypeMismatch, self.tree.head(item), message).maybe_help(
                    id.map(|id| format!("to read an output of the node `{id}`, write `{id}.port`")),
                )
            }
            Err(Refusal::Invalid { span, message }) => Problem::new(Code::InvalidConstant, span, message),
        };
        self.problems.push(problem);
        // It fires like any other constant, so the rest of the graph can be checked.
        Some(Wire::Const(Value::Null))
    }

    /// Reports a source whose types the sink does not accept.
    pub(super) fn mismatch(&mut self, span: Span, source: &str, gives: TypeSet, sink: Sink) {
        let message = format!("{source} is {gives}, but {}", self.wanted(sink));
        let help = (gives == Type::Bytes.into() && self.accepts(sink).contains(Type::Json))
            .then(|| "decode the bytes with a kernel first".to_owned());
        self.problems.push(Problem::new(Code::TypeMismatch, span, message).maybe_help(help));
    }

    fn accepts(&self, sink: Sink) -> TypeSet {
        let accepted = match sink {
            Sink::Input { node, input } => self.drafts[node].input(input).map(|port| port.accepts),
            Sink::Fallback { node, output } => self.outputs[self.drafts[node].first_output + output].types,
            Sink::GraphOutput | Sink::Unknown => None,
        };
        accepted.unwrap_or(TypeSet::ANY)
    }

    fn wanted(&self, sink: Sink) -> String {
        let accepts = self.accepts(sink);
        let id = |node: usize| self.doc.nodes[node].id.map_or("", |id| id.text);
        match sink {
            Sink::Input { node, input } => {
                let port = self.drafts[node].input(input).map_or("", |port| &port.name);
                format!("`{}.{port}` accepts {accepts}", id(node))
            }
            Sink::Fallback { node, output } => {
                let port = self.drafts[node].output(output).map_or("", |port| &port.name);
                format!("`{}.{port}` gives {accepts}", id(node))
            }
            Sink::GraphOutput | Sink::Unknown => format!("{accepts} is accepted"),
        }
    }
}
