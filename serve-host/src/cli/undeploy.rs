//! `okra undeploy`: a service serves no more.

use http::Method;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::json;

use super::Global;
use super::admin_client::{AdminArgs, AdminClient};
use super::exit::{Exit, Failure};
use super::output::Output;

/// `okra undeploy`
#[derive(Debug, clap::Args)]
pub(crate) struct UndeployArgs {
    /// The service, `namespace.Service.version`; `okra services` lists them.
    #[arg(value_name = "ID")]
    id: String,
    #[command(flatten)]
    admin: AdminArgs,
}

pub(crate) fn run(args: &UndeployArgs, global: &Global, output: &Output) -> Result<Exit, Failure> {
    let client = AdminClient::new(&args.admin, global)?;
    let path = format!("/api/v1/packages/{}", utf8_percent_encode(&args.id, NON_ALPHANUMERIC));
    super::client_runtime()?.block_on(client.ask(Method::DELETE, &path, None))?;
    let document = json!({ "service_id": args.id, "status": "undeployed" });
    output.result(&document, || format!("{} undeployed", args.id));
    Ok(Exit::Ok)
}
