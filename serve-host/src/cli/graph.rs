//! placeholder until exec-plan compiles documents
use super::Global;
use super::exit::{Exit, Failure};
use super::output::Output;
/// x
#[derive(Debug, clap::Subcommand)]
pub(crate) enum GraphCommand {
    /// x
    List,
}
pub(crate) fn run(_command: GraphCommand, _global: &Global, _output: &Output) -> Result<Exit, Failure> {
    Ok(Exit::Ok)
}
