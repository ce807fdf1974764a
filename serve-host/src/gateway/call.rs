//! One call, once its head is read: its plan, its message in protobuf, its answer in the client's codec.
//!
//! The plan is leased before the message is translated, so that the schema is that of the plan that runs,
//! whatever is deployed meanwhile. Everything else is the host's: admission, queue, pool, deadline, figures.
//! Dropping the future cancels the call.

use std::future::poll_fn;
use std::sync::Arc;

use exec_plan::{Code, PlanLease};
use kernels::{Answer, RequestEnvelope};
use proto_json::{Method, WriteOptions};

use super::codec::{self, Codec};
use super::intake::Intake;
use super::route;
use crate::grpc::Refusal;
use crate::host::ServeHost;
use crate::protocol::Protocol;
use crate::respond::Rejection;
use crate::schemas::{Described, Schemas};
use crate::transport::Begun;
use crate::transport::tonic::call::guarded;
use crate::transport::tonic::direct::poll_guarded;

/// The plan that answers a call, and what is known about the method.
#[derive(Debug)]
pub(crate) struct Found {
    plan: PlanLease,
    described: Option<Arc<Described>>,
    method: Option<Arc<Method>>,
}

/// A call whose message is known.
#[derive(Debug)]
pub(crate) struct Call {
    /// The call; its payload is the message as the client wrote it.
    pub(crate) envelope: RequestEnvelope,
    /// How its messages are written.
    pub(crate) codec: Codec,
    /// How it came.
    pub(crate) protocol: Protocol,
    /// What holds for its message until it is answered.
    pub(crate) intake: Intake,
    /// The largest answer, in bytes as the client reads it.
    pub(crate) max_send: usize,
}

/// How a call ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// The answer, its payload in the client's codec.
    pub(crate) answer: Result<Answer, Refusal>,
    /// Whether there is such a method.
    pub(crate) found: bool,
    described: Option<Arc<Described>>,
}

// === impl Found ===

impl Found {
    /// Finds out who answers a call.
    ///
    /// # Errors
    /// [`Rejection`] if nobody does.
    pub(crate) fn find(
        host: &ServeHost,
        schemas: &Schemas,
        envelope: &RequestEnvelope,
    ) -> Result<Self, Rejection> {
        let plan = host.lease(envelope)?;
        let (service, _) = route::split(&envelope.method);
        let described = schemas.find(plan.label(), service);
        let method = match &described {
            Some(described) => match described.method(&envelope.method) {
                Some(method) => Some(method.clone()),
                None => return Err(Rejection::NoMethod { method: envelope.method.clone() }),
            },
            None => None,
        };
        Ok(Self { plan, described, method })
    }

    /// Whether calling it changes nothing, as far as is known.
    pub(crate) fn is_safe(&self, method: &str) -> bool {
        self.described.as_ref().is_some_and(|described| described.is_safe(method))
    }
}

// === impl Call ===

impl Call {
    /// Runs the call on the plan that was found for it.
    pub(crate) async fn run(self, host: &ServeHost, found: Found) -> Ended {
        let Found { plan, described, method } = found;
        let answer = self.answer(host, plan, method.as_deref()).await;
        Ended { answer, found: true, described }
    }

    async fn answer(
        self,
        host: &ServeHost,
        plan: PlanLease,
        method: Option<&Method>,
    ) -> Result<Answer, Refusal> {
        let Self { mut envelope, codec, protocol, mut intake, max_send } = self;
        let translated = match (codec, method) {
            (Codec::Proto, _) => None,
            (Codec::Json, Some(method)) => Some(method),
            (Codec::Json, None) => {
                let (service, _) = route::split(&envelope.method);
                return Err(Refusal::NoSchema { service: service.to_owned() });
            }
        };
        if let Some(method) = translated {
            let message = codec::from_json(&method.input, &envelope.payload, intake.limit)?;
            intake.charge.grow(message.len())?;
            envelope.payload = message;
        }
        let mut answer = match guarded(|| host.begin_leased(plan, envelope, protocol))? {
            Begun::Done(answer) => answer,
            Begun::Pending(mut answer) => poll_fn(|cx| poll_guarded(&mut answer, cx)).await?,
        };
        if let Some(method) = translated.filter(|_| answer.code == Code::Ok) {
            answer.payload = codec::to_json(&method.output, &answer.payload, max_send)?;
        }
        Ok(answer)
    }
}

// === impl Ended ===

impl Ended {
    /// A call that is refused.
    pub(crate) fn refused(refusal: Refusal) -> Self {
        Self { answer: Err(refusal), found: true, described: None }
    }

    /// A call that nobody answers.
    pub(crate) fn rejected(host: &ServeHost, rejection: &Rejection) -> Self {
        let found = !matches!(rejection, Rejection::NoGraph { .. } | Rejection::NoMethod { .. });
        Self { answer: Ok(host.refuse(rejection)), found, described: None }
    }

    /// The JSON of a detail of the failure, if the schema knows its type.
    pub(crate) fn explain(&self, name: &str, value: &[u8]) -> Option<Vec<u8>> {
        let message = self.described.as_ref()?.schema().message(name)?;
        let mut json = Vec::new();
        message.proto_to_json(value, WriteOptions::default(), &mut json).ok()?;
        Some(json)
    }
}
