//! `okra services`: what is deployed on a host.

use http::Method;
use serde_json::Value;

use super::Global;
use super::admin_client::{AdminArgs, AdminClient};
use super::exit::{Exit, Failure};
use super::output::Output;

/// `okra services`
#[derive(Debug, clap::Args)]
pub(crate) struct ServicesArgs {
    #[command(flatten)]
    admin: AdminArgs,
}

pub(crate) fn run(args: &ServicesArgs, global: &Global, output: &Output) -> Result<Exit, Failure> {
    let client = AdminClient::new(&args.admin, global)?;
    let list = super::client_runtime()?.block_on(client.ask(Method::GET, "/api/v1/packages", None))?;
    output.result(&list, || text(&list));
    Ok(Exit::Ok)
}

/// A table with columns as wide as they need be.
fn text(list: &Value) -> String {
    let services: Vec<&Value> = list["services"].as_array().into_iter().flatten().collect();
    if services.is_empty() {
        return "nothing is deployed; `okra deploy FILE` deploys a package".to_owned();
    }
    let word = |service: &Value, key: &str| service[key].as_str().unwrap_or_default().to_owned();
    let head = ["SERVICE", "STATE", "GRAPH", "DEPLOYED", "DIGEST", "SOURCE"].map(str::to_owned);
    let rows = services.into_iter().map(|service| {
        let graph = format!("{}@{}", word(service, "graph"), word(service, "version"));
        let digest: String = word(service, "digest").chars().take(SHORT_DIGEST).collect();
        let (state, deployed) = (word(service, "state"), word(service, "deployed_at"));
        [word(service, "id"), state, graph, deployed, digest, word(service, "source")]
    });
    let rows: Vec<[String; 6]> = std::iter::once(head).chain(rows).collect();
    let widths: [usize; 6] =
        std::array::from_fn(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0));
    let line = |row: &[String; 6]| {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// As many digits as tell packages apart for people.
const SHORT_DIGEST: usize = 12;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn services_stand_in_columns() {
        let list = json!({ "services": [{ "id": "shop.Orders.v1", "state": "active", "graph": "shop.Orders",
            "version": "1.0.0", "deployed_at": "2026-01-31T12:00:00Z", "digest": "0123456789abcdef", "source": "upload" }]});
        let text = text(&list);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[0],
            "SERVICE         STATE   GRAPH              DEPLOYED              DIGEST        SOURCE"
        );
        assert_eq!(
            lines[1],
            "shop.Orders.v1  active  shop.Orders@1.0.0  2026-01-31T12:00:00Z  0123456789ab  upload"
        );
        assert!(super::text(&json!({ "services": [] })).starts_with("nothing is deployed"));
    }
}
