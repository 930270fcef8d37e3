//! The real gate before the simulated origin.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use seawall_sync::Shard;

use super::front::{Front, Id, Verdict, Wake};
use crate::admit::{Admit, Gate, GateSettings, Key, Ticket, Waiter, Wakes};
use crate::{Call, Outcome, Tick};

const SHARD: Shard = Shard(0);

/// A waiter of the simulation.
#[derive(Debug)]
pub struct Waits {
    id: Id,
    gone: Arc<AtomicBool>,
}

impl Waiter for Waits {
    fn is_gone(&self) -> bool {
        self.gone.load(Relaxed)
    }
}

/// A [`Gate`] as the simulation drives it, with the very code that runs in the gateway.
///
/// It does not see the clients' deadlines, as no header tells them, unless
/// [`Gated::with_deadlines`].
pub struct Gated {
    gate: Gate<Waits>,
    tickets: HashMap<Id, Ticket>,
    waiting: HashMap<Id, Arc<AtomicBool>>,
    deadlines: bool,
    next: Tick,
}

impl fmt::Debug for Gated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Gated").field(&self.gate).finish()
    }
}

impl Default for Gated {
    fn default() -> Self {
        Self::new(GateSettings::default())
    }
}

impl Gated {
    /// A gate with these settings.
    #[must_use]
    pub fn new(settings: GateSettings) -> Self {
        Self {
            gate: Gate::new(settings, Tick::ZERO),
            tickets: HashMap::new(),
            waiting: HashMap::new(),
            deadlines: false,
            next: Tick::MAX,
        }
    }

    /// The calls carry their clients' deadlines.
    #[must_use]
    pub fn with_deadlines(mut self) -> Self {
        self.deadlines = true;
        self
    }

    /// The gate, to look at.
    #[must_use]
    pub fn gate(&self) -> &Gate<Waits> {
        &self.gate
    }

    fn pass_on(&mut self, woken: Wakes<Waits>, now: Tick, wakes: &mut Vec<Wake>) {
        for (Waits { id, .. }, answer) in woken {
            self.waiting.remove(&id);
            let go = answer.map(|ticket| self.tickets.insert(id, ticket)).is_ok();
            wakes.push(Wake { id, go });
        }
        // The driver's thread ticks as the gate asks; idle, it sleeps.
        self.next = self.gate.next_tick().map_or(Tick::MAX, |time| {
            self.next
                .min(now + time)
                .max(now + Duration::from_micros(1))
        });
    }
}

impl Front for Gated {
    fn arrive(
        &mut self,
        id: Id,
        call: &Call,
        route: u8,
        now: Tick,
        wakes: &mut Vec<Wake>,
    ) -> Verdict {
        let deadline = if self.deadlines {
            call.deadline
        } else {
            Tick::MAX
        };
        let call = Call { deadline, ..*call };
        match self.gate.admit(&call, Key(route), None, SHARD, now) {
            Admit::Now(ticket) => {
                self.tickets.insert(id, ticket);
                Verdict::Go
            }
            Admit::Rejected(_) => Verdict::Reject,
            Admit::Wait(lane) => {
                let gone = Arc::new(AtomicBool::new(false));
                self.waiting.insert(id, gone.clone());
                let mut woken = Vec::new();
                self.gate.wait(
                    &call,
                    Key(route),
                    lane,
                    Waits { id, gone },
                    SHARD,
                    now,
                    &mut woken,
                );
                self.pass_on(woken, now, wakes);
                Verdict::Wait
            }
        }
    }

    fn finish(&mut self, id: Id, outcome: Outcome, now: Tick, wakes: &mut Vec<Wake>) {
        if let Some(ticket) = self.tickets.remove(&id) {
            let mut woken = Vec::new();
            self.gate
                .finish(ticket, outcome, Duration::ZERO, SHARD, now, &mut woken);
            self.pass_on(woken, now, wakes);
        }
    }

    fn leave(&mut self, id: Id, _: Tick, _: &mut Vec<Wake>) {
        if let Some(gone) = self.waiting.remove(&id) {
            gone.store(true, Relaxed);
        }
    }

    fn tick(&mut self, now: Tick, wakes: &mut Vec<Wake>) {
        let mut woken = Vec::new();
        self.gate.tick(SHARD, now, &mut woken);
        self.next = Tick::MAX;
        self.pass_on(woken, now, wakes);
    }

    fn next_tick(&self) -> Tick {
        self.next
    }

    fn gauge(&self) -> (u32, u32, u32) {
        self.gate.gauge()
    }
}
