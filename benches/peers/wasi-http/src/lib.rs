//! The echo of the comparison as a `wasi:http/proxy` component: every body comes back as JSON, as it is.
//!
//! It reads and writes no more often than the interface asks for, and says the length beforehand, so that
//! nothing is sent in chunks.

use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::types::{
    ErrorCode, Fields, IncomingBody, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam,
};
use wasip2::io::streams::StreamError;

wasip2::http::proxy::export!(Echo);

struct Echo;

// === impl Echo ===

impl Guest for Echo {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        match received(&request) {
            Ok(body) => answer(&body, out),
            Err(error) => ResponseOutparam::set(out, Err(error)),
        }
    }
}

/// The whole body of a request.
fn received(request: &IncomingRequest) -> Result<Vec<u8>, ErrorCode> {
    let body = request.consume().map_err(|()| ErrorCode::HttpProtocolError)?;
    let stream = body.stream().map_err(|()| ErrorCode::HttpProtocolError)?;
    let mut whole = Vec::new();
    loop {
        match stream.blocking_read(READ) {
            // The first piece is most often all there is: it is kept as it came.
            Ok(piece) if whole.is_empty() => whole = piece,
            Ok(piece) => whole.extend_from_slice(&piece),
            Err(StreamError::Closed) => break,
            Err(StreamError::LastOperationFailed(_)) => return Err(ErrorCode::ConnectionTerminated),
        }
    }
    drop(stream);
    drop(IncomingBody::finish(body));
    Ok(whole)
}

/// Sends a response with this body; one that cannot be sent to its end is left unfinished, which the host notices.
fn answer(content: &[u8], out: ResponseOutparam) {
    let length = content.len().to_string();
    let headers = [
        ("content-type".to_owned(), b"application/json".to_vec()),
        ("content-length".to_owned(), length.into()),
    ];
    let Ok(headers) = Fields::from_list(&headers) else {
        return ResponseOutparam::set(out, Err(ErrorCode::InternalError(None)));
    };
    let response = OutgoingResponse::new(headers);
    let Ok(body) = response.body() else {
        return ResponseOutparam::set(out, Err(ErrorCode::InternalError(None)));
    };
    ResponseOutparam::set(out, Ok(response));
    let Ok(stream) = body.write() else { return };
    for piece in content.chunks(WRITE) {
        if stream.blocking_write_and_flush(piece).is_err() {
            return;
        }
    }
    drop(stream);
    // An error says that the client has gone, or that the length was wrong: neither is for the guest to mend.
    drop(OutgoingBody::finish(body, None));
}

/// The most bytes of one read.
const READ: u64 = 65_536;
/// The most bytes of one write that the interface allows.
const WRITE: usize = 4_096;
