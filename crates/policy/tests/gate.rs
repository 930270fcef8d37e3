//! What a gate promises, whatever happens.

use std::collections::HashSet;
use std::time::Duration;

use proptest::prelude::*;
use seawall_policy::admit::{Admit, Gate, GateSettings, Key, Lane, Ticket, Wakes};
use seawall_policy::limit::Fixed;
use seawall_policy::{Call, Criticality, Outcome, Reason, Tick};
use seawall_sync::Shard;

const SHARD: Shard = Shard(0);

/// A gate with its waiters and the tickets it gave out.
struct Bench {
    gate: Gate<u64>,
    now: Tick,
    next: u64,
    waiting: HashSet<u64>,
    tickets: Vec<Ticket>,
    rejected: Vec<Reason>,
}

impl Bench {
    fn new(limit: u32) -> Self {
        let settings = GateSettings {
            limit: Box::new(Fixed::new(limit)),
            ..Default::default()
        };
        let gate = Gate::new(settings, Tick::ZERO);
        Self {
            gate,
            now: Tick::ZERO,
            next: 0,
            waiting: HashSet::new(),
            tickets: Vec::new(),
            rejected: Vec::new(),
        }
    }

    fn arrive(&mut self, call: Call, key: u8, lane: Option<Lane>) {
        match self.gate.admit(&call, Key(key), lane, SHARD, self.now) {
            Admit::Now(ticket) => self.tickets.push(ticket),
            Admit::Rejected(rejection) => self.rejected.push(rejection.reason),
            Admit::Wait(lane) => {
                self.next += 1;
                self.waiting.insert(self.next);
                let mut wakes = Vec::new();
                self.gate.wait(
                    &call,
                    Key(key),
                    lane,
                    self.next,
                    SHARD,
                    self.now,
                    &mut wakes,
                );
                self.take(wakes);
            }
        }
    }

    fn finish(&mut self, index: usize, outcome: Outcome) {
        if self.tickets.is_empty() {
            return;
        }
        let ticket = self.tickets.swap_remove(index % self.tickets.len());
        let mut wakes = Vec::new();
        self.gate
            .finish(ticket, outcome, Duration::ZERO, SHARD, self.now, &mut wakes);
        self.take(wakes);
    }

    fn pass(&mut self, time: Duration) {
        self.now = self.now + time;
        let mut wakes = Vec::new();
        self.gate.tick(SHARD, self.now, &mut wakes);
        self.take(wakes);
    }

    fn take(&mut self, wakes: Wakes<u64>) {
        for (waiter, answer) in wakes {
            assert!(
                self.waiting.remove(&waiter),
                "waiter {waiter} was woken twice"
            );
            match answer {
                Ok(ticket) => self.tickets.push(ticket),
                Err(rejection) => self.rejected.push(rejection.reason),
            }
        }
    }
}

#[test]
fn below_the_limit_nobody_waits() {
    let mut bench = Bench::new(10);
    (0..10).for_each(|_| bench.arrive(Call::default(), 0, None));
    assert_eq!((bench.tickets.len(), bench.waiting.len()), (10, 0));
}

#[test]
fn a_wait_ends_at_its_time() {
    let mut bench = Bench::new(1);
    bench.arrive(Call::default(), 0, None);
    bench.arrive(Call::default(), 0, None);
    bench.pass(Duration::from_millis(99));
    assert!(bench.rejected.is_empty());
    bench.pass(Duration::from_millis(1));
    assert_eq!(bench.rejected, [Reason::QueueTimeout]);
}

#[test]
fn a_deadline_that_is_over_is_refused_on_arrival() {
    let mut bench = Bench::new(10);
    bench.pass(Duration::from_millis(5));
    bench.arrive(
        Call {
            deadline: Tick::from_millis(5),
            ..Call::default()
        },
        0,
        None,
    );
    assert_eq!(bench.rejected, [Reason::Deadline]);
}

#[test]
fn a_deadline_ends_the_wait() {
    let mut bench = Bench::new(1);
    bench.arrive(Call::default(), 0, None);
    bench.arrive(
        Call {
            deadline: Tick::from_millis(10),
            ..Call::default()
        },
        0,
        None,
    );
    bench.pass(Duration::from_millis(11));
    assert_eq!(bench.rejected, [Reason::Deadline]);
}

/// Twenty places, each held 20 ms, and ten times as many arrivals as they can serve.
fn flood(bench: &mut Bench, seconds: u64, mut call: impl FnMut(u64) -> Call) -> [u64; 4] {
    let mut ends: std::collections::VecDeque<(Tick, u64)> = std::collections::VecDeque::new();
    let mut served = [0; 4];
    for step in 0..seconds * 10_000 {
        bench.pass(Duration::from_micros(100));
        let held = bench.tickets.len();
        bench.arrive(call(step), 0, None);
        for _ in held..bench.tickets.len() {
            ends.push_back((bench.now + Duration::from_millis(20), 0));
        }
        while ends.front().is_some_and(|e| e.0 <= bench.now) {
            ends.pop_front();
            let before = bench.tickets.len();
            // The oldest ticket is not tracked by place; any will do, all are held equally long.
            bench.finish(0, Outcome::Success);
            for _ in before - 1..bench.tickets.len() {
                ends.push_back((bench.now + Duration::from_millis(20), 0));
            }
        }
    }
    let totals = bench.gate.snapshot().totals;
    for (sum, admitted) in served.iter_mut().zip(totals.admitted) {
        *sum += admitted;
    }
    served
}

#[test]
fn a_flood_is_shed_on_arrival_by_criticality() {
    let mut bench = Bench::new(20);
    let served = flood(&mut bench, 4, |step| Call {
        criticality: Criticality::ALL[match step % 100 {
            0..6 => 0,
            6..30 => 1,
            30..60 => 2,
            _ => 3,
        }],
        ..Call::default()
    });
    let total: u64 = served.iter().sum();
    assert!(total >= 3_960, "{total} of 4,000");
    assert!(served[0] >= 2_380, "the top is let in whole: {served:?}");
    assert!(
        served[2] > 20 && served[3] > 20,
        "nobody starves: {served:?}"
    );
    let snapshot = bench.gate.snapshot();
    let rejected: Vec<u64> = snapshot
        .totals
        .rejected
        .iter()
        .map(|r| r.iter().sum())
        .collect();
    assert!(
        rejected[Reason::Admission as usize] > 9 * rejected[Reason::QueueTimeout as usize],
        "{rejected:?}"
    );
}

#[test]
fn after_the_flood_the_gate_is_inert_again() {
    let mut bench = Bench::new(20);
    flood(&mut bench, 2, |_| Call::default());
    while !bench.tickets.is_empty() {
        bench.finish(0, Outcome::Success);
    }
    for _ in 0..20 {
        bench.pass(Duration::from_millis(50));
    }
    let rejected = bench.rejected.len();
    for _ in 0..1_000 {
        bench.pass(Duration::from_millis(2));
        bench.arrive(Call::default(), 0, None);
        bench.finish(0, Outcome::Success);
    }
    assert_eq!(bench.rejected.len(), rejected);
    assert_eq!(bench.gate.next_tick(), None);
    assert_eq!(bench.gate.snapshot().level, [1.0; 4]);
}

#[test]
fn the_same_tenant_meets_the_same_fate() {
    let mut bench = Bench::new(20);
    flood(&mut bench, 2, |step| Call {
        tenant: 1 + step % 500,
        ..Call::default()
    });
    // Within one interval a tenant is either in or out, but for those on the boundary.
    let mut mixed = 0;
    for tenant in 1..=500 {
        let call = Call {
            tenant,
            ..Call::default()
        };
        let ask = |b: &Bench| {
            !matches!(
                b.gate.admit(&call, Key(0), None, SHARD, b.now),
                Admit::Rejected(_)
            )
        };
        let answers: Vec<bool> = (0..4).map(|_| ask(&bench)).collect();
        mixed += u32::from(answers.iter().any(|&a| a != answers[0]));
    }
    assert!(mixed <= 10, "{mixed} tenants of 500 met different fates");
}

/// Found by an attack: forty clients that hang up at once took the limit to 1 and kept it there.
#[test]
fn who_leaves_on_purpose_shuts_nobody_out() {
    let gate: Gate<u64> = Gate::new(GateSettings::default(), Tick::ZERO);
    let mut bench = Bench {
        gate,
        ..Bench::new(1)
    };
    for _ in 0..10 {
        (0..40).for_each(|_| bench.arrive(Call::default(), 0, None));
        bench.pass(Duration::from_millis(5));
        while !bench.tickets.is_empty() {
            bench.finish(0, Outcome::Ignored);
        }
        bench.pass(Duration::from_millis(5));
    }
    assert!(
        bench.gate.snapshot().limit >= 20,
        "{:?}",
        bench.gate.snapshot()
    );
}

#[test]
fn shadow_turns_nobody_away() {
    let settings = GateSettings {
        limit: Box::new(Fixed::new(2)),
        shadow: true,
        ..Default::default()
    };
    let gate: Gate<u64> = Gate::new(settings, Tick::ZERO);
    let mut told = 0;
    for _ in 0..100 {
        let answer = gate.admit(&Call::default(), Key(0), None, SHARD, Tick::ZERO);
        let Admit::Now(ticket) = answer else {
            panic!("{answer:?}")
        };
        told += u64::from(ticket.shadowed().is_some());
    }
    let totals = gate.snapshot().totals;
    assert_eq!(totals.rejected.iter().flatten().sum::<u64>(), 0);
    assert_eq!(totals.shadowed.iter().sum::<u64>(), told);
    assert!(
        totals.shadowed.iter().sum::<u64>() >= 90,
        "{:?}",
        totals.shadowed
    );
}

#[test]
fn work_under_way_passes_the_level() {
    let mut bench = Bench::new(20);
    flood(&mut bench, 2, |_| Call {
        criticality: Criticality::Sheddable,
        ..Call::default()
    });
    let call = Call {
        criticality: Criticality::Sheddable,
        under_way: true,
        ..Call::default()
    };
    for _ in 0..50 {
        let answer = bench.gate.admit(&call, Key(0), None, SHARD, bench.now);
        assert!(!matches!(answer, Admit::Rejected(_)), "{answer:?}");
    }
}

#[derive(Debug, Clone)]
enum Action {
    Arrive {
        criticality: usize,
        tenant: u64,
        deadline: Option<u64>,
        cost: u32,
        key: u8,
        lane: Option<u8>,
        under_way: bool,
    },
    Finish(usize, u8),
    Pass(u64),
}

fn actions() -> impl Strategy<Value = Vec<Action>> {
    let arrive = (
        0usize..4,
        0u64..3,
        prop::option::of(0u64..200),
        1u32..4,
        0u8..3,
        prop::option::of(0u8..5),
        any::<bool>(),
    )
        .prop_map(
            |(criticality, tenant, deadline, cost, key, lane, under_way)| Action::Arrive {
                criticality,
                tenant,
                deadline,
                cost,
                key,
                lane,
                under_way,
            },
        );
    let action = prop_oneof![5 => arrive, 4 => (any::<usize>(), 0u8..4).prop_map(|(i, o)| Action::Finish(i, o)),
        2 => (0u64..30).prop_map(Action::Pass)];
    prop::collection::vec(action, 1..400)
}

proptest! {
    /// Places are never over-committed (but by one call that is larger than the limit, alone),
    /// nobody is woken twice, nobody is forgotten, and in the end everything is free.
    #[test]
    fn places_and_waiters_are_conserved(actions in actions(), limit in 1u32..8) {
        let mut bench = Bench::new(limit);
        for action in actions {
            match action {
                Action::Arrive { criticality, tenant, deadline, cost, key, lane, under_way } => {
                    let deadline = deadline.map_or(Tick::MAX, |d| bench.now + Duration::from_millis(d));
                    let criticality = Criticality::ALL[criticality];
                    let call = Call { deadline, criticality, tenant, cost, under_way, ..Call::default() };
                    bench.arrive(call, key, lane.map(Lane));
                }
                Action::Finish(index, outcome) => {
                    let outcome = [Outcome::Success, Outcome::Failure, Outcome::Overloaded, Outcome::Ignored][usize::from(outcome)];
                    bench.finish(index, outcome);
                }
                Action::Pass(ms) => bench.pass(Duration::from_millis(ms)),
            }
            let snapshot = bench.gate.snapshot();
            prop_assert!(snapshot.inflight <= limit || bench.tickets.len() == 1, "{snapshot:?}");
            prop_assert_eq!(snapshot.queued as usize, bench.waiting.len());
            prop_assert!(bench.waiting.is_empty() || !bench.tickets.is_empty(), "someone waits for nobody");
        }
        bench.pass(Duration::from_secs(60));
        while !bench.tickets.is_empty() {
            bench.finish(0, Outcome::Success);
        }
        prop_assert!(bench.waiting.is_empty());
        let snapshot = bench.gate.snapshot();
        prop_assert_eq!(snapshot.inflight, 0);
        prop_assert!(snapshot.lanes.iter().all(|l| l.inflight == 0), "{:?}", snapshot.lanes);
    }
}

/// Events may gather only while calls are turned away, and for no longer than the origin's latency
/// makes harmless.
#[test]
fn events_gather_only_while_hot_and_for_a_part_of_the_latency() {
    for (latency, expected) in [(10_000, 500), (1_000_000, 1_000), (1_000, 50)] {
        let mut bench = Bench::new(4);
        bench.arrive(Call::default(), 0, None);
        bench.pass(Duration::from_micros(latency));
        bench.finish(0, Outcome::Success);
        bench.pass(Duration::from_secs(1));
        assert_eq!(bench.gate.coalesce(), Duration::ZERO, "{latency} us, calm");
        for _ in 0..6 {
            bench.arrive(Call::default(), 0, None);
        }
        let found = bench.gate.coalesce().as_micros();
        assert_eq!(found, expected, "{latency} us, hot");
    }
}
