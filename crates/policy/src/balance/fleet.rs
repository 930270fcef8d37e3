//! What the hosts of one list have in common: settings, and what is typical of them.
//!
//! Written about ten times a second, read by every call: one cache line that every core holds.

use std::sync::atomic::{
    AtomicU32, AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed},
};
use std::time::Duration;

use seawall_sync::CachePadded;

use super::peak_ewma::Rate;
use super::prequal::Pool;
use super::{Algorithm, BalanceSettings};
use crate::Tick;

/// How often the fleet is looked over.
pub(super) const SWEEP: Duration = Duration::from_millis(100);
/// Nothing that is to be done lies a second ahead.
const FAR_NS: u64 = 1_000_000_000;
/// How often hosts are judged by the share of calls that failed.
const JUDGEMENT: Duration = Duration::from_secs(1);
/// One call in so many, at most, is sent to a host to learn whether it is still slow.
const LOOK_PART: u64 = 20;
/// A host that would have had so many calls by its share, and had none, is avoided.
const DUE: u64 = 8;
/// What an unknown host is taken for while nothing is known of any: 10 ms.
const UNKNOWN_NS: f32 = 1e7;

#[derive(Debug)]
struct Shared {
    next_event: AtomicU64,
    /// A typical host's latency in ns.
    latency: AtomicU32,
    /// A typical host's load, in the measure of the algorithm.
    load: AtomicU32,
    ejected: AtomicU32,
    /// The most hosts that may be ejected.
    cap: AtomicU32,
}

/// Shared by all lists that come out of one another by updates.
#[derive(Debug)]
pub(super) struct Fleet {
    pub(super) settings: BalanceSettings,
    pub(super) rate: Rate,
    pub(super) failure_weight: f32,
    /// What the hosts say of themselves, where that is asked for.
    pub(super) pool: Option<Pool>,
    /// Calls under way at all hosts, where a bound hangs on it.
    total: Option<CachePadded<AtomicU64>>,
    /// After so long without an answer a host is not asked as it should be, in units of `rate`.
    silence: AtomicU32,
    next_judgement: AtomicU64,
    /// When the next look at a forgotten host may be taken.
    next_look: AtomicU64,
    /// The time between two, in ns.
    look_every: AtomicU64,
    shared: CachePadded<Shared>,
}

impl Fleet {
    pub(super) fn new(settings: BalanceSettings, now: Tick) -> Self {
        let settings = settings.sound();
        Self {
            rate: Rate::new(settings.decay),
            silence: AtomicU32::new(f32::INFINITY.to_bits()),
            next_look: AtomicU64::new(0),
            look_every: AtomicU64::new(u64::MAX),
            failure_weight: settings.failure_weight as f32,
            pool: (settings.algorithm == Algorithm::Prequal).then(|| Pool::new(&settings.prequal)),
            total: (settings.algorithm == Algorithm::ConsistentHash).then(CachePadded::default),
            next_judgement: AtomicU64::new((now + JUDGEMENT).0),
            shared: CachePadded::new(Shared {
                next_event: AtomicU64::new((now + SWEEP).0),
                latency: AtomicU32::new(UNKNOWN_NS.to_bits()),
                load: AtomicU32::new(UNKNOWN_NS.to_bits()),
                ejected: AtomicU32::new(0),
                cap: AtomicU32::new(0),
            }),
            settings,
        }
    }

    #[inline]
    pub(super) fn count_begin(&self) {
        if let Some(total) = &self.total {
            total.fetch_add(1, Relaxed);
        }
    }

    #[inline]
    pub(super) fn count_end(&self) {
        if let Some(total) = &self.total {
            total.fetch_sub(1, Relaxed);
        }
    }

    /// Calls under way at all hosts, where they are counted.
    pub(super) fn total(&self) -> u64 {
        self.total.as_ref().map_or(0, |total| total.load(Relaxed))
    }

    pub(super) fn ejected(&self) -> u32 {
        self.shared.ejected.load(Relaxed)
    }

    #[inline]
    pub(super) fn latency(&self) -> f32 {
        f32::from_bits(self.shared.latency.load(Relaxed))
    }

    pub(super) fn typical_latency(&self) -> Duration {
        Duration::from_nanos(self.latency() as u64)
    }

    #[inline]
    pub(super) fn load(&self) -> f32 {
        f32::from_bits(self.shared.load.load(Relaxed))
    }

    pub(super) fn set_typical(&self, latency: Option<f32>, load: Option<f32>) {
        if let Some(latency) = latency {
            self.shared.latency.store(latency.to_bits(), Relaxed);
        }
        if let Some(load) = load {
            self.shared.load.store(load.to_bits(), Relaxed);
        }
    }

    /// Rounded up, never all.
    pub(super) fn set_cap(&self, hosts: usize) {
        let most = (hosts as f64 * self.settings.outlier.max_share).ceil() as usize;
        let cap = most.min(hosts.saturating_sub(1));
        self.shared.cap.store(cap as u32, Relaxed);
    }

    /// Room for one more ejection is taken, if there is any.
    pub(super) fn take_ejection(&self) -> bool {
        let cap = self.shared.cap.load(Relaxed);
        let more = |ejected| (ejected < cap).then_some(ejected + 1);
        let ejected = &self.shared.ejected;
        ejected.fetch_update(Relaxed, Relaxed, more).is_ok()
    }

    pub(super) fn give_ejection(&self) {
        let less = |ejected: u32| Some(ejected.saturating_sub(1));
        let _ = self.shared.ejected.fetch_update(Relaxed, Relaxed, less);
    }

    /// The count as a sweep found it: what removed hosts took with them is forgotten.
    pub(super) fn set_ejected(&self, ejected: u32) {
        self.shared.ejected.store(ejected, Relaxed);
    }

    /// A second has passed since hosts were last judged by their failures, and it is the caller who
    /// judges.
    pub(super) fn judge(&self, now: Tick) -> bool {
        let next = self.next_judgement.load(Relaxed);
        let later = (now + JUDGEMENT).0;
        let judgement = &self.next_judgement;
        let mine = || judgement.compare_exchange(next, later, Relaxed, Relaxed);
        now.0 >= next && mine().is_ok()
    }

    /// So many calls were made in the last [`JUDGEMENT`] to so many hosts.
    pub(super) fn set_calls(&self, calls: u64, hosts: usize) {
        let for_each = |calls_each: u64| {
            let all = (JUDGEMENT.as_nanos() as u64).saturating_mul(calls_each);
            all.checked_div(calls).unwrap_or(u64::MAX)
        };
        self.look_every.store(for_each(LOOK_PART), Relaxed);
        let due = Duration::from_nanos(for_each(DUE.saturating_mul(hosts as u64)));
        let silence = self.rate.age(due.max(self.settings.outlier.probe_every));
        self.silence.store(silence.to_bits(), Relaxed);
    }

    #[inline]
    pub(super) fn silence(&self) -> f32 {
        f32::from_bits(self.silence.load(Relaxed))
    }

    /// A look at a forgotten host is due, and the caller takes it.
    pub(super) fn take_look(&self, now: Tick) -> bool {
        let next = self.next_look.load(Relaxed);
        let every = self.look_every.load(Relaxed);
        let later = now.0.saturating_add(every);
        let look = &self.next_look;
        let mine = || look.compare_exchange(next, later, Relaxed, Relaxed);
        every != u64::MAX && now.0 >= next && mine().is_ok()
    }

    /// Something is to be done no later than `at`.
    pub(super) fn remind(&self, at: Tick) {
        self.shared.next_event.fetch_min(at.0, AcqRel);
    }

    /// Something is to be done now, and the caller is who does it. Also where what is to be done
    /// lies far ahead: somebody brought a wrong time.
    #[inline]
    pub(super) fn event(&self, now: Tick) -> bool {
        let next = self.shared.next_event.load(Acquire);
        next.wrapping_sub(now.0).wrapping_sub(1) >= FAR_NS && self.claim(next, now)
    }

    #[cold]
    fn claim(&self, next: u64, now: Tick) -> bool {
        let later = (now + SWEEP).0;
        let event = &self.shared.next_event;
        event.compare_exchange(next, later, AcqRel, Relaxed).is_ok()
    }
}
