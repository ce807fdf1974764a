//! The host as a library: the example `embedding` serves a graph with a kernel of its own.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use anyhow::Context as _;
use tests::rpc::{Call, Client, Code};
use tests::server::example;

#[tokio::test]
async fn the_seeds_example_answers_once_its_kernel_is_registered() -> anyhow::Result<()> {
    let embedding = Embedding::start("host")?;
    it_answers(embedding.address).await
}

#[tokio::test]
async fn the_same_host_lives_in_somebody_elses_tonic_server() -> anyhow::Result<()> {
    let embedding = Embedding::start("tonic")?;
    it_answers(embedding.address).await?;
    let reply = Client::connect(embedding.address).await?.call(Call::new("/own.Status/Get", "")).await?;
    assert_eq!(
        (reply.code, reply.message.as_str()),
        (Code::AlreadyExists, "all is well"),
        "its own service is gone"
    );
    Ok(())
}

async fn it_answers(address: SocketAddr) -> anyhow::Result<()> {
    let client = Client::connect(address).await?;
    assert_eq!(client.call(Call::new("/text.Text/Upper", "abc")).await?.text()?, "ABC");
    let greet = Call::new("/text.Text/Greet", "Ada");
    assert_eq!(client.call(greet.clone()).await?.text()?, "Hello, Ada!");
    assert_eq!(client.call(greet.metadata("language", "fr")).await?.text()?, "Bonjour, Ada!");
    assert_eq!(client.call(Call::new("/text.Text/Upper", vec![0xff])).await?.code, Code::InvalidArgument);
    assert_eq!(client.call(Call::new("/text.Text/Lower", "ABC")).await?.code, Code::Unimplemented);

    let named = Call::new("/text.Text/Upper", "abc").metadata("okra-plan", "");
    let reply = client.call(named).await?;
    let plan = reply.trailers.get("okra-plan").context("no okra-plan, though it was asked for")?.to_str()?;
    assert!(plan.starts_with("seed_example@0.0.0#"), "{plan}");
    Ok(())
}

/// The example as a process, killed when dropped.
struct Embedding {
    process: Child,
    address: SocketAddr,
}

impl Embedding {
    fn start(mode: &str) -> anyhow::Result<Self> {
        let mut process = Command::new(example("embedding"))
            .arg(mode)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("the example is built before the tests: `cargo build --workspace --examples`")?;
        let stdout = BufReader::new(process.stdout.take().context("stdout is piped")?);
        let lines: Vec<_> = stdout.lines().take(2).collect::<Result<_, _>>()?;
        assert_eq!(lines[0], "serving seed_example 0.0.0", "a name is the file's stem, a version 0.0.0");
        let address = lines[1].strip_prefix("listening on ").context("no address")?.parse()?;
        Ok(Self { process, address })
    }
}

impl Drop for Embedding {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
