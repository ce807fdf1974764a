//! The calls that prime a guest, held against the interface of its service.

use std::fmt;

use bytes::Bytes;
use proto_json::{JsonError, ReadOptions, Schema, SchemaError};

use crate::config::Primed;
use crate::legible::legible;

/// A call that primes a guest: its method is there, and its request is one of that method's.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sample {
    /// The method's name in the schema.
    pub method: String,
    /// The request, in protobuf.
    pub payload: Bytes,
}

/// Why a call cannot prime a guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SampleError {
    /// Which of `primed.calls`, from 0.
    pub index: usize,
    /// The method it names, made legible.
    pub method: String,
    /// What is wrong with it.
    pub fault: SampleFault,
}

/// What is wrong with a call that was to prime a guest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SampleFault {
    /// The descriptors cannot be used to read requests.
    #[error("the interface cannot be used: {0}")]
    Interface(SchemaError),
    /// The service has no such method.
    #[error("the service has no such method")]
    Method,
    /// The request is none of the method's.
    #[error("`payload` is no {message}: {error}")]
    Payload {
        /// What it should be.
        message: String,
        /// Where it is not.
        error: JsonError,
    },
}

/// The largest request, in bytes of protobuf.
const MAX_BYTES: usize = 256 << 10;

/// The calls that prime the service of this route.
pub(crate) fn samples(primed: &Primed, descriptors: &Bytes, route: &str) -> Result<Vec<Sample>, SampleError> {
    let Some(first) = primed.calls.first() else { return Ok(Vec::new()) };
    let fault = |index, method: &str, fault| SampleError { index, method: legible(method.as_bytes()), fault };
    let schema = Schema::parse(descriptors.clone())
        .map_err(|error| fault(0, &first.method, SampleFault::Interface(error)))?;
    let service = schema.service(route);
    let sample = |(index, call): (usize, &crate::PrimedCall)| {
        let method = service.as_ref().and_then(|service| service.method(&call.method));
        let input = method.ok_or_else(|| fault(index, &call.method, SampleFault::Method))?.input;
        let options = ReadOptions { max_output_bytes: MAX_BYTES, ..ReadOptions::default() };
        let mut payload = Vec::new();
        input.json_to_proto(call.payload.as_str().as_bytes(), options, &mut payload).map_err(|error| {
            let message = input.full_name().to_owned();
            fault(index, &call.method, SampleFault::Payload { message, error })
        })?;
        Ok(Sample { method: call.method.clone(), payload: payload.into() })
    };
    primed.calls.iter().enumerate().map(sample).collect()
}

// === impl SampleError ===

impl fmt::Display for SampleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "primed.calls[{}] ({}): {}", self.index, self.method, self.fault)
    }
}
