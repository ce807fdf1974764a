//! `okra graph …`: check and explain documents here, publish and list graphs on a host.

use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use exec_plan::{ExecPlan, GRAPH_SCHEMA, GraphErrors, GraphSource};
use http::Method;
use serde::Serialize;
use serde_json::{Value, json};

use super::Global;
use super::admin_client::{AdminArgs, AdminClient};
use super::exit::{Exit, Failure};
use super::output::{Output, Tone};

/// `okra graph …`
#[derive(Debug, clap::Subcommand)]
pub(crate) enum GraphCommand {
    /// Check graph documents, without a host: every mistake, each at its place.
    Check(CheckArgs),
    /// Explain the plan of a graph document, without a host.
    Explain(ExplainArgs),
    /// Print the JSON Schema of graph documents.
    Schema,
    /// Stage a graph document on a host and publish it.
    Publish(PublishArgs),
    /// Go back to the version of a graph that was active before.
    Rollback(RollbackArgs),
    /// List the graphs of a host.
    List(ListArgs),
}

/// `okra graph check`
#[derive(Debug, clap::Args)]
pub(crate) struct CheckArgs {
    /// Documents, or directories of them.
    #[arg(required = true)]
    paths: Vec<PathBuf>,
}

/// `okra graph explain`
#[derive(Debug, clap::Args)]
pub(crate) struct ExplainArgs {
    /// The document.
    path: PathBuf,
    /// The form of the answer.
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

/// How a plan is explained.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Text,
    /// For tools.
    Json,
    /// A picture in Markdown.
    Mermaid,
    /// A picture.
    Svg,
}

/// `okra graph publish`
#[derive(Debug, clap::Args)]
pub(crate) struct PublishArgs {
    /// The document.
    path: PathBuf,
    /// Replace other content of the same version.
    #[arg(long)]
    force: bool,
    /// Stage it only; nothing changes in what serves.
    #[arg(long)]
    stage_only: bool,
    #[command(flatten)]
    admin: AdminArgs,
}

/// `okra graph rollback`
#[derive(Debug, clap::Args)]
pub(crate) struct RollbackArgs {
    /// The graph.
    name: String,
    #[command(flatten)]
    admin: AdminArgs,
}

/// `okra graph list`
#[derive(Debug, clap::Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    admin: AdminArgs,
}

/// What checking one document gave.
#[derive(Serialize)]
struct Checked {
    file: String,
    valid: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    graph: Option<String>,
    errors: Vec<Value>,
}

pub(crate) fn run(command: GraphCommand, global: &Global, output: &Output) -> Result<Exit, Failure> {
    match command {
        GraphCommand::Check(args) => check(&args.paths, output),
        GraphCommand::Explain(args) => explain(&args, output),
        GraphCommand::Schema => {
            output.bytes(GRAPH_SCHEMA.as_bytes());
            Ok(Exit::Ok)
        }
        GraphCommand::Publish(args) => publish(&args, global, output),
        GraphCommand::Rollback(args) => rollback(&args, global, output),
        GraphCommand::List(args) => list(&args, global, output),
    }
}

/// Checks these documents, or the documents of these directories.
pub(crate) fn check(paths: &[PathBuf], output: &Output) -> Result<Exit, Failure> {
    let mut documents = Vec::new();
    for path in paths {
        documents.extend(documents_of(path)?);
    }
    let mut results = Vec::new();
    for path in &documents {
        let file = path.display().to_string();
        let checked = match compile(path)? {
            Ok(plan) => {
                Checked { file, valid: true, graph: Some(plan.label().to_string()), errors: Vec::new() }
            }
            Err(errors) => {
                output.note(&errors.render(output.has_color()));
                let errors = errors.errors().iter().map(|error| json!(error)).collect();
                Checked { file, valid: false, graph: None, errors }
            }
        };
        results.push(checked);
    }
    let invalid = results.iter().filter(|checked| !checked.valid).count();
    let document = json!({ "valid": invalid == 0, "documents": results });
    output.result(&document, || {
        let line = |checked: &Checked| match &checked.graph {
            Some(label) => format!("{} {}: {label}\n", output.paint("ok:", Tone::Good), checked.file),
            None => format!("{} {}\n", output.paint("not valid:", Tone::Bad), checked.file),
        };
        results.iter().map(line).collect()
    });
    Ok(if invalid == 0 { Exit::Ok } else { Exit::Invalid })
}

fn explain(args: &ExplainArgs, output: &Output) -> Result<Exit, Failure> {
    let plan = match compile(&args.path)? {
        Ok(plan) => plan,
        Err(errors) => {
            output.note(&errors.render(output.has_color()));
            let count = errors.errors().len() + errors.omitted();
            let failure = Failure::new(Exit::Invalid, format!("the graph has {count} mistakes"));
            return Err(failure.with_help("mend them, then ask again"));
        }
    };
    let explain = plan.explain();
    output.result(&explain, || match args.format {
        Format::Text => explain.to_string(),
        Format::Json => serde_json::to_string_pretty(&explain).unwrap_or_default(),
        Format::Mermaid => explain.to_mermaid(),
        Format::Svg => explain.to_svg(),
    });
    Ok(Exit::Ok)
}

fn publish(args: &PublishArgs, global: &Global, output: &Output) -> Result<Exit, Failure> {
    let text = read(&args.path)?;
    let client = AdminClient::new(&args.admin, global)?;
    let name = stem(&args.path).map(|name| format!("&name={}", encode(&name))).unwrap_or_default();
    let path = format!("/api/v1/graphs?publish={}&force={}{name}", !args.stage_only, args.force);
    let staged = super::client_runtime()?.block_on(client.ask(Method::POST, &path, Some(text)));
    let staged = staged.map_err(|failure| {
        let may_force = failure.exit == Exit::Conflict && !args.force;
        if may_force { failure.with_help("--force replaces content that is there already") } else { failure }
    })?;
    output.result(&staged, || {
        let what = format!("{}@{}", text_at(&staged, "/graph"), text_at(&staged, "/version"));
        match (&staged["receipt"], staged["is_new"].as_bool()) {
            (Value::Null, Some(true)) => format!("staged {what}"),
            (Value::Null, _) => format!("{what} was staged already"),
            (receipt, _) => format!("published {what}{}", swapped(receipt)),
        }
    });
    Ok(Exit::Ok)
}

fn rollback(args: &RollbackArgs, global: &Global, output: &Output) -> Result<Exit, Failure> {
    let client = AdminClient::new(&args.admin, global)?;
    let path = format!("/api/v1/graphs/{}/rollback", encode(&args.name));
    let receipt = super::client_runtime()?.block_on(client.ask(Method::POST, &path, None))?;
    output.result(&receipt, || {
        format!("{}@{} is active{}", args.name, text_at(&receipt, "/active/version"), swapped(&receipt))
    });
    Ok(Exit::Ok)
}

fn list(args: &ListArgs, global: &Global, output: &Output) -> Result<Exit, Failure> {
    let client = AdminClient::new(&args.admin, global)?;
    let graphs = super::client_runtime()?.block_on(client.ask(Method::GET, "/api/v1/graphs", None))?;
    output.result(&graphs, || {
        let mut rows =
            vec![["GRAPH", "SERVING", "ACTIVE", "VERSIONS", "IN FLIGHT", "SERVES"].map(str::to_owned)];
        for graph in graphs["graphs"].as_array().into_iter().flatten() {
            let list = |key: &str, pointer: &str| {
                let items = graph[key].as_array().into_iter().flatten();
                items.map(|item| text_at(item, pointer)).collect::<Vec<_>>().join(", ")
            };
            rows.push([
                text_at(graph, "/name"),
                text_at(graph, "/serving/version"),
                text_at(graph, "/active/version"),
                list("versions", "/version"),
                text_at(graph, "/in_flight"),
                list("serves", ""),
            ]);
        }
        table(&rows)
    });
    Ok(Exit::Ok)
}

/// What a receipt says, after a comma.
fn swapped(receipt: &Value) -> String {
    match (&receipt["id"], receipt.pointer("/from/version")) {
        (Value::Null, _) => ", which served already or is held back by a pin".to_owned(),
        (_, None) => String::new(),
        (_, Some(_)) => format!(
            ", in place of {}; {} calls in flight finish on that",
            text_at(receipt, "/from/version"),
            text_at(receipt, "/in_flight_at_flip")
        ),
    }
}

/// The document itself, or the documents of a directory.
fn documents_of(path: &Path) -> Result<Vec<PathBuf>, Failure> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let unreadable = |error| Failure::new(Exit::NotFound, format!("cannot read {}: {error}", path.display()));
    let mut documents = Vec::new();
    for entry in fs::read_dir(path).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.extension().is_some_and(|extension| extension == "json") && path.is_file() {
            documents.push(path);
        }
    }
    documents.sort();
    if documents.is_empty() {
        let message = format!("there are no .json files in {}", path.display());
        return Err(Failure::new(Exit::NotFound, message));
    }
    Ok(documents)
}

fn compile(path: &Path) -> Result<Result<ExecPlan, GraphErrors>, Failure> {
    let source =
        GraphSource { origin: path.display().to_string().into(), stem: stem(path), text: read(path)? };
    Ok(ExecPlan::compile(&source, &kernels::builtin(), &kernels::serve_env()))
}

fn read(path: &Path) -> Result<Bytes, Failure> {
    let text = fs::read(path)
        .map_err(|error| Failure::new(Exit::NotFound, format!("cannot read {}: {error}", path.display())))?;
    Ok(text.into())
}

fn stem(path: &Path) -> Option<String> {
    path.file_stem()?.to_str().map(str::to_owned)
}

fn encode(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

/// A value of a document as a cell: text without quotes, `-` if there is none.
fn text_at(value: &Value, pointer: &str) -> String {
    match value.pointer(pointer) {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

/// Rows in columns as wide as their widest cell.
fn table<const N: usize>(rows: &[[String; N]]) -> String {
    let widths: [usize; N] =
        std::array::from_fn(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0));
    let mut text = String::new();
    for row in rows {
        let line: String = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}  ")).collect();
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_they_must_be() {
        let rows = [["A", "LONG HEAD"], ["value", "x"]].map(|row| row.map(str::to_owned));
        assert_eq!(table(&rows), "A      LONG HEAD\nvalue  x\n");
    }

    #[test]
    fn a_receipt_is_told_in_a_sentence() {
        assert_eq!(swapped(&json!({"id": 1, "from": null})), "");
        assert_eq!(
            swapped(&json!({"id": 2, "from": {"version": "1.0.0"}, "in_flight_at_flip": 3})),
            ", in place of 1.0.0; 3 calls in flight finish on that"
        );
        assert!(swapped(&json!({"id": null})).contains("served already"));
    }
}
