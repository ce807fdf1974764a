//! The types that flow along the wires.

use smallvec::SmallVec;

use super::source::Sink;
use super::{Wire, Wiring};
use crate::kernel::{Gives, OutputPort};
use crate::value::{Type, TypeSet};

// === impl Wiring ===

impl Wiring<'_, '_> {
    /// Finds what each output gives, in an order in which whatever feeds a node is known before it, and
    /// checks it against what reads it.
    pub(super) fn infer_types(&mut self, order: &[usize]) {
        for node in order {
            self.check_inputs(*node);
            self.infer_outputs(*node);
        }
    }

    fn check_inputs(&mut self, node: usize) {
        let first = self.drafts[node].first_input;
        for input in 0..self.drafts[node].wires.len() {
            let draft = &self.drafts[node];
            let (Wire::Node { .. } | Wire::Env(_), Some(bound)) = (&draft.wires[input], &draft.bound) else {
                continue;
            };
            let accepts = bound.signature.inputs[input].accepts;
            let Some(gives) = self.types_on(&draft.wires[input]) else { continue };
            if gives.is_subset(accepts) {
                continue;
            }
            if !gives.intersection(accepts).is_empty() {
                self.drafts[node].checks.push((input, accepts));
            } else if let (Wire::Node { .. }, Some(binding)) =
                (&draft.wires[input], self.inputs[first + input].binding)
                && let Some(from) = self.doc.bindings[binding as usize].from
            {
                let from = self.tree.key(from);
                self.mismatch(from.span, &format!("`{}`", from.text), gives, Sink::Input { node, input });
            }
        }
    }

    fn infer_outputs(&mut self, node: usize) {
        let draft = &self.drafts[node];
        let Some(bound) = &draft.bound else { return };
        let on_input = |input: usize| {
            let port = bound.signature.inputs.get(input)?;
            let types = match draft.wires.get(input)? {
                Wire::Unbound => port.accepts,
                wire @ (Wire::Node { .. } | Wire::Env(_) | Wire::Const(_)) => {
                    self.types_on(wire)?.intersection(port.accepts)
                }
            };
            // After a mismatch, which is reported, anything may come.
            Some(types).filter(|types| !types.is_empty())
        };
        let any_input = || {
            let mut feeding =
                (0..draft.wires.len()).filter(|input| !matches!(draft.wires[*input], Wire::Unbound));
            let first = feeding.next().map_or(Some(TypeSet::ANY), on_input)?;
            feeding.try_fold(first, |all, input| Some(all.union(on_input(input)?)))
        };
        let gives = |port: &OutputPort| match port.gives {
            Gives::Types(types) => Some(types),
            Gives::SameAsInput(input) => on_input(input),
            Gives::AnyInput => any_input(),
        };
        let failure = Some(Type::Json.into());
        let types: SmallVec<[Option<TypeSet>; 8]> =
            bound.signature.outputs.iter().map(gives).chain([failure]).collect();
        let first = draft.first_output;
        for (state, types) in self.outputs[first..].iter_mut().zip(types) {
            state.types = types;
        }
    }

    /// What a wire carries; `None` if that is not known.
    fn types_on(&self, wire: &Wire) -> Option<TypeSet> {
        match wire {
            Wire::Unbound => None,
            Wire::Node { node, output } => {
                let draft = &self.drafts[*node];
                draft.bound.as_ref()?;
                self.outputs.get(draft.first_output + output)?.types
            }
            Wire::Env(index) => {
                let known = self.schema.get(&self.env[*index].name);
                Some(known.map_or(TypeSet::ANY, |(_, kind)| kind.into()))
            }
            Wire::Const(value) => Some(value.kind().into()),
        }
    }
}
