//! A client that speaks in frames: builds them by hand, shares no code with the crate, and records what the
//! handler is told.

use std::sync::Arc;

use bytes::Bytes;
use http2_core::{
    Answer, Cancelled, Connection, Cutoff, Field, Handler, Head, Reply, ResponseHead, Route, Settings,
    StreamId, Tick, UnaryCall, WholeRequest,
};

pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const PRIORITY: u8 = 2;
pub(crate) const RESET: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PUSH_PROMISE: u8 = 5;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const ACK: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;
pub(crate) const PADDED: u8 = 8;
pub(crate) const WITH_PRIORITY: u8 = 0x20;

/// One frame as sent.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

/// A client with its server behind it.
pub(crate) struct Peer {
    pub(crate) connection: Connection,
    pub(crate) handler: Recorder,
    pub(crate) now: u64,
}

/// A handler that writes down what it is told. Calls are answered by what their path ends with: `/now` echoes,
/// `/big` answers 100,000 bytes, `/status` NOT_FOUND, `/later` nothing yet; all else echoes.
#[derive(Default)]
pub(crate) struct Recorder {
    /// Calls are taken whole, except for `/parts`.
    pub(crate) takes_whole: bool,
    /// Requests that were taken back before anybody heard of them.
    pub(crate) taken_back: u32,
    pub(crate) events: Vec<String>,
    pub(crate) cutoffs: Vec<Cutoff>,
}

// === impl Frame ===

pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// Cuts output into frames; it must hold whole ones only.
pub(crate) fn frames(mut bytes: &[u8]) -> Vec<Frame> {
    let mut frames = Vec::new();
    while !bytes.is_empty() {
        assert!(bytes.len() >= 9, "output ends within a frame's head");
        let len = usize::from(bytes[0]) << 16 | usize::from(bytes[1]) << 8 | usize::from(bytes[2]);
        assert!(bytes.len() >= 9 + len, "output ends within a frame");
        frames.push(Frame {
            kind: bytes[3],
            flags: bytes[4],
            stream: u32::from_be_bytes(bytes[5..9].try_into().unwrap()),
            payload: bytes[9..9 + len].to_vec(),
        });
        bytes = &bytes[9 + len..];
    }
    frames
}

impl Frame {
    pub(crate) fn number(&self, at: usize) -> u32 {
        u32::from_be_bytes(self.payload[at..at + 4].try_into().unwrap())
    }

    pub(crate) fn ends_stream(&self) -> bool {
        matches!(self.kind, DATA | HEADERS) && self.flags & END_STREAM != 0
    }

    /// In short, for comparison: `RST 1 PROTOCOL`, `DATA 1 7 end`.
    pub(crate) fn short(&self) -> String {
        let end = if self.ends_stream() { " end" } else { "" };
        let ack = if self.flags & ACK != 0 { " ack" } else { "" };
        match self.kind {
            DATA => format!("DATA {} {}{end}", self.stream, self.payload.len()),
            HEADERS => format!("HEADERS {} {}{end}", self.stream, fields(&self.payload).join(" ")),
            RESET => format!("RST {} {}", self.stream, code(self.number(0))),
            SETTINGS => format!("SETTINGS{ack}"),
            PING => format!("PING{ack}"),
            GOAWAY => format!("GOAWAY {} {}", self.number(0), code(self.number(4))),
            WINDOW_UPDATE => format!("WINDOW_UPDATE {} {}", self.stream, self.number(0)),
            CONTINUATION => format!("CONTINUATION {} {}", self.stream, self.payload.len()),
            other => panic!("a server never sends frames of type {other}"),
        }
    }
}

fn code(code: u32) -> String {
    let names =
        ["NO_ERROR", "PROTOCOL", "INTERNAL", "FLOW", "TIMEOUT", "CLOSED", "SIZE", "REFUSED", "CANCEL"];
    match usize::try_from(code).ok().and_then(|code| names.get(code)) {
        Some(name) => (*name).to_owned(),
        None if code == 9 => "COMPRESSION".to_owned(),
        None if code == 11 => "CALM".to_owned(),
        None => format!("code {code}"),
    }
}

/// The fields of a response's block. Knows what a server without table and Huffman code may write.
pub(crate) fn fields(block: &[u8]) -> Vec<String> {
    fn number(rest: &mut &[u8], mask: u8) -> usize {
        let mut value = usize::from(rest[0] & mask);
        *rest = &rest[1..];
        if value == usize::from(mask) {
            let mut shift = 0;
            loop {
                let byte = rest[0];
                *rest = &rest[1..];
                value += usize::from(byte & 0x7f) << shift;
                shift += 7;
                if byte & 0x80 == 0 {
                    break;
                }
            }
        }
        value
    }
    fn text(rest: &mut &[u8]) -> String {
        assert_eq!(rest[0] & 0x80, 0, "no Huffman code is expected");
        let len = number(rest, 0x7f);
        let (text, tail) = rest.split_at(len);
        *rest = tail;
        String::from_utf8(text.to_vec()).unwrap()
    }
    let mut rest = block;
    let mut fields = Vec::new();
    if rest.first() == Some(&0x20) {
        fields.push("table=0".to_owned());
        rest = &rest[1..];
    }
    while !rest.is_empty() {
        if rest[0] & 0x80 != 0 {
            let index = number(&mut rest, 0x7f);
            fields.push([200, 204, 206, 304, 400, 404, 500][index - 8].to_string());
            continue;
        }
        assert_eq!(rest[0] & 0xf0, 0, "only literals without indexing are expected");
        let name = match number(&mut rest, 0x0f) {
            0 => text(&mut rest),
            8 => ":status".to_owned(),
            28 => "content-length".to_owned(),
            31 => "content-type".to_owned(),
            other => format!("name {other}"),
        };
        fields.push(format!("{name}={}", text(&mut rest)));
    }
    fields
}

/// A header block of literals.
pub(crate) fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            assert!(text.len() < 127 || block.len() > 1);
            put_length(&mut block, text.len());
            block.extend(text.as_bytes());
        }
    }
    block
}

fn put_length(block: &mut Vec<u8>, mut len: usize) {
    if len < 127 {
        block.push(u8::try_from(len).unwrap());
        return;
    }
    block.push(127);
    len -= 127;
    while len >= 128 {
        block.push(u8::try_from(len % 128 + 128).unwrap());
        len /= 128;
    }
    block.push(u8::try_from(len).unwrap());
}

/// HEADERS of a unary call.
pub(crate) fn call(stream: u32, path: &str) -> Vec<u8> {
    call_with(stream, path, &[])
}

/// The same with more fields.
pub(crate) fn call_with(stream: u32, path: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let fields =
        [(":method", "POST"), (":scheme", "http"), (":path", path), ("content-type", "application/grpc")];
    frame(HEADERS, END_HEADERS, stream, &block(&[&fields, more].concat()))
}

/// HEADERS of a plain request.
pub(crate) fn plain(stream: u32, flags: u8, more: &[(&str, &str)]) -> Vec<u8> {
    let fields = [(":method", "POST"), (":scheme", "http"), (":path", "/plain")];
    frame(HEADERS, END_HEADERS | flags, stream, &block(&[&fields, more].concat()))
}

/// A message with its prefix.
pub(crate) fn message(bytes: &[u8]) -> Vec<u8> {
    let mut body = vec![0];
    body.extend(u32::try_from(bytes.len()).unwrap().to_be_bytes());
    body.extend(bytes);
    body
}

/// A whole unary call.
pub(crate) fn whole_call(stream: u32, path: &str, bytes: &[u8]) -> Vec<u8> {
    [call(stream, path), frame(DATA, END_STREAM, stream, &message(bytes))].concat()
}

pub(crate) fn settings(settings: &[(u16, u32)]) -> Vec<u8> {
    let payload: Vec<u8> = settings
        .iter()
        .flat_map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat())
        .collect();
    frame(SETTINGS, 0, 0, &payload)
}

pub(crate) fn window_update(stream: u32, increment: u32) -> Vec<u8> {
    frame(WINDOW_UPDATE, 0, stream, &increment.to_be_bytes())
}

pub(crate) fn reset(stream: u32, code: u32) -> Vec<u8> {
    frame(RESET, 0, stream, &code.to_be_bytes())
}

// === impl Peer ===

impl Peer {
    /// A client that has introduced itself, with what it offers.
    pub(crate) fn with(offered: &Settings, client: &[(u16, u32)]) -> Self {
        let mut peer = Self::new(offered);
        let hello = [PREFACE, &settings(client), &frame(SETTINGS, ACK, 0, &[])].concat();
        let answer = peer.send(&hello);
        assert_eq!(answer, ["SETTINGS", "WINDOW_UPDATE 0 983041", "SETTINGS ack"]);
        peer
    }

    /// A client as most are.
    pub(crate) fn usual() -> Self {
        Self::with(&Settings::default(), &[])
    }

    /// A client that has said nothing yet.
    pub(crate) fn new(offered: &Settings) -> Self {
        Self {
            connection: Connection::new(offered, Tick::from_millis(0)),
            handler: Recorder::default(),
            now: 0,
        }
    }

    /// Sends bytes; answers what comes back, in short.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> Vec<String> {
        self.send_raw(bytes).iter().map(Frame::short).collect()
    }

    /// Sends bytes; answers the frames that come back.
    pub(crate) fn send_raw(&mut self, bytes: &[u8]) -> Vec<Frame> {
        let mut out = Vec::new();
        self.connection.input(bytes, self.tick(), &mut out, &mut self.handler);
        frames(&out)
    }

    /// Lets the server do something of its own accord; answers what comes of it.
    pub(crate) fn does(&mut self, act: impl FnOnce(&mut Connection, &mut Vec<u8>)) -> Vec<String> {
        let mut out = Vec::new();
        act(&mut self.connection, &mut out);
        frames(&out).iter().map(Frame::short).collect()
    }

    /// Lets time pass second by second, calling the timer only when it is due.
    pub(crate) fn wait(&mut self, seconds: u64) -> Vec<String> {
        let mut out = Vec::new();
        for _ in 0..seconds * 10 {
            self.now += 100;
            if self.connection.due().is_some_and(|due| due <= self.tick()) {
                self.connection.timer(self.tick(), &mut out, &mut self.handler);
            }
        }
        frames(&out).iter().map(Frame::short).collect()
    }

    pub(crate) fn tick(&self) -> Tick {
        Tick::from_millis(self.now)
    }

    pub(crate) fn events(&mut self) -> Vec<String> {
        std::mem::take(&mut self.handler.events)
    }
}

// === impl Recorder ===

impl Handler for Recorder {
    fn route(&mut self, head: &Arc<Head>) -> Route {
        match head.is_grpc() {
            true if self.takes_whole => Route::Whole,
            true => Route::Unary,
            false => Route::Plain,
        }
    }

    fn whole(&mut self, request: WholeRequest<'_>) -> Option<Answer> {
        let WholeRequest { stream, head, body } = request;
        self.events.push(format!("whole {} {} {}", stream.get(), head.path(), body.len()));
        match head.path().rsplit('/').next() {
            Some("parts") => None,
            Some("later") => Some(Answer::Later),
            Some("big") => Some(Answer::Ok(Bytes::from(vec![b'b'; 100_000]))),
            Some("head") => Some(Answer::Head(ResponseHead::new(204).unwrap())),
            Some("status") => Some(Answer::Reply(Box::new(Reply::status(5, "nothing here")))),
            _ => Some(Answer::Ok(body)),
        }
    }

    fn taken_back(&mut self) {
        self.taken_back += 1;
    }

    fn unary(&mut self, call: UnaryCall<'_>) -> Answer {
        let UnaryCall { stream, head, message, compressed } = call;
        let flag = if compressed { " compressed" } else { "" };
        self.events.push(format!("call {} {} {}{flag}", stream.get(), head.path(), message.len()));
        match head.path().rsplit('/').next() {
            Some("later") => Answer::Later,
            Some("big") => Answer::Ok(Bytes::from(vec![b'b'; 100_000])),
            Some("status") => Answer::Reply(Box::new(Reply::status(5, "nothing here"))),
            _ => Answer::Ok(message),
        }
    }

    fn open(&mut self, stream: StreamId, head: &Arc<Head>, ended: bool) {
        let end = if ended { " end" } else { "" };
        self.events.push(format!("open {} {}{end}", stream.get(), head.path()));
    }

    fn data(&mut self, stream: StreamId, chunk: Bytes, ended: bool) {
        let end = if ended { " end" } else { "" };
        self.events.push(format!("data {} {}{end}", stream.get(), chunk.len()));
    }

    fn trailers(&mut self, stream: StreamId, trailers: Vec<Field>) {
        self.events.push(format!("trailers {} {}", stream.get(), trailers.len()));
    }

    fn cancelled(&mut self, stream: StreamId, why: Cancelled) {
        self.events.push(format!("cancelled {} {why:?}", stream.get()));
    }

    fn cutoff(&mut self, cutoff: Cutoff, _stream: Option<StreamId>) {
        self.cutoffs.push(cutoff);
    }
}
