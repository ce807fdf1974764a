//! `service.okra.gql`: a service's types and methods as they are written by hand.
//!
//! GraphQL's language for schemas with two additions, `service X { … }` and `@okra(…)`, which may stand
//! anywhere at the top level or behind the name of a service. What it means is settled here, too: an
//! [`Idl`] can always become a description and protobuf descriptors, and whatever could not is an error
//! with its place. All errors are found at once.
//!
//! Where the original's tools attach a directive to the method before it, a directive here belongs to the
//! method that follows if it stands before the first one, or begins a line that is not indented deeper
//! than the method above. Definitions that say nothing of a service (`scalar`, `interface`, `union`,
//! `directive`, `schema`) are passed over as the original does; `extend` and operations are errors, because
//! what they say would be lost.

mod error;
mod proof;
mod read;
mod render;
mod rewrite;
mod scalar;
mod syntax;

use prost_types::FileDescriptorSet;

use self::error::Problems;
pub use self::error::{IdlError, IdlErrorCode, IdlErrors};
pub(crate) use self::scalar::Scalar;
use crate::description::Description;
use crate::descriptors::build;

/// A schema that can become a description and descriptors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Idl {
    description: Description,
}

/// The longest schema, in bytes.
pub(crate) const MAX_BYTES: usize = 1 << 20;

// === impl Idl ===

impl Idl {
    /// Reads a schema. An empty one is one without types and services.
    ///
    /// # Errors
    /// All that is wrong with it, each with its place.
    pub fn parse(text: &[u8]) -> Result<Self, IdlErrors> {
        let mut problems = Problems::default();
        let Some(source) = error::readable(text, &mut problems) else {
            return Err(problems.into_errors(""));
        };
        let schema = read::schema(source, &mut problems);
        // What is half understood would give errors that are none.
        if problems.is_empty() {
            proof::check(&schema, &mut problems);
        }
        if problems.is_empty() {
            return Ok(Self { description: schema.into_description() });
        }
        Err(problems.into_errors(source))
    }

    /// The schema as `service.description.json` has it.
    pub fn description(&self) -> &Description {
        &self.description
    }

    /// The schema as `service.pb.desc` has it, with the files it imports first.
    pub fn descriptor_set(&self) -> FileDescriptorSet {
        build::build(&self.description)
    }
}

#[cfg(test)]
mod tests;
