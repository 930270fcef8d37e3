//! Found, held, told of and let go, in a time that the tests make.

use super::*;
use crate::local::{Generations, Life};

fn held(now: Tick, fresh: Duration) -> Held<u32> {
    Held {
        value: Some(Arc::new(5)),
        generation: Generations::new(16).of(b"hot"),
        life: Life::new(now, fresh, Duration::ZERO, Duration::ZERO, 0.0),
    }
}

/// Reads for so many ms, 50 of the hot key and 50 of others in each; what was told.
fn reads(hot: &Hot<u64, u32>, from: u64, until: u64, key: u64) -> Vec<(u64, Tell)> {
    let mut told = Vec::new();
    for ms in from..until {
        for read in 0..100_u64 {
            let key = if read % 2 == 0 {
                key
            } else {
                1_000 + ms * 100 + read
            };
            let (hash, bytes) = (hash(key), Bytes::from(key.to_string()));
            let (_, tell) = hot.read(hash, &bytes, &key, Tick::from_millis(ms), |_| true);
            told.extend(tell.into_iter().map(|tell| (ms, tell)));
        }
    }
    told
}

fn hash(key: u64) -> u64 {
    crate::filter::hash(&key.to_le_bytes())
}

fn tell(key: &'static str, hot: bool) -> Tell {
    Tell {
        key: key.into(),
        hot,
    }
}

#[test]
fn half_of_100_000_a_second_is_found_within_a_second_and_let_go_within_seven() {
    let hot = Hot::<u64, u32>::new(HotSettings::default(), Tick::ZERO);
    let told = reads(&hot, 0, 1_500, 7);
    assert!(
        matches!(&told[..], [(..=300, first)] if *first == tell("7", true)),
        "{told:?}"
    );
    assert!(hot.is(hash(7)));
    // Others read on, it is not among them.
    let told = reads(&hot, 1_500, 9_000, 8);
    let let_go = told.iter().find(|(_, told)| *told == tell("7", false));
    assert!(matches!(let_go, Some((..=8_500, _))), "{told:?}");
    assert!(!hot.is(hash(7)) && hot.is(hash(8)));
    assert_eq!(hot.keys(Tick::from_millis(9_000)), [Bytes::from("8")]);
    // Everybody leaves.
    for ms in (9_000..20_000).step_by(100) {
        hot.keys(Tick::from_millis(ms));
    }
    assert!(!hot.is(hash(8)));
}

#[test]
fn what_is_held_lives_for_a_second_and_no_longer_than_it_is_good() {
    let hot = Hot::<u64, u32>::new(HotSettings::default(), Tick::ZERO);
    let at = Tick::from_millis;
    let read = |ms: u64, good: bool| hot.read(hash(7), &Bytes::from("7"), &7, at(ms), |_| good).0;
    // What is cold is not held.
    hot.hold(hash(7), &7, &held(at(0), Duration::from_secs(60)), at(0));
    assert!(matches!(read(0, true), Found::Cold));
    hot.told(hash(7), &Bytes::from("7"), true, at(0));
    assert!(matches!(read(1, true), Found::Hot));
    hot.hold(hash(7), &7, &held(at(1), Duration::from_secs(60)), at(1));
    assert!(matches!(read(1_000, true), Found::Held(_)));
    assert!(matches!(read(1_000, false), Found::Hot));
    assert!(matches!(read(1_001, true), Found::Hot));
    hot.hold(
        hash(7),
        &7,
        &held(at(1_001), Duration::from_millis(10)),
        at(1_001),
    );
    assert!(matches!(read(1_010, true), Found::Held(_)));
    assert!(matches!(read(1_011, true), Found::Hot));
    // Another key of the same hash.
    hot.hold(
        hash(7),
        &7,
        &held(at(1_011), Duration::from_secs(60)),
        at(1_011),
    );
    let (other, _) = hot.read(hash(7), &Bytes::from("8"), &8, at(1_012), |_| true);
    assert!(matches!(other, Found::Hot));
}

#[test]
fn what_others_have_told_is_forgotten_if_they_do_not_tell_again() {
    let hot = Hot::<u64, u32>::new(HotSettings::default(), Tick::ZERO);
    let at = Tick::from_millis;
    hot.told(hash(7), &Bytes::from("7"), true, at(0));
    assert!(hot.is(hash(7)));
    hot.keys(at(9_900));
    assert!(hot.is(hash(7)));
    hot.told(hash(7), &Bytes::from("7"), true, at(9_950));
    hot.keys(at(15_000));
    assert!(hot.is(hash(7)));
    hot.keys(at(20_000));
    assert!(!hot.is(hash(7)));
    hot.told(hash(7), &Bytes::from("7"), true, at(20_000));
    hot.told(hash(7), &Bytes::from("7"), false, at(20_001));
    assert!(!hot.is(hash(7)));
    // A flood of them takes a bounded place.
    for key in 0..10_000 {
        hot.told(hash(key), &Bytes::from("x"), true, at(20_002));
    }
    assert_eq!(hot.keys.load().len(), FOREIGN);
}
