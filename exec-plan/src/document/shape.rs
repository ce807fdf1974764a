//! Gives a JSON tree the shape of a graph: keys, kinds and ranges, all that a schema could check.

mod fields;

use std::num::NonZeroU32;
use std::time::Duration;

use super::{
    BindingDoc, DEFAULT_BACKOFF_MS, FallbackDoc, GraphDoc, Item, Kind, MAX_ATTEMPTS, MAX_BACKOFF_MS,
    MAX_NODES, MAX_TIMEOUT_MS, NodeDoc, OutputDoc, PortList, Span, Tree, Word, is_dotted,
};
use crate::diagnostic::{GraphErrorCode as Code, Problem, Problems};
use crate::fault::Code as Status;
use crate::identity::{GraphName, Version};
use crate::wire::Retry;

/// A tree being shaped.
struct Shape<'t, 'p> {
    tree: &'t Tree<'t>,
    problems: &'p mut Problems,
    port_names: Vec<&'t str>,
    port_spans: Vec<Span>,
}

const GRAPH_KEYS: &[&str; 7] = &["version", "name", "description", "serves", "nodes", "bindings", "outputs"];
const NODE_KEYS: &[&str; 8] =
    &["id", "kernel", "params", "inputs", "outputs", "timeout_ms", "retry", "fallback"];
const BINDING_KEYS: &[&str; 2] = &["to", "from"];
const OUTPUT_KEYS: &[&str; 2] = &["from", "as"];
const RETRY_KEYS: &[&str; 3] = &["attempts", "backoff_ms", "on"];

impl<'t> GraphDoc<'t> {
    /// Reads the tree as a graph; `stem` names it if the document does not.
    pub(crate) fn read(tree: &'t Tree<'t>, stem: Option<&str>, problems: &mut Problems) -> Option<Self> {
        let shape = Shape { tree, problems, port_names: Vec::new(), port_spans: Vec::new() };
        shape.graph(tree.root()?, stem)
    }
}

// === impl Shape ===

impl<'t> Shape<'t, '_> {
    fn graph(mut self, root: Item, stem: Option<&str>) -> Option<GraphDoc<'t>> {
        let before = self.problems.count();
        let [version, name, description, serves, nodes, bindings, outputs] =
            self.fields(root, GRAPH_KEYS, "a graph")?;
        let nodes = self.required(root, nodes, "nodes", "a graph");
        let bindings = bindings.map(|item| self.bindings(item)).unwrap_or_default();
        let bindings_are_whole = self.problems.count() == before;
        let nodes_are_objects = nodes.is_some_and(|list| {
            self.tree.kind(list) == Kind::Array
                && self.tree.elements(list).all(|node| self.tree.kind(node) == Kind::Object)
        });
        let nodes = nodes.map(|item| self.nodes(item)).unwrap_or_default();
        let nodes_are_whole = nodes_are_objects && nodes.iter().all(|node| node.id.is_some());
        Some(GraphDoc {
            name: self.name(root, name, stem),
            version: version.and_then(|item| self.version(item)).unwrap_or(Version::ZERO),
            description: description
                .and_then(|item| self.string(item, "`description`"))
                .map(|word| word.text),
            serves: serves.map(|item| self.serves(item)).unwrap_or_default(),
            nodes_are_whole,
            nodes,
            bindings,
            outputs: outputs.map(|item| self.graph_outputs(item)).unwrap_or_default(),
            port_names: self.port_names,
            port_spans: self.port_spans,
            bindings_are_whole,
            span: self.tree.head(root),
        })
    }

    fn name(&mut self, root: Item, name: Option<Item>, stem: Option<&str>) -> Option<GraphName> {
        if let Some(item) = name {
            let word = self.string(item, "`name`")?;
            return word
                .text
                .parse()
                .map_err(|error| self.report(Code::InvalidName, word.span, format!("{error}")))
                .ok();
        }
        let at = self.tree.head(root);
        match stem.map(str::parse) {
            Some(Ok(name)) => return Some(name),
            Some(Err(error)) => {
                let error: crate::identity::InvalidGraphName = error;
                let problem = Problem::new(Code::InvalidName, at, error.to_string())
                    .help("the graph is named after its file unless it has a `name`");
                self.problems.push(problem);
            }
            None if self.tree.is_damaged(root) => {}
            None => {
                self.report(Code::MissingName, at, "the graph has no `name`, and no file to name it after")
            }
        }
        None
    }

    fn version(&mut self, item: Item) -> Option<Version> {
        let kind = self.tree.kind(item);
        let place = self.tree.head(item);
        if kind == Kind::Number {
            let integer = self.tree.raw(item).parse().ok().map(Version::from_integer);
            if integer.is_none() {
                let problem =
                    Problem::new(Code::InvalidVersion, place, "a version without quotes is a whole number")
                        .help("write MAJOR.MINOR.PATCH in quotes, or an integer from 0");
                self.problems.push(problem);
            }
            return integer;
        }
        let Some(word) = self.tree.word(item) else {
            self.wrong_type(item, "`version`", "an integer or a string");
            return None;
        };
        // Without a dot it would be an integer in quotes, which is neither of the two spellings.
        let version = word.text.contains('.').then(|| word.text.parse().ok()).flatten();
        if version.is_none() {
            let message = format!("{:?} is not a SemVer version", word.text);
            let problem = Problem::new(Code::InvalidVersion, word.span, message)
                .help("write MAJOR.MINOR.PATCH, or an integer without quotes");
            self.problems.push(problem);
        }
        version
    }

    fn serves(&mut self, item: Item) -> Vec<Word<'t>> {
        let mut services: Vec<Word<'t>> = Vec::new();
        for element in self.array(item, "`serves`") {
            let Some(word) = self.string(element, "a service name") else { continue };
            if !is_dotted(word.text) {
                let message = format!("{:?} is not a service name", word.text);
                let problem = Problem::new(Code::InvalidIdentifier, word.span, message)
                    .help("a service is named as in its descriptor: `package.Service`");
                self.problems.push(problem);
            } else {
                services.push(word);
            }
        }
        self.refuse_repeats(&services, Code::DuplicateService, "service");
        services
    }

    fn nodes(&mut self, item: Item) -> Vec<NodeDoc<'t>> {
        let tree = self.tree;
        let mut nodes = Vec::new();
        for element in self.array(item, "`nodes`") {
            if nodes.len() == MAX_NODES {
                let message = format!("a graph has at most {MAX_NODES} nodes");
                self.report(Code::TooLarge, tree.head(element), message);
                break;
            }
            nodes.extend(self.node(element));
        }
        nodes
    }

    fn node(&mut self, item: Item) -> Option<NodeDoc<'t>> {
        let before = self.problems.count();
        let [id, kernel, params, inputs, outputs, timeout, retry, fallback] =
            self.fields(item, NODE_KEYS, "a node")?;
        let kernel =
            self.required(item, kernel, "kernel", "a node").and_then(|item| self.string(item, "`kernel`"));
        let params = params.filter(|item| self.object(*item, "`params`"));
        let inputs = inputs.and_then(|item| self.ports(item, "`inputs`"));
        let outputs = outputs.and_then(|item| self.ports(item, "`outputs`"));
        let is_whole = self.problems.count() == before;
        Some(NodeDoc {
            span: self.tree.head(item),
            id: self
                .required(item, id, "id", "a node")
                .and_then(|item| self.identifier(item, "a node's `id`")),
            kernel,
            params,
            inputs,
            outputs,
            timeout: timeout
                .and_then(|item| self.integer(item, "`timeout_ms`", 1..=MAX_TIMEOUT_MS))
                .map(Duration::from_millis),
            retry: retry.and_then(|item| self.retry(item)),
            fallback: fallback.and_then(|item| self.fallback(item)),
            is_whole,
        })
    }

    fn ports(&mut self, item: Item, what: &str) -> Option<PortList> {
        if self.tree.kind(item) != Kind::Array {
            self.wrong_type(item, what, "an array of port names");
            return None;
        }
        let first = self.port_names.len();
        for element in self.tree.elements(item) {
            if let Some(word) = self.identifier(element, "a port") {
                self.port_names.push(word.text);
                self.port_spans.push(word.span);
            }
        }
        // A document has fewer ports than bytes.
        let Span { start: first, end } = Span::new(first, self.port_names.len());
        Some(PortList { first, end })
    }

    fn retry(&mut self, item: Item) -> Option<Retry> {
        let [attempts, backoff, on] = self.fields(item, RETRY_KEYS, "a `retry`")?;
        let attempts = self
            .required(item, attempts, "attempts", "a `retry`")
            .and_then(|item| self.integer(item, "`attempts`", 1..=MAX_ATTEMPTS));
        let backoff = match backoff {
            Some(item) => self.integer(item, "`backoff_ms`", 0..=MAX_BACKOFF_MS),
            None => Some(DEFAULT_BACKOFF_MS),
        };
        let on = on.map_or_else(|| vec![Status::Unavailable], |item| self.statuses(item));
        Some(Retry {
            attempts: attempts.and_then(|n| u32::try_from(n).ok()).and_then(NonZeroU32::new)?,
            backoff: Duration::from_millis(backoff?),
            on,
        })
    }

    fn statuses(&mut self, item: Item) -> Vec<Status> {
        let mut statuses = Vec::new();
        let mut words = Vec::new();
        for element in self.array(item, "`on`") {
            let Some(word) = self.string(element, "a status code") else { continue };
            match word.text.parse() {
                Ok(Status::Ok) | Err(_) => {
                    let names =
                        Status::ALL.iter().filter(|code| **code != Status::Ok).map(|code| code.name());
                    let help = self.problems.closest(word.text, names.clone()).map_or_else(
                        || format!("the codes of failure are {}", names.collect::<Vec<_>>().join(", ")),
                        |name| format!("did you mean `{name}`?"),
                    );
                    let message = format!("{:?} is not a status code of a failure", word.text);
                    self.problems.push(Problem::new(Code::UnknownStatus, word.span, message).help(help));
                }
                Ok(status) => {
                    statuses.push(status);
                    words.push(word);
                }
            }
        }
        self.refuse_repeats(&words, Code::InvalidValue, "status code");
        let is_empty = self.tree.kind(item) == Kind::Array && self.tree.elements(item).next().is_none();
        if is_empty && !self.tree.is_damaged(item) {
            let problem = Problem::new(Code::InvalidValue, self.tree.head(item), "`on` names no status code")
                .help("leave `on` out to retry on UNAVAILABLE, or leave out the `retry`");
            self.problems.push(problem);
        }
        statuses
    }

    fn fallback(&mut self, item: Item) -> Option<FallbackDoc<'t>> {
        match self.tree.kind(item) {
            Kind::Object => Some(FallbackDoc::Values(item)),
            Kind::Plain | Kind::Escaped => self.identifier(item, "an output").map(FallbackDoc::Output),
            Kind::Null | Kind::False | Kind::True | Kind::Number | Kind::Array | Kind::Hole => {
                self.wrong_type(item, "`fallback`", "an object of constants or the name of an output");
                None
            }
        }
    }

    fn bindings(&mut self, item: Item) -> Vec<BindingDoc<'t>> {
        let mut bindings = Vec::new();
        for element in self.array(item, "`bindings`") {
            let Some([to, from]) = self.fields(element, BINDING_KEYS, "a binding") else { continue };
            let to = self.required(element, to, "to", "a binding");
            let from = self.required(element, from, "from", "a binding");
            let to = to.and_then(|item| self.string(item, "`to`"));
            bindings.push(BindingDoc { to, from: from.filter(|item| self.is_readable(*item)) });
        }
        bindings
    }

    fn graph_outputs(&mut self, item: Item) -> Vec<OutputDoc<'t>> {
        let mut outputs = Vec::new();
        for element in self.array(item, "`outputs`") {
            let Some([from, name]) = self.fields(element, OUTPUT_KEYS, "a graph output") else { continue };
            let from = self.required(element, from, "from", "a graph output");
            let name = self.required(element, name, "as", "a graph output");
            let name = name.and_then(|item| self.identifier(item, "`as`"));
            outputs.push(OutputDoc { name, from: from.filter(|item| self.is_readable(*item)) });
        }
        let names: Vec<Word<'t>> = outputs.iter().filter_map(|output: &OutputDoc<'t>| output.name).collect();
        self.refuse_repeats(&names, Code::DuplicateOutput, "graph output");
        outputs
    }
}
