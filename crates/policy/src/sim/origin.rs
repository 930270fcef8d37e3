//! The origin: a number of slots behind an unbounded first-in-first-out queue.

use std::collections::VecDeque;
use std::time::Duration;

use super::rng::Rng;

/// How service times are spread around their mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// All the same.
    Fixed,
    /// Exponential.
    Exponential,
    /// 90 % take half the mean, 10 % take 5.5 times the mean.
    Bimodal,
}

impl Service {
    /// The three, for matrices.
    pub const ALL: [Self; 3] = [Self::Fixed, Self::Exponential, Self::Bimodal];

    /// What the quickest call takes, as a part of the mean.
    #[must_use]
    pub const fn quickest(self) -> f64 {
        match self {
            Self::Fixed => 1.0,
            Self::Exponential => 0.0,
            Self::Bimodal => 0.5,
        }
    }

    /// A sample with mean 1.
    fn draw(self, rng: &mut Rng) -> f64 {
        match self {
            Self::Fixed => 1.0,
            Self::Exponential => rng.exponential(),
            Self::Bimodal => [0.5, 5.5][usize::from(rng.unit() < 0.1)],
        }
    }
}

/// A kind of call: its part of the traffic and how long the origin works on it.
#[derive(Clone, Copy, Debug)]
pub struct Route {
    /// Part of the arrivals; the parts of all routes are put in proportion.
    pub share: f64,
    /// Mean time of service in a slot.
    pub service: Duration,
    /// How service times are spread.
    pub spread: Service,
}

/// What the origin can do from a moment on.
#[derive(Clone, Copy, Debug)]
pub struct Capacity {
    /// Since when.
    pub from: Duration,
    /// Calls worked on at once. More that are running when the number falls run to their end.
    pub slots: u32,
    /// Service times are multiplied by this; 1 is normal.
    pub slowness: f64,
}

/// A call at the origin: its index in the simulation and the generation that makes it unique.
pub(super) type CallId = (u32, u32);

#[derive(Debug)]
pub(super) struct Origin {
    slots: u32,
    slowness: f64,
    /// Service grows by this for each `slots` calls present.
    fills: f64,
    busy: u32,
    queue: VecDeque<(CallId, u8)>,
    /// Cancelled entries that still lie in the queue.
    gone: u32,
    /// Work done for callers that had left, and all work, in seconds.
    pub(super) wasted: f64,
    pub(super) worked: f64,
}

impl Origin {
    pub(super) fn new(fills: f64) -> Self {
        Self {
            slots: 1,
            slowness: 1.0,
            fills,
            busy: 0,
            queue: VecDeque::new(),
            gone: 0,
            wasted: 0.0,
            worked: 0.0,
        }
    }

    pub(super) fn set(&mut self, capacity: &Capacity) {
        self.slots = capacity.slots;
        self.slowness = capacity.slowness;
    }

    pub(super) fn push(&mut self, id: CallId, route: u8) {
        self.queue.push_back((id, route));
    }

    /// A waiting call's client has left.
    pub(super) fn forget_waiting(&mut self) {
        self.gone += 1;
    }

    /// A slot is free again.
    pub(super) fn done(&mut self) {
        self.busy -= 1;
    }

    /// Starts the next waiting call, if a slot is free: which, and for how many seconds.
    pub(super) fn start(
        &mut self,
        routes: &[Route],
        rng: &mut Rng,
        alive: impl Fn(CallId) -> bool,
    ) -> Option<(CallId, f64)> {
        while self.busy < self.slots {
            let (id, route) = self.queue.pop_front()?;
            if !alive(id) {
                self.gone -= 1;
                continue;
            }
            self.busy += 1;
            let present = f64::from(self.busy) + (self.queue.len() as f64 - f64::from(self.gone));
            let route = &routes[usize::from(route)];
            let full = 1.0 + self.fills * present / f64::from(self.slots.max(1));
            let time = route.service.as_secs_f64() * route.spread.draw(rng) * self.slowness * full;
            self.worked += time;
            return Some((id, time));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_call_is_quicker_than_the_quickest() {
        for spread in Service::ALL {
            let mut rng = Rng::new(7);
            let least = (0..1_000)
                .map(|_| spread.draw(&mut rng))
                .fold(9.0, f64::min);
            let over = least - spread.quickest();
            assert!((0.0..0.01).contains(&over), "{spread:?}: {least}");
        }
    }
}
