//! The first second of a cold start behind the real gate, by shape, spread of service, time that
//! opening a connection takes (in services) and load: the mean and the least over the seeds, in
//! percent of the capacity.
//!
//! `cargo run --profile quick -p seawall-policy --features sim --example cold_starts [SEEDS]`
#![allow(clippy::print_stdout, reason = "its output is the point")]

use std::time::Duration;

use seawall_policy::admit::GateSettings;
use seawall_policy::sim::{Gated, Scenario, Service};

const SHAPES: [(u32, f64); 9] = [
    (10, 0.01),
    (20, 0.02),
    (20, 0.2),
    (50, 0.005),
    (50, 0.1),
    (100, 0.05),
    (200, 0.02),
    (200, 0.2),
    (500, 0.04),
];
const CONNECT: [f64; 4] = [0.0, 0.5, 1.0, 2.0];
const LOADS: [f64; 3] = [2.0, 5.0, 10.0];

fn first_second(
    (slots, service): (u32, f64),
    spread: Service,
    connect: f64,
    load: f64,
    seed: u64,
) -> f64 {
    let second = (25.0 * service).max(1.0);
    let from = Duration::from_secs_f64(service * (spread.quickest() + connect));
    let to = from + Duration::from_secs_f64(second);
    let mut scenario = Scenario::new(slots, Duration::from_secs_f64(service), spread)
        .seed(seed)
        .load(&[(0.0, load)])
        .lasting(to + Duration::from_secs_f64(0.01 * second));
    scenario.bucket = Duration::from_secs_f64(second / 100.0);
    scenario.connect = Duration::from_secs_f64(connect * service);
    scenario
        .run(&mut Gated::new(GateSettings::default()))
        .goodput(from, to)
}

fn main() {
    let seeds: u64 = std::env::args()
        .nth(1)
        .and_then(|s| s.parse().ok())
        .unwrap_or(10);
    println!("columns: a connection takes {CONNECT:?} services; in each, load {LOADS:?}");
    for shape in SHAPES {
        for spread in Service::ALL {
            let name = format!("{} x {} ms {spread:?}", shape.0, shape.1 * 1e3);
            print!("{name:<24}");
            for connect in CONNECT {
                for load in LOADS {
                    let of = |seed| 100.0 * first_second(shape, spread, connect, load, seed);
                    let all: Vec<f64> = (1..=seeds).map(of).collect();
                    let mean = all.iter().sum::<f64>() / all.len() as f64;
                    let least = all.iter().copied().fold(f64::INFINITY, f64::min);
                    print!(" {mean:>4.0} {least:>4.0}");
                }
                print!(" |");
            }
            println!();
        }
    }
}
