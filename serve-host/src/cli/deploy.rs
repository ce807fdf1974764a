//! `okra deploy`: a package becomes a service of a running host.

use std::fs::File;
use std::io::{IsTerminal, Read, Write};
use std::path::Path;

use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};

use super::Global;
use super::admin_client::{AdminArgs, AdminClient, Content};
use super::exit::{Exit, Failure};
use super::output::{Output, Tone};

/// `okra deploy`
#[derive(Debug, clap::Args)]
pub(crate) struct DeployArgs {
    /// A package here, which is uploaded; or a file:// or s3:// URL that the host fetches.
    #[arg(value_name = "FILE|URL")]
    package: String,
    /// Replace what is deployed under the same id.
    #[arg(long = "override")]
    replaces: bool,
    /// The SHA-256 that the package must have.
    #[arg(long, value_name = "HEX")]
    sha256: Option<String>,
    #[command(flatten)]
    admin: AdminArgs,
}

/// The largest file that is uploaded, in bytes; the host has a limit of its own.
const MAX_FILE: u64 = 1 << 30;

pub(crate) fn run(args: &DeployArgs, global: &Global, output: &Output) -> Result<Exit, Failure> {
    let client = AdminClient::new(&args.admin, global)?;
    let (path, content) = request(args)?;
    // Steps are for those who watch.
    let shows = std::io::stderr().is_terminal() && !output.is_json();
    let mut shown = Steps { shows, is_open: false };
    let following = client.follow(Method::POST, &path, content, |line| shown.hear(line));
    let last = super::client_runtime()?.block_on(following);
    shown.end();
    let last = last?;
    if let Some(problem) = last.get("problem") {
        return Err(client.problem(problem));
    }
    let deployed = last.get("result").unwrap_or(&last);
    if deployed["service_id"].is_null() {
        return Err(Failure::new(Exit::Failure, "the host did not say how the deploy ended")
            .with_help("see `okra services`, and the log of the host"));
    }
    output.result(deployed, || text(deployed, output));
    Ok(Exit::Ok)
}

/// Where to ask, and what is sent.
fn request(args: &DeployArgs) -> Result<(String, Content), Failure> {
    const PATH: &str = "/api/v1/packages/deploy";
    if is_url(&args.package) {
        let body = json!({ "source": args.package, "override": args.replaces, "sha256": args.sha256 });
        return Ok((PATH.to_owned(), Content::Json(Bytes::from(body.to_string()))));
    }
    let package = read(Path::new(&args.package))?;
    let mut path = format!("{PATH}?override={}", args.replaces);
    if let Some(sha256) = &args.sha256 {
        let digits: String = sha256.chars().filter(char::is_ascii_alphanumeric).collect();
        path.push_str(&format!("&sha256={digits}"));
    }
    Ok((path, Content::Bytes(package)))
}

/// Whether it begins as a URL does. A file of such a name is meant by `./name`.
fn is_url(text: &str) -> bool {
    text.split_once(':').is_some_and(|(scheme, rest)| {
        let scheme_like =
            scheme.len() > 1 && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
        scheme_like && (rest.starts_with('/') && scheme.starts_with(|c: char| c.is_ascii_alphabetic()))
    })
}

fn read(path: &Path) -> Result<Bytes, Failure> {
    let unreadable = |error: std::io::Error| {
        let exit = if error.kind() == std::io::ErrorKind::NotFound { Exit::NotFound } else { Exit::Failure };
        Failure::new(exit, format!("cannot read {}: {error}", path.display()))
    };
    let mut bytes = Vec::new();
    File::open(path).map_err(unreadable)?.take(MAX_FILE).read_to_end(&mut bytes).map_err(unreadable)?;
    Ok(Bytes::from(bytes))
}

/// The steps of a deploy, on one line that grows.
struct Steps {
    shows: bool,
    is_open: bool,
}

impl Steps {
    fn hear(&mut self, line: &Value) {
        let Some(step) = line["step"].as_str().filter(|_| self.shows) else { return };
        let mut err = std::io::stderr().lock();
        // Progress that nobody can see is no reason to fail.
        let _ = write!(err, "{}{step} …", if self.is_open { " " } else { "" }).and_then(|()| err.flush());
        self.is_open = true;
    }

    fn end(&mut self) {
        if self.is_open {
            let _ = writeln!(std::io::stderr().lock());
            self.is_open = false;
        }
    }
}

fn text(deployed: &Value, output: &Output) -> String {
    let word = |key: &str| deployed[key].as_str().unwrap_or_default();
    let status = match word("status") {
        status @ "deployed" => output.paint(status, Tone::Good),
        status => output.paint(status, Tone::Quiet),
    };
    let mut text = format!(
        "{} {status} as {}@{} in {} ms",
        word("service_id"),
        word("graph"),
        word("version"),
        deployed["took_ms"]
    );
    for endpoint in deployed["endpoints"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        text.push_str(&format!("\n  {endpoint}"));
    }
    for note in deployed["notes"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        text.push_str(&format!("\n{} {note}", output.paint("note:", Tone::Quiet)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_told_from_a_path() {
        for url in ["file:///a", "file:/a", "s3://b/k", "http://h/x", "FILE:///a"] {
            assert!(is_url(url), "{url}");
        }
        for path in ["a.okra.pkg", "./file:a", "/abs/a.pkg", "dist/a:b.pkg", "a:b", "C:/x"] {
            assert!(!is_url(path), "{path}");
        }
    }
}
