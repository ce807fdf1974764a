//! What the black-box tests are made of: the real binary, what calls it, and what it calls.
//!
//! ```text
//! rpc::Client ──► server::Okra (a process) ──► upstream::Upstream
//!                 ▲ admin::Admin
//! ```
//!
//! Nothing here uses the product's own code: the gRPC framing is written again on plain HTTP/2, so that
//! a mistake on one side cannot hide the same mistake on the other. A test leaves nothing behind:
//! every server is stopped by its process id and every file lies in a directory that goes with it.

pub mod admin;
pub mod bystander;
pub mod clients;
pub mod faulty;
pub mod graph;
pub mod greet;
pub mod guests;
pub mod http;
pub mod load;
pub mod moody;
pub mod package;
pub mod process;
pub mod proving;
pub mod raw;
pub mod rpc;
pub mod server;
pub mod strace;
pub mod texts;
pub mod upstream;
mod wire;

use std::path::{Path, PathBuf};
use std::time::Duration;

/// The longest a test waits for something that should be there soon.
pub const SOON: Duration = Duration::from_secs(10);

/// The root of the repository.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("this crate lies one level below the root")
}

/// A graph that is documented in `graphs/`, by its file name.
pub fn documented_graph(file: &str) -> PathBuf {
    repository().join("graphs").join(file)
}

/// Whether the long forms were asked for: `OKRA_LONG=1 tests/run`.
pub fn long_form() -> bool {
    std::env::var_os("OKRA_LONG").is_some_and(|value| value == "1")
}

/// Says what was measured, or that something could not be tried, beside the result of a test.
#[expect(clippy::print_stdout, reason = "figures belong to the result")]
pub fn say(text: impl std::fmt::Display) {
    println!("{text}");
}

/// Waits until `probe` gives something, at most [`SOON`].
///
/// # Errors
/// What was waited for, when it does not come.
pub async fn eventually<T>(
    what: &str,
    mut probe: impl AsyncFnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<T> {
    let give_up = tokio::time::Instant::now() + SOON;
    loop {
        if let Some(found) = probe().await? {
            return Ok(found);
        }
        anyhow::ensure!(tokio::time::Instant::now() < give_up, "waited {SOON:?} in vain for {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
