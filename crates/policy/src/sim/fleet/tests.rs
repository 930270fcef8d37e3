use std::time::Duration;

use super::baseline::{LeastLoaded, Naive, Never, Plain, Random, RoundRobin};
use super::{Client, End, HostModel, Mode, Report, Scenario, Stack, StackSettings, What, Work};
use crate::Outcome;
use crate::retry::BudgetSettings;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn under<C: Client + 'static>(scenario: &Scenario, client: impl Fn() -> C) -> Report {
    let run = scenario.run(&mut || Some(Box::new(client())));
    run.expect("there is a client")
}

fn plain(scenario: &Scenario) -> Report {
    under(scenario, || Plain {
        pick: Random::default(),
        retry: Never,
    })
}

fn lasting(scenario: Scenario, seconds: u64) -> Scenario {
    Scenario {
        length: Duration::from_secs(seconds),
        ..scenario
    }
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let host = HostModel::slots(Work::Exponential(ms(20)), 4);
    let scenario = Scenario::new(vec![host; 3], 400.0);
    let took = |s: &Scenario| {
        plain(s)
            .calls
            .iter()
            .map(|c| c.took.to_bits())
            .collect::<Vec<_>>()
    };
    assert_eq!(took(&scenario), took(&scenario));
    let other = Scenario {
        seed: 2,
        ..scenario.clone()
    };
    assert_ne!(took(&scenario), took(&other));
}

/// One server and exponential work: the mean time there is 1/(μ − λ), also where it is shared.
#[test]
fn hosts_queue_and_share_as_theory_has_it() {
    let work = Work::Exponential(ms(10));
    for host in [HostModel::slots(work, 1), HostModel::cores(work, 1.0)] {
        let scenario = Scenario {
            network: Duration::ZERO,
            jitter: Duration::ZERO,
            timeout: Duration::from_secs(60),
            ..lasting(Scenario::new(vec![host], 70.0), 2000)
        };
        let report = plain(&scenario);
        let sum: f64 = report.calls.iter().map(|c| f64::from(c.took)).sum();
        let mean = sum / report.calls.len() as f64;
        assert!((mean - 1.0 / 30.0).abs() < 0.0025, "{mean}");
    }
}

#[test]
fn truncated_work_has_the_mean_it_says() {
    let host = HostModel::latency(Work::Truncated(ms(80)));
    let report = plain(&lasting(Scenario::new(vec![host], 1000.0), 20));
    let sum: f64 = report.calls.iter().map(|c| f64::from(c.took)).sum();
    let mean = sum / report.calls.len() as f64 - 0.001;
    assert!((mean - 0.08).abs() < 0.002, "{mean}");
}

/// Every call that arrives ends exactly once, whatever happens to its hosts.
#[test]
fn no_call_is_lost() {
    let host = HostModel::slots(Work::Exponential(ms(20)), 4);
    let answers = Mode::Answers {
        share: 0.5,
        outcome: Outcome::Failure,
        after: ms(1),
    };
    for mode in [Mode::Refuses, Mode::Silent, answers] {
        let scenario = Scenario {
            rates: vec![(Duration::ZERO, 500.0), (Duration::from_secs(4), 0.0)],
            leavers: (0.2, ms(5)),
            tiers: vec![vec![host; 3], vec![host; 3]],
            ..Scenario::new(Vec::new(), 0.0)
        };
        let scenario = scenario
            .at(1.0, 4, What::Mode(mode))
            .at(2.0, 1, What::Mode(mode))
            .at(3.0, 1, What::Mode(Mode::Up));
        let naive = under(&scenario, || Plain {
            pick: RoundRobin::default(),
            retry: Naive(3),
        });
        // Traffic is the policy's in nothing.
        let mut begun: Vec<u64> = naive.calls.iter().map(|c| c.began.to_bits()).collect();
        begun.sort_unstable();
        let mut same: Vec<u64> = plain(&scenario)
            .calls
            .iter()
            .map(|c| c.began.to_bits())
            .collect();
        same.sort_unstable();
        assert_eq!(begun, same);
        assert!((1900..2100).contains(&begun.len()), "{}", begun.len());
        let left = naive.calls.iter().filter(|c| c.end == End::Left).count();
        assert!((200..420).contains(&left), "{left}");
    }
}

/// One of three hangs, and calls are what finds out whether it still does: twice a second, and
/// nobody pays for it, not even where no time is set for an attempt and there is no hedge.
#[test]
fn who_probes_a_host_that_hangs_is_answered_by_another() {
    let host = HostModel::latency(Work::Around(ms(20), ms(5)));
    let scenario = Scenario::new(vec![host; 3], 200.0);
    let scenario = lasting(scenario.at(1.0, 1, What::Mode(Mode::Silent)), 20);
    let report = under(&scenario, || {
        Stack::new(StackSettings {
            hedge: None,
            budget: BudgetSettings {
                ratio: 0.0,
                floor: 0.0,
                ..BudgetSettings::default()
            },
            ..StackSettings::default()
        })
    });
    let later = || report.sent.iter().filter(|sent| sent.at > 4.0);
    let probes = later().filter(|sent| sent.host == 1).count();
    assert!((25..=40).contains(&probes), "{probes}");
    for call in report.calls.iter().filter(|call| call.began > 4.0) {
        assert_eq!(call.end, End::Ok, "{call:?}");
        assert!(call.took < 0.2, "{call:?}");
    }
}

#[test]
fn retries_multiply_from_tier_to_tier() {
    let host = HostModel::latency(Work::Fixed(ms(1)));
    let mode = Mode::Answers {
        share: 1.0,
        outcome: Outcome::Failure,
        after: ms(1),
    };
    let scenario = Scenario {
        tiers: vec![vec![host], vec![host], vec![host]],
        ..Scenario::new(Vec::new(), 10.0)
    };
    let report = under(&scenario.at(0.0, 2, What::Mode(mode)), || Plain {
        pick: LeastLoaded::default(),
        retry: Naive(3),
    });
    let load = report.load(2, 1.0, 9.0);
    assert!((load - 64.0).abs() < 2.0, "{load}");
}
