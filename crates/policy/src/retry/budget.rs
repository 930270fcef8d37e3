//! How many retries an upstream may be sent.
//!
//! Over the window, retries stay within a share of the first attempts. Finagle's and Envoy's
//! budgets say the same; these are the differences:
//!
//! - *Counted, not converted.* First attempts and retries are counted and compared in millionths.
//!   A budget that turns a ratio into whole tokens per attempt truncates (0.4 behaves as 0.5).
//! - *Savings are not spent at once.* A quiet hour and then an outage: ten seconds' savings would
//!   double the load for a second, just when it hurts. What earlier slices of the window left may
//!   be spent at an eighth a slice, so that at a tenth the load never exceeds 1.25 times.
//! - *A floor*, so that who calls once a minute can retry at all: so many a second whatever the
//!   traffic, saved up over the window.
//! - *Per thread.* Each shard obeys the law for its own traffic, and so do all of them together;
//!   one that has nothing left takes from the others. What the split costs is less than one retry
//!   per shard and window, which the floor makes up for.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use seawall_sync::{CachePadded, Shard, Sharded};

use crate::Tick;
use crate::stats::{Pair, PairWindow, SliceNumber};

const SLICES: usize = 10;
const MILLION: u64 = 1_000_000;
/// The part of what earlier slices left that one slice may spend.
const SAVINGS_PART: u64 = 8;

/// Settings of a [`Budget`]. A value out of range counts as the nearest one in range.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BudgetSettings {
    /// Retries per first attempt, 0 to 1, in steps of a millionth. Default 0.1, as Google's SRE
    /// book has it.
    pub ratio: f64,
    /// Retries per second whatever the traffic, 0 to a million. Default 1: enough for who hardly
    /// calls, and a thousandth of who calls a thousand times a second.
    pub floor: f64,
    /// What is not spent for this long is gone; 10 ns to an hour. Default 10 s.
    pub window: Duration,
    /// Threads that will share it; 1 in a simulation. Default 1.
    pub shards: usize,
}

impl Default for BudgetSettings {
    fn default() -> Self {
        Self {
            ratio: 0.1,
            floor: 1.0,
            window: Duration::from_secs(10),
            shards: 1,
        }
    }
}

/// The retries and hedges that one upstream may be sent, shared by all threads that call it.
///
/// Whenever it gives one out, it has given out at most `ratio` times the first attempts of the ten
/// slices that end with that one (a slice is a tenth of the window, cut at whole multiples), and
/// beside those the floor: at most `floor · (t + window)` in any time `t`, and one where that is
/// less. Time that runs backwards counts as the latest seen. The retry after a probe is the exception
/// ([`Retry::decide`](super::Retry::decide)): it is sent in any case, and counted.
///
/// A deposit costs one atomic addition on the thread's own cache line, a withdrawal one exchange.
///
/// ```
/// use seawall_policy::{Tick, retry::{Budget, BudgetSettings}};
///
/// let budget = Budget::new(&BudgetSettings { ratio: 0.4, floor: 0.0, ..Default::default() });
/// let now = Tick::from_millis(5);
/// for _ in 0..100 {
///     budget.deposit(now);
/// }
/// let spent = (0..100).filter_map(|_| budget.withdraw(now)).count();
/// assert_eq!(spent, 40);
/// ```
#[derive(Debug)]
pub struct Budget {
    ratio_ppm: u64,
    /// First attempts, and the retries paid for by them.
    shards: Sharded<PairWindow>,
    floor: CachePadded<Floor>,
}

/// A retry's or hedge's worth, taken out of a [`Budget`].
///
/// Kept by dropping it. Give it to [`Budget::refund`] where nothing was sent after all.
#[must_use = "a withdrawal is spent unless it is refunded"]
#[derive(Debug, PartialEq, Eq)]
pub struct Withdrawal(From);

#[derive(Debug, PartialEq, Eq)]
enum From {
    Shard(Shard, SliceNumber),
    Floor,
    /// What costs nobody anything.
    Nothing,
}

impl Withdrawal {
    pub(super) const FREE: Self = Self(From::Nothing);
}

impl Budget {
    /// A budget with the floor's savings and no others.
    #[must_use]
    pub fn new(settings: &BudgetSettings) -> Self {
        let ratio = in_range(settings.ratio, 1.0, BudgetSettings::default().ratio);
        let hour = Duration::from_secs(3_600);
        let window = settings.window.clamp(Duration::from_nanos(10), hour);
        Self {
            ratio_ppm: (ratio * MILLION as f64).round() as u64,
            shards: Sharded::new(settings.shards, || PairWindow::new(window, SLICES)),
            floor: CachePadded::new(Floor::new(settings.floor, window)),
        }
    }

    /// Counts a first attempt: the first that this layer makes for a call that is itself no retry
    /// of a layer above ([`Call::attempt`](crate::Call::attempt) is 0). Retries earn nothing.
    #[inline]
    pub fn deposit(&self, now: Tick) {
        self.shards.get(Shard::current()).add_first(now);
    }

    /// Pays for one retry or hedge, if the budget allows it.
    #[inline]
    pub fn withdraw(&self, now: Tick) -> Option<Withdrawal> {
        let own = Shard::current();
        match self.withdraw_from(own, now) {
            Some(withdrawal) => Some(withdrawal),
            None => self.withdraw_elsewhere(own, now),
        }
    }

    /// Pays for a retry that is sent in any case: where the budget does not allow it, others wait
    /// until it is made up for, so that all together keep to the ratio while these are fewer.
    pub(super) fn overdraw(&self, now: Tick) -> Withdrawal {
        let own = Shard::current();
        if let Some(withdrawal) = self.withdraw(now) {
            return withdrawal;
        }
        match self.shards.get(own).try_add_second(now, |_, _| true) {
            Some(slice) => Withdrawal(From::Shard(own, slice)),
            None => Withdrawal::FREE,
        }
    }

    /// Gives back what was withdrawn for something that was never sent. After the slice of the
    /// withdrawal is over it changes nothing.
    pub fn refund(&self, withdrawal: Withdrawal) {
        match withdrawal.0 {
            From::Shard(shard, slice) => self.shards.get(shard).take_back_second(slice),
            From::Floor => self.floor.refund(),
            From::Nothing => {}
        }
    }

    /// First attempts in the window, and the retries paid for by them; those that the floor paid
    /// for are not among them. For metrics.
    #[must_use]
    pub fn gauge(&self, now: Tick) -> (u64, u64) {
        let total = self.shards.iter().map(|shard| shard.total(now));
        total.fold((0, 0), |(first, second), pair| {
            (first + pair.first, second + pair.second)
        })
    }

    #[inline]
    fn withdraw_from(&self, shard: Shard, now: Tick) -> Option<Withdrawal> {
        let allow = |present, past| self.allows(present, past);
        let slice = self.shards.get(shard).try_add_second(now, allow)?;
        Some(Withdrawal(From::Shard(shard, slice)))
    }

    #[cold]
    fn withdraw_elsewhere(&self, own: Shard, now: Tick) -> Option<Withdrawal> {
        (1..self.shards.count())
            .find_map(|i| self.withdraw_from(Shard(own.0.wrapping_add(i)), now))
            .or_else(|| self.floor.withdraw(now).then_some(Withdrawal(From::Floor)))
    }

    /// Whether one more retry in this slice keeps the law. The first of a slice may spend more
    /// than its part of the savings: otherwise who has few could never spend them.
    #[inline]
    fn allows(&self, present: Pair, past: Pair) -> bool {
        let whole = present.plus(past);
        let enough = (whole.second + 1) * MILLION <= self.ratio_ppm * whole.first;
        let part = self.ratio_ppm * (present.first * SAVINGS_PART + past.first);
        enough && (present.second == 0 || (present.second + 1) * MILLION * SAVINGS_PART <= part)
    }
}

/// So many a second, saved up over the window: a generic cell rate algorithm, whose whole state
/// is the time at which everything given out will have been earned.
#[derive(Debug)]
struct Floor {
    earned: AtomicU64,
    /// Nanoseconds that one takes to earn; none where nothing is given.
    each: Option<u64>,
    savings: u64,
}

impl Floor {
    fn new(per_second: f64, window: Duration) -> Self {
        let rate = in_range(per_second, 1e6, BudgetSettings::default().floor);
        // Less than one an hour is none.
        let each = (rate >= 1.0 / 3_600.0).then(|| (1e9 / rate).ceil() as u64);
        Self {
            earned: AtomicU64::new(0),
            each,
            savings: (window.as_nanos() as u64).max(each.unwrap_or(0)),
        }
    }

    fn withdraw(&self, now: Tick) -> bool {
        let Some(each) = self.each else { return false };
        let take = |earned: u64| {
            let earned = earned.max(now.0).checked_add(each)?;
            (earned <= now.0.saturating_add(self.savings)).then_some(earned)
        };
        self.earned.fetch_update(Relaxed, Relaxed, take).is_ok()
    }

    fn refund(&self) {
        let back = |earned: u64| Some(earned.saturating_sub(self.each.unwrap_or(0)));
        // Always some.
        let _ = self.earned.fetch_update(Relaxed, Relaxed, back);
    }
}

/// From 0 to `most`; what is no number is the default.
fn in_range(value: f64, most: f64, default: f64) -> f64 {
    if value.is_nan() {
        return default;
    }
    value.clamp(0.0, most)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SLICE: u64 = 1_000_000_000;

    fn budget(ratio: f64, floor: f64, shards: usize) -> Budget {
        Budget::new(&BudgetSettings {
            ratio,
            floor,
            shards,
            ..Default::default()
        })
    }

    fn spend(budget: &Budget, now: Tick, wanted: usize) -> usize {
        (0..wanted).filter_map(|_| budget.withdraw(now)).count()
    }

    /// What was done, in which slice, as the budget saw the time.
    #[derive(Default)]
    struct Seen {
        firsts: Vec<u64>,
        earned: Vec<u64>,
        floor: Vec<u64>,
        /// How far time ran backwards, in seconds: the floor goes by the time it is told.
        back: f64,
    }

    impl Seen {
        fn over(times: &[u64], to: u64) -> f64 {
            let from = to.saturating_sub(SLICES as u64 - 1);
            times.iter().filter(|t| (from..=to).contains(*t)).count() as f64
        }

        /// Over the ten slices that end with a retry.
        fn keeps_the_law(&self, ratio: f64, floor: f64) -> bool {
            let earned = |&to: &u64| {
                Self::over(&self.earned, to) <= ratio * Self::over(&self.firsts, to) + 1e-6
            };
            let most = floor * (20.0 + self.back) + 1e-6;
            self.earned.iter().all(earned)
                && self
                    .floor
                    .iter()
                    .all(|&to| Self::over(&self.floor, to) <= most)
        }
    }

    proptest! {
        #[test]
        fn never_more_than_the_ratio_and_the_floor(
            ratio_ppm in 0_u32..=1_000_000,
            floor in prop_oneof![Just(0.0), Just(0.2), Just(1.0), Just(3.7)],
            steps in prop::collection::vec((-400_i64..1_500, 0_usize..40, 0_usize..20, 0_usize..4), 1..40),
        ) {
            let ratio = f64::from(ratio_ppm) / 1e6;
            let budget = budget(ratio, floor, 1);
            let (mut ms, mut latest_ms, mut seen) = (0_u64, 0, Seen::default());
            for (dt, firsts, retries, refunds) in steps {
                ms = ms.saturating_add_signed(dt);
                let now = Tick::from_millis(ms);
                latest_ms = latest_ms.max(ms);
                seen.back = seen.back.max((latest_ms - ms) as f64 / 1e3);
                let latest = latest_ms / 1_000;
                for _ in 0..firsts {
                    budget.deposit(now);
                    seen.firsts.push(latest);
                }
                let taken: Vec<_> = (0..retries).filter_map(|_| budget.withdraw(now)).collect();
                let kept = taken.len().saturating_sub(refunds);
                for (i, withdrawal) in taken.into_iter().enumerate() {
                    match withdrawal.0 {
                        _ if i >= kept => budget.refund(withdrawal),
                        From::Shard(..) => seen.earned.push(latest),
                        From::Floor => seen.floor.push(latest),
                        From::Nothing => panic!("a budget gives none of these"),
                    }
                }
            }
            prop_assert!(seen.keeps_the_law(ratio, floor));
        }

        #[test]
        fn honest_at_every_ratio(ppm in 0_u64..=1_000_000, firsts in 0_u64..3_000) {
            let budget = budget(ppm as f64 / 1e6, 0.0, 1);
            for _ in 0..firsts {
                budget.deposit(Tick(7));
            }
            let want = firsts * ppm / MILLION;
            prop_assert_eq!(spend(&budget, Tick(8), firsts as usize + 1) as u64, want);
        }
    }

    #[test]
    fn the_floor_serves_who_hardly_calls() {
        let budget = budget(0.1, 2.0, 8);
        let at = |s: u64| Tick::from_millis(s * 1_000);
        assert_eq!(spend(&budget, at(0), 100), 20, "saved up over ten seconds");
        assert_eq!(spend(&budget, at(1), 100), 2);
        assert_eq!(spend(&budget, at(3_000), 100), 20);
        let slow = super::tests::budget(0.1, 0.01, 1);
        assert_eq!(spend(&slow, at(0), 9), 1, "the window holds at least one");
        assert_eq!(spend(&slow, at(99), 9), 0);
        assert_eq!(spend(&slow, at(100), 9), 1);
    }

    #[test]
    fn savings_are_not_spent_at_once() {
        let budget = budget(0.1, 0.0, 1);
        let mut retries = [0; 40];
        for second in 0..40 {
            for call in 0..1_000 {
                let now = Tick::from_millis(second * 1_000 + call);
                budget.deposit(now);
                if second >= 20 {
                    retries[second as usize] += spend(&budget, now, 1);
                }
            }
        }
        let most = retries.iter().max().unwrap();
        assert!((150..=250).contains(most), "{retries:?}");
        let total: usize = retries[20..].iter().sum();
        assert!(
            (1_900..=2_000).contains(&total),
            "a tenth of 20,000: {retries:?}"
        );
    }

    #[test]
    fn what_is_not_spent_is_gone() {
        let budget = budget(1.0, 0.0, 1);
        for _ in 0..100 {
            budget.deposit(Tick(0));
        }
        assert_eq!(budget.gauge(Tick(9 * SLICE)), (100, 0));
        assert_eq!(spend(&budget, Tick(10 * SLICE), 1), 0);
    }

    #[test]
    fn a_shard_without_takes_from_the_others() {
        let budget = budget(0.5, 0.0, 4);
        for shard in 0..4 {
            for _ in 0..4 {
                budget.shards.get(Shard(shard)).add_first(Tick(1));
            }
        }
        assert_eq!(spend(&budget, Tick(1), 100), 8);
    }

    #[test]
    fn what_is_overdrawn_others_make_up_for() {
        let budget = budget(0.1, 0.0, 1);
        let now = Tick(5);
        let overdrawn: Vec<_> = (0..5).map(|_| budget.overdraw(now)).collect();
        (0..40).for_each(|_| budget.deposit(now));
        assert_eq!(spend(&budget, now, 1), 0, "four are earned, five are spent");
        (0..20).for_each(|_| budget.deposit(now));
        assert_eq!(spend(&budget, now, 9), 1);
        overdrawn.into_iter().for_each(|one| budget.refund(one));
        assert_eq!(spend(&budget, now, 9), 5);
    }

    #[test]
    fn a_refund_can_be_spent_again() {
        let budget = budget(0.1, 0.1, 1);
        (0..10).for_each(|_| budget.deposit(Tick(0)));
        for _ in 0..5 {
            let both: Vec<_> = (0..3).filter_map(|_| budget.withdraw(Tick(0))).collect();
            assert_eq!(both.len(), 2, "one for ten calls, one of the floor");
            both.into_iter()
                .for_each(|withdrawal| budget.refund(withdrawal));
        }
        let other = super::tests::budget(0.0, 1.0, 1);
        other.refund(budget.withdraw(Tick(0)).unwrap());
        other.refund(budget.withdraw(Tick(0)).unwrap());
        assert_eq!(
            spend(&other, Tick(0), 100),
            10,
            "another's refund does no harm"
        );
    }

    #[test]
    fn threads_together_keep_the_law() {
        let budget = budget(0.1, 0.0, 4);
        let spent: usize = std::thread::scope(|scope| {
            let threads = [(); 4].map(|()| {
                scope.spawn(|| {
                    let each = |i: u64| {
                        let now = Tick(i * SLICE / 200);
                        budget.deposit(now);
                        spend(&budget, now, 1)
                    };
                    (0..10_000).map(each).sum::<usize>()
                })
            });
            threads.map(|thread| thread.join().unwrap()).iter().sum()
        });
        assert!((1_000..=4_000).contains(&spent), "{spent}");
    }

    #[test]
    fn odd_settings() {
        let odd = [f64::NAN, f64::INFINITY, -1.0, 1e300, f64::MIN_POSITIVE];
        for (ratio, floor) in odd.into_iter().flat_map(|a| odd.map(|b| (a, b))) {
            for window in [Duration::ZERO, Duration::MAX] {
                let settings = BudgetSettings {
                    ratio,
                    floor,
                    window,
                    shards: 0,
                };
                let budget = Budget::new(&settings);
                for now in [Tick::ZERO, Tick::MAX, Tick(5), Tick::MAX] {
                    budget.deposit(now);
                    budget
                        .withdraw(now)
                        .into_iter()
                        .for_each(|w| budget.refund(w));
                }
                let _ = budget.gauge(Tick::MAX);
            }
        }
    }
}
