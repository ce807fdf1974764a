//! The catalog: what every name leads to at this moment. Immutable; a change makes another.
//!
//! This is what each request reads. The ledger decides; the catalog only follows it, and takes over from
//! its predecessor the seats whose plan is still the same.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;

use super::error::Unresolved;
use super::ledger::{DefaultGraph, GraphRecord, Ledger};
use super::release::{PlanLease, Release, Resident, Seat, begin};
use crate::identity::{GraphName, Version};

/// What every name leads to.
#[derive(Default)]
pub(super) struct Catalog {
    services: HashMap<Arc<str>, Arc<Seat>, RandomState>,
    graphs: HashMap<GraphName, GraphEntry, RandomState>,
    default: Option<DefaultPlace>,
}

/// What answers the calls that name no graph.
enum DefaultPlace {
    Seat(Arc<Seat>),
    Version(Arc<Resident>),
}

/// Where a plan is to be had.
#[derive(Clone, Copy)]
pub(super) enum Place<'a> {
    /// It serves.
    Seat(&'a Arc<Seat>),
    /// It is kept for those who ask for its version.
    Version(&'a Arc<Resident>),
}

struct GraphEntry {
    seat: Option<Arc<Seat>>,
    /// Every version, in order, with its plan if it may be asked for.
    versions: Vec<(Version, Option<Arc<Resident>>)>,
}

// === impl Catalog ===

impl Catalog {
    /// The catalog after a change of the ledger.
    pub(super) fn next(&self, ledger: &Ledger) -> Self {
        let mut next = Self::default();
        for (name, record) in &ledger.graphs {
            let seat = self.seat_for(name, record);
            if let Some(seat) = &seat {
                let services = seat.tenant().plan().serves();
                next.services.extend(services.iter().map(|service| (service.clone(), seat.clone())));
            }
            next.graphs.insert(name.clone(), GraphEntry { seat, versions: versions(record) });
        }
        next.default = ledger.default.as_ref().and_then(|default| next.default_place(default));
        next
    }

    /// Where the default leads, found once for all the calls that will ask.
    fn default_place(&self, default: &DefaultGraph) -> Option<DefaultPlace> {
        let DefaultGraph { name, version } = default;
        Some(match self.named(name.as_str(), version.as_ref()).ok()? {
            Place::Seat(seat) => DefaultPlace::Seat(seat.clone()),
            Place::Version(resident) => DefaultPlace::Version(resident.clone()),
        })
    }

    /// What serves an RPC service.
    #[inline]
    pub(super) fn service(&self, service: &str) -> Option<Place<'_>> {
        self.services.get(service).map(Place::Seat)
    }

    /// The services, in order, each with the label of the plan that serves it.
    pub(super) fn services(&self) -> Vec<(Arc<str>, Arc<str>)> {
        let label = |seat: &Arc<Seat>| seat.tenant().plan().label().clone();
        let mut services: Vec<_> =
            self.services.iter().map(|(service, seat)| (service.clone(), label(seat))).collect();
        services.sort_unstable();
        services
    }

    /// What answers the calls that name no graph.
    #[inline]
    pub(super) fn by_default(&self) -> Option<Place<'_>> {
        self.default.as_ref().map(|default| match default {
            DefaultPlace::Seat(seat) => Place::Seat(seat),
            DefaultPlace::Version(resident) => Place::Version(resident),
        })
    }

    /// What answers the calls that name this graph.
    pub(super) fn named(&self, name: &str, version: Option<&Version>) -> Result<Place<'_>, Unresolved> {
        let entry = self.graphs.get(name).ok_or(Unresolved::UnknownGraph)?;
        let place = match version {
            None => Place::Seat(entry.seat.as_ref().ok_or(Unresolved::NotServing)?),
            Some(version) => {
                let found = entry.versions.binary_search_by(|(held, _)| held.cmp(version));
                let (_, resident) = &entry.versions[found.map_err(|_| Unresolved::UnknownVersion)?];
                Place::Version(resident.as_ref().ok_or(Unresolved::VersionNotServing)?)
            }
        };
        if place.answers() { Ok(place) } else { Err(Unresolved::Inner) }
    }

    /// What serves a graph, whether it answers calls or is run by other graphs.
    pub(super) fn seat(&self, name: &str) -> Option<&Arc<Seat>> {
        self.graphs.get(name)?.seat.as_ref()
    }

    /// The seat that is there, if its plan is to go on serving; otherwise a new one.
    fn seat_for(&self, name: &GraphName, record: &GraphRecord) -> Option<Arc<Seat>> {
        let plan = record.serving()?.plan()?;
        match self.seat(name.as_str()) {
            Some(seat) if Arc::ptr_eq(seat.tenant().plan(), plan) => Some(seat.clone()),
            Some(_) | None => Some(Arc::new(begin(plan.clone()))),
        }
    }
}

// === impl Place ===

impl Place<'_> {
    /// A lease; `None` if something else serves by now.
    #[inline]
    pub(super) fn lease(self) -> Option<PlanLease> {
        match self {
            Self::Seat(seat) => PlanLease::enter(seat),
            Self::Version(resident) => resident.lease(),
        }
    }

    fn answers(self) -> bool {
        match self {
            Self::Seat(seat) => seat.tenant().plan().answers(),
            Self::Version(resident) => resident.plan().answers(),
        }
    }
}

/// The versions of a graph. Of one that is not published none may be asked for.
fn versions(record: &GraphRecord) -> Vec<(Version, Option<Arc<Resident>>)> {
    let mut versions: Vec<_> = record
        .versions()
        .map(|version| {
            let release = record.published(version).filter(|_| record.active.is_some());
            (version.clone(), release.and_then(Release::resident).cloned())
        })
        .collect();
    versions.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    versions
}
