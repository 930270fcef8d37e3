//! What a client can be told.

use std::sync::Arc;
use std::time::Duration;

use http::uri::{PathAndQuery, Scheme};
use http::{Request, Uri};
use seawall_policy::balance::{Algorithm, BalanceSettings, Load};
use seawall_policy::breaker::{Breaker, Throttle, ThrottleSettings};
use seawall_policy::fallback::{Gutter, GutterSettings};
use seawall_policy::retry::{
    Budget, BudgetSettings, HedgeSettings, Latencies, LatencySettings, RetrySettings,
};
use tower::{Layer as _, Service as _};

use super::balance::{BalanceOptions, HashKey};
use super::coalesce::SHARED_LIMIT;
use super::connection::{Connection, ConnectionSettings};
use super::kit::{Client, Cluster, Parts, Pool};
use super::replay::REPLAY_LIMIT;
use super::{
    Balanced, Body, BreakerLayer, CoalesceLayer, DeadlineLayer, FallbackOptions, Fixed,
    ForwardLayer, GutterLayer, HedgeLayer, Replay, ReplayLayer, RetryLayer, StaleStore,
};
use crate::clock::Clock;
use crate::context::{LOAD_PATH, load};
use crate::discovery::{Discovery, Host, Source, SourceError};

/// Why there is no client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// It is no URI of an upstream.
    #[error("`{0}` names no upstream: write http://host:port")]
    Uri(String),
    /// This program was built without TLS.
    #[error(
        "`{0}`: built without the feature `tls`; add it, or call the service by http:// through a gateway that speaks TLS to it"
    )]
    Https(String),
    /// The system has no certificate of an authority.
    #[error(
        "`{0}`: the system has no certificates of authorities; install them, or say whom to believe by `Builder::tls`"
    )]
    Authorities(String),
    /// Its host and port are no source of endpoints.
    #[error(transparent)]
    Source(#[from] SourceError),
}

/// How a [`Client`] is to be. Everything has a default.
///
/// ```
/// use seawall::Client;
/// use seawall::client::Fixed;
/// use seawall::discovery::Source;
/// use std::time::Duration;
///
/// let client = Client::builder("http://orders.internal")
///     .source(Source::targets(["10.0.0.7:8080", "10.0.0.8:8080 weight=2"])?)
///     .timeout(Duration::from_secs(2))
///     .attempts(2)
///     .build()?;
/// assert_eq!(client.hosts().len(), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub struct Builder {
    base: String,
    source: Option<Source>,
    discovery: Discovery,
    balance: BalanceOptions,
    timeout: Option<Duration>,
    retry: RetrySettings,
    budget: Option<Arc<Budget>>,
    hedge: Option<HedgeSettings>,
    breaker: Option<Option<Arc<dyn Breaker>>>,
    shadow: bool,
    replay_limit: usize,
    coalesce_limit: u64,
    gutter: Option<(Source, GutterSettings)>,
    fallback: Vec<Other>,
    external: bool,
    connection: ConnectionSettings,
    clock: Clock,
}

enum Other {
    Fixed(Fixed),
    Stale(usize, Duration),
    Cluster(Source),
}

/// Budget, latencies and what else the parts of one upstream share.
struct Upstream {
    budget: Arc<Budget>,
    retry: RetryLayer,
    hedge: HedgeLayer,
    breaker: BreakerLayer,
    coalesce: CoalesceLayer,
}

impl Builder {
    pub(super) fn new(base: &str) -> Self {
        Self {
            base: base.to_owned(),
            source: None,
            discovery: Discovery::default(),
            balance: BalanceOptions::default(),
            timeout: Some(Duration::from_secs(15)),
            retry: RetrySettings::default(),
            budget: None,
            hedge: None,
            breaker: None,
            shadow: false,
            replay_limit: REPLAY_LIMIT,
            coalesce_limit: SHARED_LIMIT,
            gutter: None,
            fallback: Vec::new(),
            external: false,
            connection: ConnectionSettings {
                connect_timeout: Duration::from_secs(1),
                idle: 64,
                idle_timeout: Duration::from_secs(50),
                http2: false,
                #[cfg(feature = "tls")]
                tls: None,
            },
            clock: Clock::system(),
        }
    }

    /// Where its hosts are; by default, the addresses of the URI's host, followed.
    pub fn source(mut self, source: Source) -> Self {
        self.source = Some(source);
        self
    }

    /// Who looks for hosts; clients that share it share what it knows.
    pub fn discovery(mut self, discovery: Discovery) -> Self {
        self.discovery = discovery;
        self
    }

    /// How a host is chosen; [`Algorithm::PeakEwma`] by default.
    pub fn algorithm(mut self, algorithm: Algorithm) -> Self {
        self.balance.settings.algorithm = algorithm;
        self
    }

    /// How hosts are chosen and ejected, in full.
    pub fn balance(mut self, settings: BalanceSettings) -> Self {
        self.balance.settings = settings;
        self
    }

    /// What a call is hashed by; a call that has none goes by the algorithm alone.
    pub fn hash_by(mut self, key: HashKey) -> Self {
        self.balance.hash = Some(key);
        self
    }

    /// The zone of this client.
    pub fn zone(mut self, zone: &str) -> Self {
        self.balance.zone = Some(zone.into());
        self
    }

    /// How long a call may take up to its answer's head, retries included, that is made for no
    /// other with a deadline. Default 15 s, as Envoy's; a retry's wait and a slow report fit in it.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Calls without a deadline may take for ever.
    pub fn no_timeout(mut self) -> Self {
        self.timeout = None;
        self
    }

    /// Attempts a call may have, the first among them; 1 for no retries. Default 3.
    pub fn attempts(mut self, attempts: u8) -> Self {
        self.retry.attempts = attempts;
        self
    }

    /// How long one attempt may take; by default what is left of the deadline.
    pub fn per_try_timeout(mut self, timeout: Duration) -> Self {
        self.retry.per_try = Some(timeout);
        self
    }

    /// Whether and when a call is sent again, in full.
    pub fn retry(mut self, settings: RetrySettings) -> Self {
        self.retry = settings;
        self
    }

    /// Who pays for retries and hedges: to be shared by clients of one upstream. By default an own
    /// one, of a retry for each ten calls.
    pub fn budget(mut self, budget: Arc<Budget>) -> Self {
        self.budget = Some(budget);
        self
    }

    /// Sends a second copy of what takes unusually long, within the budget. Off by default.
    pub fn hedge(mut self, settings: HedgeSettings) -> Self {
        self.hedge = Some(settings);
        self
    }

    /// Another breaker; by default a [`Throttle`].
    pub fn breaker(mut self, breaker: Arc<dyn Breaker>) -> Self {
        self.breaker = Some(Some(breaker));
        self
    }

    /// No breaker.
    pub fn no_breaker(mut self) -> Self {
        self.breaker = Some(None);
        self
    }

    /// The breaker only counts what it would have turned away.
    pub fn shadow_breaker(mut self) -> Self {
        self.shadow = true;
        self
    }

    /// Bodies of up to so many bytes are kept to be sent again. Default 64 KiB.
    pub fn replay_limit(mut self, bytes: usize) -> Self {
        self.replay_limit = bytes;
        self
    }

    /// Answers of up to so many bytes are shared by reads that ask the same at once; 0 for none.
    /// Default 64 KiB.
    pub fn coalesce_limit(mut self, bytes: u64) -> Self {
        self.coalesce_limit = bytes;
        self
    }

    /// A small reserve that takes the calls while the upstream fails.
    pub fn gutter(mut self, source: Source, settings: GutterSettings) -> Self {
        self.gutter = Some((source, settings));
        self
    }

    /// When a call has failed for good: then, this answer.
    pub fn fallback_fixed(mut self, fixed: Fixed) -> Self {
        self.fallback.push(Other::Fixed(fixed));
        self
    }

    /// When a read has failed for good: then, its last good answer, if it is at most `age` old.
    /// All together take at most about so many bytes.
    pub fn fallback_stale(mut self, bytes: usize, age: Duration) -> Self {
        self.fallback.push(Other::Stale(bytes, age));
        self
    }

    /// When a call that may run again has failed for good: then, the answer of another cluster.
    pub fn fallback_cluster(mut self, source: Source) -> Self {
        self.fallback.push(Other::Cluster(source));
        self
    }

    /// The upstream is somebody else's: it is told the time that is left, and nothing else of our
    /// callers.
    pub fn external(mut self) -> Self {
        self.external = true;
        self
    }

    /// HTTP/2 for all calls, and not for gRPC alone.
    pub fn http2(mut self) -> Self {
        self.connection.http2 = true;
        self
    }

    /// Whom to believe, and who one is oneself, where the base is `https://`; by default the
    /// system's authorities, and nobody. What it says of ALPN is replaced.
    #[cfg(feature = "tls")]
    pub fn tls(mut self, config: rustls::ClientConfig) -> Self {
        self.connection.tls = Some(Arc::new(config));
        self
    }

    /// How long a connection may take to come about, with its TLS. Default 1 s.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connection.connect_timeout = timeout;
        self
    }

    /// Idle connections kept to each host. Default 64, each for up to 50 s, which is shorter than
    /// the 60 s and more after which servers close them.
    pub fn idle_connections(mut self, most: usize) -> Self {
        self.connection.idle = most;
        self
    }

    /// The clock; the system's by default. Timers are tokio's whatever it is.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// The client.
    ///
    /// # Errors
    /// The base is no URI such as `http://orders.internal:8080`.
    ///
    /// # Panics
    /// Outside of a tokio runtime, unless all hosts are given as addresses.
    pub fn build(mut self) -> Result<Client, BuildError> {
        let (base, own) = self.base()?;
        let source = match self.source.take() {
            Some(source) => source,
            None => own.parse()?,
        };
        let shards = std::thread::available_parallelism().map_or(1, usize::from);
        let breaker = match self.breaker.take() {
            Some(breaker) => breaker,
            None => Some(self.throttle(shards)),
        };
        let upstream = self.upstream(breaker.clone(), shards);
        let balanced = self.balanced(source, &base);
        let main = self.pool(balanced.clone(), &upstream);
        let (gutter, guttered) = self.guttered(&upstream, &base, shards);
        let fallback = self.fallbacks(&upstream, &base).layer();
        let deadline = DeadlineLayer::default().clock(self.clock.clone());
        let deadline = match self.timeout {
            Some(timeout) => deadline.default_timeout(timeout),
            None => deadline,
        };
        let stack = fallback.layer(guttered.layer(main));
        let stack = deadline.layer(ReplayLayer::new(self.replay_limit).layer(stack));
        let parts = Parts {
            base,
            balanced,
            breaker,
            breaker_layer: upstream.breaker,
            retry: upstream.retry,
            hedge: upstream.hedge,
            coalesce: upstream.coalesce,
            deadline,
            fallback,
            gutter,
            clock: self.clock,
        };
        Ok(Client {
            stack,
            parts: Arc::new(parts),
        })
    }

    fn throttle(&self, shards: usize) -> Arc<dyn Breaker> {
        let settings = ThrottleSettings {
            shards,
            ..ThrottleSettings::default()
        };
        Arc::new(Throttle::new(settings, self.clock.now()))
    }

    fn guttered(
        &mut self,
        main: &Upstream,
        base: &Uri,
        shards: usize,
    ) -> (Option<Arc<Gutter>>, GutterLayer<Pool>) {
        let Some((source, settings)) = self.gutter.take() else {
            return (None, GutterLayer::off());
        };
        let gutter = Arc::new(Gutter::new(&GutterSettings { shards, ..settings }));
        let reserve = self.reserve(source, main, base);
        let layer = GutterLayer::new(gutter.clone(), reserve, self.clock.clone());
        (Some(gutter), layer)
    }

    /// Scheme and authority, and its host and port as a source.
    fn base(&mut self) -> Result<(Uri, String), BuildError> {
        let none = || BuildError::Uri(self.base.clone());
        let uri: Uri = self.base.parse().map_err(|_| none())?;
        let https = uri.scheme() == Some(&Scheme::HTTPS);
        let http = https || uri.scheme() == Some(&Scheme::HTTP);
        let path = uri.path_and_query().is_none_or(|path| path.as_str() == "/");
        let authority = uri.authority().filter(|_| http && path).ok_or_else(none)?;
        if authority.as_str().contains('@') {
            return Err(none());
        }
        let own = format!(
            "{}:{}",
            authority.host(),
            authority.port_u16().unwrap_or(if https { 443 } else { 80 })
        );
        self.encrypt(https)?;
        Ok((uri, own))
    }

    #[cfg(feature = "tls")]
    fn encrypt(&mut self, https: bool) -> Result<(), BuildError> {
        let stated = self.connection.tls.take();
        self.connection.tls = match stated {
            _ if !https => None,
            Some(stated) => Some(stated),
            None => {
                let none = || BuildError::Authorities(self.base.clone());
                Some(Arc::new(super::tls::system().ok_or_else(none)?))
            }
        };
        Ok(())
    }

    #[cfg(not(feature = "tls"))]
    fn encrypt(&mut self, https: bool) -> Result<(), BuildError> {
        if https {
            return Err(BuildError::Https(self.base.clone()));
        }
        Ok(())
    }

    fn upstream(&self, breaker: Option<Arc<dyn Breaker>>, shards: usize) -> Upstream {
        let budget = self.budget.clone().unwrap_or_else(|| {
            let settings = BudgetSettings {
                shards,
                ..BudgetSettings::default()
            };
            Arc::new(Budget::new(&settings))
        });
        let latencies = Arc::new(Latencies::new(&LatencySettings {
            shards,
            ..LatencySettings::default()
        }));
        let hedge = self.hedge.map_or_else(HedgeLayer::off, |settings| {
            let clock = self.clock.clone();
            HedgeLayer::new(settings, latencies.clone(), budget.clone(), clock)
        });
        let retry = RetryLayer::new(self.retry, budget.clone())
            .clock(self.clock.clone())
            .latencies(latencies, self.hedge.is_none());
        let breaker = breaker.map_or_else(BreakerLayer::off, BreakerLayer::new);
        let breaker = breaker.clock(self.clock.clone());
        Upstream {
            budget,
            retry,
            hedge,
            breaker: if self.shadow {
                breaker.shadow()
            } else {
                breaker
            },
            coalesce: CoalesceLayer::new(self.coalesce_limit).clock(self.clock.clone()),
        }
    }

    fn balanced(&self, source: Source, base: &Uri) -> Balanced<Connection<Replay<Body>>> {
        let settings = self.connection.clone();
        let connect = move |endpoint: &crate::discovery::Endpoint| {
            Connection::new(endpoint.address, &settings)
        };
        let options = BalanceOptions {
            clock: self.clock.clone(),
            ..self.balance.clone()
        };
        let settled = match &source {
            Source::Static(targets) => {
                let address =
                    |target: &crate::discovery::Target| matches!(target.host, Host::Ip(_));
                targets.iter().all(address)
            }
            _ => false,
        };
        let endpoints = self.discovery.start(source);
        let balanced = if settled {
            Balanced::with(options, &endpoints.current(), connect)
        } else {
            Balanced::follow(options, endpoints, connect)
        };
        if self.balance.settings.algorithm == Algorithm::Prequal {
            let at = load_uri(base);
            balanced.probe_by(move |connection| ask_load(connection, at.clone()));
        }
        balanced
    }

    fn pool(&self, balanced: Balanced<Connection<Replay<Body>>>, upstream: &Upstream) -> Pool {
        let forward = ForwardLayer::default().clock(self.clock.clone());
        let forward = if self.external {
            forward.external()
        } else {
            forward
        };
        let attempt = forward.layer(upstream.breaker.layer(balanced));
        let retried = upstream.retry.layer(upstream.hedge.layer(attempt));
        upstream.coalesce.of().layer(retried)
    }

    /// A second pool, which has no retries, no breaker and nothing to coalesce.
    fn reserve(&self, source: Source, main: &Upstream, base: &Uri) -> Pool {
        let once = RetrySettings {
            attempts: 1,
            ..self.retry
        };
        let reserve = Upstream {
            budget: main.budget.clone(),
            retry: RetryLayer::new(once, main.budget.clone()).clock(self.clock.clone()),
            hedge: HedgeLayer::off(),
            breaker: BreakerLayer::off(),
            coalesce: CoalesceLayer::new(0),
        };
        self.pool(self.balanced(source, base), &reserve)
    }

    fn fallbacks(&mut self, upstream: &Upstream, base: &Uri) -> FallbackOptions<Cluster> {
        let none = FallbackOptions::default().clock(self.clock.clone());
        let others = std::mem::take(&mut self.fallback);
        others.into_iter().fold(none, |options, other| match other {
            Other::Fixed(fixed) => options.fixed(fixed),
            Other::Stale(bytes, age) => options.stale(Arc::new(StaleStore::new(bytes)), age),
            Other::Cluster(source) => {
                let pool = self.reserve(source, upstream, base);
                options.cluster(GutterLayer::off().layer(pool))
            }
        })
    }
}

fn load_uri(base: &Uri) -> Uri {
    let mut parts = base.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::from_static(LOAD_PATH));
    Uri::from_parts(parts).unwrap_or_else(|_| base.clone())
}

/// What a host says of its load; nothing where it does not.
async fn ask_load(mut connection: Connection<Replay<Body>>, at: Uri) -> Option<Load> {
    let mut request = Request::new(Replay::new(Body::empty(), 0));
    *request.uri_mut() = at;
    let reply = connection.call(request).await.ok()?;
    load(reply.headers())
}
