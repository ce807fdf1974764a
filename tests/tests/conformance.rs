//! The official Connect conformance suite, every unary case of its three protocols, with no case excused.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Context as _;
use prost::Message as _;
use tempfile::NamedTempFile;
use tests::clients::{conformance_protos, go_tool, run};
use tests::guests::conformance_guest;
use tests::repository;
use tests::server::{example, program};

#[test]
fn a_service_of_native_kernels_passes_every_case_over_both_transports() -> anyhow::Result<()> {
    let Some(suite) = Suite::fetched()? else { return Ok(()) };
    for transport in ["tonic", "native"] {
        let mut server = Command::new(example("conformance"));
        server.arg(suite.descriptors.path()).arg(transport);
        suite.passes(&server).with_context(|| format!("over {transport}"))?;
    }
    Ok(())
}

#[test]
fn a_service_deployed_as_a_package_passes_every_case_over_both_transports() -> anyhow::Result<()> {
    let Some(suite) = Suite::fetched()? else { return Ok(()) };
    let package = conformance_guest(&suite.protos)?;
    for transport in ["tonic", "native"] {
        let mut server = Command::new(program("hosted_conformance"));
        server.arg(&package).arg(transport);
        suite.passes(&server).with_context(|| format!("over {transport}"))?;
    }
    Ok(())
}

/// The runner, and what its service looks like.
struct Suite {
    runner: PathBuf,
    protos: PathBuf,
    descriptors: NamedTempFile,
}

impl Suite {
    /// The suite, if `tests/run` has fetched it.
    fn fetched() -> anyhow::Result<Option<Self>> {
        let (Some(runner), Some(protos)) = (go_tool("connectconformance")?, conformance_protos()?) else {
            return Ok(None);
        };
        let service = protos.join("connectrpc/conformance/v1/service.proto");
        let set = protox::compile([service], [&protos])?;
        let descriptors = NamedTempFile::new()?;
        std::fs::write(descriptors.path(), set.encode_to_vec())?;
        Ok(Some(Self { runner: runner.get_program().into(), protos, descriptors }))
    }

    /// Runs the suite against a server that speaks with the runner as its protocol has it.
    fn passes(&self, server: &Command) -> anyhow::Result<()> {
        let report = run(Command::new(&self.runner)
            .args(["--mode", "server", "--conf"])
            .arg(repository().join("tests/conformance/unary.yaml"))
            .arg("--")
            .arg(server.get_program())
            .args(server.get_args()))?;
        anyhow::ensure!(report.contains(EVERY_CASE), "{report}");
        Ok(())
    }
}

/// What the runner says when nothing was left out and nothing failed.
const EVERY_CASE: &str = "Total cases: 1044\n1044 passed, 0 failed";
