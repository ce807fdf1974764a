//! HTTP/2 by hyper, driven so that the requests of one read are answered before the next write.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;

use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use hyper::server::conn::http2;
use hyper_util::rt::{TokioIo, TokioTimer};

use super::meter::{Metered, tell_to_calm_down};
use super::streams::Streams;
use crate::accept::connection::{Connection, End};
use crate::accept::leash::Leash;
use crate::accept::port::Port;
use crate::accept::stats::Cut;
use crate::transport::Transport;
use crate::transport::limits::TransportLimits;

/// The transport over hyper. It keeps nothing between connections.
pub(crate) struct Http2;

impl Transport for Http2 {
    fn drive(self: Rc<Self>, connection: Connection) -> LocalBoxFuture<'static, End> {
        drive(connection).boxed_local()
    }
}

async fn drive(connection: Connection) -> End {
    let Connection { socket, port, leash, letterbox: _ } = connection;
    let streams = Streams::new(leash.clone());
    let builder = configured(port.limits(), &streams);
    let metered = Metered::new(socket.clone(), leash.clone(), &port.limits().http2);
    let watch = metered.watch();
    let end = serve(pin!(builder.serve_connection(TokioIo::new(metered), port)), &streams, &leash).await;
    if !watch.is_overdrawn() {
        return end;
    }
    tell_to_calm_down(socket).await;
    End::Cut(Cut::Flood)
}

async fn serve(
    mut http: Pin<&mut http2::Connection<TokioIo<Metered>, Port, Streams>>,
    streams: &Streams,
    leash: &Leash,
) -> End {
    let mut leaving = false;
    poll_fn(|cx| {
        if !leaving && leash.must_leave() {
            leaving = true;
            http.as_mut().graceful_shutdown();
        }
        match http.as_mut().poll(cx) {
            Poll::Ready(ended) => Poll::Ready(ended.map_or_else(|error| end(&error), |()| End::Closed)),
            Poll::Pending => {
                // Whatever they have to say wakes this task, and is written when it is polled again.
                streams.run_fresh();
                Poll::Pending
            }
        }
    })
    .await
}

fn configured(limits: &TransportLimits, streams: &Streams) -> http2::Builder<Streams> {
    let (http2, connections) = (&limits.http2, &limits.connections);
    let mut builder = http2::Builder::new(streams.clone());
    builder
        .timer(TokioTimer::new())
        .keep_alive_interval(connections.keepalive_interval)
        .keep_alive_timeout(connections.keepalive_timeout)
        .max_concurrent_streams(http2.max_streams)
        .max_pending_accept_reset_streams(http2.max_pending_resets)
        // Said aloud, because leaving it out, or passing `None`, means no limit at all.
        .max_local_error_reset_streams(http2.max_local_resets)
        .max_header_list_size(http2.max_header_list)
        .header_table_size(http2.header_table)
        .initial_stream_window_size(http2.stream_window)
        .initial_connection_window_size(http2.connection_window)
        .max_send_buf_size(http2.send_buffer);
    builder
}

/// What an error of hyper says about the peer.
fn end(error: &hyper::Error) -> End {
    if error.is_timeout() {
        return End::Cut(Cut::KeepAlive);
    }
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        if let Some(h2) = cause.downcast_ref::<h2::Error>() {
            return match h2.reason() {
                Some(h2::Reason::ENHANCE_YOUR_CALM) if h2.is_library() => End::Cut(Cut::Flood),
                Some(_) if h2.is_library() => End::Cut(Cut::Protocol),
                // The peer's own farewell, or its socket's.
                _ => End::Closed,
            };
        }
        source = cause.source();
    }
    End::Closed
}
