use proptest::prelude::*;
use seawall_cache::report::RedisReport;

use super::*;

/// A cache of so many hits and a quarter of that in misses.
pub(crate) fn report(hits: u64) -> Report {
    let counts = Counts {
        local_hits: hits,
        local_misses: hits / 4,
        redis_hits: hits / 8,
        redis_misses: hits / 8,
        loads: hits / 8,
        ..Counts::default()
    };
    let cache = CacheReport {
        name: "users".into(),
        entries: 10,
        counts,
        hot_keys: vec![HotKey {
            key: "7".into(),
            rate: 700.0,
        }],
        redis: Some(RedisReport {
            shards: 1,
            ..RedisReport::default()
        }),
        ..CacheReport::default()
    };
    let guard = GuardReport {
        name: "database".into(),
        rate: 50.0,
        tokens: 5.0,
        admitted: hits / 8,
        ..GuardReport::default()
    };
    let filter = FilterReport {
        name: "users".into(),
        never: hits,
        wrong: hits / 100,
        ..FilterReport::default()
    };
    Report {
        caches: vec![cache],
        filters: vec![filter],
        guards: vec![guard],
    }
}

pub(crate) fn at(past: &mut Past, now: Instant, hits: &[Option<u64>]) -> View {
    let readings = hits.iter().zip(["a", "b", "c"]);
    let readings = readings.map(|(hits, name)| {
        let reading = hits.map(report).ok_or_else(|| "gone".to_owned());
        (format!("http://{name}"), reading)
    });
    past.view(now, readings.collect())
}

fn hits(view: &View) -> f64 {
    view.caches[0].rate("local_hits")
}

fn after(start: Instant, seconds: u64) -> Instant {
    start + Duration::from_secs(seconds)
}

#[test]
fn instances_are_added_up() {
    let (mut past, start) = (Past::default(), Instant::now());
    at(&mut past, start, &[Some(0), Some(1_000)]);
    let view = at(&mut past, after(start, 2), &[Some(800), Some(1_800)]);
    assert_eq!((view.seconds, hits(&view)), (2.0, 800.0));
    let cache = &view.caches[0];
    assert_eq!(
        (cache.instances, cache.entries, cache.counts.local_hits),
        (2, 20, 2_600)
    );
    assert_eq!(cache.hit_ratio.local, Some(0.8));
    assert_eq!(cache.hit_ratio.redis, Some(0.5));
    assert_eq!((cache.hot_keys.len(), cache.hot_keys[0].rate), (1, 1_400.0));
    let guard = &view.guards[0];
    assert_eq!(
        (guard.report.rate, guard.admitted_per_second),
        (100.0, 100.0)
    );
    assert_eq!(view.filters[0].saved_per_second, 800.0);
    assert_eq!(
        cache
            .redis
            .map(|redis| (redis.instances, redis.channel_lost)),
        Some((2, 0))
    );
}

#[test]
fn the_first_reading_has_no_rates() {
    let mut past = Past::default();
    let view = at(&mut past, Instant::now(), &[Some(1_000)]);
    assert_eq!((hits(&view), view.caches[0].hit_ratio.local), (0.0, None));
}

#[test]
fn who_did_not_answer_in_between_is_neither_idle_nor_busier() {
    let (mut past, start) = (Past::default(), Instant::now());
    at(&mut past, start, &[Some(0)]);
    let view = at(&mut past, after(start, 1), &[None]);
    assert_eq!(view.instances[0].error.as_deref(), Some("gone"));
    assert!(view.caches.is_empty());
    let view = at(&mut past, after(start, 2), &[Some(200)]);
    assert_eq!(hits(&view), 100.0);
}

#[test]
fn who_begins_anew_counts_from_nothing() {
    let (mut past, start) = (Past::default(), Instant::now());
    at(&mut past, start, &[Some(1_000_000)]);
    let view = at(&mut past, after(start, 1), &[Some(40)]);
    assert_eq!(hits(&view), 40.0);
    assert_eq!(view.filters[0].saved_per_second, 40.0);
}

proptest! {
    #[test]
    fn no_figure_breaks_it(
        readings in prop::collection::vec(prop::collection::vec(any::<Option<u64>>(), 2), 1..6),
        steps in prop::collection::vec(0_u64..3, 6)
    ) {
        let (mut past, mut now) = (Past::default(), Instant::now());
        for (reading, step) in readings.iter().zip(steps) {
            now += Duration::from_secs(step);
            let view = at(&mut past, now, reading);
            for cache in &view.caches {
                prop_assert!(cache.rates.values().all(|rate| rate.is_finite() && *rate >= 0.0));
                prop_assert!(cache.hit_ratio.local.is_none_or(|ratio| (0.0..=1.0).contains(&ratio)));
            }
            prop_assert!(serde_json::to_string(&view).is_ok());
        }
    }
}
