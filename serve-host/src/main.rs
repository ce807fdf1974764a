//! The `okra` command. `okra serve` is told here from its beginning to its end; [`cli`] tells the rest.

mod cli;
mod code_dir;
mod signals;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use exec_plan::{GraphName, OpenError, PlanStore, Recovery};
use kernels::Services;
use kernels_wasm::{Engine, EngineOptions};
use serde_json::json;
use serve_host::admin::{AdminServer, AdminToken, ControlPlane, Readiness, StatsSource};
use serve_host::config::Config;
use serve_host::deploy::{DeployParts, LoadedPackages, ShelfError};
use serve_host::discovery::{DISCOVERY_PATHS, Discovery, DiscoverySources, described_services};
use serve_host::logs::{self, SinkGuard};
use serve_host::metrics::{Metrics, MetricsSources};
use serve_host::schemas::Schemas;
use serve_host::watch::{FileReport, GraphFolder, watch};
use serve_host::{DrainReport, Fallback, Gateway, GrpcService, ServeHost, Server, ServerConfig};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::cli::exit::{Exit, Failure};
use crate::cli::output::Output;
use crate::cli::{Cli, Command, Global, ServeArgs, graph};
use crate::code_dir::CodeDir;
use crate::signals::Signals;

/// Instances of guests that live at a time, of all packages together.
const MAX_INSTANCES: u32 = 256;

/// How long the control plane may take to finish its last answers.
const LAST_ANSWERS: Duration = Duration::from_secs(2);

fn main() {
    let cli = Cli::try_parse().unwrap_or_else(|error| cli::explain_usage(&error));
    let output = cli.global.output();
    let ended = match cli.command {
        Command::Serve(args) => serve(&args, &cli.global, &output),
        Command::Tool(command) => cli::run(command, &cli.global),
    };
    let exit = ended.unwrap_or_else(|failure| {
        output.failure(&failure);
        failure.exit
    });
    // Leaves without waiting for threads: after a drain that ran out of time one may be stuck.
    std::process::exit(i32::from(exit.code()));
}

/// Serves until a signal, or only looks whether it could.
fn serve(args: &ServeArgs, global: &Global, output: &Output) -> Result<Exit, Failure> {
    let loaded = global.load(&args.settings)?;
    let config = &loaded.config;
    let token = token(config)?;
    if args.check {
        return graph::check(config.graphs.graphs.as_slice(), output);
    }
    let log = logs::install(&config.log, output.has_color()).map_err(|error| failed("cannot log", &error))?;
    loaded.notes.iter().for_each(|note| tracing::warn!("{note}"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| failed("cannot start a runtime", &error))?;
    let code = CodeDir::of(config.graphs.data_dir.as_deref());
    let code = code.map_err(|error| failed("cannot make a folder for compiled code", &error))?;
    let exit = runtime.block_on(async {
        let mut signals = Signals::listen().map_err(|error| failed("cannot listen for signals", &error))?;
        let packages = load_packages(config, &code).await?;
        let store = open_store(config, packages.services())?;
        let running = Running::start(config, store, packages, token, &log, output).await?;
        signals.next().await;
        tokio::select! {
            exit = running.end(config) => Ok(exit),
            () = signals.next() => {
                tracing::warn!("a second signal: leaving at once");
                Ok(Exit::Interrupted)
            }
        }
    });
    runtime.shutdown_background();
    code.remove();
    exit
}

/// Everything that runs while calls are served.
struct Running {
    host: ServeHost,
    server: Arc<Server>,
    readiness: Readiness,
    /// Ends what goes on for as long as its client likes: watches of health.
    leave: CancellationToken,
    /// Ends the control plane and the watching of files.
    stop: CancellationToken,
    admin: JoinHandle<()>,
}

impl Running {
    /// Publishes the graphs, opens both ports and says where they are.
    async fn start(
        config: &Config,
        store: Arc<PlanStore>,
        packages: LoadedPackages,
        token: Option<AdminToken>,
        log: &SinkGuard,
        output: &Output,
    ) -> Result<Self, Failure> {
        let schemas = packages.schemas().clone();
        let (deployer, findings) = packages.start(store.clone());
        findings.iter().for_each(|finding| tracing::warn!("{finding}"));
        let folder = publish_folder(config, &store)?;
        choose_default(config, &store)?;
        if store.list().iter().all(|graph| graph.serving.is_none()) {
            tracing::warn!("no graph serves; publish one over the control plane, or name some with --graphs");
        }
        let host = ServeHost::new(store.clone(), config.host())
            .map_err(|error| failed("cannot start the request pool", &error))?;
        let grpc = GrpcService::new(Arc::new(host.clone()), config.transport());
        let gateway = Gateway::new(host.clone(), grpc.clone(), schemas.clone(), config.cors());
        let (readiness, leave) = (Readiness::default(), CancellationToken::new());
        let discovery = Discovery::new(
            DiscoverySources {
                store: store.clone(),
                described: described_services(store.clone(), schemas),
                readiness: readiness.clone(),
                stop: leave.clone(),
            },
            gateway,
        );
        let fallback = Fallback::new(discovery).claiming(DISCOVERY_PATHS);
        let service = ServerConfig { fallback: Some(fallback), ..config.server() };
        let server = Server::bind(service, grpc).map_err(|error| not_bound("service", &error))?;
        let server = Arc::new(server);
        let admin = AdminServer::bind(config.admin_address()).await;
        let admin = admin.map_err(|error| not_bound("admin", &error))?;
        let admin_address = admin.address();

        let stats: StatsSource = Arc::new({
            let host = host.clone();
            move || host.stats()
        });
        let metrics = Metrics::new(MetricsSources {
            stats: stats.clone(),
            store: store.clone(),
            readiness: readiness.clone(),
            config,
            dropped_log_lines: log.dropped(),
        });
        let metrics = Arc::new(metrics.with_server(server.clone()).with_host(host.clone()).with_process());
        let limits = config.admin.clone();
        let plane = ControlPlane {
            store,
            deployer,
            stats,
            metrics,
            readiness: readiness.clone(),
            token,
            limits: limits.clone(),
        };
        let stop = CancellationToken::new();
        let admin = tokio::spawn(admin.serve(plane.into_router(), limits, stop.clone()));
        if let Some(folder) = folder.filter(|_| config.graphs.watch) {
            tokio::spawn(watch(folder, stop.clone()));
        }
        // From here on the process ends by leaving: a kernel that is stuck would hold whoever drops the
        // pool it runs on.
        std::mem::forget((host.clone(), server.clone()));
        readiness.serving();
        announce(server.local_addr(), admin_address, output);
        Ok(Self { host, server, readiness, leave, stop, admin })
    }

    /// Not ready, then nothing new, then what is in flight to its end, and never later than was said.
    async fn end(self, config: &Config) -> Exit {
        let (lame_duck, grace) = (config.drain.lame_duck, config.drain.grace);
        let ms = |duration: Duration| duration.as_secs_f64() * 1e3;
        tracing::info!(lame_duck_ms = ms(lame_duck), grace_ms = ms(grace), "draining");
        self.readiness.draining();
        sleep(lame_duck).await;
        self.leave.cancel();
        let report = self.server.drain(grace).await;
        self.host.close();
        self.stop.cancel();
        let _ = timeout(LAST_ANSWERS, self.admin).await;
        let stats = self.host.stats();
        let DrainReport { finished, forced, forced_calls, stuck_threads } = report;
        let (completed, failed) = (stats.completed, stats.failed);
        tracing::info!(finished, forced, forced_calls, stuck_threads, completed, failed, "drained");
        if forced_calls == 0 && stuck_threads == 0 { Exit::Ok } else { Exit::DrainTimedOut }
    }
}

/// The token of the control plane, if one is set.
fn token(config: &Config) -> Result<Option<AdminToken>, Failure> {
    let token = config.admin.token_file.as_deref().map(AdminToken::read).transpose();
    token.map_err(|error| {
        let failure = Failure::new(Exit::Usage, format!("admin.token_file: {}", with_causes(&error)));
        failure.with_help("write one with `openssl rand -hex 32 > FILE`")
    })
}

/// Loads what was deployed before, and says what was found: graphs that run a package need it there.
async fn load_packages(config: &Config, code: &CodeDir) -> Result<LoadedPackages, Failure> {
    let slots = config.host().pool_threads.0.get().saturating_sub(1);
    let engine = Engine::new(EngineOptions {
        overrun_slots: slots,
        max_instances: MAX_INSTANCES,
        cache: Some(code.path().to_owned()),
        compiler: Some(cli::compile_guest::command()),
    });
    let engine = engine.map_err(|error| failed("cannot run packages", &error))?;
    let parts = DeployParts { services: Services::new(), schemas: schemas(config)?, engine };
    let data_dir = config.graphs.data_dir.as_deref();
    let packages = LoadedPackages::load(config.deploy(), parts, data_dir).await.map_err(|error| {
        let in_use = matches!(error, ShelfError::InUse { .. });
        let exit = if in_use { Exit::Conflict } else { Exit::Failure };
        Failure::new(exit, format!("cannot open the packages: {}", with_causes(&error)))
            .with_help("set data_dir to a directory of this host alone, which it may write")
    })?;
    packages.findings().iter().for_each(|finding| tracing::warn!("{finding}"));
    Ok(packages)
}

/// Opens the store, and says what was found in its directory.
fn open_store(config: &Config, services: &Services) -> Result<Arc<PlanStore>, Failure> {
    let kernels = kernels::builtin_with(services);
    let opened = PlanStore::open(config.store(kernels, kernels::serve_env()));
    let (store, recovery) = opened.map_err(|error| {
        let in_use = matches!(error, OpenError::InUse { .. });
        let exit = if in_use { Exit::Conflict } else { Exit::Failure };
        Failure::new(exit, format!("cannot open the graphs: {}", with_causes(&error)))
            .with_help("set data_dir to a directory of this host alone, which it may write")
    })?;
    let Recovery { serving, versions, findings } = recovery;
    for finding in &findings {
        tracing::warn!("{finding}");
    }
    if versions > 0 {
        tracing::info!(serving, versions, "graphs of the data directory");
    }
    Ok(Arc::new(store))
}

/// What is known of the services that plain graphs serve.
fn schemas(config: &Config) -> Result<Schemas, Failure> {
    let schemas = Schemas::default();
    schemas.read_files(config.descriptors()).map_err(|error| {
        Failure::new(Exit::Usage, format!("services.descriptors: {}", with_causes(&error)))
            .with_help("write one with `protoc --include_imports -o FILE` or `buf build -o FILE`")
    })?;
    Ok(schemas)
}

/// Publishes the documents of the watched folder; a broken one does not stop the rest.
fn publish_folder(config: &Config, store: &Arc<PlanStore>) -> Result<Option<GraphFolder>, Failure> {
    let Some(path) = config.graphs.graphs.as_deref() else { return Ok(None) };
    std::fs::metadata(path).map_err(|error| {
        Failure::new(Exit::NotFound, format!("graphs: cannot read {}: {error}", path.display()))
            .with_help("name a graph document, or a directory of them")
    })?;
    let mut folder = GraphFolder::new(path, store.clone(), config.admin.max_document.len());
    if config.graphs.default_graph.is_none() {
        folder = folder.with_single_as_default();
    }
    folder.look().iter().for_each(FileReport::log);
    Ok(Some(folder))
}

/// Tells the store which graph answers the calls that name none.
fn choose_default(config: &Config, store: &PlanStore) -> Result<(), Failure> {
    let Some(graph) = &config.graphs.default_graph else { return Ok(()) };
    warn_if_absent(graph, store);
    store.set_default(graph, config.graphs.default_graph_version.as_ref()).map_err(|error| {
        Failure::new(Exit::Usage, format!("default_graph: {}", with_causes(&error)))
            .with_help("name a graph with an rpc_server_output")
    })
}

fn warn_if_absent(graph: &GraphName, store: &PlanStore) {
    if store.get(graph).is_none_or(|status| status.serving.is_none()) {
        tracing::warn!(%graph, "the default graph does not serve yet");
    }
}

/// Says where both ports are, as one line of text or one JSON document.
fn announce(service: SocketAddr, admin: SocketAddr, output: &Output) {
    tracing::info!(%service, %admin, "serving");
    let document = json!({ "service": service, "admin": admin, "pid": std::process::id() });
    output.result(&document, || format!("okra: serving on http://{service}, admin on http://{admin}"));
}

fn not_bound(port: &str, error: &dyn std::error::Error) -> Failure {
    Failure::new(Exit::Failure, format!("cannot bind the {port} port: {}", with_causes(error)))
        .with_help(format!("choose another with --{port}-port, or 0 for any that is free"))
}

fn failed(what: &str, error: &dyn std::error::Error) -> Failure {
    Failure::new(Exit::Failure, format!("{what}: {}", with_causes(error)))
}

/// An error and what caused it, from the outside in.
fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
