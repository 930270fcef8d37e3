//! An outage of ten seconds, in virtual time: how much reaches the dead origin once it is noticed,
//! and how soon all is well again.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::Duration;

use seawall_policy::breaker::{Breaker, Pass, Throttle, ThrottleSettings, Window, WindowSettings};
use seawall_policy::{Outcome, Tick};

const SECOND: u64 = 1_000_000_000;
const MS: u64 = 1_000_000;
/// In the middle of a bucket of either breaker.
const BEGIN: u64 = 3_017 * MS;
const END: u64 = BEGIN + 10 * SECOND;
const STOP: u64 = END + 3 * SECOND;
const LATENCY: u64 = 5 * MS;

/// How long a call to the dead origin takes to fail.
const REFUSED: u64 = MS;
const SILENT: u64 = SECOND;

#[derive(Debug, Default)]
struct Report {
    /// The first call that was turned away, after the outage began.
    detected: Option<Duration>,
    /// From then until its end: calls, and those that went to the dead origin.
    calls: u64,
    reached: u64,
    /// From then on, calls and those that were answered.
    back: u64,
    after: u64,
    answered: u64,
    /// Turned away before the outage.
    needless: u64,
}

struct Random(u64);

impl Random {
    /// splitmix64.
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// Calls `rate` times a second, unevenly; `dying` is how long a call takes to fail in the outage.
fn outage(breaker: &dyn Breaker, rate: u64, dying: u64, seed: u64) -> Report {
    outage_back_within(breaker, rate, dying, seed, SECOND)
}

fn outage_back_within(
    breaker: &dyn Breaker,
    rate: u64,
    dying: u64,
    seed: u64,
    within: u64,
) -> Report {
    let mut random = Random(seed);
    let mut report = Report {
        back: END + within,
        ..Report::default()
    };
    let mut ends = BinaryHeap::new();
    let mut passes: BTreeMap<u64, (Pass, Outcome, u64)> = BTreeMap::new();
    let finish = |ends: &mut BinaryHeap<Reverse<(u64, u64)>>,
                  passes: &mut BTreeMap<u64, (Pass, Outcome, u64)>,
                  until: u64| {
        while let Some(&Reverse((at, call))) = ends.peek()
            && at <= until
        {
            ends.pop();
            let (pass, outcome, latency) = passes.remove(&call).expect("it is under way");
            breaker.record(pass, outcome, Duration::from_nanos(latency), Tick(at));
        }
    };
    let (mut now, mut call) = (0, 0);
    loop {
        now += random.next() % (2 * SECOND / rate) + 1;
        if now >= STOP {
            return report;
        }
        call += 1;
        finish(&mut ends, &mut passes, now);
        let answer = breaker.ask(Tick(now), random.next());
        let dead = (BEGIN..END).contains(&now);
        report.note(now, dead, answer.is_ok());
        if let Ok(pass) = answer {
            let (outcome, latency) = match dead {
                true => (Outcome::Failure, dying),
                false => (Outcome::Success, LATENCY),
            };
            ends.push(Reverse((now + latency, call)));
            passes.insert(call, (pass, outcome, latency));
        }
    }
}

impl Report {
    fn note(&mut self, now: u64, dead: bool, sent: bool) {
        self.needless += u64::from(!sent && now < BEGIN);
        if dead && !sent && self.detected.is_none() {
            self.detected = Some(Duration::from_nanos(now - BEGIN));
        }
        if dead && self.detected.is_some() {
            self.calls += 1;
            self.reached += u64::from(sent);
        }
        if now >= self.back {
            self.after += 1;
            self.answered += u64::from(sent);
        }
    }

    /// `share` of the calls, and `probes`, may reach the dead origin.
    fn check(&self, share: f64, probes: f64, what: &str) {
        let most = share * self.calls as f64 + probes;
        assert_eq!(self.needless, 0, "{what}: {self:?}");
        assert!(self.calls > 0, "{what}: never noticed");
        assert!(self.reached as f64 <= most, "{what}: {self:?}");
        assert!(self.answered * 100 >= self.after * 99, "{what}: {self:?}");
    }
}

fn throttle() -> Throttle {
    Throttle::new(ThrottleSettings::default(), Tick::ZERO)
}

fn window() -> Window {
    Window::new(WindowSettings::default(), Tick::ZERO)
}

#[test]
fn a_throttle_spares_the_dead_and_is_back_within_a_second() {
    for dying in [REFUSED, SILENT] {
        for seed in 0..8 {
            let report = outage(&throttle(), 1_000, dying, seed);
            report.check(0.02, 0.0, "1,000/s");
            let most = Duration::from_nanos(dying) + Duration::from_millis(150);
            assert!(report.detected.unwrap() <= most, "{report:?}");
        }
        outage(&throttle(), 100_000, dying, 1).check(0.02, 0.0, "100,000/s");
    }
}

/// Of ten calls a second, one in eleven goes through for want of evidence, and two probes. Where
/// they hang for a second, up to 0.7 s pass until a probe succeeds, and what failed before it is in
/// the window for another.
#[test]
fn a_throttle_works_at_ten_calls_a_second() {
    for (dying, within) in [(REFUSED, SECOND), (SILENT, 7 * SECOND / 4)] {
        for seed in 0..50 {
            let report = outage_back_within(&throttle(), 10, dying, seed, within);
            report.check(0.2, 20.0, "10/s");
        }
    }
}

#[test]
fn a_window_spares_the_dead_and_is_back_within_a_second() {
    for dying in [REFUSED, SILENT] {
        for seed in 0..8 {
            outage(&window(), 1_000, dying, seed).check(0.02, 0.0, "1,000/s");
            outage(&window(), 10, dying, seed).check(0.0, 22.0, "10/s");
        }
    }
    outage(&window(), 100_000, REFUSED, 1).check(0.02, 0.0, "100,000/s");
}

/// The calls that reach it must not be fewer either, or nobody would notice its return.
#[test]
fn a_dead_origin_is_asked_twice_a_second_whatever_the_penalty() {
    let settings = WindowSettings {
        penalty: Duration::from_secs(3_600),
        max_penalty: Duration::from_secs(3_600),
        ..WindowSettings::default()
    };
    let report = outage(&Window::new(settings, Tick::ZERO), 1_000, REFUSED, 3);
    assert!((19..=21).contains(&report.reached), "{report:?}");
    report.check(0.02, 0.0, "an hour's penalty");
    // A throttle that lets next to nothing through by share.
    let settings = ThrottleSettings {
        max_rejection: 0.999,
        floor: 0.0,
        ..ThrottleSettings::default()
    };
    let report = outage(&Throttle::new(settings, Tick::ZERO), 1_000, REFUSED, 3);
    assert!((19..=50).contains(&report.reached), "{report:?}");
    report.check(0.02, 0.0, "all but a thousandth");
}
