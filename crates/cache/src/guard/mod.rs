//! What the database behind a cache may see, whatever becomes of the cache.
//!
//! *Every load passes, always*, not only while Redis is down: nobody has to notice an outage first,
//! and what is asked for at a cold start or after a flush is bounded by the same rate. While all is
//! well loads are rare beside hits, and the guard costs two locks and a queue that nobody is in.
//!
//! *A rate and a limit.* The rate is what was promised to the database, and holds from the first
//! second, when nothing is known of it yet. The limit ([`Admission`]) learns what it bears at the
//! moment, and takes less where it has become slow. The place is asked for first and the token then:
//! a query begins when its token is taken, so a queue lets no burst of saved-up tokens through.
//!
//! *In any second.* A bucket that refills at the stated rate lets its burst come on top of it. Here
//! the burst is a part of the rate and the bucket refills at the rest, so that no second, wherever it
//! begins, sees more than what is stated; steady demand gets nine tenths of it.
//!
//! *By process.* While Redis is away nothing is shared, so nothing could count for the fleet: the
//! rate of the database is to be divided by its processes.

mod abandoned;
mod gutter;
mod journal;
mod replay;
mod reserve;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use seawall::admission::{Admission, GateSettings, Key, Permit};
use seawall::clock::Clock;
use seawall::layer;
use seawall_policy::{
    Advice, Call, Criticality, Outcome, Reason, Rejection, Scope, Tick, TokenBucket,
    TokenBucketSettings,
};

#[allow(unused_imports, reason = "their first users are being written")]
pub(crate) use {
    abandoned::Abandoned,
    gutter::{Health, StoreCall},
    replay::{Deliver, Undelivered},
    reserve::{Kept, Reserve},
};

/// Settings of a [`Guard`]. A value out of range counts as the nearest one in range.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GuardSettings {
    /// Loads that this process may begin in any second, 0.01 to 1,000,000. Below 2, so many on
    /// average, and never two at once. Default 1,000.
    pub rate: f64,
    /// The part of them that may begin at the same moment, 0.01 to 0.9: what is higher is sooner warm
    /// and less even. Default 0.1. It is also what the higher criticalities' reserves are parts of, so
    /// `rate · burst` is best 4 or more.
    pub burst: f64,
    /// How long a load of a critical call may wait for a token rather than be refused, up to 10 s and
    /// not beyond its deadline. `critical-plus` waits as long as this, `critical` for an eighth of
    /// the burst, the others not at all. Default 100 ms.
    pub wait: Duration,
    /// Besides, limit the loads at once to what the database bears, as learned. Default true.
    pub adaptive: bool,
}

impl Default for GuardSettings {
    fn default() -> Self {
        Self {
            rate: 1_000.0,
            burst: 0.1,
            wait: Duration::from_millis(100),
            adaptive: true,
        }
    }
}

const RATE: (f64, f64) = (0.01, 1e6);
const BURST: (f64, f64) = (0.01, 0.9);
const WAIT_MAX: Duration = Duration::from_secs(10);

impl GuardSettings {
    /// Burst and refill that add up to the rate.
    fn bucket(&self) -> TokenBucketSettings {
        let default = Self::default();
        let rate = in_range(self.rate, RATE, default.rate);
        let part = in_range(self.burst, BURST, default.burst);
        let burst = (rate * part).floor().max(1.0);
        // Of less than two a second, one at once and the next half as fast.
        let refill = if rate < 2.0 { rate / 2.0 } else { rate - burst };
        TokenBucketSettings {
            rate: refill,
            burst: burst as u32,
        }
    }
}

fn in_range(value: f64, (least, most): (f64, f64), default: f64) -> f64 {
    if value.is_nan() {
        return default;
    }
    value.clamp(least, most)
}

/// Stands in front of a database: lets loads through at no more than a stated rate, the more
/// critical ones first. Cheap to clone; give one to all caches of one database.
///
/// ```
/// use seawall_cache::{Guard, GuardSettings};
/// use seawall_policy::Outcome;
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
///
/// let guard = Guard::new(GuardSettings { rate: 20.0, ..Default::default() });
/// let pass = guard.enter().await?;
/// // … the load …
/// pass.finish(Outcome::Success);
/// assert_eq!(guard.totals().admitted(), 1);
/// # Ok::<(), seawall_policy::Rejection>(()) }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct Guard {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    bucket: TokenBucket,
    rate: f64,
    wait: Duration,
    admission: Option<Admission>,
    clock: Clock,
    counts: [Counts; 4],
}

#[derive(Debug, Default)]
struct Counts {
    admitted: AtomicU64,
    waited: AtomicU64,
    over_rate: AtomicU64,
    over_limit: AtomicU64,
}

/// What became of the loads of one criticality.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct GuardTotal {
    /// Let through.
    pub admitted: u64,
    /// Of these, after a wait for a token.
    pub waited: u64,
    /// Turned away as the rate was used up.
    pub over_rate: u64,
    /// Turned away by the limit: no place, or none in time.
    pub over_limit: u64,
}

/// What became of loads, by criticality.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct GuardTotals {
    /// An array index is `criticality as usize`.
    pub by_criticality: [GuardTotal; 4],
}

impl GuardTotals {
    /// Loads let through.
    #[must_use]
    pub fn admitted(&self) -> u64 {
        self.by_criticality.iter().map(|total| total.admitted).sum()
    }

    /// Loads turned away.
    #[must_use]
    pub fn rejected(&self) -> u64 {
        let all = self.by_criticality.iter();
        all.map(|total| total.over_rate + total.over_limit).sum()
    }
}

impl Guard {
    /// A guard by the system's clock, with a limit of its own where the settings ask for one.
    #[must_use]
    pub fn new(settings: GuardSettings) -> Self {
        let clock = Clock::system();
        let admission =
            (settings.adaptive).then(|| Admission::new(GateSettings::default(), clock.clone()));
        Self::of(settings, admission, clock)
    }

    /// A guard that asks `admission`, the database's own, for places; it goes by its clock.
    #[must_use]
    pub fn with_admission(settings: GuardSettings, admission: Admission) -> Self {
        let clock = admission.clock().clone();
        Self::of(settings, Some(admission), clock)
    }

    /// A guard without a limit, by a clock that a test moves. The deadlines of ambient calls are by
    /// the system's, and mean nothing here.
    #[must_use]
    pub fn with_clock(settings: GuardSettings, clock: Clock) -> Self {
        Self::of(settings, None, clock)
    }

    fn of(settings: GuardSettings, admission: Option<Admission>, clock: Clock) -> Self {
        Self {
            inner: Arc::new(Inner {
                bucket: TokenBucket::new(&settings.bucket(), clock.now()),
                rate: in_range(settings.rate, RATE, GuardSettings::default().rate),
                wait: settings.wait.min(WAIT_MAX),
                admission,
                clock,
                counts: Default::default(),
            }),
        }
    }

    /// Asks for one load on behalf of the [`current`](layer::current) call; outside of one, of a
    /// critical call without a deadline.
    ///
    /// # Errors
    /// See [`enter_for`](Self::enter_for). Cancel-safe, likewise.
    pub async fn enter(&self) -> Result<LoadPass, Rejection> {
        let call = layer::current().unwrap_or_default();
        // What the call costs its own handler says nothing of the load.
        self.enter_for(&Call { cost: 1, ..call }).await
    }

    /// Asks for a load that costs the database `call.cost`. By rank, it waits a little where the
    /// database has a token soon.
    ///
    /// # Errors
    /// At once where the rate is used up ([`Reason::Admission`], with the time after which there is
    /// a token) or the deadline has passed; where the limit has no place, as [`Admission`] has it.
    ///
    /// Cancel-safe: dropping the future gives the place back. A token that was waited for is spent.
    pub async fn enter_for(&self, call: &Call) -> Result<LoadPass, Rejection> {
        let inner = &*self.inner;
        let now = inner.clock.now();
        if now >= call.deadline {
            return Err(Rejection {
                reason: Reason::Deadline,
                scope: Scope::Host,
                advice: Advice::No,
            });
        }
        // Who will get no token is not to take a place first: most are turned away here.
        let after = inner.bucket.after(call.criticality, call.cost, now);
        if after > inner.patience(call, now) {
            return Err(inner.over_rate(call, after));
        }
        let place = match &inner.admission {
            None => None,
            Some(admission) => match admission.admit(call, Key(0), None, now).await {
                Ok(place) => Some(place),
                Err(rejection) => {
                    inner.count(call).over_limit.fetch_add(1, Relaxed);
                    return Err(rejection);
                }
            },
        };
        let waited = inner.token(call).await?;
        inner.count(call).admitted.fetch_add(1, Relaxed);
        Ok(LoadPass {
            place,
            waited,
            clock: inner.clock.clone(),
        })
    }

    /// What became of loads so far.
    #[must_use]
    pub fn totals(&self) -> GuardTotals {
        let read = |counts: &Counts| GuardTotal {
            admitted: counts.admitted.load(Relaxed),
            waited: counts.waited.load(Relaxed),
            over_rate: counts.over_rate.load(Relaxed),
            over_limit: counts.over_limit.load(Relaxed),
        };
        GuardTotals {
            by_criticality: self.inner.counts.each_ref().map(read),
        }
    }

    /// Loads that may begin in any second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.inner.rate
    }

    /// Loads that may begin now; below zero where some are booked ahead. For metrics.
    #[must_use]
    pub fn tokens(&self) -> f64 {
        self.inner.bucket.level(self.inner.clock.now())
    }

    /// Whether both are one guard.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }

    /// The limit's state, where there is one: for metrics.
    #[must_use]
    pub fn admission(&self) -> Option<&Admission> {
        self.inner.admission.as_ref()
    }

    /// The clock that it goes by.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.inner.clock
    }
}

impl Inner {
    /// A token, perhaps after a wait; how long that was.
    async fn token(&self, call: &Call) -> Result<Duration, Rejection> {
        let now = self.clock.now();
        let most = self.patience(call, now);
        let booked = self.bucket.book(call.criticality, call.cost, most, now);
        let wait = booked.map_err(|after| self.over_rate(call, after))?;
        if !wait.is_zero() {
            self.count(call).waited.fetch_add(1, Relaxed);
            if let Some(there) = self.clock.instant(now + wait) {
                tokio::time::sleep_until(there).await;
            }
        }
        Ok(wait)
    }

    fn patience(&self, call: &Call, now: Tick) -> Duration {
        match call.criticality {
            Criticality::CriticalPlus | Criticality::Critical => {
                self.wait.min(call.deadline.since(now))
            }
            _ => Duration::ZERO,
        }
    }

    #[cold]
    fn over_rate(&self, call: &Call, after: Duration) -> Rejection {
        self.count(call).over_rate.fetch_add(1, Relaxed);
        Rejection {
            reason: Reason::Admission,
            scope: Scope::Host,
            advice: match after {
                Duration::MAX => Advice::No,
                after => Advice::After(after),
            },
        }
    }

    fn count(&self, call: &Call) -> &Counts {
        &self.counts[call.criticality as usize]
    }
}

/// The right to one load. Finish it with how the load went; dropped, it is no sample of the limit.
#[must_use = "dropping a pass gives its place back"]
#[derive(Debug)]
pub struct LoadPass {
    place: Option<Permit>,
    /// For a token, with the place held: the database had no part in it.
    waited: Duration,
    clock: Clock,
}

impl LoadPass {
    /// Gives the place back and tells the limit how the load went.
    pub fn finish(self, outcome: Outcome) {
        if let Some(place) = self.place {
            place.finish_less(outcome, self.clock.now(), self.waited);
        }
    }
}

#[cfg(test)]
mod tests;
