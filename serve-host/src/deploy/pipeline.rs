//! The pipeline: from a package to a service that is called, and back.
//!
//! Invariants: what fails leaves what served before serving, and nothing behind; once a deploy has its
//! turn it runs to its end, whether or not anybody still waits for the answer; a call in flight keeps the
//! plan, the guest and the schema it began with.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use bytes::Bytes;
use exec_plan::{DiskWatch, GraphSource, PlanStore, SwapReceipt};
use kernels::Services;
use kernels_wasm::{Engine, Guest};
use packages::{Package, PackageLimits};
use parking_lot::Mutex;
use proto_json::Schema;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use super::books::{Books, Standing};
use super::error::{DeployError, UndeployError};
use super::graph;
use super::guest;
use super::ledger::{Entry, Ledger};
use super::line::{Line, Place};
use super::progress::{DeployProgress, DeployStep, Progress};
use super::shelf::{PackageFinding, ShelfError};
use super::source::{PackageDigest, Source, SourceError, SourceSettings};
use crate::causes::with_causes;
use crate::schemas::Schemas;

/// How packages are deployed.
#[derive(Clone, Debug)]
pub struct DeploySettings {
    /// From where packages may come.
    pub sources: SourceSettings,
    /// How large they may be.
    pub limits: PackageLimits,
    /// Deploys that may wait while one runs.
    pub max_waiting: u32,
    /// How long a deploy may take until it has its turn, its upload included.
    pub timeout: Duration,
}

/// What packages run in and are described by.
#[derive(Clone, Debug)]
pub struct DeployParts {
    /// Where guests are found by the kernels.
    pub services: Services,
    /// Where schemas are found by the gateway and by reflection.
    pub schemas: Schemas,
    /// What guests run in.
    pub engine: Engine,
}

/// Packages that were deployed before, read back and loaded: what the plan store needs before it is opened.
#[derive(Debug)]
pub struct LoadedPackages {
    settings: DeploySettings,
    parts: DeployParts,
    books: Books,
    findings: Vec<PackageFinding>,
}

/// Deploys packages and undeploys services. Clones share everything.
#[derive(Clone, Debug)]
pub struct Deployer(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    settings: DeploySettings,
    parts: DeployParts,
    store: Arc<PlanStore>,
    line: Line,
    books: Mutex<Books>,
    /// The ledger as of the last change, for whoever only looks.
    shown: ArcSwap<Ledger>,
}

/// What is to be deployed.
#[derive(Debug)]
pub struct DeployRequest {
    /// Where the package comes from.
    pub origin: Origin,
    /// Whether it may replace what is deployed under its id.
    pub replaces: bool,
    /// The digest it must have.
    pub sha256: Option<String>,
}

/// Where a package comes from.
#[derive(Debug)]
pub enum Origin {
    /// A source URL.
    Source(String),
    /// The request itself.
    Upload(Bytes),
}

/// A deploy that has a place in the line.
#[derive(Debug)]
pub struct QueuedDeploy {
    deployer: Deployer,
    place: Place,
}

/// What a deploy did.
#[derive(Clone, Debug)]
pub struct Deployed {
    /// The service.
    pub status: PackageStatus,
    /// What it did to calls; `None` if the graph is active with a release that is a person's own.
    pub receipt: Option<SwapReceipt>,
    /// What is odd about the package but does no harm.
    pub notes: Vec<String>,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
}

/// A deployed service.
#[derive(Clone, Debug)]
pub struct PackageStatus {
    /// `{namespace}.{Service}.{version}`.
    pub id: String,
    /// Where the package came from.
    pub source: String,
    /// When, in Unix milliseconds.
    pub deployed_at_ms: u64,
    /// The package.
    pub digest: PackageDigest,
    /// The graph, and the service's name on the wire.
    pub graph: String,
    /// The version of the graph.
    pub version: String,
    /// How it serves.
    pub standing: Standing,
    /// Why it does not serve, if its graph says so.
    pub reason: Option<String>,
    /// The paths of its methods, in the order of their declaration.
    pub endpoints: Vec<String>,
}

/// A package that is loaded and has a graph, and is not yet deployed.
struct Prepared {
    entry: Entry,
    bytes: Bytes,
    graph: GraphSource,
    schema: Schema,
    notes: Vec<String>,
    /// Whether the package was loaded for this deploy, and is nobody's if it fails.
    is_new: bool,
}

/// The package's directory in the data directory.
const PACKAGES_DIR: &str = "packages";

/// What the source of an uploaded package is said to be.
const UPLOADED: &str = "upload";

// === impl LoadedPackages ===

impl LoadedPackages {
    /// Reads back what is deployed, and loads it. What cannot be loaded is a finding, and the rest goes on.
    ///
    /// # Errors
    /// The directory cannot be used at all.
    pub async fn load(
        settings: DeploySettings,
        parts: DeployParts,
        data_dir: Option<&Path>,
    ) -> Result<Self, ShelfError> {
        let dir = data_dir.map(|dir| dir.join(PACKAGES_DIR));
        let mut findings = Vec::new();
        let mut books = Books::open(dir.as_deref(), DiskWatch::NOBODY, &mut findings)?;
        for entry in books.needed() {
            let loaded = match books.read(&entry) {
                Ok(bytes) => load_again(&settings.limits, &parts, &entry, bytes).await,
                Err(finding) => Err(finding),
            };
            findings.extend(loaded.err());
        }
        for entry in books.ledger().currents() {
            make_current(&parts, entry);
        }
        Ok(Self { settings, parts, books, findings })
    }

    /// What the kernels of the plan store need.
    pub fn services(&self) -> &Services {
        &self.parts.services
    }

    /// What the gateway and reflection need.
    pub fn schemas(&self) -> &Schemas {
        &self.parts.schemas
    }

    /// What was found and not in order so far.
    pub fn findings(&self) -> &[PackageFinding] {
        &self.findings
    }

    /// Goes on with the plan store, which was opened with these services: brings to its end what was cut
    /// short. Gives what else was found.
    pub fn start(self, store: Arc<PlanStore>) -> (Deployer, Vec<PackageFinding>) {
        let Self { settings, parts, mut books, findings: _ } = self;
        let mut findings = Vec::new();
        let gone = books.settle(&store, &mut findings);
        let shown = ArcSwap::from_pointee(books.ledger().clone());
        let line = Line::new(settings.max_waiting);
        let inner = Inner { settings, parts, store, line, books: Mutex::new(books), shown };
        inner.unload(&gone);
        inner.clear_code();
        for entry in inner.shown.load().currents() {
            make_current(&inner.parts, entry);
        }
        (Deployer(Arc::new(inner)), findings)
    }
}

async fn load_again(
    limits: &PackageLimits,
    parts: &DeployParts,
    entry: &Entry,
    bytes: Bytes,
) -> Result<(), PackageFinding> {
    let unusable = |error: &dyn std::error::Error| PackageFinding::Unusable {
        id: entry.id.clone(),
        file: super::shelf::package_file(&entry.digest),
        cause: with_causes(error),
    };
    let package = Package::read(bytes, limits).map_err(|error| unusable(&error))?;
    let schema = Schema::parse(package.descriptor_bytes().clone()).map_err(|error| unusable(&error))?;
    let recipe = guest::Recipe::of(&package);
    let guest = recipe.load(&parts.engine, &entry.module).await.map_err(|error| unusable(&error))?;
    parts.services.insert(guest::service(&package, schema.clone(), guest));
    parts.schemas.insert_release(&entry.label(), schema);
    Ok(())
}

/// What was deployed last under its id is what graphs that name no digest follow.
fn make_current(parts: &DeployParts, entry: &Entry) {
    let digest = entry.digest.to_string();
    if parts.services.set_current(&entry.id, &digest)
        && let Some(service) = parts.services.exact(&entry.id, &digest)
    {
        parts.schemas.insert_service(entry.graph.as_str(), service.schema.clone());
    }
}

// === impl Deployer ===

impl Deployer {
    /// How packages are deployed.
    pub fn settings(&self) -> &DeploySettings {
        &self.0.settings
    }

    /// Takes a place in the line; the package may be fetched or uploaded from then on.
    ///
    /// # Errors
    /// [`DeployError::Busy`] if there is none.
    pub fn queue(&self) -> Result<QueuedDeploy, DeployError> {
        let place = self.0.line.join().ok_or(DeployError::Busy)?;
        Ok(QueuedDeploy { deployer: self.clone(), place })
    }

    /// What is deployed, by id.
    pub fn list(&self) -> Vec<PackageStatus> {
        let ledger = self.0.shown.load();
        ledger.currents().into_iter().map(|entry| self.0.status(entry)).collect()
    }

    /// One deployed service.
    pub fn get(&self, id: &str) -> Option<PackageStatus> {
        self.0.shown.load().current(id).map(|entry| self.0.status(entry))
    }

    /// Undeploys a service: calls that come later find nothing of it, those in flight go on. What was
    /// deployed last of the same route serves instead, if anything was.
    ///
    /// # Errors
    /// [`UndeployError`]; nothing has changed then.
    pub async fn undeploy(&self, id: &str) -> Result<Option<SwapReceipt>, UndeployError> {
        if self.0.shown.load().current(id).is_none() {
            return Err(UndeployError::NotFound);
        }
        let place = self.0.line.join().ok_or(UndeployError::Busy)?;
        let (inner, id) = (self.0.clone(), id.to_owned());
        let undeploying = tokio::spawn(async move {
            let turn = place.turn().await;
            let working = tokio::task::spawn_blocking(move || {
                let retired = inner.retire(&id);
                drop(turn);
                retired
            });
            working.await.map_err(|_| UndeployError::Lost)?
        });
        undeploying.await.map_err(|_| UndeployError::Lost)?
    }
}

// === impl QueuedDeploy ===

impl QueuedDeploy {
    /// Deploys a package.
    ///
    /// # Errors
    /// [`DeployError`]; nothing has changed then.
    pub async fn run(
        self,
        request: DeployRequest,
        listener: Option<mpsc::Sender<DeployProgress>>,
    ) -> Result<Deployed, DeployError> {
        let Self { deployer: Deployer(inner), place } = self;
        let limit = inner.settings.timeout;
        let until = Instant::now() + limit;
        let progress = Progress::new(listener);
        let fetching = fetch(&inner.settings, request.origin, request.sha256, &progress);
        let (source, bytes) =
            timeout_at(until, fetching).await.map_err(|_| DeployError::TooSlow { limit })??;
        let replaces = request.replaces;
        // Whoever asked may leave; half a deploy would be worse than one that nobody heard of.
        let deploying = tokio::spawn(async move {
            progress.begin(DeployStep::Wait);
            let turn = timeout_at(until, place.turn()).await;
            let turn = turn.map_err(|_| DeployError::TooSlow { limit })?;
            let deployed = inner.deploy(source, bytes, replaces, &progress).await;
            if deployed.is_err() {
                let inner = inner.clone();
                // What was compiled for it is nobody's.
                let clearing = tokio::task::spawn_blocking(move || inner.clear_code());
                clearing.await.map_err(|_| DeployError::Lost)?;
            }
            drop(turn);
            deployed.inspect_err(|error| tracing::warn!(%error, "not deployed"))
        });
        deploying.await.map_err(|_| DeployError::Lost)?
    }
}

/// The package, and where it came from.
async fn fetch(
    settings: &DeploySettings,
    origin: Origin,
    sha256: Option<String>,
    progress: &Progress,
) -> Result<(String, Bytes), DeployError> {
    let (source, bytes) = match origin {
        Origin::Upload(bytes) => (UPLOADED.to_owned(), bytes),
        Origin::Source(text) => {
            let source = Source::parse(&text).map_err(DeployError::Source)?;
            progress.begin(DeployStep::Fetch);
            (text, source.fetch(&settings.sources).await.map_err(DeployError::Source)?)
        }
    };
    if let Some(expected) = sha256 {
        let found = PackageDigest::of(&bytes);
        if !expected.eq_ignore_ascii_case(&found.to_string()) {
            return Err(DeployError::Source(SourceError::Digest { expected, found }));
        }
    }
    Ok((source, bytes))
}

// === impl Inner ===

impl Inner {
    async fn deploy(
        self: &Arc<Self>,
        source: String,
        bytes: Bytes,
        replaces: bool,
        progress: &Progress,
    ) -> Result<Deployed, DeployError> {
        let prepared = self.prepare(source, bytes, replaces, progress).await?;
        progress.begin(DeployStep::Publish);
        let (inner, Prepared { entry, bytes, graph, schema, notes, is_new }) = (self.clone(), prepared);
        // Before the flip, so that the first call of the new plan finds its schema.
        self.parts.schemas.insert_release(&entry.label(), schema);
        let installing = tokio::task::spawn_blocking(move || {
            let installed = inner.books.lock().install(&inner.store, entry.clone(), &bytes, &graph);
            match installed {
                Ok(installed) => {
                    make_current(&inner.parts, &entry);
                    inner.show();
                    Ok((entry, installed))
                }
                Err(error) => {
                    if is_new {
                        inner.unload(std::slice::from_ref(&entry));
                    }
                    Err(error)
                }
            }
        });
        let (entry, installed) = installing.await.map_err(|_| DeployError::Lost)??;
        self.clone().sweep_after(installed.receipt.as_ref().and_then(|receipt| receipt.id));
        let took_ms = progress.elapsed_ms();
        tracing::info!(
            id = entry.id, digest = %entry.digest, graph = %entry.graph, version = %entry.version,
            published = installed.receipt.is_some(), took_ms, "deployed"
        );
        Ok(Deployed { status: self.status(&entry), receipt: installed.receipt, notes, took_ms })
    }

    /// Everything that can fail without a trace.
    async fn prepare(
        &self,
        source: String,
        bytes: Bytes,
        replaces: bool,
        progress: &Progress,
    ) -> Result<Prepared, DeployError> {
        progress.begin(DeployStep::Check);
        let (archive, limits) = (bytes.clone(), self.settings.limits);
        let reading = tokio::task::spawn_blocking(move || {
            let package = Package::read(archive, &limits).map_err(DeployError::Package)?;
            let schema = Schema::parse(package.descriptor_bytes().clone()).map_err(DeployError::Schema)?;
            Ok::<_, DeployError>((package, schema))
        });
        let (package, schema) = reading.await.map_err(|_| DeployError::Lost)??;
        let route = package.route().parse().map_err(DeployError::Route)?;
        let id = package.service_id();
        if self.shown.load().current(id).is_some() && !replaces {
            return Err(DeployError::AlreadyDeployed { id: id.to_owned() });
        }
        let known = self.parts.services.exact(id, package.digest());
        let is_new = known.is_none();
        let recipe = guest::Recipe::of(&package);
        let module = recipe.code();
        if is_new {
            progress.begin(if recipe.is_primed() { DeployStep::Prime } else { DeployStep::Compile });
            let guest: Guest = recipe.load(&self.parts.engine, &module).await.map_err(DeployError::Guest)?;
            self.parts.services.insert(guest::service(&package, schema.clone(), guest));
        }
        progress.begin(DeployStep::Plan);
        let graph = graph::source(&package, &route);
        let planned = self.plan(&package, &graph);
        if planned.is_err() && is_new {
            self.parts.services.remove(id, package.digest());
        }
        let (version, hash) = planned?;
        let entry = Entry {
            id: id.to_owned(),
            digest: PackageDigest::of(&bytes),
            module,
            graph: route,
            version,
            hash,
            source,
            deployed_at_ms: unix_ms(),
            methods: package.methods().iter().map(|method| method.name.clone()).collect(),
        };
        Ok(Prepared { entry, bytes, graph, schema, notes: package.notes().to_vec(), is_new })
    }

    /// The release that the graph will be.
    fn plan(
        &self,
        package: &Package,
        graph: &GraphSource,
    ) -> Result<(exec_plan::Version, exec_plan::ContentHash), DeployError> {
        let plan = self.store.check(graph).map_err(|errors| DeployError::Graph(Box::new(errors)))?;
        let ledger = self.shown.load();
        let same = ledger.currents().into_iter().find(|entry| {
            entry.id != package.service_id()
                && entry.graph == *plan.name()
                && entry.version == *plan.version()
        });
        match same {
            Some(other) => Err(DeployError::SameVersion {
                id: package.service_id().to_owned(),
                route: package.route().to_owned(),
                version: other.version.to_string(),
                other: other.id.clone(),
            }),
            None => Ok((plan.version().clone(), plan.hash())),
        }
    }

    fn retire(self: &Arc<Self>, id: &str) -> Result<Option<SwapReceipt>, UndeployError> {
        let mut books = self.books.lock();
        // Somebody else may have undeployed it while this one waited for its turn.
        if books.ledger().current(id).is_none() {
            return Err(UndeployError::NotFound);
        }
        let retired = books.retire(&self.store, id)?;
        drop(books);
        self.show();
        self.unload(&retired.entries);
        if let Some(entry) = retired.entries.last() {
            match &retired.successor {
                Some(successor) => make_current(&self.parts, successor),
                None => self.parts.schemas.remove_service(entry.graph.as_str()),
            }
        }
        let to = retired.receipt.as_ref().and_then(|receipt| receipt.to.as_ref()).map(ToString::to_string);
        tracing::info!(id, to, "undeployed");
        Ok(retired.receipt)
    }

    /// Forgets what was replaced, once nothing runs on it any more.
    fn sweep_after(self: Arc<Self>, swap: Option<u64>) {
        tokio::spawn(async move {
            if let Some(swap) = swap {
                self.store.drained(swap).await;
            }
            // Not while a deploy counts on what is loaded.
            let turn = self.line.turn().await;
            let sweeping = tokio::task::spawn_blocking(move || {
                let gone = self.books.lock().sweep(&self.store);
                self.show();
                self.unload(&gone);
                self.clear_code();
                drop(turn);
            });
            if let Err(error) = sweeping.await {
                tracing::warn!(%error, "what was replaced could not be cleared away yet");
            }
        });
    }

    /// Calls in flight keep what they began with.
    fn unload(&self, gone: &[Entry]) {
        for entry in gone {
            self.parts.services.remove(&entry.id, &entry.digest.to_string());
            self.parts.schemas.remove_release(&entry.label());
        }
    }

    /// Removes compiled code that no package needs.
    fn clear_code(&self) {
        let ledger = self.shown.load();
        let modules: Vec<[u8; 32]> = ledger.entries.iter().map(|entry| *entry.module.as_bytes()).collect();
        if let Err(error) = self.parts.engine.keep_compiled(&modules) {
            tracing::warn!(%error, "compiled code that nobody needs could not be removed");
        }
    }

    fn show(&self) {
        let books = self.books.lock();
        self.shown.store(Arc::new(books.ledger().clone()));
    }

    fn status(&self, entry: &Entry) -> PackageStatus {
        let graph = self.store.get(&entry.graph);
        PackageStatus {
            id: entry.id.clone(),
            source: entry.source.clone(),
            deployed_at_ms: entry.deployed_at_ms,
            digest: entry.digest,
            graph: entry.graph.to_string(),
            version: entry.version.to_string(),
            standing: Standing::of(entry, graph.as_ref()),
            reason: graph.iter().flat_map(|graph| &graph.versions).find_map(|held| {
                let is_it = held.version == entry.version && held.hash == entry.hash;
                held.unusable.as_ref().filter(|_| is_it).map(ToString::to_string)
            }),
            endpoints: entry.endpoints(),
        }
    }
}

fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
