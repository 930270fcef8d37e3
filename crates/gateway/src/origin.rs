//! One upstream: its hosts, what stands before them, and who may go there.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use http::uri::Scheme;
use seawall::admission::Admission;
use seawall::config::{HashOn, Protocol, Upstream};
use seawall::signals::PeakGauge;
use seawall_policy::balance::Algorithm;
use seawall_policy::fallback::{Gutter, GutterSettings};
use seawall_policy::retry::{Budget, BudgetSettings, RetrySettings};

use crate::breakers::Breakers;
use crate::fallback::Fallback;
use crate::fleet::{Ground, HostSet, zone};
use crate::notice::Notices;
use crate::tls::Connector;
use crate::tries::Tries;
use crate::writers::Writers;

/// An upstream and everything that is kept for it. Clones share what is kept; the settings are those
/// of one configuration.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    pub(crate) name: String,
    protocol: Protocol,
    /// From the request to the response's headers.
    pub(crate) response_timeout: Duration,
    /// The longest pause in a response's body.
    pub(crate) body_timeout: Duration,
    /// A response of unknown length that lasts longer is a stream.
    pub(crate) stream_after: Duration,
    /// `host:port`, for requests that come without a host.
    pub(crate) authority: HeaderValue,
    /// `None`: in the clear.
    pub(crate) tls: Option<Connector>,
    pub(crate) hosts: HostSet,
    pub(crate) replicas: Option<Replicas>,
    pub(crate) reserve: Option<Reserve>,
    pub(crate) breakers: Option<Arc<Breakers>>,
    /// The breaker decides and counts, and enforces nothing.
    pub(crate) breaker_shadow: bool,
    pub(crate) budget: Arc<Budget>,
    pub(crate) retry: RetrySettings,
    /// What a host is chosen by, where it is by a hash.
    pub(crate) hash_on: Option<HashOn>,
    /// Hosts are chosen by what they say of themselves.
    pub(crate) by_load: bool,
    /// Where we are.
    pub(crate) zone: u16,
    pub(crate) fallback: Option<Fallback>,
    pub(crate) tries: Arc<Tries>,
    pub(crate) admission: Admission,
    /// How long calls wait in the queue, whatever comes of it.
    pub(crate) queueing: Arc<PeakGauge>,
    pub(crate) notices: Arc<Notices>,
}

/// Hosts that answer reads.
#[derive(Clone, Debug)]
pub(crate) struct Replicas {
    pub(crate) hosts: HostSet,
    pub(crate) writers: Arc<Writers>,
    /// How long a writer reads where it wrote.
    pub(crate) remembered: Duration,
}

/// Hosts that take over while the others fail.
#[derive(Clone, Debug)]
pub(crate) struct Reserve {
    pub(crate) hosts: HostSet,
    pub(crate) gutter: Arc<Gutter>,
}

impl Origin {
    /// `before`: the one of this name that it replaces; what that holds, has learned and has
    /// counted goes on.
    pub(crate) fn new(
        name: &str,
        upstream: &Upstream,
        admission: Admission,
        tls: Option<Connector>,
        ground: &Ground,
        before: Option<(&Self, &Upstream)>,
    ) -> Self {
        let authority = upstream
            .url
            .authority()
            .and_then(|authority| HeaderValue::from_str(authority.as_str()).ok());
        let (old, told) = before.unzip();
        Self {
            name: name.to_owned(),
            protocol: upstream.protocol,
            response_timeout: upstream.response_timeout,
            body_timeout: upstream.body_timeout,
            stream_after: upstream.stream_after,
            authority: authority.unwrap_or_else(|| HeaderValue::from_static("localhost")),
            hosts: HostSet::new(
                ground,
                upstream,
                tls.as_ref(),
                &upstream.endpoints,
                old.map(|old| &old.hosts),
            ),
            replicas: replicas(upstream, tls.as_ref(), ground, old),
            reserve: reserve(upstream, tls.as_ref(), ground, old, told),
            tls,
            breakers: match (old, told) {
                (Some(old), Some(told)) if same_breakers(told, upstream) => old.breakers.clone(),
                _ => Breakers::new(&upstream.breaker, ground).map(Arc::new),
            },
            breaker_shadow: upstream.breaker.shadow,
            budget: match (old, told) {
                (Some(old), Some(told)) if told.retry.ratio == upstream.retry.ratio => {
                    old.budget.clone()
                }
                _ => Arc::new(Budget::new(&BudgetSettings {
                    ratio: upstream.retry.ratio,
                    shards: ground.cores,
                    ..BudgetSettings::default()
                })),
            },
            retry: RetrySettings {
                attempts: upstream.retry.attempts,
                per_try: upstream.retry.per_try_timeout,
                ..RetrySettings::default()
            },
            hash_on: (upstream.balance.algorithm == Algorithm::ConsistentHash)
                .then(|| upstream.balance.hash_on.clone()),
            by_load: upstream.balance.algorithm == Algorithm::Prequal,
            zone: zone(upstream.balance.zone.as_deref()),
            fallback: Fallback::new(&upstream.fallback),
            tries: old.map_or_else(Arc::default, |old| old.tries.clone()),
            admission,
            queueing: old.map_or_else(
                || Arc::new(crate::signals::delay()),
                |old| old.queueing.clone(),
            ),
            notices: old.map_or_else(Arc::default, |old| old.notices.clone()),
        }
    }

    /// All of its hosts: its own, replicas, reserve.
    pub(crate) fn sets(&self) -> impl Iterator<Item = (&'static str, &HostSet)> {
        let replicas = self.replicas.iter().map(|r| ("replicas", &r.hosts));
        let reserve = self.reserve.iter().map(|r| ("gutter", &r.hosts));
        std::iter::once(("main", &self.hosts))
            .chain(replicas)
            .chain(reserve)
    }

    /// Which protocol a request goes on in; `None` if that is still to be learnt.
    pub(crate) fn speaks_http2(&self, grpc: bool) -> Option<bool> {
        match (self.protocol, &self.tls) {
            (Protocol::Auto, Some(tls)) if !grpc => tls.known.offers_http2(),
            (Protocol::Auto, _) => Some(grpc),
            (Protocol::H1, _) => Some(false),
            (Protocol::H2, _) => Some(true),
        }
    }

    pub(crate) fn scheme(&self) -> Scheme {
        match self.tls {
            Some(_) => Scheme::HTTPS,
            None => Scheme::HTTP,
        }
    }
}

fn same_breakers(told: &Upstream, upstream: &Upstream) -> bool {
    let (old, new) = (&told.breaker, &upstream.breaker);
    (old.kind, old.per) == (new.kind, new.per)
}

fn replicas(
    upstream: &Upstream,
    tls: Option<&Connector>,
    ground: &Ground,
    old: Option<&Origin>,
) -> Option<Replicas> {
    let config = &upstream.replicas;
    if config.endpoints.is_empty() {
        return None;
    }
    let old = old.and_then(|old| old.replicas.as_ref());
    let before = old.map(|old| &old.hosts);
    Some(Replicas {
        hosts: HostSet::new(ground, upstream, tls, &config.endpoints, before),
        writers: old.map_or_else(Arc::default, |old| old.writers.clone()),
        remembered: config.read_your_writes,
    })
}

fn reserve(
    upstream: &Upstream,
    tls: Option<&Connector>,
    ground: &Ground,
    old: Option<&Origin>,
    told: Option<&Upstream>,
) -> Option<Reserve> {
    let config = &upstream.gutter;
    if config.endpoints.is_empty() {
        return None;
    }
    let old = old.and_then(|old| old.reserve.as_ref());
    let before = old.map(|old| &old.hosts);
    let same = told.is_some_and(|told| told.gutter.limit == config.limit);
    let gutter = old.filter(|_| same).map(|old| old.gutter.clone());
    Some(Reserve {
        hosts: HostSet::new(ground, upstream, tls, &config.endpoints, before),
        gutter: gutter.unwrap_or_else(|| {
            Arc::new(Gutter::new(&GutterSettings {
                limit: config.limit,
                shards: ground.cores,
                ..GutterSettings::default()
            }))
        }),
    })
}
