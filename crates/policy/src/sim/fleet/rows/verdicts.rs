//! What is read from a run, and what it must be, row by row.

use super::super::{Report, Scenario, Sent};
use super::scenarios::{DEAD, JOINS, NEW, OUTAGE, START, STEP, STEPS};
use super::{Bound, Figure, Unit};

fn figure(name: impl Into<String>, unit: Unit, value: f64, bound: Option<Bound>) -> Figure {
    Figure {
        name: name.into(),
        value,
        unit,
        bound,
    }
}

fn part(name: &str, value: f64, bound: Option<Bound>) -> Figure {
    figure(name, Unit::Part, value, bound)
}

fn seconds(name: impl Into<String>, value: f64, bound: Option<Bound>) -> Figure {
    figure(name, Unit::Seconds, value, bound)
}

fn number(name: &str, value: f64, bound: Option<Bound>) -> Figure {
    figure(name, Unit::Number, value, bound)
}

pub(super) fn slow_server(_: &str, scenario: &Scenario, report: &Report) -> Vec<Figure> {
    let (from, to) = (START, START + 30.0);
    let p99 = report.latency(0.99, from, to, scenario.timeout);
    let later = 11.0 * report.share(4, to + 5.0, to + 10.0);
    vec![
        part(
            "success",
            report.success(from, to),
            Some(Bound::AtLeast(0.999)),
        ),
        seconds("p99", p99, None),
        number("share of fair later", later, Some(Bound::AtLeast(0.33))),
        number(
            "attempts a call",
            report.load(0, from, to),
            Some(Bound::AtMost(1.11)),
        ),
    ]
}

pub(super) fn prequal(variant: &str, scenario: &Scenario, report: &Report) -> Vec<Figure> {
    let quantile = |q, from, to| report.latency(q, from, to, scenario.timeout);
    if variant.ends_with("ramp") {
        let mut figures: Vec<Figure> = (STEPS.iter().enumerate())
            .map(|(i, load)| {
                let from = STEP * i as f64;
                let p99 = quantile(0.99, from + 1.0, from + STEP);
                seconds(format!("p99 at {load:.2}"), p99, None)
            })
            .collect();
        let end = STEP * STEPS.len() as f64;
        let errors = report.errors(0.0, end) as f64;
        figures.push(number("errors", errors, Some(Bound::AtMost(0.0))));
        return figures;
    }
    let (from, to) = (3.0, 9.0);
    let half = Some(Bound::AtMost(1.5));
    vec![
        seconds("p50", quantile(0.5, from, to), None),
        seconds(
            "p99",
            quantile(0.99, from, to),
            Some(Bound::AtMostOf("prequal", 1.0)),
        ),
        seconds("p99.9", quantile(0.999, from, to), None),
        number("probes an attempt", report.probes_per_attempt(), half),
        number("attempts a call", report.load(0, from, to), None),
    ]
}

pub(super) fn fast_failures(_: &str, _: &Scenario, report: &Report) -> Vec<Figure> {
    let share = |from, to| report.share(3, from, to);
    vec![
        part("share in the first second", share(START, START + 1.0), None),
        part(
            "share after it",
            share(START + 1.0, 15.0),
            Some(Bound::AtMost(0.02)),
        ),
        part("success", report.success(START, 14.0), None),
    ]
}

pub(super) fn retry_rates(_: &str, _: &Scenario, report: &Report) -> Vec<Figure> {
    let (from, to) = (2.0, 13.0);
    let no_less = Bound::AtLeastOf("token-bucket", 0.0005);
    vec![
        part("success", report.success(from, to), Some(no_less)),
        number(
            "attempts a call",
            report.load(0, from, to),
            Some(Bound::AtMost(1.11)),
        ),
    ]
}

pub(super) fn outage(variant: &str, _: &Scenario, report: &Report) -> Vec<Figure> {
    let end = START + OUTAGE;
    // A silent host is known by calls that a second passed over, and then by a window of them.
    let silent = variant.ends_with("silent");
    let (from, to) = (START + if silent { 2.5 } else { 1.0 }, end);
    let all = variant.starts_with("all");
    let dead = |s: &&Sent| (all || s.host == DEAD) && s.at >= from && s.at < to;
    let reached = report.sent.iter().filter(dead).count() as f64;
    let reached = reached / report.arrived(from, to).max(1) as f64;
    let little = (!variant.ends_with("stalls")).then_some(Bound::AtMost(0.02));
    let again = report.recovered(0.99, end, end + 5.5, 0.1);
    let later = 10.0 * report.share(DEAD, end + 3.0, end + 6.0);
    vec![
        part("reached the dead", reached, little),
        seconds("99 % again after", again, Some(Bound::AtMost(1.0))),
        part("success meanwhile", report.success(from, to), None),
        number("share of fair later", later, Some(Bound::AtLeast(0.33))),
    ]
}

pub(super) fn retry_tiers(_: &str, _: &Scenario, report: &Report) -> Vec<Figure> {
    let (from, to) = (START, 15.0);
    vec![
        number(
            "attempts at the bottom",
            report.load(2, from, to),
            Some(Bound::AtMost(1.2)),
        ),
        part("success", report.success(from, to), None),
    ]
}

pub(super) fn new_host(_: &str, scenario: &Scenario, report: &Report) -> Vec<Figure> {
    let p99 = |from, to| report.latency(0.99, from, to, scenario.timeout);
    let before = p99(3.0, JOINS);
    let worst = (0..20).map(|i| JOINS + 0.5 * f64::from(i));
    let worst = worst.map(|from| p99(from, from + 0.5)).fold(0.0, f64::max);
    let usual = (0..14).map(|i| 3.0 + 0.5 * f64::from(i));
    let usual = usual.map(|from| p99(from, from + 0.5)).fold(0.0, f64::max);
    let share = 10.0 * report.share(NEW, 30.0, 40.0);
    vec![
        number("share of fair, at least", share, Some(Bound::AtLeast(0.8))),
        number("share of fair, at most", share, Some(Bound::AtMost(1.2))),
        number(
            "share in its first second",
            10.0 * report.share(NEW, JOINS, JOINS + 1.0),
            None,
        ),
        seconds("p99 before", before, None),
        number(
            "worst half second over the worst before",
            worst / usual,
            Some(Bound::AtMost(1.25)),
        ),
        number("errors", report.errors(JOINS, 40.0) as f64, None),
    ]
}
