//! The four layers in their order.

use std::time::Duration;

use tower::Layer;

use super::admission::{AdmissionLayer, AdmissionService};
use super::context::{ContextLayer, ContextService};
use super::deadline::{DeadlineLayer, DeadlineService, DeadlineTotals};
use super::lane::{Head, LaneLayer, LaneService};
use crate::Criticality;
use crate::admission::{Admission, GateSettings, Lane};
use crate::clock::Clock;
use crate::context::Trust;

/// A service with all the protection there is.
pub type Protected<S> = ContextService<DeadlineService<LaneService<AdmissionService<S>>>>;

/// Context, deadline, lane and admission, in this order; the module says [why](super).
///
/// The default protects without tuning: callers are not believed, no time limit but the caller's,
/// lanes by what is learned, an adaptive limit. Clones share one entrance, so parts of a server
/// that compete for the same CPUs or database take clones, with lanes of their own where they
/// must not hold one another up:
///
/// ```
/// use axum::{Router, routing::get};
/// use seawall::admission::Lane;
/// use seawall::layer::Protect;
///
/// const REPORTS: Lane = Lane(Lane::FIRST_NAMED);
/// let protect = Protect::default();
/// let reports = Router::new()
///     .route("/reports/{id}", get(|| async { "long" }))
///     .layer(protect.clone().lane(REPORTS));
/// let app: Router = Router::new()
///     .route("/", get(|| async { "short" }))
///     .layer(protect)
///     .merge(reports);
/// ```
#[derive(Clone, Debug)]
pub struct Protect {
    context: ContextLayer,
    deadline: DeadlineLayer,
    lane: LaneLayer,
    admission: AdmissionLayer,
}

/// [`Protect::new`].
#[must_use]
pub fn protect(admission: Admission) -> Protect {
    Protect::new(admission)
}

impl Default for Protect {
    fn default() -> Self {
        let shards = std::thread::available_parallelism().map_or(1, usize::from);
        let settings = GateSettings {
            shards,
            ..GateSettings::default()
        };
        Self::new(Admission::new(settings, Clock::system()))
    }
}

impl Protect {
    /// In front of it all, this entrance.
    #[must_use]
    pub fn new(admission: Admission) -> Self {
        let clock = admission.clock();
        Self {
            context: ContextLayer::edge().clock(clock.clone()),
            deadline: DeadlineLayer::default().clock(clock.clone()),
            lane: LaneLayer::default(),
            admission: AdmissionLayer::new(admission),
        }
    }

    /// Whether callers are believed; by default they are not.
    #[must_use]
    pub fn trust(mut self, trust: Trust) -> Self {
        self.context = self.context.trust(trust);
        self
    }

    /// What a call is that does not say how much it matters; `critical` by default.
    #[must_use]
    pub fn criticality(mut self, criticality: Criticality) -> Self {
        self.context = self.context.criticality(criticality);
        self
    }

    /// The time limit of a call that states none; by default it has none.
    #[must_use]
    pub fn default_timeout(mut self, timeout: Duration) -> Self {
        self.deadline = self.deadline.default_timeout(timeout);
        self
    }

    /// The longest that anyone waits here, whatever the caller says; no limit by default.
    #[must_use]
    pub fn max_timeout(mut self, timeout: Duration) -> Self {
        self.context = self.context.max_timeout(timeout);
        self
    }

    /// Turns tenants' names into numbers; the same on every replica.
    #[must_use]
    pub fn tenant_seed(mut self, seed: u64) -> Self {
        self.context = self.context.tenant_seed(seed);
        self
    }

    /// Only counts whose deadline passes, and ends nobody; admission's shadow mode is
    /// [`GateSettings::shadow`].
    #[must_use]
    pub fn shadow_deadlines(mut self) -> Self {
        self.deadline = self.deadline.shadow();
        self
    }

    /// Everything below is of this lane.
    #[must_use]
    pub fn lane(mut self, lane: Lane) -> Self {
        self.lane = LaneLayer::fixed(lane);
        self
    }

    /// Asks for each request which lane it is of; `None` leaves it to the gate.
    #[must_use]
    pub fn lane_by(
        mut self,
        choose: impl Fn(&Head<'_>) -> Option<Lane> + Send + Sync + 'static,
    ) -> Self {
        self.lane = LaneLayer::by(choose);
        self
    }

    /// The entrance, for its snapshot and for [`Admission::set_cpu`].
    #[must_use]
    pub fn admission(&self) -> &Admission {
        self.admission.admission()
    }

    /// How many calls ran out of time so far.
    #[must_use]
    pub fn deadlines(&self) -> DeadlineTotals {
        self.deadline.totals()
    }
}

impl<S> Layer<S> for Protect {
    type Service = Protected<S>;

    fn layer(&self, inner: S) -> Self::Service {
        let admitted = self.lane.layer(self.admission.layer(inner));
        self.context.layer(self.deadline.layer(admitted))
    }
}
