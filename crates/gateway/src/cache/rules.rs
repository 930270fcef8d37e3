//! What a route says of its cache.

use std::time::Duration;

use http::HeaderName;
use seawall::config::RouteCache;
use seawall_cache::http::Policy;

/// The longest life that is guessed from a last modification.
const LONGEST_GUESS: Duration = Duration::from_secs(3_600);

/// A route's cache.
#[derive(Debug)]
pub(crate) struct Rules {
    pub(crate) policy: Policy,
    pub(crate) max_size: usize,
    pub(crate) key_headers: Box<[HeaderName]>,
    pub(crate) ignore_query: Box<[String]>,
    /// A cookie tells who asks.
    pub(crate) cookies: bool,
    /// What callers say of freshness is heeded.
    pub(crate) heed: bool,
    /// What is kept of one upstream is not another's.
    pub(crate) upstream: Box<str>,
}

impl Rules {
    pub(crate) fn new(config: &RouteCache, upstream: &str) -> Self {
        Self {
            policy: Policy {
                default_life: config.default_ttl,
                longest_guess: LONGEST_GUESS,
                stale_while_revalidate: config.stale_while_revalidate,
                stale_if_error: config.stale_if_error,
            },
            max_size: usize::try_from(config.max_size).unwrap_or(usize::MAX),
            key_headers: config.key_headers.clone().into(),
            ignore_query: config.ignore_query.clone().into(),
            cookies: !config.ignore_cookies,
            heed: config.client_directives,
            upstream: upstream.into(),
        }
    }
}
