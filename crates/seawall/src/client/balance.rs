//! Sends each call to one of many hosts.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::Body;
use pin_project_lite::pin_project;
use seawall_policy::balance::{Ask, BalanceSettings, Choice, HostSnapshot, HostSpec, Hosts, Load};
use seawall_sync::Snapshot;
use tokio::task::AbortHandle;
use tower::util::Oneshot;
use tower::{Service, ServiceExt as _};

use super::breaker::of_error;
use super::error::{Error, ErrorKind};
use super::outgoing::Outgoing;
use super::recorded::{Record, Recorded, Sample};
use crate::clock::Clock;
use crate::context::{Wire, load};
use crate::discovery::{DiscoveryError, Endpoint, Endpoints};
use crate::layer::Head;
use crate::{Criticality, Outcome, Tick};

/// What a call is hashed by, where hosts are chosen by a hash.
pub type HashKey = Arc<dyn Fn(&Head<'_>) -> Option<u64> + Send + Sync>;

/// A service over many hosts: picks one for each call and tells it how the call ended.
///
/// Beside the hosts' state lies a service for each, made by `connect` when the host appears and
/// dropped when it goes; what is known of a host outlives updates of the list. A pick takes no
/// lock. Attempts of one call go to hosts that it has not tried. Clones share everything.
///
/// Of the endpoints' priorities only the first is used.
///
/// ```
/// use seawall::client::Balanced;
/// use seawall::discovery::Endpoint;
/// use std::convert::Infallible;
/// use tower::{ServiceExt, service_fn};
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
///
/// let endpoint = Endpoint::new("10.0.0.7:80".parse()?);
/// let balanced = Balanced::new([endpoint].as_slice(), |endpoint: &Endpoint| {
///     let says = endpoint.address.to_string();
///     let service = move |_: http::Request<()>| {
///         let reply = http::Response::new(says.clone());
///         async { Ok::<_, Infallible>(reply) }
///     };
///     service_fn(service)
/// });
/// let reply = balanced.clone().oneshot(http::Request::new(())).await?;
/// assert_eq!(balanced.snapshot()[0].in_flight, 1, "until its body is read");
/// drop(reply);
/// assert_eq!(balanced.snapshot()[0].in_flight, 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
pub struct Balanced<S> {
    shared: Arc<Shared<S>>,
}

struct Shared<S> {
    list: Snapshot<List<S>>,
    connect: Box<dyn Fn(&Endpoint) -> S + Send + Sync>,
    clock: Clock,
    hash: Option<HashKey>,
    zone: u16,
    follow: Option<Follow>,
    probe: OnceLock<Probe<S>>,
}

type Probe<S> = Box<dyn Fn(S) -> Pin<Box<dyn Future<Output = Option<Load>> + Send>> + Send + Sync>;

/// What is older is of no use: as long as a report is fresh.
const PROBE_LIMIT: Duration = Duration::from_secs(1);

/// In one order.
struct List<S> {
    hosts: Hosts,
    services: Box<[S]>,
}

struct Follow {
    endpoints: Arc<Endpoints>,
    task: AbortHandle,
}

impl Drop for Follow {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// How a [`Balanced`] chooses.
#[derive(Clone, Default)]
pub struct BalanceOptions {
    /// The policy's settings.
    pub settings: BalanceSettings,
    /// What a call is hashed by; by default nothing. A call that has nothing to hash goes by the
    /// algorithm alone.
    pub hash: Option<HashKey>,
    /// Where the caller is.
    pub zone: Option<Arc<str>>,
    /// The clock; the system's by default.
    pub clock: Clock,
}

impl<S: Clone + Send + Sync + 'static> Balanced<S> {
    /// Over these endpoints, with the defaults.
    #[must_use]
    pub fn new(
        endpoints: &[Endpoint],
        connect: impl Fn(&Endpoint) -> S + Send + Sync + 'static,
    ) -> Self {
        Self::with(BalanceOptions::default(), endpoints, connect)
    }

    /// Over these endpoints, until [`update`](Self::update) names others.
    #[must_use]
    pub fn with(
        options: BalanceOptions,
        endpoints: &[Endpoint],
        connect: impl Fn(&Endpoint) -> S + Send + Sync + 'static,
    ) -> Self {
        let shared = Shared::new(options, endpoints, Box::new(connect), None);
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Over what discovery finds, from now on. A call that comes before the first answer waits for
    /// it; its deadline bounds that. The last clone that is dropped ends the search.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    #[must_use]
    pub fn follow(
        options: BalanceOptions,
        endpoints: Endpoints,
        connect: impl Fn(&Endpoint) -> S + Send + Sync + 'static,
    ) -> Self {
        let endpoints = Arc::new(endpoints);
        let first = endpoints.versioned();
        let shared = Arc::new_cyclic(|weak: &std::sync::Weak<Shared<S>>| {
            let (weak, watched, mut seen) = (weak.clone(), endpoints.clone(), first.version);
            let task = tokio::spawn(async move {
                loop {
                    let next = watched.changed(seen).await;
                    seen = next.version;
                    let Some(shared) = weak.upgrade() else { return };
                    shared.update(&next.value);
                }
            });
            let follow = Follow {
                endpoints,
                task: task.abort_handle(),
            };
            Shared::new(options, &first.value, Box::new(connect), Some(follow))
        });
        Self { shared }
    }

    /// From now on these endpoints. What is known of those that stay is kept.
    pub fn update(&self, endpoints: &[Endpoint]) {
        self.shared.update(endpoints);
    }

    /// How a host is asked for its load, where it is chosen by it
    /// ([`Algorithm::Prequal`](seawall_policy::balance::Algorithm::Prequal)): a probe that is due
    /// is a task of its own, beside the call that it was due with, and ends after a second. Loads
    /// that come with responses are taken in without it. Once; a second time does nothing.
    pub fn probe_by<F>(&self, probe: impl Fn(S) -> F + Send + Sync + 'static)
    where
        F: Future<Output = Option<Load>> + Send + 'static,
    {
        let probe = move |service| -> Pin<Box<dyn Future<Output = Option<Load>> + Send>> {
            Box::pin(probe(service))
        };
        let _ = self.shared.probe.set(Box::new(probe));
    }

    fn send_probes(&self, now: Tick) {
        let Some(probe) = self.shared.probe.get() else {
            return;
        };
        let list = self.shared.list.load();
        while let Some(at) = list.hosts.probe_wanted(now, fastrand::u64(..)) {
            let (Some(host), Some(service)) = (list.hosts.host(at), list.services.get(at)) else {
                return;
            };
            let (shared, key) = (Arc::downgrade(&self.shared), host.key());
            let asked = tokio::time::timeout(PROBE_LIMIT, probe(service.clone()));
            tokio::spawn(async move {
                if let Ok(Some(load)) = asked.await
                    && let Some(shared) = shared.upgrade()
                {
                    shared.probed(key, load);
                }
            });
        }
    }

    /// What is known of each host.
    #[must_use]
    pub fn snapshot(&self) -> Vec<HostSnapshot> {
        let now = self.shared.clock.now();
        self.shared.list.load().hosts.snapshot(now).collect()
    }

    /// A typical host's latency.
    #[must_use]
    pub fn typical_latency(&self) -> Duration {
        self.shared.list.load().hosts.typical_latency()
    }
}

impl<S: Clone> Shared<S> {
    fn new(
        options: BalanceOptions,
        endpoints: &[Endpoint],
        connect: Box<dyn Fn(&Endpoint) -> S + Send + Sync>,
        follow: Option<Follow>,
    ) -> Self {
        let used = used(endpoints);
        let list = List {
            hosts: Hosts::new(options.settings, &specs(used), options.clock.now()),
            services: used.iter().map(&connect).collect(),
        };
        Self {
            list: Snapshot::new(list),
            connect,
            clock: options.clock,
            hash: options.hash,
            zone: zone(options.zone.as_deref()),
            follow,
            probe: OnceLock::new(),
        }
    }

    fn update(&self, endpoints: &[Endpoint]) {
        let used = used(endpoints);
        let specs = specs(used);
        let now = self.clock.now();
        self.list.update(|list| {
            let keys = (0..list.hosts.len()).filter_map(|at| Some(list.hosts.host(at)?.key()));
            let known: HashMap<u64, &S> = keys.zip(&list.services).collect();
            let service = |(endpoint, spec): (&Endpoint, &HostSpec)| match known.get(&spec.key) {
                Some(service) => (*service).clone(),
                None => (self.connect)(endpoint),
            };
            List {
                hosts: list.hosts.updated(&specs, now),
                services: used.iter().zip(&specs).map(service).collect(),
            }
        });
    }

    fn probed(&self, key: u64, load: Load) {
        let list = self.list.load();
        // The list may have changed meanwhile.
        let mut hosts = (0..list.hosts.len()).filter_map(|at| Some((at, list.hosts.host(at)?)));
        if let Some((at, _)) = hosts.find(|(_, host)| host.key() == key) {
            list.hosts.probe_result(at, load, self.clock.now());
        }
    }

    /// A host, its service, how to tell it of the call, and when the host has failed to answer in
    /// time; `None` from an empty list.
    ///
    /// A probe has a shorter limit where another attempt may follow it. It is for the
    /// [`RetryLayer`](super::RetryLayer) to keep, which knows whether one can. What must not run twice, or matters most, does not probe an ejected host, where it may fail,
    /// while others do.
    fn pick(&self, outgoing: &Outgoing, hash: Option<u64>, now: Tick) -> Option<(S, Sent, Tick)> {
        let (keys, count) = match &outgoing.tried {
            Some(tried) => tried.read(),
            None => Default::default(),
        };
        let top = outgoing.call.criticality == Criticality::CriticalPlus;
        let ask = Ask {
            hash,
            tried: &keys[..count],
            zone: self.zone,
            may_probe: outgoing.call.idempotent && !top,
            careful: top,
        };
        let list = self.list.load();
        let choice = list.hosts.pick(&ask, now, fastrand::u64(..))?;
        let service = list.services.get(choice.at())?.clone();
        if let Some(tried) = &outgoing.tried {
            tried.add(choice.key());
        }
        let call = &outgoing.call;
        let mut until = call.deadline;
        if let Some(tried) = outgoing.tried.as_ref().filter(|_| call.idempotent)
            && let Some(limit) = choice.probe_limit(call.deadline.since(now))
        {
            until = until.min(now + limit);
            tried.probes(until);
        }
        Some((service, Sent { choice, load: None }, until))
    }
}

/// The endpoints of the first priority.
fn used(endpoints: &[Endpoint]) -> &[Endpoint] {
    Endpoint::groups(endpoints).next().unwrap_or_default()
}

fn specs(endpoints: &[Endpoint]) -> Vec<HostSpec> {
    let spec = |endpoint: &Endpoint| HostSpec {
        key: endpoint.key(),
        weight: endpoint.weight,
        zone: zone(endpoint.zone.as_deref()),
    };
    endpoints.iter().map(spec).collect()
}

/// A zone's number: from its name, so that it is the same in every list.
fn zone(name: Option<&str>) -> u16 {
    let Some(name) = name else { return 0 };
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    (hash as u16).max(1)
}

impl<S> Clone for Balanced<S> {
    fn clone(&self) -> Self {
        Self {
            shared: self.shared.clone(),
        }
    }
}

impl<S> std::fmt::Debug for Balanced<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Balanced")
            .field("hosts", &self.shared.list.load().hosts.len())
            .finish_non_exhaustive()
    }
}

/// A call at a host.
#[derive(Debug)]
pub struct Sent {
    choice: Choice,
    /// What its host said of itself.
    load: Option<Load>,
}

impl Record for Sent {
    fn head(&mut self, headers: &HeaderMap) {
        self.load = load(headers);
    }

    fn record(self, outcome: Outcome, latency: Duration, now: Tick) {
        self.choice.finish(outcome, latency, self.load, now);
    }
}

impl<S, B, R> Service<Request<B>> for Balanced<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone + Send + Sync + 'static,
    S::Error: Into<Error>,
    S::Future: Send,
    B: Send + 'static,
    R: Body<Data = Bytes>,
{
    type Response = Response<Recorded<R, Sent>>;
    type Error = Error;
    type Future = BalanceFuture<S, B>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let state = match self.pick(&request) {
            Some((service, sample)) => State::running(service, request, sample),
            None => State::Waiting {
                first: self.first(),
                balanced: self.clone(),
                request: Some(request),
            },
        };
        BalanceFuture { state }
    }
}

type First = Pin<Box<dyn Future<Output = Result<(), DiscoveryError>> + Send>>;

impl<S> Balanced<S> {
    /// A host for this request and what to tell it by; `None` while there is none.
    fn pick<B>(&self, request: &Request<B>) -> Option<(S, Sample<Sent>)>
    where
        S: Clone + Send + Sync + 'static,
    {
        let shared = &self.shared;
        let now = shared.clock.now();
        let read;
        let outgoing = match request.extensions().get::<Outgoing>() {
            Some(known) => known,
            None => {
                read = Outgoing::of(request, now);
                &read
            }
        };
        let hash = shared.hash.as_ref().and_then(|hash| {
            hash(&Head {
                method: request.method(),
                uri: request.uri(),
                headers: request.headers(),
                extensions: request.extensions(),
            })
        });
        let (service, sent, until) = shared.pick(outgoing, hash, now)?;
        self.send_probes(now);
        let wire = Wire::of(request.headers());
        let sample = Sample::new(Some(sent), &shared.clock, now, until, wire);
        Some((service, sample))
    }

    fn first(&self) -> First {
        match &self.shared.follow {
            Some(follow) => {
                let endpoints = follow.endpoints.clone();
                Box::pin(async move { endpoints.ready().await.map(|_| ()) })
            }
            None => Box::pin(std::future::ready(Err(DiscoveryError::Empty))),
        }
    }
}

pin_project! {
    /// The future of a [`Balanced`].
    pub struct BalanceFuture<S, B>
    where
        S: Service<Request<B>>,
    {
        #[pin]
        state: State<S, B>,
    }
}

pin_project! {
    #[project = Projected]
    enum State<S, B>
    where
        S: Service<Request<B>>,
    {
        Running { #[pin] future: Oneshot<S, Request<B>>, sample: Option<Sample<Sent>> },
        Waiting { first: First, balanced: Balanced<S>, request: Option<Request<B>> },
    }
}

impl<S: Service<Request<B>>, B> State<S, B> {
    fn running(service: S, request: Request<B>, sample: Sample<Sent>) -> Self {
        Self::Running {
            future: service.oneshot(request),
            sample: Some(sample),
        }
    }
}

impl<S, B, R> Future for BalanceFuture<S, B>
where
    S: Service<Request<B>, Response = Response<R>> + Clone + Send + Sync + 'static,
    S::Error: Into<Error>,
    R: Body<Data = Bytes>,
{
    type Output = Result<Response<Recorded<R, Sent>>, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        const ONCE: &str = "a future is not polled after its end";
        let mut state = self.project().state;
        loop {
            let next = match state.as_mut().project() {
                Projected::Running { future, sample } => {
                    let answer = ready!(future.poll(cx)).map_err(Into::into);
                    let sample = sample.take().expect(ONCE);
                    return Poll::Ready(match answer {
                        Ok(reply) => Ok(sample.head(reply)),
                        Err(error) => {
                            sample.ended(of_error(&error));
                            Err(error)
                        }
                    });
                }
                Projected::Waiting {
                    first,
                    balanced,
                    request,
                } => {
                    let no_host = |error| ErrorKind::NoHost(Arc::new(error)).into();
                    if let Err(error) = ready!(first.as_mut().poll(cx)) {
                        return Poll::Ready(Err(no_host(error)));
                    }
                    if let Some(follow) = &balanced.shared.follow {
                        // Whoever follows may not have come to it yet.
                        balanced.shared.update(&follow.endpoints.current());
                    }
                    let request = request.take().expect(ONCE);
                    match balanced.pick(&request) {
                        Some((service, sample)) => State::running(service, request, sample),
                        None => return Poll::Ready(Err(no_host(DiscoveryError::Empty))),
                    }
                }
            };
            state.set(next);
        }
    }
}
