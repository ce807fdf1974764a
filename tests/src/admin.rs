//! A client of the control plane: plain HTTP/1.1 and JSON.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use anyhow::Context as _;
use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

/// Where the control plane listens.
#[derive(Clone, Debug)]
pub struct Admin {
    address: SocketAddr,
}

/// A connection to the control plane that is kept from one request to the next.
#[derive(Debug)]
pub struct Kept {
    host: String,
    sender: SendRequest<Full<Bytes>>,
    connection: JoinHandle<hyper::Result<()>>,
}

/// One HTTP answer.
#[derive(Clone, Debug)]
pub struct Response {
    /// The HTTP status.
    pub status: u16,
    /// The body.
    pub body: Bytes,
}

/// What `GET /api/v1/stats` says of the calls so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Calls let in.
    pub accepted: u64,
    /// Calls refused at the door, for whatever reason.
    pub rejected: u64,
    /// Calls the graph answered.
    pub completed: u64,
    /// Calls the host answered because the run failed.
    pub failed: u64,
    /// Calls given up by their client.
    pub cancelled: u64,
    /// Calls whose deadline passed.
    pub expired: u64,
    /// Calls waiting now.
    pub queued: u64,
    /// Calls running now.
    pub in_flight: u64,
}

/// The samples of one scrape of `/metrics`, by series as written: `name{label="value"}`.
#[derive(Clone, Debug)]
pub struct Metrics(BTreeMap<String, f64>);

// === impl Admin ===

impl Admin {
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self { address }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Reads `path`.
    ///
    /// # Errors
    /// If no HTTP answer comes.
    pub async fn get(&self, path: &str) -> anyhow::Result<Response> {
        self.request(Method::GET, path, Bytes::new()).await
    }

    /// Posts JSON to `path`.
    ///
    /// # Errors
    /// If no HTTP answer comes.
    pub async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Response> {
        self.request(Method::POST, path, body.to_string().into()).await
    }

    /// Posts a document, byte for byte, to `path`.
    ///
    /// # Errors
    /// If no HTTP answer comes.
    pub async fn post_text(&self, path: &str, body: &str) -> anyhow::Result<Response> {
        self.request(Method::POST, path, Bytes::copy_from_slice(body.as_bytes())).await
    }

    /// Deletes what is at `path`.
    ///
    /// # Errors
    /// If no HTTP answer comes.
    pub async fn delete(&self, path: &str) -> anyhow::Result<Response> {
        self.request(Method::DELETE, path, Bytes::new()).await
    }

    /// Posts bytes to `path`.
    ///
    /// # Errors
    /// If no HTTP answer comes.
    pub async fn upload(&self, path: &str, body: Bytes) -> anyhow::Result<Response> {
        self.send(Method::POST, path, ("application/octet-stream", "*/*"), body).await
    }

    /// Posts JSON to `path`, and wants a line for each step.
    ///
    /// # Errors
    /// If no HTTP answer comes.
    pub async fn post_for_lines(&self, path: &str, body: &Value) -> anyhow::Result<Response> {
        let kinds = ("application/json", "application/x-ndjson");
        self.send(Method::POST, path, kinds, body.to_string().into()).await
    }

    /// `GET /api/v1/stats`.
    ///
    /// # Errors
    /// If a figure is missing.
    pub async fn stats(&self) -> anyhow::Result<Stats> {
        Stats::read(&self.get("/api/v1/stats").await?.json()?)
    }

    /// `GET /metrics`, parsed.
    ///
    /// # Errors
    /// If a line is not of the text format.
    pub async fn metrics(&self) -> anyhow::Result<Metrics> {
        let text = self.get("/metrics").await?.expect_ok()?;
        Metrics::parse(std::str::from_utf8(&text)?)
    }

    async fn request(&self, method: Method, path: &str, body: Bytes) -> anyhow::Result<Response> {
        self.send(method, path, ("application/json", "*/*"), body).await
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        (sent, accepted): (&str, &str),
        body: Bytes,
    ) -> anyhow::Result<Response> {
        self.keep().await?.send(method, path, (sent, accepted), body).await
    }

    /// A connection for many requests.
    ///
    /// # Errors
    /// If there is none to be had.
    pub async fn keep(&self) -> anyhow::Result<Kept> {
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        Ok(Kept { host: self.address.to_string(), sender, connection: tokio::spawn(connection) })
    }
}

// === impl Kept ===

impl Kept {
    /// Posts JSON to `path`.
    ///
    /// # Errors
    /// If no HTTP answer comes.
    pub async fn post(&mut self, path: &str, body: &Value) -> anyhow::Result<Response> {
        let body = body.to_string().into();
        self.send(Method::POST, path, ("application/json", "*/*"), body).await
    }

    async fn send(
        &mut self,
        method: Method,
        path: &str,
        (sent, accepted): (&str, &str),
        body: Bytes,
    ) -> anyhow::Result<Response> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", &self.host)
            .header("content-type", sent)
            .header("accept", accepted)
            .body(Full::new(body))?;
        self.sender.ready().await?;
        let response = self.sender.send_request(request).await?;
        let status = response.status().as_u16();
        let body = response.into_body().collect().await?.to_bytes();
        Ok(Response { status, body })
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

// === impl Response ===

impl Response {
    /// The body of a successful answer.
    ///
    /// # Errors
    /// The body of any other.
    pub fn expect_ok(self) -> anyhow::Result<Bytes> {
        let text = String::from_utf8_lossy(&self.body);
        anyhow::ensure!((200..300).contains(&self.status), "HTTP {}: {text}", self.status);
        Ok(self.body)
    }

    /// The body of a successful answer as JSON.
    ///
    /// # Errors
    /// If it is something else.
    pub fn json(self) -> anyhow::Result<Value> {
        let body = self.expect_ok()?;
        serde_json::from_slice(&body).with_context(|| format!("not JSON: {}", String::from_utf8_lossy(&body)))
    }
}

// === impl Stats ===

impl Stats {
    /// Reads the figures of a stats document.
    ///
    /// # Errors
    /// If one is missing.
    pub fn read(document: &Value) -> anyhow::Result<Self> {
        let figure =
            |name: &str| document[name].as_u64().with_context(|| format!("no figure {name:?} in {document}"));
        Ok(Self {
            accepted: figure("accepted")?,
            rejected: document["rejected"]
                .as_object()
                .context("no rejections")?
                .values()
                .filter_map(Value::as_u64)
                .sum(),
            completed: figure("completed")?,
            failed: figure("failed")?,
            cancelled: figure("cancelled")?,
            expired: figure("expired")?,
            queued: figure("queued")?,
            in_flight: figure("in_flight")?,
        })
    }

    /// Whether every accepted call is in exactly one place.
    pub fn adds_up(&self) -> bool {
        let Self { accepted, completed, failed, cancelled, expired, queued, in_flight, .. } = *self;
        accepted == queued + in_flight + completed + failed + cancelled + expired
    }

    /// Whether no call is under way.
    pub fn is_quiet(&self) -> bool {
        self.queued == 0 && self.in_flight == 0
    }
}

// === impl Metrics ===

impl Metrics {
    fn parse(text: &str) -> anyhow::Result<Self> {
        let samples = text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty());
        let samples = samples.map(|line| {
            let (series, value) = line.rsplit_once(' ').with_context(|| format!("not a sample: {line}"))?;
            let value = value.parse().with_context(|| format!("not a number: {line}"))?;
            anyhow::Ok((series.to_owned(), value))
        });
        Ok(Self(samples.collect::<Result<_, _>>()?))
    }

    /// The sum of all series of `name` whose labels contain every text of `labels`; 0 if there is none.
    pub fn sum(&self, name: &str, labels: &[&str]) -> f64 {
        let series = self.0.iter().filter(|(series, _)| {
            let (own, rest) = series.split_once('{').unwrap_or((series, ""));
            own == name && labels.iter().all(|label| rest.contains(label))
        });
        series.map(|(_, value)| value).sum()
    }

    /// The names of all series.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}
