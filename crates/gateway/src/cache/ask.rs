//! What a request of a route with a cache is: answered by what is kept, passed by, or a miss.

use std::sync::Arc;

use http::request::Parts;
use http::{HeaderMap, HeaderName, Method, Response, StatusCode, header};
use seawall::context::{ContextHeader, Trust, names};
use seawall_cache::http::{Asked, RequestDirectives, Use};
use seawall_policy::Tick;

use super::count::Event;
use super::fill;
use super::flight::{Pieces, Question};
use super::key;
use super::page::Page;
use super::rules::Rules;
use super::status::{self, HIT, ON_ERROR, STALE};
use super::store::Found;
use crate::answer::{self, Own};
use crate::body::ResponseBody;
use crate::forward::Arrival;
use crate::plan::Plan;

/// What is to be done about a request.
pub(crate) enum Look {
    Answer(Response<ResponseBody>),
    /// It goes on as if there were no cache.
    Pass(Event),
    Miss(Box<Miss>),
}

/// A request that the upstream is asked for.
#[derive(Debug)]
pub(crate) struct Miss {
    pub(super) question: Question,
    pub(super) hash: u64,
    /// What is kept, and not to be used without more ado.
    pub(super) page: Option<Arc<Page>>,
    /// What others wait for is not good enough.
    pub(super) alone: bool,
}

const NOT_CACHED: Own = answer::bad(
    StatusCode::GATEWAY_TIMEOUT,
    "only-if-cached, and nothing that is kept will do",
);

/// Which of the headers that matter here a request has.
#[derive(Clone, Copy, Debug, Default)]
struct Marks(u8);

impl Marks {
    const DIRECTIVES: u8 = 1;
    const AUTHORIZATION: u8 = 2;
    const COOKIE: u8 = 4;
    const RANGE: u8 = 8;
    /// What steers services, and is in no key.
    const STEERS: u8 = 16;
    /// The same, but that a trusted proxy may say it.
    const FORWARDED: u8 = 32;
    const TENANT: u8 = 64;

    fn find(headers: &HeaderMap) -> Self {
        let mut found = 0;
        for name in headers.keys() {
            let text = name.as_str();
            found |= match text.len() {
                5 if name == header::RANGE => Self::RANGE,
                6 if name == header::COOKIE => Self::COOKIE,
                6 if name == header::PRAGMA => Self::DIRECTIVES,
                13 if name == header::CACHE_CONTROL => Self::DIRECTIVES,
                13 if name == header::AUTHORIZATION => Self::AUTHORIZATION,
                14 if *name == names::TENANT => Self::TENANT,
                6.. if text.starts_with("x-") => unkeyed(text),
                _ => 0,
            };
        }
        Self(found)
    }

    fn has(self, what: u8) -> bool {
        self.0 & what != 0
    }
}

/// Headers by which frameworks take a request for one to elsewhere, or by which they write links.
fn unkeyed(name: &str) -> u8 {
    match name {
        "x-original-url"
        | "x-rewrite-url"
        | "x-http-method-override"
        | "x-http-method"
        | "x-method-override"
        | "x-original-method" => Marks::STEERS,
        "x-forwarded-for" | "x-forwarded-host" | "x-forwarded-proto" => 0,
        "x-host" | "x-original-host" | "x-http-host-override" | "x-real-host" | "x-url-scheme" => {
            Marks::FORWARDED
        }
        _ if name.starts_with("x-forwarded-") => Marks::FORWARDED,
        _ => 0,
    }
}

/// Looks a request up.
pub(crate) fn look(
    arrival: &mut Arrival<'_>,
    plan: &Arc<Plan>,
    rules: &Arc<Rules>,
    parts: &Parts,
    (has_body, upgrade): (bool, bool),
) -> Look {
    if upgrade || has_body || arrival.grpc || !is_read(&parts.method) {
        return Look::Pass(Event::Method);
    }
    let marks = Marks::find(&parts.headers);
    if marks.has(Marks::STEERS) || (marks.has(Marks::FORWARDED) && !arrival.client.trusted) {
        return Look::Pass(Event::Unkeyed);
    }
    let client = arrival.client;
    let (cache, now) = (&client.core.shared.cache, arrival.busy.start);
    let directives = if marks.has(Marks::DIRECTIVES) && rules.heed {
        RequestDirectives::read(&parts.headers)
    } else {
        RequestDirectives::default()
    };
    let who = Who::of(arrival, rules, marks);
    let authority = &plan.origins[arrival.target.origin].authority;
    key::with(rules, client, parts, authority, |key| {
        let hash = cache.store.hash(key);
        let Found { page, place } = cache.store.find(hash, key, &parts.headers);
        let asked = who.asked(directives.no_store);
        let page = page.filter(|page| {
            let head = &page.head;
            asked.may_share(head.kept.for_everyone, &head.vary)
        });
        let miss = |page: Option<Arc<Page>>| Miss {
            question: Question {
                place: place ^ u64::from(!asked.is_anonymous()),
                key: key.into(),
                selected: page.as_ref().map(|page| page.head.selected.clone()),
                known: !asked.is_anonymous(),
                generation: cache.store.generation(hash),
            },
            hash,
            page,
            alone: directives.is_choosy(),
        };
        let usable = page
            .as_ref()
            .map(|page| page.head.kept.use_of(&directives, now));
        let (page, answered) = match (page, usable) {
            (Some(page), Some(Use::Fresh | Use::Stale)) => {
                let answer = arrival.by(&page, parts, now, Event::Hit);
                (Some(page), answer)
            }
            (Some(page), Some(Use::WhileRevalidate)) => {
                let answer = arrival.by(&page, parts, now, Event::Stale);
                if page.is_due(now) {
                    fill::in_background(arrival, plan, rules, parts, miss(Some(page.clone())));
                }
                (Some(page), answer)
            }
            (page, _) if directives.only_if_cached => {
                client.core.counters().cache.count(Event::NotCached);
                (page, Some(arrival.refuse(NOT_CACHED)))
            }
            (page, _) => (page, None),
        };
        if let Some(answer) = answered {
            return Look::Answer(answer);
        }
        if parts.method == Method::HEAD || marks.has(Marks::RANGE) || directives.no_store {
            return Look::Pass(Event::Request);
        }
        let mut miss = miss(page);
        miss.alone |= cache.store.is_aside(miss.question.place, now);
        Look::Miss(Box::new(miss))
    })
}

fn is_read(method: &Method) -> bool {
    *method == Method::GET || *method == Method::HEAD
}

/// What tells who asks.
#[derive(Clone, Debug)]
pub(super) struct Who {
    authorization: bool,
    known_by: [HeaderName; 2],
    from: usize,
    to: usize,
}

impl Who {
    fn of(arrival: &Arrival<'_>, rules: &Rules, marks: Marks) -> Self {
        // At an edge it is taken off, and says nothing.
        let believed = arrival.client.site.trust == Trust::Internal
            && arrival.read.seen.contains(ContextHeader::Tenant);
        let tenant = believed && marks.has(Marks::TENANT);
        let cookie = marks.has(Marks::COOKIE) && rules.cookies;
        Self {
            authorization: marks.has(Marks::AUTHORIZATION),
            known_by: [header::COOKIE, names::TENANT],
            from: usize::from(!cookie),
            to: 1 + usize::from(tenant),
        }
    }

    /// The same of a request's headers.
    pub(super) fn in_headers(arrival: &Arrival<'_>, rules: &Rules, headers: &HeaderMap) -> Self {
        Self::of(arrival, rules, Marks::find(headers))
    }

    /// A request of theirs.
    pub(super) fn asked(&self, no_store: bool) -> Asked<'_> {
        Asked {
            method: &Method::GET,
            no_store,
            authorization: self.authorization,
            known_by: &self.known_by[self.from.min(self.to)..self.to],
        }
    }
}

impl Arrival<'_> {
    /// Whether the other side is one that is told tags: a gateway behind another.
    pub(crate) fn is_tagged(&self) -> bool {
        self.client.site.trust == Trust::Internal
    }

    /// The answer by what is kept. `None`: a kind of part that is not made here.
    pub(super) fn by(
        &mut self,
        page: &Page,
        parts: &Parts,
        now: Tick,
        how: Event,
    ) -> Option<Response<ResponseBody>> {
        let status = match how {
            Event::Stale => &STALE,
            Event::StaleIfError => &ON_ERROR,
            Event::Revalidated => &status::REVALIDATED,
            Event::Collapsed => &status::COLLAPSED,
            _ => &HIT,
        };
        let mut response = page.response(parts, now, status, self.is_tagged())?;
        if how == Event::StaleIfError {
            crate::fallback::stale(response.headers_mut());
        }
        self.count(how);
        self.busy.answer(&response, None);
        Some(response)
    }

    /// Sends an answer by what is kept.
    pub(crate) fn deliver(self, response: Response<ResponseBody>) -> Response<ResponseBody> {
        let (parts, body) = response.into_parts();
        let body = match body {
            ResponseBody::Own(bytes) if parts.status.is_success() => {
                self.client.core.counters().cache.served(bytes.len());
                Pieces::of(bytes, self.busy)
            }
            other => other,
        };
        Response::from_parts(parts, body)
    }

    /// Counts what became of the request, and notes it for the access log.
    pub(crate) fn count(&mut self, event: Event) {
        self.client.core.counters().cache.count(event);
        if let Some(record) = &mut self.busy.record {
            record.cache = Some(event.name());
        }
    }
}
