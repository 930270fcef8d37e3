//! What holds for every limit, whatever it sees. Test support.

use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

use super::{Limit, Window};
use crate::Tick;

/// A window of 100 ms in which every place was taken and more was asked for.
pub(super) fn full(limit: u32, succeeded: u32, latency: f64) -> Window {
    Window {
        start: Tick::ZERO,
        end: Tick::from_millis(100),
        limit,
        inflight: limit,
        mean_inflight: f64::from(limit),
        succeeded,
        latency_sum: f64::from(succeeded) * latency,
        latency_min: latency,
        bound: true,
        ..Window::default()
    }
}

/// The window as the `i`th of a row, counted from 1.
pub(super) fn at(window: Window, i: u64) -> Window {
    let start = Tick::from_millis((i - 1) * 100);
    let length = window.end.since(window.start);
    Window {
        start,
        end: start + length,
        ..window
    }
}

/// Windows of any kind, odd ones among them; `inflight` is a share of the limit then in force.
pub(super) fn history() -> impl Strategy<Value = Vec<(Window, f64)>> {
    let odd = prop_oneof![
        20 => 0.0..10.0_f64,
        1 => Just(f64::NAN),
        1 => Just(f64::INFINITY),
        1 => Just(-1.0),
        1 => Just(0.0),
    ];
    let few = || prop_oneof![3 => Just(0_u32), 2 => 0_u32..200, 1 => Just(u32::MAX)];
    let cpu = prop_oneof![
        Just(None),
        (0.0..1.5_f64).prop_map(Some),
        Just(Some(f64::NAN))
    ];
    let gap = prop_oneof![8 => 100_u64..130, 1 => 0_u64..10, 1 => 0_u64..100_000];
    let window = (
        few(),
        few(),
        few(),
        few(),
        odd,
        cpu,
        gap,
        any::<bool>(),
        0.0..2.0_f64,
    )
        .prop_map(
            |(succeeded, failed, overloaded, ignored, latency, cpu, ms, bound, share)| {
                let window = Window {
                    end: Tick::from_millis(ms), // a length; the place in time comes when it is run
                    succeeded,
                    failed,
                    overloaded,
                    ignored,
                    latency_sum: f64::from(succeeded) * latency,
                    latency_min: latency,
                    bound,
                    cpu,
                    ..Window::default()
                };
                (window, share)
            },
        );
    prop::collection::vec(window, 1..80)
}

/// Runs the history and checks the laws at every step.
pub(super) fn hold<L: Limit>(
    make: impl Fn() -> L,
    min: u32,
    max: u32,
    history: &[(Window, f64)],
) -> Result<(), TestCaseError> {
    let (mut limit, mut twin) = (make(), make());
    let mut now = Tick::ZERO;
    let mut step = limit.start();
    prop_assert!((min..=max).contains(&step.limit));
    for (window, share) in history {
        let end = now + window.end.since(Tick::ZERO);
        let taken = share * f64::from(step.limit);
        let window = Window {
            start: now,
            end,
            limit: step.limit,
            inflight: taken as u32,
            mean_inflight: taken,
            ..*window
        };
        now = end;
        let before = step;
        step = limit.update(&window);
        prop_assert!(
            (min..=max).contains(&step.limit),
            "{:?} in {}..={}",
            step,
            min,
            max
        );
        prop_assert!(!step.after.is_zero());
        if !window.bound || taken < f64::from(before.limit) / 2.0 || window.succeeded == 0 {
            prop_assert!(
                step.limit <= before.limit,
                "grew from {:?} to {:?} on {:?}",
                before,
                step,
                window
            );
        }
        // Ignored calls change nothing, neither now nor later.
        let without = Window {
            ignored: 0,
            ..window
        };
        prop_assert_eq!(twin.update(&without), step);
        if let Some(base) = limit.base_latency() {
            prop_assert!(base.is_finite() && base > 0.0);
        }
    }
    Ok(())
}
