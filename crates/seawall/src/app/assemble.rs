//! From what was added to what is served.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use parking_lot::Mutex;
use tonic_reflection::server::Builder as Reflection;

use super::admin::{self, Admin};
use super::config::Configuration;
use super::health::Health;
use super::lifecycle::Course;
use super::metrics::{AppMetrics, Reloads};
use super::openapi;
use super::part::{AnyPart, BoxError};
use super::registration::{self, Known};
use super::server::{Limits, Server};
use super::settings::{GrpcSettings, HttpSettings, Settings};
use super::setup::{Assembly, Shared};
use super::stack::{Stacks, over};
use crate::api::Service;
use crate::telemetry::{LevelHandle, Log, SpanSink};

/// Where the program's servers listen, once they do; `None` for those it has not.
#[derive(Clone, Debug, Default)]
pub struct Addresses {
    http: Bound,
    grpc: Bound,
    admin: Bound,
}

type Bound = Arc<Mutex<Option<SocketAddr>>>;

impl Addresses {
    /// JSON over HTTP, `/docs`.
    #[must_use]
    pub fn http(&self) -> Option<SocketAddr> {
        *self.http.lock()
    }

    /// gRPC.
    #[must_use]
    pub fn grpc(&self) -> Option<SocketAddr> {
        *self.grpc.lock()
    }

    /// Health, metrics, configuration.
    #[must_use]
    pub fn admin(&self) -> Option<SocketAddr> {
        *self.admin.lock()
    }
}

/// What is needed beside what was added.
pub(super) struct With<'w> {
    pub(super) addresses: &'w Addresses,
    pub(super) reloads: Arc<Reloads>,
    pub(super) levels: Option<LevelHandle>,
    pub(super) log: Option<Log>,
    pub(super) spans: Option<Arc<dyn SpanSink>>,
}

/// The servers, and what the way goes by.
pub(super) async fn assemble<C: Configuration>(
    shared: &Arc<Shared<C>>,
    with: With<'_>,
) -> Result<(Course, Health, Stacks), BoxError> {
    let assembly = std::mem::take(&mut *shared.assembly.lock());
    let Assembly {
        mut course,
        services,
        http,
        grpc,
        admin,
        jobs,
        registries,
        clients: _,
    } = assembly;
    let settings = shared.settings.load_full();
    let health = Health::new(services.iter().map(|service| service.name)).await;
    shared
        .metrics
        .lock()
        .register_collector(Box::new(AppMetrics {
            name: shared.name.clone(),
            version: shared.version.clone(),
            started: Instant::now(),
            health: health.clone(),
            reloads: with.reloads,
            jobs,
        }));
    #[cfg(feature = "profile")]
    {
        crate::profile::watch_runtime("main", &tokio::runtime::Handle::current());
        let counts = Box::new(crate::profile::Metrics);
        shared.metrics.lock().register_collector(counts);
    }
    let methods = services.iter().flat_map(|service| service.methods).copied();
    let methods: Vec<_> = methods.collect();
    let stacks = Stacks::new(&methods, &settings, with.log, with.spans)?;
    let counts = Box::new(stacks.http.metrics());
    let mut metrics = shared.metrics.lock();
    // Its names come without the prefix, as the gateway's do.
    let ours = metrics.sub_registry_with_prefix("seawall");
    ours.register_collector(counts);
    drop(metrics);
    let addresses = with.addresses;
    // First up and last down, so that what happens in between can be seen.
    let shows = Admin {
        health: health.clone(),
        metrics: shared.metrics.clone(),
        config: shown(shared),
        levels: with.levels,
    };
    let admin = admin::router(shows, settings.admin.token.clone(), admin);
    let server = Server::new(
        "admin",
        settings.admin.address,
        admin,
        few(),
        addresses.admin.clone(),
    );
    course.parts.insert(0, Arc::new(server));
    if let Some(router) = grpc_router(&services, grpc, &health, &stacks, &settings)? {
        let limits = grpc_limits(&settings.grpc);
        let server = Server::new(
            "grpc",
            settings.grpc.address,
            router,
            limits,
            addresses.grpc.clone(),
        );
        course.servers.push(Arc::new(server) as Arc<dyn AnyPart>);
    }
    if let Some(router) = http_router(shared, services, http, &stacks, &settings)? {
        let limits = http_limits(&settings.http);
        let server = Server::new(
            "http",
            settings.http.address,
            router,
            limits,
            addresses.http.clone(),
        );
        course.servers.push(Arc::new(server) as Arc<dyn AnyPart>);
    }
    let known = Arc::new(Known {
        service: shared.name.clone(),
        version: shared.version.clone(),
        addresses: addresses.clone(),
        settings: settings.registry.clone(),
    });
    let configured = registration::configured(&settings.registry)?;
    for registry in configured.into_iter().chain(registries) {
        let register = registration::register(registry, known.clone());
        course.register.push(register);
    }
    Ok((course, health, stacks))
}

/// The configuration in force: ours and the program's own, in one.
pub(super) fn shown<C: Configuration>(shared: &Arc<Shared<C>>) -> admin::ShowConfig {
    let shared = Arc::downgrade(shared);
    Arc::new(move || {
        let Some(shared) = shared.upgrade() else {
            return serde_json::Value::Null;
        };
        whole(&shared.settings.load(), &**shared.own.load())
    })
}

/// Both halves of a configuration, as they are written: in one table.
pub(super) fn whole<C: Configuration>(settings: &Settings, own: &C) -> serde_json::Value {
    let mut all = serde_json::to_value(settings).unwrap_or_default();
    let own = serde_json::to_value(own).unwrap_or_default();
    if let (Some(all), serde_json::Value::Object(own)) = (all.as_object_mut(), own) {
        all.extend(own);
    }
    all
}

fn grpc_router(
    services: &[Service],
    more: Option<Router>,
    health: &Health,
    stacks: &Stacks,
    settings: &Settings,
) -> Result<Option<Router>, BoxError> {
    if services.is_empty() && more.is_none() {
        return Ok(None);
    }
    let mut router = more.unwrap_or_default();
    for service in services {
        // Each has the fallback that answers for what is not there, and one is enough.
        let routes = service.grpc.clone().into_axum_router();
        router = router.merge(routes.reset_fallback());
    }
    let router = over(&stacks.grpc, router.fallback(unknown));
    // Who asks for health or methods is not turned away by what protects the rest.
    let mut open = tonic::service::Routes::new(health.grpc());
    if settings.grpc.reflection {
        let describe = || {
            let all = services.iter().map(|service| service.descriptors);
            let all = all.filter(|descriptors| !descriptors.is_empty());
            let builder = Reflection::configure()
                .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET);
            let builder = all.fold(builder, Reflection::register_encoded_file_descriptor_set);
            // A package's descriptors hold services that are not served here.
            let served = services.iter().map(|service| service.name);
            served
                .chain(["grpc.health.v1.Health"])
                .fold(builder, Reflection::with_service_name)
        };
        let (v1, v1alpha) = (
            describe().with_service_name("grpc.reflection.v1.ServerReflection"),
            describe().with_service_name("grpc.reflection.v1alpha.ServerReflection"),
        );
        open = open
            .add_service(v1.build_v1()?)
            .add_service(v1alpha.build_v1alpha()?);
    }
    let open = open.into_axum_router().reset_fallback();
    Ok(Some(open.merge(router)))
}

/// What gRPC says to a method that is not there.
async fn unknown() -> http::Response<tonic::body::Body> {
    tonic::Status::unimplemented("no such method").into_http()
}

fn http_router<C>(
    shared: &Shared<C>,
    services: Vec<Service>,
    more: Option<Router>,
    stacks: &Stacks,
    settings: &Settings,
) -> Result<Option<Router>, BoxError> {
    if services.is_empty() && more.is_none() {
        return Ok(None);
    }
    let described = settings.http.docs && !services.is_empty();
    let parts = services
        .iter()
        .map(|service| (service.name, service.openapi));
    let parts = parts.filter(|(_, part)| !part.is_empty());
    let description = openapi::merged(&shared.name, &shared.version, parts);
    let description = description.map_err(|error| format!("OpenAPI of a service: {error}"))?;
    let mut routes = crate::api::Routes::new();
    for service in services {
        let merged = routes.merge(service.http);
        routes = merged.map_err(|clash| format!("HTTP routes: {clash}"))?;
    }
    let router = more.unwrap_or_default().fallback_service(routes);
    let router = over(&stacks.http, router);
    Ok(Some(if described {
        router.merge(openapi::router(description))
    } else {
        router
    }))
}

fn http_limits(http: &HttpSettings) -> Limits {
    Limits {
        header_timeout: http.header_timeout.get(),
        idle_timeout: http.idle_timeout.get(),
        max_header_bytes: size(http.max_header_bytes.get()),
        max_connections: size(http.max_connections.get()),
        max_streams: u32::try_from(http.max_streams.get()).unwrap_or(u32::MAX),
    }
}

fn grpc_limits(grpc: &GrpcSettings) -> Limits {
    Limits {
        header_timeout: grpc.header_timeout.get(),
        idle_timeout: grpc.idle_timeout.get(),
        max_header_bytes: size(grpc.max_header_bytes.get()),
        max_connections: size(grpc.max_connections.get()),
        max_streams: u32::try_from(grpc.max_streams.get()).unwrap_or(u32::MAX),
    }
}

fn size(n: u64) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}

/// For the admin server.
fn few() -> Limits {
    let limits = http_limits(&HttpSettings::default());
    Limits {
        max_connections: 64,
        ..limits
    }
}
