//! Whether Redis is asked at all: the health of each of its shards.
//!
//! [`policy::fallback::Gutter`](seawall_policy::fallback::Gutter) decides, from how calls end: given
//! up when four fifths of what ended in half a second failed, probed twice a second, returned to by
//! steps. Short, as callers wait a time limit each until it is: of a Redis that froze, at 2,000 calls a
//! second, about half a second long.
//!
//! *What counts as failed.* What says that the shard does not serve
//! (`Fault::is_outage`), *and a time limit that ran out*: a frozen server or a dropped route answers
//! nothing at all, and is told from a slow one by nothing else. What it refuses while it serves (out
//! of memory, an error of a script) is `Overloaded`, which is an answer.
//!
//! *The reserve is not limited in calls*, unlike another pool in the gutter's place: it is a table in
//! this process, bounded in entries, and the loads that it lacks are bounded by the guard.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use seawall::clock::Clock;
use seawall_policy::Outcome;
use seawall_policy::fallback::{Gutter, GutterSettings, Pass, Stage, Way};

use super::journal::BUCKETS;

const WINDOW: Duration = Duration::from_millis(500);
/// Calls in the window that it takes to judge: of a single Redis, and of one of 64 buckets, which
/// sees a sixty-fourth of the calls.
const CALLS: u32 = 10;
const CALLS_OF_BUCKET: u32 = 3;

/// The health of a Redis by bucket: the 64 of a Cluster's slots, or the one of a single Redis.
#[derive(Clone, Debug)]
pub(crate) struct Health {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    gutters: Box<[Gutter]>,
    /// Some gutter was in use when last looked at: its end is to be noticed.
    out: AtomicBool,
    clock: Clock,
}

impl Health {
    /// All well. `sharded`: by bucket, for a Cluster.
    pub(crate) fn new(sharded: bool, clock: Clock) -> Self {
        let settings = GutterSettings {
            limit: u32::MAX,
            calls: if sharded { CALLS_OF_BUCKET } else { CALLS },
            window: WINDOW,
            shards: if sharded { 1 } else { 8 },
            ..GutterSettings::default()
        };
        let count = if sharded { BUCKETS } else { 1 };
        Self {
            inner: Arc::new(Inner {
                gutters: (0..count).map(|_| Gutter::new(&settings)).collect(),
                out: AtomicBool::new(false),
                clock,
            }),
        }
    }

    /// The right to ask a bucket's shard, or `None`: the reserve is to answer. While all is well, one
    /// load of an atomic.
    #[inline]
    pub(crate) fn call(&self, bucket: u16) -> Option<StoreCall<'_>> {
        let gutter = self.gutter(bucket);
        let now = self.inner.clock.now();
        // At its limit only with 2³² calls in it.
        let pass = gutter.pass(now, fastrand::u64(..)).ok()?;
        if pass.way() == Way::Gutter {
            self.inner.out.store(true, Relaxed);
            gutter.record(pass, Outcome::Ignored, now);
            return None;
        }
        Some(StoreCall {
            gutter,
            clock: &self.inner.clock,
            pass: Some(pass),
        })
    }

    /// A call that belongs to one that was let through, such as the fill of a lease that was granted: it
    /// goes the way of that one, or the lease would be held in vain until its end.
    pub(crate) fn follow(&self, bucket: u16) -> StoreCall<'_> {
        let gutter = self.gutter(bucket);
        let now = self.inner.clock.now();
        let pass = match gutter.stage() {
            // Other calls are the probes.
            Stage::Gutter => None,
            // Never one of those that are spared it.
            _ => gutter.pass(now, 0).ok(),
        };
        StoreCall {
            gutter,
            clock: &self.inner.clock,
            pass,
        }
    }

    /// A write's call: `None` only where the shard is given up. On the shard's way back, where reads
    /// are spared it by and by, others must not wait for what replaces the value.
    pub(crate) fn write(&self, bucket: u16) -> Option<StoreCall<'_>> {
        (!self.is_out(bucket)).then(|| self.follow(bucket))
    }

    /// Whether a bucket's shard is given up; probes go on.
    pub(crate) fn is_out(&self, bucket: u16) -> bool {
        self.gutter(bucket).stage() == Stage::Gutter
    }

    /// Whether, since this was last asked, the last shard that had been given up has come back: the
    /// time to empty the reserve. One load while all is well.
    pub(crate) fn is_back(&self) -> bool {
        let main = |gutter: &Gutter| gutter.stage() == Stage::Main;
        self.inner.out.load(Relaxed)
            && self.inner.gutters.iter().all(main)
            && self.inner.out.swap(false, Relaxed)
    }

    /// Buckets that are given up or on their way back: for metrics.
    pub(crate) fn out(&self) -> usize {
        let gutters = self.inner.gutters.iter();
        gutters
            .filter(|gutter| gutter.stage() != Stage::Main)
            .count()
    }

    /// Buckets in all.
    pub(crate) fn buckets(&self) -> usize {
        self.inner.gutters.len()
    }

    fn gutter(&self, bucket: u16) -> &Gutter {
        let gutters = &self.inner.gutters;
        &gutters[usize::from(bucket) % gutters.len()]
    }
}

/// A call of a store under way. Dropped, it says nothing of the store.
#[must_use = "finish it with how the call ended"]
#[derive(Debug)]
pub(crate) struct StoreCall<'a> {
    gutter: &'a Gutter,
    clock: &'a Clock,
    pass: Option<Pass>,
}

impl StoreCall<'_> {
    /// Takes in how the call ended.
    #[inline]
    pub(crate) fn finish(mut self, outcome: Outcome) {
        self.record(outcome);
    }

    #[inline]
    fn record(&mut self, outcome: Outcome) {
        if let Some(pass) = self.pass.take() {
            self.gutter.record(pass, outcome, self.clock.now());
        }
    }
}

impl Drop for StoreCall<'_> {
    fn drop(&mut self) {
        self.record(Outcome::Ignored);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn give_up(health: &Health, bucket: u16) {
        while !health.is_out(bucket) {
            let call = health.call(bucket).expect("not given up yet");
            call.finish(Outcome::Failure);
        }
    }

    #[test]
    fn a_shard_that_fails_is_given_up_and_the_others_are_not() {
        let health = Health::new(true, Clock::manual());
        give_up(&health, 3);
        drop(health.call(3).expect("a probe"));
        assert!(health.call(3).is_none());
        assert!(health.call(4).is_some() && health.out() == 1);
    }

    #[test]
    fn answers_of_any_kind_and_calls_that_nobody_awaited_are_no_outage() {
        let health = Health::new(false, Clock::manual());
        for n in 0..100 {
            let call = health.call(n).expect("all is well");
            match n % 2 {
                0 => call.finish(Outcome::Overloaded),
                _ => drop(call),
            }
        }
        assert!(!health.is_out(0) && !health.is_back());
    }

    #[test]
    fn what_follows_a_call_goes_its_way_and_writes_wait_only_while_it_is_given_up() {
        let health = Health::new(false, Clock::manual());
        assert!(health.write(0).is_some());
        give_up(&health, 0);
        assert!(health.write(0).is_none());
        health.follow(0).finish(Outcome::Success);
        assert!(health.is_out(0));
        for _ in 0..3 {
            health.call(0).expect("a probe").finish(Outcome::Success);
        }
        assert_eq!(health.out(), 1);
        // One in sixteen reads, and all that follows and writes.
        let passed = (0..1_000).filter(|_| health.call(0).is_some()).count();
        assert!(passed < 500);
        assert!((0..1_000).all(|_| health.write(0).is_some_and(|call| call.pass.is_some())));
    }

    #[test]
    fn it_is_left_by_itself_and_said_once() {
        let clock = Clock::manual();
        let health = Health::new(false, clock.clone());
        give_up(&health, 0);
        for _ in 0..10_000 {
            assert!(!health.is_back());
            clock.advance(Duration::from_millis(1));
            if let Some(call) = health.call(0) {
                call.finish(Outcome::Success);
            }
            if health.out() == 0 {
                break;
            }
        }
        assert!(health.is_back() && !health.is_back());
    }
}
