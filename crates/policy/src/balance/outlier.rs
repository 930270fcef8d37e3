//! A host's own breaker: out after failures in a row or many more failures than the others, back
//! after probes that succeed.
//!
//! An ejected host gets nothing but probes: one ordinary call at a time, the first after 100 ms,
//! then after waits that double up to 500 ms, with jitter, so that many clients do not probe in
//! step. How long it has been out never makes the waits longer: a long penalty is what turns an
//! outage of ten seconds into one of forty. What grows instead is the proof that is asked: one
//! success after the first ejection, up to five in a row for a host that keeps falling back.
//!
//! A call that began before the host was taken back speaks of the time before, and is not counted.
//! An answer that says "overloaded" ejects nobody: it moves load away (see the weight of failures),
//! and if all say so, all go on with what they can. As a probe it proves nothing either way.

use std::sync::atomic::{
    AtomicU32, AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed},
};
use std::time::Duration;

use super::OutlierSettings;
use super::fleet::Fleet;
use crate::Tick;

/// A host that held so long since it was taken back starts anew.
const FORGIVEN: Duration = Duration::from_secs(60);

/// What a host is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HostState {
    /// Gets its share.
    Serving,
    /// New, or just taken back: its share grows.
    Warming,
    /// Gets nothing until its next probe.
    Ejected,
    /// Ejected, with a probe under way.
    Probing,
}

impl HostState {
    /// The name used in metrics and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Serving => "serving",
            Self::Warming => "warming",
            Self::Ejected => "ejected",
            Self::Probing => "probing",
        }
    }
}

const KIND_SHIFT: u32 = 62;
const TIME_MASK: u64 = (1 << KIND_SHIFT) - 1;

/// The state and a time in one word: since when it is warming, when its next probe is due. All zero
/// for serving, which is what every call compares with.
#[derive(Debug, Default)]
pub(super) struct State(AtomicU64);

fn word(state: HostState, at: Tick) -> u64 {
    let kind = match state {
        HostState::Serving => return 0,
        HostState::Warming => 1,
        HostState::Ejected => 2,
        HostState::Probing => 3,
    };
    kind << KIND_SHIFT | at.0.min(TIME_MASK)
}

impl State {
    pub(super) fn new(state: HostState, at: Tick) -> Self {
        Self(AtomicU64::new(word(state, at)))
    }

    #[inline]
    pub(super) fn is_serving(&self) -> bool {
        self.0.load(Acquire) == 0
    }

    pub(super) fn read(&self) -> (HostState, Tick) {
        let word = self.0.load(Acquire);
        let state = match word >> KIND_SHIFT {
            0 => HostState::Serving,
            1 => HostState::Warming,
            2 => HostState::Ejected,
            _ => HostState::Probing,
        };
        (state, Tick(word & TIME_MASK))
    }

    fn change(&self, from: (HostState, Tick), to: (HostState, Tick)) -> bool {
        let (from, to) = (word(from.0, from.1), word(to.0, to.1));
        let changed = self.0.compare_exchange(from, to, AcqRel, Acquire);
        changed.is_ok()
    }

    /// Nothing is left to warm.
    pub(super) fn warmed(&self, since: Tick) {
        self.change((HostState::Warming, since), (HostState::Serving, since));
    }

    /// The probe is the caller's, if it has been due for `patience` and nobody else took it.
    pub(super) fn take_probe(&self, now: Tick, patience: Duration) -> bool {
        let (state, due) = self.read();
        state == HostState::Ejected
            && now >= due + patience
            && self.change((state, due), (HostState::Probing, now))
    }
}

/// The rest of the breaker: touched when something fails.
#[derive(Debug, Default)]
pub(super) struct Record {
    /// Failures in a row.
    streak: AtomicU32,
    /// Ejections in its life.
    pub(super) ejections: AtomicU64,
    /// Ejections since it last held for long.
    level: AtomicU32,
    passed: AtomicU32,
    failed: AtomicU32,
    /// When it was last taken back, or joined: calls that began earlier do not count.
    since: AtomicU64,
    /// Time from `since` to a full share.
    warm_ns: AtomicU64,
}

impl Record {
    pub(super) fn joined(now: Tick, warm: Duration) -> Self {
        let record = Self::default();
        record.begin(now, warm);
        record
    }

    fn begin(&self, now: Tick, warm: Duration) {
        let warm_ns = u64::try_from(warm.as_nanos()).unwrap_or(u64::MAX);
        self.warm_ns.store(warm_ns, Relaxed);
        self.since.store(now.0, Relaxed);
        self.streak.store(0, Relaxed);
    }

    /// It was never ejected.
    pub(super) fn is_new(&self) -> bool {
        self.ejections.load(Relaxed) == 0
    }

    pub(super) fn warm(&self) -> Duration {
        Duration::from_nanos(self.warm_ns.load(Relaxed))
    }

    /// A call that began then counts.
    pub(super) fn counts(&self, begun: Tick) -> bool {
        begun.0 >= self.since.load(Relaxed)
    }

    #[inline]
    pub(super) fn succeeded(&self) {
        if self.streak.load(Relaxed) != 0 {
            self.streak.store(0, Relaxed);
        }
    }

    /// One failure more; true if it is one too many.
    pub(super) fn failed(&self, settings: &OutlierSettings) -> bool {
        let streak = self.streak.fetch_add(1, Relaxed).saturating_add(1);
        settings.consecutive > 0 && streak >= settings.consecutive
    }

    /// Ejects a host that serves or warms, if the cap has room.
    pub(super) fn eject(&self, state: &State, fleet: &Fleet, salt: u64, now: Tick) {
        let (from, at) = state.read();
        let out = matches!(from, HostState::Ejected | HostState::Probing);
        if out || !fleet.take_ejection() {
            return;
        }
        let settings = &fleet.settings.outlier;
        let due = now + jittered(settings.probe_first, settings, salt ^ now.0);
        // Before the state: who sees it ejected may take the probe at once.
        let held = now.since(Tick(self.since.load(Relaxed))) >= FORGIVEN;
        let level = if held { 0 } else { self.level.load(Relaxed) };
        if !state.change((from, at), (HostState::Ejected, due)) {
            fleet.give_ejection();
            return;
        }
        self.level.store(level.saturating_add(1), Relaxed);
        self.passed.store(0, Relaxed);
        self.failed.store(0, Relaxed);
        self.ejections.fetch_add(1, Relaxed);
        fleet.remind(due);
    }

    /// A probe succeeded. True if the host is taken back.
    pub(super) fn probe_passed(&self, state: &State, fleet: &Fleet, now: Tick) -> bool {
        let (from, at) = state.read();
        if from != HostState::Probing {
            return false;
        }
        let settings = &fleet.settings.outlier;
        let passed = self.passed.fetch_add(1, Relaxed) + 1;
        if passed < self.level.load(Relaxed).min(settings.max_probes) {
            self.next_probe(state, fleet, now);
            return false;
        }
        self.begin(now, settings.recovery);
        let back = state.change((from, at), (HostState::Warming, now));
        if back {
            fleet.give_ejection();
        }
        back
    }

    /// A probe failed.
    pub(super) fn probe_failed(&self, state: &State, fleet: &Fleet, salt: u64, now: Tick) {
        let settings = &fleet.settings.outlier;
        self.passed.store(0, Relaxed);
        let failed = self.failed.fetch_add(1, Relaxed).saturating_add(1);
        let wait = settings.probe_first.saturating_mul(1 << failed.min(16));
        let due = now + jittered(wait, settings, salt ^ now.0);
        self.next_probe(state, fleet, due);
    }

    /// A probe proved nothing: the next is due at `due`.
    pub(super) fn next_probe(&self, state: &State, fleet: &Fleet, due: Tick) {
        let (from, at) = state.read();
        if from == HostState::Probing && state.change((from, at), (HostState::Ejected, due)) {
            fleet.remind(due);
        }
    }
}

/// `wait` and up to a quarter more, at most `probe_every`.
fn jittered(wait: Duration, settings: &OutlierSettings, random: u64) -> Duration {
    let share = (super::dice::mix(random) >> 40) as f64 / (1_u64 << 24) as f64;
    let wait = wait.min(settings.probe_every).as_secs_f64();
    let least = wait.min(settings.probe_every.as_secs_f64() * 0.8);
    Duration::from_secs_f64(least * (1.0 + 0.25 * share)).min(settings.probe_every)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::balance::BalanceSettings;
    use proptest::prelude::*;

    struct Bed {
        fleet: Fleet,
        state: State,
        record: Record,
    }

    fn bed(hosts: usize) -> Bed {
        let fleet = Fleet::new(BalanceSettings::default(), Tick::ZERO);
        fleet.set_cap(hosts);
        Bed {
            fleet,
            state: State::default(),
            record: Record::default(),
        }
    }

    impl Bed {
        fn eject(&self, now: Tick) {
            self.record.eject(&self.state, &self.fleet, 7, now);
        }

        /// Takes the next probe when it is due; nobody does sooner or again.
        fn probe(&self) -> Tick {
            let (state, due) = self.state.read();
            assert_eq!(state, HostState::Ejected);
            let none = Duration::ZERO;
            let just_before = due - Duration::from_nanos(1);
            assert!(!self.state.take_probe(just_before, none));
            assert!(!self.state.take_probe(due, Duration::from_nanos(1)));
            assert!(self.state.take_probe(due, none));
            assert!(!self.state.take_probe(due, none), "only one");
            due
        }
    }

    proptest! {
        #[test]
        fn waits_double_with_jitter_up_to_half_a_second(salt: u64, wait_ms in 1_u64..10_000) {
            let settings = OutlierSettings::default();
            let got = jittered(Duration::from_millis(wait_ms), &settings, salt);
            let most = Duration::from_millis(wait_ms + wait_ms / 4 + 1).min(settings.probe_every);
            let least = Duration::from_millis(wait_ms.min(400));
            prop_assert!(got <= most && got + Duration::from_micros(1) >= least, "{got:?}");
        }
    }

    #[test]
    fn probes_come_every_half_second_however_long_it_takes() {
        let bed = bed(4);
        bed.eject(Tick::ZERO);
        let mut last = Tick::ZERO;
        for _ in 0..100 {
            let due = bed.probe();
            assert!(due.since(last) <= Duration::from_millis(500));
            bed.record.probe_failed(&bed.state, &bed.fleet, 7, due);
            last = due;
        }
    }

    #[test]
    fn who_falls_back_must_prove_more_until_it_holds() {
        let bed = bed(4);
        let mut now = Tick::ZERO;
        let mut needs = |after: Duration| {
            now = now + after;
            bed.eject(now);
            let mut probes = 0;
            loop {
                now = now.max(bed.probe());
                probes += 1;
                if bed.record.probe_passed(&bed.state, &bed.fleet, now) {
                    break probes;
                }
            }
        };
        let soon = Duration::from_secs(1);
        let needed: Vec<_> = (0..7).map(|_| needs(soon)).collect();
        assert_eq!(needed, [1, 2, 3, 4, 5, 5, 5]);
        assert_eq!(needs(FORGIVEN), 1);
        assert_eq!(bed.record.ejections.load(Relaxed), 8);
    }

    #[test]
    fn the_cap_is_kept_and_the_last_is_never_ejected() {
        for (hosts, cap) in [(0, 0), (1, 0), (2, 1), (3, 2), (4, 2), (5, 3), (10, 5)] {
            let bed = bed(hosts);
            let taken = (0..20).filter(|_| bed.fleet.take_ejection()).count();
            assert_eq!(taken, cap, "of {hosts}");
            bed.eject(Tick::ZERO);
            assert_eq!(bed.state.read().0, HostState::Serving);
        }
    }

    #[test]
    fn calls_from_before_do_not_count() {
        let bed = bed(4);
        bed.eject(Tick::from_millis(100));
        let back = bed.probe();
        assert!(bed.record.probe_passed(&bed.state, &bed.fleet, back));
        assert_eq!(bed.state.read(), (HostState::Warming, back));
        assert!(!bed.record.counts(Tick::from_millis(99)));
        assert!(bed.record.counts(back));
    }
}
