//! The pool of reports, shared by threads without a lock.
//!
//! A report is one word, so that it is read and exchanged whole. Two that fight over a slot are two
//! reports of equal worth: who loses the exchange lets it be.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use seawall_sync::CachePadded;

use super::PrequalSettings;
use crate::Tick;
use crate::balance::Load;

/// How many reports are held, the paper's number.
const SLOTS: usize = 16;

// The fields of a word, from the low end. Zero is no report: the uses left are never 0.
const USES_BITS: u32 = 5;
const STAMP_BITS: u32 = 13;
const LATENCY_BITS: u32 = 18;
const IN_FLIGHT_BITS: u32 = 12;
const STAMP_AT: u32 = USES_BITS;
const LATENCY_AT: u32 = STAMP_AT + STAMP_BITS;
const IN_FLIGHT_AT: u32 = LATENCY_AT + LATENCY_BITS;
const SEAT_AT: u32 = IN_FLIGHT_AT + IN_FLIGHT_BITS;
/// A stamp counts 2^20 ns, and comes round after 8.6 s; stale long before.
const STAMP_NS_BITS: u32 = 20;
/// An f32 without its sign and its lower 13 bits: latencies to a thousandth.
const LATENCY_DROPPED: u32 = 13;
/// Debts are counted in thousandths.
const WHOLE: u32 = 1_000;

/// A host's report as it lies in a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Report(u64);

const fn field(word: u64, at: u32, bits: u32) -> u64 {
    (word >> at) & ((1 << bits) - 1)
}

impl Report {
    fn new(seat: u16, load: Load, uses: u32, now: Tick) -> Self {
        let in_flight = u64::from(load.in_flight).min((1 << IN_FLIGHT_BITS) - 1);
        let latency = load.latency.as_nanos() as f32;
        let latency = u64::from(latency.to_bits() >> LATENCY_DROPPED);
        let stamp = field(now.0 >> STAMP_NS_BITS, 0, STAMP_BITS);
        Self(
            u64::from(uses.clamp(1, (1 << USES_BITS) - 1))
                | stamp << STAMP_AT
                | latency << LATENCY_AT
                | in_flight << IN_FLIGHT_AT
                | u64::from(seat) << SEAT_AT,
        )
    }

    fn seat(self) -> usize {
        (self.0 >> SEAT_AT) as usize
    }

    fn in_flight(self) -> u32 {
        field(self.0, IN_FLIGHT_AT, IN_FLIGHT_BITS) as u32
    }

    /// Ordered as the latencies are.
    fn latency(self) -> u32 {
        field(self.0, LATENCY_AT, LATENCY_BITS) as u32
    }

    fn age(self, now: Tick) -> u32 {
        let stamp = field(self.0, STAMP_AT, STAMP_BITS);
        field((now.0 >> STAMP_NS_BITS).wrapping_sub(stamp), 0, STAMP_BITS) as u32
    }

    /// Used once more: a call is on its way there. Nothing is left after the last use.
    fn used(self) -> u64 {
        if field(self.0, 0, USES_BITS) <= 1 {
            return 0;
        }
        let full = self.in_flight() == (1 << IN_FLIGHT_BITS) - 1;
        let more = if full { 0 } else { 1 << IN_FLIGHT_AT };
        self.0 - 1 + more
    }

    fn at_seat(self, seat: u16) -> Self {
        Self(field(self.0, 0, SEAT_AT) | u64::from(seat) << SEAT_AT)
    }
}

#[derive(Debug, Default)]
struct Debts {
    /// Probes that are owed.
    probes: AtomicU32,
    /// Removals so far.
    removals: AtomicU32,
}

#[derive(Debug)]
pub(in crate::balance) struct Pool {
    slots: CachePadded<[AtomicU64; SLOTS]>,
    /// In thousandths.
    debts: CachePadded<Debts>,
    quantile: f64,
    probes: u32,
    reuse: u32,
    remove: u32,
    max_age: u32,
}

impl Pool {
    pub(in crate::balance) fn new(settings: &PrequalSettings) -> Self {
        let default = PrequalSettings::default();
        let within = |value: f64, most: f64, default: f64| {
            if value.is_nan() {
                default
            } else {
                value.clamp(0.0, most)
            }
        };
        let thousandths = |rate: f64| (rate * f64::from(WHOLE)) as u32;
        let max_age = settings.max_age;
        let max_age = max_age.clamp(Duration::from_millis(10), Duration::from_secs(4));
        Self {
            slots: CachePadded::default(),
            debts: CachePadded::default(),
            quantile: within(settings.hot_quantile, 1.0, default.hot_quantile),
            probes: thousandths(within(settings.probes, 8.0, default.probes)),
            reuse: settings.reuse,
            remove: thousandths(within(settings.remove, 4.0, default.remove)),
            max_age: (max_age.as_nanos() >> STAMP_NS_BITS) as u32,
        }
    }

    /// Takes a report in: in place of one of the same host, else a stale or missing one, else the
    /// oldest.
    pub(in crate::balance) fn insert(&self, seat: usize, load: Load, now: Tick) {
        let Ok(seat) = u16::try_from(seat) else {
            return;
        };
        let report = Report::new(seat, load, self.reuse, now);
        let mut place = (0, 0);
        for (at, slot) in self.slots.iter().enumerate() {
            let word = slot.load(Relaxed);
            let rank = match self.fresh(word, now) {
                Some(report) if report.seat() == usize::from(seat) => u32::MAX,
                Some(report) => report.age(now) + 1,
                None => u32::MAX - 1,
            };
            if rank > place.0 {
                place = (rank, at);
            }
        }
        self.slots[place.1].store(report.0, Relaxed);
    }

    fn fresh(&self, word: u64, now: Tick) -> Option<Report> {
        let report = Report(word);
        (word != 0 && report.age(now) <= self.max_age).then_some(report)
    }

    /// The best report whose seat `usable` takes, charged with a call; then what is due is taken
    /// out. `None` where fewer than two are fresh or none is usable.
    pub(in crate::balance) fn pick(
        &self,
        now: Tick,
        mut usable: impl FnMut(usize) -> bool,
    ) -> Option<usize> {
        let owed = self.debts.probes.load(Relaxed) + self.probes;
        let most = SLOTS as u32 * WHOLE;
        self.debts.probes.store(owed.min(most), Relaxed);
        let mut reports = [(Report(0), 0_usize); SLOTS];
        let mut count = 0;
        for (at, slot) in self.slots.iter().enumerate() {
            if let Some(report) = self.fresh(slot.load(Relaxed), now) {
                reports[count] = (report, at);
                count += 1;
            }
        }
        let reports = &mut reports[..count];
        if count < 2 {
            return None;
        }
        let hot = self.hot(reports);
        // Cold before hot; the cold by latency, the hot by calls in flight.
        let rank = |report: Report| {
            let is_hot = report.in_flight() > hot;
            let by = if is_hot {
                report.in_flight()
            } else {
                report.latency()
            };
            (is_hot, by)
        };
        reports.sort_unstable_by_key(|&(report, _)| rank(report));
        let best = reports
            .iter()
            .position(|&(report, _)| usable(report.seat()));
        let chosen = best.map(|best| {
            let (report, at) = reports[best];
            self.exchange(at, report, report.used());
            report.seat()
        });
        self.remove_due(reports, best, now);
        chosen
    }

    /// The calls in flight above which a report is hot.
    fn hot(&self, reports: &[(Report, usize)]) -> u32 {
        let mut in_flight = [0_u32; SLOTS];
        for (slot, (report, _)) in in_flight.iter_mut().zip(reports) {
            *slot = report.in_flight();
        }
        let in_flight = &mut in_flight[..reports.len()];
        in_flight.sort_unstable();
        let last = in_flight.len() - 1;
        in_flight[(self.quantile * last as f64) as usize]
    }

    /// Takes out what is due with this call, the worst and the oldest in turn, but not the one just
    /// used. `reports` run from best to worst.
    fn remove_due(&self, reports: &[(Report, usize)], best: Option<usize>, now: Tick) {
        let before = self.debts.removals.load(Relaxed);
        let after = before.wrapping_add(self.remove);
        self.debts.removals.store(after, Relaxed);
        let others = || (0..reports.len()).filter(|&at| Some(at) != best);
        for turn in before / WHOLE..after / WHOLE {
            let gone = if turn % 2 == 0 {
                others().next_back()
            } else {
                others().max_by_key(|&at| reports[at].0.age(now))
            };
            if let Some(gone) = gone {
                let (report, at) = reports[gone];
                self.exchange(at, report, 0);
            }
        }
    }

    /// True as often as a probe is due.
    pub(in crate::balance) fn take_probe(&self) -> bool {
        let one = |owed: u32| owed.checked_sub(WHOLE);
        let owed = &self.debts.probes;
        owed.fetch_update(Relaxed, Relaxed, one).is_ok()
    }

    /// Seats have changed: what is at seat `i` is now at `to(i)`, if anywhere.
    pub(in crate::balance) fn reseat(&self, to: impl Fn(usize) -> Option<usize>) {
        for slot in self.slots.iter() {
            let report = Report(slot.load(Relaxed));
            let seat = to(report.seat()).and_then(|seat| u16::try_from(seat).ok());
            let word = seat.map_or(0, |seat| report.at_seat(seat).0);
            if report.0 != 0 {
                slot.store(word, Relaxed);
            }
        }
    }

    fn exchange(&self, at: usize, from: Report, to: u64) {
        let _ = self.slots[at].compare_exchange(from.0, to, Relaxed, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn load(in_flight: u32, ms: u64) -> Load {
        Load {
            in_flight,
            latency: Duration::from_millis(ms),
        }
    }

    fn pool(settings: PrequalSettings) -> Pool {
        Pool::new(&settings)
    }

    proptest! {
        #[test]
        fn a_report_is_read_as_it_was_written(seat: u16, in_flight: u32, ns: u64, uses in 1_u32..32, at: u64, later_ms in 0_u64..4_000) {
            let load = Load { in_flight, latency: Duration::from_nanos(ns) };
            let report = Report::new(seat, load, uses, Tick(at));
            prop_assert_eq!(report.seat(), usize::from(seat));
            prop_assert_eq!(report.in_flight(), in_flight.min(4_095));
            let back = f32::from_bits(report.latency() << LATENCY_DROPPED);
            prop_assert!((back - ns as f32).abs() <= ns as f32 / 1_000.0);
            let age = report.age(Tick(at) + Duration::from_millis(later_ms));
            if at < u64::MAX / 2 {
                let want = (later_ms * 1_000_000) >> STAMP_NS_BITS;
                prop_assert!((u64::from(age)).abs_diff(want) <= 1);
            }
            let mut left = report.0;
            for _ in 0..uses {
                prop_assert!(left != 0);
                left = Report(left).used();
            }
            prop_assert_eq!(left, 0);
        }
    }

    #[test]
    fn cold_by_latency_then_hot_by_calls() {
        let pool = pool(PrequalSettings {
            hot_quantile: 0.5,
            remove: 0.0,
            reuse: 31,
            ..PrequalSettings::default()
        });
        for (seat, load) in [load(1, 30), load(2, 20), load(9, 1), load(8, 1)]
            .into_iter()
            .enumerate()
        {
            pool.insert(seat, load, Tick::ZERO);
        }
        assert_eq!(pool.pick(Tick::ZERO, |_| true), Some(1));
        assert_eq!(pool.pick(Tick::ZERO, |seat| seat > 1), Some(3));
        assert_eq!(pool.pick(Tick::ZERO, |_| false), None);
        assert_eq!(pool.pick(Tick::from_millis(1_100), |_| true), None, "stale");
    }

    #[test]
    fn each_call_uses_up_and_takes_out() {
        let pool = pool(PrequalSettings {
            reuse: 2,
            hot_quantile: 0.0,
            ..PrequalSettings::default()
        });
        let held = |pool: &Pool| {
            let words = pool.slots.iter().map(|slot| slot.load(Relaxed));
            let mut seats: Vec<_> = words
                .filter(|&word| word != 0)
                .map(|word| Report(word).seat())
                .collect();
            seats.sort_unstable();
            seats
        };
        for seat in 0..20 {
            let oldest_first = Tick::from_millis(seat as u64 * 10);
            pool.insert(seat, load(10 + seat as u32 % 19, 10), oldest_first);
        }
        assert_eq!(held(&pool), (4..20).collect::<Vec<_>>());
        let now = Tick::from_millis(200);
        // 19 has 10 calls in flight, after its first use 11; 18 has the most, 4 is the oldest.
        assert_eq!(pool.pick(now, |_| true), Some(19));
        assert_eq!(
            held(&pool),
            (4..20).filter(|&seat| seat != 18).collect::<Vec<_>>()
        );
        assert_eq!(pool.pick(now, |_| true), Some(19));
        assert_eq!(
            held(&pool),
            (5..18).collect::<Vec<_>>(),
            "19 used up, 4 oldest"
        );
        assert_eq!((0..9).filter(|_| pool.take_probe()).count(), 2);
        pool.reseat(|seat| (seat == 7).then_some(0));
        assert_eq!(held(&pool), [0]);
        assert_eq!(pool.pick(now, |_| true), None, "one report is no choice");
    }
}
