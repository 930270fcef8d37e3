//! A gate that threads fight over loses no wake-up and gives out no place twice.
//!
//! Real threads; also run under ThreadSanitizer, by `cargo xtask race`.

use std::sync::Barrier;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use seawall_policy::admit::{Admit, Gate, GateSettings, Key, Ticket, Wakes};
use seawall_policy::limit::Fixed;
use seawall_policy::{Call, Outcome, Tick};
use seawall_sync::Shard;

const THREADS: usize = 4;
/// Short ones: a wake-up that is lost in the middle of a long one, a later call makes up for.
const ROUNDS: u64 = 500;
const CALLS: u64 = 4;

struct Fight {
    gate: Gate<u64>,
    limit: u32,
    used: AtomicU32,
    answered: AtomicU64,
    /// Virtual nanoseconds; far below the longest wait at the end.
    time: AtomicU64,
}

impl Fight {
    fn now(&self) -> Tick {
        Tick(self.time.fetch_add(1_000, SeqCst))
    }

    fn call(&self, shard: Shard, name: u64) {
        let call = Call::default();
        let mut wakes = Vec::new();
        match self.gate.admit(&call, Key(0), None, shard, self.now()) {
            Admit::Now(ticket) => wakes.push((name, Ok(ticket))),
            Admit::Rejected(rejection) => wakes.push((name, Err(rejection))),
            Admit::Wait(lane) => {
                let now = self.now();
                self.gate
                    .wait(&call, Key(0), lane, name, shard, now, &mut wakes);
            }
        }
        // Whoever wakes a call also serves it.
        while let Some((_, answer)) = wakes.pop() {
            self.answered.fetch_add(1, SeqCst);
            if let Ok(ticket) = answer {
                self.serve(ticket, shard, &mut wakes);
            }
        }
    }

    fn serve(&self, ticket: Ticket, shard: Shard, wakes: &mut Wakes<u64>) {
        assert!(self.used.fetch_add(1, SeqCst) < self.limit);
        std::thread::yield_now();
        self.used.fetch_sub(1, SeqCst);
        let (outcome, now) = (Outcome::Success, self.now());
        self.gate
            .finish(ticket, outcome, Duration::ZERO, shard, now, wakes);
    }
}

#[test]
fn threads_lose_no_wake_up_and_share_no_place() {
    for limit in [1, 2, 64] {
        let settings = GateSettings {
            limit: Box::new(Fixed::new(limit)),
            shards: THREADS,
            ..Default::default()
        };
        let fight = Fight {
            gate: Gate::new(settings, Tick::ZERO),
            limit,
            used: AtomicU32::new(0),
            answered: AtomicU64::new(0),
            time: AtomicU64::new(0),
        };
        let begin = Barrier::new(THREADS);
        std::thread::scope(|scope| {
            let threads = [0, 1, 2, 3].map(|index| {
                let (fight, begin) = (&fight, &begin);
                scope.spawn(move || {
                    for round in 0..ROUNDS {
                        begin.wait();
                        for call in 0..CALLS {
                            fight.call(Shard(index), call);
                        }
                        begin.wait();
                        let calls = (round + 1) * THREADS as u64 * CALLS;
                        assert_eq!(fight.answered.load(SeqCst), calls);
                        assert_eq!(fight.gate.gauge(), (limit, 0, 0));
                    }
                })
            });
            for thread in threads {
                thread.join().unwrap();
            }
        });
    }
}
