//! Turns graph JSON into a proved, immutable plan and runs it.
//!
//! ```text
//! document ──► wire ──► proof ──► plan ──► executor
//!  read JSON   ports,    answers   flat     runs it for
//!  with spans  types     once      ops      every request
//! ```
//!
//! The only way to an [`ExecPlan`] is [`ExecPlan::compile`], so possessing one is the proof that the
//! graph is acyclic, typed, in bounds and answers exactly once. [`PlanStore`] keeps plans by name and
//! version and swaps the one that serves, without ever changing a run in flight.
//!
//! This crate knows no RPC, no HTTP and no WebAssembly: kernels bring those.

mod analyse;
mod context;
mod diagnostic;
mod document;
mod executor;
mod explain;
mod fault;
mod identity;
mod kernel;
mod metadata;
mod plan;
mod ports;
mod proof;
mod store;
mod sync;
mod trace;
mod value;
mod wire;

pub use crate::context::{
    Cancel, EnvKey, EnvSchema, Environment, GraphResolver, HeldPlan, RequestContext, Surroundings,
};
pub use crate::diagnostic::{GraphError, GraphErrorCode, GraphErrors, RelatedPlace};
pub use crate::document::GRAPH_SCHEMA;
pub use crate::executor::{BlockingTicket, Executor, Job, NoOffload, Offload, RunError, RunOutputs};
pub use crate::explain::{Explain, ExplainFeed, ExplainNode};
pub use crate::fault::{Code, Fault, UnknownCode};
pub use crate::identity::{ContentHash, GraphName, InvalidGraphName, InvalidHash, InvalidVersion, Version};
pub use crate::kernel::{
    AsyncKernel, Begun, BindError, Body, BoundKernel, DuplicateKernel, Emits, Fires, Gives, InputPort,
    Kernel, KernelFactory, KernelRegistry, NodeSpec, OutputPort, Params, Signature, Site,
};
pub use crate::metadata::{InvalidName, Metadata, is_valid_name};
pub use crate::plan::{Class, ExecPlan, GraphSource};
pub use crate::ports::{Inputs, Outputs, Ports, ReadInputs};
pub use crate::store::{
    Disk, DiskError, DiskStep, DiskWatch, EvictError, Finding, GraphStatus, InstallError, Installed,
    OpenError, PlanLease, PlanStore, PublishError, Recovery, ReleaseId, Role, StageError, Staged,
    StoreOptions, SwapCause, SwapReceipt, Unresolved, VersionStatus, is_unfinished,
};
pub use crate::trace::{InvalidTraceParent, NodeEnd, TraceEvent, TraceParent, TraceSink};
pub use crate::value::{Handle, Type, TypeSet, Value};
