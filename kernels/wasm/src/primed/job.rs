//! A guest that is to be primed, as one piece of bytes: what the compiler's process is told, and what its code
//! is kept under.
//!
//! A line that says what follows, a header in JSON with its length before it, the requests of the samples, and
//! the module. A plain module begins with other bytes.

use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{MAX_SAMPLE_BYTES, MAX_SAMPLES, Priming, PrimingError, Sample};
use crate::abi::{Abi, Payload};
use crate::limits::{Limits, MODULE_BYTES};

/// A guest that is to be primed.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) wasm: Bytes,
    pub(crate) abi: Abi,
    pub(crate) limits: Limits,
    pub(crate) priming: Priming,
}

#[derive(Serialize, Deserialize)]
struct Header {
    subject: Subject,
    limits: Granted,
}

/// What decides the code, beside the requests and the module.
#[derive(Serialize, Deserialize)]
struct Subject {
    protobuf: bool,
    envelope: bool,
    samples: Vec<Outline>,
}

#[derive(Serialize, Deserialize)]
struct Outline {
    method: String,
    bytes: usize,
}

/// The limits that can end a start or a call.
#[derive(Serialize, Deserialize)]
struct Granted {
    memory_bytes: usize,
    table_elements: usize,
    call_ms: u64,
    start_ms: u64,
    result_bytes: usize,
    okra_calls: u32,
    wasi_calls: u32,
}

/// How a job begins. The number is that of this form, and of what priming does.
const MAGIC: &[u8] = b"okra-primed 1\n";

/// The longest header, in bytes: names may have to be escaped.
const HEADER_BYTES: usize = 8 * MAX_SAMPLE_BYTES;

/// The most bytes of a job.
pub(crate) const JOB_BYTES: usize = MODULE_BYTES + HEADER_BYTES + MAX_SAMPLE_BYTES + 64;

// === impl Job ===

impl Job {
    /// Checks that it stays within the bounds.
    ///
    /// # Errors
    /// [`PrimingError::TooMany`] if it does not.
    pub(crate) fn check(&self) -> Result<(), PrimingError> {
        let samples = &self.priming.samples;
        let bytes: usize = samples.iter().map(|sample| sample.method.len() + sample.input.len()).sum();
        let fits = samples.len() <= MAX_SAMPLES && bytes <= MAX_SAMPLE_BYTES;
        if fits { Ok(()) } else { Err(PrimingError::TooMany) }
    }

    /// The digest of all that decides what comes of it. Limits are not among it: they decide whether anything
    /// does.
    pub(crate) fn digest(&self) -> [u8; 32] {
        let mut digest = Sha256::new();
        digest.update(MAGIC);
        digest.update(json(&self.subject()));
        for sample in &self.priming.samples {
            digest.update(&sample.input);
        }
        digest.update(&self.wasm);
        digest.finalize().into()
    }

    /// All of it.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let Limits { memory_bytes, table_elements, result_bytes, okra_calls, wasi_calls, .. } = self.limits;
        let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let (call_ms, start_ms) = (ms(self.limits.call_time), ms(self.limits.start_time));
        let limits =
            Granted { memory_bytes, table_elements, call_ms, start_ms, result_bytes, okra_calls, wasi_calls };
        let header = json(&Header { subject: self.subject(), limits });
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&u64::try_from(header.len()).unwrap_or(u64::MAX).to_le_bytes());
        bytes.extend_from_slice(&header);
        for sample in &self.priming.samples {
            bytes.extend_from_slice(&sample.input);
        }
        bytes.extend_from_slice(&self.wasm);
        bytes
    }

    /// The job that these bytes are, if they are one.
    pub(crate) fn read(mut bytes: Bytes) -> Option<Self> {
        bytes.starts_with(MAGIC).then(|| bytes.split_to(MAGIC.len()))?;
        let mut take = |len: usize| (len <= bytes.len()).then(|| bytes.split_to(len));
        let len = u64::from_le_bytes(*take(8)?.first_chunk()?);
        let header: Header = serde_json::from_slice(&take(usize::try_from(len).ok()?)?).ok()?;
        let Header { subject: Subject { protobuf, envelope, samples }, limits } = header;
        let sample = |outline: Outline| Some(Sample { method: outline.method, input: take(outline.bytes)? });
        let samples = samples.into_iter().map(sample).collect::<Option<Vec<_>>>()?;
        let payload = if protobuf { Payload::Protobuf } else { Payload::Json };
        let limits = Limits {
            memory_bytes: limits.memory_bytes,
            table_elements: limits.table_elements,
            call_time: Duration::from_millis(limits.call_ms),
            start_time: Duration::from_millis(limits.start_ms),
            result_bytes: limits.result_bytes,
            okra_calls: limits.okra_calls,
            wasi_calls: limits.wasi_calls,
            ..Limits::default()
        };
        Some(Self { wasm: bytes, abi: Abi { payload, envelope }, limits, priming: Priming { samples } })
    }

    fn subject(&self) -> Subject {
        let outline = |sample: &Sample| Outline { method: sample.method.clone(), bytes: sample.input.len() };
        Subject {
            protobuf: self.abi.payload == Payload::Protobuf,
            envelope: self.abi.envelope,
            samples: self.priming.samples.iter().map(outline).collect(),
        }
    }
}

/// Numbers, strings and lists of them always have a JSON form.
fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(samples: &[(&str, &str)]) -> Job {
        let sample = |(method, input): &(&str, &str)| Sample {
            method: (*method).to_owned(),
            input: (*input).to_owned().into(),
        };
        Job {
            wasm: Bytes::from_static(b"\0asm"),
            abi: Abi { payload: Payload::Json, envelope: true },
            limits: Limits { call_time: Duration::from_millis(7), okra_calls: 3, ..Limits::default() },
            priming: Priming { samples: samples.iter().map(sample).collect() },
        }
    }

    #[test]
    fn a_job_is_read_as_it_was_written() {
        for samples in [&[][..], &[("a", "{}"), ("b\n\"", ""), ("", "\u{1f600}")]] {
            let written = job(samples);
            let bytes = Bytes::from(written.to_bytes());
            let read = Job::read(bytes.clone()).unwrap();
            assert_eq!((&read.wasm, read.abi), (&written.wasm, written.abi));
            assert_eq!((&read.limits, &read.priming), (&written.limits, &written.priming));
            assert_eq!(read.digest(), written.digest());
            // What is cut short before the module is no job.
            for len in 0..bytes.len() - written.wasm.len() {
                assert!(Job::read(bytes.slice(..len)).is_none(), "{len}");
            }
        }
        assert!(Job::read(Bytes::from_static(b"\0asm\x01\0\0\0")).is_none());
    }

    #[test]
    fn what_decides_the_code_decides_the_digest_and_limits_do_not() {
        let one = job(&[("a", "bc")]);
        let limited = Job { limits: Limits::default(), ..one.clone() };
        assert_eq!(one.digest(), limited.digest());
        let others = [
            job(&[]),
            job(&[("ab", "c")]),
            job(&[("a", "b"), ("a", "c")]),
            Job { wasm: Bytes::from_static(b"\0asn"), ..one.clone() },
            Job { abi: Abi::default(), ..one.clone() },
        ];
        for other in others {
            assert_ne!(one.digest(), other.digest(), "{other:?}");
        }
    }

    #[test]
    fn samples_have_bounds() {
        assert!(job(&[("a", "b"); 64]).check().is_ok());
        assert!(matches!(job(&[("a", "b"); 65]).check(), Err(PrimingError::TooMany)));
        assert!(job(&[("a", &"b".repeat((1 << 20) - 1))]).check().is_ok());
        assert!(matches!(job(&[("a", &"b".repeat(1 << 20))]).check(), Err(PrimingError::TooMany)));
    }
}
