//! All layers in their order, over real connections.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Method, Request, Response, Uri};
use http_body::Body as HttpBody;
use pin_project_lite::pin_project;
use seawall_policy::balance::HostSnapshot;
use seawall_policy::breaker::{self, Breaker};
use seawall_policy::fallback::{Gutter, Stage};
use tower::{Service, ServiceExt as _};

use super::balance::Sent;
use super::breaker::Passed;
use super::builder::{BuildError, Builder};
use super::connection::{Connection, Received};
use super::gutter::Taken;
use super::recorded::Recorded;
use super::{
    Balanced, Body, BreakerLayer, BreakerService, CoalesceLayer, CoalesceService, DeadlineLayer,
    DeadlineService, Error, ErrorKind, FallbackLayer, FallbackService, ForwardService, Grpc,
    GutterService, HedgeLayer, HedgeService, PassedOrWhole, Replay, ReplayService, RetryLayer,
    RetryService, RetryTotals,
};

/// Per attempt, and the attempts.
type Attempt = BreakerService<Balanced<Connection<Replay<Body>>>>;
type AttemptBody = Recorded<Recorded<Received, Sent>, Passed>;
pub(super) type Retried = RetryService<HedgeService<ForwardService<Attempt>>>;
/// One upstream, whole.
pub(super) type Pool = CoalesceService<Retried, AttemptBody>;
pub(super) type PoolBody = PassedOrWhole<AttemptBody>;
/// What the fallback stands in for.
type Main = GutterService<Pool, Pool>;
/// Another cluster: with the same kind of body as the main one.
pub(super) type Cluster = Main;
pub(super) type Stack = DeadlineService<ReplayService<FallbackService<Main, Cluster>>>;
type StackBody = super::TimedBody<super::FallbackBody<Recorded<PoolBody, Taken>>>;

/// A client of one upstream: balanced over its hosts, with a breaker, retries within a budget,
/// deadlines, coalesced reads, and what else it is [built](Self::builder) with.
///
/// Inside a handler below a [`ContextLayer`](crate::layer::ContextLayer), deadline, criticality,
/// tenant and trace of the request that is handled go along by themselves.
///
/// ```no_run
/// use seawall::Client;
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let orders = Client::new("http://orders.internal:8080")?;
/// let answer = orders.get("/orders/7").await?;
/// let order: serde_json::Value = answer.into_body().json().await?;
/// # Ok(())
/// # }
/// ```
///
/// Clones share everything, and cost some twenty reference counts.
#[derive(Clone)]
pub struct Client {
    pub(super) stack: Stack,
    pub(super) parts: Arc<Parts>,
}

/// What is looked at from outside.
pub(super) struct Parts {
    pub(super) base: Uri,
    pub(super) balanced: Balanced<Connection<Replay<Body>>>,
    pub(super) breaker: Option<Arc<dyn Breaker>>,
    pub(super) breaker_layer: BreakerLayer,
    pub(super) retry: RetryLayer,
    pub(super) hedge: HedgeLayer,
    pub(super) coalesce: CoalesceLayer,
    pub(super) deadline: DeadlineLayer,
    pub(super) fallback: FallbackLayer<Cluster>,
    pub(super) gutter: Option<Arc<Gutter>>,
    pub(super) clock: crate::clock::Clock,
}

/// What a client did so far, and how it stands.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ClientTotals {
    /// Retries, and why calls were given up.
    pub retry: RetryTotals,
    /// Hedges sent.
    pub hedges: u64,
    /// Reads that got the answer to another's.
    pub coalesced: u64,
    /// Calls not sent since their time was up.
    pub too_late: u64,
    /// Calls answered in the origin's place.
    pub fallbacks: u64,
    /// The breaker's counts, where there is one.
    pub breaker: Option<breaker::Counts>,
    /// The breaker's state, where there is one.
    pub breaker_state: Option<breaker::State>,
    /// Calls that the breaker would have turned away, but for shadow mode.
    pub breaker_shadowed: u64,
    /// Where the gutter stands, where there is one.
    pub gutter: Option<Stage>,
}

impl Client {
    /// A client of the upstream at `base`, such as `http://orders.internal:8080`, with the
    /// defaults: see [`Builder`].
    ///
    /// # Errors
    /// It is no such URI.
    ///
    /// # Panics
    /// With a name to be resolved: outside of a tokio runtime.
    pub fn new(base: &str) -> Result<Self, BuildError> {
        Self::builder(base).build()
    }

    /// To be told more.
    pub fn builder(base: &str) -> Builder {
        Builder::new(base)
    }

    /// Gets `uri`: a path, or a whole URI. Cancel-safe, as all calls: one that is dropped is
    /// cancelled at the host.
    ///
    /// # Errors
    /// There is no answer. One with a failing status is an answer.
    pub async fn get(&self, uri: &str) -> Result<Response<Body>, Error> {
        self.send(Method::GET, uri, Body::empty()).await
    }

    /// Sends `body` to `uri` with `method`.
    ///
    /// # Errors
    /// There is no answer. One with a failing status is an answer.
    pub async fn send(
        &self,
        method: Method,
        uri: &str,
        body: impl Into<Body>,
    ) -> Result<Response<Body>, Error> {
        let not_one = |_| Error::from(ErrorKind::Uri(uri.into()));
        let mut request = Request::new(body.into());
        *request.method_mut() = method;
        *request.uri_mut() = uri.parse().map_err(not_one)?;
        self.request(request).await
    }

    /// Sends a request. A path is completed by the upstream's name; the name in a whole URI goes
    /// into the `Host` header, and has no part in where the request goes.
    ///
    /// # Errors
    /// There is no answer. One with a failing status is an answer.
    pub async fn request<B>(&self, request: Request<B>) -> Result<Response<Body>, Error>
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        self.clone().oneshot(request).await
    }

    /// This client for tonic: with it, what has no answer is a gRPC status.
    ///
    /// ```
    /// let client = seawall::Client::new("http://10.0.0.7:50051")?;
    /// // As generated code does it: `GreeterClient::new(client.grpc())`.
    /// let greeter = tonic::client::Grpc::new(client.grpc());
    /// # drop(greeter);
    /// # Ok::<(), seawall::client::BuildError>(())
    /// ```
    #[must_use]
    pub fn grpc(&self) -> Grpc {
        Grpc::new(self.clone())
    }

    /// What is known of each host.
    #[must_use]
    pub fn hosts(&self) -> Vec<HostSnapshot> {
        self.parts.balanced.snapshot()
    }

    /// What it did so far. Reads some counters.
    #[must_use]
    pub fn totals(&self) -> ClientTotals {
        let parts = &self.parts;
        let now = parts.clock.now();
        ClientTotals {
            retry: parts.retry.totals(),
            hedges: parts.hedge.sent(),
            coalesced: parts.coalesce.followed(),
            too_late: parts.deadline.not_sent(),
            fallbacks: parts.fallback.answered(),
            breaker: parts.breaker.as_ref().map(|breaker| breaker.counts()),
            breaker_state: parts.breaker.as_ref().map(|breaker| breaker.state(now)),
            breaker_shadowed: parts.breaker_layer.shadowed(),
            gutter: parts.gutter.as_ref().map(|gutter| gutter.stage()),
        }
    }

    /// The upstream's name in front of a path.
    fn complete(&self, uri: &mut Uri) -> Result<(), Error> {
        let bad = |uri: &Uri| Error::from(ErrorKind::Uri(uri.to_string().into()));
        if uri.authority().is_some() {
            let same = uri.scheme() == self.parts.base.scheme();
            return if same { Ok(()) } else { Err(bad(uri)) };
        }
        let mut whole = self.parts.base.clone().into_parts();
        whole.path_and_query = uri.path_and_query().cloned();
        *uri = Uri::from_parts(whole).map_err(|_| bad(uri))?;
        Ok(())
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("base", &self.parts.base)
            .field("hosts", &self.parts.balanced)
            .finish_non_exhaustive()
    }
}

impl<B> Service<Request<B>> for Client
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Response = Response<Body>;
    type Error = Error;
    type Future = ClientFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> ClientFuture {
        let mut request = request.map(Body::new);
        let state = match self.complete(request.uri_mut()) {
            Ok(()) => State::Calling {
                future: self.stack.call(request),
            },
            Err(error) => State::Refused { error: Some(error) },
        };
        ClientFuture { state }
    }
}

pin_project! {
    /// The future of a [`Client`] as a service.
    #[must_use = "futures do nothing unless polled"]
    pub struct ClientFuture {
        #[pin]
        state: State,
    }
}

pin_project! {
    #[project = Projected]
    enum State {
        Calling { #[pin] future: <Stack as Service<Request<Body>>>::Future },
        Refused { error: Option<Error> },
    }
}

impl Future for ClientFuture {
    type Output = Result<Response<Body>, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            Projected::Calling { future } => {
                let answer: Result<Response<StackBody>, Error> = ready!(future.poll(cx));
                Poll::Ready(answer.map(|reply| reply.map(Body::new)))
            }
            Projected::Refused { error } => Poll::Ready(Err(error
                .take()
                .expect("a future is not polled after its end"))),
        }
    }
}
