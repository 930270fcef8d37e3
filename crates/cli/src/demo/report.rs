//! The figures of a demo, from what the load generator and the origin counted.

use std::time::Duration;

use seawall_bench::load::{Bucket, Report, WIDTH};
use seawall_bench::origin::Stats;
use serde::Serialize;

use super::stage::Schedule;

/// Width of a [`Bin`].
pub(super) const BIN: Duration = Duration::from_millis(200);
/// The origin's service time: nothing due in a phase can be answered sooner.
const SERVICE: Duration = Duration::from_millis(20);
/// Goodput counts as recovered from this share of the offered load on, in percent.
pub(super) const RECOVERED: u64 = 95;
/// For so long it must hold.
pub(super) const HOLDS: Duration = Duration::from_secs(1);

/// What one run left behind.
#[derive(Debug)]
pub(super) struct Run {
    /// A class a phase, in their order.
    pub(super) report: Report,
    /// What the origin did.
    pub(super) origin: Stats,
}

/// Everything a demo has to show.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Results {
    /// Requests a second that the bare origin delivered when saturated.
    pub(super) capacity: f64,
    pub(super) phases: Vec<PhasePlan>,
    pub(super) without: Side,
    pub(super) with: Side,
}

/// A phase as planned.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct PhasePlan {
    pub(super) name: &'static str,
    /// Offered load as a multiple of the capacity.
    pub(super) multiple: f64,
    pub(super) seconds: f64,
}

/// One of the two runs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Side {
    pub(super) phases: Vec<Phase>,
    /// From the end of the burst; `None`: not within the run.
    pub(super) recovery_s: Option<f64>,
    /// Share of the origin's work that was for callers already gone, 0 to 1.
    pub(super) work_for_gone: f64,
    /// How late the generator itself was, 99th percentile. Latencies include it.
    pub(super) lateness_p99_ms: f64,
    pub(super) bins: Vec<Bin>,
}

/// A phase as it went. Outcomes are those of the requests *due* in it; goodput is counted by the
/// time of the answer, from the first possible one on, so it cannot exceed what the origin delivered.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Phase {
    /// Requests a second.
    pub(super) offered: f64,
    /// Answers in full and in time, a second.
    pub(super) goodput: f64,
    pub(super) rejected: u64,
    pub(super) timed_out: u64,
    pub(super) failed: u64,
    /// Latency of what was served, from the time it was due; `None` where nothing was.
    pub(super) p50_ms: Option<f64>,
    pub(super) p99_ms: Option<f64>,
}

/// Rates of one [`BIN`] of time, a second.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Bin {
    pub(super) from_s: f64,
    pub(super) offered: f64,
    pub(super) goodput: f64,
}

impl Results {
    pub(super) fn new(schedule: &Schedule, without: Run, with: Run) -> Self {
        let phases = schedule.phases.iter().map(|phase| PhasePlan {
            name: phase.name,
            multiple: phase.multiple,
            seconds: phase.lasts.as_secs_f64(),
        });
        Self {
            capacity: schedule.capacity,
            phases: phases.collect(),
            without: Side::new(schedule, &without),
            with: Side::new(schedule, &with),
        }
    }

    /// All of it, for machines.
    pub(super) fn json(&self) -> String {
        // Of plain numbers and names, so it cannot fail.
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }

    /// Length of a run in seconds.
    pub(super) fn seconds(&self) -> f64 {
        self.phases.iter().map(|phase| phase.seconds).sum()
    }

    /// Begin and end of the burst in seconds.
    pub(super) fn burst(&self) -> (f64, f64) {
        let until = |count| {
            self.phases
                .iter()
                .take(count)
                .map(|phase| phase.seconds)
                .sum()
        };
        (until(1), until(2))
    }
}

impl Side {
    fn new(schedule: &Schedule, run: &Run) -> Self {
        let report = &run.report;
        let phase = |(at, class): (usize, &seawall_bench::load::ClassReport)| {
            let (from, lasts) = (schedule.begins(at), schedule.phases[at].lasts);
            let served = report.between(from + SERVICE, from + lasts + SERVICE).ok as f64;
            let ms = |q| (!class.ok.is_empty()).then(|| class.latency(q).as_secs_f64() * 1e3);
            Phase {
                offered: class.due.offered as f64 / lasts.as_secs_f64(),
                goodput: served / lasts.as_secs_f64(),
                rejected: class.due.rejected,
                timed_out: class.due.timeout,
                failed: class.due.error,
                p50_ms: ms(0.5),
                p99_ms: ms(0.99),
            }
        };
        let last = schedule.phases.len() - 1;
        let recovery = report.classes.get(last).and_then(|class| {
            let buckets = class
                .buckets
                .iter()
                .skip(count(schedule.begins(last), WIDTH));
            let after: Vec<Bucket> = buckets
                .take(count(schedule.phases[last].lasts, WIDTH))
                .copied()
                .collect();
            recovery(&after)
        });
        Self {
            phases: report.classes.iter().enumerate().map(phase).collect(),
            recovery_s: recovery.map(|time| time.as_secs_f64()),
            work_for_gone: run.origin.gone_work_s / run.origin.work_s.max(f64::MIN_POSITIVE),
            lateness_p99_ms: report.lateness_p99().as_secs_f64() * 1e3,
            bins: bins(report, schedule.lasts()),
        }
    }

    pub(super) fn rejected(&self) -> u64 {
        self.phases.iter().map(|phase| phase.rejected).sum()
    }
}

fn bins(report: &Report, lasts: Duration) -> Vec<Bin> {
    let number = u32::try_from(count(lasts, BIN)).unwrap_or(u32::MAX);
    let bin = |at: u32| {
        let counts = report.between(BIN * at, BIN * (at + 1));
        let rate = |count: u64| count as f64 / BIN.as_secs_f64();
        Bin {
            from_s: (BIN * at).as_secs_f64(),
            offered: rate(counts.offered),
            goodput: rate(counts.ok),
        }
    };
    (0..number).map(bin).collect()
}

fn count(time: Duration, of: Duration) -> usize {
    usize::try_from(time.as_millis() / of.as_millis()).unwrap_or(usize::MAX)
}

/// How long after the start of `buckets` goodput is at least [`RECOVERED`] percent of what is
/// offered for the first time, for the whole of [`HOLDS`]; `None` when it never is.
///
/// The buckets are those of requests due after the burst alone: late answers to the burst's are not
/// recovery.
fn recovery(buckets: &[Bucket]) -> Option<Duration> {
    let holds = |window: &[Bucket]| {
        let sum = |of: fn(&Bucket) -> u64| window.iter().map(of).sum::<u64>();
        let (offered, ok) = (sum(|bucket| bucket.offered), sum(|bucket| bucket.ok));
        offered > 0 && ok * 100 >= offered * RECOVERED
    };
    let first = buckets.windows(count(HOLDS, WIDTH)).position(holds)?;
    Some(WIDTH * u32::try_from(first).ok()?)
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A demo as it might have gone, without noise: 20 s, collapse in the burst, and for good.
    pub(in super::super) fn fixed() -> Results {
        let phase = |goodput: f64, offered: f64| Phase {
            offered,
            goodput,
            rejected: 0,
            timed_out: 0,
            failed: 0,
            p50_ms: (goodput > 0.0).then_some(21.4),
            p99_ms: (goodput > 0.0).then_some(32.05),
        };
        let bins = |rates: [f64; 3]| {
            let rate = |at: u32| match at {
                0..20 => (500.0, rates[0]),
                20..60 => (10_000.0, rates[1]),
                _ => (500.0, rates[2]),
            };
            (0..100)
                .map(|at| Bin {
                    from_s: f64::from(at) * 0.2,
                    offered: rate(at).0,
                    goodput: rate(at).1,
                })
                .collect()
        };
        let side = |rates: [f64; 3], recovery_s| Side {
            phases: vec![
                phase(rates[0], 500.0),
                phase(rates[1], 10_000.0),
                phase(rates[2], 500.0),
            ],
            recovery_s,
            work_for_gone: 0.0,
            lateness_p99_ms: 0.2,
            bins: bins(rates),
        };
        let plan = |name, multiple, seconds| PhasePlan {
            name,
            multiple,
            seconds,
        };
        let mut results = Results {
            capacity: 1000.0,
            phases: vec![
                plan("before", 0.5, 4.0),
                plan("burst", 10.0, 8.0),
                plan("after", 0.5, 8.0),
            ],
            without: side([500.0, 30.0, 0.0], None),
            with: side([500.0, 985.0, 500.0], Some(0.3)),
        };
        results.without.phases[1].timed_out = 79_760;
        results.without.phases[2].timed_out = 4_000;
        results.without.work_for_gone = 0.91;
        results.with.phases[1].rejected = 72_120;
        results
    }

    fn bucket(offered: u64, ok: u64) -> Bucket {
        Bucket {
            offered,
            ok,
            ..Bucket::default()
        }
    }

    #[test]
    fn recovery_begins_where_a_whole_second_is_good() {
        let mut buckets = vec![bucket(5, 0); 30];
        buckets.extend(vec![bucket(5, 5); 200]);
        // 95 of 100 buckets suffice, so the window may begin 5 buckets early.
        assert_eq!(recovery(&buckets), Some(Duration::from_millis(250)));
        assert_eq!(recovery(&vec![bucket(5, 5); 100]), Some(Duration::ZERO));
        assert_eq!(
            recovery(&vec![bucket(5, 5); 99]),
            None,
            "not a whole second"
        );
        assert_eq!(
            recovery(&vec![bucket(0, 0); 300]),
            None,
            "nothing was asked"
        );
    }

    fn counts() -> impl Strategy<Value = Vec<Bucket>> {
        let bucket = (0u64..8, 0u64..8).prop_map(|(offered, ok)| bucket(offered, ok.min(offered)));
        proptest::collection::vec(bucket, 100..300).prop_flat_map(|buckets| {
            // Somewhere it becomes good, or never.
            (0..=buckets.len()).prop_map(move |good| {
                let mut buckets = buckets.clone();
                for bucket in &mut buckets[good..] {
                    bucket.ok = bucket.offered;
                }
                buckets
            })
        })
    }

    proptest! {
        #[test]
        fn better_service_never_recovers_later(buckets in counts(), at in 0usize..300) {
            let mut better = buckets.clone();
            if let Some(bucket) = better.get_mut(at) {
                bucket.ok = bucket.offered;
            }
            if let Some(before) = recovery(&buckets) {
                prop_assert!(recovery(&better).is_some_and(|after| after <= before));
            }
        }

        #[test]
        fn the_second_named_is_good_and_none_before_it(buckets in counts()) {
            let good = |at: usize| {
                let window = &buckets[at..at + 100];
                let offered: u64 = window.iter().map(|bucket| bucket.offered).sum();
                let ok: u64 = window.iter().map(|bucket| bucket.ok).sum();
                offered > 0 && ok as f64 >= 0.95 * offered as f64 - 1e-9
            };
            let found = recovery(&buckets).map(|time| count(time, WIDTH));
            let expected = (0..=buckets.len() - 100).find(|at| good(*at));
            prop_assert_eq!(found, expected);
        }
    }
}
