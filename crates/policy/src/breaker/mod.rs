//! Breakers: the caller's side of an outage.
//!
//! A breaker keeps calls from an origin that fails them, and finds out when it no longer does. Two
//! ways of it, behind the trait [`Breaker`]; a driver keeps one per host, per route or per tenant
//! ([`Keyed`]), asks before each attempt and records how the attempt ended.
//!
//! - [`Throttle`] turns away a *share* of the calls, as large as the share that fails calls for. It
//!   knows no threshold to flap around, follows an outage down and up by itself, and suits what
//!   stands behind many hosts: an upstream, a route.
//! - [`Window`] is closed, open or half-open. It suits one host among others, where every call
//!   that it turns away has somewhere else to go.
//!
//! # What is counted
//!
//! Calls that came back. A call that was turned away here says nothing about the origin: counted
//! as a failure, it is what the breaker does that keeps it open, and an outage of 10 s is followed
//! by 10 to 38 s of rejections. So rejections are counted apart. They weigh in where the question
//! is how much is *called* (the floor, and how far a few results may be trusted), never where it
//! is how much *fails*.
//!
//! A call that the caller gave up is [`Outcome::Ignored`] and measures nothing, but where it lasted
//! as long as `patience`, it is a failure: an origin that never answers is otherwise never heard
//! of, since every call to it ends by somebody else's time limit.
//!
//! # What a late result decides
//!
//! Nothing. A [`Pass`] of a [`Window`] carries the generation of the state that let it through, and
//! every change of state begins another. A pass that is lost, because a driver dropped it, holds
//! nothing up either: probes go by the clock, one each `probe_every`, not by the return of the last.
//!
//! # Events
//!
//! Changes of state are rare and calls are not, so a call reports nothing. A breaker keeps its
//! latest 16 [`Transition`]s, and [`Breaker::transitions`] hands those over that the asker has not
//! seen; where there are none, that is one relaxed load. A driver polls it where it collects metrics.
//! Returned from `ask` or `record` instead, they would go to whichever call happened to make the
//! change, and cost every other one a branch and a wider answer.
//!
//! # Shadow
//!
//! `ask` decides and counts; only its caller enforces. A driver in shadow sends the call in spite of
//! a rejection and records nothing for it: it has no pass. So the breaker goes through the states
//! that it would go through if it were obeyed, and its counts say what it would have turned away.
//!
//! # Cost
//!
//! A call that passes a closed breaker reads two words that hardly ever change, and its success
//! writes one word of the thread's own: 25 ns at most for both, and 40 where two threads share the
//! breaker (`examples/breaker_cost.rs`), but for a window of few calls. A failure also takes the lock, to judge. A rejection writes
//! one word of the thread's own.

mod keyed;
mod log;
mod mix;
mod pacer;
mod settings;
mod tally;
mod throttle;
mod window;
mod words {
    pub(super) use std::sync::atomic::{AtomicU64, Ordering};
}

use std::fmt::Debug;
use std::time::Duration;

pub use keyed::Keyed;
pub use log::{Cause, Transition};
pub use settings::{Slow, Span, WindowSettings};
pub use tally::Counts;
pub use throttle::{Throttle, ThrottleSettings};
pub use window::Window;

use crate::{Advice, Criticality, Outcome, Reason, Rejection, Scope, Tick};

/// Keeps calls from an origin that fails them.
///
/// Shared by all threads. See the [module](self) for the choice between the two.
pub trait Breaker: Debug + Send + Sync {
    /// Whether a call may go to the origin. `random` is uniform over all of `u64`.
    ///
    /// # Errors
    /// [`Reason::Breaker`], with the settings' scope; the advice is [`Advice::Elsewhere`] where
    /// that is one host, and else the time until the next probe.
    fn ask(&self, now: Tick, random: u64) -> Result<Pass, Rejection> {
        self.ask_as(Criticality::default(), now, random)
    }

    /// [`ask`](Breaker::ask) for a call of this criticality. Where a share is turned away, the
    /// lowest go first.
    ///
    /// # Errors
    /// As [`ask`](Breaker::ask).
    fn ask_as(&self, criticality: Criticality, now: Tick, random: u64) -> Result<Pass, Rejection>;

    /// Tells how a call ended that [`ask`](Breaker::ask) let through, and how long it took.
    ///
    /// Every pass wants one, also of calls that were cancelled: the driver's guard records
    /// [`Outcome::Ignored`] when dropped.
    fn record(&self, pass: Pass, outcome: Outcome, latency: Duration, now: Tick);

    /// What it does at present. A state whose time is up lasts until somebody asks.
    fn state(&self, now: Tick) -> State;

    /// Counts since the beginning, for metrics.
    fn counts(&self) -> Counts;

    /// Hands over the latest changes of state after number `seen`, oldest first, and returns the
    /// number of the latest. Begin with 0. One relaxed load where there are none.
    fn transitions(&self, seen: u64, each: &mut dyn FnMut(Transition)) -> u64;
}

/// What a breaker does with the calls that it is asked about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum State {
    /// Lets all of them through.
    #[default]
    Closed = 0,
    /// Turns them away, but for probes.
    Open = 1,
    /// Finds out whether the origin answers again: a [`Window`] lets a stated number of probes
    /// through, a [`Throttle`] a share of the calls.
    HalfOpen = 2,
}

impl State {
    /// The name used in metrics and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half-open",
        }
    }

    const fn from_u8(state: u8) -> Self {
        match state {
            0 => Self::Closed,
            1 => Self::Open,
            _ => Self::HalfOpen,
        }
    }
}

/// A call that was let through, to be given to [`Breaker::record`] of the same breaker.
#[derive(Debug)]
#[must_use = "what is never recorded is never learned from"]
pub struct Pass {
    generation: u32,
    kind: PassKind,
}

#[derive(Clone, Copy, Debug)]
enum PassKind {
    Call,
    /// A probe of the interval that ends at this tick.
    Paced(u64),
    /// A probe of this round of a half-open state.
    Round(u64),
}

impl Pass {
    /// Whether this call is a probe: more hangs on it than on another, so it should not be hedged,
    /// and its failure was to be expected.
    #[must_use]
    pub const fn is_probe(&self) -> bool {
        !matches!(self.kind, PassKind::Call)
    }
}

/// What a breaker's rejections look like.
fn rejection(scope: Scope, nanos: u64) -> Rejection {
    let advice = match scope {
        Scope::Host => Advice::Elsewhere,
        _ => Advice::After(Duration::from_nanos(nanos)),
    };
    Rejection {
        reason: Reason::Breaker,
        scope,
        advice,
    }
}

/// `value` within its range, or the `default` where it is no number.
fn sound(value: f64, least: f64, most: f64, default: f64) -> f64 {
    if value.is_nan() {
        return default;
    }
    value.clamp(least, most)
}

/// A duration in nanoseconds, at least one.
fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX).max(1)
}

/// A draw from the upper half of `nanos`, so that many callers do not act as one.
fn jittered(nanos: u64, random: u64) -> u64 {
    let half = nanos / 2;
    half + ((u128::from(nanos - half) * u128::from(random)) >> 64) as u64
}
