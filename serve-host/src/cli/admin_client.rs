//! Talks to the control plane of a running host: one HTTP/1.1 request, one JSON answer.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde_json::Value;
use serve_host::config::Config;
use tokio::net::TcpStream;

use super::Global;
use super::exit::{Exit, Failure};
use super::settings::Settings;

/// Where the control plane is. By default where the configuration here says.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct AdminArgs {
    /// The admin port of the host [default: admin.host and admin.port of the configuration].
    #[arg(long, value_name = "HOST:PORT")]
    admin: Option<String>,
    /// A file with the host's token [default: admin.token_file of the configuration].
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

/// What a request brings.
#[derive(Debug)]
pub(crate) enum Content {
    /// A JSON document.
    Json(Bytes),
    /// Any bytes.
    Bytes(Bytes),
}

/// A control plane to talk to.
#[derive(Debug)]
pub(crate) struct AdminClient {
    authority: String,
    token: Option<String>,
}

/// A problem of RFC 9457 as the control plane sends it.
#[derive(Debug, Deserialize)]
struct Problem {
    #[serde(default)]
    title: String,
    #[serde(default)]
    detail: String,
    #[serde(default)]
    errors: Vec<ProblemError>,
}

#[derive(Debug, Deserialize)]
struct ProblemError {
    #[serde(default)]
    line: Option<u64>,
    #[serde(default)]
    column: Option<u64>,
    #[serde(default)]
    message: String,
    #[serde(default)]
    help: Option<String>,
}

/// The largest answer, in bytes.
const MAX_ANSWER: usize = 64 << 20;

/// How long a request may take: a publish may compile a large graph and wait for others.
const TIMEOUT: Duration = Duration::from_secs(60);

/// How long a request may take that tells what it does meanwhile: a deploy may fetch and compile, and wait
/// for others that do.
const LONG_TIMEOUT: Duration = Duration::from_secs(900);

/// One JSON document a line.
const LINES: &str = "application/x-ndjson";

impl AdminClient {
    pub(crate) fn new(args: &AdminArgs, global: &Global) -> Result<Self, Failure> {
        let config = match (&args.admin, &args.token_file) {
            // Nothing is left to ask the configuration, which may belong to another host.
            (Some(_), Some(_)) => Config::default(),
            _ => global.load(&Settings::default())?.config,
        };
        let authority = args.admin.clone().unwrap_or_else(|| local_authority(&config));
        let token = match args.token_file.as_ref().or(config.admin.token_file.as_ref()) {
            None => None,
            Some(path) => Some(std::fs::read_to_string(path).map_err(|error| {
                Failure::new(Exit::Usage, format!("cannot read the token in {}: {error}", path.display()))
            })?),
        };
        Ok(Self { authority, token: token.map(|token| token.trim().to_owned()) })
    }

    /// Asks, and gives the answer if it is a success.
    pub(crate) async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<Bytes>,
    ) -> Result<Value, Failure> {
        let answering = self.answer(method, path, body.map(Content::Json));
        let (status, body) = tokio::time::timeout(TIMEOUT, answering).await.map_err(|_| {
            Failure::new(Exit::Unavailable, format!("{} did not answer within {TIMEOUT:?}", self.authority))
        })??;
        self.read(status, &body)
    }

    /// Asks for something that takes its time, hears of what happens meanwhile, and gives the last line.
    pub(crate) async fn follow(
        &self,
        method: Method,
        path: &str,
        content: Content,
        mut hear: impl FnMut(&Value),
    ) -> Result<Value, Failure> {
        let following = async {
            let response = self.send(method, path, Some(content), LINES).await?;
            let status = response.status();
            let kind = response.headers().get("content-type").and_then(|value| value.to_str().ok());
            if !status.is_success() || kind != Some(LINES) {
                let body = self.collect(response.into_body()).await?;
                return self.read(status, &body);
            }
            let (mut body, mut waiting, mut last) = (response.into_body(), BytesMut::new(), Value::Null);
            while let Some(frame) = body.frame().await {
                let Ok(part) = frame.map_err(|error| self.unreachable(&error))?.into_data() else { continue };
                if waiting.len() + part.len() > MAX_ANSWER {
                    return Err(too_large());
                }
                waiting.put(part);
                while let Some(end) = waiting.iter().position(|byte| *byte == b'\n') {
                    last = parse(&waiting.split_to(end + 1).freeze(), &self.authority)?;
                    hear(&last);
                }
            }
            Ok(last)
        };
        tokio::time::timeout(LONG_TIMEOUT, following).await.map_err(|_| {
            Failure::new(
                Exit::Unavailable,
                format!("{} was not done within {LONG_TIMEOUT:?}", self.authority),
            )
        })?
    }

    /// The failure that a problem means.
    pub(crate) fn problem(&self, problem: &Value) -> Failure {
        let status = problem["status"].as_u64().and_then(|status| u16::try_from(status).ok());
        let status = status.and_then(|status| StatusCode::from_u16(status).ok());
        let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        self.failure(status, &Bytes::from(problem.to_string()))
    }

    fn read(&self, status: StatusCode, body: &Bytes) -> Result<Value, Failure> {
        if status.is_success() {
            return if body.is_empty() { Ok(Value::Null) } else { parse(body, &self.authority) };
        }
        Err(self.failure(status, body))
    }

    async fn answer(
        &self,
        method: Method,
        path: &str,
        content: Option<Content>,
    ) -> Result<(StatusCode, Bytes), Failure> {
        let response = self.send(method, path, content, "application/json").await?;
        let status = response.status();
        Ok((status, self.collect(response.into_body()).await?))
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        content: Option<Content>,
        accept: &str,
    ) -> Result<Response<Incoming>, Failure> {
        let stream = TcpStream::connect(&self.authority).await.map_err(|error| self.unreachable(&error))?;
        let (mut sender, connection) =
            handshake(TokioIo::new(stream)).await.map_err(|error| self.unreachable(&error))?;
        tokio::spawn(connection);
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", &self.authority)
            .header("accept", accept);
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let body = match content {
            None => Bytes::new(),
            Some(Content::Json(body)) => {
                request = request.header("content-type", "application/json");
                body
            }
            Some(Content::Bytes(body)) => {
                request = request.header("content-type", "application/octet-stream");
                body
            }
        };
        let request = request
            .body(Full::new(body))
            .map_err(|error| Failure::new(Exit::Usage, format!("cannot ask for {path}: {error}")))?;
        sender.send_request(request).await.map_err(|error| self.unreachable(&error))
    }

    async fn collect(&self, mut body: Incoming) -> Result<Bytes, Failure> {
        let mut data = BytesMut::new();
        while let Some(frame) = body.frame().await {
            if let Ok(part) = frame.map_err(|error| self.unreachable(&error))?.into_data() {
                if data.len() + part.len() > MAX_ANSWER {
                    return Err(too_large());
                }
                data.put(part);
            }
        }
        Ok(data.freeze())
    }

    fn unreachable(&self, error: &dyn std::fmt::Display) -> Failure {
        let message = format!("cannot reach the control plane at {}: {error}", self.authority);
        Failure::new(Exit::Unavailable, message)
            .with_help("is `okra serve` running? name its admin port with --admin HOST:PORT")
    }

    fn failure(&self, status: StatusCode, body: &Bytes) -> Failure {
        let exit = Exit::of_http(status.as_u16());
        let Ok(problem) = serde_json::from_slice::<Problem>(body) else {
            return Failure::new(exit, format!("{} answered with HTTP {status}", self.authority));
        };
        let mut message = if problem.detail.is_empty() { problem.title } else { problem.detail };
        for error in &problem.errors {
            let place = match (error.line, error.column) {
                (Some(line), Some(column)) => format!("{line}:{column}: "),
                _ => String::new(),
            };
            message.push_str(&format!("\n  {place}{}", error.message));
            if let Some(help) = &error.help {
                message.push_str(&format!("\n    help: {help}"));
            }
        }
        let failure = Failure::new(exit, message);
        match status {
            StatusCode::UNAUTHORIZED => failure.with_help("name the host's token with --token-file FILE"),
            _ => failure,
        }
    }
}

fn too_large() -> Failure {
    Failure::new(Exit::Failure, format!("the answer is larger than {MAX_ANSWER} bytes"))
}

fn parse(body: &Bytes, authority: &str) -> Result<Value, Failure> {
    serde_json::from_slice(body).map_err(|_| {
        Failure::new(Exit::Failure, format!("{authority} did not answer with JSON"))
            .with_help("is this the admin port of okra?")
    })
}

/// The control plane of the host that this configuration starts on this machine.
fn local_authority(config: &Config) -> String {
    let host = match config.admin.host {
        IpAddr::V4(host) if host.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(host) if host.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        host @ (IpAddr::V4(_) | IpAddr::V6(_)) => host,
    };
    SocketAddr::new(host, config.admin.port).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_on_every_address_is_reached_on_loopback() {
        let mut config = Config::default();
        assert_eq!(local_authority(&config), "127.0.0.1:8081");
        config.admin.host = IpAddr::from([0, 0, 0, 0]);
        assert_eq!(local_authority(&config), "127.0.0.1:8081");
        config.admin.host = "::".parse().unwrap();
        assert_eq!(local_authority(&config), "[::1]:8081");
    }

    #[test]
    fn a_problem_becomes_a_failure_with_its_places() {
        let client = AdminClient { authority: "h:1".to_owned(), token: None };
        let body = r#"{"title":"invalid graph","detail":"2 mistakes","errors":[
            {"line":3,"column":7,"message":"no kernel named `x`","help":"did you mean `y`?"},{"message":"m"}]}"#;
        let failure = client.failure(StatusCode::UNPROCESSABLE_ENTITY, &Bytes::from(body));
        assert_eq!(failure.exit, Exit::Invalid);
        assert_eq!(
            failure.message,
            "2 mistakes\n  3:7: no kernel named `x`\n    help: did you mean `y`?\n  m"
        );
        let failure = client.failure(StatusCode::BAD_GATEWAY, &Bytes::from("<html>"));
        assert_eq!(failure.message, "h:1 answered with HTTP 502 Bad Gateway");
    }
}
