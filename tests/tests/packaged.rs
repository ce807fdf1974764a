//! Clients that others wrote call a service that was deployed as a package; once it is undeployed each of
//! them is told so by its next call, and once it is deployed again each is served again.
//!
//! The service is `guests/greeter`, deployed and undeployed by the lines of `curl` in the documentation.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use tempfile::NamedTempFile;
use tests::clients::{go_tool, node, python, run, script};
use tests::guests::rust_guest;
use tests::server::{Okra, Serve};

/// A host to which the greeter is deployed, or not.
struct Greeter {
    server: Okra,
    package: PathBuf,
    /// What the package says of the service, for clients that have to know it.
    descriptors: NamedTempFile,
}

/// A client that runs on: it calls whenever it is told to.
struct Caller {
    process: Child,
    told: ChildStdin,
    says: BufReader<ChildStdout>,
}

/// What a client that hears of a service says when it is served.
fn served() -> Value {
    json!({ "message": "Hello, Ada!" })
}

/// What it says when nobody serves it.
fn gone() -> Value {
    json!("UNIMPLEMENTED")
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_is_served_whenever_the_package_is_deployed() -> anyhow::Result<()> {
    let greeter = Greeter::host().await?;
    greeter.is_followed_by(|greeter| {
        let mut heard = Vec::new();
        for version in ["--http1.1", "--http2-prior-knowledge"] {
            for path in ["/myapp.Greeter/greet", "/connect/myapp.Greeter/greet"] {
                let url = format!("http://{}{path}", greeter.server.service());
                let said =
                    curl(&[version, "-w", "\n%{http_code}", "-X", "POST", &url], r#"{"name": "Ada"}"#)?;
                let (body, status) = said.rsplit_once('\n').context("a status")?;
                let body: Value = serde_json::from_str(body)?;
                heard.push((url, if status == "404" { body["code"].clone() } else { body }));
            }
        }
        Ok(heard.into_iter().map(|(who, heard)| (who, as_grpc_names_it(heard))).collect())
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn grpcurl_is_served_whenever_the_package_is_deployed() -> anyhow::Result<()> {
    let Some(grpcurl) = go_tool("grpcurl")? else { return Ok(()) };
    let greeter = Greeter::host().await?;
    greeter.is_followed_by(|greeter| {
        let call = |knows: &[&str]| -> anyhow::Result<(Option<Value>, String)> {
            let mut grpcurl = Command::new(grpcurl.get_program());
            grpcurl.arg("-plaintext").args(knows).args(["-d", r#"{"name": "Ada"}"#]);
            grpcurl.args([&greeter.server.service().to_string(), "myapp.Greeter/greet"]);
            let done = grpcurl.output()?;
            Ok((serde_json::from_slice(&done.stdout).ok(), String::from_utf8(done.stderr)?))
        };
        let hears = |knows: &[&str], no: &str| -> anyhow::Result<Value> {
            let (answer, error) = call(knows)?;
            Ok(answer.unwrap_or_else(|| if error.contains(no) { gone() } else { json!(error) }))
        };
        let descriptors = greeter.descriptors.path().to_string_lossy();
        Ok(vec![
            ("by reflection".to_owned(), hears(&[], "does not expose service \"myapp.Greeter\"")?),
            ("by descriptors".to_owned(), hears(&["-protoset", &descriptors], "Code: Unimplemented")?),
        ])
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn ghz_is_served_whenever_the_package_is_deployed() -> anyhow::Result<()> {
    let Some(ghz) = go_tool("ghz")? else { return Ok(()) };
    let greeter = Greeter::host().await?;
    greeter.is_followed_by(|greeter| {
        let report = run(Command::new(ghz.get_program())
            .args(["--insecure", "--format", "json", "-n", "500", "-c", "10", "--connections", "2"])
            .args(["--call", "myapp.Greeter/greet", "-d", r#"{"name": "Ada"}"#, "--protoset"])
            .arg(greeter.descriptors.path())
            .arg(greeter.server.service().to_string()))?;
        let report: Value = serde_json::from_str(&report)?;
        let codes = &report["statusCodeDistribution"];
        let heard = if *codes == json!({ "OK": 500 }) {
            served()
        } else if *codes == json!({ "Unimplemented": 500 }) {
            gone()
        } else {
            codes.clone()
        };
        Ok(vec![("ghz".to_owned(), heard)])
    })?;
    greeter.deploy()?;
    let report = run(Command::new(ghz.get_program())
        .args(["--insecure", "--format", "json", "-n", "500", "-c", "10"])
        .args(["--call", "myapp.Greeter/greet", "-d", r#"{"name": "Ada"}"#])
        .arg(greeter.server.service().to_string()))?;
    let report: Value = serde_json::from_str(&report)?;
    assert_eq!(report["statusCodeDistribution"], json!({ "OK": 500 }), "by reflection: {report}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn grpcio_is_served_whenever_the_package_is_deployed() -> anyhow::Result<()> {
    let Some(mut python) = python()? else { return Ok(()) };
    let greeter = Greeter::host().await?;
    let script = script("python/greeter.py");
    let mut caller = Caller::start(python.arg(script).arg(greeter.server.service().to_string()))?;
    greeter.is_followed_by(|_| caller.call())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_clients_of_node_are_served_whenever_the_package_is_deployed() -> anyhow::Result<()> {
    let Some(mut node) = node()? else { return Ok(()) };
    let greeter = Greeter::host().await?;
    let address = greeter.server.service().to_string();
    let mut caller =
        Caller::start(node.arg(script("node/greeter.js")).arg(address).arg(greeter.descriptors.path()))?;
    greeter.is_followed_by(|_| {
        let heard = caller.call()?;
        ensure!(heard.len() == 9, "grpc-js, connect-node and connect-web in each of their ways: {heard:?}");
        Ok(heard)
    })
}

/// Posts JSON, and gives what came back.
fn curl(arguments: &[&str], body: &str) -> anyhow::Result<String> {
    let json = ["-H", "Content-Type: application/json", "-d", body];
    run(Command::new("curl").arg("-sS").args(arguments).args(json))
}

/// Connect's name of a code as gRPC writes it; anything else as it is.
fn as_grpc_names_it(heard: Value) -> Value {
    heard.as_str().map(|code| json!(code.to_ascii_uppercase())).unwrap_or(heard)
}

// === impl Greeter ===

impl Greeter {
    async fn host() -> anyhow::Result<Self> {
        let package = rust_guest("greeter")?;
        let root = package.parent().context("a directory")?;
        let server = Serve::empty().flag("--packages-roots", root.display()).start().await?;
        let descriptors = NamedTempFile::new()?;
        std::fs::write(descriptors.path(), tests::package::descriptors(&package)?)?;
        Ok(Self { server, package, descriptors })
    }

    fn deploy(&self) -> anyhow::Result<()> {
        let url = format!("http://{}/api/v1/packages/deploy", self.server.admin().address());
        let source = json!({ "source": format!("file://{}", self.package.display()) });
        let said: Value = serde_json::from_str(&curl(&["-X", "POST", &url], &source.to_string())?)?;
        ensure!(said["service_id"] == "myapp.Greeter.v1" && said["status"] == "deployed", "{said}");
        Ok(())
    }

    fn undeploy(&self) -> anyhow::Result<()> {
        let url = format!("http://{}/api/v1/packages/myapp.Greeter.v1", self.server.admin().address());
        let said = run(Command::new("curl").args(["-sS", "-w", "%{http_code}", "-X", "DELETE", &url]))?;
        ensure!(said == "204", "{said}");
        Ok(())
    }

    /// Deploys and undeploys, twice. After each of it, what a client hears at once is told by name.
    fn is_followed_by(
        &self,
        mut hears: impl FnMut(&Self) -> anyhow::Result<Vec<(String, Value)>>,
    ) -> anyhow::Result<()> {
        for round in ["first", "again"] {
            self.deploy()?;
            for (who, heard) in hears(self)? {
                ensure!(heard == served(), "deployed {round}, {who} heard {heard}");
            }
            self.undeploy()?;
            for (who, heard) in hears(self)? {
                ensure!(heard == gone(), "undeployed {round}, {who} heard {heard}");
            }
        }
        Ok(())
    }
}

// === impl Caller ===

impl Caller {
    fn start(command: &mut Command) -> anyhow::Result<Self> {
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let told = process.stdin.take().context("stdin")?;
        let says = BufReader::new(process.stdout.take().context("stdout")?);
        Ok(Self { process, told, says })
    }

    /// What each of its clients hears now.
    fn call(&mut self) -> anyhow::Result<Vec<(String, Value)>> {
        self.told.write_all(b"call\n")?;
        let mut line = String::new();
        self.says.read_line(&mut line)?;
        let heard: serde_json::Map<String, Value> = serde_json::from_str(&line).context("it has ended")?;
        Ok(heard.into_iter().collect())
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
