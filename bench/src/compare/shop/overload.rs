//! Ten times as many orders as can be placed, one instance of the catalog hangs and one is slow.

use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rustix::process::Signal;

use super::bed::{self, Bed, Part, Seen};
use crate::compare::{Metric, Sample, Scenario, Setup, Shape};
use crate::load::{Class, Plan, Step};
use crate::peers::Peer;

/// All of Seawall decides and counts, and turns nobody away.
const SHADOW: Peer = Peer::Library("admission-off");

/// How long customers wait.
const PATIENCE: Duration = Duration::from_secs(1);
/// An instance of the catalog: 4 slots, held 40 ms.
const STATED: f64 = 100.0;
/// Orders by how much they matter, with their share of the load.
const CRITICALITIES: [(&str, f64); 4] = [
    ("critical-plus", 0.05),
    ("critical", 0.25),
    ("sheddable-plus", 0.3),
    ("sheddable", 0.4),
];
/// The share of capacity that is asked for when nothing is wrong.
const CALM: f64 = 0.5;
/// All is well for so long first.
const WARM: f64 = 3.0;
/// From when an instance hangs until the load comes.
const HUNG: f64 = 2.0;
/// After the load, and then after the instance that hung goes on.
const AFTER: f64 = 3.0;

/// The scenario.
#[derive(Debug)]
pub(super) struct Overload;

impl Scenario for Overload {
    fn name(&self) -> String {
        "overload, orders at 10x, of 3 catalogs one stopped and one slow".to_owned()
    }

    fn peers(&self) -> Vec<Peer> {
        vec![Peer::Seawall, SHADOW]
    }

    fn shape(&self) -> Option<&Shape> {
        None
    }

    fn run(&self, peer: Peer, setup: &Setup) -> anyhow::Result<Sample> {
        let (capacity, late) = alone(setup)?;
        let slow = [("catalog", 1, "plant.service_time=540ms".to_owned())];
        let shop = Bed::start(&parts(3, peer == SHADOW), &slow)?;
        let long = setup.length(12.0);
        let lengths = [WARM, HUNG, long, AFTER, AFTER];
        let rates = [CALM, CALM, 10.0, CALM, CALM].map(|times| times * capacity);
        let hung = shop.instance("catalog", 0)?;
        let resumed = Mutex::new(Instant::now());
        let seen = bed::run(&plans(&shop, &lengths, &rates, setup), |start| {
            let until = |seconds: f64| {
                let at = start + Duration::from_secs_f64(seconds);
                std::thread::sleep(at.saturating_duration_since(Instant::now()));
            };
            until(WARM);
            hung.signal(Signal::STOP)?;
            until(WARM + HUNG + long + AFTER);
            *resumed.lock() = Instant::now();
            hung.signal(Signal::CONT)
        })?;
        let mut sample = Sample {
            metrics: metrics(&seen, capacity, &lengths),
            lateness: seen.lateness().max(late),
        };
        sample
            .metrics
            .push(Metric::new("capacity measured", "orders/s", "", capacity));
        Ok(sample)
    }
}

/// What the one healthy instance of the catalog delivers by itself when it is asked for a fifth
/// more.
fn alone(setup: &Setup) -> anyhow::Result<(f64, Duration)> {
    let shop = Bed::start(&parts(1, false), &[])?;
    let lengths = [WARM, setup.length(9.0)];
    let rates = [1.2 * STATED; 2];
    let seen = bed::run(&plans(&shop, &lengths, &rates, setup), |_| Ok(()))?;
    let measured = seen.due("1").ok as f64 / lengths[1];
    Ok((measured, seen.lateness()))
}

fn parts(catalogs: usize, shadow: bool) -> [Part; 2] {
    const CATALOG: &[&str] = &[
        "grpc.trust=internal",
        "plant.service_time=40ms",
        "plant.slots=4",
        "admission.shadow=false",
    ];
    const ORDER: &[&str] = &["http.trust=internal", "admission.shadow=false"];
    const OFF: [&[&str]; 2] = [
        &[
            "grpc.trust=internal",
            "plant.service_time=40ms",
            "plant.slots=4",
            "admission.shadow=true",
        ],
        &["http.trust=internal", "admission.shadow=true"],
    ];
    let part = |service, instances, settings, apart| Part {
        service,
        instances,
        settings,
        apart,
    };
    let [catalog, order] = if shadow { OFF } else { [CATALOG, ORDER] };
    // What is held while it writes must not hold the others.
    [
        part("catalog", catalogs, catalog, true),
        part("order", 2, order, false),
    ]
}

/// A generator for each instance of order; a class is named by its part and its criticality.
fn plans(shop: &Bed, lengths: &[f64], rates: &[f64], setup: &Setup) -> Vec<Plan> {
    let targets = shop.http("order");
    let each = 1.0 / targets.len() as f64;
    let mut classes = Vec::new();
    let mut begin = 0.0;
    for (index, (&length, &rate)) in lengths.iter().zip(rates).enumerate() {
        for (product, (criticality, share)) in (1..).zip(CRITICALITIES) {
            let steps = vec![
                Step::new(0.0, begin),
                Step::new(rate * share * each, length),
            ];
            let body = format!(
                r#"{{"customer":"ann","key":"key-@n@","lines":[{{"productId":{product},"quantity":1}}]}}"#
            );
            let class = Class::new(&format!("{index} {criticality}"), steps)
                .path("/v1/orders")
                .json(&body)
                .header("seawall-criticality", criticality)
                .header("seawall-timeout-ms", &PATIENCE.as_millis().to_string())
                .timeout(PATIENCE);
            classes.push(class);
        }
        begin += length;
    }
    let plan = |(n, target)| Plan {
        seed: setup.round * 10 + n,
        ..Plan::new(target, classes.clone())
    };
    (1..).zip(targets).map(plan).collect()
}

fn metrics(seen: &Seen, capacity: f64, lengths: &[f64]) -> Vec<Metric> {
    let load = seen.due("2");
    let top = seen.due("2 critical-plus");
    let goodput = load.ok as f64 / lengths[2];
    let share = |some: u64, all: u64| 100.0 * some as f64 / (all as f64).max(1.0);
    // Seconds from the begin of a part until nothing failed any more in it.
    let normal = |part: usize| {
        let begin: f64 = lengths[..part].iter().sum();
        let last = seen.last_failure(&part.to_string());
        last.map_or(0.0, |last| (last.as_secs_f64() - begin).max(0.0))
    };
    let p99 = seen.latency("2 critical-plus", 0.99);
    let calm = seen.due("0");
    let hung = seen.due("1");
    vec![
        Metric::new(
            "orders of what capacity allows",
            "%",
            ">= 95",
            100.0 * goodput / capacity,
        ),
        Metric::new(
            "orders of the top criticality that are placed",
            "%",
            ">= 99.5",
            share(top.ok, top.offered),
        ),
        Metric::new(
            "until nothing fails, from the end of the load",
            "s",
            "<= 1",
            normal(3),
        ),
        Metric::new(
            "until nothing fails, from when the stopped one goes on",
            "s",
            "<= 1",
            normal(4),
        ),
        Metric::new("top criticality p99", "ms", "", p99.as_secs_f64() * 1_000.0),
        Metric::new("turned away", "%", "", share(load.rejected, load.offered)),
        Metric::new("out of time", "%", "", share(load.timeout, load.offered)),
        Metric::new("other errors", "%", "", share(load.error, load.offered)),
        Metric::new(
            "failed at half the capacity, all well",
            "%",
            "",
            share(calm.offered - calm.ok, calm.offered),
        ),
        Metric::new(
            "failed at half the capacity, in the first 2 s of the stop",
            "%",
            "",
            share(hung.offered - hung.ok, hung.offered),
        ),
    ]
}
