//! Settings as requests go by them.

use std::time::Duration;

use super::Known;
use crate::Criticality;
use crate::admission::Lane;
use crate::config::{BUILT_IN_LANES, nearest};
use crate::layer::settings::{AuthMode, MethodSettings, SettingError, SettingErrors, Settings};
use crate::telemetry::Sampler;

/// How long a stream may go without a message, unless settings say otherwise.
const IDLE_TIMEOUT: Duration = Duration::from_secs(600);

/// All that requests go by; swapped whole.
#[derive(Debug)]
pub(in crate::layer) struct Plan {
    rules: Box<[Rules]>,
    #[cfg(feature = "jwt")]
    pub(in crate::layer) auth: Option<crate::layer::auth::Verifier>,
}

/// A method's settings.
#[derive(Clone, Debug)]
pub(in crate::layer) struct Rules {
    pub(in crate::layer) timeout: Option<Duration>,
    pub(in crate::layer) idle_timeout: Option<Duration>,
    pub(in crate::layer) criticality: Option<Criticality>,
    pub(in crate::layer) lane: Option<Lane>,
    #[cfg_attr(not(feature = "jwt"), allow(dead_code, reason = "of tokens alone"))]
    pub(in crate::layer) auth: AuthMode,
    pub(in crate::layer) max_body: Option<u64>,
    pub(in crate::layer) access_log: Sampler,
    pub(in crate::layer) trace: Sampler,
}

impl Plan {
    /// With nothing configured.
    pub(super) fn default_of(known: &[Known], settings: &Settings) -> Self {
        let of = |known: &Known| Rules::of(known, &MethodSettings::default(), &[], settings);
        Self {
            rules: known.iter().map(of).collect(),
            #[cfg(feature = "jwt")]
            auth: None,
        }
    }

    /// Of settings that have been [checked](Settings::check); `lanes`: names by number, as of
    /// [`lanes`].
    pub(super) fn of(
        known: &[Known],
        lanes: &[String],
        settings: &Settings,
    ) -> Result<Self, SettingErrors> {
        let mut wrong = Vec::new();
        for (name, method) in &settings.methods {
            check(&mut wrong, known, name, method);
        }
        #[cfg(feature = "jwt")]
        let auth = settings.auth.as_ref().and_then(|auth| {
            let verifier = crate::layer::auth::Verifier::new(auth);
            verifier.map_err(|errors| wrong.extend(errors.0)).ok()
        });
        if !wrong.is_empty() {
            return Err(SettingErrors(wrong));
        }
        let of = |known: &Known| {
            let merged = merged(settings, known.method.name);
            Rules::of(known, &merged, lanes, settings)
        };
        Ok(Self {
            rules: known.iter().map(of).collect(),
            #[cfg(feature = "jwt")]
            auth,
        })
    }

    pub(in crate::layer) fn rules(&self, index: u16) -> &Rules {
        &self.rules[usize::from(index).min(self.rules.len() - 1)]
    }
}

impl Rules {
    fn of(known: &Known, method: &MethodSettings, lanes: &[String], all: &Settings) -> Self {
        let streams = known.streams();
        let health = known.method.name.starts_with("grpc.health.");
        let lane = method.lane.as_ref();
        let idle_timeout = method.idle_timeout.unwrap_or(IDLE_TIMEOUT);
        // A probe that is shed or asked for a token ends a process that is well.
        let (auth, criticality) = if health {
            (AuthMode::None, Some(Criticality::CriticalPlus))
        } else {
            (AuthMode::Required, None)
        };
        Self {
            timeout: method.timeout.filter(|_| !streams),
            idle_timeout: (streams && !idle_timeout.is_zero()).then_some(idle_timeout),
            criticality: method.criticality.or(criticality),
            lane: lane.and_then(|lane| lane_of(lanes, lane)),
            auth: method.auth.filter(|_| !health).unwrap_or(auth),
            max_body: method.max_body,
            access_log: Sampler::share(method.access_log.unwrap_or(all.log.access)),
            trace: Sampler::share(method.trace.unwrap_or(all.trace.sample)),
        }
    }
}

/// What holds of `name`: `*`, then `service/*`, then the name itself, each field by itself.
fn merged(settings: &Settings, name: &str) -> MethodSettings {
    let service = name
        .rsplit_once('/')
        .map(|(service, _)| format!("{service}/*"));
    let keys = [Some("*"), service.as_deref(), Some(name)];
    let layers = keys
        .into_iter()
        .flatten()
        .filter_map(|key| settings.methods.get(key));
    layers.fold(MethodSettings::default(), |below, above| {
        let above = above.clone();
        MethodSettings {
            timeout: above.timeout.or(below.timeout),
            idle_timeout: above.idle_timeout.or(below.idle_timeout),
            criticality: above.criticality.or(below.criticality),
            lane: above.lane.or(below.lane),
            auth: above.auth.or(below.auth),
            max_body: above.max_body.or(below.max_body),
            access_log: above.access_log.or(below.access_log),
            trace: above.trace.or(below.trace),
        }
    })
}

fn check(wrong: &mut Vec<SettingError>, known: &[Known], name: &str, method: &MethodSettings) {
    let key = |field: &str| format!("methods.\"{name}\"{field}");
    let service = name.strip_suffix('*');
    let hits = |known: &&Known| match service {
        Some(service) => known.method.name.starts_with(service),
        None => known.method.name == name,
    };
    let pattern_is_whole =
        service.is_none_or(|service| service.is_empty() || service.ends_with('/'));
    let hit = known.iter().find(hits).filter(|_| pattern_is_whole);
    match hit {
        None => wrong.push(SettingError::new(key(""), unknown(known, name))),
        Some(hit) if service.is_none() && method.timeout.is_some() && hit.streams() => {
            let problem = "a stream has no time limit of its own: write `idle_timeout`";
            wrong.push(SettingError::new(key(".timeout"), problem));
        }
        Some(hit) if service.is_none() && method.idle_timeout.is_some() && !hit.streams() => {
            let problem = "no stream: write `timeout`";
            wrong.push(SettingError::new(key(".idle_timeout"), problem));
        }
        Some(_) => {}
    }
}

fn unknown(known: &[Known], name: &str) -> String {
    let names = known.iter().map(|known| known.method.name);
    let services: Vec<String> = names
        .clone()
        .filter_map(|name| Some(format!("{}/*", name.rsplit_once('/')?.0)))
        .collect();
    // By hand, as the names of services are longer than the general search cares for.
    let near = if name.ends_with('*') {
        near(name, services.iter().map(String::as_str))
    } else {
        near(name, names)
    };
    let near = near.map(|near| format!(": did you mean `{near}`?"));
    format!("there is no such method{}", near.unwrap_or_default())
}

/// The nearest name; of a name beyond 64 bytes the part behind its package is looked at.
fn near<'n>(name: &str, names: impl Iterator<Item = &'n str> + Clone) -> Option<&'n str> {
    nearest(name, names.clone()).or_else(|| {
        let short = short(name);
        let meant = nearest(short, names.clone().map(self::short))?;
        names.into_iter().find(|name| self::short(name) == meant)
    })
}

/// `Orders/Place` of `shop.v1.Orders/Place`.
fn short(name: &str) -> &str {
    let service = name.split('/').next().unwrap_or_default();
    let package = service.rfind('.').map_or(0, |at| at + 1);
    &name[package..]
}

fn lane_of(lanes: &[String], name: &str) -> Option<Lane> {
    let at = lanes.iter().position(|known| known == name)?;
    u8::try_from(at).ok().map(Lane)
}

pub(super) fn built_in_lanes() -> Vec<String> {
    BUILT_IN_LANES.map(str::to_owned).into()
}

/// The lanes' names by number: one that stays keeps its number, and with it what the gate knows.
pub(super) fn lanes(before: &[String], settings: &Settings) -> Vec<String> {
    let mut names = before.to_vec();
    for name in names.iter_mut().skip(BUILT_IN_LANES.len()) {
        if !settings.lanes.contains_key(name) {
            name.clear();
        }
    }
    for name in settings.lanes.keys() {
        if names.contains(name) {
            continue;
        }
        match names.iter_mut().find(|name| name.is_empty()) {
            Some(free) => free.clone_from(name),
            None => names.push(name.clone()),
        }
    }
    names
}
