//! Retries in virtual time: what they save, what they cost, and that an outage ends with its cause.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::Duration;

use proptest::prelude::*;
use seawall_policy::retry::{
    Backoff, Budget, BudgetSettings, Reply, Retry, RetrySettings, Schedule, Verdict,
};
use seawall_policy::sim::Rng;
use seawall_policy::{Call, Outcome, Tick};

const SECOND: u64 = 1_000_000_000;
const MS: u64 = 1_000_000;

/// Whether a call that failed at `now` may be sent again.
trait Payer {
    fn first(&mut self, now: Tick);
    fn ended(&mut self, outcome: Outcome, now: Tick);
    /// The wait before the next attempt.
    fn again(&mut self, call: &Call, reply: &Reply, now: Tick, random: u64) -> Option<Duration>;
}

struct Ours {
    retry: Retry,
    budget: Budget,
}

impl Ours {
    fn new(budget: BudgetSettings, attempts: u8, backoff: Backoff) -> Self {
        let settings = RetrySettings {
            attempts,
            backoff,
            ..Default::default()
        };
        Self {
            retry: Retry::new(settings),
            budget: Budget::new(&budget),
        }
    }
}

impl Payer for Ours {
    fn first(&mut self, now: Tick) {
        self.budget.deposit(now);
    }

    fn ended(&mut self, _: Outcome, _: Tick) {}

    fn again(&mut self, call: &Call, reply: &Reply, now: Tick, random: u64) -> Option<Duration> {
        let budget = &self.budget;
        match self.retry.decide(call, reply, None, budget, now, random) {
            Verdict::After(wait, _) => Some(wait),
            Verdict::Stop(_) => None,
        }
    }
}

/// gRPC's retry throttling (gRFC A6): ten tokens, a failure takes one, a success gives a tenth,
/// and while half or less is left nothing is retried.
struct Tokens {
    tokens: f64,
    backoff: Backoff,
}

impl Payer for Tokens {
    fn first(&mut self, _: Tick) {}

    fn ended(&mut self, outcome: Outcome, _: Tick) {
        let change = if outcome == Outcome::Success {
            0.1
        } else {
            -1.0
        };
        self.tokens = (self.tokens + change).clamp(0.0, 10.0);
    }

    fn again(&mut self, _: &Call, reply: &Reply, _: Tick, random: u64) -> Option<Duration> {
        let wait = self.backoff.wait(reply.attempts - 1, reply.waited, random);
        (reply.attempts < 3 && self.tokens > 5.0).then_some(wait)
    }
}

/// A thousand calls a second, each attempt taking 10 ms and failing by chance: the share that
/// succeeds, and attempts per call.
fn at_rate(failing: f64, calls: u64, payer: &mut dyn Payer) -> (f64, f64) {
    let mut rng = Rng::new(11);
    let call = Call {
        idempotent: true,
        ..Call::default()
    };
    let mut ends: BinaryHeap<_> = (0..calls)
        .map(|n| Reverse((n * MS + 10 * MS, n, 1_u8, Duration::ZERO)))
        .collect();
    let (mut good, mut sent) = (0, 0);
    while let Some(Reverse((at, n, attempts, waited))) = ends.pop() {
        sent += 1;
        if attempts == 1 {
            payer.first(Tick(at - 10 * MS));
        }
        // Fate is the call's and the attempt's, whoever retries.
        let fate = Rng::new(n * 8 + u64::from(attempts)).unit();
        let outcome = if fate < failing {
            Outcome::Failure
        } else {
            Outcome::Success
        };
        payer.ended(outcome, Tick(at));
        good += u64::from(outcome == Outcome::Success);
        let reply = Reply {
            attempts,
            waited,
            ..Reply::new(outcome)
        };
        if outcome == Outcome::Success {
            continue;
        }
        if let Some(wait) = payer.again(&call, &reply, Tick(at), rng.bits()) {
            let next = at + wait.as_nanos() as u64 + 10 * MS;
            ends.push(Reverse((next, n, attempts + 1, wait)));
        }
    }
    let of_calls = |count: u64| count as f64 / calls as f64;
    (of_calls(good), of_calls(sent))
}

#[test]
fn at_every_failure_rate_more_succeeds_than_with_tokens_for_a_tenth_more_load() {
    let backoff = Backoff::default();
    for tenths in 0..=10 {
        let failing = f64::from(tenths) / 10.0;
        let mut ours = Ours::new(BudgetSettings::default(), 3, backoff);
        let (good, load) = at_rate(failing, 60_000, &mut ours);
        let mut tokens = Tokens {
            tokens: 10.0,
            backoff,
        };
        let (theirs, _) = at_rate(failing, 60_000, &mut tokens);
        assert!(load <= 1.11, "load {load} at {failing}");
        assert!(good >= theirs, "{good} against {theirs} at {failing}");
        if tenths == 5 {
            assert!(
                good >= 0.54,
                "a tenth more attempts, half of them good: {good}"
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_fails_the_load_grows_by_the_ratio_and_the_floor(
        failing in 0.0..=1.0_f64, ratio in 0.0..=1.0_f64, floor in 0.0..20.0_f64,
        attempts in 1_u8..6, calls in 1_u64..4_000,
    ) {
        let settings = BudgetSettings { ratio, floor, ..Default::default() };
        let mut ours = Ours::new(settings, attempts, Backoff::default());
        let (_, load) = at_rate(failing, calls, &mut ours);
        // It lasts for the calls' own time and that of the last one's waits.
        // A floor of less than one a window saves one all the same.
        let seconds = calls as f64 / 1e3 + 1.5 + 10.0_f64.max(1.0 / floor.max(1e-9));
        prop_assert!(load <= 1.0 + ratio + floor * seconds / calls as f64 + 1e-9);
        prop_assert!(load <= f64::from(attempts));
    }
}

/// A server with a queue that nobody bounds, and clients that give up after 3 s and send again.
struct Metastable {
    queue: VecDeque<(u64, u8)>,
    /// By call: the attempt that is waited for; none once answered or given up.
    waiting: Vec<Option<u8>>,
    good: Vec<u32>,
    sent: Vec<u32>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Served,
    Send(u64, u8),
    GaveUp(u64, u8),
}

impl Metastable {
    const CAPACITY: u64 = 1_000;
    const LOAD: u64 = 400;
    const SECONDS: u64 = 80;
    const TIMEOUT: u64 = 3 * SECOND;

    fn service(now: u64) -> u64 {
        let cut = (20 * SECOND..30 * SECOND).contains(&now);
        SECOND / Self::CAPACITY * if cut { 5 } else { 1 }
    }

    /// Good answers and attempts, by second.
    fn run(payer: &mut dyn Payer) -> (Vec<u32>, Vec<u32>) {
        let mut world = Self {
            queue: VecDeque::new(),
            waiting: vec![None; (Self::LOAD * Self::SECONDS) as usize],
            good: vec![0; Self::SECONDS as usize],
            sent: vec![0; Self::SECONDS as usize],
        };
        let first = |n| Reverse((n * SECOND / Self::LOAD, Event::Send(n, 1)));
        let mut events: BinaryHeap<_> = (0..Self::LOAD * Self::SECONDS).map(first).collect();
        while let Some(Reverse((now, event))) = events.pop() {
            if now >= Self::SECONDS * SECOND {
                break;
            }
            match event {
                Event::Send(n, attempt) => world.send(n, attempt, now, payer, &mut events),
                Event::Served => world.served(now, &mut events),
                Event::GaveUp(n, attempt) => world.gave_up(n, attempt, now, payer, &mut events),
            }
        }
        (world.good, world.sent)
    }

    fn send(&mut self, n: u64, attempt: u8, now: u64, payer: &mut dyn Payer, events: &mut Events) {
        if attempt == 1 {
            payer.first(Tick(now));
        }
        self.waiting[n as usize] = Some(attempt);
        self.sent[(now / SECOND) as usize] += 1;
        self.queue.push_back((n, attempt));
        events.push(Reverse((now + Self::TIMEOUT, Event::GaveUp(n, attempt))));
        if self.queue.len() == 1 {
            self.begin(now, events);
        }
    }

    fn begin(&mut self, now: u64, events: &mut Events) {
        events.push(Reverse((now + Self::service(now), Event::Served)));
    }

    /// Whether anybody still waits for it or not, it was worked on.
    fn served(&mut self, now: u64, events: &mut Events) {
        if let Some((n, attempt)) = self.queue.pop_front()
            && self.waiting[n as usize] == Some(attempt)
        {
            self.waiting[n as usize] = None;
            self.good[(now / SECOND) as usize] += 1;
        }
        if !self.queue.is_empty() {
            self.begin(now, events);
        }
    }

    fn gave_up(
        &mut self,
        n: u64,
        attempt: u8,
        now: u64,
        payer: &mut dyn Payer,
        events: &mut Events,
    ) {
        if self.waiting[n as usize] != Some(attempt) {
            return;
        }
        self.waiting[n as usize] = None;
        let call = Call {
            idempotent: true,
            ..Call::default()
        };
        let reply = Reply {
            attempts: attempt,
            ..Reply::new(Outcome::Failure)
        };
        if let Some(wait) = payer.again(&call, &reply, Tick(now), n) {
            let at = now + wait.as_nanos() as u64;
            events.push(Reverse((at, Event::Send(n, attempt + 1))));
        }
    }
}

type Events = BinaryHeap<Reverse<(u64, Event)>>;

/// Bronson and others, "Metastable Failures in Distributed Systems" (HotOS 2021), and Huang and
/// others (OSDI 2022): the cause is gone, the retries keep the outage alive.
#[test]
fn an_outage_ends_with_its_cause() {
    let at_once = Backoff {
        schedule: Schedule::Constant,
        base: Duration::ZERO,
        cap: Duration::ZERO,
    };
    let (good, sent) = Metastable::run(&mut Ours::new(BudgetSettings::default(), 5, at_once));
    let load = Metastable::LOAD as f64;
    let peak = f64::from(*sent.iter().max().unwrap()) / load;
    assert!(peak <= 1.25, "{peak} times the load: {sent:?}");
    for (second, good) in good.iter().enumerate().skip(36) {
        assert!(f64::from(*good) >= 0.99 * load, "{good} in second {second}");
    }
    let unbounded = BudgetSettings {
        ratio: 1.0,
        floor: 1e6,
        ..Default::default()
    };
    let (good, _) = Metastable::run(&mut Ours::new(unbounded, 5, at_once));
    let late: u32 = good[60..].iter().sum();
    assert!(
        f64::from(late) < 0.5 * 20.0 * load,
        "what the budget is for: {late}"
    );
}

/// One of several layers, each willing to retry three times.
struct Tier {
    retry: Retry,
    budget: Budget,
}

struct Tiers {
    tiers: Vec<Tier>,
    rng: Rng,
    failing: f64,
    marks: bool,
    bottom: u64,
}

impl Tiers {
    /// Sends `call` down from tier `at` on: the outcome, and whether the reply is marked.
    fn send(&mut self, at: usize, call: Call, now: Tick) -> (Outcome, bool) {
        if at == self.tiers.len() {
            self.bottom += 1;
            let fails = self.rng.unit() < self.failing;
            let outcome = [Outcome::Success, Outcome::Failure][usize::from(fails)];
            return (outcome, false);
        }
        if call.attempt == 0 {
            self.tiers[at].budget.deposit(now);
        }
        let (mut down, mut waited) = (call, Duration::ZERO);
        for attempts in 1.. {
            let (outcome, marked) = self.send(at + 1, down, now);
            let reply = Reply {
                attempts,
                waited,
                marked: marked && self.marks,
                ..Reply::new(outcome)
            };
            let Tier { retry, budget } = &self.tiers[at];
            match retry.decide(&call, &reply, None, budget, now, self.rng.bits()) {
                Verdict::After(wait, _) => waited = wait,
                Verdict::Stop(why) => return (outcome, retry.must_mark(&reply, why)),
            }
            down.attempt = down.attempt.saturating_add(1);
        }
        unreachable!("attempts are bounded");
    }

    /// Calls at the bottom per call at the top: 500 a second for a minute.
    fn load(failing: f64, marks: bool, ratio: f64) -> f64 {
        const CALLS: u64 = 30_000;
        let tier = |_| Tier {
            retry: Retry::new(RetrySettings {
                attempts: 4,
                ..Default::default()
            }),
            budget: Budget::new(&BudgetSettings {
                ratio,
                floor: if ratio < 1.0 { 1.0 } else { 1e6 },
                ..Default::default()
            }),
        };
        let mut tiers = Self {
            tiers: (0..3).map(tier).collect(),
            rng: Rng::new(5),
            failing,
            marks,
            bottom: 0,
        };
        for n in 0..CALLS {
            let call = Call {
                idempotent: true,
                ..Call::default()
            };
            // Its reply goes to whoever called.
            let _ = tiers.send(0, call, Tick(n * 2 * MS));
        }
        tiers.bottom as f64 / CALLS as f64
    }
}

#[test]
fn of_three_tiers_that_retry_one_does() {
    for tenths in 0..=10 {
        let failing = f64::from(tenths) / 10.0;
        let load = Tiers::load(failing, true, 0.1);
        assert!(load <= 1.2, "{load} at {failing}");
    }
    let unmarked = Tiers::load(1.0, false, 0.1);
    assert!(unmarked > 1.2, "three budgets do not do it: {unmarked}");
    assert_eq!(Tiers::load(1.0, false, 1.0), 64.0, "and without budgets");
    assert_eq!(Tiers::load(1.0, true, 1.0), 4.0, "the mark alone");
}
