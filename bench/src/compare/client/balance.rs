//! A choice among ten hosts, and telling how the call went.

use std::convert::Infallible;
use std::future::ready;
use std::hint::black_box;
use std::time::Duration;

use seawall_policy::balance::{Algorithm, Ask, BalanceSettings, HostSpec, Hosts, Load};
use seawall_policy::{Outcome, Tick};
use tower::balance::p2c::Balance;
use tower::discover::ServiceList;
use tower::load::{CompleteOnResponse, PeakEwma};
use tower::{Service as _, ServiceExt as _};

use super::{Case, Metric, threads, together};
use crate::peers::Peer;

const TOWER: Peer = Peer::Library("tower p2c");
const HOSTS: u64 = 10;
/// Calls of a thread in a run of full length.
const CALLS: f64 = 5e6;
/// Virtual time between two calls of a thread.
const STEP: u64 = 1_000;
const COST: &str = "pick and finish";

pub(super) fn cases() -> Vec<Case> {
    let of = |algorithm: Algorithm| {
        [(1, "<= 60"), (2, "<= 90")].map(|(count, goal)| case(algorithm, count, goal))
    };
    Algorithm::ALL.into_iter().flat_map(of).collect()
}

fn case(algorithm: Algorithm, count: usize, goal: &'static str) -> Case {
    let name = format!("pick of ten, {}, {}", algorithm.as_str(), threads(count));
    // tower's cannot be shared by threads; a clone or a buffer stands before it.
    let peers = match (algorithm, count) {
        (Algorithm::PeakEwma, 1) => vec![Peer::Seawall, TOWER],
        _ => vec![Peer::Seawall],
    };
    Case::new(name, &peers, move |peer, setup| {
        let calls = setup.length(CALLS) as u64;
        if peer == TOWER {
            return tower_calls(goal, calls);
        }
        let specs: Vec<_> = (0..HOSTS).map(HostSpec::new).collect();
        let settings = BalanceSettings {
            algorithm,
            ..BalanceSettings::default()
        };
        let hosts = Hosts::new(settings, &specs, Tick::ZERO);
        together::cost(COST, goal, count, calls, |thread, calls| {
            pick_and_finish(&hosts, thread as u64, calls);
        })
    })
}

/// Every call is answered after about a millisecond. With Prequal, every answer reports the host's
/// load, and the probes that it wants are answered as well.
fn pick_and_finish(hosts: &Hosts, thread: u64, calls: u64) {
    let mut random = thread * 2 + 1;
    for call in 0..calls {
        random = random.wrapping_mul(0xD134_2543_DE82_EF95) | 1;
        let drawn = random.rotate_left(32);
        let now = Tick(call * STEP);
        let ask = Ask {
            hash: Some(drawn),
            ..Ask::default()
        };
        let Some(choice) = hosts.pick(&ask, now, drawn) else {
            return;
        };
        black_box(choice.at());
        let latency = Duration::from_nanos(1_000_000 + (random >> 50));
        let load = Load {
            in_flight: (random >> 60) as u32,
            latency,
        };
        choice.finish(Outcome::Success, latency, Some(load), now + latency);
        if let Some(at) = hosts.probe_wanted(now, random) {
            hosts.probe_result(at, load, now);
        }
    }
}

fn tower_calls(goal: &'static str, calls: u64) -> anyhow::Result<Vec<Metric>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()?;
    together::cost(COST, goal, 1, calls, |_, calls| {
        let host = || {
            let service = tower::service_fn(|()| ready(Ok::<(), Infallible>(())));
            let rtt = Duration::from_millis(1);
            PeakEwma::new(service, rtt, 1e10, CompleteOnResponse::default())
        };
        let hosts: Vec<_> = (0..HOSTS).map(|_| host()).collect();
        let mut balance = Balance::new(ServiceList::new(hosts));
        runtime.block_on(async {
            for _ in 0..calls {
                if let Ok(ready) = balance.ready().await {
                    drop(black_box(ready.call(()).await));
                }
            }
        });
    })
}
