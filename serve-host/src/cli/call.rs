//! `okra call`: one unary call to any gRPC server, with JSON or with bytes.

use std::io::Read;
use std::path::PathBuf;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use bytes::Bytes;
use exec_plan::Code;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use prost::Message;
use serde_json::{Map, Value, json};
use serve_host::config::parse_duration;

use super::exit::{Exit, Failure};
use super::grpc::{Channel, GrpcError, Reply};
use super::message::{Method, Schema, SchemaError};
use super::output::{Output, Tone};
use super::reflection::{self, ReflectionError};

/// `okra call HOST:PORT package.Service/Method`
#[derive(Debug, clap::Args)]
pub(crate) struct CallArgs {
    /// The server.
    #[arg(value_name = "HOST:PORT", value_parser = parse_server)]
    server: String,
    /// The method.
    #[arg(value_name = "PACKAGE.SERVICE/METHOD", value_parser = parse_method)]
    method: MethodName,
    /// The request: JSON as it is, `@FILE`, or `-` for standard input [default: {}, with --raw nothing].
    #[arg(short, long, allow_hyphen_values = true)]
    data: Option<String>,
    /// Send the data and print the answer as bytes, without a schema.
    #[arg(long, conflicts_with = "descriptor")]
    raw: bool,
    /// Take the schema from this FileDescriptorSet instead of the server's reflection.
    #[arg(long, value_name = "FILE")]
    descriptor: Option<PathBuf>,
    /// Add metadata; the value of a name that ends in -bin is base64.
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE", value_parser = parse_header)]
    headers: Vec<(HeaderName, HeaderValue)>,
    /// How long the call may take.
    #[arg(long, default_value = "30s", value_parser = parse_duration)]
    timeout: Duration,
    /// Print metadata, too, on standard error.
    #[arg(short, long)]
    verbose: bool,
}

/// A method by its full name.
#[derive(Clone, Debug, PartialEq, Eq)]
struct MethodName {
    service: String,
    method: String,
}

/// `google.rpc.Status`, as `grpc-status-details-bin` carries it.
#[derive(Clone, PartialEq, Message)]
struct StatusDetails {
    #[prost(message, repeated, tag = "3")]
    details: Vec<AnyDetail>,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, Message)]
struct AnyDetail {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "bytes", tag = "2")]
    value: Bytes,
}

/// The most that is read from a file or standard input, in bytes.
const MAX_DATA: u64 = 64 << 20;

pub(crate) fn run(args: &CallArgs, output: &Output) -> Result<Exit, Failure> {
    let data = args.data()?;
    super::client_runtime()?.block_on(async {
        let mut channel = Channel::connect(&args.server).await?;
        let method = if args.raw { None } else { Some(args.schema(&mut channel).await?) };
        let message = match &method {
            Some(method) => {
                let json = String::from_utf8(data)
                    .map_err(|_| Failure::new(Exit::Invalid, "the data is not UTF-8"))?;
                method.encode(&json)?
            }
            None => data,
        };
        let path = format!("/{}/{}", args.method.service, args.method.method);
        let reply = channel.exchange(&path, &args.headers, &message, args.timeout).await?;
        args.show(&reply, method.as_ref(), output)
    })
}

impl CallArgs {
    fn data(&self) -> Result<Vec<u8>, Failure> {
        let read = |name: &str, source: &mut dyn Read| {
            let mut data = Vec::new();
            match source.take(MAX_DATA + 1).read_to_end(&mut data) {
                Err(error) => Err(Failure::new(Exit::Failure, format!("cannot read {name}: {error}"))),
                Ok(length) if length as u64 > MAX_DATA => {
                    Err(Failure::new(Exit::Invalid, format!("{name} is longer than {MAX_DATA} bytes")))
                }
                Ok(_) => Ok(data),
            }
        };
        match self.data.as_deref() {
            None if self.raw => Ok(Vec::new()),
            None => Ok(b"{}".to_vec()),
            Some("-") => read("standard input", &mut std::io::stdin().lock()),
            Some(text) => match text.strip_prefix('@') {
                None => Ok(text.as_bytes().to_vec()),
                Some(path) => match std::fs::File::open(path) {
                    Ok(mut file) => read(path, &mut file),
                    Err(error) => Err(Failure::new(Exit::NotFound, format!("cannot open {path}: {error}"))
                        .with_help("data that begins with @ names a file; - is standard input")),
                },
            },
        }
    }

    async fn schema(&self, channel: &mut Channel) -> Result<Method, Failure> {
        let MethodName { service, method } = &self.method;
        let schema = match &self.descriptor {
            Some(path) => {
                let set = std::fs::read(path).map_err(|error| {
                    Failure::new(Exit::NotFound, format!("cannot read {}: {error}", path.display()))
                })?;
                Schema::from_descriptor_set(&set)?
            }
            None => Schema::from_files(&reflection::files_for(channel, service, self.timeout).await?)?,
        };
        Ok(schema.method(service, method)?)
    }

    fn show(&self, reply: &Reply, method: Option<&Method>, output: &Output) -> Result<Exit, Failure> {
        let status = &reply.status;
        if self.verbose && !output.is_json() {
            for (mark, metadata) in [("<", &reply.headers), ("<<", &reply.trailers)] {
                for (name, value) in metadata {
                    let line = format!("{mark} {name}: {}", String::from_utf8_lossy(value.as_bytes()));
                    output.note(&output.paint(&line, Tone::Quiet));
                }
            }
        }
        let wire = match (status.code, &reply.messages[..]) {
            (Code::Ok, [message]) => message.clone(),
            (Code::Ok, messages) => {
                let count = messages.len();
                return Err(Failure::new(
                    Exit::Failure,
                    format!("the server sent {count} messages, not one"),
                ));
            }
            _ => Bytes::new(),
        };
        let message = match method {
            Some(method) if status.code == Code::Ok => method.decode(&wire)?,
            Some(_) => Value::Null,
            None => Value::String(STANDARD.encode(&wire)),
        };
        let details = details(reply, method);
        let document = json!({
            "status": { "code": status.code.name(), "number": status.code.number(), "message": status.message },
            "details": details,
            "headers": metadata(&reply.headers),
            "trailers": metadata(&reply.trailers),
            (if method.is_some() { "message" } else { "message_base64" }): message,
        });
        if output.is_json() {
            output.result(&document, String::new);
        } else if status.code == Code::Ok && method.is_none() {
            output.bytes(&wire);
        } else if status.code == Code::Ok {
            output.result(&(), || format!("{message:#}"));
        } else {
            let what = format!("{} {}", output.paint("error:", Tone::Bad), status.code);
            output.note(&format!("{what}: {}", status.message));
            for detail in &details {
                output.note(&format!("  {} {detail}", output.paint("detail:", Tone::Quiet)));
            }
        }
        Ok(Exit::of_status(status.code))
    }
}

/// The details of a failure, as JSON where the schema knows them, else as base64.
fn details(reply: &Reply, method: Option<&Method>) -> Vec<Value> {
    let bin = "grpc-status-details-bin";
    let status = reply.trailers.get(bin).or_else(|| reply.headers.get(bin)).and_then(|text| {
        // Padding may stand there or not.
        let wire = STANDARD_NO_PAD.decode(text.to_str().ok()?.trim_end_matches('=')).ok()?;
        StatusDetails::decode(&wire[..]).ok()
    });
    let shown = |detail: AnyDetail| {
        let value = method.and_then(|method| method.decode_any(&detail.type_url, &detail.value));
        match value {
            Some(value) => json!({ "@type": detail.type_url, "value": value }),
            None => json!({ "@type": detail.type_url, "base64": STANDARD.encode(&detail.value) }),
        }
    };
    status.map(|status| status.details.into_iter().map(shown).collect()).unwrap_or_default()
}

/// Metadata as JSON: a list of values per name.
fn metadata(headers: &HeaderMap) -> Value {
    let mut map = Map::new();
    for name in headers.keys() {
        let values = headers.get_all(name).iter();
        let values = values.map(|value| Value::from(String::from_utf8_lossy(value.as_bytes()))).collect();
        map.insert(name.to_string(), Value::Array(values));
    }
    Value::Object(map)
}

fn parse_server(text: &str) -> Result<String, String> {
    if text.starts_with("https://") {
        return Err("TLS is not spoken here; put a proxy between, or use the plain port".to_owned());
    }
    let authority = text.strip_prefix("http://").unwrap_or(text).trim_end_matches('/');
    match authority.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => Ok(authority.to_owned()),
        _ => Err("expected HOST:PORT, 127.0.0.1:8080 for example".to_owned()),
    }
}

fn parse_method(text: &str) -> Result<MethodName, String> {
    match text.trim_start_matches('/').split_once('/') {
        Some((service, method)) if !service.is_empty() && !method.is_empty() && !method.contains('/') => {
            Ok(MethodName { service: service.to_owned(), method: method.to_owned() })
        }
        _ => Err("expected PACKAGE.SERVICE/METHOD, grpc.health.v1.Health/Check for example".to_owned()),
    }
}

fn parse_header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text.split_once(':').ok_or("expected NAME: VALUE")?;
    let name = name.trim().to_ascii_lowercase();
    if name.starts_with("grpc-") {
        return Err(format!("{name} belongs to gRPC itself"));
    }
    let name = HeaderName::try_from(&name).map_err(|_| format!("{name:?} is not a name"))?;
    let value =
        HeaderValue::try_from(value.trim()).map_err(|_| format!("the value of {name} cannot be sent"))?;
    Ok((name, value))
}

impl From<GrpcError> for Failure {
    fn from(error: GrpcError) -> Self {
        let cause = match std::error::Error::source(&error) {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        };
        match error {
            GrpcError::Connect { .. } | GrpcError::ConnectTimeout { .. } => {
                Self::new(Exit::Unavailable, cause)
                    .with_help("is the server running, and is this its service port?")
            }
            GrpcError::Handshake { .. } | GrpcError::Broken(_) => {
                Self::new(Exit::Unavailable, cause).with_help("is this the service port, and without TLS?")
            }
            GrpcError::Timeout(_) => {
                Self::new(Exit::Unavailable, cause).with_help("give it more time with --timeout")
            }
            GrpcError::Protocol(_) | GrpcError::TooLarge => Self::new(Exit::Failure, cause),
            GrpcError::Path(_) => Self::new(Exit::Usage, cause),
        }
    }
}

impl From<ReflectionError> for Failure {
    fn from(error: ReflectionError) -> Self {
        let message = error.to_string();
        match error {
            ReflectionError::Grpc(error) => error.into(),
            ReflectionError::UnknownSymbol(_) => Self::new(Exit::NotFound, message)
                .with_help("check the name; --raw sends bytes to a method that reflection does not show"),
            ReflectionError::Unimplemented => Self::new(Exit::NotFound, message)
                .with_help("name a schema with --descriptor FILE, or send bytes with --raw"),
            ReflectionError::Status(status) => Self::new(Exit::of_status(status.code), message),
            ReflectionError::Nonsense(_) | ReflectionError::TooMany => Self::new(Exit::Failure, message)
                .with_help("name a schema with --descriptor FILE, or send bytes with --raw"),
        }
    }
}

impl From<SchemaError> for Failure {
    fn from(error: SchemaError) -> Self {
        let message = error.to_string();
        match error {
            SchemaError::UnknownService { known, .. } | SchemaError::UnknownMethod { known, .. } => {
                Self::new(Exit::NotFound, message).with_help(format!("known are: {}", known.join(", ")))
            }
            SchemaError::Streaming(_) => {
                Self::new(Exit::Usage, message).with_help("only unary calls are made")
            }
            SchemaError::Json { .. } => Self::new(Exit::Invalid, message),
            SchemaError::Descriptors(_) | SchemaError::Wire { .. } => Self::new(Exit::Failure, message),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_and_methods_are_read_as_people_write_them() {
        assert_eq!(parse_server("127.0.0.1:8080").unwrap(), "127.0.0.1:8080");
        assert_eq!(parse_server("http://[::1]:80/").unwrap(), "[::1]:80");
        for wrong in ["127.0.0.1", ":80", "host:port", "https://a:1"] {
            assert!(parse_server(wrong).is_err(), "{wrong}");
        }
        let name = MethodName { service: "a.B".to_owned(), method: "C".to_owned() };
        assert_eq!(parse_method("a.B/C").unwrap(), name);
        assert_eq!(parse_method("/a.B/C").unwrap(), name);
        for wrong in ["a.B", "/C", "a.B/", "a/b/c"] {
            assert!(parse_method(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn metadata_may_not_pretend_to_be_the_protocol() {
        assert_eq!(parse_header("X-Id: 7 ").unwrap().1, "7");
        for wrong in ["x-id", "grpc-timeout: 1S", "a b: c", "a: b\nc"] {
            assert!(parse_header(wrong).is_err(), "{wrong}");
        }
    }
}
