//! The own zone first, while it is well.
//!
//! How many of a zone's calls stay is decided ten times a second:
//! - *By health*: 1.4 × the share of the zone's weight that serves, at most all (Envoy's factor for
//!   priorities): with 5 of 7 hosts left they still stand the load, with fewer the rest spills over.
//! - *By what callers get*: less, by and by, while the zone's hosts answer at less than half the
//!   speed of the others or fail more, since what a zone can take shows in nothing else; more again
//!   when they do not.
//!
//! A hundredth always goes elsewhere: it is how the others are known, and their connections warm,
//! on the day that they are needed. A fiftieth always stays, so that it shows when the zone is well
//! again. What spills over is spread over the other zones by weight.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use super::hosts::Seat;
use super::sampler::Sampler;
use crate::Tick;

const OVERPROVISION: f64 = 1.4;
const MOST: f64 = 0.99;
/// So many stay whatever happens, while any host serves.
const LEAST: f64 = 0.02;
/// Down by a tenth, up by a fiftieth, ten times a second.
const DOWN: f64 = 0.9;
const UP: f64 = 0.02;
/// Slower by this factor, or failing by this much more, is worse.
const SLOWER: f64 = 2.0;
const FAILING: f64 = 0.05;

#[derive(Debug)]
pub(super) struct Zone {
    pub(super) zone: u16,
    pub(super) sampler: Sampler,
    /// The chance that a call stays, out of 2^32.
    stays: AtomicU32,
}

/// What a group of hosts is like.
#[derive(Clone, Copy, Debug, Default)]
struct Group {
    weight: f64,
    serving: f64,
    latency: f64,
    known: f64,
    failing: f64,
}

impl Group {
    fn add(&mut self, seat: &Seat, now: Tick) {
        let weight = f64::from(seat.inverse.recip());
        let share = weight * seat.host.share(now);
        self.weight += weight;
        self.serving += share;
        self.failing += share * f64::from(seat.host.failing(now));
        if seat.host.known_latency(now).is_some() {
            self.known += share;
            self.latency += share * f64::from(seat.host.latency(now));
        }
    }

    fn failing(&self) -> f64 {
        if self.serving > 0.0 {
            self.failing / self.serving
        } else {
            1.0
        }
    }

    fn latency(&self) -> Option<f64> {
        (self.known > 0.0).then(|| self.latency / self.known)
    }

    /// It serves its callers worse than `other` would.
    fn is_worse(&self, other: &Self) -> bool {
        let slower = match (self.latency(), other.latency()) {
            (Some(own), Some(other)) => own > SLOWER * other,
            _ => false,
        };
        slower || self.failing() > other.failing() + FAILING
    }
}

impl Zone {
    /// A sampler for each zone that has members, but not all of them.
    pub(super) fn of_all(members: &[(u32, f64)], zone: impl Fn(u32) -> u16) -> Box<[Self]> {
        let mut zones: Vec<u16> = members.iter().map(|&(at, _)| zone(at)).collect();
        zones.sort_unstable();
        zones.dedup();
        if zones.len() < 2 {
            return Box::default();
        }
        let own = |id: u16| {
            members
                .iter()
                .filter(|m| zone(m.0) == id)
                .copied()
                .collect()
        };
        let named = zones.into_iter().filter(|&id| id != 0);
        named
            .map(|id| Self {
                zone: id,
                sampler: Sampler::new(own(id)),
                stays: AtomicU32::new(chance(MOST)),
            })
            .collect()
    }

    /// A call with these random bits stays in the zone.
    #[inline]
    pub(super) fn keeps(&self, random: u64) -> bool {
        (random as u32) < self.stays.load(Relaxed)
    }

    /// The share of its calls that stays.
    pub(super) fn stays(&self) -> f64 {
        f64::from(self.stays.load(Relaxed)) / f64::from(u32::MAX)
    }

    /// A zone of the same name in a new list goes on where it was.
    pub(super) fn inherit(&self, before: &[Self]) {
        if let Some(before) = before.iter().find(|before| before.zone == self.zone) {
            self.stays.store(before.stays.load(Relaxed), Relaxed);
        }
    }

    /// Decides anew how many stay.
    pub(super) fn review(&self, seats: &[Seat], members: &[u32], now: Tick) {
        let (mut own, mut others) = (Group::default(), Group::default());
        for &at in members {
            let seat = &seats[at as usize];
            let group = if seat.zone == self.zone {
                &mut own
            } else {
                &mut others
            };
            group.add(seat, now);
        }
        let healthy = if own.weight > 0.0 {
            own.serving / own.weight
        } else {
            0.0
        };
        let most = (OVERPROVISION * healthy).min(MOST);
        let stays = self.stays();
        let next = if own.is_worse(&others) {
            stays * DOWN
        } else {
            stays + UP
        };
        self.stays.store(chance(next.max(LEAST).min(most)), Relaxed);
    }
}

fn chance(share: f64) -> u32 {
    (share * f64::from(u32::MAX)) as u32
}
