//! The configuration as types. What each field means, its unit, range, default and reason stand in
//! [`SETTINGS`](super::SETTINGS), the one place that `seawall check`, the printed default and the
//! JSON schema are made from; the comments here are only what code needs.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use http::uri::Scheme;
use http::{Method, Uri};
use seawall_policy::Criticality;
use serde::{Deserialize, Deserializer, de::Error as _};

use super::cache::{CacheConfig, RouteCache};
use super::client::{
    BalanceConfig, BreakerConfig, DiscoveryConfig, EjectionConfig, FallbackConfig, GutterConfig,
    HealthConfig, ReplicasConfig, RetryConfig,
};
use super::network::Network;
use super::tls::{ListenerTls, UpstreamTls};
use super::units::{size, some_time, time};
use crate::context::Trust;

/// Everything that a gateway is told. Made by [`Config::parse`] or [`Config::for_upstream`].
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// How long calls in flight may take to end after SIGTERM.
    #[serde(deserialize_with = "time")]
    pub drain_timeout: Duration,
    /// Metrics, health and explanations.
    pub admin: Admin,
    /// Where calls come in, by name. Never empty.
    pub listeners: BTreeMap<String, Listener>,
    /// Where they go, by name. Never empty.
    pub upstreams: BTreeMap<String, Upstream>,
    /// Where their hosts are looked for.
    pub discovery: DiscoveryConfig,
    /// Which go where. Empty: all go to the one upstream, or to the one named `default`.
    pub routes: Vec<Route>,
    /// Where responses are kept.
    pub cache: CacheConfig,
    /// Isolation, by name.
    pub lanes: BTreeMap<String, LaneConfig>,
    /// Who may go on, who waits, who is turned away.
    pub admission: AdmissionConfig,
    /// What a call is that does not say.
    pub context: ContextConfig,
    /// What happens to calls whose time is up.
    pub deadline: DeadlineConfig,
    /// Work already paid for.
    pub under_way: UnderWayConfig,
    /// One line a request.
    pub access_log: AccessLogConfig,
    /// Everything else that is written.
    pub log: LogConfig,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            drain_timeout: Duration::from_secs(30),
            admin: Admin::default(),
            listeners: BTreeMap::from([(
                "default".to_owned(),
                Listener::at(SocketAddr::from((Ipv4Addr::LOCALHOST, 8080))),
            )]),
            upstreams: BTreeMap::new(),
            discovery: DiscoveryConfig::default(),
            routes: Vec::new(),
            cache: CacheConfig::default(),
            lanes: BTreeMap::new(),
            admission: AdmissionConfig::default(),
            context: ContextConfig::default(),
            deadline: DeadlineConfig::default(),
            under_way: UnderWayConfig::default(),
            access_log: AccessLogConfig::default(),
            log: LogConfig::default(),
        }
    }
}

/// The admin listener.
#[derive(Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Admin {
    /// Loopback, unless there is a token.
    pub address: SocketAddr,
    /// Asked of every admin request as `authorization: Bearer …`.
    pub token: Option<String>,
}

impl std::fmt::Debug for Admin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let token = self.token.as_ref().map(|_| "…");
        f.debug_struct("Admin")
            .field("address", &self.address)
            .field("token", &token)
            .finish()
    }
}

impl Default for Admin {
    fn default() -> Self {
        Self {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 9090)),
            token: None,
        }
    }
}

/// Where calls come in.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "described in SETTINGS")]
pub struct Listener {
    pub address: SocketAddr,
    #[serde(default, deserialize_with = "trust")]
    pub trust: Trust,
    #[serde(default)]
    pub trusted_proxies: Vec<Network>,
    #[serde(default = "Listener::max_header_bytes", deserialize_with = "size")]
    pub max_header_bytes: u64,
    #[serde(default = "Listener::max_headers")]
    pub max_headers: u32,
    #[serde(default = "Listener::header_timeout", deserialize_with = "time")]
    pub header_timeout: Duration,
    #[serde(default = "Listener::body_timeout", deserialize_with = "time")]
    pub body_timeout: Duration,
    #[serde(default = "Listener::write_timeout", deserialize_with = "time")]
    pub write_timeout: Duration,
    #[serde(default = "Listener::min_rate", deserialize_with = "size")]
    pub min_rate: u64,
    #[serde(default = "Listener::idle_timeout", deserialize_with = "time")]
    pub idle_timeout: Duration,
    #[serde(default = "Listener::max_connections")]
    pub max_connections: u32,
    #[serde(default = "Listener::max_concurrent_streams")]
    pub max_concurrent_streams: u32,
    /// `None`: in the clear.
    #[serde(default)]
    pub tls: Option<ListenerTls>,
}

impl Listener {
    const fn max_header_bytes() -> u64 {
        64 << 10
    }
    const fn max_headers() -> u32 {
        100
    }
    const fn header_timeout() -> Duration {
        Duration::from_secs(10)
    }
    const fn body_timeout() -> Duration {
        Duration::from_secs(30)
    }
    const fn min_rate() -> u64 {
        1 << 10
    }
    const fn write_timeout() -> Duration {
        Duration::from_secs(30)
    }
    const fn idle_timeout() -> Duration {
        Duration::from_secs(75)
    }
    const fn max_connections() -> u32 {
        10_000
    }
    const fn max_concurrent_streams() -> u32 {
        128
    }

    /// A listener with every default: an edge.
    #[must_use]
    pub const fn at(address: SocketAddr) -> Self {
        Self {
            address,
            trust: Trust::Edge,
            trusted_proxies: Vec::new(),
            max_header_bytes: Self::max_header_bytes(),
            max_headers: Self::max_headers(),
            header_timeout: Self::header_timeout(),
            body_timeout: Self::body_timeout(),
            min_rate: Self::min_rate(),
            write_timeout: Self::write_timeout(),
            idle_timeout: Self::idle_timeout(),
            max_connections: Self::max_connections(),
            max_concurrent_streams: Self::max_concurrent_streams(),
            tls: None,
        }
    }
}

/// How to speak to an upstream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// In the clear: HTTP/2 with prior knowledge for gRPC, HTTP/1.1 for the rest. Over TLS: HTTP/2
    /// where the upstream offers it.
    #[default]
    Auto,
    /// HTTP/1.1 always.
    H1,
    /// HTTP/2 always, with prior knowledge where it is not offered.
    H2,
}

/// Where calls go.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "described in SETTINGS")]
pub struct Upstream {
    #[serde(deserialize_with = "url")]
    pub url: Uri,
    #[serde(default)]
    pub protocol: Protocol,
    #[serde(default = "Upstream::connect_timeout", deserialize_with = "time")]
    pub connect_timeout: Duration,
    #[serde(default = "Upstream::response_timeout", deserialize_with = "time")]
    pub response_timeout: Duration,
    #[serde(default = "Upstream::body_timeout", deserialize_with = "time")]
    pub body_timeout: Duration,
    #[serde(default = "Upstream::stream_after", deserialize_with = "time")]
    pub stream_after: Duration,
    #[serde(default = "Upstream::idle_timeout", deserialize_with = "time")]
    pub idle_timeout: Duration,
    #[serde(default = "Upstream::max_connections")]
    pub max_connections: u32,
    #[serde(default)]
    pub tls: UpstreamTls,
    #[serde(default)]
    pub endpoints: Vec<String>,
    #[serde(default)]
    pub balance: BalanceConfig,
    #[serde(default)]
    pub ejection: EjectionConfig,
    #[serde(default)]
    pub breaker: BreakerConfig,
    #[serde(default)]
    pub retry: RetryConfig,
    #[serde(default)]
    pub health: HealthConfig,
    #[serde(default)]
    pub replicas: ReplicasConfig,
    #[serde(default)]
    pub gutter: GutterConfig,
    #[serde(default)]
    pub fallback: FallbackConfig,
}

impl Upstream {
    const fn connect_timeout() -> Duration {
        Duration::from_secs(1)
    }
    const fn response_timeout() -> Duration {
        Duration::from_secs(30)
    }
    const fn body_timeout() -> Duration {
        Duration::from_secs(60)
    }
    const fn stream_after() -> Duration {
        Duration::from_secs(2)
    }
    const fn idle_timeout() -> Duration {
        Duration::from_secs(60)
    }
    const fn max_connections() -> u32 {
        1_024
    }

    /// Whether it is spoken to over TLS.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.url.scheme() == Some(&Scheme::HTTPS)
    }

    /// The port of its URL; where none is written, the scheme's.
    #[must_use]
    pub fn port(&self) -> u16 {
        let default = if self.is_https() { 443 } else { 80 };
        self.url.port_u16().unwrap_or(default)
    }

    /// An upstream with every default.
    #[must_use]
    pub fn to(url: Uri) -> Self {
        Self {
            url,
            protocol: Protocol::Auto,
            connect_timeout: Self::connect_timeout(),
            response_timeout: Self::response_timeout(),
            body_timeout: Self::body_timeout(),
            stream_after: Self::stream_after(),
            idle_timeout: Self::idle_timeout(),
            max_connections: Self::max_connections(),
            tls: UpstreamTls::default(),
            endpoints: Vec::new(),
            balance: BalanceConfig::default(),
            ejection: EjectionConfig::default(),
            breaker: BreakerConfig::default(),
            retry: RetryConfig::default(),
            health: HealthConfig::default(),
            replicas: ReplicasConfig::default(),
            gutter: GutterConfig::default(),
            fallback: FallbackConfig::default(),
        }
    }
}

/// Which calls go where. The most specific route that matches a call takes it: a host before none,
/// then an exact path before a prefix, the longer prefix before the shorter, methods before none.
/// The order in the file has no effect.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(missing_docs, reason = "described in SETTINGS")]
pub struct Route {
    pub name: Option<String>,
    pub host: Option<String>,
    pub path: Option<String>,
    pub path_prefix: Option<String>,
    #[serde(deserialize_with = "methods")]
    pub methods: Vec<Method>,
    pub upstream: Option<String>,
    pub lane: Option<String>,
    #[serde(deserialize_with = "some_criticality")]
    pub criticality: Option<Criticality>,
    #[serde(deserialize_with = "some_time")]
    pub timeout: Option<Duration>,
    pub retry_safe: bool,
    pub shadow: bool,
    pub cache: Option<RouteCache>,
}

/// A lane: calls kept apart from the others, so that neither can starve the other.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(missing_docs, reason = "described in SETTINGS")]
pub struct LaneConfig {
    pub share: Option<f64>,
}

/// How the limit is found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "named after the algorithms")]
pub enum Algorithm {
    #[default]
    Adaptive,
    Fixed,
    Aimd,
    Vegas,
    Gradient2,
    Bbr,
}

/// Admission: limit, queue and level.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(missing_docs, reason = "described in SETTINGS")]
pub struct AdmissionConfig {
    pub shadow: bool,
    pub algorithm: Algorithm,
    pub initial_limit: Option<u32>,
    pub min_limit: u32,
    pub max_limit: u32,
    #[serde(deserialize_with = "some_time")]
    pub max_wait: Option<Duration>,
    pub max_queued: u32,
    pub max_streams: u32,
}

impl Default for AdmissionConfig {
    fn default() -> Self {
        Self {
            shadow: false,
            algorithm: Algorithm::Adaptive,
            initial_limit: None,
            min_limit: 1,
            max_limit: 10_000,
            max_wait: None,
            max_queued: 4_096,
            max_streams: 10_000,
        }
    }
}

/// What a call is that does not say.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(missing_docs, reason = "described in SETTINGS")]
pub struct ContextConfig {
    #[serde(deserialize_with = "criticality")]
    pub criticality: Criticality,
    #[serde(deserialize_with = "some_time")]
    pub timeout: Option<Duration>,
}

/// Calls whose time is up.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(missing_docs, reason = "described in SETTINGS")]
pub struct DeadlineConfig {
    pub shadow: bool,
}

/// The keys of under-way marks.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(missing_docs, reason = "described in SETTINGS")]
pub struct UnderWayConfig {
    pub keys: Vec<UnderWayKey>,
    pub max_calls: u32,
    pub max_tasks: u32,
}

impl Default for UnderWayConfig {
    fn default() -> Self {
        Self {
            keys: Vec::new(),
            max_calls: 64,
            max_tasks: 65_536,
        }
    }
}

/// One key. Its secret is not shown by `Debug`.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "described in SETTINGS")]
pub struct UnderWayKey {
    pub id: String,
    pub secret: String,
}

impl std::fmt::Debug for UnderWayKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UnderWayKey")
            .field("id", &self.id)
            .field("secret", &"…")
            .finish()
    }
}

/// Which requests are logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AccessLogMode {
    /// None.
    #[default]
    Off,
    /// A share of them, chosen at random.
    Sampled,
    /// Every one.
    All,
}

/// One line a request.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(missing_docs, reason = "described in SETTINGS")]
pub struct AccessLogConfig {
    pub mode: AccessLogMode,
    pub sample: f64,
}

impl Default for AccessLogConfig {
    fn default() -> Self {
        Self {
            mode: AccessLogMode::Off,
            sample: 0.01,
        }
    }
}

/// The least level that is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "the usual levels")]
pub enum Level {
    Error,
    Warn,
    #[default]
    Info,
    Debug,
    Trace,
}

/// Everything else that is written.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(missing_docs, reason = "described in SETTINGS")]
pub struct LogConfig {
    pub level: Level,
}

fn trust<'de, D: Deserializer<'de>>(d: D) -> Result<Trust, D::Error> {
    match String::deserialize(d)?.as_str() {
        "edge" => Ok(Trust::Edge),
        "internal" => Ok(Trust::Internal),
        other => Err(D::Error::unknown_variant(other, &["edge", "internal"])),
    }
}

fn criticality<'de, D: Deserializer<'de>>(d: D) -> Result<Criticality, D::Error> {
    let name = String::deserialize(d)?;
    Criticality::parse(&name)
        .ok_or_else(|| D::Error::custom(format!("unknown criticality `{name}`")))
}

fn some_criticality<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Criticality>, D::Error> {
    criticality(d).map(Some)
}

fn methods<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<Method>, D::Error> {
    let names = Vec::<String>::deserialize(d)?;
    names
        .iter()
        .map(|name| name.parse().map_err(D::Error::custom))
        .collect()
}

fn url<'de, D: Deserializer<'de>>(d: D) -> Result<Uri, D::Error> {
    parse_url(&String::deserialize(d)?).map_err(D::Error::custom)
}

/// Reads an upstream's URL: `http://host[:port]` or `https://…`.
pub(super) fn parse_url(text: &str) -> Result<Uri, String> {
    let uri: Uri = text
        .parse()
        .map_err(|e| format!("`{text}` is not a URL: {e}"))?;
    match uri.scheme_str() {
        Some("http" | "https") => {}
        Some(other) => {
            return Err(format!(
                "an upstream is spoken to over http:// or https://, not {other}://"
            ));
        }
        None => return Err(format!("`{text}` has no scheme: write \"http://{text}\"")),
    }
    if uri.host().is_none_or(str::is_empty) {
        return Err(format!("`{text}` names no host"));
    }
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    if authority.contains('@') {
        return Err("user information in an upstream's URL is not sent: leave it out".to_owned());
    }
    // A port that does not fit is no port to the parser.
    let port = authority
        .rsplit(']')
        .next()
        .and_then(|rest| rest.split_once(':'));
    if port.is_some() && uri.port_u16().is_none_or(|port| port == 0) {
        return Err(format!("`{text}` needs a port from 1 to 65535"));
    }
    if uri.path() != "/" || uri.query().is_some() {
        return Err(format!(
            "`{text}` has a path: calls keep the path they came with, so leave it out"
        ));
    }
    Ok(uri)
}
