//! What a node gives when it has failed for good.

use super::nodes::Side;
use super::source::Sink;
use super::{Fallback, Wire, Wiring};
use crate::diagnostic::{GraphErrorCode as Code, Problem};
use crate::document::{FallbackDoc, Item, Span, Word};
use crate::kernel::Emits;
use crate::value::Value;

// === impl Wiring ===

impl<'d> Wiring<'d, '_> {
    /// Checks the fallbacks and gives their constants the types of the outputs they stand for.
    pub(super) fn settle_fallbacks(&mut self) {
        let doc = self.doc;
        for (node, spec) in doc.nodes.iter().enumerate() {
            match &spec.fallback {
                Some(FallbackDoc::Output(name)) => self.settle_output(node, *name),
                Some(FallbackDoc::Values(object)) => self.settle_values(node, *object),
                None => {}
            }
        }
    }

    fn settle_output(&mut self, node: usize, name: Word<'d>) {
        let listed = self.doc.ports(self.doc.nodes[node].outputs).any(|port| port.text == name.text);
        if self.drafts[node].bound.is_none() {
            return;
        }
        self.drafts[node].policy.fallback = Fallback::Fires;
        if self.port(node, Side::Output, name.text).is_some() {
            let message = format!("`{}` is an output of the kernel itself", name.text);
            let problem = Problem::new(Code::InvalidFallback, name.span, message)
                .help("name an additional output, which then fires when the node fails");
            self.problems.push(problem);
            self.resolved = false;
        } else if !listed {
            let message = format!("the fallback's output `{}` is not listed", name.text);
            let problem = Problem::new(Code::InvalidFallback, name.span, message)
                .help(format!("add \"{}\" to the node's `outputs`", name.text));
            self.problems.push(problem);
        }
    }

    fn settle_values(&mut self, node: usize, object: Item) {
        let Some(bound) = &self.drafts[node].bound else { return };
        let (answers, fails) = (bound.signature.answers, bound.signature.fails);
        let routes = bound.signature.emits == Emits::One;
        let names: Vec<String> = bound.signature.outputs.iter().map(|port| port.name.to_string()).collect();
        let place = self.tree.head(object);
        if answers {
            return self.refuse(
                place,
                "a node that answers cannot fall back to constants: the call would go unanswered",
            );
        }
        if fails {
            return self.refuse(place, "a node that always fails has no value to fall back to");
        }
        if routes {
            return self.refuse(place, "a node that chooses an output cannot fall back to constants");
        }
        let first = self.drafts[node].first_output;
        let mut values: Vec<Option<Value>> = vec![None; names.len()];
        for (key, item) in self.tree.members(object) {
            let key = self.tree.key(key);
            match self.port(node, Side::Output, key.text) {
                Some(output) => {
                    if let Some(Wire::Const(value)) = self.constant(item, Sink::Fallback { node, output }) {
                        values[output] = Some(value);
                    }
                }
                None => self.unknown_port(node, Side::Output, key),
            }
        }
        for (output, name) in names.iter().enumerate() {
            if values[output].is_none() && self.outputs[first + output].read {
                self.refuse(place, &format!("the fallback gives no value for `{name}`, which is read"));
            }
        }
        let values = values.into_iter().map(|value| value.unwrap_or(Value::Null)).collect();
        self.drafts[node].policy.fallback = Fallback::Values(values);
    }

    fn refuse(&mut self, place: Span, message: &str) {
        let problem = Problem::new(Code::InvalidFallback, place, message)
            .help("name an additional output instead, which then fires when the node fails");
        self.problems.push(problem);
    }
}
