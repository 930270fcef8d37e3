//! When a name is asked for again.

use std::time::Duration;

/// No setting can make it ask more often.
const LEAST: Duration = Duration::from_millis(10);
/// Nor more seldom.
const MOST: Duration = Duration::from_secs(86_400);

/// How often to ask.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    floor: Duration,
    cap: Duration,
    retry: Duration,
    retry_cap: Duration,
}

/// How often a name has failed running.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Failures(u32);

impl Pace {
    /// Where two settings contradict each other, the lower bound stands.
    pub(super) fn new(
        floor: Duration,
        cap: Duration,
        retry: Duration,
        retry_cap: Duration,
    ) -> Self {
        let floor = floor.clamp(LEAST, MOST);
        let retry = retry.clamp(LEAST, MOST);
        Self {
            floor,
            cap: cap.clamp(floor, MOST),
            retry,
            retry_cap: retry_cap.clamp(retry, MOST),
        }
    }

    /// The longest time between two attempts while they fail.
    pub(super) fn retry_cap(&self) -> Duration {
        self.retry_cap
    }

    /// After an answer: its TTL between floor and cap, and up to a tenth more, or all instances
    /// that started together would ask together for ever.
    pub(super) fn after_answer(
        &self,
        failures: &mut Failures,
        ttl: Duration,
        random: u64,
    ) -> Duration {
        *failures = Failures::default();
        let time = ttl.clamp(self.floor, self.cap);
        time + scaled(time / 10, random)
    }

    /// After a failure: twice as long as after the last, up to the cap, of which the second half is
    /// by chance.
    pub(super) fn after_failure(&self, failures: &mut Failures, random: u64) -> Duration {
        let doubled = 1u32.checked_shl(failures.0).unwrap_or(u32::MAX);
        failures.0 = failures.0.saturating_add(1);
        let time = self.retry.saturating_mul(doubled).min(self.retry_cap);
        time / 2 + scaled(time / 2, random)
    }
}

/// `time` × `random` ÷ 2⁶⁴.
fn scaled(time: Duration, random: u64) -> Duration {
    // 32 bits of chance are plenty, and times are at most a day.
    let nanos = (u128::from(random >> 32) * time.as_nanos()) >> 32;
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const S: Duration = Duration::from_secs(1);

    #[test]
    fn retries_grow_to_their_cap_and_start_over_after_an_answer() {
        let pace = Pace::new(5 * S, 60 * S, S, 30 * S);
        let mut failures = Failures::default();
        let mut longest = || {
            pace.after_failure(&mut failures, u64::MAX)
                .as_secs_f64()
                .round()
        };
        let times: Vec<f64> = (0..7).map(|_| longest()).collect();
        assert_eq!(times, [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]);

        pace.after_answer(&mut failures, S, 0);
        assert_eq!(pace.after_failure(&mut failures, 0), S / 2);
    }

    #[test]
    fn those_who_asked_together_do_not_ask_together_again() {
        let pace = Pace::new(5 * S, 60 * S, S, 30 * S);
        let after = |random| pace.after_answer(&mut Failures::default(), 10 * S, random);
        assert_eq!(after(0), 10 * S);
        assert!(after(u64::MAX) > 10 * S + S * 99 / 100);
        assert!(after(u64::MAX / 2) < 10 * S + S * 51 / 100);
    }

    proptest! {
        #[test]
        fn times_keep_their_bounds(
            settings: [Duration; 4],
            ttl: Duration,
            failures in prop_oneof![0..80u32, Just(u32::MAX)],
            random: u64,
        ) {
            let [floor, cap, retry, retry_cap] = settings;
            let pace = Pace::new(floor, cap, retry, retry_cap);
            let mut failures = Failures(failures);
            let time = pace.after_failure(&mut failures, random);
            prop_assert!(time >= pace.retry / 2 && time <= pace.retry_cap, "{time:?}");
            prop_assert!(time >= LEAST / 2);
            let time = pace.after_answer(&mut failures, ttl, random);
            prop_assert!(time >= pace.floor && time <= pace.cap + pace.cap / 10, "{time:?}");
            if ttl >= pace.floor && ttl <= pace.cap {
                prop_assert!(time >= ttl && time <= ttl + ttl / 10);
            }
        }
    }
}
