//! What kernels share about ports: inputs that the document names, outputs that parameters name.

use std::borrow::Cow;

use exec_plan::{
    BindError, Code, Fault, Gives, InputPort, NodeSpec, OutputPort, ReadInputs, Site, TypeSet, Value,
};

/// The inputs a node lists, each of which must be bound.
///
/// # Errors
/// The list is missing or empty.
pub(crate) fn listed(node: &NodeSpec<'_>, accepts: TypeSet) -> Result<Vec<InputPort>, Vec<BindError>> {
    match node.inputs {
        Some(names) if !names.is_empty() => Ok(named(names.iter().copied(), accepts)),
        _ => {
            let message = "this kernel takes the inputs that the node lists, and it lists none";
            Err(vec![BindError::new(Site::Node, message).with_help(r#"add "inputs": ["a", "b"]"#)])
        }
    }
}

/// Inputs of these names, each of which must be bound. That a list has each name once is the
/// compiler's business.
pub(crate) fn named<'n>(names: impl IntoIterator<Item = &'n str>, accepts: TypeSet) -> Vec<InputPort> {
    names.into_iter().map(|name| InputPort::required(name.to_owned(), accepts)).collect()
}

/// The names of these ports.
pub(crate) fn names(ports: &[InputPort]) -> Vec<Cow<'static, str>> {
    ports.iter().map(|port| port.name.clone()).collect()
}

/// The output of this name, added if it is new.
///
/// # Errors
/// The name, found at `pointer` in the parameters, is not an identifier.
pub(crate) fn output(
    outputs: &mut Vec<OutputPort>,
    name: &str,
    gives: Gives,
    pointer: impl Into<String>,
) -> Result<usize, BindError> {
    if let Some(index) = outputs.iter().position(|output| output.name == name) {
        return Ok(index);
    }
    let mut chars = name.chars();
    let starts = chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
    if !starts || !chars.all(|c| c.is_ascii_alphanumeric() || c == '_') {
        let message = format!("{name:?} cannot name an output: expected letters, digits and '_'");
        return Err(BindError::new(Site::Param(pointer.into()), message));
    }
    outputs.push(OutputPort::new(name.to_owned(), gives));
    Ok(outputs.len() - 1)
}

/// The value of an input that must be there.
///
/// # Errors
/// INTERNAL if it is not: a graph that compiles binds it.
pub(crate) fn take(ports: &mut impl ReadInputs, input: usize) -> Result<Value, Fault> {
    ports.take(input).ok_or_else(|| nothing(input))
}

/// The fault of a node whose input must be there and is not.
#[cold]
pub(crate) fn nothing(input: usize) -> Fault {
    Fault::new(Code::Internal, format!("input {input} carries nothing"))
}
