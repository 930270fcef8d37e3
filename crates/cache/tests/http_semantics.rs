//! `seawall_cache::http` beside the crate `http-cache-semantics`, where both say something.
//!
//! What differs, and why; it is not generated below, or is looked for:
//! - It keeps answers to `HEAD` and `POST`; here only those to `GET` are.
//! - It has `proxy-revalidate` mean "stale at once"; here it means what RFC 9111 says.
//! - It takes a `Date` in the past for no age; here it is (RFC 9111, 4.2.3).
//! - It heeds `immutable` and `Pragma` in responses, which say nothing of a shared cache's freshness;
//!   it does not know `must-understand` or what is targeted at CDNs.
//! - It reads one of two `max-age`, here the shorter counts; it guesses without a bound.
//! - It keeps what is of no use: without a life and without a validator.
//! - It keeps what sets a cookie, or varies by `*`, and never serves it; here it is not kept.
//! - It serves stale what has `s-maxage` to who says `max-stale`; a shared cache may not (4.2.4).
//! - It serves what says `no-cache` to who says `max-stale`; nobody may, unconfirmed (5.2.2.4).
//! - It keeps answers to `Authorization` that say `must-revalidate`, and any to a cookie.
//! - It refuses what is stale by just as many seconds as `max-stale` grants ("no more than", 5.2.1.2).
//! - Of `min-fresh` and `max-stale` in one request, which cannot both be granted, it takes another.

#![allow(
    clippy::unwrap_used,
    reason = "a test ends where its ground is missing"
)]

use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use http_cache_semantics::{BeforeRequest, CacheOptions, CachePolicy};
use proptest::prelude::*;
use seawall_cache::http::{Asked, Exchanged, Kept, Policy, RequestDirectives, Unfit, Use, judge};
use seawall_policy::Tick;

const AT: u64 = 784_111_777;
const STATUSES: [u16; 14] = [
    200, 203, 204, 300, 301, 302, 303, 307, 308, 404, 405, 410, 500, 403,
];

#[derive(Clone, Debug)]
struct Case {
    status: u16,
    cache_control: Vec<String>,
    expires: Option<i64>,
    modified: Option<u64>,
    age: Option<u64>,
    etag: bool,
    authorization: bool,
    cookie: bool,
    no_store: bool,
    sets_cookie: bool,
}

fn case() -> impl Strategy<Value = Case> {
    let directive = prop_oneof![
        Just("public".to_owned()),
        Just("private".to_owned()),
        Just("no-store".to_owned()),
        Just("no-cache".to_owned()),
        Just("must-revalidate".to_owned()),
        Just("extension=\"a, b\"".to_owned()),
        (0_u64..200).prop_map(|n| format!("max-age={n}")),
        (0_u64..200).prop_map(|n| format!("s-maxage={n}")),
    ];
    let directives = proptest::collection::vec(directive, 0..4).prop_map(|mut all| {
        let name = |text: &String| text.split('=').next().unwrap_or_default().to_owned();
        all.sort();
        all.dedup_by_key(|text| name(text));
        all
    });
    let flag = any::<bool>;
    (
        proptest::sample::select(STATUSES.to_vec()),
        directives,
        proptest::option::of(-100_i64..200),
        proptest::option::of(0_u64..20_000),
        proptest::option::of(0_u64..200),
        (flag(), flag(), flag(), flag(), flag()),
    )
        .prop_map(
            |(status, cache_control, expires, modified, age, flags)| Case {
                status,
                cache_control,
                expires,
                modified,
                age,
                etag: flags.0,
                authorization: flags.1,
                cookie: flags.2,
                no_store: flags.3,
                sets_cookie: flags.4,
            },
        )
}

fn date(at: u64) -> HeaderValue {
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(at);
    HeaderValue::try_from(httpdate::fmt_http_date(time)).unwrap()
}

fn now(after: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(AT + after)
}

impl Case {
    fn says(&self, directive: &str) -> bool {
        let mut all = self.cache_control.iter();
        all.any(|own| own.starts_with(directive))
    }

    fn response(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::DATE, date(AT));
        if !self.cache_control.is_empty() {
            let line = self.cache_control.join(", ");
            headers.insert(header::CACHE_CONTROL, line.parse().unwrap());
        }
        if let Some(expires) = self.expires {
            headers.insert(header::EXPIRES, date(AT.saturating_add_signed(expires)));
        }
        if let Some(modified) = self.modified {
            headers.insert(header::LAST_MODIFIED, date(AT - modified));
        }
        if let Some(age) = self.age {
            headers.insert(header::AGE, HeaderValue::from(age));
        }
        if self.etag {
            headers.insert(header::ETAG, HeaderValue::from_static("\"a\""));
        }
        if self.sets_cookie {
            headers.insert(header::SET_COOKIE, HeaderValue::from_static("a=b"));
        }
        headers
    }

    fn ours(&self) -> Result<Kept, Unfit> {
        let cookie = [header::COOKIE];
        let known_by: &[HeaderName] = if self.cookie { &cookie } else { &[] };
        let asked = Asked {
            method: &Method::GET,
            no_store: self.no_store,
            authorization: self.authorization,
            known_by,
        };
        let when = Exchanged {
            now: Tick::ZERO,
            date: AT,
            took: Duration::ZERO,
        };
        let status = StatusCode::from_u16(self.status).unwrap();
        judge(&asked, status, &self.response(), when, &Policy::default())
    }

    fn theirs(&self) -> CachePolicy {
        let mut request = Request::get("/").body(()).unwrap();
        let headers = request.headers_mut();
        if self.authorization {
            headers.insert(header::AUTHORIZATION, HeaderValue::from_static("x"));
        }
        if self.cookie {
            headers.insert(header::COOKIE, HeaderValue::from_static("a=b"));
        }
        if self.no_store {
            headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        }
        let mut response = Response::new(());
        *response.status_mut() = StatusCode::from_u16(self.status).unwrap();
        *response.headers_mut() = self.response();
        CachePolicy::new_options(&request, &response, now(0), CacheOptions::default())
    }

    /// It is refused here and kept there for a reason that is told of above.
    fn is_stricter(&self, unfit: Unfit) -> bool {
        let shared = self.says("public") || self.says("s-maxage");
        match unfit {
            Unfit::Known => !shared && (self.cookie || self.says("must-revalidate")),
            Unfit::SetCookie => self.sets_cookie,
            Unfit::Lifeless => {
                let known = self.cookie || self.authorization;
                let guessed =
                    !self.says("max-age") && !self.says("s-maxage") && self.expires.is_none();
                self.theirs().time_to_live(now(0)).is_zero() || (known && guessed)
            }
            _ => false,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn both_keep_the_same_for_as_long(case in case()) {
        let theirs = case.theirs();
        match case.ours() {
            Err(unfit) => {
                prop_assert!(!theirs.is_storable() || case.is_stricter(unfit), "{unfit:?}");
            }
            Ok(kept) => {
                prop_assert!(theirs.is_storable());
                let explicit = case.says("max-age") || case.says("s-maxage") || case.expires.is_some();
                // What someone known was shown is not guessed of here.
                if explicit || !(case.cookie || case.authorization) {
                    let life = if kept.confirm { Duration::ZERO } else { kept.life };
                    let left = life.saturating_sub(kept.age);
                    prop_assert_eq!(left, theirs.time_to_live(now(0)));
                }
            }
        }
    }

    #[test]
    fn both_serve_the_same(
        case in case(), after in 0_u64..300,
        no_cache in any::<bool>(), max_age in proptest::option::of(0_u64..200),
        min_fresh in proptest::option::of(0_u64..200), max_stale in proptest::option::of(0_u64..200),
    ) {
        let case = Case { cookie: false, authorization: false, sets_cookie: false, ..case };
        let Ok(kept) = case.ours() else { return Ok(()) };
        let mut directives = Vec::new();
        if no_cache {
            directives.push("no-cache".to_owned());
        }
        for (name, value) in [("max-age", max_age), ("min-fresh", min_fresh), ("max-stale", max_stale)] {
            if let Some(value) = value {
                directives.push(format!("{name}={value}"));
            }
        }
        let mut request = Request::get("/").body(()).unwrap();
        let line: HeaderValue = directives.join(", ").parse().unwrap();
        request.headers_mut().insert(header::CACHE_CONTROL, line);
        let asks = RequestDirectives::read(request.headers());
        let ours = kept.use_of(&asks, Tick::from_millis(after * 1_000));
        let served = matches!(ours, Use::Fresh | Use::Stale);
        let policy = case.theirs();
        let theirs = matches!(policy.before_request(&request, now(after)), BeforeRequest::Fresh(_));
        let strict = case.says("s-maxage") || case.says("no-cache");
        let differs = max_stale.is_some() && (min_fresh.is_some() || strict);
        // "By no more than" so many seconds: they refuse what is as stale as was said.
        let stale = (kept.age + Duration::from_secs(after)).saturating_sub(kept.life);
        if !stale.is_zero() && max_stale == Some(stale.as_secs()) {
            return Ok(());
        }
        if differs {
            prop_assert!(theirs || !served, "never the laxer: {ours:?} {kept:?}");
        } else {
            prop_assert_eq!(served, theirs, "{:?} {:?}", ours, kept);
        }
    }
}
