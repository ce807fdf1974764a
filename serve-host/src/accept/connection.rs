//! The life of one connection: find out what the client speaks, speak it, part in order.

use std::io;
use std::rc::Rc;

use bytes::Bytes;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use super::http1;
use super::leash::{Leash, Stage};
use super::mailbox::Letterbox;
use super::port::Port;
use super::socket::Socket;
use super::stats::Cut;
use crate::transport::Transport;

/// A connection that is known to speak HTTP.
pub(crate) struct Connection {
    /// Where its bytes come from and go to.
    pub(crate) socket: Socket,
    /// Who answers its requests.
    pub(crate) port: Port,
    /// What it is told.
    pub(crate) leash: Rc<Leash>,
    /// Where other threads leave word for it.
    pub(crate) letterbox: Letterbox,
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Both sides had said what they wanted, or the peer went away.
    Closed,
    /// The host cut it off.
    Cut(Cut),
}

/// What a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    Http1,
    Http2,
    /// Nothing that is served here: TLS, or no protocol at all.
    Unknown,
}

/// Serves a connection until it ends.
pub(crate) async fn live(
    stream: TcpStream,
    port: Port,
    leash: Rc<Leash>,
    letterbox: Letterbox,
    http2: Rc<dyn Transport>,
) -> End {
    let work = async {
        let socket = Socket::new(stream, leash.clone());
        let (protocol, seen) = match sniff(socket.clone()).await {
            Ok(Some(sniffed)) => sniffed,
            Ok(None) | Err(_) => return End::Closed,
        };
        let connection = Connection { socket: socket.rewind(seen), port, leash: leash.clone(), letterbox };
        let end = match protocol {
            Protocol::Http1 => {
                leash.enter(Stage::Http1);
                // Boxed: hyper's state is many times what a connection over HTTP/2 needs.
                Box::pin(http1::drive(connection)).await
            }
            Protocol::Http2 => {
                leash.enter(Stage::Http2);
                http2.drive(connection).await
            }
            // An answer would have to be in some protocol.
            Protocol::Unknown => End::Cut(Cut::Protocol),
        };
        leash.enter(Stage::Lingering);
        socket.linger().await;
        end
    };
    leash.hold(work).await
}

/// Reads until it is clear what the client speaks; of HTTP/2 the whole preface. `None` if it says nothing
/// and goes. Nothing is written before.
async fn sniff(mut socket: Socket) -> io::Result<Option<(Protocol, Bytes)>> {
    let mut seen = [0; PREFACE.len()];
    let mut length = 0;
    loop {
        let read = socket.read(&mut seen[length..]).await?;
        if read == 0 {
            return Ok(None);
        }
        length += read;
        if let Some(protocol) = recognise(&seen[..length]) {
            return Ok(Some((protocol, Bytes::copy_from_slice(&seen[..length]))));
        }
    }
}

/// What the first bytes of a connection say; `None` if more of them must come.
fn recognise(seen: &[u8]) -> Option<Protocol> {
    if PREFACE == seen {
        return Some(Protocol::Http2);
    }
    if PREFACE.starts_with(seen) || METHODS.iter().any(|method| seen != *method && method.starts_with(seen)) {
        return None;
    }
    Some(if seen.starts_with(&PREFACE[..4]) {
        // Who begins so means HTTP/2, and is told by HTTP/2 that it is wrong.
        Protocol::Http2
    } else if METHODS.iter().any(|method| seen.starts_with(method)) {
        Protocol::Http1
    } else {
        Protocol::Unknown
    })
}

/// What an HTTP/2 client says first (RFC 9113, 3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// How an HTTP/1 request begins. Other methods exist, and none is served here.
const METHODS: [&[u8]; 9] =
    [b"GET ", b"POST ", b"HEAD ", b"OPTIONS ", b"PUT ", b"DELETE ", b"PATCH ", b"CONNECT ", b"TRACE "];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bytes_tell_http2_from_http1() {
        use Protocol::{Http1, Http2, Unknown};
        let cases: [(&[u8], Option<Protocol>); 12] = [
            (b"", None),
            (b"P", None),
            (b"PO", None),
            (b"POST", None),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r", None),
            (PREFACE, Some(Http2)),
            (b"PRI * HTTP/2.0\r\n\r\nXX", Some(Http2)),
            (b"POST ", Some(Http1)),
            (b"GET / HTTP/1.1", Some(Http1)),
            (b"POSTER /", Some(Unknown)),
            (b"INVALID CONNECTION PREFA", Some(Unknown)),
            (b"\x16\x03\x01", Some(Unknown)),
        ];
        for (seen, expected) in cases {
            assert_eq!(recognise(seen), expected, "{seen:?}");
        }
    }
}
