//! What an upstream is told of the caller's half of the story: hosts, balance, ejection, breaker,
//! retries, health, replicas, gutter and fallback. Described in [`SETTINGS`](super::SETTINGS).

use std::net::SocketAddr;
use std::time::Duration;

use http::StatusCode;
use seawall_policy::balance::Algorithm;
use serde::{Deserialize, Deserializer, de::Error as _};

use super::units::{some_time, time};

/// How the hosts behind a name are looked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(missing_docs, reason = "described in SETTINGS")]
pub struct DiscoveryConfig {
    pub resolvers: Vec<SocketAddr>,
}

/// What a call is hashed by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum HashOn {
    /// The client's address.
    #[default]
    Client,
    /// The path, without its query.
    Path,
    /// A request header of this name.
    Header(http::HeaderName),
    /// A cookie of this name.
    Cookie(String),
}

impl std::str::FromStr for HashOn {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None if text == "client" => Ok(Self::Client),
            None if text == "path" => Ok(Self::Path),
            Some(("header", name)) => match name.parse() {
                Ok(name) => Ok(Self::Header(name)),
                Err(_) => Err(format!("`{name}` is no name of a header")),
            },
            Some(("cookie", name)) if !name.is_empty() => Ok(Self::Cookie(name.to_owned())),
            _ => Err(format!(
                "`{text}` is none of client, path, header:NAME, cookie:NAME"
            )),
        }
    }
}

/// Which host a call goes to.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(missing_docs, reason = "described in SETTINGS")]
pub struct BalanceConfig {
    #[serde(deserialize_with = "algorithm")]
    pub algorithm: Algorithm,
    #[serde(deserialize_with = "hash_on")]
    pub hash_on: HashOn,
    #[serde(deserialize_with = "time")]
    pub slow_start: Duration,
    pub zone: Option<String>,
    pub subset: Option<u32>,
}

impl Default for BalanceConfig {
    fn default() -> Self {
        Self {
            algorithm: Algorithm::default(),
            hash_on: HashOn::default(),
            slow_start: Duration::from_secs(10),
            zone: None,
            subset: None,
        }
    }
}

/// When a host is taken out.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(missing_docs, reason = "described in SETTINGS")]
pub struct EjectionConfig {
    pub consecutive_failures: u32,
    pub max_share: f64,
}

impl Default for EjectionConfig {
    fn default() -> Self {
        Self {
            consecutive_failures: 5,
            max_share: 0.5,
        }
    }
}

/// Which breaker stands before an upstream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "described in SETTINGS")]
pub enum BreakerKind {
    #[default]
    Throttle,
    Window,
    Off,
}

/// What has a breaker of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "described in SETTINGS")]
pub enum BreakerPer {
    #[default]
    Upstream,
    Route,
    Tenant,
}

/// The upstream's breaker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(missing_docs, reason = "described in SETTINGS")]
pub struct BreakerConfig {
    pub kind: BreakerKind,
    pub per: BreakerPer,
    pub shadow: bool,
}

/// Whether and how often a failed call is sent again.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(missing_docs, reason = "described in SETTINGS")]
pub struct RetryConfig {
    pub attempts: u8,
    pub ratio: f64,
    #[serde(deserialize_with = "some_time")]
    pub per_try_timeout: Option<Duration>,
}

impl Default for RetryConfig {
    fn default() -> Self {
        Self {
            attempts: 3,
            ratio: 0.1,
            per_try_timeout: None,
        }
    }
}

/// Asking hosts how they are.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(missing_docs, reason = "described in SETTINGS")]
pub struct HealthConfig {
    pub path: Option<String>,
    #[serde(deserialize_with = "time")]
    pub interval: Duration,
    #[serde(deserialize_with = "time")]
    pub timeout: Duration,
    pub unhealthy_after: u32,
    pub healthy_after: u32,
}

impl Default for HealthConfig {
    fn default() -> Self {
        Self {
            path: None,
            interval: Duration::from_secs(5),
            timeout: Duration::from_secs(1),
            unhealthy_after: 3,
            healthy_after: 2,
        }
    }
}

/// Hosts that answer reads.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(missing_docs, reason = "described in SETTINGS")]
pub struct ReplicasConfig {
    pub endpoints: Vec<String>,
    #[serde(deserialize_with = "time")]
    pub read_your_writes: Duration,
}

impl Default for ReplicasConfig {
    fn default() -> Self {
        Self {
            endpoints: Vec::new(),
            read_your_writes: Duration::from_secs(2),
        }
    }
}

/// The small reserve that takes over while the upstream fails.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(missing_docs, reason = "described in SETTINGS")]
pub struct GutterConfig {
    pub endpoints: Vec<String>,
    pub limit: u32,
}

impl Default for GutterConfig {
    fn default() -> Self {
        Self {
            endpoints: Vec::new(),
            limit: 16,
        }
    }
}

/// What is answered when a call has failed for good.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(missing_docs, reason = "described in SETTINGS")]
pub struct FallbackConfig {
    #[serde(deserialize_with = "status")]
    pub status: StatusCode,
    pub body: Option<String>,
    pub content_type: String,
    pub always: bool,
}

impl Default for FallbackConfig {
    fn default() -> Self {
        Self {
            status: StatusCode::OK,
            body: None,
            content_type: "application/json".to_owned(),
            always: false,
        }
    }
}

fn algorithm<'de, D: Deserializer<'de>>(d: D) -> Result<Algorithm, D::Error> {
    let name = String::deserialize(d)?;
    let known = Algorithm::ALL
        .into_iter()
        .find(|known| known.as_str() == name);
    known.ok_or_else(|| D::Error::custom(format!("unknown algorithm `{name}`")))
}

fn hash_on<'de, D: Deserializer<'de>>(d: D) -> Result<HashOn, D::Error> {
    String::deserialize(d)?.parse().map_err(D::Error::custom)
}

fn status<'de, D: Deserializer<'de>>(d: D) -> Result<StatusCode, D::Error> {
    StatusCode::from_u16(u16::deserialize(d)?).map_err(D::Error::custom)
}
