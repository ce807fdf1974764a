//! A process that may open no more files: accepting pauses, costs nothing, and goes on afterwards.
//!
//! The server must run in a process of its own, under a limit of its own: the test starts itself again.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::Duration;

use serve_host::{Cut, TransportLimits};

use super::server;
use crate::client::{Client, Raw};

/// Says that this process is the one that serves.
const SERVES: &str = "OKRA_TEST_SERVES_WITHOUT_FILES";

#[tokio::test]
async fn without_files_accepting_pauses_and_resumes() {
    if std::env::var_os(SERVES).is_some() {
        return serve_without_files();
    }
    let test = std::env::current_exe().unwrap();
    let mut child = Command::new("sh")
        .args(["-c", "ulimit -n 64; exec \"$0\" --exact \"$1\" --nocapture"])
        .arg(test)
        .arg(
            concat!(module_path!(), "::without_files_accepting_pauses_and_resumes")
                .split_once("::")
                .unwrap()
                .1,
        )
        .env(SERVES, "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut steps = child.stdin.take().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut said =
        |what: &str| lines.find_map(|line| Some(line.split_once(what)?.1.trim().to_owned())).unwrap();
    let address = said("address ").parse().unwrap();

    // The files are gone: whoever comes now is turned away, not left to wait for ever.
    for _ in 0..2 {
        let mut peers = Vec::new();
        for _ in 0..100 {
            peers.push(Raw::connect(address).await);
        }
        for peer in &mut peers {
            peer.until_closed(Duration::from_secs(10)).await;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    steps.write_all(b"next\n").unwrap();
    assert_eq!(said("turned away "), "200");
    let spent: u64 = said("spent ").parse().unwrap();
    assert!(spent < 100, "{spent} ms of more than two seconds");

    // The files are back, and so is the service.
    let served = tokio::time::timeout(Duration::from_secs(10), async {
        loop {
            // A pause may be under way still.
            if let Ok(reply) = Client::connect(address).await.try_call("Echo", "hi").await {
                return reply;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    assert_eq!(served.await.unwrap().payload(), b"hi");
    drop(steps);
    assert!(child.wait().unwrap().success());
}

/// The serving process: takes all files, counts what that costs, gives them back.
#[expect(clippy::print_stdout, reason = "this is how it talks to the test")]
fn serve_without_files() {
    let (server, _) = server(TransportLimits::default());
    let next = || std::io::stdin().lines().next();
    let before = cpu_ms();
    let files: Vec<File> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
    println!("address {}", server.local_addr());
    assert!(next().is_some());
    println!("turned away {}", server.stats().cut(Cut::NoFiles));
    drop(files);
    println!("spent {}", cpu_ms() - before);
    assert!(next().is_none());
}

/// The processor time of this process so far.
fn cpu_ms() -> u64 {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let spent = tasks.map(|task| std::fs::read_to_string(task.unwrap().path().join("schedstat")).unwrap());
    spent.map(|text| text.split(' ').next().unwrap().parse::<u64>().unwrap() / 1_000_000).sum()
}
