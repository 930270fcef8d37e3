//! A gate and its origin in virtual time: a discrete-event model, exact and repeatable.
//!
//! Open-loop clients arrive by a Poisson process with a rate that follows a schedule, leave when
//! they have waited too long (the gate frees the place, the origin its queue entry; what a slot is
//! working on already runs to its end and is wasted), and pass a [`Front`] on their way to an
//! origin of N slots behind an unbounded queue. Time is virtual, every random number comes from
//! the seed, so a result is the same on every run and machine, and origins that are too fast or
//! slow to be measured in a bench (500,000 calls a second; two slots of 2 s each) can be judged.
//!
//! ```
//! use seawall_policy::limit::Fixed;
//! use seawall_policy::sim::{PlainGate, Scenario, Service};
//! use std::time::Duration;
//!
//! // 20 slots × 20 ms, five times too much, for three seconds.
//! let scenario = Scenario::new(20, Duration::from_millis(20), Service::Exponential)
//!     .load(&[(0.0, 5.0)])
//!     .lasting(Duration::from_secs(3));
//! let report = scenario.run(&mut PlainGate::new(Box::new(Fixed::new(26))));
//! assert!(report.goodput(Duration::from_secs(1), Duration::from_secs(3)) > 0.95);
//! ```

mod event;
pub mod fleet;
mod front;
mod gated;
mod origin;
mod report;
mod rng;
mod scenario;

pub use front::{Front, Id, Open, PlainGate, Verdict, Wake};
pub use gated::{Gated, Waits};
pub use origin::{Capacity, Route, Service};
pub use report::{Bucket, Latencies, Report};
pub use rng::Rng;
pub use scenario::Scenario;

#[cfg(test)]
mod tests;
