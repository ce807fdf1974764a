//! Random connections: what a client sends, mostly legal, sometimes wild, from a seed.

use crate::peer::*;

/// A small generator of numbers (xorshift), so that a seed is all there is to replay.
#[derive(Clone)]
pub(crate) struct Random(u64);

/// What a client does in one run: pieces of input, between which the server may act.
pub(crate) struct Script {
    pub(crate) steps: Vec<Vec<Vec<u8>>>,
}

/// The client's state while a script is made.
struct Client {
    random: Random,
    next_id: u32,
    last_id: u32,
    open: Vec<u32>,
    /// Entries in the HPACK table, as far as all insertions are small.
    table: usize,
    blocks: Vec<Vec<u8>>,
    wild: bool,
}

// === impl Random ===

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next()).unwrap() % bound.max(1)
    }

    pub(crate) fn one_in(&mut self, chances: usize) -> bool {
        self.below(chances) == 0
    }

    pub(crate) fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    /// A length that is mostly small, sometimes at a boundary.
    fn length(&mut self) -> usize {
        match self.below(8) {
            0 => 0,
            1..=4 => self.below(100),
            5 => self.below(3000),
            6 => self.of(&[1, 31, 32, 16_379, 16_384]),
            _ => self.below(16_385),
        }
    }
}

// === impl Script ===

impl Script {
    /// A script of frames, each whole, in steps.
    pub(crate) fn random(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let wild = random.one_in(3);
        let mut client =
            Client { random, next_id: 1, last_id: 0, open: Vec::new(), table: 0, blocks: Vec::new(), wild };
        let initial = client.random.of(&[0, 1, 100, 65_535, 1 << 20]);
        let mut hello = vec![PREFACE.to_vec(), settings(&[(4, initial)])];
        if !client.random.one_in(20) {
            hello.push(frame(SETTINGS, ACK, 0, &[]));
        }
        let mut steps = vec![hello];
        for _ in 0..client.random.below(12) {
            let mut step = Vec::new();
            for _ in 0..client.random.below(12) {
                client.act(&mut step);
            }
            steps.push(step);
        }
        Self { steps }
    }
}

// === impl Client ===

impl Client {
    fn act(&mut self, step: &mut Vec<Vec<u8>>) {
        let at = step.len();
        // A client that keeps the rules says nothing on streams it has ended, nor on any before the first.
        let silent = !self.wild && (self.open.is_empty() || self.last_id == 0);
        match self.random.below(20) {
            0..=6 => self.call(step),
            10..=13 | 16 | 19 if silent => self.call(step),
            7..=9 => self.begin(step),
            10..=12 => self.data(step),
            13 => step.push(self.control()),
            14 | 15 => {
                let stream = if silent || self.random.one_in(2) { 0 } else { self.some_stream() };
                let increment = self.random.of(&[1, 10, 1000, 70_000, 1 << 20]);
                step.push(window_update(stream, increment));
            }
            16 => {
                let stream = self.some_stream();
                self.open.retain(|id| *id != stream);
                step.push(reset(stream, 8));
            }
            17 => step.push(settings(&[(4, self.random.of(&[0, 5, 1000, 65_535, 1 << 20]))])),
            18 => step.push(settings(&[(self.random.of(&[1, 3, 6]), self.random.of(&[0, 100, 4096]))])),
            _ => {
                let stream = self.some_stream();
                self.open.retain(|id| *id != stream);
                let block = block(&[("x-trailer", "1")]);
                step.push(frame(HEADERS, END_HEADERS | END_STREAM, stream, &block));
            }
        }
        if self.wild && self.random.one_in(12) {
            for bytes in &mut step[at..] {
                self.spoil(bytes);
            }
        }
    }

    /// A whole unary call.
    fn call(&mut self, step: &mut Vec<Vec<u8>>) {
        let id = self.id();
        let path = self.random.of(&["/now", "/now", "/now", "/later", "/big", "/status", "/parts", "/head"]);
        let block = self.head(path, true);
        self.headers(step, id, 0, &block);
        let body = message(&vec![7; self.random.length()]);
        let mut parts =
            body.chunks(self.random.of(&[5, 50, 5_000, 16_384, 16_384]).max(body.len() / 8)).peekable();
        while let Some(part) = parts.next() {
            let end = if parts.peek().is_none() { END_STREAM } else { 0 };
            step.push(self.padded(id, end, part));
        }
    }

    /// A request whose body may follow.
    fn begin(&mut self, step: &mut Vec<Vec<u8>>) {
        let id = self.id();
        let grpc = self.random.one_in(2);
        let block = self.head("/now", grpc);
        let end = if self.random.one_in(3) { END_STREAM } else { 0 };
        self.headers(step, id, end, &block);
        if end == 0 {
            self.open.push(id);
        }
    }

    fn data(&mut self, step: &mut Vec<Vec<u8>>) {
        let id = self.some_stream();
        let end = if self.random.one_in(2) { END_STREAM } else { 0 };
        if end != 0 {
            self.open.retain(|open| *open != id);
        }
        let body = message(&vec![7; self.random.length().min(16_000)]);
        let bytes = if self.random.one_in(4) { &body[..self.random.below(body.len())] } else { &body };
        step.push(self.padded(id, end, bytes));
    }

    fn control(&mut self) -> Vec<u8> {
        let stream = self.some_stream();
        match self.random.below(5) {
            0 => frame(PING, 0, 0, &[1; 8]),
            1 => frame(PING, ACK, 0, b"draining"),
            2 => frame(PRIORITY, 0, stream, &[0, 0, 0, 0, 1]),
            3 => frame(0x42, 0xff, stream, b"unknown"),
            _ => frame(GOAWAY, 0, 0, &[0; 8]),
        }
    }

    /// A header block; many repeat, some insert into the table, some refer to it.
    fn head(&mut self, path: &str, grpc: bool) -> Vec<u8> {
        if grpc && path == "/now" && !self.blocks.is_empty() && self.random.one_in(2) {
            // Only blocks that leave the table alone are kept here; what they refer to may be gone.
            return self.blocks[self.random.below(self.blocks.len())].clone();
        }
        let mut head = vec![0x83, 0x86];
        head.extend(block(&[(":path", path)]));
        let mut steady = true;
        if grpc {
            head.extend(block(&[("content-type", "application/grpc"), ("te", "trailers")]));
        }
        for _ in 0..self.random.below(4) {
            match self.random.below(4) {
                0 => {
                    let name = format!("x-{}", self.random.below(30));
                    head.push(0x40);
                    head.extend(&block(&[(&name, "inserted")])[1..]);
                    self.table += 1;
                    steady = false;
                }
                1 if self.table > 0 => {
                    let last = if self.wild { self.table + 1 } else { self.table.min(60) };
                    head.push(0x80 | u8::try_from(62 + self.random.below(last.min(60))).unwrap());
                }
                2 => head.push(0x80 | self.random.of(&[16, 19, 35, 58])),
                _ => head.extend(block(&[("x-literal", "value")])),
            }
        }
        if steady && grpc && path == "/now" {
            self.blocks.push(head.clone());
        }
        if self.random.one_in(30) {
            head.insert(0, 0x20);
            head.splice(1..1, [0x3f, 0xe1, 0x1f]);
            self.table = 0;
        }
        head
    }

    fn headers(&mut self, step: &mut Vec<Vec<u8>>, id: u32, flags: u8, block: &[u8]) {
        if self.random.one_in(10) {
            let (first, rest) = block.split_at(self.random.below(block.len()));
            step.push(frame(HEADERS, flags, id, first));
            step.push(frame(CONTINUATION, END_HEADERS, id, rest));
        } else if self.random.one_in(10) {
            let payload = [&[0, 0, 0, 0, 9], block].concat();
            step.push(frame(HEADERS, flags | END_HEADERS | WITH_PRIORITY, id, &payload));
        } else {
            step.push(frame(HEADERS, flags | END_HEADERS, id, block));
        }
    }

    fn padded(&mut self, id: u32, flags: u8, bytes: &[u8]) -> Vec<u8> {
        if !self.random.one_in(8) || bytes.len() > 16_000 {
            return frame(DATA, flags, id, bytes);
        }
        let pad = u8::try_from(self.random.below(256)).unwrap();
        let payload = [&[pad], bytes, &vec![0; usize::from(pad)]].concat();
        frame(DATA, flags | PADDED, id, &payload)
    }

    fn id(&mut self) -> u32 {
        let id = self.next_id;
        self.last_id = id;
        self.next_id += self.random.of(&[2, 2, 2, 2, 4]);
        id
    }

    /// A stream that is open, or once was, or never.
    fn some_stream(&mut self) -> u32 {
        if self.open.is_empty() || (self.wild && self.random.one_in(8)) {
            return u32::try_from(self.random.below(30)).unwrap();
        }
        self.open[self.random.below(self.open.len())]
    }

    /// Makes a frame wrong in some way, but keeps it one frame.
    fn spoil(&mut self, bytes: &mut Vec<u8>) {
        match self.random.below(5) {
            0 => bytes[4] = u8::try_from(self.random.below(256)).unwrap(),
            1 => bytes[3] = u8::try_from(self.random.below(12)).unwrap(),
            2 => bytes[8] = u8::try_from(self.random.below(16)).unwrap(),
            3 if bytes.len() > 9 => {
                let at = 9 + self.random.below(bytes.len() - 9);
                bytes[at] = u8::try_from(self.random.below(256)).unwrap();
            }
            _ => {
                let len = 9 + self.random.below(bytes.len() - 8);
                bytes.truncate(len);
                let payload = u32::try_from(len - 9).unwrap().to_be_bytes();
                bytes[..3].copy_from_slice(&payload[1..]);
            }
        }
    }
}
