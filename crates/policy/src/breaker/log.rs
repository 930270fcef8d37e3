//! The latest changes of state, for whoever polls.

use std::collections::VecDeque;

use super::State;
use crate::Tick;

/// How many changes are kept.
const KEPT: usize = 16;

/// Why a state was left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Cause {
    /// The share of failures.
    FailureRatio = 0,
    /// So many failures one after another.
    Consecutive = 1,
    /// The share of slow calls.
    SlowRatio = 2,
    /// A probe failed.
    ProbeFailed = 3,
    /// The penalty is over, or a probe within it succeeded: time for a round of probes.
    Probing = 4,
    /// The origin answers again.
    Recovered = 5,
    /// Too little is called, or nothing was heard for too long: no ground to reject on.
    NoEvidence = 6,
}

impl Cause {
    /// The name used in metrics and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::FailureRatio => "failure-ratio",
            Self::Consecutive => "consecutive",
            Self::SlowRatio => "slow-ratio",
            Self::ProbeFailed => "probe-failed",
            Self::Probing => "probing",
            Self::Recovered => "recovered",
            Self::NoEvidence => "no-evidence",
        }
    }
}

/// A change of state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transition {
    /// 1 for the breaker's first, then counted up; a gap says that some were missed.
    pub number: u64,
    /// When.
    pub at: Tick,
    /// The state before.
    pub from: State,
    /// The state after.
    pub to: State,
    /// Why.
    pub cause: Cause,
}

/// Held under the breaker's lock.
#[derive(Debug)]
pub(super) struct Log {
    latest: VecDeque<Transition>,
    state: State,
    number: u64,
}

impl Log {
    pub(super) fn new() -> Self {
        Self {
            latest: VecDeque::with_capacity(KEPT),
            state: State::Closed,
            number: 0,
        }
    }

    pub(super) fn state(&self) -> State {
        self.state
    }

    /// Notes a change; how many there have been.
    pub(super) fn note(&mut self, to: State, cause: Cause, now: u64) -> u64 {
        if self.latest.len() == KEPT {
            self.latest.pop_front();
        }
        self.number += 1;
        self.latest.push_back(Transition {
            number: self.number,
            at: Tick(now),
            from: self.state,
            to,
            cause,
        });
        self.state = to;
        self.number
    }

    pub(super) fn since(&self, seen: u64, each: &mut dyn FnMut(Transition)) -> u64 {
        self.latest
            .iter()
            .filter(|t| t.number > seen)
            .for_each(|t| each(*t));
        self.number
    }
}
