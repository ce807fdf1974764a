//! HTTP/1.1 on the service port, by hyper. The time a head may take is watched by the leash.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Context;

use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;

use super::connection::{Connection, End};
use super::stats::Cut;

/// Drives an HTTP/1.1 connection until it ends.
pub(super) async fn drive(connection: Connection) -> End {
    let Connection { socket, port, leash, letterbox } = connection;
    let limits = &port.limits().http1;
    let mut builder = http1::Builder::new();
    builder
        .header_read_timeout(None)
        .max_headers(limits.max_headers)
        .max_buf_size(limits.max_head.max(MIN_HEAD))
        // A client that has closed its side cannot be told from one that is gone: its call is cancelled.
        .half_close(false);
    let mut http = pin!(builder.serve_connection(TokioIo::new(socket), port));
    let mut leaving = false;
    poll_fn(|cx| {
        // What the pool has to say to many connections costs one wake-up.
        letterbox.attend(cx.waker());
        let mut cx = Context::from_waker(letterbox.waker());
        if !leaving && leash.must_leave() {
            leaving = true;
            http.as_mut().graceful_shutdown();
        }
        http.as_mut().poll(&mut cx).map(|ended| match ended {
            Ok(()) => End::Closed,
            Err(error) if error.is_parse_too_large() => End::Cut(Cut::HeadTooLarge),
            Err(error) if error.is_parse() => End::Cut(Cut::Protocol),
            Err(_) => End::Closed,
        })
    })
    .await
}

/// hyper's smallest buffer.
const MIN_HEAD: usize = 8 << 10;
