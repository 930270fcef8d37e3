//! Two counts over a sliding window, that threads add to at one atomic operation each.
//!
//! A [`RollingWindow`](super::RollingWindow) needs `&mut`, and a lock around it costs two locked
//! instructions a call where this needs one. The present slice is one word (its number and both
//! counts), the sum of the slices before it another with the same number, so that whoever reads
//! both knows whether they belong together. Once a slice, whoever comes first moves the window
//! on, under a lock that nobody else needs.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};

use super::Slices;
use crate::Tick;

const BITS: u32 = 26;
/// The most that a count holds; a window with more is taken to have this many.
const MOST: u64 = (1 << BITS) - 1;
/// Room for threads that add at the same time as one finds a count below its end.
const MARGIN: u64 = 1 << 16;
const FIRST: u64 = 1 << BITS;
const SECOND: u64 = 1;

/// Two counts. Each at most 67 million.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pair {
    pub(crate) first: u64,
    pub(crate) second: u64,
}

impl Pair {
    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            first: (self.first + other.first).min(MOST),
            second: (self.second + other.second).min(MOST),
        }
    }

    fn word(self, number: u64) -> u64 {
        (number << (2 * BITS)) | (self.first << BITS) | self.second
    }

    fn of(word: u64) -> Self {
        Self {
            first: (word >> BITS) & MOST,
            second: word & MOST,
        }
    }
}

/// A slice's number, modulo 4,096: tells slices of one window apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SliceNumber(u64);

impl SliceNumber {
    fn of(word: u64) -> Self {
        Self(word >> (2 * BITS))
    }
}

/// The slices before the present one.
#[derive(Debug)]
struct Past {
    ring: Box<[Pair]>,
    next: usize,
}

impl Past {
    fn push(&mut self, pair: Pair) {
        self.ring[self.next] = pair;
        self.next = (self.next + 1) % self.ring.len();
    }
}

/// One thread's share of two counts over the last while.
///
/// A time that runs backwards is taken for the latest one known.
#[derive(Debug)]
pub(crate) struct PairWindow {
    present: AtomicU64,
    past: AtomicU64,
    /// When the present slice ends.
    until: AtomicU64,
    slices: Slices,
    ring: Mutex<Past>,
}

impl PairWindow {
    /// Slides over `window` in `slices` steps, at least 2.
    pub(crate) fn new(window: Duration, slices: usize) -> Self {
        let slices = slices.max(2);
        Self {
            present: AtomicU64::new(0),
            past: AtomicU64::new(0),
            until: AtomicU64::new(0),
            slices: Slices::of(window, slices),
            ring: Mutex::new(Past {
                ring: vec![Pair::default(); slices - 1].into(),
                next: 0,
            }),
        }
    }

    /// Counts one of the first kind.
    #[inline]
    pub(crate) fn add_first(&self, now: Tick) {
        self.catch_up(now);
        if Pair::of(self.present.load(Relaxed)).first < MOST - MARGIN {
            self.present.fetch_add(FIRST, Relaxed);
        }
    }

    /// Counts one of the second kind if `allow` says so of the present slice and of those before
    /// it; no other thread's addition comes between the question and the answer.
    #[inline]
    pub(crate) fn try_add_second(
        &self,
        now: Tick,
        allow: impl Fn(Pair, Pair) -> bool,
    ) -> Option<SliceNumber> {
        self.catch_up(now);
        loop {
            let (present, past) = self.read();
            let counts = Pair::of(present);
            if counts.second >= MOST - MARGIN || !allow(counts, Pair::of(past)) {
                return None;
            }
            let more = present + SECOND;
            if self
                .present
                .compare_exchange_weak(present, more, Relaxed, Relaxed)
                .is_ok()
            {
                return Some(SliceNumber::of(present));
            }
        }
    }

    /// Takes back one that [`PairWindow::try_add_second`] counted, if its slice still lasts.
    pub(crate) fn take_back_second(&self, slice: SliceNumber) {
        // Refused where the slice is over: what it held is leaving the window by itself.
        let _ = self.present.fetch_update(Relaxed, Relaxed, |word| {
            (SliceNumber::of(word) == slice && Pair::of(word).second > 0).then(|| word - SECOND)
        });
    }

    /// Forgets everything.
    pub(crate) fn clear(&self) {
        let mut ring = self.ring.lock();
        ring.ring.fill(Pair::default());
        let number = SliceNumber::of(self.present.load(Relaxed)).0;
        let word = Pair::default().word(number.wrapping_add(1));
        self.present.store(word, Relaxed);
        self.past.store(word, Relaxed);
    }

    /// Both counts over the window.
    pub(crate) fn total(&self, now: Tick) -> Pair {
        self.catch_up(now);
        let (present, past) = self.read();
        Pair::of(present).plus(Pair::of(past))
    }

    /// The present slice and the sum of those before it, of one moment.
    #[inline]
    fn read(&self) -> (u64, u64) {
        let (present, past) = (self.present.load(Relaxed), self.past.load(Relaxed));
        if SliceNumber::of(present) == SliceNumber::of(past) {
            return (present, past);
        }
        self.read_held()
    }

    /// Somebody is just moving the window on: waits for it.
    #[cold]
    fn read_held(&self) -> (u64, u64) {
        let _held = self.ring.lock();
        (self.present.load(Relaxed), self.past.load(Relaxed))
    }

    #[inline]
    fn catch_up(&self, now: Tick) {
        if now.0 >= self.until.load(Relaxed) {
            self.slide(now);
        }
    }

    /// Moves the window on to `now`. Whoever finds another at it counts where the window stands.
    #[cold]
    fn slide(&self, now: Tick) {
        if let Some(ring) = self.ring.try_lock() {
            self.slide_held(now, ring);
        }
    }

    fn slide_held(&self, now: Tick, mut ring: MutexGuard<'_, Past>) {
        let until = self.until.load(Relaxed);
        if now.0 < until || until == u64::MAX {
            return;
        }
        let width = self.slices.width_ns;
        let number = SliceNumber::of(self.present.load(Relaxed))
            .0
            .wrapping_add(1);
        let ended = self.present.swap(Pair::default().word(number), Relaxed);
        ring.push(Pair::of(ended));
        let skipped = ((now.0 - until) / width).min(ring.ring.len() as u64);
        for _ in 0..skipped {
            ring.push(Pair::default());
        }
        let past = ring.ring.iter().fold(Pair::default(), |a, b| a.plus(*b));
        self.past.store(past.word(number), Relaxed);
        let end = self.slices.index(now).saturating_add(1);
        self.until.store(end.saturating_mul(width), Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const WIDTH: u64 = 10;

    fn window(slices: u64) -> PairWindow {
        PairWindow::new(Duration::from_nanos(WIDTH * slices), slices as usize)
    }

    proptest! {
        #[test]
        fn slides_like_the_definition(
            steps in prop::collection::vec((-8_i64..35, any::<bool>()), 1..200),
            slices in 2_u64..12,
        ) {
            let window = window(slices);
            let (mut now, mut latest, mut seen) = (0_u64, 0_u64, Vec::new());
            for (dt, first) in steps {
                now = now.saturating_add_signed(dt);
                latest = latest.max(now);
                if first {
                    window.add_first(Tick(now));
                } else {
                    window.try_add_second(Tick(now), |_, _| true);
                }
                // Backwards counts as the slice that the window has reached.
                seen.push((latest / WIDTH, first));
                let live = |&&(slice, _): &&(u64, bool)| slice + slices > latest / WIDTH;
                let first = seen.iter().filter(live).filter(|(_, first)| *first).count() as u64;
                let both = seen.iter().filter(live).count() as u64;
                prop_assert_eq!(window.total(Tick(now)), Pair { first, second: both - first });
            }
        }
    }

    #[test]
    fn threads_count_everything_once() {
        let window = window(4);
        std::thread::scope(|scope| {
            let threads = [(); 4].map(|()| {
                scope.spawn(|| {
                    for i in 0..2_000 {
                        window.add_first(Tick(i / 500 * WIDTH));
                        assert!(
                            window
                                .try_add_second(Tick(i / 500 * WIDTH), |_, _| true)
                                .is_some()
                        );
                    }
                })
            });
            for thread in threads {
                thread.join().unwrap();
            }
        });
        let (first, second) = (8_000, 8_000);
        assert_eq!(window.total(Tick(35)), Pair { first, second });
    }

    #[test]
    fn what_is_taken_back_counts_no_more() {
        let window = window(3);
        let taken = window.try_add_second(Tick(5), |_, _| true).unwrap();
        window.take_back_second(taken);
        window.take_back_second(taken);
        assert_eq!(window.total(Tick(5)), Pair::default());
        let late = window.try_add_second(Tick(5), |_, _| true).unwrap();
        let present = window.try_add_second(Tick(15), |_, _| true);
        assert!(present.is_some());
        window.take_back_second(late);
        let (first, second) = (0, 2);
        assert_eq!(window.total(Tick(15)), Pair { first, second });
    }

    #[test]
    fn the_ends_of_time() {
        let window = PairWindow::new(Duration::ZERO, 0);
        window.add_first(Tick::MAX);
        window.add_first(Tick::ZERO);
        window.try_add_second(Tick::MAX, |_, _| true);
        assert_eq!(
            window.total(Tick::MAX),
            Pair {
                first: 2,
                second: 1
            }
        );
    }

    #[test]
    fn a_full_count_stays_full() {
        let window = window(2);
        window.total(Tick(1));
        let full = Pair {
            first: MOST - MARGIN,
            second: MOST - MARGIN,
        };
        window.present.store(full.word(1), Relaxed);
        window.add_first(Tick(1));
        assert!(window.try_add_second(Tick(1), |_, _| true).is_none());
        assert_eq!(window.total(Tick(1)), full);
    }
}
