//! The adaptive limit behind the real gate, before a simulated origin. Figures of many more shapes:
//! `cargo run --profile quick -p seawall-policy --features sim --example adaptive_matrix`.
#![cfg(feature = "sim")]

use std::time::Duration;

use seawall_policy::admit::GateSettings;
use seawall_policy::limit::{Adaptive, AdaptiveSettings};
use seawall_policy::sim::{Gated, Report, Scenario, Service};

fn secs(s: f64) -> Duration {
    Duration::from_secs_f64(s)
}

fn run(scenario: &Scenario) -> Report {
    let limit = Box::new(Adaptive::new(AdaptiveSettings::default()));
    scenario.run(&mut Gated::new(GateSettings {
        limit,
        ..GateSettings::default()
    }))
}

/// The mean of `figure` over the seeds, for 20 slots × 20 ms.
fn mean(
    spread: Service,
    scenario: impl Fn(Scenario) -> Scenario,
    figure: impl Fn(&Report) -> f64,
) -> f64 {
    mean_of(3, spread, scenario, figure)
}

/// Of so many seeds: chance decides a single one where the origin's work changes with its queue.
fn mean_of(
    seeds: u64,
    spread: Service,
    scenario: impl Fn(Scenario) -> Scenario,
    figure: impl Fn(&Report) -> f64,
) -> f64 {
    let base = Scenario::new(20, Duration::from_millis(20), spread);
    let sum: f64 = (1..=seeds)
        .map(|seed| figure(&run(&scenario(base.clone().seed(seed)))))
        .sum();
    sum / seeds as f64
}

#[test]
fn overload_keeps_its_goodput() {
    for spread in Service::ALL {
        for load in [2.0, 10.0] {
            let scenario = |s: Scenario| s.load(&[(0.0, load)]).lasting(secs(8.0));
            let useful = mean(spread, scenario, |r| r.useful(secs(2.0), secs(8.0)));
            assert!(useful > 0.98, "{spread:?} {load}: {useful}");
        }
    }
}

#[test]
fn a_cold_start_is_right_from_the_first_second() {
    for spread in Service::ALL {
        let scenario = |s: Scenario| s.load(&[(0.0, 5.0)]).lasting(secs(1.1));
        let goodput = mean(spread, scenario, |r| r.goodput(secs(0.02), secs(1.02)));
        assert!(goodput > 0.9, "{spread:?}: {goodput}");
    }
}

/// Connections that take as long to open as the origin takes to answer make the first calls slow
/// and throughput seem to grow with the limit.
#[test]
fn a_cold_start_is_not_misled_by_slow_connections() {
    for spread in Service::ALL {
        for connect in [10, 20] {
            let scenario = |s: Scenario| Scenario {
                connect: Duration::from_millis(connect),
                ..s.load(&[(0.0, 5.0)]).lasting(secs(1.1))
            };
            let goodput = mean(spread, scenario, |r| r.goodput(secs(0.04), secs(1.04)));
            assert!(goodput > 0.9, "{spread:?} {connect} ms: {goodput}");
        }
    }
}

/// Of calls whose service is spread the short ones are answered first: later ones that take longer
/// are no sign of a queue.
#[test]
fn a_cold_start_is_not_misled_by_short_calls() {
    let seeds = 1..=40;
    let goodputs: Vec<f64> = seeds
        .map(|seed| {
            let origin = Scenario::new(100, Duration::from_millis(50), Service::Exponential);
            let scenario = origin.seed(seed).load(&[(0.0, 5.0)]).lasting(secs(1.3));
            run(&scenario).goodput(secs(0.0), secs(1.25))
        })
        .collect();
    let poor = goodputs.iter().filter(|goodput| **goodput < 0.8).count();
    assert!(
        poor <= 2,
        "{poor} of 40 cold starts went wrong: {goodputs:?}"
    );
}

#[test]
fn a_burst_is_met_and_left_without_a_trace() {
    for spread in Service::ALL {
        let load = [(0.0, 0.5), (2.0, 5.0), (5.0, 0.5)];
        let scenario = |s: Scenario| s.load(&load).lasting(secs(8.0));
        let burst = mean(spread, scenario, |r| r.useful(secs(2.0), secs(4.0)));
        let after = mean(spread, scenario, |r| r.refused(secs(6.0), secs(8.0)));
        assert!(burst > 0.95, "{spread:?}: {burst}");
        assert_eq!(after, 0.0, "{spread:?}");
    }
}

#[test]
fn at_four_fifths_nobody_is_refused_needlessly() {
    let scenario = |s: Scenario| s.load(&[(0.0, 0.8)]).lasting(secs(10.0));
    let refused = mean(Service::Exponential, scenario, |r| {
        r.refused(secs(1.0), secs(10.0))
    });
    assert!(refused <= 0.0005, "{refused}");
}

#[test]
fn what_is_left_of_the_origin_is_used_and_its_return_found() {
    for (slots, slowness) in [(6, 1.0), (20, 1.0 / 0.3)] {
        let scenario = |s: Scenario| {
            s.load(&[(0.0, 5.0)])
                .change(secs(4.0), slots, slowness)
                .change(secs(10.0), 20, 1.0)
                .lasting(secs(14.0))
        };
        let during = mean(Service::Fixed, scenario, |r| {
            r.useful(secs(5.0), secs(10.0))
        });
        let after = mean(Service::Fixed, scenario, |r| {
            r.useful(secs(11.0), secs(14.0))
        });
        assert!(during > 0.93, "{slots} {slowness}: {during} during");
        assert!(after > 0.95, "{slots} {slowness}: {after} after");
    }
}

/// Service takes longer the more calls are there, and calls whose clients left are worked on: a
/// limit that is too high feeds on itself. The most that a fixed limit can reach is 1.
#[test]
fn an_origin_that_slows_as_it_fills_is_kept_at_work() {
    for fills in [0.5, 1.0, 2.0] {
        for load in [5.0, 10.0] {
            let scenario = |mut s: Scenario| {
                (s.fills, s.heedless) = (fills, true);
                s.load(&[(0.0, load)]).lasting(secs(8.0))
            };
            let goodput = mean_of(12, Service::Fixed, scenario, |r| {
                r.goodput(secs(2.0), secs(8.0))
            });
            assert!(goodput > 0.85, "{fills} {load}: {goodput}");
        }
    }
}

#[test]
fn minutes_of_overload_drift_nowhere() {
    let base = Scenario::new(4, Duration::from_millis(200), Service::Fixed);
    let report = run(&base.load(&[(0.0, 2.0)]).lasting(secs(480.0)));
    let useful = report.useful(secs(300.0), secs(480.0));
    assert!(useful > 0.97, "{useful}");
    let limit = report.limit(secs(300.0), secs(480.0), 0.5);
    assert!((4..=12).contains(&limit), "{limit}");
}

#[test]
fn hundreds_of_slots_are_found_from_cold() {
    let base = Scenario::new(200, Duration::from_millis(100), Service::Fixed);
    let report = run(&base.load(&[(0.0, 5.0)]).lasting(secs(5.0)));
    // "Second": 25 × service, from the first possible completion.
    assert!(report.goodput(secs(0.1), secs(2.6)) > 0.9);
    assert!(report.useful(secs(3.0), secs(5.0)) > 0.97);
}
