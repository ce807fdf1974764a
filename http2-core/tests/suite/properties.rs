//! Properties over random connections. `HTTP2_CORE_RUNS` sets how many (default 1,000 for each property); a
//! failure names its seed.
//!
//! The bytes of a step are cut into pieces, and its output is collected without a cap that bites. With a cap
//! one thing may differ, by intent: HEADERS on a stream whose answer still waits for the output is an error of
//! that stream, and once the answer is flushed, an error of the connection.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use http2_core::{
    Answer, Cancelled, Connection, Cutoff, End, ErrorCode, Field, Fields, Handler, Head, Reply, ResponseHead,
    Route, Settings, StreamId, Tick, UnaryCall, WholeRequest,
};

use crate::model::Model;
use crate::peer::{Frame, Recorder, frames};
use crate::script::{Random, Script};

/// A handler with requests that wait, and a server that answers them at random.
struct Server {
    connection: Connection,
    told: Told,
    random: Random,
    now: u64,
}

#[derive(Default)]
struct Told {
    recorder: Recorder,
    calls: Vec<StreamId>,
    /// Plain streams, with what was handed over and not consumed, and whether their head was sent.
    plain: BTreeMap<StreamId, (usize, bool)>,
}

/// Everything that a run showed.
#[derive(Debug, PartialEq)]
struct Outcome {
    events: Vec<String>,
    cutoffs: Vec<Cutoff>,
    output: Vec<u8>,
    end: Option<End>,
}

fn runs() -> u64 {
    std::env::var("HTTP2_CORE_RUNS").ok().and_then(|runs| runs.parse().ok()).unwrap_or(1_000)
}

fn settings() -> Settings {
    // No cap bites, so that the moment of a pump changes nothing.
    Settings { output_bytes: usize::MAX, send_buffer: 20_000, max_streams: 10, ..Settings::default() }
}

/// Runs the script of `seed`; `cut` says how a step's bytes are cut, `seen` is shown all that goes out.
fn run(
    seed: u64,
    settings: &Settings,
    mut cut: impl FnMut(Vec<Vec<u8>>) -> Vec<Vec<u8>>,
    mut seen: impl FnMut(Option<&[u8]>, &[u8]),
) -> Outcome {
    let mut server = Server {
        connection: Connection::new(settings, Tick::from_millis(0)),
        // Half of the servers take calls whole.
        told: Told {
            recorder: Recorder { takes_whole: seed % 2 == 1, ..Recorder::default() },
            ..Told::default()
        },
        random: Random::new(seed ^ 0xabcd),
        now: 0,
    };
    let mut output = Vec::new();
    for step in Script::random(seed).steps {
        let mut out = Vec::new();
        let mut shown = 0;
        for piece in cut(step) {
            server.connection.input(&piece, Tick::from_millis(server.now), &mut out, &mut server.told);
            seen(Some(&piece), &out[shown..]);
            shown = out.len();
        }
        server.act(&mut out);
        seen(None, &out[shown..]);
        output.extend(out);
    }
    let Told { recorder: Recorder { events, cutoffs, .. }, .. } = server.told;
    Outcome { events, cutoffs, output, end: server.connection.end() }
}

/// Each frame by itself.
fn frame_by_frame(step: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    step
}

/// All frames at once.
fn whole(step: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    vec![step.concat()]
}

/// Shows a run to a model of the client, frame by frame.
fn modelled(seed: u64, settings: &Settings) -> (Model, Outcome) {
    let mut model = Model::new();
    let outcome = run(seed, settings, frame_by_frame, |sent, out| {
        if let Some(sent) = sent
            && !sent.starts_with(b"PRI")
        {
            for frame in frames(sent) {
                model.sends(&Frame { stream: frame.stream & 0x7fff_ffff, ..frame });
            }
        }
        model.receives(out);
    });
    (model, outcome)
}

#[test]
fn the_model_of_a_client_finds_nothing_amiss() {
    let totals = Cell::new((0, 0, 0));
    for_each_seed(|seed| {
        let (model, outcome) = modelled(seed, &settings());
        let (answered, ended, reset) = totals.get();
        let resets = frames(&outcome.output).iter().filter(|frame| frame.kind == crate::peer::RESET).count();
        totals.set((answered + model.answered, ended + u64::from(outcome.end.is_some()), reset + resets));
    });
    let (answered, ended, reset) = totals.get();
    // The scripts must reach what they are for.
    assert!(answered > runs() * 4 && ended > runs() / 10 && ended < runs() * 2 / 3, "{answered} {ended}");
    assert!(reset > 30);
}

#[test]
fn a_capped_output_keeps_the_rules_too() {
    let capped = Settings { output_bytes: 50, send_buffer: 100, ..settings() };
    for_each_seed(|seed| {
        modelled(seed, &capped);
    });
}

#[test]
fn the_same_bytes_mean_the_same_however_they_are_cut() {
    for_each_seed(|seed| {
        let at_once = run(seed, &settings(), whole, |_, _| ());
        assert_eq!(at_once, run(seed, &settings(), frame_by_frame, |_, _| ()));
        let mut random = Random::new(seed ^ 0x5eed);
        let most = random.of(&[1, 3, 20, 1000]);
        let cut = |step: Vec<Vec<u8>>| {
            let bytes = step.concat();
            let mut rest = &bytes[..];
            let mut pieces = Vec::new();
            while !rest.is_empty() {
                let (piece, tail) = rest.split_at((1 + random.below(most)).min(rest.len()));
                pieces.push(piece.to_vec());
                rest = tail;
            }
            pieces
        };
        assert_eq!(at_once, run(seed, &settings(), cut, |_, _| ()));
    });
}

#[test]
fn the_memo_changes_nothing() {
    let without = Settings { header_memo: false, ..settings() };
    for_each_seed(|seed| {
        assert_eq!(run(seed, &settings(), whole, |_, _| ()), run(seed, &without, whole, |_, _| ()));
    });
}

/// Tries `property` for each seed, and says which one fails.
fn for_each_seed(property: impl Fn(u64)) {
    for seed in 0..runs() {
        let tried = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| property(seed)));
        assert!(tried.is_ok(), "failed with seed {seed}");
    }
}

// === impl Server ===

impl Server {
    /// What the server does between two steps: answers, consumes, gives up, lets time pass.
    fn act(&mut self, out: &mut Vec<u8>) {
        let now = Tick::from_millis(self.now);
        for call in std::mem::take(&mut self.told.calls) {
            if self.random.one_in(3) {
                self.told.calls.push(call);
                continue;
            }
            let len = self.random.of(&[0, 10, 1000, 70_000]);
            let mut reply = Reply::ok(Bytes::from(vec![9; len]));
            if self.random.one_in(4) {
                reply.metadata.push(b"x-large", &vec![b'v'; self.random.of(&[10, 20_000])]).unwrap();
            }
            if self.random.one_in(4) {
                reply = Reply { message: None, status: 13, ..reply };
            }
            // A call that is gone is a legal end.
            let _ = self.connection.respond(call, reply, out);
        }
        let plain: Vec<_> = self.told.plain.iter().map(|(id, state)| (*id, *state)).collect();
        for (id, (held, headed)) in plain {
            if self.random.one_in(2) {
                self.connection.consumed(id, held, out);
                self.told.plain.insert(id, (0, headed));
            }
            self.answer_part(id, headed, out);
        }
        while self.connection.next_writable().is_some() {}
        self.connection.pump(now, out);
        if self.random.one_in(4) {
            self.now += self.random.of(&[10, 1_000, 11_000, 61_000]);
            if self.connection.due().is_some_and(|due| due.as_millis() <= self.now) {
                self.connection.timer(Tick::from_millis(self.now), out, &mut self.told);
            }
        }
        if self.random.one_in(40) {
            self.connection.drain(Tick::from_millis(self.now), out);
        }
    }

    fn answer_part(&mut self, id: StreamId, headed: bool, out: &mut Vec<u8>) {
        let end = self.random.one_in(3);
        let result = match self.random.below(8) {
            0 => self.connection.abort(id, ErrorCode::INTERNAL_ERROR, out),
            1 | 2 if headed => {
                let mut trailers = Fields::new();
                trailers.push(b"x-trailer", b"1").unwrap();
                self.connection.send_trailers(id, trailers, out)
            }
            3..=6 if headed => {
                let chunk = Bytes::from(vec![8; self.random.of(&[0, 1, 5_000, 40_000])]);
                self.connection.send_data(id, chunk, end, out)
            }
            7 if !headed => self.connection.send_head(id, &ResponseHead::new(103).unwrap(), false, out),
            _ if !headed => {
                self.told.plain.entry(id).and_modify(|state| state.1 = true);
                self.connection.send_head(id, &ResponseHead::new(200).unwrap(), end, out)
            }
            _ => Ok(()),
        };
        if result == Err(http2_core::SendError::Gone) {
            self.told.plain.remove(&id);
        }
    }
}

// === impl Told ===

impl Handler for Told {
    fn unary(&mut self, call: UnaryCall<'_>) -> Answer {
        let stream = call.stream;
        let answer = self.recorder.unary(call);
        if let Answer::Later = answer {
            self.calls.push(stream);
        }
        answer
    }

    fn route(&mut self, head: &Arc<Head>) -> Route {
        self.recorder.route(head)
    }

    fn whole(&mut self, request: WholeRequest<'_>) -> Option<Answer> {
        let stream = request.stream;
        let answer = self.recorder.whole(request);
        if let Some(Answer::Later) = answer {
            self.calls.push(stream);
        }
        answer
    }

    fn open(&mut self, stream: StreamId, head: &Arc<Head>, ended: bool) {
        self.recorder.open(stream, head, ended);
        self.plain.insert(stream, (0, false));
    }

    fn data(&mut self, stream: StreamId, chunk: Bytes, ended: bool) {
        if let Some((held, _)) = self.plain.get_mut(&stream) {
            *held += chunk.len();
        }
        self.recorder.data(stream, chunk, ended);
    }

    fn trailers(&mut self, stream: StreamId, trailers: Vec<Field>) {
        self.recorder.trailers(stream, trailers);
    }

    fn cancelled(&mut self, stream: StreamId, why: Cancelled) {
        self.recorder.cancelled(stream, why);
        self.plain.remove(&stream);
    }

    fn cutoff(&mut self, cutoff: Cutoff, stream: Option<StreamId>) {
        self.recorder.cutoff(cutoff, stream);
    }
}
