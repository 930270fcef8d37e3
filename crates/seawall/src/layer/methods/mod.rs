//! Finds the method of a request, once, and hands its settings and counters to whoever needs them.
//!
//! A call of a service has a name, `shop.v1.Orders/Place`, on either transport: gRPC has it for a
//! path, HTTP finds it by verb and template, with the matcher by which the service's routes are found,
//! so that both say the same. By that name everything else goes: settings, metrics, spans, the access log, the route
//! that admission learns latencies of. What is of no method known is one more, [`OTHER`], so that a
//! scan for holes makes one series of metrics and not one a path.
//!
//! Settings are resolved when they are read, not when they are used: each method has one flat
//! [`Rules`] and a request copies a few words of it. All rules are swapped at once; a request goes by
//! those that it began under.

mod rules;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasherDefault, Hasher};
use std::ops::Deref;
use std::sync::Arc;

use http::{Method as Verb, Request};
use parking_lot::Mutex;
use seawall_sync::Snapshot;

pub(super) use rules::{Plan, Rules};

use super::metrics::Counters;
use super::settings::{SettingErrors, Settings};
use crate::admission::{Shape, mix};
use crate::api::{Method, Paths, Streaming};
use crate::context::Wire;

/// The name of calls that are of no method known.
pub const OTHER: &str = "other";

/// Known without being told: health checks and reflection, which come with every gRPC server.
const BUILT_IN: [Method; 4] = [
    Method::new("grpc.health.v1.Health/Check", &[], Streaming::NONE, true),
    Method::new("grpc.health.v1.Health/Watch", &[], SERVER, true),
    Method::new(
        "grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        &[],
        BOTH,
        true,
    ),
    Method::new(
        "grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
        &[],
        BOTH,
        true,
    ),
];
const SERVER: Streaming = Streaming {
    client: false,
    server: true,
};
const BOTH: Streaming = Streaming {
    client: true,
    server: true,
};

/// The methods of a program's services, with their settings and counters.
///
/// Costs a request one hash and one comparison by gRPC, a walk down a tree of templates by HTTP.
///
/// ```
/// use seawall::api::{Method, Streaming};
/// use seawall::layer::Methods;
///
/// const ECHO: Method =
///     Method::new("echo.v1.Echo/Say", &[("GET", "/v1/echo/{text}")], Streaming::NONE, true);
/// let methods = Methods::new(&[ECHO])?;
/// let request = http::Request::get("/v1/echo/hello").body(())?;
/// assert_eq!(methods.name_of(&request), "echo.v1.Echo/Say");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Methods {
    /// The last one is [`OTHER`].
    known: Box<[Known]>,
    grpc: HashMap<&'static str, u16, BuildHasherDefault<Fold>>,
    http: Paths<u16>,
    plan: Snapshot<Plan>,
    /// The lanes' names by number; a number keeps its name.
    lanes: Mutex<Vec<String>>,
}

/// A method, and what is counted of it.
pub(super) struct Known {
    pub(super) method: Method,
    /// The route that admission learns by; `None` where there is but the path.
    pub(super) shape: Option<Shape>,
    pub(super) counters: Counters,
}

/// Why there cannot be such methods.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MethodsError {
    /// Two methods have one name.
    #[error("two methods are called `{0}`: a service may be served once")]
    Name(&'static str),
    /// A template that is none, or that another method has too.
    #[error("`{method}` cannot be called by {verb} {template}: {problem}")]
    Route {
        /// The second of them.
        method: &'static str,
        /// Its verb.
        verb: &'static str,
        /// Its template.
        template: &'static str,
        /// What the matcher says.
        problem: String,
    },
    /// No verb of HTTP.
    #[error("`{method}`: `{verb}` is no verb of HTTP")]
    Verb {
        /// Whose.
        method: &'static str,
        /// What stands there.
        verb: &'static str,
    },
    /// More than can be numbered.
    #[error("more than {0} methods")]
    TooMany(usize),
}

impl Methods {
    /// These, gRPC's health checks and reflection, and [`OTHER`]; with default settings.
    ///
    /// # Errors
    /// Two that have one name, or answer the same requests.
    pub fn new(methods: &[Method]) -> Result<Self, MethodsError> {
        const MOST: usize = u16::MAX as usize - BUILT_IN.len() - 1;
        if methods.len() > MOST {
            return Err(MethodsError::TooMany(MOST));
        }
        let mut grpc = HashMap::default();
        let mut http = Paths::new();
        let mut known = Vec::with_capacity(methods.len() + BUILT_IN.len() + 1);
        let missing = |built_in: &&Method| methods.iter().all(|m| m.name != built_in.name);
        for method in methods.iter().chain(BUILT_IN.iter().filter(missing)) {
            let index = known.len() as u16;
            if grpc.insert(method.name, index).is_some() {
                return Err(MethodsError::Name(method.name));
            }
            for route in method.http {
                add_route(&mut http, method, *route, index)?;
            }
            known.push(Known::new(*method, Some(Shape::named(method.name))));
        }
        let other = Method::new(OTHER, &[], Streaming::NONE, false);
        known.push(Known::new(other, None));
        let known = known.into_boxed_slice();
        let lanes = rules::built_in_lanes();
        let settings = Settings::default();
        let plan = Plan::default_of(&known, &settings);
        Ok(Self {
            plan: Snapshot::new(plan),
            known,
            grpc,
            http,
            lanes: Mutex::new(lanes),
        })
    }

    /// The method's name, [`OTHER`] where there is none.
    #[must_use]
    pub fn name_of<B>(&self, request: &Request<B>) -> &'static str {
        self.known(self.find(request, Wire::of(request.headers())))
            .method
            .name
    }

    /// The methods that there are, without [`OTHER`].
    pub fn iter(&self) -> impl Iterator<Item = &Method> {
        self.known[..self.known.len() - 1]
            .iter()
            .map(|known| &known.method)
    }

    /// Takes these settings for all calls that begin from now on.
    ///
    /// # Errors
    /// Everything wrong with them; nothing has changed then.
    pub fn configure(&self, settings: &Settings) -> Result<(), SettingErrors> {
        settings.check()?;
        // Kept until the plan is swapped in, so that of two changes the later holds.
        let mut lanes = self.lanes.lock();
        let named = rules::lanes(&lanes, settings);
        let plan = Plan::of(&self.known, &named, settings)?;
        self.plan.store(plan);
        *lanes = named;
        Ok(())
    }

    /// The lanes' names by their numbers; empty where a number is free.
    #[must_use]
    pub fn lanes(&self) -> Vec<String> {
        self.lanes.lock().clone()
    }

    /// What serves the request goes by its path alone: whose settings hold must not hang on a content
    /// type, which is the caller's to choose.
    pub(super) fn find<B>(&self, request: &Request<B>, wire: Wire) -> u16 {
        let path = request.uri().path();
        let by_name = || self.grpc.get(path.get(1..)?).copied();
        let by_path = || self.find_http(request.method(), path);
        let found = match wire {
            Wire::Grpc => by_name().or_else(by_path),
            Wire::Http => by_path().or_else(by_name),
        };
        found.unwrap_or_else(|| self.other())
    }

    fn find_http(&self, verb: &Verb, path: &str) -> Option<u16> {
        let (index, _) = self.http.at(verb, path)?;
        Some(*index)
    }

    fn other(&self) -> u16 {
        (self.known.len() - 1) as u16
    }

    pub(super) fn known(&self, index: u16) -> &Known {
        let last = self.known.len() - 1;
        &self.known[usize::from(index).min(last)]
    }

    pub(super) fn all(&self) -> &[Known] {
        &self.known
    }

    pub(super) fn plan(&self) -> impl Deref<Target = Arc<Plan>> {
        self.plan.load()
    }
}

fn add_route(
    http: &mut Paths<u16>,
    method: &Method,
    (verb, template): (&'static str, &'static str),
    index: u16,
) -> Result<(), MethodsError> {
    let name = method.name;
    let parsed = Verb::from_bytes(verb.as_bytes());
    let parsed = parsed.map_err(|_| MethodsError::Verb { method: name, verb })?;
    let inserted = http.insert(parsed, template, index);
    inserted.map_err(|error| MethodsError::Route {
        method: name,
        verb,
        template,
        problem: error.to_string(),
    })
}

impl Known {
    fn new(method: Method, shape: Option<Shape>) -> Self {
        Self {
            method,
            shape,
            counters: Counters::default(),
        }
    }

    pub(super) fn streams(&self) -> bool {
        self.method.streaming != Streaming::NONE
    }
}

impl fmt::Debug for Methods {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.iter().map(|method| method.name))
            .finish()
    }
}

/// For clones of what is made once.
pub(super) type Shared = Arc<Methods>;

/// The fold that learned routes have. The names hashed into the table are our own, so nobody can
/// choose collisions.
#[derive(Default)]
struct Fold(u64);

impl Hasher for Fold {
    fn write(&mut self, bytes: &[u8]) {
        self.0 = mix(self.0, bytes);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
