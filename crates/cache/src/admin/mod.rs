//! Seeing the caches of a program: metrics, and `GET /cache` for `seawall cache top`.
//!
//! A cache belongs to the code that reads by it, not to a registry, and what looks at it must not
//! keep it alive: caches are known here by weak references, and what is gone is told of no more.
//! Figures are read when they are asked for; nothing here is on a path of a read.

mod metrics;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use axum::Router;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::{StatusCode, header};

use parking_lot::Mutex;
use seawall::app::Setup;

use crate::report::{CacheReport, FilterReport, GuardReport, Report};
use crate::{Cache, Filter, Guard, Key};

/// The caches of a program that are to be seen. Cheap to clone; clones are the same.
///
/// ```
/// use seawall_cache::{Cache, Caches};
///
/// let users = Cache::<u64, String>::builder("users").build();
/// let caches = Caches::default();
/// caches.add(&users);
/// assert_eq!(caches.report().caches[0].name, "users");
/// ```
///
/// In a program of [`seawall::app`], `caches.show(&app)` puts them on the admin listener.
#[derive(Clone, Default)]
pub struct Caches {
    known: Arc<Mutex<Known>>,
}

/// What can be looked at while it is there.
pub(crate) trait Seen: Send + Sync + 'static {
    /// What it tells; `None`: it is gone.
    fn report(&self) -> Option<CacheReport>;
}

#[derive(Default)]
struct Known {
    caches: BTreeMap<String, Box<dyn Seen>>,
    filters: BTreeMap<String, Filter>,
    guards: BTreeMap<String, Guard>,
}

impl Caches {
    /// Shows a cache, its filter and its guard: the filter by the cache's name, and the guard by that
    /// of the first cache which has it, unless [`guard`](Self::guard) has named it. Of two caches of
    /// one name the later is shown. Caches that share their counts show the same ones.
    pub fn add<K: Key, V: Send + Sync + 'static>(&self, cache: &Cache<K, V>) {
        let name = cache.name().to_owned();
        if let Some(guard) = cache.guard() {
            self.guard(&name, guard);
        }
        if let Some(filter) = cache.filter() {
            self.filter(&name, filter);
        }
        let seen = Box::new(cache.seen());
        self.known.lock().caches.insert(name, seen);
    }

    /// Shows a guard by a name of its own: that of its database. One that has a name keeps it, so
    /// this comes before [`add`](Self::add).
    pub fn guard(&self, name: &str, guard: &Guard) {
        let guards = &mut self.known.lock().guards;
        if guards.values().all(|known| !known.is(guard)) {
            guards.insert(name.to_owned(), guard.clone());
        }
    }

    /// Shows a filter that is no cache's.
    pub fn filter(&self, name: &str, filter: &Filter) {
        let mut known = self.known.lock();
        known.filters.insert(name.to_owned(), filter.clone());
    }

    /// Puts them on a program's admin listener: `GET /cache`, and their metrics at `/metrics`. What is
    /// added later is shown, too.
    ///
    /// # Panics
    /// The program has a route `/cache` there: one for all caches is enough.
    pub fn show<C>(&self, app: &Setup<C>) {
        app.metrics(|all| all.register_collector(Box::new(self.clone())));
        app.admin(self.router());
    }

    /// `GET /cache`, for a listener that others cannot reach: it shows hot keys.
    pub fn router(&self) -> Router {
        let caches = self.clone();
        Router::new().route("/cache", get(async move || caches.answer()))
    }

    fn answer(&self) -> Response {
        match serde_json::to_string(&self.report()) {
            Ok(json) => ([(header::CONTENT_TYPE, "application/json")], json + "\n").into_response(),
            Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
        }
    }

    /// What they tell at the moment.
    #[must_use]
    pub fn report(&self) -> Report {
        let mut known = self.known.lock();
        let mut caches = Vec::new();
        known.caches.retain(|_, cache| {
            let report = cache.report();
            let there = report.is_some();
            caches.extend(report);
            there
        });
        Report {
            caches,
            filters: known.filters.iter().map(filter).collect(),
            guards: known.guards.iter().map(guard).collect(),
        }
    }
}

fn filter((name, filter): (&String, &Filter)) -> FilterReport {
    let counts = filter.counts();
    FilterReport {
        name: name.clone(),
        never: counts.never,
        maybe: counts.maybe,
        unknown: counts.unknown,
        wrong: counts.wrong,
        overfull: filter.overfull().map(|overfull| overfull.to_string()),
    }
}

fn guard((name, guard): (&String, &Guard)) -> GuardReport {
    let totals = guard.totals().by_criticality;
    let sum = |of: fn(&crate::GuardTotal) -> u64| totals.iter().map(of).sum();
    let limit = guard
        .admission()
        .map(|admission| admission.snapshot().limit);
    GuardReport {
        name: name.clone(),
        rate: guard.rate(),
        tokens: guard.tokens(),
        limit: limit.map(u64::from),
        admitted: sum(|total| total.admitted),
        waited: sum(|total| total.waited),
        over_rate: sum(|total| total.over_rate),
        over_limit: sum(|total| total.over_limit),
    }
}

impl fmt::Debug for Caches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = self.known.lock();
        f.debug_struct("Caches")
            .field("caches", &known.caches.keys())
            .field("filters", &known.filters.keys())
            .field("guards", &known.guards.keys())
            .finish()
    }
}
