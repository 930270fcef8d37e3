use std::time::Duration;

use proptest::prelude::*;

use super::{Adaptive, AdaptiveSettings};
use crate::Tick;
use crate::limit::{Limit, Step, Window};

/// What a property varies in a window: succeeded, ignored, in-flight as a part of the limit,
/// latency in seconds, bound.
type Seen = (u32, u32, f64, f64, bool);

fn seen() -> impl Strategy<Value = Seen> {
    (
        0_u32..500,
        0_u32..500,
        0.0..1.1_f64,
        1e-4..2.0_f64,
        any::<bool>(),
    )
}

/// Feeds `windows`, and returns the steps that were answered.
fn feed(settings: AdaptiveSettings, windows: &[Seen]) -> Vec<Step> {
    let mut limit = Adaptive::new(settings);
    let mut step = limit.start();
    let mut now = Tick::ZERO;
    let answers = windows
        .iter()
        .map(|&(succeeded, ignored, used, latency, bound)| {
            let start = now;
            now = now + step.after;
            let inflight = used * f64::from(step.limit);
            step = limit.update(&Window {
                start,
                end: now,
                limit: step.limit,
                inflight: inflight as u32,
                mean_inflight: inflight,
                succeeded,
                ignored,
                gave_up: ignored,
                latency_sum: latency * f64::from(succeeded),
                latency_min: if succeeded > 0 {
                    latency
                } else {
                    f64::INFINITY
                },
                fresh: succeeded,
                fresh_latency_sum: latency * f64::from(succeeded),
                bound,
                ..Window::default()
            });
            step
        });
    answers.collect()
}

proptest! {
    #[test]
    fn stays_within_its_bounds(
        windows in prop::collection::vec(seen(), 1..200),
        min in 1_u32..50,
        more in 0_u32..5000,
    ) {
        let settings = AdaptiveSettings { min, max: min + more, start: 20 };
        for step in feed(settings, &windows) {
            prop_assert!((min..=min + more).contains(&step.limit));
            prop_assert!(step.after >= Duration::from_millis(1));
            prop_assert!(step.after <= Duration::from_secs(60));
        }
    }

    #[test]
    fn does_not_grow_while_it_does_not_bind(windows in prop::collection::vec(seen(), 1..200)) {
        let windows: Vec<Seen> = windows.into_iter().map(|(ok, gone, used, latency, _)| (ok, gone, used, latency, false)).collect();
        for step in feed(AdaptiveSettings::default(), &windows) {
            prop_assert_eq!(step.limit, AdaptiveSettings::default().start);
        }
    }

    #[test]
    fn a_few_that_were_cancelled_change_nothing(windows in prop::collection::vec(seen(), 1..200)) {
        let none: Vec<Seen> = windows.iter().map(|&(ok, _, used, latency, bound)| (ok, 0, used, latency, bound)).collect();
        let few: Vec<Seen> = windows.iter().map(|&(ok, _, used, latency, bound)| (ok, ok / 40, used, latency, bound)).collect();
        let settings = AdaptiveSettings::default();
        prop_assert_eq!(feed(settings, &none), feed(settings, &few));
    }
}
