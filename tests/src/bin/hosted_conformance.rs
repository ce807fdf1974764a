//! The server under test in the runner of the Connect conformance suite: `okra serve`, with the suite's
//! service deployed as a package.
//!
//! `hosted_conformance PACKAGE TRANSPORT`. The runner says on standard input, once, what it wants, and is
//! told on standard output where to find it. SIGTERM ends it.

use std::io::{Read, Write};

use anyhow::{Context as _, ensure};
use prost::Message;
use tests::server::{Serve, okra};
use tokio::signal::unix::{SignalKind, signal};

/// What the runner wants: of its message, what is not the same for all servers of this kind.
#[derive(Clone, PartialEq, Message)]
struct Wanted {
    /// The largest message to be taken, in bytes; 0 for any.
    #[prost(uint32, tag = "6")]
    message_receive_limit: u32,
}

/// Where the server is.
#[derive(Clone, PartialEq, Message)]
struct Found {
    #[prost(string, tag = "1")]
    host: String,
    #[prost(uint32, tag = "2")]
    port: u32,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let package = arguments.next().context("name the package")?;
    let transport = arguments.next().context("name the transport")?;
    let mut stop = signal(SignalKind::terminate())?;
    let wanted = read()?;
    // The runner is one client with many connections.
    let mut serve = Serve::empty().flag("--transport", transport).flag("--connections-max-per-ip", 4096);
    if wanted.message_receive_limit > 0 {
        serve = serve.flag("--messages-max-receive", format!("{}B", wanted.message_receive_limit));
    }
    let server = serve.start().await?;
    let admin = server.admin().address().to_string();
    let deployed = okra(&["deploy", &package, "--admin", &admin])?;
    ensure!(deployed.status.success(), "{}", deployed.stderr);
    let address = server.service();
    write(&Found { host: address.ip().to_string(), port: address.port().into() })?;
    stop.recv().await;
    server.stop().await?;
    Ok(())
}

fn read() -> anyhow::Result<Wanted> {
    let mut length = [0; 4];
    std::io::stdin().read_exact(&mut length)?;
    let mut message = Vec::new();
    std::io::stdin().take(u32::from_be_bytes(length).into()).read_to_end(&mut message)?;
    Ok(Wanted::decode(&*message)?)
}

fn write(found: &Found) -> anyhow::Result<()> {
    let message = found.encode_to_vec();
    let mut output = std::io::stdout();
    output.write_all(&u32::try_from(message.len())?.to_be_bytes())?;
    output.write_all(&message)?;
    Ok(output.flush()?)
}
