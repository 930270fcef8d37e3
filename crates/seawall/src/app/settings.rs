//! The sections of the configuration that every program has.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::config::Secret;
use crate::config::{Count, Size, Time};
use crate::layer;
#[cfg(feature = "jwt")]
pub use crate::layer::settings::AuthSettings;
pub use crate::layer::settings::{
    AdmissionSettings, AuthMode, LaneSettings, MethodSettings, TraceSettings,
};
pub use crate::telemetry::Levels;

const HOUR: u64 = 3_600_000;

/// What every program can be told. Every setting has a default.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct Settings {
    /// JSON over HTTP.
    pub http: HttpSettings,
    /// gRPC.
    pub grpc: GrpcSettings,
    /// Health, metrics, configuration.
    pub admin: AdminSettings,
    /// How the program ends.
    pub drain: DrainSettings,
    /// What is written.
    pub log: LogSettings,
    /// Which calls are traced.
    pub trace: TraceSettings,
    /// Who may call; anyone, where it is left out.
    #[cfg(feature = "jwt")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth: Option<AuthSettings>,
    /// How many calls may be at work, and who waits.
    pub admission: AdmissionSettings,
    /// Work that is kept apart, by name.
    pub lanes: BTreeMap<String, LaneSettings>,
    /// What is particular to a method, by name: `shop.v1.Orders/Place`, `shop.v1.Orders/*`, `*`.
    pub methods: BTreeMap<String, MethodSettings>,
    /// Where it makes itself known.
    pub registry: RegistrySettings,
    /// Whom it calls, by name: as the gateway's upstreams.
    #[serde(skip_deserializing)]
    pub upstreams: BTreeMap<String, serde_json::Value>,
}

impl Settings {
    /// What the stack before the handlers is told.
    pub(super) fn stack(&self) -> layer::settings::Settings {
        layer::settings::Settings {
            log: layer::settings::LogSettings {
                access: self.log.access,
            },
            trace: self.trace.clone(),
            #[cfg(feature = "jwt")]
            auth: self.auth.clone(),
            admission: self.admission.clone(),
            lanes: self.lanes.clone(),
            methods: self.methods.clone(),
        }
    }
}

/// Whether what a server's callers say of themselves is believed: deadlines longer than ours,
/// criticality, tenant, trace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Believed {
    /// Anyone may call: nobody is believed.
    #[default]
    Edge,
    /// Only our own services call: all of them are.
    Internal,
}

/// `[http]`: where JSON over HTTP is served, and what a connection may do. All of it needs a restart.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct HttpSettings {
    /// Where it listens.
    pub address: SocketAddr,
    /// Serves `/docs` and `/openapi.json`.
    pub docs: bool,
    /// Whether callers are believed.
    pub trust: Believed,
    /// How long a request's head may take; also how long an HTTP/1.1 connection may wait for the
    /// next one.
    pub header_timeout: Time<100, HOUR>,
    /// A connection on which nothing was asked for so long is closed.
    pub idle_timeout: Time<100, { 24 * HOUR }>,
    /// The largest head of a request.
    pub max_header_bytes: Size<{ 8 << 10 }, { 1 << 20 }>,
    /// Connections at once; who comes after them waits.
    pub max_connections: Count<1, 1_000_000>,
    /// Calls at once on one HTTP/2 connection.
    pub max_streams: Count<1, 10_000>,
}

impl Default for HttpSettings {
    fn default() -> Self {
        Self {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 8_000)),
            docs: true,
            trust: Believed::Edge,
            header_timeout: Time::new(Duration::from_secs(60)),
            idle_timeout: Time::new(Duration::from_secs(300)),
            max_header_bytes: Size::new(16 << 10),
            max_connections: Count::new(10_000),
            max_streams: Count::new(200),
        }
    }
}

/// `[grpc]`: where gRPC is served, and what a connection may do. All of it needs a restart.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct GrpcSettings {
    /// Where it listens.
    pub address: SocketAddr,
    /// Callers may ask which methods there are.
    pub reflection: bool,
    /// Whether callers are believed.
    pub trust: Believed,
    /// How long a request's head may take; also how long an HTTP/1.1 connection may wait for the
    /// next one.
    pub header_timeout: Time<100, HOUR>,
    /// A connection on which nothing was asked for so long is closed.
    pub idle_timeout: Time<100, { 24 * HOUR }>,
    /// The largest head of a request.
    pub max_header_bytes: Size<{ 8 << 10 }, { 1 << 20 }>,
    /// Connections at once; who comes after them waits.
    pub max_connections: Count<1, 1_000_000>,
    /// Calls at once on one HTTP/2 connection.
    pub max_streams: Count<1, 10_000>,
}

impl Default for GrpcSettings {
    fn default() -> Self {
        Self {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 9_000)),
            reflection: true,
            trust: Believed::Edge,
            header_timeout: Time::new(Duration::from_secs(60)),
            idle_timeout: Time::new(Duration::from_secs(300)),
            max_header_bytes: Size::new(16 << 10),
            max_connections: Count::new(10_000),
            max_streams: Count::new(200),
        }
    }
}

/// `[admin]`: health, metrics, configuration. Needs a restart.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct AdminSettings {
    /// Where it listens: loopback, unless there is a token.
    pub address: SocketAddr,
    /// Asked of every admin request but health's, as `authorization: Bearer …`.
    pub token: Option<Secret>,
}

impl Default for AdminSettings {
    fn default() -> Self {
        Self {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 9_900)),
            token: None,
        }
    }
}

/// `[drain]`: how the program ends.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct DrainSettings {
    /// How long it goes on serving after it said that it is going, for callers to hear of it. Left
    /// out: 5 s, or none where nobody was told of it and only this machine reaches it.
    pub delay: Option<Time<0, HOUR>>,
    /// How long what is under way may then take to finish.
    pub timeout: Time<0, HOUR>,
}

impl Default for DrainSettings {
    fn default() -> Self {
        Self {
            delay: None,
            timeout: Time::new(Duration::from_secs(25)),
        }
    }
}

/// `[registry]`: where the program makes itself known, and as what. Needs a restart.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct RegistrySettings {
    /// `etcd://HOST:PORT[,HOST:PORT]/PREFIX`; nowhere by default. Needs the feature `etcd`.
    pub target: Option<String>,
    /// The host that others reach us by; by default the address that is listened on.
    pub advertise: Option<String>,
    /// Which copy of the service this is; by default the machine's name and the port.
    pub id: Option<String>,
    /// Where it runs.
    pub zone: Option<String>,
    /// Its share of the calls.
    pub weight: Count<1, 65_535>,
}

impl Default for RegistrySettings {
    fn default() -> Self {
        Self {
            target: None,
            advertise: None,
            id: None,
            zone: None,
            weight: Count::new(1),
        }
    }
}

/// `[log]`: what is written.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct LogSettings {
    /// The least level, also by module: `"info,shop::biz=debug"`.
    pub level: Levels,
    /// The share of calls without a fault of the service that get a line, 0 to 1. Calls that the
    /// service failed always get one.
    pub access: f64,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self {
            level: Levels::default(),
            access: layer::settings::LogSettings::default().access,
        }
    }
}

/// What each setting does, for the printed configuration; tests hold it to the types.
#[rustfmt::skip] // A table, to be read as one.
pub(super) const DOCS: &[(&str, &str)] = &[
    ("http.address", "IP address and port for JSON over HTTP. 0.0.0.0 where others call. Needs a restart"),
    ("http.docs", "Serves /docs and /openapi.json. Needs a restart"),
    ("http.trust", "edge: callers are not believed. internal: only our own services call, and what they say of deadline, criticality, tenant and trace is believed. Needs a restart"),
    ("http.header_timeout", "Time for a request's head, and for the next one on an HTTP/1.1 connection: 100ms to 1h. Longer than a proxy keeps its connections (nginx: 60s). Needs a restart"),
    ("http.idle_timeout", "A connection on which nothing was asked for so long is closed: 100ms to 24h. Needs a restart"),
    ("http.max_header_bytes", "Largest head of a request: 8KiB to 1MiB. Needs a restart"),
    ("http.max_connections", "Connections at once; more wait: 1 to 1000000. Needs a restart"),
    ("http.max_streams", "Calls at once on one HTTP/2 connection: 1 to 10000. Needs a restart"),
    ("grpc.address", "IP address and port for gRPC. 0.0.0.0 where others call. Needs a restart"),
    ("grpc.reflection", "Callers may ask which methods there are (grpcurl does). Needs a restart"),
    ("grpc.trust", "As http.trust"),
    ("grpc.header_timeout", "As http.header_timeout"),
    ("grpc.idle_timeout", "As http.idle_timeout"),
    ("grpc.max_header_bytes", "As http.max_header_bytes"),
    ("grpc.max_connections", "As http.max_connections"),
    ("grpc.max_streams", "As http.max_streams"),
    ("admin.address", "IP address and port for /livez /readyz /metrics /config /log-level. Others than this machine reach it only with a token. Needs a restart"),
    ("admin.token", "Asked as `authorization: Bearer ...` of all but /livez and /readyz: \"env:NAME\" or \"file:PATH\". Needs a restart"),
    ("drain.delay", "How long it goes on serving after a signal, until callers have heard: 0s to 1h. Left out: 5s, or 0s where it is registered nowhere and listens on loopback"),
    ("drain.timeout", "How long what is under way may then take: 0s to 1h. With the delay, below the time after which the platform kills (Kubernetes: 30s)"),
    ("registry.target", "Where the program makes itself known: \"etcd://HOST:PORT,HOST:PORT/PREFIX\"; nowhere, where left out. Needs a restart"),
    ("registry.advertise", "The host that others reach us by; by default the address that is listened on. Needs a restart"),
    ("registry.id", "Which copy of the service this is; by default the machine's name and the port. Needs a restart"),
    ("registry.zone", "Where it runs. Needs a restart"),
    ("registry.weight", "Its share of the calls: 1 to 65535. Needs a restart"),
    ("log.level", "error, warn, info, debug, trace; by module: \"info,shop::biz=debug\""),
    ("log.access", "The share of calls that get a line, 0 to 1; those that the service failed always get one"),
    ("trace.sample", "The share of calls that are traced where the caller does not decide, 0 to 1"),
    ("trace.endpoint", "The collector that spans go to, by OTLP over gRPC: \"http://HOST:4317\"; nowhere, where left out. Needs the feature `otel`, and a restart"),
    ("admission.shadow", "Decide and count, but turn nobody away and make nobody wait"),
    ("admission.min_limit", "The least that the concurrency limit may be: 1 to max_limit"),
    ("admission.max_limit", "The most that it may be: 1 to 1000000"),
    ("admission.max_queued", "The most calls that may wait: 1 to 1000000"),
    ("admission.max_streams", "The most long-lived replies at once: 1 to 1000000"),
];

/// The settings that a change of which shows only after a restart, where they differ.
pub(super) fn frozen(old: &Settings, new: &Settings) -> Vec<&'static str> {
    let mut names = Vec::new();
    if old.http != new.http {
        names.push("http");
    }
    if old.grpc != new.grpc {
        names.push("grpc");
    }
    if old.admin != new.admin {
        names.push("admin");
    }
    if old.registry != new.registry {
        names.push("registry");
    }
    if old.trace.endpoint != new.trace.endpoint {
        names.push("trace.endpoint");
    }
    if old.upstreams != new.upstreams {
        names.push("upstreams");
    }
    names
}
