//! Resolves what bindings and graph outputs refer to.

use super::constant::{Refusal, constant};
use super::nodes::{Side, listed};
use super::{Wire, WiredOutput, Wiring};
use crate::context::EnvKey;
use crate::diagnostic::{GraphErrorCode as Code, Problem};
use crate::document::{Endpoint, Item, Span, Word, is_dotted, is_identifier};
use crate::value::{Type, TypeSet, Value};

/// One node waits for another, because of a binding.
#[derive(Clone, Copy, Debug)]
pub(super) struct Edge {
    pub(super) from: u32,
    pub(super) to: u32,
    pub(super) binding: u32,
}

/// Where a binding leads.
#[derive(Clone, Copy)]
struct Destination {
    node: usize,
    /// `None` if the node has no such input, or is not bound, which has been reported.
    input: Option<usize>,
}

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
    pub(super) fn resolve_bindings(&mut self) {
        let doc = self.doc;
        for (index, binding) in doc.bindings.iter().enumerate() {
            let index = narrow(index);
            let destination = binding.to.and_then(|to| self.destination(to, index));
            let Some(from) = binding.from else {
                self.resolved = false;
                continue;
            };
            let sink = match destination {
                Some(Destination { node, input: Some(input) }) => Sink::Input { node, input },
                _ => Sink::Unknown,
            };
            let wire = self.source(from, sink);
            if let (Some(Wire::Node { node, .. }), Some(Destination { node: to, input })) =
                (&wire, destination)
                && (input.is_some() || self.drafts[to].bound.is_none())
            {
                self.edges.push(Edge { from: narrow(*node), to: narrow(to), binding: index });
            }
            match (wire, sink) {
                (Some(wire), Sink::Input { node, input }) => self.drafts[node].wires[input] = wire,
                _ => self.resolved = false,
            }
        }
    }

    pub(super) fn resolve_outputs(&mut self) -> Vec<WiredOutput> {
        let doc = self.doc;
        let mut outputs = Vec::with_capacity(doc.outputs.len());
        for output in &doc.outputs {
            let from = output.from.and_then(|from| self.source(from, Sink::GraphOutput));
            match (output.name, from) {
                (Some(name), Some(from)) => outputs.push(WiredOutput { name: name.text.into(), from }),
                _ => self.resolved = false,
            }
        }
        outputs
    }

    fn destination(&mut self, to: Word<'d>, binding: u32) -> Option<Destination> {
        let endpoint = Endpoint::split(to);
        let known = endpoint.and_then(|endpoint| Some((endpoint, *self.by_id.get(endpoint.node.text)?)));
        let Some((endpoint, node)) = known else {
            match endpoint {
                Some(endpoint) if endpoint.is_well_formed() => {
                    if let Some(meant) = self.unknown_node(endpoint.node, None) {
                        self.drafts[meant].missed = true;
                    }
                }
                _ => self.invalid_endpoint(to, "an input"),
            }
            return None;
        };
        let input = self.port(node, Side::Input, endpoint.port.text);
        self.drafts[node].missed |= input.is_none();
        match input {
            Some(input) => self.note_binding(node, input, endpoint, binding),
            None if self.drafts[node].bound.is_none() => {}
            None if self.port(node, Side::Output, endpoint.port.text).is_some() => {
                let message = format!("`{}` is an output of `{}`", endpoint.port.text, endpoint.node.text);
                let problem = Problem::new(Code::BindingToOutput, endpoint.port.span, message)
                    .help("a binding goes `to` an input and comes `from` an output");
                self.problems.push(problem);
            }
            None if !is_identifier(endpoint.port.text) => self.invalid_endpoint(to, "an input"),
            None => self.unknown_port(node, Side::Input, endpoint.port),
        }
        Some(Destination { node, input })
    }

    fn note_binding(&mut self, node: usize, input: usize, endpoint: Endpoint<'d>, binding: u32) {
        let state = &mut self.inputs[self.drafts[node].first_input + input];
        let (first, listed) = (state.binding, state.listed);
        state.binding = first.or(Some(binding));
        if let Some(first) = first {
            let message =
                format!("the input `{}.{}` is bound already", endpoint.node.text, endpoint.port.text);
            let mut problem = Problem::new(Code::BoundTwice, endpoint.port.span, message);
            if let Some(to) = self.doc.bindings[first as usize].to {
                problem = problem.related(to.span, "first bound here");
            }
            self.problems.push(problem);
            self.resolved = false;
        }
        if listed.is_none()
            && let Some(list) = &self.doc.nodes[node].inputs
        {
            let unlisted = (endpoint, "inputs", list.spans.first().copied());
            self.unlisted_port(unlisted);
        }
    }

    #[cold]
    fn unlisted_port(&mut self, (endpoint, list, place): (Endpoint<'d>, &str, Option<Span>)) {
        let (node, port) = (endpoint.node.text, endpoint.port.text);
        let message = format!("the node `{node}` does not list `{port}` in its `{list}`");
        let mut problem = Problem::new(Code::UnlistedPort, endpoint.port.span, message)
            .help(format!("add \"{port}\" to the `{list}` of `{node}`"));
        if let Some(place) = place {
            problem = problem.related(place, "the list begins here");
        }
        self.problems.push(problem);
    }

    /// The wire from a source, which is an endpoint, a key of the environment or a constant.
    fn source(&mut self, from: Item, sink: Sink) -> Option<Wire> {
        if let Some(word) = self.tree.word(from) {
            if let Some(key) = word.text.strip_prefix(ENV_PREFIX) {
                let key = word.part(key, ENV_PREFIX.len());
                return self.env_key(key, sink);
            }
            if word.text.starts_with('$') {
                let problem = Problem::new(Code::InvalidEndpoint, word.span, format!("{:?} is no source", word.text))
                    .help("a source is `node.port`, `$req.key` or a constant; text is also written {\"$string\": \"...\"}");
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
            self.resolved = false;
            return None;
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
        if !state.listed && !is_failure {
            let place = self.doc.nodes[node].outputs.as_ref().and_then(|list| list.spans.first().copied());
            self.unlisted_port((endpoint, "outputs", place));
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

    /// Reports a node that does not exist; returns the one that was probably meant.
    #[cold]
    fn unknown_node(&mut self, node: Word<'d>, constant: Option<&str>) -> Option<usize> {
        if !self.doc.nodes_are_whole {
            // It may be one of those whose ids could not be read.
            self.resolved = false;
            return None;
        }
        let ids = self.doc.nodes.iter().filter_map(|node| Some(node.id?.text));
        let meant = self.problems.closest(node.text, ids);
        let mut help = meant.map(|id| format!("did you mean `{id}`?"));
        if let (None, Some(text)) = (&help, constant) {
            help = Some(format!("as a constant, the text is written {{\"$string\": {text:?}}}"));
        }
        let message = format!("there is no node {:?}", node.text);
        self.problems.push(Problem::new(Code::UnknownNode, node.span, message).maybe_help(help));
        self.by_id.get(meant?).copied()
    }

    #[cold]
    fn invalid_endpoint(&mut self, word: Word<'d>, what: &str) {
        let message = format!("{:?} does not name {what}", word.text);
        let problem = Problem::new(Code::InvalidEndpoint, word.span, message)
            .help(format!("{what} is named `node.port`"));
        self.problems.push(problem);
    }
}

fn narrow(index: usize) -> u32 {
    // A document has fewer nodes and bindings than bytes.
    u32::try_from(index).unwrap_or(u32::MAX)
}
