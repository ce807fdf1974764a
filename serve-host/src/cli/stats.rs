//! `okra stats`: the figures of a running host.

use http::Method;

use super::Global;
use super::admin_client::{AdminArgs, AdminClient};
use super::exit::{Exit, Failure};
use super::output::Output;

/// `okra stats`
#[derive(Debug, clap::Args)]
pub(crate) struct StatsArgs {
    #[command(flatten)]
    admin: AdminArgs,
}

pub(crate) fn run(args: &StatsArgs, global: &Global, output: &Output) -> Result<Exit, Failure> {
    let client = AdminClient::new(&args.admin, global)?;
    let stats = super::client_runtime()?.block_on(client.ask(Method::GET, "/api/v1/stats", None))?;
    output.result(&stats, || format!("{stats:#}"));
    Ok(Exit::Ok)
}
