//! What is to be simulated.

use std::time::Duration;

use super::event::Run;
use super::front::Front;
use super::origin::{Capacity, Route, Service};
use super::report::Report;

/// Traffic, clients and origin of a run. All fields may be changed before [`Scenario::run`].
#[derive(Clone, Debug)]
pub struct Scenario {
    /// The seed of every random number.
    pub seed: u64,
    /// Arrivals a second, each from a moment on.
    pub rates: Vec<(Duration, f64)>,
    /// How long clients wait for an answer.
    pub timeout: Duration,
    /// Kinds of calls.
    pub routes: Vec<Route>,
    /// What the origin can do, each from a moment on, ordered; the first from zero.
    pub capacity: Vec<Capacity>,
    /// Service takes longer by this part for each `slots` calls present at the origin (0: never).
    pub fills: f64,
    /// The origin also works on calls whose clients left before their turn, as a pool of threads
    /// does. Otherwise it skips those. Either way a call that was begun is worked on to its end.
    pub heedless: bool,
    /// Time from gate to origin, and the same back.
    pub network: Duration,
    /// Up to this is added to each way, evenly spread.
    pub jitter: Duration,
    /// What opening a connection takes. A call uses an idle one where there is one; a client that
    /// leaves takes its call's connection with it.
    pub connect: Duration,
    /// How long the run lasts.
    pub length: Duration,
    /// Length of a bucket of the report's series.
    pub bucket: Duration,
}

impl Scenario {
    /// An origin of `slots` × `service`; clients wait 250 ms or 12.5 services, whichever is more.
    #[must_use]
    pub fn new(slots: u32, service: Duration, spread: Service) -> Self {
        Self {
            seed: 1,
            rates: Vec::new(),
            timeout: Duration::from_millis(250).max(service.mul_f64(12.5)),
            routes: vec![Route {
                share: 1.0,
                service,
                spread,
            }],
            capacity: vec![Capacity {
                from: Duration::ZERO,
                slots,
                slowness: 1.0,
            }],
            fills: 0.0,
            heedless: false,
            network: Duration::ZERO,
            jitter: Duration::ZERO,
            connect: Duration::ZERO,
            length: Duration::from_secs(10),
            bucket: Duration::from_millis(100),
        }
    }

    /// The seed of every random number.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Load as (from second, multiple of the capacity at the start).
    #[must_use]
    pub fn load(mut self, steps: &[(f64, f64)]) -> Self {
        let capacity = self.throughput(&self.capacity[0]);
        self.rates = steps
            .iter()
            .map(|&(from, x)| (Duration::from_secs_f64(from), x * capacity))
            .collect();
        self
    }

    /// How long the run lasts.
    #[must_use]
    pub fn lasting(mut self, length: Duration) -> Self {
        self.length = length;
        self
    }

    /// Adds a change of the origin.
    #[must_use]
    pub fn change(mut self, from: Duration, slots: u32, slowness: f64) -> Self {
        self.capacity.push(Capacity {
            from,
            slots,
            slowness,
        });
        self
    }

    /// Calls a second that the origin can answer, with as many present as it has slots.
    #[must_use]
    pub fn throughput(&self, capacity: &Capacity) -> f64 {
        let shares: f64 = self.routes.iter().map(|r| r.share).sum();
        let mean: f64 = self
            .routes
            .iter()
            .map(|r| r.share / shares * r.service.as_secs_f64())
            .sum();
        f64::from(capacity.slots) / (mean * capacity.slowness * (1.0 + self.fills))
    }

    /// Runs it.
    ///
    /// Takes roughly 0.1 µs for a call that is turned away and 0.4 µs for one that is answered.
    #[must_use]
    pub fn run(&self, front: &mut dyn Front) -> Report {
        Run::new(self, front).run()
    }
}
