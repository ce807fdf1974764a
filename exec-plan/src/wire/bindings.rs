//! Resolves what bindings and graph outputs refer to.

use super::nodes::Side;
use super::source::Sink;
use super::{Wire, WiredOutput, Wiring};

use crate::diagnostic::{GraphErrorCode as Code, Problem};
use crate::document::{Endpoint, PortList, Word, is_identifier};

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
            && let Some(list) = self.doc.nodes[node].inputs
        {
            self.unlisted_port(endpoint, "inputs", list);
        }
    }

    #[cold]
    pub(super) fn unlisted_port(&mut self, endpoint: Endpoint<'d>, key: &str, list: PortList) {
        let (node, port) = (endpoint.node.text, endpoint.port.text);
        let message = format!("the node `{node}` does not list `{port}` in its `{key}`");
        let mut problem = Problem::new(Code::UnlistedPort, endpoint.port.span, message)
            .help(format!("add \"{port}\" to the `{key}` of `{node}`"));
        if let Some(place) = self.doc.port_spans(list).first() {
            problem = problem.related(*place, "the list begins here");
        }
        self.problems.push(problem);
    }

    /// Reports a node that does not exist; returns the one that was probably meant.
    #[cold]
    pub(super) fn unknown_node(&mut self, node: Word<'d>, constant: Option<&str>) -> Option<usize> {
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
    pub(super) fn invalid_endpoint(&mut self, word: Word<'d>, what: &str) {
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
