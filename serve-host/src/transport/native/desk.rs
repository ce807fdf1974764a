//! Who is told what the client of a connection asks, and decides which way it goes.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use exec_plan::Code;
use futures_util::future::{AbortHandle, Abortable, abortable};
use http_body::Body as _;
use http2_core::{
    Answer, Cancelled, Cutoff, ErrorCode, Field, Handler, Head, Reply, ResponseHead, Route, StreamId,
    UnaryCall, WholeRequest,
};
use kernels::MetadataSource;

use super::exchange::{Exchange, Held};
use super::head::{self, FieldSource};
use super::intake::{Inlet, Signal, intake};
use crate::accept::leash::{Call, Leash};
use crate::accept::port::{Outgoing, Port};
use crate::accept::stats::Cut;
use crate::grpc::{Refusal, content_type};
use crate::host::batch::Batch;
use crate::transport::Arrival;
use crate::transport::request_body::RequestBody;
use crate::transport::tonic::GrpcService;
use crate::transport::tonic::direct::{Direct, Rendered, Terms};

/// The requests of one connection.
pub(super) struct Desk {
    port: Port,
    leash: Rc<Leash>,
    pub(super) signal: Arc<Signal>,
    /// Room for a response that begins.
    room: usize,
    clock: Clock,
    batch: Batch,
    told: Option<Told>,
    /// Requests of the current read that their client has taken back.
    taken_back: usize,
    /// The newest stream that was opened, and the newest before the current read.
    opened: StreamId,
    newest: StreamId,
    /// Streams that are not answered in full.
    open: HashMap<StreamId, Open, foldhash::fast::RandomState>,
    pub(super) todo: ToDo,
}

/// What the connection is to do after a read.
#[derive(Default)]
pub(super) struct ToDo {
    /// What is not answered yet.
    pub(super) exchanges: Vec<Abortable<Exchange>>,
    /// Bytes of bodies that are used.
    pub(super) used: Vec<(StreamId, usize)>,
    /// Streams to be given up.
    pub(super) aborts: Vec<(StreamId, ErrorCode)>,
}

/// A stream that is not answered in full.
struct Open {
    /// Ends its exchange.
    abort: AbortHandle,
    /// Where its body goes, while that arrives.
    inlet: Option<Inlet>,
    /// The rest of a response that waits for room.
    parked: Option<Outgoing>,
    /// Whom it concerns if its message breaks off: the service of a call that is not answered yet.
    grpc: Option<GrpcService>,
}

/// What is kept with a head that can be a direct call, for the next request that has it.
struct Kept {
    terms: Terms,
    metadata: Arc<dyn MetadataSource>,
}

/// A failure that was just told, as it was sent: under overload many calls in a row are told the same.
struct Told {
    head: Arc<Head>,
    failure: kernels::Answer,
    sent: ResponseHead,
}

/// What is kept with a head.
type Attached = Option<Kept>;

/// The time of the calls of one read, for which the clock is not asked each time.
#[derive(Default)]
struct Clock {
    at: Option<Instant>,
    uses: u32,
}

// === impl Told ===

impl Told {
    /// Whether it says what this failure says, to a call with the same head.
    fn is_of(&self, head: &Arc<Head>, failure: &kernels::Answer) -> bool {
        let kernels::Answer { code, message, payload: _, details, headers, trailers } = failure;
        Arc::ptr_eq(&self.head, head)
            && self.failure.code == *code
            && self.failure.message == *message
            && self.failure.details == *details
            && self.failure.headers == *headers
            && self.failure.trailers == *trailers
    }
}

// === impl Clock ===

impl Clock {
    fn read(&mut self) -> Instant {
        self.uses += 1;
        match self.at {
            Some(at) if !self.uses.is_multiple_of(CALLS_OF_A_MOMENT) => at,
            _ => *self.at.insert(Instant::now()),
        }
    }
}

// === impl Desk ===

impl Desk {
    pub(super) fn new(port: Port, leash: Rc<Leash>) -> Self {
        let room = port.limits().http2.send_buffer.max(1);
        Self {
            port,
            leash,
            signal: Arc::default(),
            room,
            clock: Clock::default(),
            batch: Batch::default(),
            told: None,
            taken_back: 0,
            opened: StreamId::default(),
            newest: StreamId::default(),
            open: HashMap::default(),
            todo: ToDo::default(),
        }
    }

    /// A read is over, and with it the moment in which its calls arrived. Before their answers are written.
    pub(super) fn end_read(&mut self) {
        self.batch.end();
        self.clock = Clock::default();
        self.taken_back = 0;
        self.newest = self.opened;
    }

    /// Whether the client has taken more requests back than it may before they were looked at: in the read
    /// that brought them.
    pub(super) fn is_flooded(&self) -> bool {
        self.taken_back > self.port.limits().http2.max_pending_resets
    }

    /// What is sent at once as the answer to a direct call that had to wait; `None` if its stream is gone.
    pub(super) fn render(
        &mut self,
        answer: Result<kernels::Answer, Refusal>,
        head: &Head,
        call: Call,
        stream: StreamId,
    ) -> Option<Answer> {
        let kept = head.attached().get().and_then(|attached| attached.downcast_ref::<Attached>());
        let service = self.port.grpc(head.path());
        let (Some(Some(kept)), Some(service)) = (kept, service) else { return None };
        let rendered = service.render(&kept.terms, answer);
        let answer = self.answer(rendered, call, stream);
        if !matches!(answer, Answer::Later) {
            self.open.remove(&stream);
        }
        Some(answer)
    }

    /// What is sent at once as the answer to a direct call: all of it, or nothing yet.
    fn answer(&mut self, rendered: Rendered, call: Call, stream: StreamId) -> Answer {
        let response = match rendered {
            Rendered::Plain(message) => return Answer::Ok(message),
            Rendered::Response(response) => response,
        };
        let (parts, body) = response.into_parts();
        if body.is_end_stream()
            && let Ok(head) = head::response_head(&parts, None)
        {
            return Answer::Head(head);
        }
        let body = Outgoing::unary(body, call);
        self.begin(stream, Exchange::response(stream, Some(Box::new(parts)), body, self.room));
        Answer::Later
    }

    /// Goes on with a response whose last piece has been sent. Without room it is parked.
    pub(super) fn go_on(&mut self, stream: StreamId, body: Outgoing, room: usize) {
        if room == 0 {
            if let Some(open) = self.open.get_mut(&stream) {
                open.parked = Some(body);
            }
        } else if self.open.contains_key(&stream) {
            self.begin(stream, Exchange::response(stream, None, body, room));
        }
    }

    /// Goes on with a response that was parked.
    pub(super) fn unpark(&mut self, stream: StreamId, room: usize) {
        if let Some(body) = self.open.get_mut(&stream).and_then(|open| open.parked.take()) {
            self.go_on(stream, body, room);
        }
    }

    /// Forgets a stream that is answered in full, or given up.
    pub(super) fn forget(&mut self, stream: StreamId) {
        self.open.remove(&stream);
    }

    /// Counts a panic that took a stream with it.
    pub(super) fn note_panic(&self) {
        self.note_cut(Cut::Panicked);
    }

    /// Whether the stream still waits for its answer.
    pub(super) fn knows(&self, stream: StreamId) -> bool {
        self.open.contains_key(&stream)
    }

    /// Gives a request to the port, which may have all of its body yet to come.
    fn serve(&mut self, stream: StreamId, head: &Head, ended: bool) {
        let (inlet, body) = intake(stream, self.signal.clone(), head.content_length());
        if ended {
            inlet.end();
        }
        let Ok(request) = head::request(head, RequestBody::from(body)) else {
            self.todo.aborts.push((stream, ErrorCode::PROTOCOL_ERROR));
            return;
        };
        let content_type = content_type::parse(head.field("content-type"));
        let grpc = self.port.grpc(head.path()).filter(|service| service.takes(content_type)).cloned();
        let exchange = Exchange::request(stream, self.port.serve(request), self.room);
        self.begin(stream, exchange);
        if let Some(open) = self.open.get_mut(&stream) {
            open.inlet = Some(inlet);
            open.grpc = grpc;
        }
    }

    /// Begins an exchange, or its next part.
    fn begin(&mut self, stream: StreamId, exchange: Exchange) {
        let (exchange, abort) = abortable(exchange);
        self.todo.exchanges.push(exchange);
        match self.open.get_mut(&stream) {
            Some(open) => {
                open.abort = abort;
                open.grpc = None;
            }
            None => {
                self.open.insert(stream, Open { abort, inlet: None, parked: None, grpc: None });
            }
        }
    }

    fn note_cut(&self, cut: Cut) {
        self.leash.patrol().stats().note_cut(cut, Some(self.leash.peer()));
    }
}

impl Handler for Desk {
    fn route(&mut self, head: &Arc<Head>) -> Route {
        // What of gRPC does not come whole is refused and watched in the same words as over hyper.
        if head.is_grpc() { Route::Whole } else { Route::Plain }
    }

    /// A direct call, if it can be one.
    fn whole(&mut self, request: WholeRequest<'_>) -> Option<Answer> {
        let WholeRequest { stream, head, body } = request;
        let service = self.port.grpc(head.path())?;
        let attached = head.attached().get_or_init(|| {
            let terms = service.terms(head.path(), |name| head.field(name));
            let attached: Attached =
                terms.map(|terms| Kept { terms, metadata: Arc::new(FieldSource::new(head.fields())) });
            Box::new(attached)
        });
        let Kept { terms, metadata } = attached.downcast_ref::<Attached>()?.as_ref()?;
        let length = body.len();
        let arrival = Arrival {
            method: head.path(),
            metadata,
            peer: self.port.peer(),
            payload: service.message(body).ok()?,
            deadline: None,
            at: self.clock.read(),
        };
        let call = Call::begin(&self.leash);
        Some(match service.begin(&mut self.batch, terms, arrival, length) {
            Direct::Done(Ok(failure)) if failure.code != Code::Ok => {
                if let Some(told) = self.told.as_ref().filter(|told| told.is_of(head, &failure)) {
                    return Some(Answer::Head(told.sent.clone()));
                }
                let rendered = service.render(terms, Ok(failure.clone()));
                let answer = self.answer(rendered, call, stream);
                if let Answer::Head(sent) = &answer {
                    self.told = Some(Told { head: head.clone(), failure, sent: sent.clone() });
                }
                answer
            }
            Direct::Done(answer) => {
                let rendered = service.render(terms, answer);
                self.answer(rendered, call, stream)
            }
            Direct::Pending(answer, charge) => {
                let held = Held { head: head.clone(), call, _charge: charge };
                self.begin(stream, Exchange::call(stream, answer, held));
                Answer::Later
            }
        })
    }

    fn taken_back(&mut self) {
        self.taken_back += 1;
    }

    fn unary(&mut self, _: UnaryCall<'_>) -> Answer {
        // Nothing is routed here.
        Answer::Reply(Box::new(Reply::status(exec_plan::Code::Internal.number(), "unexpected route")))
    }

    fn open(&mut self, stream: StreamId, head: &Arc<Head>, ended: bool) {
        self.opened = self.opened.max(stream);
        self.serve(stream, head, ended);
    }

    fn data(&mut self, stream: StreamId, chunk: Bytes, ended: bool) {
        match self.open.get_mut(&stream).and_then(|open| open.inlet.as_ref()) {
            Some(inlet) => {
                if !chunk.is_empty() {
                    inlet.data(chunk);
                }
                if ended {
                    inlet.end();
                }
            }
            // Its answer is complete: nobody will read this.
            None => self.todo.used.push((stream, chunk.len())),
        }
    }

    fn trailers(&mut self, stream: StreamId, trailers: Vec<Field>) {
        if let Some(inlet) = self.open.get_mut(&stream).and_then(|open| open.inlet.as_ref()) {
            inlet.trailers(head::headers(&trailers));
            inlet.end();
        }
    }

    fn cancelled(&mut self, stream: StreamId, why: Cancelled) {
        let Some(open) = self.open.remove(&stream) else { return };
        open.abort.abort();
        // The exchanges of a read begin when it is over.
        if stream > self.newest && open.inlet.is_some() && matches!(why, Cancelled::ByPeer(_)) {
            self.taken_back += 1;
        }
        if let (Some(service), Some(inlet)) = (open.grpc, open.inlet)
            && !inlet.has_ended()
        {
            service.note_broken_off();
        }
    }

    fn cutoff(&mut self, cutoff: Cutoff, stream: Option<StreamId>) {
        // The end of a connection is counted by whoever ends it. Streams beyond the limit are refused, as they
        // may be tried again; who goes on is cut off.
        if stream.is_some() && cutoff != Cutoff::StreamLimit {
            self.note_cut(cut(cutoff));
        }
    }
}

/// Under which reason a guard of the core is counted.
pub(super) fn cut(cutoff: Cutoff) -> Cut {
    match cutoff {
        Cutoff::AnswerStall => Cut::WriteStall,
        Cutoff::HeaderListSize => Cut::HeadTooLarge,
        Cutoff::HeaderBlockTimeout => Cut::HeaderTimeout,
        Cutoff::PrefaceTimeout | Cutoff::SettingsTimeout => Cut::HandshakeTimeout,
        Cutoff::Idle | Cutoff::StreamIdle => Cut::Idle,
        Cutoff::KeepaliveTimeout => Cut::KeepAlive,
        Cutoff::ResetFlood
        | Cutoff::StreamLimit
        | Cutoff::ControlFlood
        | Cutoff::ContinuationFlood
        | Cutoff::HeaderBlockSize => Cut::Flood,
        // The messages are not the core's to limit here; what guards it may get are against too much of something.
        Cutoff::BodyBudget | Cutoff::BodyStall | Cutoff::BodyTimeout | Cutoff::MessageSize | _ => Cut::Flood,
    }
}

/// Calls of one read that arrive at the same moment. What runs at once takes microseconds, so the clock is right to
/// a fraction of a millisecond.
const CALLS_OF_A_MOMENT: u32 = 8;
