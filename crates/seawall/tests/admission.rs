//! The driver of the gate: wakers, permits, the pulse.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use seawall::admission::{Admission, Admit, GateSettings, Key, Permit};
use seawall::clock::Clock;
use seawall::{Call, Outcome, Reason};
use seawall_policy::limit::Fixed;

fn admission(limit: u32, clock: &Clock) -> Admission {
    let settings = GateSettings {
        limit: Box::new(Fixed::new(limit)),
        ..Default::default()
    };
    Admission::new(settings, clock.clone())
}

fn now(admission: &Admission, clock: &Clock) -> Permit {
    match admission.acquire(&Call::default(), Key(0), None, clock.now()) {
        Admit::Now(permit) => permit,
        other => panic!("expected a place, got {other:?}"),
    }
}

fn poll<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn a_finished_call_hands_its_place_on() {
    let clock = Clock::manual();
    let admission = admission(1, &clock);
    let permit = now(&admission, &clock);
    let Admit::Wait(mut waiting) = admission.acquire(&Call::default(), Key(0), None, clock.now())
    else {
        panic!("the only place is taken");
    };
    assert!(poll(&mut waiting).is_pending());
    permit.finish(Outcome::Success, clock.now());
    assert!(matches!(poll(&mut waiting), Poll::Ready(Ok(_))));
}

#[test]
fn a_dropped_permit_frees_its_place() {
    let clock = Clock::manual();
    let admission = admission(1, &clock);
    drop(now(&admission, &clock));
    drop(now(&admission, &clock));
    assert_eq!(admission.snapshot().inflight, 0);
}

#[test]
fn a_dropped_wait_gives_up_its_turn_at_every_point() {
    let clock = Clock::manual();
    for polled in [false, true] {
        for granted in [false, true] {
            let admission = admission(1, &clock);
            let permit = now(&admission, &clock);
            let Admit::Wait(mut waiting) =
                admission.acquire(&Call::default(), Key(0), None, clock.now())
            else {
                panic!("the only place is taken");
            };
            if polled {
                assert!(poll(&mut waiting).is_pending());
            }
            if granted {
                permit.finish(Outcome::Success, clock.now());
                drop(waiting);
            } else {
                drop(waiting);
                permit.finish(Outcome::Success, clock.now());
            }
            let snapshot = admission.snapshot();
            assert_eq!(
                (snapshot.inflight, snapshot.queued),
                (0, 0),
                "polled {polled}, granted {granted}"
            );
            drop(now(&admission, &clock));
        }
    }
}

#[test]
fn a_wait_ends_with_a_typed_rejection() {
    let clock = Clock::manual();
    let admission = admission(1, &clock);
    let _permit = now(&admission, &clock);
    let Admit::Wait(mut waiting) = admission.acquire(&Call::default(), Key(0), None, clock.now())
    else {
        panic!("the only place is taken");
    };
    clock.advance(Duration::from_millis(200));
    admission.tick();
    match poll(&mut waiting) {
        Poll::Ready(Err(rejection)) => assert_eq!(rejection.reason, Reason::QueueTimeout),
        other => panic!("{other:?}"),
    }
}

#[test]
fn streams_hold_no_place_but_are_capped() {
    let clock = Clock::manual();
    let settings = GateSettings {
        limit: Box::new(Fixed::new(1)),
        max_streams: 2,
        ..Default::default()
    };
    let admission = Admission::new(settings, clock.clone());
    let first = now(&admission, &clock).into_stream(clock.now()).unwrap();
    let _second = now(&admission, &clock).into_stream(clock.now()).unwrap();
    assert!(now(&admission, &clock).into_stream(clock.now()).is_err());
    drop(first);
    assert!(now(&admission, &clock).into_stream(clock.now()).is_ok());
}

/// Many threads, real wakers, a limit of a few: everyone is served or turned away, and the places
/// held at once never exceed the limit.
#[test]
fn threads_share_the_places() {
    use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
    let clock = Clock::system();
    let admission = admission(3, &clock);
    let (held, most) = (AtomicU32::new(0), AtomicU32::new(0));
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .build()
                    .unwrap();
                let call = Call::default();
                for _ in 0..500 {
                    let asked = admission.admit(&call, Key(0), None, clock.now());
                    if let Ok(permit) = runtime.block_on(asked) {
                        most.fetch_max(held.fetch_add(1, SeqCst) + 1, SeqCst);
                        std::thread::yield_now();
                        held.fetch_sub(1, SeqCst);
                        permit.finish(Outcome::Success, clock.now());
                    }
                }
            });
        }
    });
    assert!(most.load(SeqCst) <= 3);
    let snapshot = admission.snapshot();
    assert_eq!((snapshot.inflight, snapshot.queued), (0, 0));
}
