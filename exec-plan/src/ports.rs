//! How a kernel's body reads its inputs and sets its outputs.
//!
//! [`Ports`] works in place on the slots of a running plan: nothing is collected, and a value whose
//! last reader takes it is moved, not cloned. [`Inputs`] and [`Outputs`] are the owned form, for work
//! that leaves the executor's thread. Ports are addressed by their index in the signature.

use std::sync::Arc;

use bytes::Bytes;
use smallvec::SmallVec;

use crate::context::RequestContext;
use crate::fault::{Code, Fault};
use crate::kernel::Kernel;
use crate::metadata::Metadata;
use crate::value::{Handle, Type, Value};

/// Where an input's value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// Not bound.
    Unbound,
    /// A slot whose other readers, if any, have run: the value may be moved out.
    Last(u32),
    /// A slot that others read later.
    Shared(u32),
    /// A slot that this node reads through other ports too, in whatever order, and nobody later.
    Twin(u32),
    /// A constant of the plan.
    Const(u32),
}

/// Where an output's value goes: a slot, or nowhere if nothing reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Target(pub(crate) Option<u32>);

/// The ports of one inline or blocking run, in place on the plan's slots.
#[derive(Debug)]
pub struct Ports<'a> {
    pub(crate) sources: &'a [Source],
    pub(crate) targets: &'a [Target],
    pub(crate) slots: &'a mut [Option<Value>],
    pub(crate) constants: &'a [Value],
}

/// The inputs of one run, owned.
#[derive(Clone, Debug, Default)]
pub struct Inputs {
    values: SmallVec<[Option<Value>; 4]>,
}

/// The outputs of one run, owned.
#[derive(Clone, Debug, Default)]
pub struct Outputs {
    pub(crate) values: SmallVec<[Option<Value>; 4]>,
}

/// Reading inputs by index; the typed readers fail only if a body asks for a type that its own
/// signature does not declare.
pub trait ReadInputs {
    /// The value of an input, or `None` if the document leaves it unbound.
    fn get(&self, input: usize) -> Option<&Value>;

    /// The value of an input, moved out if nobody reads it later; a second `take` may find nothing.
    fn take(&mut self, input: usize) -> Option<Value>;

    /// The input as bytes.
    ///
    /// # Errors
    /// INTERNAL if it carries something else.
    fn bytes(&self, input: usize) -> Result<&Bytes, Fault> {
        match self.get(input) {
            Some(Value::Bytes(bytes)) => Ok(bytes),
            other => Err(mismatch(input, Type::Bytes, other)),
        }
    }

    /// The input as text.
    ///
    /// # Errors
    /// INTERNAL if it carries something else.
    fn str(&self, input: usize) -> Result<&Arc<str>, Fault> {
        match self.get(input) {
            Some(Value::Str(text)) => Ok(text),
            other => Err(mismatch(input, Type::String, other)),
        }
    }

    /// The input as an integer.
    ///
    /// # Errors
    /// INTERNAL if it carries something else.
    fn i64(&self, input: usize) -> Result<i64, Fault> {
        match self.get(input) {
            Some(Value::I64(number)) => Ok(*number),
            other => Err(mismatch(input, Type::I64, other)),
        }
    }

    /// The input as metadata.
    ///
    /// # Errors
    /// INTERNAL if it carries something else.
    fn metadata(&self, input: usize) -> Result<&Arc<Metadata>, Fault> {
        match self.get(input) {
            Some(Value::Metadata(metadata)) => Ok(metadata),
            other => Err(mismatch(input, Type::Metadata, other)),
        }
    }

    /// The input as the handle of the call being answered.
    ///
    /// # Errors
    /// INTERNAL if it carries something else.
    fn call(&self, input: usize) -> Result<&Handle, Fault> {
        match self.get(input) {
            Some(Value::Call(call)) => Ok(call),
            other => Err(mismatch(input, Type::Call, other)),
        }
    }
}

// === impl Ports ===

impl Ports<'_> {
    /// Sets an output; dropped at once if nothing reads it.
    #[inline]
    pub fn set(&mut self, output: usize, value: Value) {
        if let Some(Target(Some(slot))) = self.targets.get(output)
            && let Some(slot) = self.slots.get_mut(*slot as usize)
        {
            *slot = Some(value);
        }
    }

    /// Gives an input as an output: what [`take`](ReadInputs::take) and [`set`](Self::set) do, from slot to slot.
    /// `false` if the input carries nothing.
    #[inline]
    pub fn pass(&mut self, input: usize, output: usize) -> bool {
        if let (Some(&Source::Last(from)), Some(&Target(Some(to)))) =
            (self.sources.get(input), self.targets.get(output))
            && let Ok([from, to]) = self.slots.get_disjoint_mut([from as usize, to as usize])
        {
            *to = from.take();
            return to.is_some();
        }
        self.hand_on(input, output)
    }

    /// The rarer cases of [`pass`](Self::pass), out of its way.
    #[cold]
    fn hand_on(&mut self, input: usize, output: usize) -> bool {
        let value = self.take(input);
        let any = value.is_some();
        if let Some(value) = value {
            self.set(output, value);
        }
        any
    }

    /// Whether anything reads this output: lets a body skip work whose result nobody sees.
    #[inline]
    pub fn wants(&self, output: usize) -> bool {
        matches!(self.targets.get(output), Some(Target(Some(_))))
    }

    /// How many inputs there are, up to the last that is bound.
    pub fn len(&self) -> usize {
        self.sources.len()
    }

    /// Whether no input is bound.
    pub fn is_empty(&self) -> bool {
        self.sources.is_empty()
    }

    /// All inputs, each as [`take`](ReadInputs::take) gives it.
    pub fn take_all(&mut self) -> Inputs {
        (0..self.sources.len()).map(|input| self.take(input)).collect()
    }

    /// Empties the slots that nobody reads after these ports.
    #[inline]
    pub(crate) fn leave(&mut self) {
        for source in self.sources {
            if let Source::Last(slot) | Source::Twin(slot) = *source {
                empty(&mut self.slots[slot as usize]);
            }
        }
    }

    /// Takes back an output, so that it counts as not fired.
    pub(crate) fn unset(&mut self, output: usize) {
        if let Some(Target(Some(slot))) = self.targets.get(output) {
            self.slots[*slot as usize] = None;
        }
    }
}

impl ReadInputs for Ports<'_> {
    #[inline]
    fn get(&self, input: usize) -> Option<&Value> {
        match *self.sources.get(input)? {
            Source::Unbound => None,
            Source::Last(slot) | Source::Shared(slot) | Source::Twin(slot) => {
                self.slots.get(slot as usize)?.as_ref()
            }
            Source::Const(constant) => self.constants.get(constant as usize),
        }
    }

    #[inline]
    fn take(&mut self, input: usize) -> Option<Value> {
        match *self.sources.get(input)? {
            Source::Unbound => None,
            Source::Last(slot) => self.slots.get_mut(slot as usize)?.take(),
            Source::Shared(slot) | Source::Twin(slot) => self.slots.get(slot as usize)?.clone(),
            Source::Const(constant) => self.constants.get(constant as usize).cloned(),
        }
    }
}

// === impl Inputs ===

impl Inputs {
    /// How many inputs the signature has.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether the signature has no inputs.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }
}

impl FromIterator<Option<Value>> for Inputs {
    fn from_iter<I: IntoIterator<Item = Option<Value>>>(values: I) -> Self {
        Self { values: values.into_iter().collect() }
    }
}

impl ReadInputs for Inputs {
    fn get(&self, input: usize) -> Option<&Value> {
        self.values.get(input)?.as_ref()
    }

    fn take(&mut self, input: usize) -> Option<Value> {
        self.values.get_mut(input)?.take()
    }
}

// === impl Outputs ===

impl Outputs {
    /// No output set.
    pub fn new() -> Self {
        Self::default()
    }

    /// The first output set to `value`.
    pub fn one(value: Value) -> Self {
        Self::new().with(0, value)
    }

    /// Sets an output.
    #[must_use]
    pub fn with(mut self, output: usize, value: Value) -> Self {
        if self.values.len() <= output {
            self.values.resize(output + 1, None);
        }
        self.values[output] = Some(value);
        self
    }

    /// The value of an output, if it was set.
    pub fn get(&self, output: usize) -> Option<&Value> {
        self.values.get(output)?.as_ref()
    }
}

/// Runs a kernel that works in place over inputs that are owned. `targets` says which outputs are
/// wanted, as in a plan.
pub(crate) fn run_owned(
    kernel: &dyn Kernel,
    inputs: Inputs,
    targets: &[Target],
    cx: &RequestContext,
) -> Result<Outputs, Fault> {
    let first_output = inputs.values.len();
    let index = |position: usize| u32::try_from(position).unwrap_or(u32::MAX);
    let sources: SmallVec<[Source; 8]> = (inputs.values.iter().enumerate())
        .map(|(input, value)| if value.is_some() { Source::Last(index(input)) } else { Source::Unbound })
        .collect();
    let targets: SmallVec<[Target; 8]> = (targets.iter().enumerate())
        .map(|(output, target)| Target(target.0.map(|_| index(first_output + output))))
        .collect();
    let mut slots: SmallVec<[Option<Value>; 8]> = inputs.values.into_iter().collect();
    slots.resize(first_output + targets.len(), None);
    kernel.run(&mut Ports { sources: &sources, targets: &targets, slots: &mut slots, constants: &[] }, cx)?;
    Ok(Outputs { values: slots.drain(first_output..).collect() })
}

/// Empties a slot, which as a rule is empty already.
#[inline]
fn empty(slot: &mut Option<Value>) {
    if slot.is_some() {
        *slot = None;
    }
}

#[cold]
fn mismatch(input: usize, wanted: Type, found: Option<&Value>) -> Fault {
    let found = found.map_or("nothing", |value| value.kind().name());
    Fault::new(Code::Internal, format!("input {input} carries {found}, not {wanted}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Passes input 0 on as output 0, over three slots of which the first two are taken; says what it said, and
    /// what is in the slots then.
    fn passed(source: Source, target: Option<u32>) -> (bool, String) {
        let mut slots = [Some(Value::I64(1)), Some(Value::I64(2)), None];
        let constants = [Value::Bool(true)];
        let mut ports = Ports {
            sources: &[source],
            targets: &[Target(target)],
            slots: &mut slots,
            constants: &constants,
        };
        let any = ports.pass(0, 0);
        (any, format!("{slots:?}"))
    }

    #[test]
    fn what_is_passed_moves_from_its_last_reader_and_is_shared_with_others() {
        for (source, target, any, slots) in [
            (Source::Last(0), Some(2), true, "[None, Some(2), Some(1)]"),
            // What an earlier attempt left there goes.
            (Source::Last(0), Some(1), true, "[None, Some(1), None]"),
            (Source::Last(0), Some(0), true, "[Some(1), Some(2), None]"),
            (Source::Last(0), None, true, "[None, Some(2), None]"),
            (Source::Last(2), Some(1), false, "[Some(1), None, None]"),
            (Source::Shared(0), Some(2), true, "[Some(1), Some(2), Some(1)]"),
            (Source::Const(0), Some(2), true, "[Some(1), Some(2), Some(true)]"),
            (Source::Unbound, Some(2), false, "[Some(1), Some(2), None]"),
        ] {
            assert_eq!(passed(source, target), (any, slots.to_owned()), "{source:?} to {target:?}");
        }
    }
}
