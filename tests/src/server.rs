//! `okra serve` as a process: started on free ports with a data directory of its own, stopped by its id.

use std::ffi::OsString;
use std::fmt::Display;
use std::io::{BufRead as _, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use parking_lot::Mutex;
use tempfile::TempDir;

use crate::admin::Admin;
use crate::rpc::{Client, Clients};
use crate::{SOON, eventually};

/// Who speaks HTTP/2 in a server. Where a test says nothing it is the server's default, or what
/// `OKRA_SERVICE_TRANSPORT` says: `tests/run` runs all of them with either.
#[derive(Clone, Copy, Debug)]
pub enum Transport {
    /// Its own core.
    Native,
    /// hyper.
    Tonic,
}

/// A server to be started.
#[derive(Debug)]
pub struct Serve {
    arguments: Vec<OsString>,
    data: Option<PathBuf>,
    port: u16,
    wrapper: Vec<OsString>,
    /// What says that it has started.
    probe: &'static str,
}

/// A running server. Dropping it kills it.
#[derive(Debug)]
pub struct Okra {
    process: Child,
    service: SocketAddr,
    admin: Admin,
    log: Log,
    _data: Option<TempDir>,
}

/// The lines a process wrote.
#[derive(Clone, Debug, Default)]
pub struct Log(Arc<Mutex<Vec<String>>>);

/// What one run of the binary to its end gave.
#[derive(Debug)]
pub struct Finished {
    /// How it ended.
    pub status: ExitStatus,
    /// What it wrote to stdout.
    pub stdout: String,
    /// What it wrote to stderr.
    pub stderr: String,
}

/// The binary under test: `OKRA_BIN`, or the one built beside the tests.
pub fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("OKRA_BIN") {
        return path.into();
    }
    let tests = std::env::current_exe().expect("a running program has a path");
    let profile = tests.ancestors().nth(2).expect("tests lie in target/PROFILE/deps");
    // A program of the workspace itself lies one level higher than a test.
    [profile.join("okra"), tests.with_file_name("okra")]
        .into_iter()
        .find(|path| path.is_file())
        .expect("the okra binary is built before the tests: `cargo build --workspace --bins`")
}

/// An example of the workspace, built beside the tests.
pub fn example(name: &str) -> PathBuf {
    let tests = std::env::current_exe().expect("a running program has a path");
    tests.ancestors().nth(2).expect("tests lie in target/PROFILE/deps").join("examples").join(name)
}

/// A program of this crate, built beside its tests.
pub fn program(name: &str) -> PathBuf {
    let tests = std::env::current_exe().expect("a running program has a path");
    tests.ancestors().nth(2).expect("tests lie in target/PROFILE/deps").join(name)
}

/// Runs the binary to its end.
///
/// # Errors
/// If it cannot be started.
pub fn okra(arguments: &[&str]) -> anyhow::Result<Finished> {
    let mut command = Command::new(binary());
    for name in names_for_tests() {
        command.env_remove(name);
    }
    let output = command.args(arguments).stdin(Stdio::null()).output()?;
    Ok(Finished {
        status: output.status,
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

/// The variables that steer the tests: no settings of the server, but for the one that is meant for it.
fn names_for_tests() -> impl Iterator<Item = OsString> {
    let is_for_tests = |name: &str| name.starts_with("OKRA_") && name != TRANSPORT;
    std::env::vars_os().map(|(name, _)| name).filter(move |name| is_for_tests(&name.to_string_lossy()))
}

// === impl Serve ===

impl Serve {
    /// A server of the graph at `path`, or of all graphs in that directory.
    pub fn graphs(path: impl AsRef<Path>) -> Self {
        Self { probe: "/readyz", ..Self::empty().flag("--graphs", path.as_ref().display()) }
    }

    /// A server without graphs, but for those in its data directory. It has started once it is alive; it is
    /// ready only when something serves.
    pub fn empty() -> Self {
        Self { arguments: Vec::new(), data: None, port: 0, wrapper: Vec::new(), probe: "/healthz" }
    }

    /// Adds `--name value`.
    #[must_use]
    pub fn flag(mut self, name: &str, value: impl Display) -> Self {
        self.arguments.extend([name.into(), value.to_string().into()]);
        self
    }

    /// Speaks HTTP/2 by this transport, whatever the others do.
    #[must_use]
    pub fn over(self, transport: Transport) -> Self {
        self.flag(
            "--transport",
            match transport {
                Transport::Native => "native",
                Transport::Tonic => "tonic",
            },
        )
    }

    /// Serves calls on this port, as one did before it.
    #[must_use]
    pub fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// Keeps its state in `path`, which outlives it.
    #[must_use]
    pub fn data_dir(mut self, path: &Path) -> Self {
        self.data = Some(path.to_owned());
        self
    }

    /// Runs it on one core alone.
    #[must_use]
    pub fn on_core(self, core: usize) -> Self {
        self.within(["taskset", "-c", &core.to_string()])
    }

    /// Lets another program start it: one that ends by becoming what its last arguments name, so that the
    /// process id stays.
    #[must_use]
    pub fn within<'a>(mut self, wrapper: impl IntoIterator<Item = &'a str>) -> Self {
        self.wrapper = wrapper.into_iter().map(OsString::from).collect();
        self
    }

    /// Starts it and waits until it is ready, or alive if it has no graphs.
    ///
    /// # Errors
    /// What it wrote, if it does not become ready.
    pub async fn start(self) -> anyhow::Result<Okra> {
        let own = if self.data.is_none() { Some(TempDir::new()?) } else { None };
        let data = self.data.as_deref().or(own.as_ref().map(TempDir::path)).expect("one of the two is set");
        let mut command = match self.wrapper.split_first() {
            None => Command::new(binary()),
            Some((program, arguments)) => {
                let mut wrapped = Command::new(program);
                wrapped.args(arguments).arg(binary());
                wrapped
            }
        };
        for name in names_for_tests() {
            command.env_remove(name);
        }
        let mut process = command
            .args(["serve", "--host", "127.0.0.1", "--admin-port", "0"])
            .args(["--service-port", &self.port.to_string()])
            .arg("--data-dir")
            .arg(data)
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", binary().display()))?;
        let log = Log::default();
        let (announce, announced) = mpsc::channel();
        log.collect(process.stdout.take().expect("stdout is piped"), Some(announce));
        log.collect(process.stderr.take().expect("stderr is piped"), None);
        let Ok((service, admin)) = announced.recv_timeout(SOON) else {
            let _ = process.kill();
            let status = process.wait()?;
            bail!("okra announced no port ({status}); it wrote:\n{log}");
        };
        let admin = Admin::new(admin);
        let okra = Okra { process, service, admin, log, _data: own };
        eventually(self.probe, async || {
            Ok(okra.admin.get(self.probe).await.ok().filter(|r| r.status == 200))
        })
        .await?;
        Ok(okra)
    }
}

// === impl Okra ===

impl Okra {
    /// Where it serves calls.
    pub fn service(&self) -> SocketAddr {
        self.service
    }

    /// Its control plane.
    pub fn admin(&self) -> &Admin {
        &self.admin
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// What it wrote so far.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// A connection to it.
    ///
    /// # Errors
    /// As for [`Client::connect`].
    pub async fn client(&self) -> anyhow::Result<Client> {
        Client::connect(self.service).await
    }

    /// Several connections to it.
    ///
    /// # Errors
    /// As for [`Client::connect`].
    pub async fn clients(&self, count: usize) -> anyhow::Result<Clients> {
        Clients::connect(self.service, count).await
    }

    /// Sends a signal, by its name.
    ///
    /// # Errors
    /// If the process is gone.
    pub fn signal(&self, name: &str) -> anyhow::Result<()> {
        let status = Command::new("kill").arg(format!("-{name}")).arg(self.id().to_string()).status()?;
        anyhow::ensure!(status.success(), "cannot send SIG{name} to {}", self.id());
        Ok(())
    }

    /// Waits for its end, at most `patience`.
    ///
    /// # Errors
    /// If it is still running then.
    pub async fn ended(&mut self, patience: Duration) -> anyhow::Result<ExitStatus> {
        let give_up = Instant::now() + patience;
        loop {
            if let Some(status) = self.process.try_wait()? {
                return Ok(status);
            }
            anyhow::ensure!(Instant::now() < give_up, "still running after {patience:?}:\n{}", self.log);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Asks it to stop, and waits for its end.
    ///
    /// # Errors
    /// If it does not end.
    pub async fn stop(mut self) -> anyhow::Result<ExitStatus> {
        self.signal("TERM")?;
        self.ended(SOON).await
    }

    /// Kills it as a power cut would.
    ///
    /// # Errors
    /// If it cannot be killed.
    pub async fn kill(mut self) -> anyhow::Result<()> {
        self.process.kill()?;
        self.ended(SOON).await?;
        Ok(())
    }
}

impl Drop for Okra {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        if std::thread::panicking() {
            eprintln_log(&self.log);
        }
    }
}

// === impl Log ===

impl Log {
    /// Whether some line contains `text`.
    pub fn contains(&self, text: &str) -> bool {
        self.0.lock().iter().any(|line| line.contains(text))
    }

    /// How many lines contain `text`.
    pub fn count(&self, text: &str) -> usize {
        self.0.lock().iter().filter(|line| line.contains(text)).count()
    }

    fn collect(
        &self,
        stream: impl Read + Send + 'static,
        announce: Option<mpsc::Sender<(SocketAddr, SocketAddr)>>,
    ) {
        let log = self.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                if let (Some(announce), Some(ports)) = (&announce, announcement(&line)) {
                    let _ = announce.send(ports);
                }
                log.0.lock().push(line);
            }
        });
    }
}

impl Display for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let lines = self.0.lock();
        lines
            .iter()
            .skip(lines.len().saturating_sub(SHOWN_LINES))
            .try_for_each(|line| writeln!(f, "  | {line}"))
    }
}

#[expect(clippy::print_stderr, reason = "a failing test shows what the server wrote")]
fn eprintln_log(log: &Log) {
    eprintln!("the server wrote:\n{log}");
}

/// Reads `okra: serving on http://127.0.0.1:PORT, admin on http://127.0.0.1:PORT`.
fn announcement(line: &str) -> Option<(SocketAddr, SocketAddr)> {
    let (service, admin) = line.strip_prefix("okra: serving on http://")?.split_once(", admin on http://")?;
    Some((service.parse().ok()?, admin.trim().parse().ok()?))
}

/// The variable that says who speaks HTTP/2 where a test does not.
const TRANSPORT: &str = "OKRA_SERVICE_TRANSPORT";

/// How many of a server's last lines a failing test shows.
const SHOWN_LINES: usize = 60;
