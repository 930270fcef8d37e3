//! An upstream's breakers: one for all of it, or one for each route or tenant.

use std::sync::Arc;

use seawall::config::{BreakerConfig, BreakerKind, BreakerPer};
use seawall_policy::breaker::{
    Breaker, Counts, Keyed, State, Throttle, ThrottleSettings, Window, WindowSettings,
};
use seawall_policy::{Scope, Tick};

use crate::fleet::Ground;

/// Tenants beyond so many share breakers by chance.
const TENANTS: usize = 256;
/// As many routes as are told apart elsewhere.
const ROUTES: usize = 256;

/// The breakers of one upstream.
#[derive(Debug)]
pub(crate) struct Breakers {
    per: BreakerPer,
    keyed: Keyed<Arc<dyn Breaker>>,
}

impl Breakers {
    /// `None` where there is to be none.
    pub(crate) fn new(config: &BreakerConfig, ground: &Ground) -> Option<Self> {
        let (now, shards) = (ground.clock.now(), ground.cores);
        let (slots, scope) = match config.per {
            BreakerPer::Upstream => (1, Scope::Route),
            BreakerPer::Route => (ROUTES, Scope::Route),
            BreakerPer::Tenant => (TENANTS, Scope::Tenant),
        };
        let throttle = || -> Arc<dyn Breaker> {
            let settings = ThrottleSettings {
                shards,
                scope,
                ..ThrottleSettings::default()
            };
            Arc::new(Throttle::new(settings, now))
        };
        let window = || -> Arc<dyn Breaker> {
            let settings = WindowSettings {
                shards,
                scope,
                ..WindowSettings::default()
            };
            Arc::new(Window::new(settings, now))
        };
        let keyed = match config.kind {
            BreakerKind::Off => return None,
            BreakerKind::Throttle => Keyed::new(slots, throttle),
            BreakerKind::Window => Keyed::new(slots, window),
        };
        let per = config.per;
        Some(Self { per, keyed })
    }

    /// The breaker of a call by its route, a configured one or the key of what was learned, and its
    /// tenant.
    pub(crate) fn get(&self, route: u64, tenant: u64) -> &Arc<dyn Breaker> {
        self.keyed.get(match self.per {
            BreakerPer::Upstream => 0,
            BreakerPer::Route => route,
            BreakerPer::Tenant => tenant,
        })
    }

    /// The worst state of any.
    pub(crate) fn state(&self, now: Tick) -> State {
        let states = self.keyed.iter().map(|(_, breaker)| breaker.state(now));
        states
            .max_by_key(|state| match state {
                State::Closed => 0,
                State::HalfOpen => 1,
                State::Open => 2,
            })
            .unwrap_or_default()
    }

    /// What all have counted.
    pub(crate) fn counts(&self) -> Counts {
        let counts = self.keyed.iter().map(|(_, breaker)| breaker.counts());
        counts.fold(Counts::default(), |mut sum, counts| {
            sum.success += counts.success;
            sum.failure += counts.failure;
            sum.slow += counts.slow;
            sum.rejected += counts.rejected;
            sum.probes += counts.probes;
            sum
        })
    }
}
