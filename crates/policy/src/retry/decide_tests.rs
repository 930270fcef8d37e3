//! What [`Retry`] decides.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::{Advice, Call, Outcome, Tick};

const NOW: Tick = Tick::from_millis(1_000);

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn retry() -> Retry {
    let schedule = Schedule::Exponential;
    Retry::new(RetrySettings {
        backoff: Backoff {
            schedule,
            ..Backoff::default()
        },
        ..RetrySettings::default()
    })
}

fn rich() -> Budget {
    Budget::new(&BudgetSettings {
        floor: 1e6,
        ..Default::default()
    })
}

fn call(left: u64) -> Call {
    let deadline = NOW + ms(left);
    Call {
        idempotent: true,
        deadline,
        ..Call::default()
    }
}

fn decide(call: &Call, reply: &Reply) -> Result<u128, Why> {
    match retry().decide(call, reply, Some(ms(20)), &rich(), NOW, 0) {
        Verdict::After(wait, _) => Ok(wait.as_millis()),
        Verdict::Stop(why) => Err(why),
    }
}

const FAILED: Reply = Reply::new(Outcome::Failure);
const OVERLOADED: Reply = Reply::new(Outcome::Overloaded);

#[test]
fn only_what_may_run_twice_or_has_not_run() {
    let post = Call {
        idempotent: false,
        ..call(1_000)
    };
    let refused = Rejected::There(Advice::After(ms(70)));
    for (reply, want) in [
        (FAILED, Err(Why::Unsafe)),
        (OVERLOADED, Err(Why::Unsafe)),
        (Reply::not_sent(), Ok(25)),
        (
            Reply {
                rejected: refused,
                ..OVERLOADED
            },
            Ok(70),
        ),
    ] {
        assert_eq!(decide(&post, &reply), want, "{reply:?}");
    }
    let safe = Retry::new(RetrySettings {
        safe: true,
        ..RetrySettings::default()
    });
    let verdict = safe.decide(&post, &FAILED, None, &rich(), NOW, 0);
    assert!(matches!(verdict, Verdict::After(..)));
}

proptest! {
    #[test]
    fn a_probe_leaves_its_call_one_attempt_at_once_whatever_the_budget(left in 1_u64..10_000, typical: u32, random: u64) {
        let poor = Budget::new(&BudgetSettings { ratio: 0.0, floor: 0.0, ..Default::default() });
        let probe = Reply { probe: true, ..FAILED };
        let typical = Some(ms(u64::from(typical)));
        let decide = |reply| retry().decide(&call(left), reply, typical, &poor, NOW, random);
        let verdict = decide(&probe);
        prop_assert!(matches!(verdict, Verdict::After(Duration::ZERO, _)), "{verdict:?}");
        // Once a call.
        let second = Reply { attempts: 2, ..probe };
        prop_assert!(matches!(decide(&second), Verdict::Stop(_)));
    }
}

#[test]
fn what_forbids_a_retry_forbids_that_after_a_probe() {
    let probe = Reply {
        probe: true,
        ..FAILED
    };
    assert_eq!(decide(&call(0), &probe), Err(Why::Deadline));
    let post = Call {
        idempotent: false,
        ..call(1_000)
    };
    assert_eq!(decide(&post, &probe), Err(Why::Unsafe));
    let passed_on = Reply {
        passed_on: true,
        ..probe
    };
    assert_eq!(decide(&call(1_000), &passed_on), Err(Why::PassedOn));
    let once = Retry::new(RetrySettings {
        attempts: 1,
        ..RetrySettings::default()
    });
    let verdict = once.decide(&call(1_000), &probe, None, &rich(), NOW, 0);
    assert_eq!(verdict, Verdict::Stop(Why::Attempts));
    // It was told when to come back, which is not for here to know better.
    let told = Reply {
        pushback: Pushback::After(ms(70)),
        ..probe
    };
    assert_eq!(decide(&call(1_000), &told), Ok(70));
}

#[test]
fn never_where_it_is_of_no_use_or_seen() {
    for (reply, why) in [
        (Reply::new(Outcome::Success), Why::Answered),
        (Reply::new(Outcome::Ignored), Why::Cancelled),
        (
            Reply {
                passed_on: true,
                ..Reply::not_sent()
            },
            Why::PassedOn,
        ),
        (
            Reply {
                marked: true,
                ..Reply::not_sent()
            },
            Why::Retried,
        ),
        (
            Reply {
                attempts: 3,
                ..FAILED
            },
            Why::Attempts,
        ),
        (
            Reply {
                attempts: u8::MAX,
                ..FAILED
            },
            Why::Attempts,
        ),
        (
            Reply {
                rejected: Rejected::There(Advice::No),
                ..OVERLOADED
            },
            Why::Refused,
        ),
        (
            Reply {
                pushback: Pushback::Never,
                ..OVERLOADED
            },
            Why::Refused,
        ),
    ] {
        assert_eq!(decide(&call(1_000), &reply), Err(why));
    }
}

#[test]
fn what_is_asked_for_is_waited_for() {
    let pushed = |wait| Reply {
        pushback: Pushback::After(wait),
        ..OVERLOADED
    };
    let there = |advice| Reply {
        rejected: Rejected::There(advice),
        ..pushed(ms(2_000))
    };
    let here = |advice| Reply {
        rejected: Rejected::Here(advice),
        ..OVERLOADED
    };
    let year = Duration::from_secs(365 * 86_400);
    let endless = Call {
        deadline: Tick::MAX,
        ..call(0)
    };
    for (call, reply, want) in [
        (call(1_000), pushed(ms(300)), Ok(325)),
        (call(320), pushed(ms(300)), Err(Why::Deadline)),
        (call(1_000), pushed(ms(1)), Ok(26)),
        (call(1_000), pushed(year), Err(Why::Refused)),
        (endless, pushed(year), Err(Why::Refused)),
        (endless, pushed(Duration::MAX), Err(Why::Refused)),
        (endless, pushed(ms(59_000)), Ok(59_025)),
        // To the millisecond, where the header has whole seconds.
        (call(1_000), there(Advice::After(ms(130))), Ok(130)),
        (call(1_000), there(Advice::Elsewhere), Ok(0)),
        (call(1_000), here(Advice::Elsewhere), Ok(0)),
        (call(1_000), here(Advice::After(ms(130))), Ok(155)),
    ] {
        assert_eq!(decide(&call, &reply), want, "{reply:?}");
    }
}

#[test]
fn never_what_cannot_finish() {
    assert_eq!(decide(&call(46), &FAILED), Ok(25));
    assert_eq!(
        decide(&call(45), &FAILED),
        Err(Why::Deadline),
        "25 to wait, 20 to work"
    );
    assert_eq!(decide(&call(0), &FAILED), Err(Why::Deadline));
    let quick = Retry::new(RetrySettings {
        per_try: Some(ms(10)),
        ..*retry().settings()
    });
    let verdict = quick.decide(&call(40), &FAILED, Some(ms(20)), &rich(), NOW, 0);
    assert!(
        matches!(verdict, Verdict::After(..)),
        "a try ends after 10 ms"
    );
    assert_eq!(quick.limit(&call(40), NOW), NOW + ms(10));
    assert_eq!(quick.limit(&call(4), NOW), NOW + ms(4));
}

#[test]
fn the_budget_is_asked_last() {
    let budget = Budget::new(&BudgetSettings {
        floor: 0.1,
        ..Default::default()
    });
    let late = retry().decide(&call(10), &FAILED, Some(ms(20)), &budget, NOW, 0);
    assert_eq!(late, Verdict::Stop(Why::Deadline));
    let decide = || retry().decide(&call(500), &FAILED, None, &budget, NOW, 0);
    assert!(
        matches!(decide(), Verdict::After(..)),
        "nothing was spent on the first"
    );
    assert_eq!(decide(), Verdict::Stop(Why::Budget));
}

#[test]
fn the_lowest_that_would_retry_marks() {
    let second = Reply {
        attempts: 2,
        ..FAILED
    };
    let rejected = |advice| Reply {
        rejected: Rejected::There(advice),
        ..OVERLOADED
    };
    for (reply, why, want) in [
        (FAILED, Why::Budget, true),
        (FAILED, Why::Deadline, false),
        (FAILED, Why::Unsafe, false),
        (second, Why::Attempts, true),
        (second, Why::Deadline, true),
        (
            Reply {
                marked: true,
                ..FAILED
            },
            Why::Retried,
            true,
        ),
        (rejected(Advice::No), Why::Refused, true),
        (
            Reply {
                attempts: 2,
                ..Reply::new(Outcome::Success)
            },
            Why::Answered,
            false,
        ),
        (
            Reply {
                rejected: Rejected::Here(Advice::No),
                ..OVERLOADED
            },
            Why::Refused,
            false,
        ),
    ] {
        assert_eq!(retry().must_mark(&reply, why), want, "{reply:?} {why:?}");
    }
    let unwilling = Retry::new(RetrySettings {
        attempts: 1,
        ..RetrySettings::default()
    });
    assert!(!unwilling.must_mark(&rejected(Advice::After(ms(5))), Why::Attempts));
    assert!(!unwilling.must_mark(&FAILED, Why::Attempts));
}

fn reply() -> impl Strategy<Value = Reply> {
    let times = prop_oneof![
        3 => (0_u64..200).prop_map(ms),
        1 => any::<u64>().prop_map(Duration::from_nanos),
        1 => Just(Duration::MAX),
    ];
    let advice = || {
        let wait = (0_u64..200).prop_map(|wait| Advice::After(ms(wait)));
        prop_oneof![Just(Advice::No), Just(Advice::Elsewhere), wait]
    };
    let rejected = prop_oneof![
        3 => Just(Rejected::No),
        1 => advice().prop_map(Rejected::Here),
        1 => advice().prop_map(Rejected::There),
    ];
    let outcomes = vec![
        Outcome::Success,
        Outcome::Failure,
        Outcome::Overloaded,
        Outcome::Ignored,
    ];
    let pushback = prop_oneof![
        3 => Just(Pushback::Unsaid),
        1 => times.clone().prop_map(Pushback::After),
        1 => Just(Pushback::Never),
    ];
    let flags = (
        any::<bool>(),
        prop::bool::weighted(0.1),
        prop::bool::weighted(0.1),
        any::<bool>(),
    );
    (
        prop::sample::select(outcomes),
        0_u8..5,
        times,
        flags,
        rejected,
        pushback,
    )
        .prop_map(
            |(
                outcome,
                attempts,
                waited,
                (may_have_run, passed_on, marked, probe),
                rejected,
                pushback,
            )| {
                Reply {
                    outcome,
                    attempts,
                    waited,
                    may_have_run,
                    passed_on,
                    marked,
                    probe,
                    rejected,
                    pushback,
                }
            },
        )
}

proptest! {
    #[test]
    fn a_retry_breaks_no_rule(
        reply in reply(), left in 0_u64..400, idempotent: bool, random: u64,
        typical in prop::option::of(0_u64..400),
    ) {
        let call = Call { idempotent, ..call(left) };
        let typical = typical.map(ms);
        let verdict = retry().decide(&call, &reply, typical, &rich(), NOW, random);
        if let Verdict::After(wait, _) = verdict {
            prop_assert!(matches!(reply.outcome, Outcome::Failure | Outcome::Overloaded));
            prop_assert!(!reply.passed_on && !reply.marked && reply.attempts < 3);
            prop_assert!(idempotent || !reply.may_have_run || reply.rejected != Rejected::No);
            let errand = reply.probe && reply.attempts <= 1;
            let work = typical.filter(|_| !errand).unwrap_or_default();
            prop_assert!(wait + work < ms(left));
            prop_assert!(reply.pushback != Pushback::Never);
            match (reply.rejected, reply.pushback) {
                (Rejected::Here(advice) | Rejected::There(advice), _) => match advice {
                    Advice::No => prop_assert!(false, "{reply:?}"),
                    Advice::Elsewhere => prop_assert_eq!(wait, Duration::ZERO),
                    Advice::After(least) => prop_assert!(wait >= least),
                },
                (Rejected::No, Pushback::After(least)) => prop_assert!(wait >= least),
                _ => {}
            }
        }
    }
}

/// What was not sent is sent elsewhere for nothing, once: then it is paid for.
#[test]
fn the_first_that_was_not_sent_costs_nothing() {
    let budget = Budget::new(&BudgetSettings {
        ratio: 0.0,
        floor: 0.0,
        ..BudgetSettings::default()
    });
    let retry = Retry::new(RetrySettings::default());
    let decide =
        |reply: &Reply| retry.decide(&Call::default(), reply, None, &budget, Tick::ZERO, 0);
    let Verdict::After(_, free) = decide(&Reply::not_sent()) else {
        panic!("it is sent again");
    };
    budget.refund(free);
    let again = Reply {
        attempts: 2,
        ..Reply::not_sent()
    };
    assert_eq!(decide(&again), Verdict::Stop(Why::Budget));
}
