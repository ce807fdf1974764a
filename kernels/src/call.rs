//! The RPC being answered: what arrived, and the one answer it gets.
//!
//! A transport makes a [`RequestEnvelope`], the host wraps it in an [`RpcServerCall`], and the graph
//! reads it through `rpc_server_input` and answers it through `rpc_server_output`. Invariant: a call
//! is answered or closed exactly once; whoever comes second is told so and changes nothing.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use bytes::Bytes;
use exec_plan::{Code, EnvKey, EnvSchema, Environment, Fault, Handle, Metadata, TraceParent, Type, Value};
use parking_lot::Mutex;

/// One unary request, whatever wire it came over.
#[derive(Clone)]
pub struct RequestEnvelope {
    /// The full method, `/package.Service/Method`.
    pub method: Arc<str>,
    /// The message, decompressed and without framing.
    pub payload: Bytes,
    /// The request's metadata, read only if something asks for it.
    pub metadata: Arc<dyn MetadataSource>,
    /// The address of the client.
    pub peer: Arc<str>,
    /// When the client stops waiting.
    pub deadline: Option<Instant>,
}

/// Request metadata in the form a transport holds it; converted only when a graph reads it.
pub trait MetadataSource: Send + Sync {
    /// The first value under a lower-case name; `-bin` values decoded.
    fn first(&self, name: &str) -> Option<Bytes>;

    /// Whether any name may be for the host: those begin with `okra-` or `sr-graph-`. Where it says no, the
    /// host does not look for them one by one.
    fn may_be_for_host(&self) -> bool {
        true
    }

    /// All of it, without the names that belong to the wire (`grpc-*`, `te`, `:path` and the like).
    fn to_metadata(&self) -> Arc<Metadata>;
}

/// The answer to a call.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status; `Ok` carries the payload, all others carry only the rest.
    pub code: Code,
    /// The status message.
    pub message: String,
    /// The response message.
    pub payload: Bytes,
    /// The serialized `google.rpc.Status` that explains a failure to programs.
    pub details: Option<Bytes>,
    /// Metadata sent before the message.
    pub headers: Option<Arc<Metadata>>,
    /// Metadata sent after the message.
    pub trailers: Option<Arc<Metadata>>,
}

/// Why an answer did not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// The call was answered before.
    #[error("the call is answered already")]
    AlreadyAnswered,
    /// The host closed the call: its deadline passed or its client left.
    #[error("the call is closed")]
    Closed,
}

/// Why the host closed a call before the graph answered it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closed {
    /// Its time was up.
    Expired,
    /// Its client left.
    Cancelled,
    /// Its run failed, and the host answered with the failure.
    Failed(Code),
}

/// How far a call is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Standing {
    /// Neither answered nor closed.
    #[default]
    Open,
    /// The graph answered with this status.
    Answered(Code),
    /// The host closed it.
    Closed(Closed),
}

/// The call that a graph answers.
pub struct RpcServerCall {
    envelope: RequestEnvelope,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    standing: Standing,
    /// Until it is taken.
    answer: Option<Answer>,
    /// Who waits for it.
    waiting: Option<Waker>,
}

/// The environment of a served graph: the keys behind `$req.`, in the order [`RpcServerCall`] knows.
pub fn serve_env() -> EnvSchema {
    EnvSchema::new([
        ("rpc.call", Type::Call),
        ("rpc.method", Type::String),
        ("rpc.payload", Type::Bytes),
        ("rpc.metadata", Type::Metadata),
        ("rpc.peer", Type::String),
        ("rpc.deadline_ms", Type::I64),
    ])
}

// === impl RpcServerCall ===

impl RpcServerCall {
    /// A call that nobody has answered.
    pub fn new(envelope: RequestEnvelope) -> Self {
        Self { envelope, state: Mutex::default() }
    }

    /// Makes this the record of the next call with the same head: nothing of the last one stays.
    pub fn renew(&mut self, payload: Bytes, deadline: Option<Instant>) {
        (self.envelope.payload, self.envelope.deadline) = (payload, deadline);
        *self.state.get_mut() = State::default();
    }

    /// The call behind a port's handle.
    ///
    /// # Errors
    /// INTERNAL if the handle is of another kind.
    pub(crate) fn of(handle: &Handle) -> Result<&Self, Fault> {
        let call = handle.downcast_ref();
        call.ok_or_else(|| Fault::new(Code::Internal, "the call is a handle of another kind"))
    }

    /// The request.
    pub fn envelope(&self) -> &RequestEnvelope {
        &self.envelope
    }

    /// Answers the call.
    ///
    /// # Errors
    /// [`AnswerError`] if the call was answered or closed before; the answer is dropped.
    pub fn answer(&self, answer: Answer) -> Result<(), AnswerError> {
        self.end(Standing::Answered(answer.code), answer)
    }

    /// Closes an unanswered call, so that no later answer counts and nobody is told. Returns whether it was open.
    pub fn close(&self, why: Closed) -> bool {
        let mut state = self.state.lock();
        let open = state.standing == Standing::Open;
        if open {
            state.standing = Standing::Closed(why);
            let waiting = state.waiting.take();
            drop(state);
            drop(waiting);
        }
        open
    }

    /// Closes an unanswered call with the host's own answer, where the graph gave none.
    ///
    /// # Errors
    /// [`AnswerError`] if the call was answered or closed before; the answer is dropped.
    pub fn close_with(&self, why: Closed, answer: Answer) -> Result<(), AnswerError> {
        self.end(Standing::Closed(why), answer)
    }

    #[inline]
    fn end(&self, standing: Standing, answer: Answer) -> Result<(), AnswerError> {
        let mut state = self.state.lock();
        match state.standing {
            Standing::Answered(_) => return Err(AnswerError::AlreadyAnswered),
            Standing::Closed(_) => return Err(AnswerError::Closed),
            Standing::Open => {}
        }
        state.standing = standing;
        state.answer = Some(answer);
        let waiting = state.waiting.take();
        drop(state);
        if let Some(waiting) = waiting {
            waiting.wake();
        }
        Ok(())
    }

    /// How far the call is.
    pub fn standing(&self) -> Standing {
        self.state.lock().standing
    }

    /// The answer, once.
    pub fn take_answer(&self) -> Option<Answer> {
        self.state.lock().answer.take()
    }

    /// How far the call is, and with it the answer that [`take_answer`](Self::take_answer) would give.
    pub fn collect(&self) -> (Standing, Option<Answer>) {
        let mut state = self.state.lock();
        (state.standing, state.answer.take())
    }

    /// The answer, once, or a wake-up when it is there. Only the last who asked is woken.
    pub fn poll_answer(&self, cx: &mut Context<'_>) -> Poll<Answer> {
        let mut state = self.state.lock();
        if let Some(answer) = state.answer.take() {
            return Poll::Ready(answer);
        }
        let before = state.waiting.replace(cx.waker().clone());
        drop(state);
        drop(before);
        Poll::Pending
    }

    /// Milliseconds left until the deadline, at least 0; −1 if there is none.
    pub(crate) fn deadline_ms(&self) -> i64 {
        self.envelope.deadline.map_or(-1, |deadline| {
            let left = deadline.saturating_duration_since(Instant::now());
            i64::try_from(left.as_millis()).unwrap_or(i64::MAX)
        })
    }
}

impl Environment for RpcServerCall {
    fn value(self: Arc<Self>, key: &EnvKey) -> Value {
        // The positions of `serve_env`.
        match key.index {
            Some(0) => Value::Call(self),
            Some(1) => Value::Str(self.envelope.method.clone()),
            Some(2) => Value::Bytes(self.envelope.payload.clone()),
            Some(3) => Value::Metadata(self.envelope.metadata.to_metadata()),
            Some(4) => Value::Str(self.envelope.peer.clone()),
            Some(5) => Value::I64(self.deadline_ms()),
            _ => Value::Null,
        }
    }

    fn trace_parent(&self) -> Option<TraceParent> {
        let text = self.envelope.metadata.first("traceparent")?;
        std::str::from_utf8(&text).ok()?.parse().ok()
    }

    fn request_id(&self) -> Option<Arc<str>> {
        let text = self.envelope.metadata.first("x-request-id")?;
        std::str::from_utf8(&text).ok().map(Arc::from)
    }
}

impl fmt::Debug for RpcServerCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RpcServerCall")
            .field("method", &self.envelope.method)
            .field("peer", &self.envelope.peer)
            .field("payload", &self.envelope.payload.len())
            .finish_non_exhaustive()
    }
}

// === impl Answer ===

impl Answer {
    /// A successful answer.
    pub fn ok(payload: Bytes) -> Self {
        Self { code: Code::Ok, message: String::new(), payload, details: None, headers: None, trailers: None }
    }

    /// A failed answer.
    pub fn failed(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), ..Self::ok(Bytes::new()) }
    }
}

impl From<&Fault> for Answer {
    fn from(fault: &Fault) -> Self {
        Self {
            details: fault.details().cloned(),
            trailers: fault.metadata().cloned(),
            ..Self::failed(fault.code(), fault.message())
        }
    }
}

// === impl MetadataSource ===

impl MetadataSource for Metadata {
    fn first(&self, name: &str) -> Option<Bytes> {
        Metadata::first(self, name).cloned()
    }

    fn to_metadata(&self) -> Arc<Metadata> {
        Arc::new(self.clone())
    }
}

impl fmt::Debug for RequestEnvelope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestEnvelope")
            .field("method", &self.method)
            .field("peer", &self.peer)
            .field("payload", &self.payload.len())
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    fn envelope() -> RequestEnvelope {
        RequestEnvelope {
            method: "/echo.Echo/Say".into(),
            payload: Bytes::from_static(b"hi"),
            metadata: Arc::new(Metadata::new()),
            peer: "127.0.0.1:9".into(),
            deadline: None,
        }
    }

    #[test]
    fn a_call_is_answered_once() {
        let call = RpcServerCall::new(envelope());
        assert_eq!(call.answer(Answer::ok(Bytes::from_static(b"1"))), Ok(()));
        assert_eq!(call.answer(Answer::ok(Bytes::from_static(b"2"))), Err(AnswerError::AlreadyAnswered));
        assert!(!call.close(Closed::Cancelled));
        assert_eq!(call.standing(), Standing::Answered(Code::Ok));
        assert_eq!(call.take_answer().unwrap().payload, "1");
        assert!(call.take_answer().is_none());
    }

    #[test]
    fn a_closed_call_takes_no_answer() {
        let call = RpcServerCall::new(envelope());
        assert!(call.close(Closed::Expired));
        assert_eq!(call.standing(), Standing::Closed(Closed::Expired));
        assert_eq!(call.answer(Answer::ok(Bytes::new())), Err(AnswerError::Closed));
    }

    /// Counts how often it is woken.
    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    type End = fn(&RpcServerCall) -> Result<(), AnswerError>;

    #[test]
    fn whoever_waits_is_woken_once_and_gets_the_answer() {
        let ends: [End; 2] = [
            |call| call.answer(Answer::ok(Bytes::from_static(b"1"))),
            |call| call.close_with(Closed::Expired, Answer::ok(Bytes::from_static(b"1"))),
        ];
        for end in ends {
            let call = RpcServerCall::new(envelope());
            let count = Arc::<Count>::default();
            let waker = Waker::from(count.clone());
            let mut cx = Context::from_waker(&waker);
            assert!(call.poll_answer(&mut cx).is_pending());
            assert!(call.poll_answer(&mut cx).is_pending());
            end(&call).unwrap();
            assert_eq!(count.0.load(Ordering::SeqCst), 1);
            let Poll::Ready(answer) = call.poll_answer(&mut cx) else { panic!("the answer is there") };
            assert_eq!(answer.payload, "1");
            assert!(call.poll_answer(&mut cx).is_pending(), "an answer is given once");
        }
    }

    #[test]
    fn a_closed_call_lets_go_of_whoever_waited() {
        let call = RpcServerCall::new(envelope());
        let count = Arc::<Count>::default();
        let waker = Waker::from(count.clone());
        assert!(call.poll_answer(&mut Context::from_waker(&waker)).is_pending());
        assert!(call.close(Closed::Cancelled));
        drop(waker);
        assert_eq!(Arc::strong_count(&count), 1);
        assert_eq!(count.0.load(Ordering::SeqCst), 0);
    }

    #[test]
    fn every_key_of_the_environment_has_its_declared_type() {
        let schema = serve_env();
        let call = Arc::new(RpcServerCall::new(envelope()));
        for name in schema.names() {
            let (index, kind) = schema.get(name).unwrap();
            let key = EnvKey { name: name.into(), index: Some(index) };
            assert_eq!(call.clone().value(&key).kind(), kind, "{name}");
        }
    }

    #[test]
    fn the_deadline_is_minus_one_if_unset() {
        assert_eq!(RpcServerCall::new(envelope()).deadline_ms(), -1);
    }
}
