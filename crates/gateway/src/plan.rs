//! What a configuration amounts to while the gateway runs. A reload replaces it whole: a request
//! keeps the plan that it began under, so none is ever served by halves of two.
//!
//! Every core has a copy of its own, so that the count of who holds it is not fought over by all.
//! What must outlive a plan (gates, pools, what was counted) is shared by all copies and handed on
//! to the next plan for whatever keeps its name.

use std::sync::Arc;
use std::time::Duration;

use seawall::admission::{Admission, Key};
use seawall::config::{Config, Upstream};
use seawall::telemetry::Sampler;
use seawall_policy::Tick;

use crate::origin::Origin;
use crate::router::Router;
use crate::setup::Lanes;
use crate::under_way::Marks;

/// One configuration at work.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Counted up by each reload, from 0.
    pub(crate) number: u32,
    /// When it was taken over.
    pub(crate) since: Tick,
    pub(crate) origins: Vec<Arc<Origin>>,
    pub(crate) router: Router,
    /// Count calls whose time is up, but let them pass.
    pub(crate) deadline_shadow: bool,
    pub(crate) drain_timeout: Duration,
    /// Which requests are logged.
    pub(crate) sampler: Sampler,
    /// `None` where no key is configured.
    pub(crate) under_way: Option<Arc<Marks>>,
    pub(crate) lanes: Lanes,
    /// Some route keeps responses.
    pub(crate) caches: bool,
    pub(crate) config: Arc<Config>,
}

impl Plan {
    /// Another copy, for another core.
    pub(crate) fn copy(&self) -> Self {
        Self {
            number: self.number,
            since: self.since,
            origins: self
                .origins
                .iter()
                .map(|origin| Arc::new(Origin::clone(origin)))
                .collect(),
            router: self.router.clone(),
            deadline_shadow: self.deadline_shadow,
            drain_timeout: self.drain_timeout,
            sampler: self.sampler,
            under_way: self.under_way.clone(),
            lanes: self.lanes.clone(),
            caches: self.caches,
            config: self.config.clone(),
        }
    }

    pub(crate) fn origin(&self, name: &str) -> Option<&Arc<Origin>> {
        self.origins.iter().find(|origin| origin.name == name)
    }

    /// An upstream, and what it was told.
    pub(crate) fn told(&self, name: &str) -> Option<(&Origin, &Upstream)> {
        Some((self.origin(name)?, self.config.upstreams.get(name)?))
    }

    /// What is remembered of it when it is replaced.
    pub(crate) fn names(&self) -> Names {
        let upstream = |origin: &Arc<Origin>| (origin.name.clone(), origin.admission.clone());
        Names {
            number: self.number,
            upstreams: self.origins.iter().map(upstream).collect(),
            labels: self.router.labels().to_vec(),
        }
    }
}

/// What a plan called things: rejections are remembered by number, and told by name.
#[derive(Debug)]
pub(crate) struct Names {
    pub(crate) number: u32,
    upstreams: Vec<(String, Admission)>,
    labels: Vec<Arc<str>>,
}

impl Names {
    pub(crate) fn upstream(&self, at: u16) -> &str {
        let known = self.upstreams.get(usize::from(at));
        known.map_or("", |(name, _)| name)
    }

    /// The configured route; where there is none, what was learned of it.
    pub(crate) fn route(&self, upstream: u16, route: Option<u16>, key: Key) -> String {
        if let Some(label) = route.and_then(|at| self.labels.get(usize::from(at))) {
            return label.to_string();
        }
        let known = self.upstreams.get(usize::from(upstream));
        known.map_or_else(String::new, |(_, admission)| admission.keys().name(key))
    }
}
