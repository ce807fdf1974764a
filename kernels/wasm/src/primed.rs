//! Primed guests: started once, at deploy, and kept as they are after a few sample calls.
//!
//! The module is instantiated here with the functions and limits that it has anywhere else, `_initialize` and
//! the samples are run, and a module is written whose memory and globals begin as they are then and that
//! starts nothing: `wasmtime-wizer` does the rewriting. What comes out is compiled, kept and mapped like
//! any other module, so that every instance begins there, each with a copy of its own.
//!
//! What the samples leave is in every instance: seeds of random numbers and of hash tables, clocks that were
//! read, caches that were filled. Tables and references cannot be kept: a module that changes any is
//! refused, and so is a command, which runs from its beginning for each call. Nobody answers what
//! a sample asks of other services.

mod job;
mod lean;
mod snapshot;

use std::time::{Duration, Instant};

use bytes::Bytes;
use wasmtime_wizer::Wizer;

pub(crate) use self::job::{JOB_BYTES, Job};
use self::snapshot::Kept;
use crate::abi::envelope::{self, RequestEnvelope};
use crate::abi::okra::lower_first;
use crate::abi::{Abi, Entry};
use crate::engine::Engine;
use crate::fault::GuestFault;
use crate::guest::{LoadError, LoadOptions};
use crate::instance::{Blueprint, Instance};
use crate::limits::Limits;
use crate::state::{Asked, Turn, Way};
use crate::suspicion::Suspicions;

/// How a guest is primed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Priming {
    /// The calls it answers before it is kept, in order: 64 at most, of [`MAX_SAMPLE_BYTES`] together.
    /// With none it is only started.
    pub samples: Vec<Sample>,
}

/// One of these calls. It has to succeed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// The method's name, without its service.
    pub method: String,
    /// The request, in the form of the guest's ABI and without envelope.
    pub input: Bytes,
}

/// Why a guest was not primed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PrimingError {
    /// Each call of a command runs it from its beginning.
    #[error("a command cannot be primed: each of its calls begins with `_start`")]
    Command,
    /// The module does not fit the ABI or its limits.
    #[error("the guest cannot be primed: {0}")]
    Load(Box<LoadError>),
    /// Its state cannot be written as a module.
    #[error("the guest cannot be primed, for its state cannot be kept: {0}")]
    State(String),
    /// It does not start.
    #[error("the guest does not start: {0}")]
    Start(GuestFault),
    /// A sample was not answered, or with an error.
    #[error("sample {index} of `primed.calls` ({method}) failed: {fault}")]
    Sample {
        /// Which, from 0.
        index: usize,
        /// Its method.
        method: String,
        /// How it failed.
        fault: GuestFault,
    },
    /// There are more samples than may be, or larger ones.
    #[error("more than {MAX_SAMPLES} samples, or more than {MAX_SAMPLE_BYTES} bytes of them")]
    TooMany,
    /// This machine refuses what priming needs.
    #[error("nothing can be primed here: {0}")]
    Machine(String),
}

/// The most samples.
const MAX_SAMPLES: usize = 64;

/// The most of their names and requests together, in bytes.
pub const MAX_SAMPLE_BYTES: usize = 1 << 20;

/// How long the start and all samples may take together, by the clock. Each has the guest's own limits too.
const TIME: Duration = Duration::from_secs(20);

/// A guest that is being primed.
struct Subject {
    engine: Engine,
    blueprint: Blueprint,
    abi: Abi,
    until: Instant,
}

// === impl Priming ===

impl Priming {
    /// What the code of a module is kept under that is primed in this way; see
    /// [`Engine::keep_compiled`](crate::Engine::keep_compiled).
    pub fn digest(&self, wasm: &Bytes, abi: Abi) -> [u8; 32] {
        let (wasm, priming) = (wasm.clone(), self.clone());
        Job { wasm, abi, limits: Limits::default(), priming }.digest()
    }
}

/// The module of a job as it is after its samples. Runs the guest, on this thread.
///
/// # Errors
/// [`PrimingError`] says what stands in the way.
pub(crate) fn prime(job: &Job) -> Result<Vec<u8>, PrimingError> {
    let machine = |error: &dyn std::fmt::Display| PrimingError::Machine(error.to_string());
    let wizer = Wizer::new();
    let state = |error: wasmtime::Error| PrimingError::State(format!("{error:#}"));
    let (context, instrumented) = wizer.instrument(&job.wasm).map_err(state)?;
    let engine = Engine::for_priming().map_err(|error| machine(&error))?;
    let module = wasmtime::Module::new(&engine.0.wasm, &instrumented).map_err(state)?;
    drop(instrumented);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let snapshot = runtime.map_err(|error| machine(&error))?.block_on(async {
        let options = LoadOptions { name: "primed".into(), abi: job.abi, limits: job.limits.clone() };
        let loaded = |error| PrimingError::Load(Box::new(error));
        engine.start_clock().map_err(|error| machine(&error))?;
        let blueprint = engine.blueprint(&module, options).map_err(loaded)?;
        if blueprint.entry == Entry::Command {
            return Err(PrimingError::Command);
        }
        let until = Instant::now() + TIME;
        let subject = Subject { engine: engine.clone(), blueprint, abi: job.abi, until };
        let mut instance = subject.start().await?;
        for (index, sample) in job.priming.samples.iter().enumerate() {
            let answer = subject.answer(&mut instance, sample).await;
            answer.map_err(|fault| PrimingError::Sample { index, method: sample.method.clone(), fault })?;
        }
        let (store, guest) = instance.parts();
        wizer.snapshot(&context, &mut Kept { store, guest }).await.map_err(state)
    })?;
    let module = lean::lean(&snapshot).map_err(|error| PrimingError::State(error.to_string()))?;
    Ok(module.into_owned())
}

// === impl Subject ===

impl Subject {
    async fn start(&self) -> Result<Instance, PrimingError> {
        let claim = self.engine.0.budget.try_claim();
        let claim = claim.ok_or_else(|| PrimingError::Machine("no room for an instance".to_owned()))?;
        let suspicions = Suspicions::default();
        let started = Instance::start(&self.blueprint, claim, Some(self.until), (None, &suspicions)).await;
        started.map_err(PrimingError::Start)
    }

    /// Makes a call as any call of the guest is made.
    async fn answer(&self, instance: &mut Instance, sample: &Sample) -> Result<(), GuestFault> {
        let first = self.call(instance, &sample.method, &sample.input).await;
        match lower_first(&sample.method).filter(|_| matches!(first, Err(GuestFault::UnknownMethod(_)))) {
            Some(lowered) => self.call(instance, &lowered, &sample.input).await,
            None => first,
        }
    }

    async fn call(&self, instance: &mut Instance, method: &str, input: &Bytes) -> Result<(), GuestFault> {
        let Limits { call_time, .. } = self.blueprint.limits;
        let input = match self.abi.envelope {
            true => envelope::encode(method, input, &RequestEnvelope::default()).into(),
            false => input.clone(),
        };
        let mut asked = Some(Asked { method: method.into(), input, host: None });
        let turn = Turn { deadline: Some(self.until), longest: call_time, way: Way::Fiber(None) };
        let result = instance.call(&self.blueprint, &mut asked, turn).await.result?;
        if self.abi.envelope {
            envelope::decode(result)?;
        }
        Ok(())
    }
}
