//! Admission to one origin or handler: the driver of [`seawall_policy::admit::Gate`].
//!
//! The gate decides and says whom to wake; this module reads the clock, keeps the wakers and runs
//! the thread that ends waits whose time is up. A [`Permit`] is a place at the origin: finish it
//! with how the call went, or drop it, which frees the place without counting as a sample.

mod keys;
pub mod outcome;
mod pulse;
mod wait;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use seawall_policy::admit::{Admit as Decision, Gate, Ticket, Wakes};
use seawall_policy::{Advice, Call, Outcome, Reason, Rejection, Scope, Tick};
use seawall_sync::Shard;

#[cfg(feature = "api")]
pub(crate) use keys::mix;
pub use keys::{Keys, Shape};
pub use seawall_policy::admit::{
    GateChange, GateSettings, GateSnapshot, Key, Lane, LaneSettings, Totals,
};
pub use wait::Waiting;

use crate::clock::Clock;
use pulse::Pulse;
use wait::{Handle, Slot};

/// The entrance to one origin. Cheap to clone; all clones share one state.
///
/// ```
/// use seawall::admission::{Admission, Admit, GateSettings, Key};
/// use seawall::clock::Clock;
/// use seawall_policy::{Call, Outcome};
///
/// let clock = Clock::system();
/// let admission = Admission::new(GateSettings::default(), clock.clone());
/// match admission.acquire(&Call::default(), Key(0), None, clock.now()) {
///     Admit::Now(permit) => permit.finish(Outcome::Success, clock.now()),
///     Admit::Wait(_waiting) => { /* .await it for a permit or a rejection */ }
///     Admit::Rejected(rejection) => println!("{rejection}"),
/// }
/// ```
#[derive(Clone)]
pub struct Admission {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    gate: Gate<Handle>,
    clock: Clock,
    keys: Keys,
    pulse: Pulse,
}

impl fmt::Debug for Admission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Admission").field(&self.inner.gate).finish()
    }
}

/// The answer to [`Admission::acquire`].
#[must_use]
#[derive(Debug)]
pub enum Admit {
    /// Go.
    Now(Permit),
    /// Await this for a permit or a rejection. Dropping it leaves the queue.
    Wait(Waiting),
    /// Turned away.
    Rejected(Rejection),
}

impl Admission {
    /// An entrance with all its places free.
    ///
    /// With the system clock a thread of its own (`seawall-pulse`) ends waits in time; it sleeps
    /// while nobody waits, and ends with the last clone. With a manual clock call
    /// [`Admission::tick`] instead.
    #[must_use]
    pub fn new(settings: GateSettings, clock: Clock) -> Self {
        let gate = Gate::new(settings, clock.now());
        let manual = matches!(clock, Clock::Manual(_));
        let inner = Arc::new_cyclic(|weak| Inner {
            gate,
            clock,
            keys: Keys::default(),
            pulse: if manual {
                Pulse::none()
            } else {
                Pulse::start(weak.clone())
            },
        });
        Self { inner }
    }

    /// Asks for a place. Never blocks; a few tens of nanoseconds while nobody waits.
    ///
    /// `lane` where the caller knows it, else it goes by what was learned of the route `key`.
    #[inline]
    pub fn acquire(&self, call: &Call, key: Key, lane: Option<Lane>, now: Tick) -> Admit {
        match self
            .inner
            .gate
            .admit(call, key, lane, Shard::current(), now)
        {
            Decision::Now(ticket) => Admit::Now(self.permit(ticket)),
            Decision::Rejected(rejection) => Admit::Rejected(rejection),
            Decision::Wait(lane) => Admit::Wait(self.wait(call, key, lane, now)),
        }
    }

    /// Asks for a place and waits for it as long as the policy allows.
    ///
    /// # Errors
    /// The rejection, where there is none in time. Cancel-safe: dropping the future leaves the
    /// queue, or gives the place back.
    pub async fn admit(
        &self,
        call: &Call,
        key: Key,
        lane: Option<Lane>,
        now: Tick,
    ) -> Result<Permit, Rejection> {
        match self.acquire(call, key, lane, now) {
            Admit::Now(permit) => Ok(permit),
            Admit::Wait(waiting) => waiting.await,
            Admit::Rejected(rejection) => Err(rejection),
        }
    }

    fn wait(&self, call: &Call, key: Key, lane: Lane, now: Tick) -> Waiting {
        let slot = Arc::new(Slot::default());
        let mut wakes = Vec::new();
        self.inner.gate.wait(
            call,
            key,
            lane,
            Handle(slot.clone()),
            Shard::current(),
            now,
            &mut wakes,
        );
        self.inner.wake(wakes);
        self.inner.pulse.rouse();
        Waiting::new(self.clone(), slot, now)
    }

    fn permit(&self, ticket: Ticket) -> Permit {
        Permit {
            ticket: Some(ticket),
            admission: self.clone(),
        }
    }

    /// The clock whose ticks it goes by.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.inner.clock
    }

    /// The routes that its gate learns latencies of.
    #[must_use]
    pub fn keys(&self) -> &Keys {
        &self.inner.keys
    }

    /// Takes the control steps that are due. Only a manual clock needs this.
    pub fn tick(&self) {
        self.inner.tick();
    }

    /// Takes in a CPU reading, 0 to 1, for the limits that look at it.
    pub fn set_cpu(&self, used: f64) {
        self.inner.gate.set_cpu(used);
    }

    /// Takes new settings over: calls keep their places, waiters their turns, the limit what it has
    /// learned.
    pub fn change(&self, change: GateChange) {
        let mut wakes = Vec::new();
        let now = self.inner.clock.now();
        self.inner
            .gate
            .change(change, Shard::current(), now, &mut wakes);
        self.inner.wake(wakes);
    }

    /// Whether calls queue or are turned away, now or a moment ago. What costs something and is only
    /// of use then, like verifying a mark, asks this first. One relaxed load.
    #[inline]
    #[must_use]
    pub fn is_hot(&self) -> bool {
        self.inner.gate.is_hot()
    }

    /// How long a thread that has nothing to do may let events gather before it looks at them: see
    /// [`Gate::coalesce`](seawall_policy::admit::Gate::coalesce). Two relaxed loads.
    #[inline]
    #[must_use]
    pub fn coalesce(&self) -> Duration {
        self.inner.gate.coalesce()
    }

    /// The state of everything, for metrics and explanations.
    #[must_use]
    pub fn snapshot(&self) -> GateSnapshot {
        self.inner.gate.snapshot()
    }

    fn finish(&self, ticket: Ticket, outcome: Outcome, blocked: Duration, now: Tick) {
        let mut wakes = Vec::new();
        self.inner
            .gate
            .finish(ticket, outcome, blocked, Shard::current(), now, &mut wakes);
        self.inner.wake(wakes);
    }
}

impl Inner {
    fn wake(&self, wakes: Wakes<Handle>) {
        for (Handle(slot), answer) in wakes {
            // The caller left in the meantime: the place goes on to the next.
            if let Err(ticket) = slot.answer(answer) {
                let mut more = Vec::new();
                let (shard, now) = (Shard::current(), self.clock.now());
                self.gate.finish(
                    ticket,
                    Outcome::Ignored,
                    Duration::ZERO,
                    shard,
                    now,
                    &mut more,
                );
                self.wake(more);
            }
        }
    }

    pub(crate) fn tick(&self) -> Option<Duration> {
        let mut wakes = Vec::new();
        self.gate
            .tick(Shard::current(), self.clock.now(), &mut wakes);
        self.wake(wakes);
        self.gate.next_tick()
    }
}

/// A place at the origin.
#[must_use = "dropping a permit gives the place back"]
#[derive(Debug)]
pub struct Permit {
    ticket: Option<Ticket>,
    admission: Admission,
}

impl Permit {
    /// Gives the place back and says how the call went.
    pub fn finish(self, outcome: Outcome, now: Tick) {
        self.finish_less(outcome, now, Duration::ZERO);
    }

    /// As [`Permit::finish`], with the time that a slow client took rather than the origin; it is
    /// left out of the sample.
    pub fn finish_less(mut self, outcome: Outcome, now: Tick, blocked: Duration) {
        if let Some(ticket) = self.ticket.take() {
            self.admission.finish(ticket, outcome, blocked, now);
        }
    }

    /// Why the call would have been turned away, had the gate not been in shadow.
    #[must_use]
    pub fn shadowed(&self) -> Option<Rejection> {
        self.ticket.as_ref().and_then(Ticket::shadowed)
    }

    /// When the place was given.
    #[must_use]
    pub fn start(&self) -> Tick {
        self.ticket.as_ref().map_or(Tick::ZERO, Ticket::start)
    }

    /// Trades the place for a long-lived stream, which is capped in number. The time to here
    /// counts as the call's latency.
    ///
    /// # Errors
    /// When there are too many streams. The place is given back in either case.
    pub fn into_stream(mut self, now: Tick) -> Result<StreamPermit, Rejection> {
        let refused = Rejection {
            reason: Reason::Lane,
            scope: Scope::Host,
            advice: Advice::Elsewhere,
        };
        let ticket = self.ticket.take().ok_or(refused)?;
        let mut wakes = Vec::new();
        let inner = &self.admission.inner;
        let opened = inner
            .gate
            .open_stream(ticket, Shard::current(), now, &mut wakes);
        inner.wake(wakes);
        opened.map(|()| StreamPermit {
            admission: self.admission.clone(),
        })
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            let now = self.admission.inner.clock.now();
            self.admission
                .finish(ticket, Outcome::Ignored, Duration::ZERO, now);
        }
    }
}

/// A long-lived reply, counted while it lasts.
#[must_use = "dropping a stream permit ends the stream's count"]
#[derive(Debug)]
pub struct StreamPermit {
    admission: Admission,
}

impl Drop for StreamPermit {
    fn drop(&mut self) {
        self.admission.inner.gate.close_stream();
    }
}
