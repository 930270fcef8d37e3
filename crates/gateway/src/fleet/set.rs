//! A fleet with the search for its hosts, as one configuration states them.

use std::sync::Arc;

use http::Uri;
use seawall::clock::Clock;
use seawall::config::{HealthConfig, Upstream};
use seawall::discovery::Source;

use super::{Control, Fleet, Follow};
use crate::tls::{Certificates, Connector};

/// What fleets are built on.
#[derive(Clone, Debug)]
pub(crate) struct Ground {
    pub(crate) control: Control,
    pub(crate) clock: Clock,
    pub(crate) cores: usize,
    pub(crate) certificates: Arc<Certificates>,
}

/// A fleet, and where its hosts come from. Clones share both.
#[derive(Clone, Debug)]
pub(crate) struct HostSet {
    pub(crate) fleet: Arc<Fleet>,
    _follow: Arc<Follow>,
    endpoints: Vec<String>,
    url: Uri,
    health: HealthConfig,
}

impl HostSet {
    /// The hosts that `endpoints` lead to; where there are none, the one of the upstream's URL.
    /// Where `before` is of the same kind, its hosts live on.
    pub(crate) fn new(
        ground: &Ground,
        upstream: &Upstream,
        tls: Option<&Connector>,
        endpoints: &[String],
        before: Option<&Self>,
    ) -> Self {
        let same = before.filter(|before| before.leads_to(upstream, endpoints));
        let (url, health) = (upstream.url.clone(), upstream.health.clone());
        if let Some(same) = same
            && same.endpoints == *endpoints
            && same.health == health
        {
            return same.clone();
        }
        let sources = sources(endpoints);
        let fleet = same.map_or_else(
            || {
                let now = ground.clock.now();
                Arc::new(Fleet::new(upstream, tls, sources.len(), ground.cores, now))
            },
            |same| same.fleet.clone(),
        );
        let follow = Follow::start(&ground.control, &ground.clock, &fleet, sources, &health);
        Self {
            fleet,
            _follow: Arc::new(follow),
            endpoints: endpoints.to_vec(),
            url,
            health,
        }
    }

    /// Whether hosts of this set can be hosts of that one.
    fn leads_to(&self, upstream: &Upstream, endpoints: &[String]) -> bool {
        match (self.endpoints.is_empty(), endpoints.is_empty()) {
            (false, false) => self.url.scheme() == upstream.url.scheme(),
            (true, true) => self.url == upstream.url,
            _ => false,
        }
    }

    /// How many sources its hosts come from.
    pub(crate) fn sources(&self) -> usize {
        sources(&self.endpoints).len()
    }
}

/// Addresses and names are one source, so that an address that two lead to is one host.
fn sources(endpoints: &[String]) -> Vec<Source> {
    let mut targets = Vec::new();
    let mut sources = Vec::new();
    // The checker has refused what is none.
    for source in endpoints.iter().filter_map(|text| text.parse().ok()) {
        match source {
            Source::Static(more) => targets.extend(more),
            other => sources.push(other),
        }
    }
    if !targets.is_empty() {
        sources.push(Source::Static(targets));
    }
    sources
}
