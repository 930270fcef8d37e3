use std::time::Duration;

use super::{Open, PlainGate, Report, Rng, Scenario, Service};
use crate::limit::Fixed;

fn secs(s: f64) -> Duration {
    Duration::from_secs_f64(s)
}

fn run(limit: u32, spread: Service, load: f64) -> Report {
    let scenario = Scenario::new(20, Duration::from_millis(20), spread)
        .load(&[(0.0, load)])
        .lasting(secs(5.0));
    scenario.run(&mut PlainGate::new(Box::new(Fixed::new(limit))))
}

#[test]
fn the_same_seed_repeats_the_run() {
    let (a, b) = (
        run(26, Service::Exponential, 5.0),
        run(26, Service::Exponential, 5.0),
    );
    assert_eq!(a.events, b.events);
    assert_eq!(format!("{:?}", a.series), format!("{:?}", b.series));
}

#[test]
fn a_saturated_origin_delivers_its_capacity() {
    for spread in Service::ALL {
        let goodput = run(26, spread, 5.0).goodput(secs(1.0), secs(5.0));
        assert!((goodput - 1.0).abs() < 0.04, "{spread:?}: {goodput}");
    }
}

#[test]
fn half_a_limit_delivers_half() {
    let goodput = run(10, Service::Fixed, 5.0).goodput(secs(1.0), secs(5.0));
    assert!((goodput - 0.5).abs() < 0.01, "{goodput}");
}

#[test]
fn below_saturation_nobody_is_refused() {
    let report = run(26, Service::Exponential, 0.5);
    assert_eq!(report.refused(secs(0.0), secs(5.0)), 0.0);
    // M/M/20 at half load hardly waits: the mean latency is the mean service.
    assert!(
        report.latencies[0].quantile(0.5) < 0.016,
        "{}",
        report.latencies[0].quantile(0.5)
    );
}

#[test]
fn unprotected_the_origin_works_for_callers_who_left() {
    let scenario = Scenario::new(20, Duration::from_millis(20), Service::Fixed)
        .load(&[(0.0, 5.0)])
        .lasting(secs(5.0));
    let report = scenario.run(&mut Open::default());
    assert!(report.goodput(secs(1.0), secs(5.0)) < 0.8);
    assert!(report.wasted > 0.2, "{}", report.wasted);
}

#[test]
fn capacity_follows_its_schedule() {
    let scenario = Scenario::new(20, Duration::from_millis(20), Service::Fixed)
        .load(&[(0.0, 5.0)])
        .change(secs(1.05), 6, 1.0)
        .change(secs(2.0), 20, 2.0)
        .lasting(secs(3.0));
    let report = scenario.run(&mut PlainGate::new(Box::new(Fixed::new(30))));
    let capacity: Vec<f64> = report.series.iter().map(|b| b.capacity).collect();
    assert!((capacity[5] - 100.0).abs() < 1e-6);
    assert!((capacity[10] - 65.0).abs() < 1e-6);
    assert!((capacity[15] - 30.0).abs() < 1e-6);
    assert!((capacity[25] - 50.0).abs() < 1e-6);
}

#[test]
fn random_numbers_have_their_means() {
    let mut rng = Rng::new(7);
    let n = 100_000;
    let unit = (0..n).map(|_| rng.unit()).sum::<f64>() / f64::from(n);
    let exponential = (0..n).map(|_| rng.exponential()).sum::<f64>() / f64::from(n);
    assert!((unit - 0.5).abs() < 0.01 && (exponential - 1.0).abs() < 0.02);
}
