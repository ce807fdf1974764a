//! Binds each node to its kernel and lays out its ports.

use std::sync::Arc;

use foldhash::{HashMap, HashSet};
use smallvec::SmallVec;

use super::{Policy, Wire, Wiring};
use crate::diagnostic::{GraphErrorCode as Code, Problem};
use crate::document::{FallbackDoc, NodeDoc, PortList, Span, Word};
use crate::kernel::{
    BindError, BoundKernel, InputPort, KernelFactory, NodeSpec, OutputPort, Params, Signature, Site,
};
use crate::value::TypeSet;

/// A node in the making.
#[derive(Debug, Default)]
pub(super) struct Draft {
    /// `None` if the kernel is unknown, which has been reported.
    pub(super) kernel: Option<Arc<str>>,
    /// `None` if the kernel is unknown or refused the node.
    pub(super) bound: Option<BoundKernel>,
    /// One entry per input of the signature.
    pub(super) wires: Vec<Wire>,
    pub(super) checks: Vec<(usize, TypeSet)>,
    pub(super) policy: Policy,
    /// Where this node's ports begin in the lists of all ports.
    pub(super) first_input: usize,
    pub(super) first_output: usize,
    /// Whether a binding that goes astray was probably meant for this node.
    pub(super) missed: bool,
}

/// What is known about an input.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct InputState {
    /// The binding that feeds it.
    pub(super) binding: Option<u32>,
    /// Its position in the node's `inputs`.
    pub(super) listed: Option<u32>,
}

/// What is known about an output.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct OutputState {
    /// What it gives; `None` while that is unknown.
    pub(super) types: Option<TypeSet>,
    pub(super) listed: bool,
    pub(super) read: bool,
}

/// A kernel and the one copy of its name that all its nodes share.
type NamedFactory<'k> = (&'k dyn KernelFactory, Arc<str>);

/// Which ports of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Side {
    Input,
    Output,
}

/// The ports of nodes with very many, by name.
#[derive(Debug, Default)]
pub(super) struct WidePorts(HashMap<(usize, Side), HashMap<String, usize>>);

/// Nodes with more ports than this get a map of them.
const WIDE: usize = 16;
/// How many names a list in a message has.
const MAX_LISTED: usize = 24;

// === impl Draft ===

impl Draft {
    pub(super) fn input(&self, input: usize) -> Option<&InputPort> {
        self.bound.as_ref()?.signature.inputs.get(input)
    }

    pub(super) fn output(&self, output: usize) -> Option<&OutputPort> {
        self.bound.as_ref()?.signature.outputs.get(output)
    }

    pub(super) fn takes_time(&self) -> bool {
        self.bound.as_ref().is_some_and(|bound| self.policy.takes_time(&bound.body))
    }
}

// === impl Wiring ===

impl<'d> Wiring<'d, '_> {
    pub(super) fn bind_nodes(&mut self) {
        let mut factories: HashMap<&str, Option<NamedFactory<'_>>> = HashMap::default();
        let doc = self.doc;
        for (index, node) in doc.nodes.iter().enumerate() {
            if let Some(id) = node.id {
                self.note_id(id, index);
            }
            let known = node.kernel.and_then(|kernel| {
                factories
                    .entry(kernel.text)
                    .or_insert_with(|| Some((self.kernels.get(kernel.text)?, kernel.text.into())))
                    .clone()
                    .or_else(|| self.unknown_kernel(kernel))
            });
            let mut draft = Draft {
                first_input: self.inputs.len(),
                first_output: self.outputs.len(),
                policy: Policy { timeout: node.timeout, retry: node.retry.clone(), ..Policy::default() },
                ..Draft::default()
            };
            if let Some((factory, name)) = known {
                draft.bound = node.is_whole.then(|| self.bind_node(node, factory)).flatten();
                draft.kernel = Some(name);
            }
            match &draft.bound {
                Some(bound) => {
                    self.served |= bound.signature.answers;
                    draft.wires.resize(bound.signature.inputs.len(), Wire::Unbound);
                }
                None => self.resolved = false,
            }
            self.resolved &= node.id.is_some();
            self.drafts.push(draft);
            self.lay_out_ports(index, node);
        }
    }

    fn note_id(&mut self, id: Word<'d>, index: usize) {
        if let Some(first) = self.by_id.get(id.text) {
            self.resolved = false;
            let mut problem =
                Problem::new(Code::DuplicateNode, id.span, format!("the node `{}` exists already", id.text));
            if let Some(first) = self.doc.nodes[*first].id {
                problem = problem.related(first.span, "first here");
            }
            self.problems.push(problem);
        } else {
            self.by_id.insert(id.text, index);
        }
    }

    #[cold]
    fn unknown_kernel<T>(&mut self, kernel: Word<'d>) -> Option<T> {
        let mut problem =
            Problem::new(Code::UnknownKernel, kernel.span, format!("there is no kernel {:?}", kernel.text));
        if self.problems.have_room() {
            let names = self.kernels.names();
            problem = problem.help(match self.problems.closest(kernel.text, names.iter().copied()) {
                Some(name) => format!("did you mean `{name}`?"),
                None => format!("the kernels are {}", listed(names.into_iter())),
            });
        }
        self.problems.push(problem);
        None
    }

    fn bind_node(&mut self, node: &NodeDoc<'d>, factory: &dyn KernelFactory) -> Option<BoundKernel> {
        let lists_are_sound = [node.inputs, node.outputs]
            .map(|list| list.is_none_or(|list| self.refuse_repeats(list)))
            .iter()
            .all(|sound| *sound);
        if !lists_are_sound {
            return None;
        }
        // The output that fires on failure belongs to the graph; the kernel does not know it.
        let failure = node.failure_output().map(|name| name.text);
        let outputs: Option<SmallVec<[&str; 8]>> = node.outputs.map(|list| {
            self.doc.port_names(list).iter().copied().filter(|name| Some(*name) != failure).collect()
        });
        let spec = NodeSpec {
            id: node.id.map_or("", |id| id.text),
            params: node.params.map_or_else(Params::default, |item| Params::new(self.tree.raw(item))),
            inputs: node.inputs.map(|list| self.doc.port_names(list)),
            outputs: outputs.as_deref(),
        };
        match factory.bind(&spec) {
            Ok(bound) => Some(bound),
            Err(errors) => {
                if errors.is_empty() {
                    self.refused(node, BindError::new(Site::Node, "the kernel refuses this node"));
                }
                errors.into_iter().for_each(|error| self.refused(node, error));
                None
            }
        }
    }

    fn refused(&mut self, node: &NodeDoc<'d>, error: BindError) {
        let entry = |list: Option<PortList>, name: &str| {
            self.doc.ports(list).find(|port| port.text == name).map(|port| port.span)
        };
        let (code, span) = match &error.site {
            Site::Node => (Code::InvalidNode, None),
            Site::Input(name) => (Code::InvalidNode, entry(node.inputs, name)),
            Site::Output(name) => (Code::InvalidNode, entry(node.outputs, name)),
            Site::ParamsOffset(offset) => {
                let token = node.params.map(|params| {
                    let at = self.tree.span(params).start as usize + offset;
                    self.tree.head(self.tree.token_at(params, Span::at(at).start))
                });
                (Code::InvalidParams, token)
            }
            Site::Param(pointer) => {
                let value = node.params.map(|params| self.tree.head(self.tree.resolve(params, pointer)));
                (Code::InvalidParams, value)
            }
        };
        let problem = Problem::new(code, span.unwrap_or(node.place()), error.message).maybe_help(error.help);
        self.problems.push(problem);
    }

    fn refuse_repeats(&mut self, list: PortList) -> bool {
        let names = self.doc.port_names(list);
        let unique = if names.len() <= WIDE {
            (1..names.len()).all(|i| !names[..i].contains(&names[i]))
        } else {
            names.iter().collect::<HashSet<_>>().len() == names.len()
        };
        if !unique {
            let mut first_places = HashMap::default();
            for port in self.doc.ports(Some(list)) {
                if let Some(first) = first_places.get(port.text) {
                    let message = format!("the port `{}` is listed again", port.text);
                    let problem =
                        Problem::new(Code::DuplicatePort, port.span, message).related(*first, "first here");
                    self.problems.push(problem);
                } else {
                    first_places.insert(port.text, port.span);
                }
            }
        }
        unique
    }

    /// Makes room for the states of a node's ports and checks the ports it lists.
    fn lay_out_ports(&mut self, index: usize, node: &NodeDoc<'d>) {
        let Some(bound) = &self.drafts[index].bound else { return };
        let inputs = bound.signature.inputs.len();
        // One more than the signature has: the output that fires when the node fails.
        let outputs = bound.signature.outputs.len() + 1;
        let all_listed = OutputState { listed: node.outputs.is_none(), ..OutputState::default() };
        self.inputs.resize(self.inputs.len() + inputs, InputState::default());
        self.outputs.resize(self.outputs.len() + outputs, all_listed);
        let failure = node.failure_output().map(|name| name.text);
        let doc = self.doc;
        for (position, port) in doc.ports(node.inputs).enumerate() {
            match self.port(index, Side::Input, port.text) {
                Some(input) => {
                    let first = self.drafts[index].first_input;
                    self.inputs[first + input].listed = u32::try_from(position).ok();
                }
                None => self.unknown_port(index, Side::Input, port),
            }
        }
        for port in doc.ports(node.outputs) {
            match self.port(index, Side::Output, port.text) {
                Some(output) => {
                    let first = self.drafts[index].first_output;
                    self.outputs[first + output].listed = true;
                }
                None if failure == Some(port.text) => {}
                None => self.unknown_port(index, Side::Output, port),
            }
        }
    }

    /// The index of a port of a bound node. The output that fires on failure is not among them.
    pub(super) fn port(&mut self, node: usize, side: Side, name: &str) -> Option<usize> {
        let signature = &self.drafts[node].bound.as_ref()?.signature;
        let count = match side {
            Side::Input => signature.inputs.len(),
            Side::Output => signature.outputs.len(),
        };
        if count > WIDE {
            let names =
                || port_names(signature, side).enumerate().map(|(i, name)| (name.to_owned(), i)).collect();
            return self.wide.0.entry((node, side)).or_insert_with(names).get(name).copied();
        }
        port_names(signature, side).position(|port| port == name)
    }

    #[cold]
    pub(super) fn unknown_port(&mut self, node: usize, side: Side, port: Word<'d>) {
        let draft = &self.drafts[node];
        let Some(signature) = draft.bound.as_ref().map(|bound| &bound.signature) else { return };
        let what = match side {
            Side::Input => "input",
            Side::Output => "output",
        };
        let names = || port_names(signature, side);
        let help = match self.problems.closest(port.text, names()) {
            Some(name) => format!("did you mean `{name}`?"),
            None if names().next().is_none() => format!("it has no {what}s"),
            None => format!("its {what}s are {}", listed(names())),
        };
        let kernel = draft.kernel.as_deref().unwrap_or_default();
        let id = self.doc.nodes[node].id.map_or("", |id| id.text);
        let message = format!("the node `{id}`, a `{kernel}`, has no {what} {:?}", port.text);
        self.problems.push(Problem::new(Code::UnknownPort, port.span, message).help(help));
        self.resolved = false;
    }

    /// Reports inputs that need a value and get none.
    pub(super) fn require_inputs(&mut self) {
        let doc = self.doc;
        if !doc.bindings_are_whole {
            self.resolved = false;
            return;
        }
        for (draft, node) in self.drafts.iter().zip(&doc.nodes) {
            let Some(bound) = draft.bound.as_ref().filter(|_| !draft.missed) else { continue };
            for (index, port) in bound.signature.inputs.iter().enumerate() {
                let state = self.inputs[draft.first_input + index];
                if state.binding.is_some() || (!port.required && state.listed.is_none()) {
                    continue;
                }
                let id = node.id.map_or("", |id| id.text);
                let list_entry =
                    node.inputs.zip(state.listed).map(|(list, at)| doc.port_spans(list)[at as usize]);
                let message = format!("nothing is bound to the input `{}` of `{id}`", port.name);
                let mut help =
                    format!("add {{ \"to\": \"{id}.{}\", \"from\": ... }} to `bindings`", port.name);
                if !port.required {
                    help.push_str(", or take it off the list: the kernel does not need it");
                }
                let place = list_entry.unwrap_or(node.place());
                self.problems.push(Problem::new(Code::MissingInput, place, message).help(help));
                self.resolved = false;
            }
        }
    }
}

// === impl NodeDoc ===

impl<'t> NodeDoc<'t> {
    /// The output that fires when the node fails.
    pub(crate) fn failure_output(&self) -> Option<Word<'t>> {
        if let Some(FallbackDoc::Output(name)) = self.fallback { Some(name) } else { None }
    }

    /// Where to show a problem with the whole node.
    pub(crate) fn place(&self) -> Span {
        self.id.map_or(self.span, |id| id.span)
    }
}

fn port_names(signature: &Signature, side: Side) -> impl Iterator<Item = &str> {
    let (inputs, outputs) = match side {
        Side::Input => (signature.inputs.as_slice(), [].as_slice()),
        Side::Output => ([].as_slice(), signature.outputs.as_slice()),
    };
    inputs.iter().map(|port| &*port.name).chain(outputs.iter().map(|port| &*port.name))
}

/// Names in a message, a bounded number of them.
pub(super) fn listed<'n>(mut names: impl Iterator<Item = &'n str>) -> String {
    let shown: Vec<String> = names.by_ref().take(MAX_LISTED).map(|name| format!("`{name}`")).collect();
    let more = if names.next().is_some() { " and more" } else { "" };
    format!("{}{more}", shown.join(", "))
}
