//! Runs a limit through shapes, distributions and incidents, and prints a table: means and the
//! least over the seeds, in percent of what the origin could have done.
//!
//! `adaptive_matrix [SEEDS [SLOTS]]`, or `adaptive_matrix trace SLOTS MS SPREAD SEED LOADS SECONDS
//! [CHANGES]` (loads as `0:0.5,2:5`, changes as `4:6:1,14:20:1`: second, slots, slowness).
//! Environment: `REAL=1` puts the limit behind the real gate, `LIMIT=gradient2|vegas|aimd` takes
//! another one, `TRACE=1` prints every window. For "slower" and "fewer" the figure is of what a fixed
//! limit of 1.25 × the slots left achieves.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "its output is the point, its arguments a developer's"
)]

use std::time::Duration;

use seawall_policy::admit::GateSettings;
use seawall_policy::limit::{
    Adaptive, AdaptiveSettings, Aimd, AimdSettings, Gradient2, Gradient2Settings, Limit, Vegas,
    VegasSettings,
};
use seawall_policy::sim::{Gated, PlainGate, Report, Scenario, Service};

fn d(s: f64) -> Duration {
    Duration::from_secs_f64(s)
}

fn limit() -> Box<dyn Limit> {
    let limit: Box<dyn Limit> = match std::env::var("LIMIT").as_deref() {
        Ok("gradient2") => Box::new(Gradient2::new(Gradient2Settings::default())),
        Ok("vegas") => Box::new(Vegas::new(VegasSettings::default())),
        Ok("aimd") => Box::new(Aimd::new(AimdSettings::default())),
        _ => Box::new(Adaptive::new(AdaptiveSettings::default())),
    };
    if std::env::var_os("TRACE").is_some() {
        Box::new(Traced(limit))
    } else {
        limit
    }
}

struct Shape {
    slots: u32,
    service: f64,
}

impl Shape {
    fn second(&self) -> f64 {
        (25.0 * self.service).max(1.0)
    }
    fn base(&self, spread: Service, seed: u64) -> Scenario {
        let mut s = Scenario::new(self.slots, d(self.service), spread).seed(seed);
        s.bucket = d(self.second() / 100.0);
        s
    }
    fn go(&self, s: Scenario) -> Report {
        if std::env::var_os("REAL").is_some() {
            let settings = GateSettings {
                limit: limit(),
                ..GateSettings::default()
            };
            return s.run(&mut Gated::new(settings));
        }
        s.run(&mut PlainGate::new(limit()))
    }
}

fn stats(v: &[f64]) -> (f64, f64) {
    (
        v.iter().sum::<f64>() / v.len() as f64,
        v.iter().copied().fold(f64::INFINITY, f64::min),
    )
}

fn trace(a: &[String]) {
    // trace slots ms dist seed load,load,.. secs
    let shape = Shape {
        slots: a[0].parse().unwrap(),
        service: a[1].parse::<f64>().unwrap() / 1e3,
    };
    let spread = Service::ALL[a[2].parse::<usize>().unwrap()];
    let loads: Vec<(f64, f64)> = a[4]
        .split(',')
        .map(|p| {
            let (t, l) = p.split_once(':').unwrap();
            (t.parse().unwrap(), l.parse().unwrap())
        })
        .collect();
    let mut s = shape
        .base(spread, a[3].parse().unwrap())
        .load(&loads)
        .lasting(d(a[5].parse().unwrap()));
    if let Some(c) = a.get(6) {
        for p in c.split(',') {
            let v: Vec<f64> = p.split(':').map(|x| x.parse().unwrap()).collect();
            s = s.change(d(v[0]), v[1] as u32, v[2]);
        }
    }
    s.bucket = d(0.1);
    let r = shape.go(s);
    for (i, b) in r.series.iter().enumerate() {
        println!(
            "#{i} off{} ok{} rej{} to{} cap{:.1} lim{} inf{} wait{}",
            b.offered, b.ok, b.rejected, b.timed_out, b.capacity, b.limit, b.inflight, b.waiting
        );
    }
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    if args.get(1).is_some_and(|a| a == "trace") {
        return trace(&args[2..]);
    }
    let args: Vec<String> = std::env::args().collect();
    let seeds: u64 = args.get(1).and_then(|s| s.parse().ok()).unwrap_or(5);
    let only: Option<u32> = args.get(2).and_then(|s| s.parse().ok());
    let shapes = [
        (2, 0.001),
        (2, 0.02),
        (2, 0.2),
        (2, 2.0),
        (5, 0.1),
        (10, 0.01),
        (20, 0.02),
        (20, 0.2),
        (50, 0.005),
        (50, 0.1),
        (100, 0.05),
        (200, 0.02),
        (200, 0.2),
        (500, 0.005),
        (500, 0.04),
        (500, 0.2),
    ];
    println!(
        "{:>13} {:>5} | {:^11} | {:^11} | {:^11} | {:^11} | {:^11} | {:^7} | {:^11} {:^11} | {:^11} {:^11} | lim/slots p5 p50 p95 max",
        "shape",
        "",
        "first 5x",
        "steady 2x",
        "steady 10x",
        "burst 2s",
        "2x burst",
        "0.8x",
        "fewer",
        "back",
        "slower",
        "back"
    );
    for (slots, service) in shapes {
        if only.is_some_and(|o| o != slots) {
            continue;
        }
        for spread in Service::ALL {
            let shape = Shape { slots, service };
            let sec = shape.second();
            let mut c: Vec<Vec<f64>> = vec![Vec::new(); 10];
            let mut lims = Vec::new();
            for seed in 1..=seeds {
                let from = service * spread.quickest();
                let r = shape.go(shape
                    .base(spread, seed)
                    .load(&[(0.0, 5.0)])
                    .lasting(d(from + sec * 1.01)));
                c[0].push(r.goodput(d(from), d(from + sec)));
                let n = 12.0;
                for (i, x) in [(1, 2.0), (2, 10.0)] {
                    let r = shape.go(shape
                        .base(spread, seed)
                        .load(&[(0.0, x)])
                        .lasting(d(n * sec)));
                    c[i].push(r.useful(d(2.0 * sec), d(n * sec)));
                    lims.push([0.05, 0.5, 0.95, 1.0].map(|q| {
                        f64::from(r.limit(d(3.0 * sec), d(n * sec), q)) / f64::from(slots)
                    }));
                }
                let span = 2.0_f64.max(2.0 * sec);
                let r = shape.go(shape
                    .base(spread, seed)
                    .load(&[(0.0, 0.5), (2.0 * sec, 5.0), (6.0 * sec, 0.5)])
                    .lasting(d(9.0 * sec)));
                c[3].push(r.useful(d(2.0 * sec), d(2.0 * sec + span)));
                c[4].push(r.refused(d(7.0 * sec), d(9.0 * sec)) * 100.0);
                let r = shape.go(shape
                    .base(spread, seed)
                    .load(&[(0.0, 0.8)])
                    .lasting(d(10.0 * sec)));
                c[5].push(r.refused(d(sec), d(10.0 * sec)) * 100.0);
                let few = (slots as f64 * 0.3).round().max(1.0) as u32;
                for (i, s, slow) in [(6, few, 1.0), (8, slots, 1.0 / 0.3)] {
                    let t = 4.0 * sec;
                    let end = t + 10.0_f64.max(3.0 * sec);
                    let r = shape.go(shape
                        .base(spread, seed)
                        .load(&[(0.0, 5.0)])
                        .change(d(t), s, slow)
                        .change(d(end), slots, 1.0)
                        .lasting(d(end + 4.0 * sec)));
                    let base = shape
                        .base(spread, seed)
                        .load(&[(0.0, 5.0)])
                        .change(d(t), s, slow)
                        .change(d(end), slots, 1.0)
                        .lasting(d(end));
                    let best = base.run(&mut PlainGate::new(Box::new(
                        seawall_policy::limit::Fixed::new((f64::from(s) * 1.25).ceil() as u32),
                    )));
                    c[i].push(
                        r.useful(d(t + sec), d(end)) / best.useful(d(t + sec), d(end)).min(1.0),
                    );
                    c[i + 1].push(r.useful(d(end + sec), d(end + 4.0 * sec)));
                }
            }
            print!(
                "{slots:>4}x{:>6}ms {:>5} |",
                service * 1e3,
                &format!("{spread:?}")[..4]
            );
            for (i, v) in c.iter().enumerate() {
                let (mean, min) = stats(v);
                match i {
                    4 | 5 => print!(" {mean:>6.3} |"),
                    _ => print!(" {:>5.1} {:>5.1} |", mean * 100.0, min * 100.0),
                }
            }
            let m =
                |i: usize| lims.iter().map(|l: &[f64; 4]| l[i]).sum::<f64>() / lims.len() as f64;
            let max = lims.iter().map(|l| l[3]).fold(0.0, f64::max);
            println!(" {:.2} {:.2} {:.2} {:.2}", m(0), m(1), m(2), max);
        }
    }
}

#[derive(Debug)]
struct Traced(Box<dyn Limit>);

impl Limit for Traced {
    fn start(&self) -> seawall_policy::limit::Step {
        self.0.start()
    }
    fn update(&mut self, w: &seawall_policy::limit::Window) -> seawall_policy::limit::Step {
        let step = self.0.update(w);
        if step.limit == w.limit && w.succeeded == 0 && w.ignored == 0 {
            return step;
        }
        println!(
            "{:.3}+{:.3} L{} n{:.1} ok{} ign{} fresh{} R{:.4} {} -> {} {:?} | {} knee {:?}",
            w.start.as_secs_f64(),
            w.seconds(),
            w.limit,
            w.mean_inflight,
            w.succeeded,
            w.ignored,
            w.fresh,
            w.mean_latency().unwrap_or(0.0),
            if w.bound { "B" } else { "-" },
            step.limit,
            step.after,
            format!("{:?}", self.0)
                .split("phase: ")
                .nth(1)
                .map_or("", |p| &p[..5]),
            self.0.knee()
        );
        step
    }
    fn name(&self) -> &'static str {
        "traced"
    }
    fn base_latency(&self) -> Option<f64> {
        self.0.base_latency()
    }
}
