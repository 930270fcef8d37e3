//! Nothing of one user reaches another: through two gateways, each with a cache, before an origin
//! that counts for every user.
//!
//! The origin is honest: what it says of one user's count is marked as that user's by one means or
//! another (or by none, where the request shows who asks), and what it says is public holds nobody's.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use proptest::prelude::*;
use seawall_gateway::Running;

use super::{ROUTE, with};
use crate::support::{Message, Origin, Setup, write_response};

/// By which an answer is marked as one user's.
const OWN: [&str; 14] = [
    "",
    "cache-control: private, max-age=60\r\n",
    "cache-control: private=\"x-count\", max-age=60, public\r\n",
    "cache-control: no-store, max-age=60\r\n",
    "cache-control: max-age=60\r\n",
    "cache-control: max-age=60, stale-while-revalidate=60, stale-if-error=60\r\n",
    "cache-control: max-age=60, must-revalidate\r\n",
    "cache-control: max-age=0, stale-if-error=600\r\n",
    "cache-control: max-age=60\r\nvary: cookie, authorization\r\n",
    "cache-control: public, max-age=60\r\nvary: cookie, authorization\r\n",
    "cache-control: s-maxage=60, max-age=0\r\nvary: *\r\n",
    "cache-control: public, max-age=60\r\nset-cookie: seen=1\r\n",
    "last-modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n",
    "expires: Thu, 01 Jan 2099 00:00:00 GMT\r\n",
];
/// By which one is marked as everyone's.
const PUBLIC: [&str; 3] = [
    "cache-control: public, max-age=60\r\n",
    "cache-control: s-maxage=60\r\n",
    "cache-control: public, max-age=0, stale-while-revalidate=60\r\n",
];

/// Who asks, by what.
#[derive(Clone, Copy, Debug)]
struct User {
    number: usize,
    cookie: bool,
    authorization: bool,
}

impl User {
    fn lines(self) -> String {
        let mut lines = String::new();
        if self.cookie {
            lines += &format!("cookie: user={}\r\n", self.number);
        }
        if self.authorization {
            lines += &format!("authorization: Bearer user{}\r\n", self.number);
        }
        lines
    }

    /// The only name it has for the origin; none for who shows nothing.
    fn name(request: &Message) -> Option<String> {
        let cookie = request.get("cookie").map(|c| c.replace("user=", ""));
        let token = request
            .get("authorization")
            .map(|a| a.replace("Bearer user", ""));
        token.or(cookie)
    }
}

fn origin() -> Origin {
    let counts: Arc<Mutex<HashMap<String, usize>>> = Arc::default();
    Origin::serving(move |request, stream| {
        let path = request.start.split(' ').nth(1).unwrap_or_default();
        let kind = path
            .trim_start_matches("/own")
            .trim_start_matches("/public");
        let kind = kind
            .split('?')
            .next()
            .and_then(|n| n.parse::<usize>().ok())
            .unwrap_or(0);
        let named = User::name(request);
        let (headers, body) = match named {
            // How often this user was here, and through how many hops.
            Some(name) if path.starts_with("/own") => {
                let mut counts = counts.lock().unwrap();
                let count = counts.entry(name.clone()).or_default();
                *count += 1;
                let hops = request
                    .headers
                    .iter()
                    .filter(|(name, _)| name == "via")
                    .count();
                (
                    OWN[kind % OWN.len()],
                    format!("user {name} count {count} hops {hops}"),
                )
            }
            None if path.starts_with("/own") => (OWN[kind % OWN.len()], "nobody".to_owned()),
            _ => (PUBLIC[kind % PUBLIC.len()], "everyone".to_owned()),
        };
        write_response(stream, "200 OK", headers, body.as_bytes());
        true
    })
}

struct Chain {
    _origin: Origin,
    _inner: Running,
    outer: Running,
}

fn chain(lines: &str) -> Chain {
    let origin = origin();
    let text = format!("{ROUTE}{lines}\n");
    let inner = Setup::to(origin.addr)
        .rest(&text)
        .listener("trust = 'internal'\n")
        .start();
    let outer = Setup::to(inner.addr).rest(&text).start();
    Chain {
        _origin: origin,
        _inner: inner,
        outer,
    }
}

fn user() -> impl Strategy<Value = User> {
    (0_usize..3, any::<bool>(), any::<bool>()).prop_map(|(number, cookie, authorization)| User {
        number,
        cookie,
        authorization,
    })
}

/// What this user is told, where it is for them.
fn check(user: User, path: &str, answer: &Message) -> Result<(), TestCaseError> {
    let body = answer.text();
    prop_assert_eq!(answer.status(), 200, "{}", body);
    if let Some(rest) = body.strip_prefix("user ") {
        let shows = user.cookie || user.authorization;
        let own = rest.starts_with(&format!("{} ", user.number));
        prop_assert!(shows && own, "{:?} {} got {}", user, path, body);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn no_count_reaches_another(
        calls in proptest::collection::vec((user(), 0..OWN.len(), any::<bool>(), 0..4_usize), 20..60),
        default_ttl in any::<bool>(),
    ) {
        let lines = if default_ttl {
            "default_ttl = '60s'\nstale_while_revalidate = '60s'\nstale_if_error = '60s'"
        } else {
            ""
        };
        let chain = chain(lines);
        let addr = chain.outer.addr;
        // In fours at once, so that some wait for others' calls.
        for group in calls.chunks(4) {
            let asked: Vec<_> = group.iter().map(|(user, kind, own, more)| {
                let (user, kind) = (*user, *kind);
                let path = format!("/{}{kind}", if *own { "own" } else { "public" });
                let more = ["", "cache-control: no-cache\r\n", "cache-control: max-stale\r\n", "accept: x\r\n"][*more];
                let lines = user.lines() + more;
                let asking = path.clone();
                (user, path, std::thread::spawn(move || with(addr, "GET", &asking, &lines)))
            }).collect();
            for (user, path, answer) in asked {
                check(user, &path, &answer.join().unwrap())?;
            }
        }
    }
}

#[test]
fn every_mark_holds_for_every_kind_of_user() {
    let chain = chain("");
    let users = |number| {
        [(true, false), (false, true), (true, true), (false, false)].map(
            |(cookie, authorization)| User {
                number,
                cookie,
                authorization,
            },
        )
    };
    for kind in 0..OWN.len() {
        let path = format!("/own{kind}");
        for first in users(1) {
            for second in users(2) {
                for user in [first, second, first] {
                    let answer = with(chain.outer.addr, "GET", &path, &user.lines());
                    check(user, &path, &answer).unwrap();
                }
            }
        }
    }
    // And what is everyone's is shared, or the test would show nothing.
    with(chain.outer.addr, "GET", "/public0", &users(1)[2].lines());
    let shared = with(chain.outer.addr, "GET", "/public0", &users(2)[2].lines());
    let mut hops = shared
        .headers
        .iter()
        .filter(|(name, _)| name == "cache-status");
    assert_eq!(
        hops.next_back().map(|(_, hop)| hop.as_str()),
        Some("seawall; hit")
    );
}
