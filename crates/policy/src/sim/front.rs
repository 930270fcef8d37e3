//! What stands before the origin: a trait, and a plain gate around any [`Limit`].

use std::collections::VecDeque;
use std::time::Duration;

use crate::limit::{Limit, Step, Window};
use crate::{Call, Outcome, Tick};

/// Names a call between [`Front`] and the simulation.
pub type Id = u64;

/// What a front says to an arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// To the origin at once.
    Go,
    /// Wait; a [`Wake`] follows.
    Wait,
    /// Turned away.
    Reject,
}

/// What a front says to a call that waited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wake {
    /// Which call.
    pub id: Id,
    /// `true`: to the origin now. `false`: turned away.
    pub go: bool,
}

/// A gate as the simulation drives it. All times are virtual.
pub trait Front {
    /// A call of `route` arrives.
    fn arrive(
        &mut self,
        id: Id,
        call: &Call,
        route: u8,
        now: Tick,
        wakes: &mut Vec<Wake>,
    ) -> Verdict;

    /// A call that was at the origin has ended (`Ignored` where its client left).
    fn finish(&mut self, id: Id, outcome: Outcome, now: Tick, wakes: &mut Vec<Wake>);

    /// The client of a call that waits here has left.
    fn leave(&mut self, id: Id, now: Tick, wakes: &mut Vec<Wake>);

    /// Time passes; called at [`Front::next_tick`] at the latest.
    fn tick(&mut self, now: Tick, wakes: &mut Vec<Wake>);

    /// When [`Front::tick`] is wanted next.
    fn next_tick(&self) -> Tick;

    /// For the report: limit, calls at the origin, calls waiting.
    fn gauge(&self) -> (u32, u32, u32);
}

/// Nothing at all: every call goes to the origin.
#[derive(Clone, Copy, Debug, Default)]
pub struct Open {
    inflight: u32,
}

impl Front for Open {
    fn arrive(&mut self, _: Id, _: &Call, _: u8, _: Tick, _: &mut Vec<Wake>) -> Verdict {
        self.inflight += 1;
        Verdict::Go
    }

    fn finish(&mut self, _: Id, _: Outcome, _: Tick, _: &mut Vec<Wake>) {
        self.inflight -= 1;
    }

    fn leave(&mut self, _: Id, _: Tick, _: &mut Vec<Wake>) {}

    fn tick(&mut self, _: Tick, _: &mut Vec<Wake>) {}

    fn next_tick(&self) -> Tick {
        Tick::MAX
    }

    fn gauge(&self) -> (u32, u32, u32) {
        (u32::MAX, self.inflight, 0)
    }
}

/// A limit and a short queue, newest first, bounded in time and length.
///
/// The least gate that a [`Limit`] needs; statistics are those that [`Window`] defines. A call may
/// wait 100 ms or five times the limit's idea of the origin's latency, whichever is more.
#[derive(Debug)]
pub struct PlainGate {
    limit: Box<dyn Limit>,
    step: Step,
    /// Since when the limit in force has been in force.
    changed: Tick,
    window: Window,
    /// When `mean_inflight`, here an integral over time, was last brought up to date.
    counted: Tick,
    inflight: u32,
    queue: VecDeque<(Id, Tick)>,
    patience: Duration,
    /// When the calls at the origin were admitted, by slot of the identifier.
    admitted: Vec<Tick>,
}

impl PlainGate {
    /// A gate that asks `limit`.
    #[must_use]
    pub fn new(limit: Box<dyn Limit>) -> Self {
        let step = limit.start();
        Self {
            limit,
            step,
            changed: Tick::ZERO,
            window: fresh_window(Tick::ZERO),
            counted: Tick::ZERO,
            inflight: 0,
            queue: VecDeque::new(),
            patience: Duration::from_millis(100),
            admitted: Vec::new(),
        }
    }

    /// The limit, to look at.
    #[must_use]
    pub fn limit(&self) -> &dyn Limit {
        &*self.limit
    }

    #[inline]
    fn count(&mut self, now: Tick) {
        self.window.mean_inflight +=
            f64::from(self.inflight) * now.since(self.counted).as_secs_f64();
        self.counted = now;
    }

    #[inline]
    fn take(&mut self, id: Id, now: Tick) {
        self.count(now);
        self.inflight += 1;
        let slot = (id as u32) as usize;
        if slot >= self.admitted.len() {
            self.admitted.resize(slot * 2 + 64, Tick::ZERO);
        }
        self.admitted[slot] = now;
    }

    /// Turns away those that waited long enough, then lets in as many as there are places for.
    fn serve(&mut self, now: Tick, wakes: &mut Vec<Wake>) {
        while let Some(&(id, since)) = self.queue.front() {
            if now.since(since) < self.patience {
                break;
            }
            self.queue.pop_front();
            wakes.push(Wake { id, go: false });
        }
        while self.inflight < self.step.limit {
            let Some((id, _)) = self.queue.pop_back() else {
                break;
            };
            self.take(id, now);
            wakes.push(Wake { id, go: true });
        }
    }

    /// Asks the limit when its window is over.
    #[inline]
    fn turn(&mut self, now: Tick) {
        if now < self.window.start + self.step.after {
            return;
        }
        self.count(now);
        let mut window = std::mem::replace(&mut self.window, fresh_window(now));
        window.end = now;
        window.limit = self.step.limit;
        window.inflight = self.inflight;
        window.mean_inflight /= window.seconds().max(1e-9);
        window.bound |= !self.queue.is_empty();
        let step = self.limit.update(&window);
        assert!(
            step.limit >= 1 && step.after > Duration::ZERO,
            "a limit must be at least 1 and wait"
        );
        if step.limit != self.step.limit {
            self.changed = now;
        }
        self.step = step;
        let base = self.limit.base_latency().unwrap_or(0.0);
        self.patience = Duration::from_secs_f64((5.0 * base).max(0.1));
    }
}

fn fresh_window(start: Tick) -> Window {
    Window {
        start,
        latency_min: f64::INFINITY,
        ..Window::default()
    }
}

impl Front for PlainGate {
    fn arrive(&mut self, id: Id, _: &Call, _: u8, now: Tick, wakes: &mut Vec<Wake>) -> Verdict {
        self.turn(now);
        self.serve(now, wakes);
        if self.inflight < self.step.limit && self.queue.is_empty() {
            self.take(id, now);
            return Verdict::Go;
        }
        self.window.bound = true;
        let room = (self.step.limit as usize).saturating_mul(4).max(64);
        if self.queue.len() >= room
            && let Some((old, _)) = self.queue.pop_front()
        {
            wakes.push(Wake { id: old, go: false });
        }
        self.queue.push_back((id, now));
        Verdict::Wait
    }

    fn finish(&mut self, id: Id, outcome: Outcome, now: Tick, wakes: &mut Vec<Wake>) {
        self.count(now);
        self.inflight -= 1;
        let admitted = self.admitted[(id as u32) as usize];
        let window = &mut self.window;
        match outcome {
            Outcome::Success => {
                let latency = now.since(admitted).as_secs_f64();
                window.succeeded += 1;
                window.latency_sum += latency;
                window.latency_min = window.latency_min.min(latency);
                if admitted >= self.changed {
                    window.fresh += 1;
                    window.fresh_latency_sum += latency;
                }
            }
            Outcome::Failure => window.failed += 1,
            Outcome::Overloaded => window.overloaded += 1,
            Outcome::Ignored => {
                window.ignored += 1;
                window.gave_up += u32::from(now.since(admitted) >= Duration::from_millis(50));
            }
        }
        self.turn(now);
        self.serve(now, wakes);
    }

    fn leave(&mut self, id: Id, now: Tick, wakes: &mut Vec<Wake>) {
        if let Some(at) = self.queue.iter().position(|&(other, _)| other == id) {
            self.queue.remove(at);
        }
        self.serve(now, wakes);
    }

    fn tick(&mut self, now: Tick, wakes: &mut Vec<Wake>) {
        self.turn(now);
        self.serve(now, wakes);
    }

    fn next_tick(&self) -> Tick {
        let window = self.window.start + self.step.after;
        self.queue
            .front()
            .map_or(window, |&(_, since)| window.min(since + self.patience))
    }

    fn gauge(&self) -> (u32, u32, u32) {
        (self.step.limit, self.inflight, self.queue.len() as u32)
    }
}
