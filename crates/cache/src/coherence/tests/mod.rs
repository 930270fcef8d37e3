#[cfg(feature = "redis")]
mod channel;

use futures_util::FutureExt as _;
use seawall::clock::Clock;

use super::*;

fn key(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

/// What is heard, in order.
fn record(coherence: &Coherence) -> (Arc<Mutex<Vec<Notice>>>, Hearing) {
    let heard = Arc::<Mutex<Vec<Notice>>>::default();
    let to = heard.clone();
    let hearing = coherence.hear(move |notice| to.lock().push(notice.clone()));
    (heard, hearing)
}

#[test]
fn waiters_hear_of_their_key_and_of_loss() {
    let coherence = Coherence::local();
    let (a, b) = (key("a"), key("b"));
    for (notice, of_a) in [
        (Notice::Filled(a.clone()), true),
        (Notice::Released(a.clone()), true),
        (Notice::Invalidated(a.clone()), true),
        (Notice::Invalidated(b), false),
        (Notice::Hot(a.clone(), true), false),
        (Notice::Lost, true),
        (Notice::Epoch(2), true),
    ] {
        let (mut one, mut other) = (coherence.waiting(&a), coherence.waiting(&a));
        assert!((&mut one).now_or_never().is_none());
        coherence.tell(&notice);
        assert_eq!((&mut one).now_or_never().is_some(), of_a, "{notice:?}");
        assert_eq!((&mut other).now_or_never().is_some(), of_a, "{notice:?}");
        // Told once, it stays told.
        assert_eq!((&mut one).now_or_never().is_some(), of_a);
        drop((one, other));
        assert_eq!(coherence.hub.waiters.count(), 0);
    }
}

#[test]
fn a_waiter_that_leaves_takes_nobody_with_it() {
    let coherence = Coherence::local();
    let a = key("a");
    let mut stays = coherence.waiting(&a);
    drop(coherence.waiting(&a));
    assert_eq!(coherence.hub.waiters.count(), 1);
    coherence.tell(&Notice::Filled(a.clone()));
    assert!((&mut stays).now_or_never().is_some());
    // One that was told does not take the next one's place either.
    let next = coherence.waiting(&a);
    drop(stays);
    coherence.tell(&Notice::Filled(a));
    assert!(next.now_or_never().is_some());
}

#[test]
fn listeners_hear_before_waiters_and_not_after_their_drop() {
    let coherence = Coherence::local();
    let a = key("a");
    let waiting = Arc::new(Mutex::new(Some(coherence.waiting(&a))));
    let looked = waiting.clone();
    let hearing = coherence.hear(move |_| {
        let waiting = looked.lock().take().expect("once");
        assert!(waiting.now_or_never().is_none());
    });
    coherence.tell(&Notice::Filled(a.clone()));
    assert!(waiting.lock().is_none());
    drop(hearing);
    coherence.tell(&Notice::Filled(a));
    let counts = coherence.counts();
    assert_eq!(
        (counts.notices.load(SeqCst), counts.lost.load(SeqCst)),
        (2, 0)
    );
}

#[test]
fn no_wake_up_is_lost() {
    let coherence = Coherence::local();
    let filled = Arc::new(AtomicU64::new(0));
    let (teller, seen) = (coherence.clone(), filled.clone());
    const ROUNDS: u64 = 20_000;
    let reached = Arc::new(AtomicU64::new(0));
    let turn = reached.clone();
    let telling = std::thread::spawn(move || {
        for round in 1..=ROUNDS {
            while turn.load(SeqCst) + 1 < round {
                std::hint::spin_loop();
            }
            seen.store(round, SeqCst);
            teller.tell(&Notice::Filled(key("a")));
        }
    });
    for round in 1..=ROUNDS {
        // Registered, then looked: either the look finds it, or the notice is yet to come.
        let waiting = coherence.waiting(&key("a"));
        if filled.load(SeqCst) < round {
            wait(waiting);
        }
        reached.store(round, SeqCst);
    }
    telling.join().expect("no panic");
    assert_eq!(coherence.hub.waiters.count(), 0);
}

/// Waits on this thread.
fn wait(waiting: Waiting) {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.expect("a runtime").block_on(waiting);
}

#[test]
fn what_is_in_the_process_is_always_intact() {
    let coherence = Coherence::local();
    for now in [Tick::ZERO, Tick(1), Tick::MAX] {
        assert!(coherence.intact(now));
    }
}
