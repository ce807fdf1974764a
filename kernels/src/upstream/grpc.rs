//! One unary gRPC exchange over HTTP/2.
//!
//! Requests and answers are read and written here rather than by tonic's client codec, which maps
//! oversized messages to OUT_OF_RANGE, mixes headers with trailers and does not survive malformed
//! status details.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use exec_plan::{Code, Fault, Metadata};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, Version, header};
use http_body_util::BodyExt;
use percent_encoding::percent_decode;
use tokio::time::Instant;
use tonic::body::Body;
use tower_service::Service;

use crate::upstream::frame::{FramedMessage, MessageReader};
use crate::upstream::headers::{self, Spelling};
use crate::upstream::{Failure, Target};

/// One call.
#[derive(Debug)]
pub(crate) struct Call<'a> {
    pub(crate) method: &'a PathAndQuery,
    pub(crate) payload: Bytes,
    /// Metadata and trace; what the protocol needs is added here.
    pub(crate) headers: HeaderMap,
    pub(crate) deadline: Instant,
    /// The largest message in either direction, in bytes.
    pub(crate) max_message: usize,
}

/// The answer to a call that succeeded.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) payload: Bytes,
    pub(crate) headers: Arc<Metadata>,
    pub(crate) trailers: Arc<Metadata>,
}

const STATUS: &str = "grpc-status";
const MESSAGE: &str = "grpc-message";
const DETAILS: &str = "grpc-status-details-bin";
const TIMEOUT: &str = "grpc-timeout";
const CONTENT_TYPE: &str = "application/grpc";

/// Makes one call.
pub(crate) async fn unary(target: &Target, call: Call<'_>) -> Result<Reply, Failure> {
    let max_message = call.max_message;
    let response = send(target, call).await?;
    let (parts, mut body) = response.into_parts();
    if parts.headers.contains_key(STATUS) {
        // An answer without a message: its headers are its trailers.
        check_status(&parts.headers)?;
        return Err(MessageReader::new(max_message)
            .finish()
            .map_or_else(Failure::Frame, |_| Failure::NoStatus));
    }
    if parts.status != StatusCode::OK {
        return Err(Failure::Http(parts.status));
    }
    if !is_grpc(&parts.headers) {
        return Err(Failure::NotGrpc);
    }
    let mut reader = MessageReader::new(max_message);
    let mut trailers = None;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|status| Failure::from_transport(status.into()))?;
        match frame.into_data() {
            Ok(piece) => reader.push(piece)?,
            Err(frame) => trailers = frame.into_trailers().ok(),
        }
    }
    let trailers = trailers.ok_or(Failure::NoStatus)?;
    check_status(&trailers)?;
    Ok(Reply {
        payload: reader.finish()?,
        headers: headers::to_metadata(&parts.headers, Spelling::Grpc),
        trailers: headers::to_metadata(&trailers, Spelling::Grpc),
    })
}

/// Sends the request and waits for the head of the response.
async fn send(target: &Target, call: Call<'_>) -> Result<Response<Body>, Failure> {
    let begun = Instant::now();
    let mut channel = target.channel()?;
    let mut again = true;
    loop {
        let request = request(target.uri(), &call)?;
        let sent = async {
            poll_fn(|cx| channel.poll_ready(cx)).await?;
            channel.call(request).await
        };
        match sent.await.map_err(|error| Failure::from_transport(error.into())) {
            // An attempt to connect that an abandoned call left behind says nothing about this one.
            Err(Failure::Connect(failed)) if again && failed.begun < begun => again = false,
            result => return result,
        }
    }
}

fn request(uri: &Uri, call: &Call<'_>) -> Result<Request<Body>, Failure> {
    let too_large = || Failure::MessageTooLarge(call.max_message);
    if call.payload.len() > call.max_message {
        return Err(too_large());
    }
    let message = FramedMessage::new(call.payload.clone()).ok_or_else(too_large)?;
    let mut uri = uri.clone().into_parts();
    uri.path_and_query = Some(call.method.clone());
    let mut request = Request::new(Body::new(message));
    *request.method_mut() = Method::POST;
    *request.version_mut() = Version::HTTP_2;
    *request.uri_mut() = Uri::from_parts(uri).map_err(|error| Failure::Unsendable(error.into()))?;
    let headers = request.headers_mut();
    headers.clone_from(&call.headers);
    headers.insert(header::TE, HeaderValue::from_static("trailers"));
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
    headers.insert(TIMEOUT, timeout(call.deadline.saturating_duration_since(Instant::now())));
    Ok(request)
}

/// The time left, in at most eight digits and the finest unit that fits them.
fn timeout(left: Duration) -> HeaderValue {
    const MAX: u128 = 99_999_999;
    let units = [(left.as_micros(), 'u'), (left.as_millis(), 'm'), (u128::from(left.as_secs()), 'S')];
    let (number, unit) = units.into_iter().find(|(number, _)| *number <= MAX).unwrap_or((MAX, 'S'));
    // Zero would mean that the time is up, and it is not: this end watches that.
    let text = format!("{}{unit}", number.max(1));
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("1u"))
}

/// `application/grpc`, alone or with a suffix or parameters.
fn is_grpc(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(header::CONTENT_TYPE) else { return false };
    let rest = value.as_bytes().strip_prefix(CONTENT_TYPE.as_bytes());
    rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
}

/// Reads the status out of trailers; anything but OK is a failure.
fn check_status(trailers: &HeaderMap) -> Result<(), Failure> {
    let status = trailers.get(STATUS).ok_or(Failure::NoStatus)?;
    let number = std::str::from_utf8(status.as_bytes()).ok().and_then(|text| text.parse().ok());
    let code = number.and_then(Code::from_number).unwrap_or(Code::Unknown);
    if code == Code::Ok {
        return Ok(());
    }
    let message = trailers.get(MESSAGE).map_or_else(String::new, |message| {
        percent_decode(message.as_bytes()).decode_utf8_lossy().into_owned()
    });
    let mut fault =
        Fault::new(code, message).verbatim().with_metadata(headers::to_metadata(trailers, Spelling::Grpc));
    if let Some(details) = trailers.get(DETAILS).and_then(|value| headers::decode(value.as_bytes())) {
        fault = fault.with_details(details);
    }
    Err(Failure::Answered(fault))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_has_at_most_eight_digits() {
        let table = [
            (Duration::ZERO, "1u"),
            (Duration::from_micros(1500), "1500u"),
            (Duration::from_secs(99), "99000000u"),
            (Duration::from_secs(100), "100000m"),
            (Duration::from_secs(100_000), "100000S"),
            (Duration::MAX, "99999999S"),
        ];
        for (left, text) in table {
            assert_eq!(timeout(left), text);
        }
    }

    #[test]
    fn a_status_is_read_whatever_it_says() {
        let check = |status: &'static str| {
            let mut trailers = HeaderMap::new();
            trailers.insert(STATUS, HeaderValue::from_static(status));
            check_status(&trailers).map_err(|failure| failure.code())
        };
        assert_eq!(check("0"), Ok(()));
        assert_eq!(check("00"), Ok(()));
        for number in 1..=16 {
            let text: &'static str = Box::leak(number.to_string().into_boxed_str());
            assert_eq!(check(text), Err(Code::from_number(number).unwrap()));
        }
        for odd in ["17", "256", "-1", "", "ok", "1x"] {
            assert_eq!(check(odd), Err(Code::Unknown), "{odd:?}");
        }
        assert_eq!(check_status(&HeaderMap::new()).unwrap_err().code(), Code::Internal);
    }

    #[test]
    fn details_that_cannot_be_decoded_are_left_out() {
        for (value, details) in [("aGk", Some("hi")), ("aGk=", Some("hi")), ("!!", None)] {
            let mut trailers = HeaderMap::new();
            trailers.insert(STATUS, HeaderValue::from_static("9"));
            trailers.insert(MESSAGE, HeaderValue::from_static("no%20%F0%9F%A5%92 %zz"));
            trailers.insert(DETAILS, HeaderValue::from_static(value));
            let fault = Fault::from(check_status(&trailers).unwrap_err());
            assert_eq!(fault.message(), "no \u{1f952} %zz");
            assert_eq!(fault.details().map(|details| &details[..]), details.map(str::as_bytes), "{value}");
        }
    }

    #[test]
    fn only_grpc_content_types_count() {
        for (value, expected) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("application/grpc;charset=utf-8", true),
            ("application/grpc-web", false),
            ("text/html", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(value));
            assert_eq!(is_grpc(&headers), expected, "{value}");
        }
    }
}
