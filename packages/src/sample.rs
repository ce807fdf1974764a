//! The calls that prime a guest, held against the interface of its service.

use std::fmt;

use bytes::Bytes;
use proto_json::{
    FieldNames, JsonError, Message, ReadOptions, Schema, SchemaError, WireError, WriteOptions, Zeros,
};

use crate::config::{Payload, Primed, PrimedCall};
use crate::legible::legible;

/// A call that primes a guest: its method is there, and its request is one of that method's.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sample {
    /// The method's name in the schema.
    pub method: String,
    /// The request, in the form of the guest's ABI and without envelope.
    pub input: Bytes,
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
    /// The request is one, and cannot be put in the guest's JSON.
    #[error("`payload` cannot be given to the guest: {0}")]
    Form(WireError),
    /// It is one too many for the bytes that all may have together.
    #[error("with it, names and requests have more than {MAX_SAMPLE_BYTES} bytes together")]
    TooLarge,
}

/// The most bytes that the names and requests of all samples have together, in the form of the guest's ABI.
/// The engine that primes takes no more.
pub const MAX_SAMPLE_BYTES: usize = 1 << 20;

/// The largest request, in bytes of protobuf.
const MAX_BYTES: usize = 256 << 10;

/// The calls that prime the service of this route, whose guest takes requests in this form.
pub(crate) fn samples(
    primed: &Primed,
    descriptors: &Bytes,
    route: &str,
    form: Payload,
) -> Result<Vec<Sample>, SampleError> {
    let Some(first) = primed.calls.first() else { return Ok(Vec::new()) };
    let fault = |index, method: &str, fault| SampleError { index, method: legible(method.as_bytes()), fault };
    let schema = Schema::parse(descriptors.clone())
        .map_err(|error| fault(0, &first.method, SampleFault::Interface(error)))?;
    let service = schema.service(route);
    let mut left = MAX_SAMPLE_BYTES;
    let sample = |(index, call): (usize, &PrimedCall)| {
        let method = service.as_ref().and_then(|service| service.method(&call.method));
        let input = method.ok_or_else(|| fault(index, &call.method, SampleFault::Method))?.input;
        let options = ReadOptions { max_output_bytes: MAX_BYTES, ..ReadOptions::default() };
        let mut payload = Vec::new();
        input.json_to_proto(call.payload.as_str().as_bytes(), options, &mut payload).map_err(|error| {
            let message = input.full_name().to_owned();
            fault(index, &call.method, SampleFault::Payload { message, error })
        })?;
        let input = given(&input, payload, form, left).map_err(|why| fault(index, &call.method, why))?;
        let method = call.method.clone();
        let rest = left.checked_sub(method.len() + input.len());
        left = rest.ok_or_else(|| fault(index, &method, SampleFault::TooLarge))?;
        Ok(Sample { method, input: input.into() })
    };
    primed.calls.iter().enumerate().map(sample).collect()
}

/// A request as the graph of a package gives it to the guest.
fn given(message: &Message, payload: Vec<u8>, form: Payload, most: usize) -> Result<Vec<u8>, SampleFault> {
    let options =
        WriteOptions { field_names: FieldNames::Original, zeros: Zeros::Scalars, max_output_bytes: most };
    let mut json = Vec::new();
    match form {
        Payload::Protobuf => Ok(payload),
        Payload::Json => match message.proto_to_json(&payload, options, &mut json) {
            Ok(()) => Ok(json),
            Err(WireError::OutputTooLarge { .. }) => Err(SampleFault::TooLarge),
            Err(error) => Err(SampleFault::Form(error)),
        },
    }
}

// === impl SampleError ===

impl fmt::Display for SampleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "primed.calls[{}] ({}): {}", self.index, self.method, self.fault)
    }
}
