//! Which keys are hot: found in samples of what is asked for, and let go. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use seawall_policy::Tick;

use super::keeper::HeavyKeeper;
use super::stream::Sample;

/// Counts are halved this often, so they tell of about a second.
const FADE: Duration = Duration::from_millis(500);
/// 2 rows of 1,024 buckets: 32 KiB.
const ROWS: usize = 2;
const WIDTH: usize = 1_024;
/// Samples of a key below which nothing is said of it: the standard error is a fifth then.
const SAMPLES: u32 = 25;

/// When a key is hot.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HotSettings {
    /// The share of the reads that leave this process, or would, from which a key is hot, 0.001 to 1.
    /// Default 0.01: below that, a key does nothing to Redis that the other hundred do not.
    pub share: f64,
    /// Reads of it a second in this process, at least; 1 and more. Default 500: what is less is no
    /// burden, whatever its share.
    pub rate: f64,
    /// Keys that may be hot at once, 1 to 64. Default 16.
    pub keys: usize,
    /// How long this process may hold a hot key's value without asking Redis, 10 ms to 10 s, while
    /// invalidations are heard all the same. Default 1 s: Redis then sees one read of it a second
    /// from each process, which is a 500th of the least that makes a key hot.
    pub life: Duration,
    /// Copies of a hot key's entry in Redis, 0 to 64, each process reading one. Default 4. With
    /// [`life`](Self::life) one entry serves some tens of thousands of processes; copies are for a
    /// Cluster of which one server would have to do that alone, and for large values.
    pub copies: u16,
}

impl Default for HotSettings {
    fn default() -> Self {
        Self {
            share: 0.01,
            rate: 500.0,
            keys: 16,
            life: Duration::from_secs(1),
            copies: 4,
        }
    }
}

impl HotSettings {
    /// Every value in its range.
    pub(super) fn in_range(self) -> Self {
        let real = |value: f64, default: f64| if value.is_nan() { default } else { value };
        let defaults = Self::default();
        Self {
            share: real(self.share, defaults.share).clamp(0.001, 1.0),
            rate: real(self.rate, defaults.rate).clamp(1.0, 1e12),
            keys: self.keys.clamp(1, 64),
            life: self
                .life
                .clamp(Duration::from_millis(10), Duration::from_secs(10)),
            copies: self.copies.min(64),
        }
    }
}

/// What has changed with a sample.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Changes {
    pub(super) found: Vec<u64>,
    pub(super) let_go: Vec<u64>,
}

/// Takes samples in and says which keys are hot.
///
/// A key becomes hot at the share and rate of the settings, and ceases to be at half of either, so
/// that one at the threshold does not come and go. All counts fade by half each 500 ms: a key that
/// nobody asks for any more is let go after as many halvings as it was above the threshold by, 4 s
/// for one that had 50,000 reads a second of 100,000.
pub(super) struct Detector {
    settings: HotSettings,
    keeper: HeavyKeeper,
    /// Samples, reads and seconds, all faded as the counts are.
    samples: f64,
    reads: f64,
    seconds: f64,
    last: Tick,
    faded: Tick,
    hot: BTreeSet<u64>,
}

impl Detector {
    pub(super) fn new(settings: &HotSettings, now: Tick, seed: u64) -> Self {
        let settings = settings.in_range();
        Self {
            // Some more than may be hot: who is about to be is to be known.
            keeper: HeavyKeeper::new(ROWS, WIDTH, settings.keys * 2, seed),
            settings,
            samples: 0.0,
            reads: 0.0,
            seconds: 0.0,
            last: now,
            faded: now,
            hot: BTreeSet::new(),
        }
    }

    /// Takes in what was read since the last time. A time before that counts as that.
    pub(super) fn take(&mut self, now: Tick, sample: &Sample) -> Changes {
        self.seconds += now.since(self.last).as_secs_f64();
        self.last = self.last.max(now);
        self.reads += sample.reads as f64;
        self.samples += sample.hashes.len() as f64;
        sample.hashes.iter().for_each(|&hash| self.keeper.add(hash));
        let changes = self.judge();
        // After a long sleep as often as it takes to forget everything.
        for _ in 0..64 {
            if now.since(self.faded) < FADE {
                return changes;
            }
            self.fade();
            self.faded = self.faded + FADE;
        }
        self.faded = now;
        changes
    }

    /// Reads a second of each key that is hot, of about the last second.
    pub(super) fn rates(&self) -> BTreeMap<u64, f64> {
        let (each, seconds) = self.scale();
        let hot = self
            .keeper
            .top()
            .filter(|(hash, _)| self.hot.contains(hash));
        hot.map(|(hash, count)| (hash, f64::from(count) * each / seconds))
            .collect()
    }

    /// Reads a sample stands for, and the seconds that are remembered.
    fn scale(&self) -> (f64, f64) {
        let each = self.reads / self.samples.max(1.0);
        (each, self.seconds.max(FADE.as_secs_f64() / 5.0))
    }

    fn fade(&mut self) {
        self.keeper.fade();
        self.samples /= 2.0;
        self.reads /= 2.0;
        self.seconds /= 2.0;
    }

    fn judge(&mut self) -> Changes {
        let (each, seconds) = self.scale();
        let HotSettings {
            share, rate, keys, ..
        } = self.settings;
        let is = |count: u32, part: f64| {
            let reads = f64::from(count) * each;
            reads >= part * share * self.reads && reads >= part * rate * seconds
        };
        let mut top: Vec<_> = self.keeper.top().collect();
        top.sort_unstable_by_key(|&(_, count)| std::cmp::Reverse(count));
        let still = top
            .iter()
            .filter(|(hash, count)| self.hot.contains(hash) && is(*count, 0.5));
        let mut hot: BTreeSet<u64> = still.map(|&(hash, _)| hash).collect();
        for &(hash, count) in &top {
            if hot.len() < keys && count >= SAMPLES && is(count, 1.0) {
                hot.insert(hash);
            }
        }
        let changes = Changes {
            found: hot.difference(&self.hot).copied().collect(),
            let_go: self.hot.difference(&hot).copied().collect(),
        };
        self.hot = hot;
        changes
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SWEEP: u64 = 100;

    /// 100 ms of `rate` reads a second of which the key 1 has `share`; one in 8 is a sample.
    fn sample(random: &mut fastrand::Rng, rate: u64, share: f64) -> Sample {
        let reads = rate / 10;
        let hashes = (0..reads / 8).map(|_| {
            if random.f64() < share {
                return 1;
            }
            2 + random.u64(..100_000).wrapping_mul(0x9e37_79b9_7f4a_7c15)
        });
        Sample {
            reads,
            hashes: hashes.collect(),
        }
    }

    /// Times in ms at which the key was found and let go, for shares by time.
    fn watch(rate: u64, seed: u64, until: u64, share: impl Fn(u64) -> f64) -> Vec<(u64, bool)> {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut detector = Detector::new(&HotSettings::default(), Tick::ZERO, seed);
        let mut seen = Vec::new();
        for ms in (SWEEP..=until).step_by(SWEEP as usize) {
            let sample = sample(&mut random, rate, share(ms));
            let changes = detector.take(Tick::from_millis(ms), &sample);
            assert!(
                changes
                    .found
                    .iter()
                    .chain(&changes.let_go)
                    .all(|&key| key == 1)
            );
            seen.extend(changes.found.iter().map(|_| (ms, true)));
            seen.extend(changes.let_go.iter().map(|_| (ms, false)));
        }
        seen
    }

    #[test]
    fn half_of_100_000_a_second_is_found_at_once_and_let_go_in_four_seconds() {
        for seed in 0..20 {
            let seen = watch(
                100_000,
                seed,
                10_000,
                |ms| if ms <= 3_000 { 0.5 } else { 0.0 },
            );
            let [(found, true), (let_go, false)] = seen[..] else {
                panic!("{seen:?}");
            };
            assert!(found <= 200, "{seen:?}");
            assert!((3_000..=7_000).contains(&let_go), "{seen:?}");
        }
    }

    #[test]
    fn the_rate_of_a_hot_key_is_estimated_within_a_tenth() {
        for seed in 0..20 {
            let mut random = fastrand::Rng::with_seed(seed);
            let mut detector = Detector::new(&HotSettings::default(), Tick::ZERO, seed);
            for ms in (SWEEP..=5_000).step_by(SWEEP as usize) {
                let sample = sample(&mut random, 100_000, 0.5);
                detector.take(Tick::from_millis(ms), &sample);
            }
            let rates = detector.rates();
            assert!((45_000.0..55_000.0).contains(&rates[&1]), "{rates:?}");
        }
    }

    #[test]
    fn traffic_that_ends_lets_everything_go() {
        let mut detector = Detector::new(&HotSettings::default(), Tick::ZERO, 1);
        let mut random = fastrand::Rng::with_seed(1);
        let mut hot = 0;
        for ms in (SWEEP..=12_000).step_by(SWEEP as usize) {
            let rate = if ms <= 2_000 { 100_000 } else { 0 };
            let sample = sample(&mut random, rate, 0.5);
            let changes = detector.take(Tick::from_millis(ms), &sample);
            hot += changes.found.len();
            hot -= changes.let_go.len();
            assert!(!(1_000..=2_000).contains(&ms) || hot == 1);
            assert!(ms < 7_000 || hot == 0, "{ms}");
        }
    }

    #[test]
    fn two_in_a_hundred_are_found_within_a_second() {
        for seed in 0..8 {
            let seen = watch(50_000, seed, 3_000, |_| 0.02);
            assert!(matches!(seen[..], [(..=1_000, true)]), "{seen:?}");
        }
    }

    #[test]
    fn at_the_threshold_it_does_not_come_and_go() {
        for seed in 0..4 {
            let seen = watch(100_000, seed, 30_000, |_| 0.01);
            assert!(seen.len() <= 1, "{seen:?}");
        }
    }

    #[test]
    fn few_reads_are_no_burden_whatever_their_share() {
        let seen = watch(400, 1, 10_000, |_| 1.0);
        assert_eq!(seen, []);
    }

    proptest! {
        #[test]
        fn no_time_and_no_number_breaks_it(
            samples in prop::collection::vec((any::<u64>(), any::<u64>(), prop::collection::vec(any::<u64>(), 0..60)), 0..30),
            share: f64, rate: f64, keys: usize, seed: u64
        ) {
            let settings = HotSettings { share, rate, keys, ..HotSettings::default() };
            let mut detector = Detector::new(&settings, Tick::ZERO, seed);
            for (at, reads, hashes) in samples {
                detector.take(Tick(at), &Sample { reads, hashes });
                prop_assert!(detector.hot.len() <= 64);
            }
        }
    }
}
