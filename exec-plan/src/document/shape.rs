//! Gives a JSON tree the shape of a graph: keys, kinds and ranges, all that a schema could check.

use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::{
    BindingDoc, DEFAULT_BACKOFF_MS, FallbackDoc, GraphDoc, Item, Kind, MAX_ATTEMPTS, MAX_BACKOFF_MS,
    MAX_NODES, MAX_TIMEOUT_MS, NodeDoc, OutputDoc, PortList, Span, Tree, Word, is_dotted, is_identifier,
};
use crate::diagnostic::{GraphErrorCode as Code, Problem, Problems};
use crate::fault::Code as Status;
use crate::identity::{GraphName, Version};
use crate::wire::Retry;

/// A tree being shaped.
struct Shape<'t, 'p> {
    tree: &'t Tree<'t>,
    problems: &'p mut Problems,
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
        Shape { tree, problems }.graph(tree.root()?, stem)
    }
}

// === impl Shape ===

impl<'t> Shape<'t, '_> {
    fn graph(&mut self, root: Item, stem: Option<&str>) -> Option<GraphDoc<'t>> {
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

    fn ports(&mut self, item: Item, what: &str) -> Option<PortList<'t>> {
        if self.tree.kind(item) != Kind::Array {
            self.wrong_type(item, what, "an array of port names");
            return None;
        }
        let mut ports = PortList { names: Vec::new(), spans: Vec::new() };
        for element in self.tree.elements(item) {
            if let Some(word) = self.identifier(element, "a port") {
                ports.names.push(word.text);
                ports.spans.push(word.span);
            }
        }
        Some(ports)
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

// What every part of a document is made of.
impl<'t> Shape<'t, '_> {
    /// The values of an object by key. Unknown keys are reported; of repeated ones, which the reader
    /// reported, the first counts.
    fn fields<const N: usize>(
        &mut self,
        item: Item,
        keys: &'static [&'static str; N],
        what: &str,
    ) -> Option<[Option<Item>; N]> {
        if !self.object(item, what) {
            return None;
        }
        let tree = self.tree;
        let mut values = [None; N];
        for (key, value) in tree.members(item) {
            if tree.kind(key) == Kind::Hole {
                continue;
            }
            let word = tree.key(key);
            match keys.iter().position(|legal| *legal == word.text) {
                Some(index) => values[index] = values[index].or(Some(value)),
                None => self.unknown_key(word, keys, what),
            }
        }
        Some(values)
    }

    #[cold]
    fn unknown_key(&mut self, key: Word<'t>, keys: &[&'static str], what: &str) {
        let help = self.problems.closest(key.text, keys.iter().copied()).map_or_else(
            || format!("the keys of {what} are {}", listed(keys)),
            |name| format!("did you mean `{name}`?"),
        );
        let message = format!("{what} has no key {:?}", key.text);
        self.problems.push(Problem::new(Code::UnknownKey, key.span, message).help(help));
    }

    /// The value of a key that must be there.
    fn required(&mut self, item: Item, value: Option<Item>, key: &str, what: &str) -> Option<Item> {
        if value.is_none() && !self.tree.is_damaged(item) {
            self.report(Code::MissingKey, self.tree.head(item), format!("{what} needs the key `{key}`"));
        }
        value
    }

    fn object(&mut self, item: Item, what: &str) -> bool {
        let is_object = self.tree.kind(item) == Kind::Object;
        if !is_object {
            self.wrong_type(item, what, "an object");
        }
        is_object
    }

    fn array(&mut self, item: Item, what: &str) -> impl Iterator<Item = Item> + use<'t> {
        if self.tree.kind(item) != Kind::Array {
            self.wrong_type(item, what, "an array");
        }
        self.tree.elements(item)
    }

    fn string(&mut self, item: Item, what: &str) -> Option<Word<'t>> {
        let word = self.tree.word(item);
        if word.is_none() {
            self.wrong_type(item, what, "a string");
        }
        word
    }

    /// A string that should be an identifier; it is used as a name even if it is none, so that what
    /// refers to it is not reported as well.
    fn identifier(&mut self, item: Item, what: &str) -> Option<Word<'t>> {
        let word = self.string(item, what)?;
        if !is_identifier(word.text) {
            let message = format!("{:?} is not an identifier", word.text);
            let problem = Problem::new(Code::InvalidIdentifier, word.span, message)
                .help(format!("{what} is a letter or `_`, then letters, digits or `_`"));
            self.problems.push(problem);
        }
        Some(word)
    }

    fn integer(&mut self, item: Item, what: &str, range: RangeInclusive<u64>) -> Option<u64> {
        if self.tree.kind(item) != Kind::Number {
            self.wrong_type(item, what, "an integer");
            return None;
        }
        let raw = self.tree.raw(item);
        let number = raw.parse().ok().filter(|number| range.contains(number));
        if number.is_none() {
            let message =
                format!("{what} is an integer from {} to {}, not {raw}", range.start(), range.end());
            self.report(Code::InvalidValue, self.tree.head(item), message);
        }
        number
    }

    fn is_readable(&self, item: Item) -> bool {
        self.tree.kind(item) != Kind::Hole
    }

    fn refuse_repeats(&mut self, words: &[Word<'t>], code: Code, what: &str) {
        if words.len() < 2 {
            return;
        }
        let mut first_places = foldhash::HashMap::default();
        for word in words {
            if let Some(first) = first_places.get(word.text) {
                let problem =
                    Problem::new(code, word.span, format!("the {what} `{}` stands here again", word.text))
                        .related(*first, "first here");
                self.problems.push(problem);
            } else {
                first_places.insert(word.text, word.span);
            }
        }
    }

    fn wrong_type(&mut self, item: Item, what: &str, wanted: &str) {
        let kind = self.tree.kind(item);
        if kind != Kind::Hole {
            let message = format!("{what} must be {wanted}, not {}", kind.noun());
            self.report(Code::WrongType, self.tree.head(item), message);
        }
    }

    fn report(&mut self, code: Code, span: Span, message: impl Into<String>) {
        self.problems.push(Problem::new(code, span, message));
    }
}

fn listed(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}
