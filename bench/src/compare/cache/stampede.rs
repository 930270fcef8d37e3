//! One expired key, ten thousand callers in four processes, a load of a second.
//!
//! The processes are real, this program started four times, with a Redis between them that also
//! counts loads. Beside Seawall what most libraries have: one flight a process.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use redis::AsyncCommands as _;
use seawall_cache::redis::Redis;
use seawall_cache::{Cache, Json, Settings};

use super::{Case, Metric};
use crate::peers::Peer;

const FLIGHT: Peer = Peer::Library("a flight a process");
const PROCESSES: usize = 4;
const CALLERS: usize = 10_000;
const LOAD: Duration = Duration::from_secs(1);
const KEY: &str = "everyone's";
/// Where loads are counted.
const LOADS: &str = "loads";

pub(super) fn cases() -> Vec<Case> {
    let peers = [Peer::Seawall, FLIGHT];
    vec![Case::new(
        "stampede, 10,000 callers over 4 processes",
        &peers,
        |peer, _| run(peer),
    )]
}

/// Arguments of one of the processes, which only this program starts.
#[derive(Debug, clap::Args)]
pub struct WorkerArgs {
    /// The Redis that they share.
    redis: String,
    /// Callers in this process.
    callers: usize,
    /// With a flight, and without leases.
    #[arg(long)]
    flight: bool,
}

fn run(peer: Peer) -> anyhow::Result<Vec<Metric>> {
    let server = seawall_testkit::Redis::start()?;
    let url = server.url();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(expired(&url))?;
    let workers = (0..PROCESSES).map(|_| Worker::start(&url, peer == FLIGHT));
    let mut workers = workers.collect::<anyhow::Result<Vec<_>>>()?;
    for worker in &mut workers {
        worker.line()?;
    }
    for worker in &mut workers {
        worker.stdin.write_all(b"go\n")?;
    }
    let mut longest: f64 = 0.0;
    for worker in &mut workers {
        longest = longest.max(worker.line()?.trim().parse()?);
    }
    let loads = server.ask(&["GET", LOADS])?;
    let loads: f64 = loads.trim().parse().context("no load was counted")?;
    Ok(vec![
        Metric::new("loads", "", "1", loads),
        Metric::new("longest wait", "s", "<= 1.1", longest),
    ])
}

/// Leaves the key in Redis as an expired one.
async fn expired(url: &str) -> anyhow::Result<()> {
    let settings = Settings {
        ttl: Duration::from_millis(100),
        ..Settings::default()
    };
    let load = || async { Ok::<_, std::io::Error>(Some(0)) };
    cache(url, settings)?.get_or_load(&KEY, load).await?;
    tokio::time::sleep(Duration::from_millis(150)).await;
    Ok(())
}

fn cache(url: &str, settings: Settings) -> anyhow::Result<Cache<&'static str, u64>> {
    // Four processes on two cores are late, and that is no outage.
    let redis = Redis::single(url)?.timeout(Duration::from_secs(1));
    let builder = Cache::builder("stampede").settings(settings);
    Ok(builder.redis(redis, Json::default()).build())
}

/// One of the processes. It prints a line when it is ready, begins when it reads one, and prints how
/// long its last caller waited.
///
/// # Errors
/// Redis does not answer, or a caller failed.
pub fn worker(args: &WorkerArgs) -> anyhow::Result<()> {
    let runtime = super::two_threads()?;
    runtime.block_on(async {
        let client = redis::Client::open(args.redis.as_str())?;
        let counter = client.get_multiplexed_async_connection().await?;
        let load = move || {
            let mut counter = counter.clone();
            async move {
                let number: u64 = counter.incr(LOADS, 1).await?;
                tokio::time::sleep(LOAD).await;
                Ok::<_, redis::RedisError>(Some(number))
            }
        };
        let cache = cache(&args.redis, Settings::default())?;
        // Connected, its script known.
        let warm = || async { Ok::<_, std::io::Error>(Some(0)) };
        cache.get_or_load(&"another", warm).await?;
        let flight = seawall_sync::Flight::new();
        println(&"ready")?;
        std::io::stdin().read_line(&mut String::new())?;
        let mut callers = tokio::task::JoinSet::new();
        for _ in 0..args.callers {
            let (cache, flight, load) = (cache.clone(), flight.clone(), load.clone());
            let coalesced = args.flight;
            callers.spawn(async move {
                let began = Instant::now();
                if coalesced {
                    let loading = async move { load().await.is_ok() };
                    anyhow::ensure!(flight.run(KEY, loading).await?, "a load failed");
                } else {
                    cache.get_or_load(&KEY, load).await?;
                }
                Ok(began.elapsed().as_secs_f64())
            });
        }
        let waits = callers.join_all().await.into_iter();
        let waits = waits.collect::<anyhow::Result<Vec<_>>>()?;
        println(&waits.into_iter().fold(0.0, f64::max))
    })
}

fn println(line: &dyn std::fmt::Display) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}

struct Worker {
    child: Child,
    stdin: ChildStdin,
    lines: BufReader<std::process::ChildStdout>,
}

impl Worker {
    fn start(url: &str, flight: bool) -> anyhow::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["cache-worker", url, &(CALLERS / PROCESSES).to_string()]);
        if flight {
            command.arg("--flight");
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().context("a process of the stampede")?;
        let stdin = child.stdin.take().context("it has no stdin")?;
        let lines = BufReader::new(child.stdout.take().context("it has no stdout")?);
        Ok(Self {
            child,
            stdin,
            lines,
        })
    }

    fn line(&mut self) -> anyhow::Result<String> {
        let mut line = String::new();
        anyhow::ensure!(
            self.lines.read_line(&mut line)? > 0,
            "a process of the stampede ended"
        );
        Ok(line)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
