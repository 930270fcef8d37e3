//! Prequal (Wydrowski et al., NSDI'24): hosts say how loaded they are, to probes and on responses.
//!
//! What a client sees by itself is its own calls; where a hundred clients share a hundred hosts,
//! that is a hundredth of the truth. A pool of a few fresh reports, from all over the fleet, is
//! enough to avoid the hosts that are hot.
//!
//! The rule: a report is hot if its calls in flight exceed the Q-quantile of the pool's. Of the cold
//! ones the least latency is taken; if all are hot, the fewest in flight. Each call uses up: a report
//! serves one call, or a few, each of which it is charged with, then goes; and with every call one is taken
//! out, in turn the worst (else the pool would come to hold only what nobody wants) and the oldest.
//!
//! Q is 0.84 in the paper. One that reimplemented it saw its clients herd at 0.84 (the cold ones of
//! least latency are the same for all) and went to 0.6; it is a setting.
//!
//! The paper sends three probes with every call. Here every response may carry a report too, so half
//! of that is asked for: [`Hosts::probe_wanted`](super::Hosts::probe_wanted) says when and of whom.
//! A report replaces an older one of the same host, so the pool is never full of one.
//!
//! It does not know of failures: a host that fails is left out by its ejection and by chance, in
//! proportion to how much it fails. Where fewer than two reports are fresh, the choice is that of
//! peak EWMA.

mod pool;

pub(super) use pool::Pool;

use std::time::Duration;

/// Settings of Prequal.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PrequalSettings {
    /// The quantile of calls in flight above which a report is hot, 0 to 1: 0 chooses by in-flight
    /// alone, 1 by latency alone. Default 0.84, the paper's; lower it if clients herd.
    pub hot_quantile: f64,
    /// Probes asked for with each call, 0 to 8. Default 1.5: half of the paper's three, responses do
    /// the rest. Without reports on responses, set 3.
    pub probes: f64,
    /// How many calls a report serves, 1 to 31. Default 1: where responses carry reports, there are
    /// more than two for each call, and a fresh one is worth more than a second use of another. In
    /// the paper's scenario p99 at 90 % is 238 ms with 1, 277 with 2, 345 with 4 (`sim::fleet`, row
    /// `prequal`).
    pub reuse: u32,
    /// After this a report is stale, 10 ms to 4 s. Default 1 s, the paper's.
    pub max_age: Duration,
    /// Reports taken out with each call besides those that are used up, 0 to 4, while more than half
    /// of the pool is full. Default 1.
    pub remove: f64,
}

impl Default for PrequalSettings {
    fn default() -> Self {
        Self {
            hot_quantile: 0.84,
            probes: 1.5,
            reuse: 1,
            max_age: Duration::from_secs(1),
            remove: 1.0,
        }
    }
}
