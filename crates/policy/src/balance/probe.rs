//! How long a call is left at a host that it is the probe of.
//!
//! The probe is our errand, and its caller must not pay for it: where the host still hangs, there has
//! to be time for another attempt elsewhere. A limit per attempt does not see to that, since it is
//! set for hosts that are well (700 ms of a second leave 300), and often there is none.
//!
//! Too short a limit would keep a host out that is well. What is typical is made of latencies that
//! rise at once and fall slowly, so that it covers the slow routes as well as the fast ones; a host
//! that takes four times as long is not wanted back, where others serve.

use std::time::Duration;

/// A probe that takes so many typical latencies has failed.
const TYPICAL: u32 = 4;
/// It gets so much in any case: a host that comes back has connections to make and code to load.
const LEAST: Duration = Duration::from_millis(100);

/// The limit of a probe where hosts typically take `typical`, and `left` is left of its call.
///
/// Four typical latencies, at least 100 ms; but no more than a third of `left`, or than one typical
/// latency where that is more, and never more than half.
pub(super) fn limit(typical: Duration, left: Duration) -> Duration {
    let enough = typical.saturating_mul(TYPICAL).max(LEAST);
    let most = (left / 3).max(typical.min(left / 2));
    enough.min(most)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_leaves_at_least_as_much_for_another_attempt(typical: u64, left: u64) {
            let (typical, left) = (Duration::from_nanos(typical), Duration::from_nanos(left));
            let limit = limit(typical, left);
            prop_assert!(limit <= left / 2, "{limit:?}");
            prop_assert!(limit <= (left / 3).max(typical), "{limit:?}");
        }

        #[test]
        fn a_host_that_is_well_can_pass_where_two_attempts_fit(typical: u64, left: u64) {
            let (typical, left) = (Duration::from_nanos(typical), Duration::from_nanos(left));
            let limit = limit(typical, left);
            if typical <= left / 2 {
                prop_assert!(limit >= typical, "{limit:?}");
            }
            prop_assert!(limit >= LEAST.min(left / 3), "{limit:?}");
        }

        #[test]
        fn more_time_is_never_a_shorter_limit(typical: u64, left: u64, more: u64) {
            let of = |typical, left| limit(Duration::from_nanos(typical), Duration::from_nanos(left));
            prop_assert!(of(typical, left.saturating_add(more)) >= of(typical, left));
            prop_assert!(of(typical.saturating_add(more), left) >= of(typical, left));
        }
    }

    #[test]
    fn what_it_is_for_a_call_of_a_second() {
        let of = |typical, left| {
            let limit = limit(Duration::from_millis(typical), Duration::from_millis(left));
            limit.as_millis()
        };
        assert_eq!(of(5, 1_000), 100);
        assert_eq!(of(50, 1_000), 200);
        assert_eq!(of(300, 1_000), 333);
        assert_eq!(of(450, 1_000), 450);
        assert_eq!(of(2_000, 1_000), 500);
        assert_eq!(of(5, 30), 10);
        assert_eq!(limit(Duration::MAX, Duration::MAX), Duration::MAX / 2);
    }
}
