//! What is kept of responses, as types.

use std::time::Duration;

use http::HeaderName;
use serde::{Deserialize, Deserializer, de::Error as _};

use super::units::{size, some_time, time};

/// Where responses are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(missing_docs, reason = "described in SETTINGS")]
pub struct CacheConfig {
    #[serde(deserialize_with = "size")]
    pub size: u64,
}

impl Default for CacheConfig {
    fn default() -> Self {
        Self { size: 64 << 20 }
    }
}

/// Which responses of a route are kept. Being there turns it on.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(missing_docs, reason = "described in SETTINGS")]
pub struct RouteCache {
    #[serde(deserialize_with = "some_time")]
    pub default_ttl: Option<Duration>,
    #[serde(deserialize_with = "time")]
    pub stale_while_revalidate: Duration,
    #[serde(deserialize_with = "time")]
    pub stale_if_error: Duration,
    #[serde(deserialize_with = "size")]
    pub max_size: u64,
    #[serde(deserialize_with = "headers")]
    pub key_headers: Vec<HeaderName>,
    pub ignore_query: Vec<String>,
    pub ignore_cookies: bool,
    pub client_directives: bool,
}

impl Default for RouteCache {
    fn default() -> Self {
        Self {
            default_ttl: None,
            stale_while_revalidate: Duration::ZERO,
            stale_if_error: Duration::ZERO,
            max_size: 1 << 20,
            key_headers: Vec::new(),
            ignore_query: Vec::new(),
            ignore_cookies: false,
            client_directives: true,
        }
    }
}

fn headers<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<HeaderName>, D::Error> {
    let names = Vec::<String>::deserialize(d)?;
    let name = |name: &String| HeaderName::from_bytes(name.as_bytes()).map_err(D::Error::custom);
    names.iter().map(name).collect()
}
