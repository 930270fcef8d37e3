//! From the configuration to what runs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use seawall::admission::{Admission, GateSettings, Lane, LaneSettings};
use seawall::clock::Clock;
use seawall::config::{AdmissionConfig, Algorithm, BUILT_IN_LANES, Config, LaneConfig, Route};
use seawall::telemetry::Log;
use seawall_policy::limit::{
    Adaptive, AdaptiveSettings, Aimd, AimdSettings, Bbr, BbrSettings, Fixed, Gradient2,
    Gradient2Settings, Limit, Vegas, VegasSettings,
};

use crate::access;
use crate::core::{Book, Shared};
use crate::notice::Notice;
use crate::origin::Origin;
use crate::router::{PathRule, Router, Rule, Target};
use crate::server::StartError;
use crate::signals::Signals;
use crate::tls::Certificates;
use crate::under_way::Marks;

/// Everything that the cores share.
pub(crate) fn shared(
    config: &Config,
    cores: usize,
    clock: Clock,
    log: Option<Log>,
) -> Result<Arc<Shared>, StartError> {
    if config.upstreams.is_empty() {
        return Err(StartError::NoUpstream);
    }
    let lanes = Lanes::new(&config.lanes);
    let names: Vec<&String> = config.upstreams.keys().collect();
    let certificates = Certificates::default();
    let origins = config.upstreams.iter().map(|(name, upstream)| {
        let admission = Admission::new(gate(&config.admission, &lanes, cores), clock.clone());
        let tls = certificates.connector(name, upstream)?;
        Ok::<_, StartError>(Origin::new(name, upstream, admission, cores, tls))
    });
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
        shadow: false,
        route: None,
    });
    Ok(Arc::new(Shared {
        clock: clock.clone(),
        origins: origins.collect::<Result<_, _>>()?,
        router: Router::new(rules.collect::<Result<_, _>>()?, otherwise),
        deadline_shadow: config.deadline.shadow,
        drain_timeout: config.drain_timeout,
        draining: AtomicBool::new(false),
        access: access::Writer::new(&config.access_log, log),
        signals: Signals::start(cores)?,
        shortage: Notice::default(),
        under_way: Marks::new(config)?,
        books: (0..cores).map(|_| Book::default()).collect(),
        certificates,
    }))
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
    let target = Target {
        origin: origin.ok_or_else(|| {
            StartError::UnknownUpstream(route.upstream.clone().unwrap_or_default())
        })?,
        lane: route.lane.as_deref().and_then(|name| lanes.find(name)),
        criticality: route.criticality.unwrap_or(config.context.criticality),
        timeout: route.timeout.or(config.context.timeout),
        shadow: route.shadow,
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

/// The lanes by name: those that exist by themselves, then the configured ones.
pub(crate) struct Lanes {
    names: Vec<String>,
    settings: [LaneSettings; 16],
}

impl Lanes {
    pub(crate) fn new(configured: &BTreeMap<String, LaneConfig>) -> Self {
        let mut names: Vec<String> = BUILT_IN_LANES.map(str::to_owned).into();
        names.extend(
            configured
                .keys()
                .filter(|name| !BUILT_IN_LANES.contains(&name.as_str()))
                .cloned(),
        );
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

    /// A lane's name in metrics and explanations.
    pub(crate) fn names(self) -> Vec<String> {
        self.names
    }
}

fn gate(config: &AdmissionConfig, lanes: &Lanes, cores: usize) -> GateSettings {
    GateSettings {
        limit: limit(config),
        max_wait: config.max_wait,
        max_queued: config.max_queued as usize,
        max_streams: config.max_streams,
        lanes: lanes.settings,
        shadow: config.shadow,
        shards: cores,
    }
}

fn limit(config: &AdmissionConfig) -> Box<dyn Limit> {
    let (min, max) = (config.min_limit, config.max_limit);
    let first = |default: u32| {
        config
            .initial_limit
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
