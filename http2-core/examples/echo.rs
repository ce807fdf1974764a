//! A server over tokio: gRPC calls are echoed, any other request gets its body's length as text.
//!
//! `echo [ADDRESS] [memo=off]`. One thread, one task for each connection. Shows how a driver uses the core,
//! and serves conformance and load tests.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http2_core::{
    Answer, Cancelled, Connection, Cutoff, Field, Handler, Head, Reply, ResponseHead, Settings, StreamId,
    Tick, UnaryCall,
};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

/// Requests of one connection that wait for an answer: a stream and the bytes of its body.
#[derive(Default)]
struct Echo {
    counting: Vec<(StreamId, usize)>,
    consumed: Vec<(StreamId, usize)>,
    ended: Vec<(StreamId, usize)>,
}

impl Handler for Echo {
    fn unary(&mut self, call: UnaryCall<'_>) -> Answer {
        if call.compressed {
            return Answer::Reply(Box::new(Reply::status(UNIMPLEMENTED, "compression is not supported")));
        }
        Answer::Ok(call.message)
    }

    fn open(&mut self, stream: StreamId, _head: &Arc<Head>, ended: bool) {
        if ended {
            self.ended.push((stream, 0));
        } else {
            self.counting.push((stream, 0));
        }
    }

    fn data(&mut self, stream: StreamId, chunk: Bytes, ended: bool) {
        self.consumed.push((stream, chunk.len()));
        if let Some((_, len)) = self.counting.iter_mut().find(|(id, _)| *id == stream) {
            *len += chunk.len();
        }
        if ended {
            self.end(stream);
        }
    }

    fn trailers(&mut self, stream: StreamId, _trailers: Vec<Field>) {
        self.end(stream);
    }

    fn cancelled(&mut self, stream: StreamId, _why: Cancelled) {
        self.counting.retain(|(id, _)| *id != stream);
    }

    fn cutoff(&mut self, _cutoff: Cutoff, _stream: Option<StreamId>) {}
}

impl Echo {
    fn end(&mut self, stream: StreamId) {
        if let Some(at) = self.counting.iter().position(|(id, _)| *id == stream) {
            self.ended.push(self.counting.swap_remove(at));
        }
    }

    /// Answers what has ended, now that the connection can be used.
    fn answer(&mut self, connection: &mut Connection, out: &mut Vec<u8>) {
        for (stream, len) in self.consumed.drain(..) {
            connection.consumed(stream, len, out);
        }
        for (stream, len) in self.ended.drain(..) {
            let Ok(head) = ResponseHead::new(200) else { continue };
            let body = Bytes::from(format!("{len} bytes\n"));
            // An error means that the client has gone: nobody waits for the answer.
            let _ = connection.send_head(stream, &head, false, out);
            let _ = connection.send_data(stream, body, true, out);
        }
    }
}

fn main() -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let address = arguments.get(1).map_or("127.0.0.1:50051", String::as_str);
    let address: SocketAddr = address.parse().map_err(io::Error::other)?;
    let settings =
        Settings { header_memo: !arguments.iter().any(|a| a == "memo=off"), ..Settings::default() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async {
        let listener = TcpListener::bind(address).await?;
        let begun = Rc::new(Instant::now());
        loop {
            let (socket, _) = listener.accept().await?;
            let begun = begun.clone();
            tokio::task::spawn_local(async move {
                // A transport that fails concerns its own connection only.
                let _ = serve(socket, &settings, &begun).await;
            });
        }
    })
}

async fn serve(mut socket: TcpStream, settings: &Settings, begun: &Instant) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let now = || Tick::from_millis(u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX));
    let mut connection = Connection::new(settings, now());
    let mut echo = Echo::default();
    let mut out = Vec::new();
    let mut buffer = vec![0; 128 << 10];
    while !connection.is_closed() {
        let due = connection.due().map(|due| due.as_millis().saturating_sub(now().as_millis()));
        let wait = tokio::time::sleep(Duration::from_millis(due.unwrap_or(u64::MAX >> 20)));
        tokio::select! {
            biased;
            readable = socket.readable() => {
                readable?;
                match socket.try_read(&mut buffer) {
                    Ok(0) => connection.disconnected(&mut echo),
                    Ok(len) => connection.input(&buffer[..len], now(), &mut out, &mut echo),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    Err(error) => return Err(error),
                }
            }
            () = wait => connection.timer(now(), &mut out, &mut echo),
        }
        echo.answer(&mut connection, &mut out);
        while !out.is_empty() {
            socket.write_all(&out).await?;
            out.clear();
            connection.pump(now(), &mut out);
        }
    }
    socket.write_all(&out).await?;
    linger(socket, &mut buffer).await
}

/// Reads what still comes for a moment, so that the last words are not lost by a reset of the transport.
async fn linger(mut socket: TcpStream, buffer: &mut [u8]) -> io::Result<()> {
    socket.shutdown().await?;
    let drop_input = async {
        while socket.readable().await.is_ok() {
            match socket.try_read(buffer) {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => break,
            }
        }
    };
    // Whoever sends for longer has had the time to read.
    let _ = tokio::time::timeout(Duration::from_secs(1), drop_input).await;
    Ok(())
}

/// The code of gRPC.
const UNIMPLEMENTED: u8 = 12;
