//! What a token bucket does.

use proptest::prelude::*;

use super::*;

use Criticality::{Critical, CriticalPlus, Sheddable, SheddablePlus};

fn bucket(rate: f64, burst: u32) -> TokenBucket {
    TokenBucket::new(&TokenBucketSettings { rate, burst }, Tick::ZERO)
}

#[derive(Clone, Copy, Debug)]
struct Ask {
    criticality: Criticality,
    cost: u32,
    most: Duration,
    /// Nanoseconds since the last one; below zero where the clock went back.
    pause: i64,
}

fn ask() -> impl Strategy<Value = Ask> {
    let pause = prop_oneof![
        3 => Just(0),
        3 => 0..50_000_000_i64,
        1 => 0..5_000_000_000_i64,
        1 => -1_000_000_000..0_i64,
    ];
    let most = prop_oneof![Just(0), 0..2_000_000_000_u64, Just(u64::MAX)];
    let rank = prop::sample::select(Criticality::ALL.to_vec());
    (rank, 0..40_u32, most, pause).prop_map(|(criticality, cost, most, pause)| Ask {
        criticality,
        cost,
        most: Duration::from_nanos(most),
        pause,
    })
}

proptest! {
    #[test]
    fn any_time_sees_at_most_the_burst_and_what_came_in(
        rate in 1..200_000_000_u64,
        burst in 1..60_u32,
        asks in prop::collection::vec(ask(), 1..200),
    ) {
        let bucket = bucket(rate as f64 / MILLION, burst);
        let (mut now, mut latest) = (0_i64, 0_u64);
        let mut used = Vec::new();
        for ask in asks {
            now = (now + ask.pause).max(0);
            latest = latest.max(now as u64);
            let answer = bucket.book(ask.criticality, ask.cost, ask.most, Tick(now as u64));
            if let Ok(wait) = answer {
                prop_assert!(wait <= ask.most);
                used.push((latest + wait.as_nanos() as u64, u128::from(ask.cost) * UNIT));
            }
        }
        used.sort_unstable();
        for first in 0..used.len() {
            let mut sum = 0;
            for (at, cost) in &used[first..] {
                sum += cost;
                // A booking's time is rounded up to the nanosecond.
                let came = u128::from(rate) * u128::from(at - used[first].0 + 1);
                prop_assert!(sum <= u128::from(burst) * UNIT + came);
            }
        }
    }

    #[test]
    fn the_answered_time_is_the_first_at_which_it_is_there(
        rate in 1..200_000_000_u64,
        burst in 1..60_u32,
        asks in prop::collection::vec(ask(), 1..50),
        last in ask(),
    ) {
        let bucket = bucket(rate as f64 / MILLION, burst);
        let mut now = 0_i64;
        let mut latest = 0;
        for ask in asks {
            now = (now + ask.pause).max(0);
            latest = latest.max(now as u64);
            let _ = bucket.take(ask.criticality, ask.cost, Tick(now as u64));
        }
        let Err(after) = bucket.take(last.criticality, last.cost, Tick(latest)) else {
            return Ok(());
        };
        if last.cost > burst {
            prop_assert_eq!(after, Duration::MAX);
            return Ok(());
        }
        let (there, before) = (Tick(latest) + after, Tick(latest) + after - Duration::from_nanos(1));
        let left = bucket.after(last.criticality, last.cost, before);
        prop_assert_eq!(left, Duration::from_nanos(1));
        prop_assert_eq!(bucket.take(last.criticality, last.cost, before), Err(left));
        prop_assert_eq!(bucket.take(last.criticality, last.cost, there), Ok(()));
    }

    #[test]
    fn nothing_is_lost_or_won_over_a_year(
        rate in 1..20_000_000_u64,
        pauses in prop::collection::vec(1..40_000_u64, 1..1_000),
    ) {
        // Taken out whenever a unit is there, and looked at as often as chance will have it.
        let bucket = bucket(rate as f64 / MILLION, u32::MAX);
        let mut taken = 0_u128;
        let mut now = 0;
        for pause in [0].into_iter().chain(pauses) {
            now += pause * 1_000_000_007;
            while bucket.take(CriticalPlus, 1 << 20, Tick(now)) == Ok(()) {
                taken += 1 << 20;
            }
            let level = bucket.state.lock().level as u128;
            let came = u128::from(rate) * u128::from(now);
            prop_assert_eq!(level + taken * UNIT, u128::from(u32::MAX) * UNIT + came);
        }
    }

    #[test]
    fn whoever_asks_leaves_its_part_to_those_above(
        burst in 4..1_000_u32,
        asks in prop::collection::vec(ask(), 1..200),
    ) {
        let bucket = bucket(0.0, burst);
        for ask in asks {
            if bucket.take(ask.criticality, 1, Tick::ZERO) == Ok(()) {
                let parts = f64::from(ask.criticality as u8) / 4.0;
                prop_assert!(bucket.level(Tick::ZERO) >= (f64::from(burst) * parts).min(f64::from(burst - 1)));
            }
        }
    }

    #[test]
    fn no_input_is_too_large(
        rate in prop::num::f64::ANY,
        burst in any::<u32>(),
        asks in prop::collection::vec((any::<u32>(), any::<u64>(), any::<u64>()), 1..50),
    ) {
        let bucket = TokenBucket::new(&TokenBucketSettings { rate, burst }, Tick::MAX);
        for (cost, most, now) in asks {
            for criticality in Criticality::ALL {
                let most = Duration::from_nanos(most);
                let _ = bucket.book(criticality, cost, most, Tick(now));
                let _ = bucket.book(criticality, u32::MAX, Duration::MAX, Tick::MAX);
                let _ = bucket.book(criticality, cost, Duration::MAX, Tick::ZERO);
            }
            prop_assert!(bucket.level(Tick(now)).is_finite());
        }
    }
}

#[test]
fn time_that_runs_back_brings_nothing_twice() {
    let bucket = bucket(1.0, 1);
    let second = Tick::from_millis(1_000);
    assert_eq!(bucket.take(Critical, 1, second), Ok(()));
    for now in [Tick::ZERO, second, Tick::ZERO, second] {
        let after = bucket.take(Critical, 1, now);
        assert_eq!(after, Err(Duration::from_secs(1)));
    }
    assert_eq!(bucket.take(Critical, 1, Tick::from_millis(2_000)), Ok(()));
}

/// Twice the rate is asked for, a half of it by each of two ranks.
#[test]
fn the_higher_one_is_served_in_full_and_the_lower_one_gets_the_rest() {
    let bucket = bucket(100.0, 40);
    let mut served = [0_u32; 4];
    for ms in 0..10_000 {
        let now = Tick::from_millis(ms);
        // 60 a second of the highest, 100 of the lowest.
        if ms % 10 == 0 && bucket.take(Sheddable, 1, now).is_ok() {
            served[Sheddable as usize] += 1;
        }
        if ms % 50 < 3 && bucket.take(CriticalPlus, 1, now).is_ok() {
            served[CriticalPlus as usize] += 1;
        }
    }
    assert_eq!(served[CriticalPlus as usize], 600);
    // And the quarter of the burst that nobody is left.
    assert!((400..=410).contains(&served[Sheddable as usize]));
}

#[test]
fn who_waits_is_served_in_order_and_the_others_book_no_more_than_half_their_reserve() {
    let bucket = bucket(100.0, 8);
    let ms = Duration::from_millis;
    let book = |criticality, most| bucket.book(criticality, 1, most, Tick::ZERO);
    for _ in 0..6 {
        assert_eq!(book(Critical, ms(100)), Ok(Duration::ZERO));
    }
    // Its reserve is two units, and one of them may be booked.
    assert_eq!(book(Critical, ms(100)), Ok(ms(10)));
    assert_eq!(book(Critical, ms(100)), Err(ms(20)));
    assert_eq!(book(SheddablePlus, ms(100)), Err(ms(40)));
    assert_eq!(book(CriticalPlus, ms(20)), Ok(Duration::ZERO));
    assert_eq!(book(CriticalPlus, ms(20)), Ok(ms(10)));
    assert_eq!(book(CriticalPlus, ms(20)), Ok(ms(20)));
    assert_eq!(book(CriticalPlus, ms(20)), Err(ms(30)));
    assert!((bucket.level(Tick::ZERO) - -2.0).abs() < 1e-9);
}

#[test]
fn what_never_fits_is_never_there() {
    let bucket = bucket(1.0, 2);
    let never = Err(Duration::MAX);
    assert_eq!(bucket.take(CriticalPlus, 3, Tick::MAX), never);
    let booked = bucket.book(CriticalPlus, 3, Duration::MAX, Tick::MAX);
    assert_eq!(booked, Err(Duration::MAX));
    // Beside its reserve it does not fit: a full bucket lets it through.
    assert_eq!(bucket.take(Sheddable, 2, Tick::MAX), Ok(()));
    let none = self::bucket(0.0, 1);
    assert_eq!(none.take(Critical, 1, Tick::ZERO), Ok(()));
    assert_eq!(none.take(CriticalPlus, 1, Tick::MAX), never);
}
