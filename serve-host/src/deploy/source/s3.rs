//! Fetches a package from S3, or from whatever speaks like it.
//!
//! The endpoint, the region and the credentials are the operator's, as files or in the variables that
//! every AWS tool reads; nothing else of the environment counts, and nobody is asked for credentials over
//! the network. Without credentials the request is not signed, which public buckets answer.

use std::path::Path;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::client::{HttpClient, HttpConnector};
use object_store::path::Path as ObjectPath;
use object_store::{ClientOptions, Error, ObjectStoreExt, RetryConfig};
use reqwest::redirect::Policy;

use super::{S3Settings, SourceError};
use crate::causes::with_causes;

/// Connects without ever following a redirect.
#[derive(Debug)]
struct NoRedirects(reqwest::Client);

/// The region that S3 has when nobody names one.
const DEFAULT_REGION: &str = "us-east-1";

/// How often a request that the server could not answer is sent again.
const RETRIES: usize = 2;

impl HttpConnector for NoRedirects {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.0.clone()))
    }
}

/// Fetches an object of an allowed bucket.
pub(super) async fn fetch(
    bucket: &str,
    key: &str,
    settings: &S3Settings,
    limit: usize,
) -> Result<Bytes, SourceError> {
    if !settings.buckets.iter().any(|allowed| allowed == bucket) {
        return Err(SourceError::BucketNotAllowed { bucket: bucket.to_owned() });
    }
    let store = open(bucket, settings)?;
    let fetching = tokio::time::timeout(settings.fetch_timeout, read(&store, key, limit));
    match fetching.await {
        Err(_) => Err(SourceError::TooSlow { limit: settings.fetch_timeout }),
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(Failure::TooLarge)) => Err(SourceError::TooLarge { limit }),
        Ok(Err(Failure::Store(Error::NotFound { .. }))) => {
            Err(SourceError::ObjectNotFound { bucket: bucket.to_owned(), key: key.to_owned() })
        }
        Ok(Err(Failure::Store(error))) => Err(SourceError::Download { reason: with_causes(&error) }),
    }
}

enum Failure {
    TooLarge,
    Store(Error),
}

async fn read(store: &AmazonS3, key: &str, limit: usize) -> Result<Bytes, Failure> {
    let path = ObjectPath::parse(key).map_err(|error| Failure::Store(error.into()))?;
    let found = store.get(&path).await.map_err(Failure::Store)?;
    if usize::try_from(found.meta.size).map_or(true, |size| size > limit) {
        return Err(Failure::TooLarge);
    }
    let mut pieces = found.into_stream();
    let mut bytes = BytesMut::new();
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(Failure::Store)?;
        // A server may send more than it announced.
        if bytes.len() + piece.len() > limit {
            return Err(Failure::TooLarge);
        }
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes.freeze())
}

fn open(bucket: &str, settings: &S3Settings) -> Result<AmazonS3, SourceError> {
    let failed = |error: &dyn std::error::Error| SourceError::Download { reason: with_causes(error) };
    // Whoever installed one before has decided for the whole process.
    let _installed_before = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder()
        .redirect(Policy::none())
        .no_proxy()
        .connect_timeout(settings.connect_timeout)
        .timeout(settings.fetch_timeout)
        .build()
        .map_err(|error| failed(&error))?;
    let retry =
        RetryConfig { max_retries: RETRIES, retry_timeout: settings.fetch_timeout, ..RetryConfig::default() };
    let region = settings.region.clone().or_else(|| env(&["AWS_REGION", "AWS_DEFAULT_REGION"]));
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(bucket)
        .with_region(region.unwrap_or_else(|| DEFAULT_REGION.to_owned()))
        .with_retry(retry)
        .with_http_connector(NoRedirects(client));
    let endpoint = settings.endpoint.clone().or_else(|| env(&["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"]));
    if let Some(endpoint) = endpoint {
        builder = builder.with_allow_http(endpoint.starts_with("http://")).with_endpoint(endpoint);
    }
    let access = secret(settings.access_key_file.as_deref(), "AWS_ACCESS_KEY_ID")?;
    let secret_key = secret(settings.secret_key_file.as_deref(), "AWS_SECRET_ACCESS_KEY")?;
    let token = secret(settings.session_token_file.as_deref(), "AWS_SESSION_TOKEN")?;
    builder = match (access, secret_key) {
        (Some(access), Some(secret)) => builder.with_access_key_id(access).with_secret_access_key(secret),
        // Otherwise the library would look for credentials on the network.
        _ => builder.with_skip_signature(true),
    };
    if let Some(token) = token {
        builder = builder.with_token(token);
    }
    builder.build().map_err(|error| failed(&error))
}

/// What a file holds, without the space around it, or else a variable.
fn secret(file: Option<&Path>, variable: &str) -> Result<Option<String>, SourceError> {
    match file {
        None => Ok(env(&[variable])),
        Some(path) => match std::fs::read_to_string(path) {
            Ok(text) => Ok(Some(text.trim().to_owned())),
            Err(source) => Err(SourceError::Credentials { path: path.to_owned(), source }),
        },
    }
}

fn env(names: &[&str]) -> Option<String> {
    names.iter().find_map(|name| std::env::var(name).ok()).filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    fn settings(endpoint: &str) -> S3Settings {
        S3Settings {
            buckets: vec!["mine".to_owned()],
            endpoint: Some(endpoint.to_owned()),
            region: Some("eu-central-1".to_owned()),
            access_key_file: None,
            secret_key_file: None,
            session_token_file: None,
            connect_timeout: Duration::from_secs(1),
            fetch_timeout: Duration::from_millis(1500),
        }
    }

    /// A server that answers every request with the same bytes.
    async fn answering(answer: String) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let answer = answer.clone();
                tokio::spawn(async move {
                    let mut head = [0; 4096];
                    let _ = stream.read(&mut head).await;
                    let _ = stream.write_all(answer.as_bytes()).await;
                    tokio::time::sleep(Duration::from_secs(5)).await;
                });
            }
        });
        endpoint
    }

    fn ok(length: usize, body: &str) -> String {
        format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\netag: \"x\"\r\n\
             last-modified: Wed, 21 Oct 2015 07:28:00 GMT\r\n\r\n{body}"
        )
    }

    async fn said(bucket: &str, endpoint: &str) -> String {
        match fetch(bucket, "some/key", &settings(endpoint), 8).await {
            Ok(bytes) => format!("read {}", String::from_utf8_lossy(&bytes)),
            Err(error) => error.to_string(),
        }
    }

    #[tokio::test]
    async fn an_object_of_an_allowed_bucket_is_read() {
        let endpoint = answering(ok(7, "package")).await;
        assert_eq!(said("mine", &endpoint).await, "read package");
        assert!(said("theirs", &endpoint).await.contains("packages.s3_buckets"));
    }

    #[tokio::test]
    async fn no_redirect_is_followed() {
        let target = answering(ok(7, "package")).await;
        let moved = format!("HTTP/1.1 307 Moved\r\nlocation: {target}/mine/x\r\ncontent-length: 0\r\n\r\n");
        let endpoint = answering(moved).await;
        assert!(said("mine", &endpoint).await.starts_with("failed to download from S3: "));
    }

    #[tokio::test]
    async fn whatever_is_too_large_too_slow_or_absent_is_refused() {
        let endpoint = answering(ok(9, "a package")).await;
        assert!(said("mine", &endpoint).await.contains("larger than packages.max_package"));
        let endpoint = answering(ok(7, "pack")).await;
        assert!(said("mine", &endpoint).await.starts_with("failed to download from S3: "));
        let absent = "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n".to_owned();
        let endpoint = answering(absent).await;
        assert!(said("mine", &endpoint).await.contains("no object \"some/key\" in the bucket \"mine\""));
        assert!(said("mine", "http://127.0.0.1:1").await.starts_with("failed to download from S3: "));
    }
}
