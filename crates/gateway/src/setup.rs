//! From the configuration to what runs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use seawall::admission::{Admission, GateChange, GateSettings, Lane, LaneSettings};
use seawall::config::{
    AdmissionConfig, Algorithm, BUILT_IN_LANES, Config, LaneConfig, Route, Upstream,
};
use seawall::telemetry::Sampler;
use seawall_policy::Tick;
use seawall_policy::limit::{
    Adaptive, AdaptiveSettings, Aimd, AimdSettings, Bbr, BbrSettings, Fixed, Gradient2,
    Gradient2Settings, Limit, Vegas, VegasSettings,
};

use crate::cache::Rules;
use crate::fleet::{Fleet, Ground, HostSet};
use crate::origin::Origin;
use crate::plan::Plan;
use crate::pool::Pool;
use crate::router::{PathRule, Router, Rule, Target};
use crate::server::StartError;
use crate::under_way::Marks;

/// What `config` amounts to, beside the plan that it replaces, if it does. Whatever keeps its name
/// goes on with what it holds, has learned and has counted; nothing of `before` is touched until
/// [`Plan::take_over`].
pub(crate) fn plan(
    config: &Config,
    before: Option<&Plan>,
    ground: &Ground,
) -> Result<Plan, StartError> {
    if config.upstreams.is_empty() {
        return Err(StartError::NoUpstream);
    }
    let lanes = Lanes::new(&config.lanes, before.map(|before| &before.lanes));
    let names: Vec<&String> = config.upstreams.keys().collect();
    let default = if names.len() == 1 {
        Some(0)
    } else {
        names.iter().position(|name| *name == "default")
    };
    let rules = config
        .routes
        .iter()
        .map(|route| rule(config, route, &names, default, &lanes));
    let otherwise = default.map(|origin| Target {
        origin,
        lane: None,
        criticality: config.context.criticality,
        timeout: config.context.timeout,
        retry_safe: false,
        shadow: false,
        cache: None,
        route: None,
    });
    let router = Router::new(rules.collect::<Result<_, _>>()?, otherwise);
    // What tasks have used of their exemption is not forgotten for nothing.
    let same_keys = before.filter(|before| before.config.under_way == config.under_way);
    let under_way = match same_keys {
        Some(before) => before.under_way.clone(),
        None => Marks::new(config)?.map(Arc::new),
    };
    let connector = |(name, upstream): (&String, &Upstream)| match before
        .and_then(|before| before.told(name))
    {
        Some((same, told)) if speaks_alike(told, upstream) => Ok(same.tls.clone()),
        _ => ground.certificates.connector(name, upstream),
    };
    let connectors: Vec<_> = config.upstreams.iter().map(connector).collect();
    let connectors = connectors.into_iter().collect::<Result<Vec<_>, _>>()?;
    // From here on nothing fails: searches for hosts begin.
    let upstreams = config.upstreams.iter().zip(connectors);
    let origins = upstreams.map(|((name, upstream), tls)| {
        let same = before.and_then(|before| before.told(name));
        let admission = match &same {
            Some((same, _)) => same.admission.clone(),
            None => {
                let settings = gate(&config.admission, &lanes, ground.cores);
                Admission::new(settings, ground.clock.clone())
            }
        };
        Arc::new(Origin::new(name, upstream, admission, tls, ground, same))
    });
    Ok(Plan {
        number: before.map_or(0, |before| before.number.wrapping_add(1)),
        since: ground.clock.now(),
        origins: origins.collect(),
        router,
        deadline_shadow: config.deadline.shadow,
        drain_timeout: config.drain_timeout,
        sampler: Sampler::new(&config.access_log),
        under_way,
        lanes,
        caches: config.routes.iter().any(|route| route.cache.is_some()),
        config: Arc::new(config.clone()),
    })
}

impl Plan {
    /// Puts what is shared with the plan `before` under this one's settings. Cannot fail. Returns the
    /// pools that no request comes to any more.
    pub(crate) fn take_over(&self, before: &Self, now: Tick) -> Vec<Arc<Pool>> {
        let (config, old) = (&self.config, &before.config);
        for (name, upstream) in &config.upstreams {
            let (Some(origin), Some(_)) = (self.origin(name), before.origin(name)) else {
                continue;
            };
            for (_, set) in origin.sets() {
                (set.fleet).configure(upstream, origin.tls.as_ref(), set.sources(), now);
            }
            if config.admission != old.admission || config.lanes != old.lanes {
                let limit = origin.admission.snapshot().limit;
                origin.admission.change(GateChange {
                    limit: limit_changed(&config.admission, &old.admission)
                        .then(|| self::limit(&config.admission, Some(limit))),
                    ..GateChange::from(gate(&config.admission, &self.lanes, 1))
                });
            }
        }
        let is_used = |old: &HostSet| {
            let mut sets = self.origins.iter().flat_map(|origin| origin.sets());
            sets.any(|(_, new)| Arc::ptr_eq(&new.fleet, &old.fleet))
        };
        let old = before.origins.iter().flat_map(|origin| origin.sets());
        let gone = old.filter(|(_, set)| !is_used(set));
        gone.flat_map(|(_, set)| set.fleet.retire()).collect()
    }
}

/// Whether a connection to one may be taken for one to the other, as far as TLS goes.
fn speaks_alike(a: &Upstream, b: &Upstream) -> bool {
    (&a.tls, &a.url, a.protocol) == (&b.tls, &b.url, b.protocol)
}

/// How long is waited for the first answers of discovery.
const FIRST_ANSWERS: Duration = Duration::from_secs(1);

impl Plan {
    /// Waits until the hosts of all fleets that `before` does not have are known, for a second at
    /// most: a plan that takes over without them fails calls that the one before would have served.
    /// Blocks the calling thread.
    pub(crate) fn await_hosts(&self, before: Option<&Self>) {
        let sets = |plan: &Self| -> Vec<Arc<Fleet>> {
            let sets = plan.origins.iter().flat_map(|origin| origin.sets());
            sets.map(|(_, set)| set.fleet.clone()).collect()
        };
        let known = before.map(sets).unwrap_or_default();
        let mut new = sets(self);
        new.retain(|fleet| !known.iter().any(|known| Arc::ptr_eq(known, fleet)));
        let until = Instant::now() + FIRST_ANSWERS;
        while new.iter().any(|fleet| fleet.len() == 0) && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Whether the limit that runs is another than the one that is wanted.
fn limit_changed(new: &AdmissionConfig, old: &AdmissionConfig) -> bool {
    let of = |config: &AdmissionConfig| {
        (
            config.algorithm,
            config.min_limit,
            config.max_limit,
            config.initial_limit,
        )
    };
    of(new) != of(old)
}

fn rule(
    config: &Config,
    route: &Route,
    upstreams: &[&String],
    default: Option<usize>,
    lanes: &Lanes,
) -> Result<Rule, StartError> {
    let origin = match &route.upstream {
        Some(name) => upstreams.iter().position(|known| *known == name),
        None => default,
    };
    let origin = origin
        .ok_or_else(|| StartError::UnknownUpstream(route.upstream.clone().unwrap_or_default()))?;
    let rules = |cache| Arc::new(Rules::new(cache, upstreams[origin]));
    let target = Target {
        origin,
        lane: route.lane.as_deref().and_then(|name| lanes.find(name)),
        criticality: route.criticality.unwrap_or(config.context.criticality),
        timeout: route.timeout.or(config.context.timeout),
        retry_safe: route.retry_safe,
        shadow: route.shadow,
        cache: route.cache.as_ref().map(rules),
        route: None,
    };
    let path = match (&route.path, &route.path_prefix) {
        (Some(path), _) => PathRule::Exact(path.clone()),
        (None, prefix) => PathRule::Below(prefix.clone().unwrap_or_default()),
    };
    Ok(Rule {
        label: label(route),
        host: route.host.clone(),
        path,
        methods: route.methods.clone(),
        target,
    })
}

/// A route's name; where it has none, what it matches: `POST shop.example/cart/*`.
fn label(route: &Route) -> String {
    if let Some(name) = &route.name {
        return name.clone();
    }
    let methods: Vec<_> = route.methods.iter().map(|method| method.as_str()).collect();
    let methods = methods.join("|") + if methods.is_empty() { "" } else { " " };
    let host = route.host.as_deref().unwrap_or_default();
    let path = match (&route.path, &route.path_prefix) {
        (Some(path), _) => path.clone(),
        (None, prefix) => {
            let prefix = prefix.as_deref().unwrap_or_default();
            format!("{}/*", prefix.trim_end_matches('/'))
        }
    };
    format!("{methods}{host}{path}")
}

/// The lanes by name: those that exist by themselves, then the configured ones. A lane keeps its
/// number through a reload, and with it what its gates hold and know of it.
#[derive(Clone, Debug)]
pub(crate) struct Lanes {
    /// Empty where a number is free.
    names: Vec<String>,
    settings: [LaneSettings; 16],
}

impl Lanes {
    fn new(configured: &BTreeMap<String, LaneConfig>, before: Option<&Self>) -> Self {
        let mut names: Vec<String> = match before {
            Some(before) => before.names.clone(),
            None => BUILT_IN_LANES.map(str::to_owned).into(),
        };
        for name in names.iter_mut().skip(BUILT_IN_LANES.len()) {
            if !configured.contains_key(name) {
                name.clear();
            }
        }
        for name in configured.keys() {
            if names.contains(name) {
                continue;
            }
            match names.iter_mut().find(|name| name.is_empty()) {
                Some(free) => free.clone_from(name),
                None => names.push(name.clone()),
            }
        }
        names.truncate(16);
        let mut settings = [LaneSettings::default(); 16];
        for (at, name) in names.iter().enumerate() {
            settings[at].share = configured.get(name).and_then(|lane| lane.share);
        }
        Self { names, settings }
    }

    fn find(&self, name: &str) -> Option<Lane> {
        self.names
            .iter()
            .position(|known| known == name)
            .map(|at| Lane(at as u8))
    }

    /// A lane's name in metrics and explanations, where it has one.
    pub(crate) fn name(&self, lane: Lane) -> Option<&str> {
        let name = self.names.get(usize::from(lane.0))?;
        (!name.is_empty()).then_some(name)
    }
}

fn gate(config: &AdmissionConfig, lanes: &Lanes, cores: usize) -> GateSettings {
    GateSettings {
        limit: limit(config, None),
        max_wait: config.max_wait,
        max_queued: config.max_queued as usize,
        max_streams: config.max_streams,
        lanes: lanes.settings,
        shadow: config.shadow,
        shards: cores,
    }
}

/// `known` is what another algorithm has found before: a better start than any default.
fn limit(config: &AdmissionConfig, known: Option<u32>) -> Box<dyn Limit> {
    let (min, max) = (config.min_limit, config.max_limit);
    let first = |default: u32| {
        let known = known.filter(|_| config.algorithm != Algorithm::Fixed);
        known
            .or(config.initial_limit)
            .unwrap_or(default)
            .clamp(min, max.max(min))
    };
    match config.algorithm {
        Algorithm::Fixed => Box::new(Fixed::new(first(32))),
        Algorithm::Adaptive => {
            let start = first(AdaptiveSettings::default().start);
            Box::new(Adaptive::new(AdaptiveSettings { min, max, start }))
        }
        Algorithm::Aimd => {
            let settings = AimdSettings::default();
            Box::new(Aimd::new(AimdSettings {
                initial: first(settings.initial),
                min,
                max,
                ..settings
            }))
        }
        Algorithm::Vegas => {
            let settings = VegasSettings::default();
            Box::new(Vegas::new(VegasSettings {
                initial: first(settings.initial),
                min,
                max,
                ..settings
            }))
        }
        Algorithm::Gradient2 => {
            let settings = Gradient2Settings::default();
            Box::new(Gradient2::new(Gradient2Settings {
                initial: first(settings.initial),
                min,
                max,
                ..settings
            }))
        }
        Algorithm::Bbr => {
            let settings = BbrSettings::default();
            Box::new(Bbr::new(BbrSettings {
                initial: first(settings.initial),
                min,
                max,
                ..settings
            }))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_keeps_its_number_through_a_reload() {
        let named = |names: &[&str]| {
            let lanes = names
                .iter()
                .map(|name| (name.to_string(), LaneConfig::default()));
            lanes.collect::<BTreeMap<_, _>>()
        };
        let first = Lanes::new(&named(&["b", "d"]), None);
        let second = Lanes::new(&named(&["a", "d"]), Some(&first));
        assert_eq!(second.find("d"), first.find("d"));
        assert_eq!(
            second.find("a"),
            first.find("b"),
            "what is free is used again"
        );
        assert_eq!(second.find("b"), None);
        let none = Lanes::new(&named(&[]), Some(&second));
        assert_eq!(none.name(Lane(4)), None);
        assert_eq!(none.name(Lane(1)), Some(BUILT_IN_LANES[1]));
    }

    #[test]
    fn a_route_without_a_name_is_called_what_it_matches() {
        let label_of = |lines: &str| {
            let text =
                format!("[upstreams.default]\nurl = 'http://127.0.0.1:1'\n[[routes]]\n{lines}");
            Config::parse(&text).map(|config| label(&config.routes[0]))
        };
        for (lines, expected) in [
            ("", "/*"),
            ("path = '/a'", "/a"),
            ("path_prefix = '/a/'", "/a/*"),
            (
                "host = 'shop.example'\npath = '/a'\nmethods = ['GET', 'PUT']",
                "GET|PUT shop.example/a",
            ),
            ("name = 'cart'\npath = '/a'", "cart"),
        ] {
            assert_eq!(label_of(lines).as_deref(), Ok(expected));
        }
    }
}
