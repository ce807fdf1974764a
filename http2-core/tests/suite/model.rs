//! What a client may expect of a server, kept apart from the server: an oracle for random connections.
//!
//! The model sees each frame the client sends, and then all that the server wrote upon it. It knows windows,
//! states and order; any breach panics.

use std::collections::HashMap;

use crate::peer::*;

/// A client's knowledge of its connection.
pub(crate) struct Model {
    window: i64,
    initial_window: i64,
    streams: HashMap<u32, Stream>,
    settings_due: u32,
    pings_due: u32,
    introduced: bool,
    /// The stream whose header block the server is in the midst of, and whether it ends the stream.
    block: Option<(u32, bool, Vec<u8>)>,
    over: bool,
    pub(crate) answered: u64,
}

#[derive(Default)]
struct Stream {
    window: i64,
    head: bool,
    ended: bool,
    reset: bool,
    request_ended: bool,
}

// === impl Model ===

impl Model {
    pub(crate) fn new() -> Self {
        Self {
            window: 65_535,
            initial_window: 65_535,
            streams: HashMap::new(),
            settings_due: 0,
            pings_due: 0,
            introduced: false,
            block: None,
            over: false,
            answered: 0,
        }
    }

    /// The client sends a frame. What is illegal in it ends the connection, so it need not be understood.
    pub(crate) fn sends(&mut self, frame: &Frame) {
        let word =
            |at: usize| frame.payload.get(at..at + 4).map(|w| u32::from_be_bytes(w.try_into().unwrap()));
        match frame.kind {
            HEADERS => {
                let stream = self
                    .streams
                    .entry(frame.stream)
                    .or_insert_with(|| Stream { window: self.initial_window, ..Stream::default() });
                stream.request_ended |= frame.flags & END_STREAM != 0;
            }
            DATA => {
                if let Some(stream) = self.streams.get_mut(&frame.stream) {
                    stream.request_ended |= frame.flags & END_STREAM != 0;
                }
            }
            RESET => {
                if let Some(stream) = self.streams.get_mut(&frame.stream) {
                    stream.reset = true;
                }
            }
            SETTINGS if frame.flags & ACK == 0 => {
                self.settings_due += 1;
                for pair in frame.payload.chunks_exact(6).filter(|pair| pair[..2] == [0, 4]) {
                    let new = i64::from(u32::from_be_bytes(pair[2..].try_into().unwrap()));
                    for stream in self.streams.values_mut() {
                        stream.window += new - self.initial_window;
                    }
                    self.initial_window = new;
                }
            }
            PING if frame.flags & ACK == 0 => self.pings_due += 1,
            WINDOW_UPDATE => {
                let increment = i64::from(word(0).unwrap_or(0) & 0x7fff_ffff);
                if frame.stream == 0 {
                    self.window += increment;
                } else if let Some(stream) = self.streams.get_mut(&frame.stream) {
                    stream.window += increment;
                }
            }
            _ => {}
        }
    }

    /// The server has written `out`.
    pub(crate) fn receives(&mut self, out: &[u8]) {
        for frame in frames(out) {
            assert!(!self.over, "nothing follows the last GOAWAY: {}", frame.short());
            assert!(frame.payload.len() <= 16_384, "no frame is longer than the client allows");
            if !self.introduced {
                assert!(frame.kind == SETTINGS && frame.flags & ACK == 0, "SETTINGS come first");
                self.introduced = true;
                continue;
            }
            if let Some((stream, ..)) = &self.block {
                assert!(frame.kind == CONTINUATION && frame.stream == *stream, "a block is not interrupted");
            }
            self.receives_frame(&frame);
        }
    }

    fn receives_frame(&mut self, frame: &Frame) {
        match frame.kind {
            SETTINGS => {
                assert!(
                    frame.flags & ACK != 0 && self.settings_due > 0,
                    "one acknowledgement for each SETTINGS"
                );
                self.settings_due -= 1;
            }
            PING if frame.flags & ACK != 0 => {
                assert!(self.pings_due > 0, "one acknowledgement for each PING");
                self.pings_due -= 1;
            }
            PING => {}
            GOAWAY => self.over |= frame.number(4) != 0,
            WINDOW_UPDATE => {
                assert!((1..=0x7fff_ffff).contains(&frame.number(0)));
                assert!(frame.stream == 0 || self.streams.contains_key(&frame.stream));
            }
            RESET => {
                let stream =
                    self.streams.get_mut(&frame.stream).expect("only streams that were opened are reset");
                stream.reset = true;
            }
            DATA => {
                self.window -= i64::try_from(frame.payload.len()).unwrap();
                assert!(self.window >= 0, "the connection's window is overrun");
                let stream = self.open(frame);
                assert!(stream.head, "data follows a head");
                stream.window -= i64::try_from(frame.payload.len()).unwrap();
                assert!(
                    stream.window >= 0 || frame.payload.is_empty(),
                    "the window of {} is overrun",
                    frame.stream
                );
                self.end_if(frame.stream, frame.ends_stream());
            }
            HEADERS => {
                self.open(frame);
                self.block = Some((frame.stream, frame.ends_stream(), Vec::new()));
                self.continues(frame);
            }
            CONTINUATION => self.continues(frame),
            other => panic!("a server never sends frames of type {other}"),
        }
    }

    fn continues(&mut self, frame: &Frame) {
        let (id, ends, mut block) = self.block.take().expect("CONTINUATION within a block");
        block.extend(&frame.payload);
        if frame.flags & END_HEADERS == 0 {
            self.block = Some((id, ends, block));
            return;
        }
        let fields = fields(&block);
        let status = fields.iter().find(|field| !field.starts_with("table"));
        let status = status.expect("a block has fields").trim_start_matches(":status=");
        let interim = status.starts_with('1') && status.len() == 3;
        let is_status = status.len() == 3 && status.parse::<u16>().is_ok();
        let stream = self.streams.get_mut(&id).expect("only streams that were opened are answered");
        if stream.head {
            assert!(ends && !is_status, "after the head come only trailers: {fields:?}");
        } else {
            assert!(is_status, "an answer begins with a status: {fields:?}");
            stream.head = !interim;
        }
        self.end_if(id, ends);
    }

    fn open(&mut self, frame: &Frame) -> &mut Stream {
        let stream = self.streams.get_mut(&frame.stream).expect("only streams that were opened are answered");
        assert!(!stream.ended, "nothing follows the end of stream {}: {}", frame.stream, frame.short());
        assert!(!stream.reset, "nothing follows the reset of stream {}: {}", frame.stream, frame.short());
        stream
    }

    fn end_if(&mut self, id: u32, ends: bool) {
        if let Some(stream) = self.streams.get_mut(&id)
            && ends
        {
            stream.ended = true;
            self.answered += 1;
        }
    }
}
