//! What happens, row by row.

use std::time::Duration;

use super::super::{Antagonists, HostModel, Mode, Scenario, What, Work};
use super::Variant;
use crate::Outcome;

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// When what a row is about begins, in seconds, unless it says otherwise.
pub(super) const START: f64 = 5.0;

/// Buoyant's comparison of load balancers: eleven hosts, 1,000 calls a second, a second's patience.
pub(super) fn slow_server(seed: u64) -> Vec<Variant> {
    let usual = Work::Around(ms(167), ms(5));
    let scenario = Scenario::new(vec![HostModel::latency(usual); 11], 1000.0)
        .at(START, 4, What::Work(Work::Fixed(ms(2000))))
        .at(START + 30.0, 4, What::Work(usual));
    let length = Duration::from_secs(46);
    vec![(
        "",
        Scenario {
            seed,
            length,
            ..scenario
        },
    )]
}

/// Steps of the ramp: 0.75 times the allotment, then a ninth more each time.
pub(super) const STEPS: [f64; 9] = [0.75, 0.833, 0.926, 1.029, 1.143, 1.27, 1.411, 1.568, 1.742];
/// How long a step lasts, in seconds; what happens in the first part of it is not counted.
pub(super) const STEP: f64 = 3.0;
/// Users of this row wait so long.
const PATIENCE: Duration = Duration::from_secs(5);

/// 100 hosts of four cores each, on machines ten times as large: shared processors.
fn prequal_fleet(seed: u64, skewed: bool) -> (Scenario, f64) {
    let cost = |host: usize| -> f64 {
        match (skewed, host % 2) {
            (false, _) => 80.0,
            (true, 0) => 80.0 * 2.0 / 3.0,
            (true, _) => 80.0 * 4.0 / 3.0,
        }
    };
    let host = |i: usize| HostModel {
        weight: (16_000.0 / cost(i)).round() as u32,
        ..HostModel::cores(Work::Truncated(Duration::from_secs_f64(cost(i) / 1e3)), 4.0)
    };
    let allotted: f64 = (0..100).map(|i| 4.0 / cost(i) * 1e3).sum();
    let scenario = Scenario {
        seed,
        clients: 100,
        timeout: PATIENCE,
        antagonists: Some(Antagonists {
            machine: 10.0,
            mean: 0.8,
            between: 0.2,
            within: 0.15,
            every: ms(300),
            kept: 0.9,
        }),
        ..Scenario::new((0..100).map(host).collect(), 0.0)
    };
    (scenario, allotted)
}

/// The testbed of the Prequal paper as far as it is described: 90 % of the allotment, and the ramp.
pub(super) fn prequal(seed: u64) -> Vec<Variant> {
    let steady = |skewed| {
        let (scenario, allotted) = prequal_fleet(seed, skewed);
        Scenario {
            rates: vec![(Duration::ZERO, 0.9 * allotted)],
            length: Duration::from_secs(10),
            ..scenario
        }
    };
    let ramp = |skewed| {
        let (scenario, allotted) = prequal_fleet(seed, skewed);
        let at = |i: usize| Duration::from_secs_f64(STEP * i as f64);
        let rates = STEPS
            .iter()
            .enumerate()
            .map(|(i, load)| (at(i), load * allotted));
        Scenario {
            rates: rates.chain([(at(STEPS.len()), 0.0)]).collect(),
            length: at(STEPS.len()) + PATIENCE + ms(10),
            ..scenario
        }
    };
    vec![
        ("homogeneous 0.9", steady(false)),
        ("skewed 0.9", steady(true)),
        ("homogeneous ramp", ramp(false)),
        ("skewed ramp", ramp(true)),
    ]
}

/// Ten hosts of about 20 ms behind four clients with 500 calls a second each. What finding out
/// costs is so many probes a second for each client, so its part is larger where traffic is less.
fn ten(seed: u64) -> Scenario {
    let host = HostModel::latency(Work::Around(ms(20), ms(5)));
    Scenario {
        seed,
        clients: 4,
        ..Scenario::new(vec![host; 10], 2000.0)
    }
}

pub(super) fn fast_failures(seed: u64) -> Vec<Variant> {
    let answers = |outcome| {
        let mode = Mode::Answers {
            share: 1.0,
            outcome,
            after: ms(1),
        };
        let scenario = ten(seed).at(START, 3, What::Mode(mode));
        Scenario {
            length: Duration::from_secs(15),
            ..scenario
        }
    };
    vec![
        ("500", answers(Outcome::Failure)),
        ("429", answers(Outcome::Overloaded)),
    ]
}

/// Parts of the calls that fail.
const RATES: [(&str, f64); 11] = [
    ("0 %", 0.0),
    ("2 %", 0.02),
    ("5 %", 0.05),
    ("8 %", 0.08),
    ("10 %", 0.1),
    ("15 %", 0.15),
    ("25 %", 0.25),
    ("50 %", 0.5),
    ("75 %", 0.75),
    ("90 %", 0.9),
    ("100 %", 1.0),
];

pub(super) fn retry_rates(seed: u64) -> Vec<Variant> {
    let failing = |&(name, share): &(&'static str, f64)| {
        let mode = Mode::Answers {
            share,
            outcome: Outcome::Failure,
            after: ms(20),
        };
        let scenario = ten(seed);
        let hosts = 0..scenario.tiers[0].len() as u32;
        let scenario = hosts.fold(scenario, |s, host| s.at(0.0, host, What::Mode(mode)));
        let length = Duration::from_secs(14);
        (name, Scenario { length, ..scenario })
    };
    RATES.iter().map(failing).collect()
}

/// How long an outage lasts, in seconds.
pub(super) const OUTAGE: f64 = 10.0;

/// The dead of an outage of one host.
pub(super) const DEAD: u32 = 6;

pub(super) fn outage(seed: u64) -> Vec<Variant> {
    let gone = |mode, hosts: std::ops::Range<u32>| {
        let scenario = hosts.fold(ten(seed), |s, host| {
            s.at(START, host, What::Mode(mode))
                .at(START + OUTAGE, host, What::Mode(Mode::Up))
        });
        Scenario {
            // Some users walk away: the probe that was theirs must not be lost for ever.
            leavers: (0.1, ms(10)),
            length: Duration::from_secs(22),
            ..scenario
        }
    };
    // Half a second of a garbage collector, say: all its calls are answered, late.
    let stall = gone(Mode::Up, 0..0)
        .at(START + OUTAGE - 0.5, DEAD, What::Cores(0.0))
        .at(START + OUTAGE, DEAD, What::Cores(f64::INFINITY));
    vec![
        ("all refuse", gone(Mode::Refuses, 0..10)),
        ("all silent", gone(Mode::Silent, 0..10)),
        ("one refuses", gone(Mode::Refuses, DEAD..DEAD + 1)),
        ("one silent", gone(Mode::Silent, DEAD..DEAD + 1)),
        ("one stalls", stall),
    ]
}

/// Three tiers of four hosts; a part of what reaches the lowest one fails.
pub(super) fn retry_tiers(seed: u64) -> Vec<Variant> {
    let failing = |share| {
        let mode = Mode::Answers {
            share,
            outcome: Outcome::Failure,
            after: ms(1),
        };
        let tier = vec![HostModel::latency(Work::Fixed(ms(2))); 4];
        let scenario = Scenario {
            seed,
            clients: 4,
            tiers: vec![tier.clone(), tier.clone(), tier],
            length: Duration::from_secs(16),
            ..Scenario::new(Vec::new(), 400.0)
        };
        (8..12).fold(scenario, |s, host| s.at(START, host, What::Mode(mode)))
    };
    vec![("all fail", failing(1.0)), ("30 % fail", failing(0.3))]
}

/// When the host joins, in seconds.
pub(super) const JOINS: f64 = 10.0;
/// The one that joins.
pub(super) const NEW: u32 = 9;

/// Ten hosts of eight threads, the tenth new and at a fifth of its speed for two seconds.
pub(super) fn new_host(seed: u64) -> Vec<Variant> {
    let usual = Work::Exponential(ms(20));
    let mut hosts = vec![HostModel::slots(usual, 8); 10];
    hosts[NEW as usize].listed = false;
    hosts[NEW as usize].work = Work::Exponential(ms(100));
    let joining = |clients| Scenario {
        seed,
        clients,
        discovery: Some(Duration::from_secs(1)),
        length: Duration::from_secs(41),
        ..Scenario::new(hosts.clone(), 2600.0)
            .at(JOINS, NEW, What::Listed(true))
            .at(JOINS + 2.0, NEW, What::Work(usual))
    };
    vec![("one client", joining(1)), ("eight clients", joining(8))]
}
