//! Every test of the service port, over the transport `native`.

#[path = "calls.rs"]
mod calls;
#[path = "drain.rs"]
mod drain;
#[path = "files.rs"]
mod files;
#[path = "limits.rs"]
mod limits;
#[path = "mounted.rs"]
mod mounted;
#[path = "random.rs"]
mod random;

use std::sync::Arc;

use serve_host::{Fallback, Server, TransportKind, TransportLimits};

use crate::host::{TestHost, server_over};

fn server(limits: TransportLimits) -> (Server, Arc<TestHost>) {
    server_with(limits, None)
}

fn server_with(limits: TransportLimits, fallback: Option<Fallback>) -> (Server, Arc<TestHost>) {
    server_over(TransportKind::Native, limits, fallback)
}
