//! What is counted of each method.
//!
//! Every method has its counters from the start, so a request looks nothing up and formats no
//! label: it adds to a handful of words that its core keeps. They are added up when a scrape asks.
//! In flight are those that have begun less those that have ended, which spares a request the
//! second write to a gauge.

mod collect;

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use seawall_sync::{Shard, Sharded};

pub use collect::StackMetrics;

use super::answer::Code;
use crate::context::Wire;
use crate::{Criticality, Reason};

/// Statuses that are told apart; another counts as the first of its class (`418` as `400`).
pub(super) const STATUSES: [u16; 36] = [
    100, 101, 200, 201, 202, 204, 206, 300, 301, 302, 303, 304, 307, 308, 400, 401, 403, 404, 405,
    406, 408, 409, 410, 412, 413, 415, 422, 428, 429, 431, 499, 500, 501, 502, 503, 504,
];

/// Upper bounds of the latency buckets, in microseconds: those of the gateway.
pub(super) const BOUNDS: [u64; 16] = [
    500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    2_500_000, 5_000_000, 10_000_000, 30_000_000, 60_000_000,
];

/// Of one method.
pub(super) struct Counters(Sharded<Counts>);

/// What one thread counts.
pub(super) struct Counts {
    begun: AtomicU64,
    /// By status; its latencies beside.
    http: [AtomicU64; STATUSES.len()],
    /// By gRPC code.
    grpc: [AtomicU64; 17],
    times: [Times; 2],
    rejected: [[AtomicU64; 4]; Reason::ALL.len()],
    panics: AtomicU64,
}

/// A histogram of times.
struct Times {
    buckets: [AtomicU64; BOUNDS.len() + 1],
    /// In microseconds.
    sum: AtomicU64,
}

impl Default for Counters {
    fn default() -> Self {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        Self(Sharded::new(threads, Counts::default))
    }
}

impl Default for Counts {
    fn default() -> Self {
        let zero = |_| AtomicU64::new(0);
        Self {
            begun: AtomicU64::new(0),
            http: std::array::from_fn(zero),
            grpc: std::array::from_fn(zero),
            times: std::array::from_fn(|_| Times {
                buckets: std::array::from_fn(zero),
                sum: AtomicU64::new(0),
            }),
            rejected: std::array::from_fn(|_| std::array::from_fn(zero)),
            panics: AtomicU64::new(0),
        }
    }
}

impl Counters {
    fn mine(&self) -> &Counts {
        self.0.get(Shard::current())
    }

    pub(super) fn begun(&self) {
        self.mine().begun.fetch_add(1, Relaxed);
    }

    pub(super) fn ended(&self, code: Code, took: Duration) {
        let mine = self.mine();
        let (count, wire) = match code {
            Code::Http(status) => (&mine.http[status_at(status)], Wire::Http),
            Code::Grpc(code) => (&mine.grpc[usize::from(code).min(16)], Wire::Grpc),
        };
        count.fetch_add(1, Relaxed);
        mine.times[wire as usize].add(took);
    }

    pub(super) fn rejected(&self, reason: Reason, criticality: Criticality) {
        self.mine().rejected[reason as usize][criticality as usize].fetch_add(1, Relaxed);
    }

    pub(super) fn panicked(&self) {
        self.mine().panics.fetch_add(1, Relaxed);
    }

    fn sum(&self, of: impl Fn(&Counts) -> &AtomicU64) -> u64 {
        self.0.iter().map(|counts| of(counts).load(Relaxed)).sum()
    }

    /// How many have begun and not ended.
    pub(super) fn in_flight(&self) -> u64 {
        // What has ended first, so that what begins meanwhile does not make less than none.
        let http: u64 = (0..STATUSES.len())
            .map(|at| self.sum(|c| &c.http[at]))
            .sum();
        let grpc: u64 = (0..17).map(|at| self.sum(|c| &c.grpc[at])).sum();
        self.sum(|c| &c.begun).saturating_sub(http + grpc)
    }
}

impl Times {
    fn add(&self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.buckets[BOUNDS.partition_point(|bound| *bound < micros)].fetch_add(1, Relaxed);
        self.sum.fetch_add(micros, Relaxed);
    }
}

/// The place among [`STATUSES`] of a status, or of the first of its class.
fn status_at(status: u16) -> usize {
    let class = (status / 100).clamp(1, 5) * 100;
    let at = |status| STATUSES.binary_search(&status);
    at(status).or_else(|_| at(class)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_has_a_place_and_those_known_their_own() {
        for status in 0..=u16::MAX {
            let told = STATUSES[status_at(status)];
            assert!(
                told == status || told.is_multiple_of(100),
                "{status}: {told}"
            );
            if (100..600).contains(&status) {
                assert_eq!(told / 100, status / 100);
            }
        }
        assert_eq!(STATUSES[status_at(418)], 400);
    }

    #[test]
    fn in_flight_are_those_that_have_not_ended() {
        let counters = Counters::default();
        for _ in 0..3 {
            counters.begun();
        }
        counters.ended(Code::Http(200), Duration::from_millis(1));
        counters.ended(Code::Grpc(200), Duration::MAX);
        assert_eq!(counters.in_flight(), 1);
    }
}
