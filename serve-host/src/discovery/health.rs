//! `grpc.health.v1`: the host as `""`, and each service that something serves.
//!
//! A service is known exactly while it is served. While the host drains, everything known is
//! `NOT_SERVING`. A watch hears of every change, and ends when the host does.

use std::pin::Pin;
use std::sync::Arc;

use exec_plan::PlanStore;
use futures_util::{Stream, stream};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse, health_server};

use crate::admin::{Phase, Readiness};

/// Answers whether services serve. Clones share everything.
#[derive(Clone)]
pub(super) struct Health {
    store: Arc<PlanStore>,
    flips: watch::Receiver<u64>,
    phase: watch::Receiver<Phase>,
    stop: CancellationToken,
}

/// One watch: who asks, and what it was told.
struct Watched {
    health: Health,
    service: String,
    told: Option<ServingStatus>,
    ended: bool,
}

type Watching = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

// === impl Health ===

impl Health {
    pub(super) fn new(store: Arc<PlanStore>, readiness: &Readiness, stop: CancellationToken) -> Self {
        Self { flips: store.flips(), phase: readiness.changes(), store, stop }
    }

    /// `None` for a service that nothing serves.
    fn status(&self, service: &str) -> Option<ServingStatus> {
        let takes_calls = *self.phase.borrow() == Phase::Serving;
        let status = if takes_calls { ServingStatus::Serving } else { ServingStatus::NotServing };
        (service.is_empty() || self.store.serves(service)).then_some(status)
    }
}

#[tonic::async_trait]
impl health_server::Health for Health {
    type WatchStream = Watching;

    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        let service = request.into_inner().service;
        match self.status(&service) {
            Some(status) => Ok(Response::new(HealthCheckResponse { status: status as i32 })),
            None => Err(Status::not_found(format!("nothing serves {service:?}"))),
        }
    }

    async fn watch(&self, request: Request<HealthCheckRequest>) -> Result<Response<Watching>, Status> {
        let service = request.into_inner().service;
        let watched = Watched { health: self.clone(), service, told: None, ended: false };
        Ok(Response::new(Box::pin(stream::unfold(watched, Watched::next))))
    }
}

// === impl Watched ===

impl Watched {
    /// Waits until there is something new to say.
    async fn next(mut self) -> Option<(Result<HealthCheckResponse, Status>, Self)> {
        if self.ended {
            return None;
        }
        loop {
            // What changes after this look wakes the wait below.
            self.health.flips.mark_unchanged();
            self.health.phase.mark_unchanged();
            let status = self.health.status(&self.service).unwrap_or(ServingStatus::ServiceUnknown);
            if self.told != Some(status) {
                self.told = Some(status);
                return Some((Ok(HealthCheckResponse { status: status as i32 }), self));
            }
            // What there is to say is said before the end, though both may have come by now.
            let lasts = tokio::select! {
                biased;
                changed = self.health.phase.changed() => changed.is_ok(),
                changed = self.health.flips.changed() => changed.is_ok(),
                () = self.health.stop.cancelled() => false,
            };
            if !lasts {
                self.ended = true;
                return Some((Err(Status::unavailable("the host is shutting down")), self));
            }
        }
    }
}
