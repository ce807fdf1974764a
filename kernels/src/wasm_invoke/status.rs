//! What a guest's failure means for its caller: the one match that picks the code.

use std::sync::Arc;

use exec_plan::{Code, Fault, Metadata};
use kernels_wasm::{Field, GuestFault, GuestStatus};

use crate::services::Service;

/// The fault of a failed call. Its message is the guest's own, where the guest had one.
pub(super) fn of(service: &Service, fault: GuestFault) -> Fault {
    let code = code(&fault);
    match fault {
        GuestFault::GuestStatus(status) => own_status(service, code, *status),
        GuestFault::Guest(text) => Fault::new(code, text).verbatim(),
        other => Fault::new(code, other.to_string()).with_source(format!("guest {}", service.id)),
    }
}

pub(super) fn code(fault: &GuestFault) -> Code {
    match fault {
        GuestFault::Guest(_) | GuestFault::GuestSilent => Code::Unknown,
        GuestFault::GuestStatus(status) => {
            let number = u8::try_from(status.code).ok();
            number.and_then(Code::from_number).unwrap_or(Code::Unknown)
        }
        GuestFault::UnknownMethod(_) => Code::Unimplemented,
        GuestFault::Deadline => Code::DeadlineExceeded,
        GuestFault::Busy
        | GuestFault::HostCalls { .. }
        | GuestFault::InputRefused
        | GuestFault::MemoryLimit { .. }
        | GuestFault::StackOverflow
        | GuestFault::TableLimit { .. } => Code::ResourceExhausted,
        GuestFault::Starting { .. } => Code::Unavailable,
        GuestFault::Exited(_)
        | GuestFault::Malformed(_)
        | GuestFault::NoRuntime
        | GuestFault::ResultTooLarge { .. }
        | GuestFault::Trapped { .. } => Code::Internal,
    }
}

/// The status that a guest with envelopes chose, with all that goes with it.
fn own_status(service: &Service, code: Code, status: GuestStatus) -> Fault {
    let mut fault = Fault::new(code, status.message).verbatim();
    if !status.details.is_empty() {
        fault = fault.with_details(status.details);
    }
    // A failed call has no message, so there is one place for what goes before it and after it.
    let all = status.metadata.into_iter().chain(status.trailers).collect();
    match metadata(service, all) {
        Ok(metadata) if metadata.is_empty() => fault,
        Ok(metadata) => fault.with_metadata(metadata),
        Err(malformed) => malformed,
    }
}

/// Metadata of the guest's making.
///
/// # Errors
/// INTERNAL if a name is one that no wire could carry.
pub(super) fn metadata(service: &Service, fields: Vec<Field>) -> Result<Arc<Metadata>, Fault> {
    let mut metadata = Metadata::new();
    for Field { name, value } in fields {
        metadata.append(name, value).map_err(|error| {
            Fault::new(Code::Internal, "the service gave metadata with an invalid name")
                .with_source(format!("guest {}: {error}", service.id))
        })?;
    }
    Ok(Arc::new(metadata))
}
