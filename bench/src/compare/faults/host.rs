//! An origin in a process of its own, to be slowed, stopped, killed and started again.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use parking_lot::Mutex;
use rustix::process::Signal;
use seawall_testkit::{Process, free_port};
use tempfile::TempDir;

use crate::origin::Stats;

/// How long an origin may take to listen.
const PATIENCE: Duration = Duration::from_secs(10);

/// One origin process; ended when dropped.
#[derive(Debug)]
pub(super) struct Host {
    address: SocketAddr,
    service: Duration,
    process: Mutex<Option<Process>>,
    directory: TempDir,
}

impl Host {
    /// Never full: what it does to calls is a matter of its service time alone.
    pub(super) fn start(service: Duration) -> anyhow::Result<Self> {
        let host = Self {
            address: SocketAddr::from(([127, 0, 0, 1], free_port()?)),
            service,
            process: Mutex::new(None),
            directory: TempDir::with_prefix("seawall-origin-")?,
        };
        host.restart()?;
        Ok(host)
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Starts the process, at the address that it has always had; returns once it listens.
    pub(super) fn restart(&self) -> anyhow::Result<()> {
        let mut command = Command::new(std::env::current_exe()?);
        let service = self.service.as_secs_f64() * 1_000.0;
        command
            .args(["origin", "--slots", "100000"])
            .args(["--listen", &self.address.to_string()])
            .args(["--service-ms", &service.to_string()]);
        let log = self.directory.path().join("log");
        let process = Process::start(command, &log, "it is this command")?;
        let end = Instant::now() + PATIENCE;
        while TcpStream::connect(self.address).is_err() {
            if process.has_ended() || Instant::now() > end {
                bail!("an origin does not listen: {}", process.log());
            }
            sleep(Duration::from_millis(1));
        }
        *self.process.lock() = Some(process);
        Ok(())
    }

    pub(super) fn kill(&self) -> anyhow::Result<()> {
        self.signal(Signal::KILL)?;
        // Waited for here, outside of what the next start is timed by.
        *self.process.lock() = None;
        Ok(())
    }

    /// Holds it: its connections stay open and say nothing.
    pub(super) fn stop(&self) -> anyhow::Result<()> {
        self.signal(Signal::STOP)
    }

    pub(super) fn resume(&self) -> anyhow::Result<()> {
        self.signal(Signal::CONT)
    }

    fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let process = self.process.lock();
        let process = process.as_ref().context("the origin does not run")?;
        Ok(process.signal(signal)?)
    }

    /// Other service times or answers: `service_ms=2000`, `status=500`.
    pub(super) fn steer(&self, query: &str) -> anyhow::Result<()> {
        let path = format!("/_origin/capacity?{query}");
        ask(self.address, "POST", &path)?;
        Ok(())
    }

    /// Calls that have come in since it was started.
    pub(super) fn arrived(&self) -> anyhow::Result<u64> {
        let stats = ask(self.address, "GET", "/_origin/stats")?;
        let stats: Stats = serde_json::from_str(&stats)?;
        Ok(stats.arrived)
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // A stopped process would not end before it is killed.
        let _ = self.resume();
    }
}

/// The body of an answer; the connection is closed after it.
pub(super) fn ask(address: SocketAddr, method: &str, path: &str) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let request =
        format!("{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .with_context(|| format!("{address}{path}: half an answer"))?;
    if !head.starts_with("HTTP/1.1 200") {
        bail!("{address}{path}: {}", head.lines().next().unwrap_or(""));
    }
    Ok(body.to_owned())
}
