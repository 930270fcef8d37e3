//! Every interleaving of a few readers, writers, expiries, losses and crashes, on the real
//! [`Entry`](super::Entry): that none leaves a stale value behind.
//!
//! A [`World`] is one key: what the database has, the shared entry, two processes with a first level
//! each, two readers and two writers at some point of what they do. From each state every step that
//! is possible is tried; a state that was met before is not entered again, but its interleavings
//! count. States are told apart by 128 bits of hash: that two of some millions share them has odds
//! of about 10⁻²⁶.

mod world;

use std::collections::HashMap;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher as _};

pub use world::{Fault, Reader, Setup, Writer};
use world::{Step, World};

/// What was looked at, and found in order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Covered {
    /// Different states.
    pub states: u64,
    /// Ways from the first state to an end: orders in which the steps can happen.
    pub interleavings: u128,
}

impl std::ops::AddAssign for Covered {
    fn add_assign(&mut self, other: Self) {
        self.states += other.states;
        self.interleavings = self.interleavings.saturating_add(other.interleavings);
    }
}

/// An interleaving in which something stale was given or left behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// What is wrong.
    pub what: String,
    /// The steps to it.
    pub steps: Vec<String>,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} after {}", self.what, self.steps.join(", "))
    }
}

impl std::error::Error for Violation {}

/// Tries every interleaving of `setup`.
///
/// # Errors
/// One of them goes wrong.
pub fn check(setup: &Setup) -> Result<Covered, Violation> {
    let mut search = Search::default();
    let interleavings = search.explore(&World::new(setup))?;
    Ok(Covered {
        states: search.met.len() as u64,
        interleavings,
    })
}

#[derive(Default)]
struct Search {
    /// How many ways there are from a state to an end.
    met: HashMap<u128, u128>,
    path: Vec<Step>,
}

impl Search {
    fn explore(&mut self, world: &World) -> Result<u128, Violation> {
        let fingerprint = fingerprint(world);
        if let Some(ways) = self.met.get(&fingerprint) {
            return Ok(*ways);
        }
        world.look().map_err(|what| self.violation(what))?;
        let mut ways: u128 = 0;
        for step in world.steps() {
            self.path.push(step);
            let next = world.after(step).map_err(|what| self.violation(what))?;
            ways = ways.saturating_add(self.explore(&next)?);
            self.path.pop();
        }
        // The end of one.
        let ways = ways.max(1);
        self.met.insert(fingerprint, ways);
        Ok(ways)
    }

    fn violation(&self, what: String) -> Violation {
        Violation {
            what,
            steps: self.path.iter().map(|step| format!("{step:?}")).collect(),
        }
    }
}

fn fingerprint(world: &World) -> u128 {
    let half = |seed: u64| {
        let mut hasher = DefaultHasher::new();
        (seed, world).hash(&mut hasher);
        u128::from(hasher.finish())
    };
    half(0) << 64 | half(1)
}

/// The setups that are tried: every kind of reader and writer, an expiry, a lost channel and a crash.
/// `deep` adds those that take minutes.
#[must_use]
pub fn setups(deep: bool) -> Vec<Setup> {
    use Reader::{Strong, Weak};
    use Writer::{Aside, Nobody, Plain, Through};

    let together = [(0, Strong), (0, Strong)];
    let apart = [(0, Strong), (1, Strong)];
    let mixed = [(0, Strong), (1, Weak)];
    let mut setups = Vec::new();
    let mut add = |readers, writers, [time, losses, crashes]: [u8; 3]| {
        setups.extend([false, true].map(|warm| Setup {
            readers,
            writers,
            warm,
            time,
            losses,
            crashes,
            fault: None,
        }));
    };
    add(mixed, [Plain, Nobody], [4, 1, 0]);
    add(together, [Nobody, Plain], [2, 1, 0]);
    add(together, [Through, Nobody], [2, 0, 0]);
    add(apart, [Nobody, Aside], [2, 0, 1]);
    add(apart, [Nobody, Through], [2, 0, 1]);
    if deep {
        for writers in [
            [Plain, Plain],
            [Plain, Aside],
            [Plain, Through],
            [Through, Through],
        ] {
            add(mixed, writers, [1, 0, 0]);
            add(mixed, writers, [0, 1, 0]);
            add(mixed, writers, [0, 0, 1]);
            add(together, writers, [1, 0, 0]);
        }
    } else {
        add(mixed, [Plain, Through], [0, 0, 0]);
    }
    setups
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_interleaving_leaves_a_stale_value_behind() {
        let mut covered = Covered::default();
        for setup in setups(false) {
            match check(&setup) {
                Ok(part) => covered += part,
                Err(violation) => panic!("{violation}: {setup:?}"),
            }
        }
        println!("{covered:?}");
        assert!(covered.interleavings >= 1_000_000, "{covered:?}");
        assert!(covered.states >= 100_000, "{covered:?}");
    }

    #[test]
    fn whatever_is_left_out_of_the_protocol_is_missed() {
        for fault in [
            Fault::AnyFill,
            Fault::NoGeneration,
            Fault::LeaseOutlivesInvalidation,
            Fault::NoFence,
            Fault::FenceLeavesValue,
            Fault::PutDespiteOthers,
            Fault::LossUnnoticed,
            Fault::JoinsOldLoad,
        ] {
            let found = setups(false).into_iter().find_map(|setup| {
                let fault = Some(fault);
                check(&Setup { fault, ..setup }).err()
            });
            assert!(found.is_some(), "{fault:?} goes unnoticed");
        }
    }
}
