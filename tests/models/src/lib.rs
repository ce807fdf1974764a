//! The files that threads fight over, compiled against loom so that `tests/*.rs` can run every
//! interleaving of them. Nothing here is a copy: the modules are the files of the product.

mod sync;

#[path = "../../../serve-host/src/admit.rs"]
pub mod admit;
#[path = "../../../serve-host/src/pool/bed.rs"]
pub mod bed;
#[path = "../../../serve-host/src/queue.rs"]
pub mod queue;
#[path = "../../../serve-host/src/drain/roll.rs"]
pub mod roll;
