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
//! The paper sends three probes with every call. Here every response may carry a report too, and
//! less than half of that is enough: [`Hosts::probe_wanted`](super::Hosts::probe_wanted) says when and of whom.
//! A report replaces an older one of the same host, so the pool is never full of one.
//!
//! What matters more than the number of reports is that they are fresh and that clients do not herd.
//! One that reimplemented Prequal saw its clients herd at Q = 0.84 (the cold ones of least latency are
//! the same for all) and went to 0.6; once a report serves one call only, little is left of that.
//! A model: 100 clients, 100 hosts of 4 slots and 20 ms
//! (exponential), at 0.9 of the capacity, each host slowed to a half by its neighbours for a fifth of
//! the time. p99 in ms, and where half of the hosts are twice as fast as the others:
//!
//! | | alike | skewed |
//! |---|---|---|
//! | 3 probes, Q 0.84, a report serves 4 calls | 515 | 531 |
//! | 3 probes, Q 0.84, once | 266 | 243 |
//! | 1 probe and reports, Q 0.84, once | 132 | 133 |
//! | 1 probe and reports, Q 0.6, once | 123 | 133 |
//! | peak EWMA | 662 | 745 |
//! | least request | 1,016 | 1,739 |
//! | round robin | 1,959 | 3,182 |
//!
//! And the scenario of the paper (`sim::fleet`, row `prequal`: shared processors, antagonists, 0.9 of
//! what is allotted; the paper's rule has 275 and 224):
//!
//! | | alike | skewed |
//! |---|---|---|
//! | 1 probe and reports, Q 0.6 | 228 | 239 |
//! | 1 probe and reports, Q 0.84 | 229 | 223 |
//! | 1.25 probes and reports, Q 0.6 | 236 | 222 |
//! | 1.25 probes and reports, Q 0.84 (the default) | 237 | 197 |
//!
//! Above the capacity more probes help (1.5: 970 ms at 1.05, 1: 1,190), below they make all clients
//! see the same hosts.
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
    /// alone, 1 by latency alone. Default 0.84, the paper's. Where all hosts are alike, a lower one
    /// is a little better; where they differ, it takes their speed for nothing.
    pub hot_quantile: f64,
    /// Probes asked for with each call, 0 to 8. Default 1.25, less than half of the paper's:
    /// responses do the rest. Without reports on responses, set 2 to 3.
    pub probes: f64,
    /// How many calls a report serves, 1 to 31. Default 1: what it said was true before that call.
    /// More where there are few reports to a call.
    pub reuse: u32,
    /// After this a report is stale, 10 ms to 4 s. Default 1 s, the paper's.
    pub max_age: Duration,
    /// Reports taken out with each call besides those that are used up, 0 to 4. Default 1. Without,
    /// or with exceptions while there are few, a pool that is fed slowly comes to hold nothing but
    /// what no call wanted.
    pub remove: f64,
}

impl Default for PrequalSettings {
    fn default() -> Self {
        Self {
            hot_quantile: 0.84,
            probes: 1.25,
            reuse: 1,
            max_age: Duration::from_secs(1),
            remove: 1.0,
        }
    }
}
