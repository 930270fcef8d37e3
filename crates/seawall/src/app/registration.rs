//! Making the program known to those who look for it.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::time::timeout;

use super::assemble::Addresses;
use super::lifecycle::{Hook, REGISTRY, Register};
use super::part::BoxError;
use super::settings::RegistrySettings;
use crate::discovery::{Address, Instance, Registration, RegistrationState, Registry};

/// What is made known, once the servers listen.
pub(super) struct Known {
    pub(super) service: String,
    pub(super) version: String,
    pub(super) addresses: Addresses,
    pub(super) settings: RegistrySettings,
}

impl Known {
    /// `None` where nothing is served, and there is nothing to make known.
    fn instance(&self) -> Result<Option<Instance>, BoxError> {
        let bound = [
            ("grpc", self.addresses.grpc()),
            ("http", self.addresses.http()),
        ];
        let bound = bound
            .into_iter()
            .filter_map(|(scheme, at)| Some((scheme, at?)));
        let bound: Vec<_> = bound.collect();
        let Some((_, first)) = bound.first() else {
            return Ok(None);
        };
        let id = match &self.settings.id {
            Some(id) => id.clone(),
            None => format!("{}-{}", node(), first.port()),
        };
        let addresses: Result<Vec<_>, _> = bound
            .iter()
            .map(|(scheme, at)| self.address(scheme, *at))
            .collect();
        Ok(Some(Instance {
            version: self.version.clone(),
            zone: self.settings.zone.clone(),
            weight: u32::try_from(self.settings.weight.get()).unwrap_or(1),
            ..Instance::new(self.service.clone(), id, addresses?)
        }))
    }

    /// Whom others reach, at the port that is bound.
    fn address(&self, scheme: &str, bound: SocketAddr) -> Result<Address, BoxError> {
        let text = match &self.settings.advertise {
            Some(host) if host.contains(':') => format!("{scheme}://[{host}]:{}", bound.port()),
            Some(host) => format!("{scheme}://{host}:{}", bound.port()),
            None if bound.ip().is_unspecified() => {
                return Err(format!(
                    "{scheme}.address is {bound}, which tells nobody where we are: set registry.advertise to the host that others reach us by"
                )
                .into());
            }
            None => format!("{scheme}://{bound}"),
        };
        Ok(text.parse()?)
    }
}

/// The machine's name.
fn node() -> String {
    let name = rustix::system::uname();
    name.nodename().to_string_lossy().into_owned()
}

/// A step that makes the program known to `registry`, and its undoing.
///
/// That the registry does not answer is no reason not to serve: it is asked again until it does.
pub(super) fn register(registry: Arc<dyn Registry>, known: Arc<Known>) -> Register {
    Box::new(move || {
        Box::pin(async move {
            let Some(instance) = known.instance()? else {
                // A file may be several programs'.
                tracing::warn!("[registry]: nothing is served here, so nothing is made known");
                return Ok(nothing());
            };
            let registration = registry.register(instance);
            // Shorter than the step may take, which would fail it.
            let state = timeout(REGISTRY / 2, registration.tried()).await;
            match state {
                Ok(RegistrationState::Registered) => tracing::info!("registered"),
                state => {
                    let state = state.unwrap_or_else(|_| registration.state());
                    tracing::warn!(?state, "not registered yet; it is tried again");
                }
            }
            Ok(undo(registration))
        })
    })
}

fn nothing() -> Hook {
    Box::new(|| Box::pin(async { Ok(()) }))
}

fn undo(registration: Registration) -> Hook {
    Box::new(move || {
        Box::pin(async move {
            match registration.deregister().await {
                RegistrationState::Deregistered => tracing::info!("deregistered"),
                state => tracing::warn!(
                    ?state,
                    "the registry could not be told: it forgets us when the lease ends"
                ),
            }
            Ok(())
        })
    })
}

/// The registry that the configuration names.
#[cfg(feature = "etcd")]
pub(super) fn configured(
    settings: &RegistrySettings,
) -> Result<Option<Arc<dyn Registry>>, BoxError> {
    use crate::discovery::etcd::{Etcd, Settings};
    let Some(target) = &settings.target else {
        return Ok(None);
    };
    let cluster = target.parse();
    let cluster = cluster.map_err(|error| format!("registry.target: {error}"))?;
    Ok(Some(Arc::new(Etcd::new(cluster, Settings::default()))))
}

/// Nothing can be named without the feature.
#[cfg(not(feature = "etcd"))]
pub(super) fn configured(
    settings: &RegistrySettings,
) -> Result<Option<Arc<dyn Registry>>, BoxError> {
    match &settings.target {
        Some(target) => Err(format!(
            "registry.target: `{target}`: built without the feature `etcd`; add it to seawall's features"
        )
        .into()),
        None => Ok(None),
    }
}
