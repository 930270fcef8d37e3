//! Making a service known to those who look for it.
//!
//! A registration is a task, not a call: it stands for as long as the service wants it, through
//! whatever happens to the registry, and the service is told how it stands but has nothing to do
//! about it. So [`Registry::register`] cannot fail; a registry that is away is a state.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::target::{Host, Target, TargetError};

/// Where services make themselves known.
pub trait Registry: Send + Sync + 'static {
    /// Begins to make `instance` known, and keeps it so. Returns at once.
    ///
    /// # Panics
    /// Those that need a tokio runtime panic outside of one.
    fn register(&self, instance: Instance) -> Registration;
}

/// A running copy of a service, as it makes itself known.
///
/// ```
/// use seawall::discovery::Instance;
///
/// let instance = Instance {
///     version: "1.4.0".to_owned(),
///     zone: Some("eu-1a".to_owned()),
///     ..Instance::new("orders", "orders-7f", ["grpc://10.0.0.7:9000".parse()?])
/// };
/// assert_eq!(instance.weight, 1);
/// # Ok::<(), seawall::discovery::AddressError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instance {
    /// What it is a copy of: no `/` in it.
    pub service: String,
    /// Which copy: unlike that of any other that runs. One that is started anew under the same id
    /// takes the place of the one before.
    pub id: String,
    /// Of the program, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// Where it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// Its share of the calls, 1 to 65,535; others are brought into it.
    #[serde(default = "one")]
    pub weight: u32,
    /// Where it listens, at most one for each scheme. The first is for callers that name none.
    pub addresses: Vec<Address>,
    /// Whatever else others want to know.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
}

const fn one() -> u32 {
    1
}

impl Instance {
    /// Of weight 1, and nothing else said of it.
    #[must_use]
    pub fn new(
        service: impl Into<String>,
        id: impl Into<String>,
        addresses: impl IntoIterator<Item = Address>,
    ) -> Self {
        Self {
            service: service.into(),
            id: id.into(),
            version: String::new(),
            zone: None,
            weight: one(),
            addresses: addresses.into_iter().collect(),
            metadata: BTreeMap::new(),
        }
    }

    /// Where calls of `scheme`, or of whichever comes first, go.
    #[must_use]
    pub fn target(&self, scheme: Option<&str>) -> Option<Target> {
        let wanted = |address: &&Address| scheme.is_none_or(|scheme| *address.scheme == *scheme);
        let address = self.addresses.iter().find(wanted)?;
        Some(Target {
            weight: self.weight.clamp(1, 65_535),
            zone: self.zone.as_deref().map(Into::into),
            ..Target::new(address.host.clone(), address.port)
        })
    }
}

/// `grpc://10.0.0.7:9000`: a scheme and where it is spoken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Address {
    /// `http`, `grpc` or another, in lower case.
    pub scheme: Arc<str>,
    /// Whom others can reach: `0.0.0.0` is nobody.
    pub host: Host,
    /// At least 1.
    pub port: u16,
}

/// Why a text is no address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// No scheme before it.
    #[error("`{0}` has no scheme: write http://{0} or grpc://{0}")]
    Scheme(String),
    /// The host and port are not.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// An address to listen on, which leads every caller to itself.
    #[error("`{0}` is an address to listen on; say the one that others reach it by")]
    Unspecified(String),
    /// More than scheme, host and port.
    #[error("`{0}` says more than scheme://host:port")]
    More(String),
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let (scheme, rest) = text
            .split_once("://")
            .filter(|(scheme, _)| is_scheme(scheme))
            .ok_or_else(|| AddressError::Scheme(text.to_owned()))?;
        let target: Target = rest.parse()?;
        if rest.contains(char::is_whitespace) {
            return Err(AddressError::More(text.to_owned()));
        }
        if matches!(target.host, Host::Ip(ip) if ip.is_unspecified()) {
            return Err(AddressError::Unspecified(text.to_owned()));
        }
        Ok(Self {
            scheme: scheme.into(),
            host: target.host,
            port: target.port,
        })
    }
}

pub(super) fn is_scheme(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"+-.".contains(&b);
    text.starts_with(|c: char| c.is_ascii_lowercase()) && text.bytes().all(inner)
}

impl TryFrom<String> for Address {
    type Error = AddressError;

    fn try_from(text: String) -> Result<Self, AddressError> {
        text.parse()
    }
}

impl From<Address> for String {
    fn from(address: Address) -> Self {
        address.to_string()
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}:{}", self.scheme, self.host, self.port)
    }
}

/// An instance that is being made known. [`deregister`](Self::deregister), or dropping it, takes it
/// out again at once.
#[derive(Debug)]
pub struct Registration {
    instance: Arc<Instance>,
    state: watch::Receiver<RegistrationState>,
    wanted: watch::Sender<bool>,
}

/// How a registration stands, for metrics and for people.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RegistrationState {
    /// It has never been known yet. The reason, where one try has failed.
    Pending(Option<Arc<str>>),
    /// It is known.
    Registered,
    /// It was known, and the registry does not answer, or has just forgotten it. Others know it for
    /// as long as its lease runs, and from when the registry is back.
    Uncertain(Arc<str>),
    /// Another of the same id was started later, and is known in its place. It is made known again
    /// when that one goes.
    Replaced,
    /// It was taken out.
    Deregistered,
    /// Nobody could be told that it goes: it is known until its lease ends.
    Abandoned(Arc<str>),
}

impl Registration {
    /// For those who write a registry: the handle, and what its task reports to and looks at.
    #[must_use]
    pub fn new(instance: Instance) -> (Self, Registering) {
        let instance = Arc::new(instance);
        let (report, state) = watch::channel(RegistrationState::Pending(None));
        let (wanted, want) = watch::channel(true);
        let registration = Self {
            instance: instance.clone(),
            state,
            wanted,
        };
        let registering = Registering {
            instance,
            report,
            want,
        };
        (registration, registering)
    }

    /// What is made known.
    #[must_use]
    pub fn instance(&self) -> &Instance {
        &self.instance
    }

    /// How it stands.
    #[must_use]
    pub fn state(&self) -> RegistrationState {
        self.state.borrow().clone()
    }

    /// Waits until `condition` holds of the state, and returns it; also where the task has ended
    /// with its runtime, in the last state it had. Cancel-safe.
    pub async fn wait_for(
        &self,
        condition: impl FnMut(&RegistrationState) -> bool,
    ) -> RegistrationState {
        let mut state = self.state.clone();
        let found = state.wait_for(condition).await;
        let found = found.ok().map(|state| state.clone());
        found.unwrap_or_else(|| self.state())
    }

    /// Waits until it was tried once, well or not. Cancel-safe.
    pub async fn tried(&self) -> RegistrationState {
        let first = RegistrationState::Pending(None);
        self.wait_for(|state| *state != first).await
    }

    /// Takes it out, and waits until that is done or given up, within the registry's time limit for
    /// a call. Cancel-safe: it goes on without the one who waits.
    pub async fn deregister(self) -> RegistrationState {
        self.wanted.send_replace(false);
        self.wait_for(RegistrationState::is_end).await
    }
}

impl RegistrationState {
    /// Nothing comes after it.
    #[must_use]
    pub const fn is_end(&self) -> bool {
        matches!(self, Self::Deregistered | Self::Abandoned(_))
    }
}

/// The task's end of a [`Registration`].
#[derive(Debug)]
pub struct Registering {
    instance: Arc<Instance>,
    report: watch::Sender<RegistrationState>,
    want: watch::Receiver<bool>,
}

impl Registering {
    /// What is to be made known.
    #[must_use]
    pub fn instance(&self) -> &Arc<Instance> {
        &self.instance
    }

    /// Tells how it stands.
    pub fn report(&self, state: RegistrationState) {
        self.report.send_if_modified(|last| {
            let differs = *last != state;
            *last = state;
            differs
        });
    }

    /// How it was last told to stand.
    #[must_use]
    pub fn state(&self) -> RegistrationState {
        self.report.borrow().clone()
    }

    /// Waits until it is to be taken out. Cancel-safe.
    pub async fn unwanted(&self) {
        // An error: the registration was dropped.
        let _ = self.want.clone().wait_for(|wanted| !wanted).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for text in ["grpc://10.0.0.7:9000", "http://[::1]:80", "h2c://db:1"] {
            let address: Address = text.parse().unwrap();
            assert_eq!(address.to_string(), text);
        }
        for (text, says) in [
            ("10.0.0.7:80", "no scheme"),
            ("://10.0.0.7:80", "no scheme"),
            ("grpc://10.0.0.7", "no port"),
            ("grpc://0.0.0.0:80", "listen"),
            ("grpc://[::]:80", "listen"),
            ("grpc://a:80 weight=2", "more than"),
        ] {
            let error = text.parse::<Address>().unwrap_err().to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
    }

    #[test]
    fn a_target_is_of_the_scheme_asked_for() {
        let addresses = ["http://a:1", "grpc://b:2"].map(|text| text.parse().unwrap());
        let instance = Instance {
            weight: 0,
            zone: Some("z".into()),
            ..Instance::new("orders", "1", addresses)
        };
        let shown = |scheme| instance.target(scheme).map(|target| target.to_string());
        assert_eq!(shown(None).as_deref(), Some("a:1 zone=z"));
        assert_eq!(shown(Some("grpc")).as_deref(), Some("b:2 zone=z"));
        assert_eq!(shown(Some("ftp")), None);
    }

    #[tokio::test]
    async fn who_drops_it_or_asks_for_it_takes_it_out() {
        let of = || Registration::new(Instance::new("orders", "1", []));
        let (registration, registering) = of();
        drop(registration);
        registering.unwanted().await;

        let (registration, registering) = of();
        let task = tokio::spawn(async move {
            registering.report(RegistrationState::Registered);
            registering.unwanted().await;
            registering.report(RegistrationState::Deregistered);
        });
        assert_eq!(registration.tried().await, RegistrationState::Registered);
        let end = registration.deregister().await;
        assert_eq!(end, RegistrationState::Deregistered);
        task.await.unwrap();

        let (registration, registering) = of();
        drop(registering);
        let state = registration.deregister().await;
        assert_eq!(state, RegistrationState::Pending(None), "its task is gone");
    }
}
