use super::*;

const SERVICE: Duration = Duration::from_millis(20);

fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

fn standing(slots: &mut Slots, id: u64) -> Standing {
    slots.standing(id, Waker::noop())
}

#[test]
fn work_beyond_the_slots_waits_its_turn() {
    let start = Instant::now();
    let mut slots = Slots::new(1, 0.0, Gone::Skip);
    let first = slots.enter(SERVICE, false, start);
    let second = slots.enter(SERVICE, false, start);
    assert_eq!(standing(&mut slots, first), Standing::Serving);
    assert_eq!(standing(&mut slots, second), Standing::Waiting);
    slots.advance(start + ms(20));
    assert_eq!(standing(&mut slots, first), Standing::Done);
    assert_eq!(standing(&mut slots, second), Standing::Serving);
    assert_eq!(slots.next_end(), Some(start + ms(40)));
}

#[test]
fn a_late_timer_costs_no_capacity() {
    let start = Instant::now();
    let mut slots = Slots::new(1, 0.0, Gone::Skip);
    for _ in 0..10 {
        slots.enter(SERVICE, false, start);
    }
    slots.advance(start + ms(203));
    assert_eq!(slots.stats().finished, 10);
    assert!((slots.stats().work_s - 0.2).abs() < 1e-9);
}

#[test]
fn a_caller_gone_frees_its_place_when_noticed() {
    let start = Instant::now();
    let mut slots = Slots::new(1, 0.0, Gone::Skip);
    let served = slots.enter(SERVICE, false, start);
    let waits = slots.enter(SERVICE, false, start);
    let next = slots.enter(SERVICE, false, start);
    slots.leave(waits, start + ms(5));
    slots.leave(served, start + ms(10));
    assert_eq!(standing(&mut slots, next), Standing::Serving);
    assert_eq!(slots.next_end(), Some(start + ms(20)), "the stale end");
    slots.advance(start + ms(30));
    let stats = slots.stats();
    assert_eq!((stats.gone_waiting, stats.gone_serving), (1, 1));
    assert_eq!((stats.finished, stats.finished_for_gone), (1, 0));
    assert!((stats.work_s - 0.030).abs() < 1e-9);
}

#[test]
fn a_thread_pool_works_for_callers_long_gone() {
    let start = Instant::now();
    let mut slots = Slots::new(1, 0.0, Gone::Work);
    let served = slots.enter(SERVICE, false, start);
    let waits = slots.enter(SERVICE, false, start);
    slots.leave(waits, start + ms(5));
    slots.leave(served, start + ms(15));
    slots.advance(start + ms(40));
    let stats = slots.stats();
    assert_eq!((stats.finished, stats.finished_for_gone), (2, 2));
    assert!((stats.gone_work_s - 0.025).abs() < 1e-9);
    assert_eq!((stats.waiting, stats.busy), (0, 0));
}

#[test]
fn an_upload_holds_its_slot_while_it_arrives() {
    let start = Instant::now();
    let mut slots = Slots::new(1, 0.0, Gone::Work);
    let upload = slots.enter(SERVICE, true, start);
    let next = slots.enter(SERVICE, false, start);
    assert_eq!(standing(&mut slots, upload), Standing::Reading);
    assert_eq!(slots.next_end(), None);
    slots.body_read(upload, start + ms(100));
    slots.advance(start + ms(120));
    assert_eq!(standing(&mut slots, upload), Standing::Done);
    assert_eq!(standing(&mut slots, next), Standing::Serving);
    // A body cut off cannot be worked on, whatever the policy.
    let cut = slots.enter(SERVICE, true, start + ms(130));
    slots.advance(start + ms(140));
    assert_eq!(standing(&mut slots, cut), Standing::Reading);
    slots.leave(cut, start + ms(150));
    assert_eq!(slots.stats().busy, 0);
}

#[test]
fn capacity_changes_while_it_runs() {
    let start = Instant::now();
    let mut slots = Slots::new(4, 0.0, Gone::Skip);
    for _ in 0..100 {
        slots.enter(SERVICE, false, start);
    }
    slots.set_slots(1, start + ms(10));
    slots.advance(start + ms(59));
    assert_eq!(slots.stats().finished, 5, "four at 20 ms, one at 40 ms");
    slots.set_slots(4, start + ms(59));
    slots.advance(start + ms(60));
    assert_eq!(slots.stats().busy, 4);
}

#[test]
fn an_origin_that_slows_as_it_fills_takes_longer_with_a_queue() {
    let start = Instant::now();
    let mut slots = Slots::new(2, 1.0, Gone::Skip);
    slots.enter(SERVICE, false, start);
    assert_eq!(slots.next_end(), Some(start + ms(30)), "half full");
    let mut full = Slots::new(2, 1.0, Gone::Skip);
    full.set_slots(0, start);
    for _ in 0..4 {
        full.enter(SERVICE, false, start);
    }
    full.set_slots(2, start);
    assert_eq!(full.next_end(), Some(start + ms(60)), "twice full");
}
