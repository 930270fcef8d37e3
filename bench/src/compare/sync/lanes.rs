//! What a lane that computes for long does to the latency of another, by where it runs.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use seawall_sync::threads::{Cpus, Threads, ThreadsError, ThreadsOptions};

use super::{Case, Metric};
use crate::peers::Peer;

const UNLOADED: Peer = Peer::Library("no heavy lane");
const ONE_RUNTIME: Peer = Peer::Library("one runtime");
/// Light tasks in a run of full length: one every `PAUSE`, each computing for `LIGHT`.
const REQUESTS: f64 = 4_000.0;
const PAUSE: Duration = Duration::from_micros(500);
const LIGHT: Duration = Duration::from_micros(50);
/// Heavy tasks under way at any time, each computing for `TURN` between awaits.
const HEAVY: usize = 8;
const TURN: Duration = Duration::from_millis(5);

pub(super) fn cases() -> Vec<Case> {
    let peers = [Peer::Seawall, UNLOADED, ONE_RUNTIME];
    vec![Case::new(
        "light lane beside a saturated heavy lane",
        &peers,
        |peer, setup| {
            let requests = setup.length(REQUESTS) as usize;
            let light = lane("light", 2)?;
            let own = lane("heavy", 1)?;
            let heavy = match peer {
                Peer::Seawall => Some(&own),
                ONE_RUNTIME => Some(&light),
                _ => None,
            };
            let done = Arc::new(AtomicBool::new(false));
            if let Some(heavy) = heavy {
                saturate(heavy, &done);
            }
            let times = latencies(&light, requests);
            done.store(true, Relaxed);
            let at = |rank: usize| times[rank].as_secs_f64() * 1e6;
            Ok(vec![
                Metric::new(
                    "latency, p99",
                    "us",
                    "<= 1.5 x unloaded",
                    at(requests * 99 / 100),
                ),
                Metric::new("latency, median", "us", "", at(requests / 2)),
            ])
        },
    )]
}

fn lane(name: &str, workers: usize) -> Result<Threads, ThreadsError> {
    Threads::start(ThreadsOptions {
        name: name.to_owned(),
        workers: Some(workers),
        cpus: Cpus::Shared,
    })
}

fn compute(time: Duration) {
    let end = Instant::now() + time;
    while Instant::now() < end {
        (0..100_u64).for_each(|i| _ = black_box(i));
    }
}

/// From when a light task is handed over to its end, in order of length.
fn latencies(light: &Threads, requests: usize) -> Vec<Duration> {
    let one = |_| {
        std::thread::sleep(PAUSE);
        let (sender, receiver) = std::sync::mpsc::channel();
        let start = Instant::now();
        light.spawn(async move {
            compute(LIGHT);
            // The receiver waits for it.
            let _ = sender.send(start.elapsed());
        });
        receiver.recv().unwrap_or_default()
    };
    let mut times: Vec<_> = (0..requests).map(one).collect();
    times.sort_unstable();
    times
}

fn saturate(heavy: &Threads, done: &Arc<AtomicBool>) {
    for _ in 0..HEAVY {
        let done = Arc::clone(done);
        heavy.spawn(async move {
            while !done.load(Relaxed) {
                compute(TURN);
                tokio::task::yield_now().await;
            }
        });
    }
}
