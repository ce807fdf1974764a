//! The example `proving` as a process: a host with kernels that misbehave.

use std::io::{BufRead as _, BufReader, Lines, Write as _};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::Context as _;
use serde_json::Value;

use crate::process::Process;
use crate::server::example;

/// The running example, killed when dropped.
#[derive(Debug)]
pub struct Proving {
    process: Child,
    asked: Option<ChildStdin>,
    said: Lines<BufReader<ChildStdout>>,
    address: SocketAddr,
}

// === impl Proving ===

impl Proving {
    /// Starts it over a transport.
    ///
    /// # Errors
    /// If it is not built, or does not serve.
    pub fn start(transport: &str) -> anyhow::Result<Self> {
        let mut process = Command::new(example("proving"))
            .arg(transport)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("the example is built before the tests: `cargo build --workspace --examples`")?;
        let asked = process.stdin.take();
        let mut said = BufReader::new(process.stdout.take().context("stdout is piped")?).lines();
        let line = said.next().context("it ended at once")??;
        let address = line.strip_prefix("listening on ").context("no address")?.parse()?;
        Ok(Self { process, asked, said, address })
    }

    /// Where it serves.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What the system says of it.
    pub fn process(&self) -> Process {
        Process(self.process.id())
    }

    /// Its own figures.
    ///
    /// # Errors
    /// If it is gone.
    pub fn figures(&mut self) -> anyhow::Result<Value> {
        self.asked.as_mut().context("it was asked to end")?.write_all(b"figures\n")?;
        self.line()
    }

    /// Lets it drain, and tells what it said and how it ended.
    ///
    /// # Errors
    /// If it says nothing.
    pub fn end(mut self) -> anyhow::Result<(Value, Option<i32>)> {
        drop(self.asked.take());
        let report = self.line()?;
        Ok((report, self.process.wait()?.code()))
    }

    fn line(&mut self) -> anyhow::Result<Value> {
        Ok(serde_json::from_str(&self.said.next().context("it has ended")??)?)
    }
}

impl Drop for Proving {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
