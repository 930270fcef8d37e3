//! What is answered when a call has failed for good.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body::Body;
use pin_project_lite::pin_project;
use seawall_policy::fallback::{AtHand, Failed, Fallback, Fallbacks};
use seawall_policy::retry::Why;
use tower::{Layer, Service, ServiceExt as _};

use super::error::Error;
use super::key::Key;
use super::outgoing::Outgoing;
use super::replay::Replay;
use super::retry::{Ended, again, over_share};
use super::stale::{Keeping, StaleStore, Teed};
use super::whole::{PassedOrWhole, Whole};
use crate::Outcome;
use crate::admission::outcome;
use crate::clock::Clock;
use crate::context::Wire;

/// Answers in place of an origin that has failed for good: by a fixed answer, an earlier one, or
/// another cluster's, in the order that they are added.
///
/// An answer that is not the origin's has the [`Fallback`] among its extensions. While nothing
/// fails it costs nothing; with a stale store what [that](StaleStore) costs, with clusters a copy
/// of each request's head.
///
/// ```
/// use http::{HeaderValue, Request, StatusCode};
/// use seawall::client::{Body, Error, ErrorKind, FallbackOptions, Fixed, Replay, ReplayLayer};
/// use tower::{Layer, ServiceExt, service_fn};
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
///
/// let fails = service_fn(|_: Request<Replay<Body>>| async {
///     Err::<http::Response<Body>, _>(Error::from(ErrorKind::Deadline))
/// });
/// let fixed = Fixed {
///     status: StatusCode::OK,
///     content_type: HeaderValue::from_static("application/json"),
///     body: "[]".into(),
/// };
/// let layer = FallbackOptions::default().cluster(fails).fixed(fixed).layer();
/// let service = ReplayLayer::default().layer(layer.layer(fails));
/// let reply = service.oneshot(Request::get("/x").body(Body::empty())?).await?;
/// assert_eq!(Body::new(reply.into_body()).text().await?, "[]");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct FallbackLayer<C> {
    shared: Arc<Shared>,
    clusters: Arc<[C]>,
}

#[derive(Debug, Default)]
struct Shared {
    fallbacks: Fallbacks,
    fixed: Option<Fixed>,
    stale: Option<Arc<StaleStore>>,
    clock: Clock,
    answered: AtomicU64,
}

/// A fixed answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fixed {
    /// Its status.
    pub status: StatusCode,
    /// Its `content-type`.
    pub content_type: HeaderValue,
    /// Its body.
    pub body: Bytes,
}

/// What a [`FallbackLayer`] is made of.
#[derive(Clone, Debug)]
pub struct FallbackOptions<C> {
    order: Vec<Fallback>,
    stale_for: Duration,
    fixed: Option<Fixed>,
    stale: Option<Arc<StaleStore>>,
    clusters: Vec<C>,
    clock: Clock,
}

impl<C> Default for FallbackOptions<C> {
    fn default() -> Self {
        Self {
            order: Vec::new(),
            stale_for: Duration::ZERO,
            fixed: None,
            stale: None,
            clusters: Vec::new(),
            clock: Clock::system(),
        }
    }
}

impl<C> FallbackOptions<C> {
    /// Then, this answer.
    #[must_use]
    pub fn fixed(mut self, fixed: Fixed) -> Self {
        self.fixed = Some(fixed);
        self.order.push(Fallback::Static);
        self
    }

    /// Then, the last good answer to the same read, if it is at most `age` old.
    #[must_use]
    pub fn stale(mut self, store: Arc<StaleStore>, age: Duration) -> Self {
        self.stale = Some(store);
        self.stale_for = age;
        self.order.push(Fallback::Stale);
        self
    }

    /// Then, another cluster, for what may run again. It must not retry.
    #[must_use]
    pub fn cluster(mut self, cluster: C) -> Self {
        self.order.push(Fallback::Cluster(self.clusters.len()));
        self.clusters.push(cluster);
        self
    }

    /// The clock; the system's by default.
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// The layer. Of nothing: one that passes everything on.
    #[must_use]
    pub fn layer(self) -> FallbackLayer<C> {
        FallbackLayer {
            shared: Arc::new(Shared {
                fallbacks: Fallbacks {
                    order: self.order.into(),
                    stale_for: self.stale_for,
                },
                fixed: self.fixed,
                stale: self.stale,
                clock: self.clock,
                answered: AtomicU64::new(0),
            }),
            clusters: self.clusters.into(),
        }
    }
}

impl<C> FallbackLayer<C> {
    /// Calls that were answered in the origin's place.
    #[must_use]
    pub fn answered(&self) -> u64 {
        self.shared.answered.load(Relaxed)
    }
}

impl<S, C> Layer<S> for FallbackLayer<C> {
    type Service = FallbackService<S, C>;

    fn layer(&self, inner: S) -> Self::Service {
        FallbackService {
            inner,
            shared: self.shared.clone(),
            clusters: self.clusters.clone(),
        }
    }
}

/// A service below a [`FallbackLayer`].
#[derive(Debug)]
pub struct FallbackService<S, C> {
    inner: S,
    shared: Arc<Shared>,
    clusters: Arc<[C]>,
}

impl<S: Clone, C> Clone for FallbackService<S, C> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            shared: self.shared.clone(),
            clusters: self.clusters.clone(),
        }
    }
}

/// The body of an answer below a [`FallbackLayer`].
pub type FallbackBody<R> = Teed<PassedOrWhole<R>>;

type Answer<R> = Result<Response<FallbackBody<R>>, Error>;

impl<S, C, B, R> Service<Request<Replay<B>>> for FallbackService<S, C>
where
    S: Service<Request<Replay<B>>, Response = Response<R>>,
    S::Error: Into<Error>,
    C: Service<Request<Replay<B>>, Response = Response<R>> + Clone + Send + Sync + 'static,
    C::Error: Into<Error> + Send,
    C::Future: Send,
    B: Body<Data = Bytes> + Unpin + Send + 'static,
    B::Error: Into<Error>,
    R: Body<Data = Bytes> + Send + 'static,
{
    type Response = Response<FallbackBody<R>>;
    type Error = Error;
    type Future = FallbackFuture<S::Future, C, B, R>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Request<Replay<B>>) -> Self::Future {
        let instead = (!self.shared.fallbacks.order.is_empty()).then(|| {
            let outgoing = Outgoing::of(&request, self.shared.clock.now());
            let stored = self.shared.stale.is_some();
            Instead {
                key: stored.then(|| Key::of(&request, &outgoing)).flatten(),
                wire: Wire::of(request.headers()),
                request: (!self.clusters.is_empty()).then(|| again(&request)),
                shared: self.shared.clone(),
                clusters: self.clusters.clone(),
                outgoing,
            }
        });
        FallbackFuture {
            state: State::First {
                future: self.inner.call(request),
                instead,
            },
        }
    }
}

pin_project! {
    /// The future of a [`FallbackService`].
    pub struct FallbackFuture<F, C, B, R> {
        #[pin]
        state: State<F, C, B, R>,
    }
}

pin_project! {
    #[project = Projected]
    enum State<F, C, B, R> {
        First { #[pin] future: F, instead: Option<Instead<C, B>> },
        Instead { answer: Pin<Box<dyn Future<Output = Answer<R>> + Send>> },
    }
}

impl<F, C, B, R, E> Future for FallbackFuture<F, C, B, R>
where
    F: Future<Output = Result<Response<R>, E>>,
    E: Into<Error>,
    C: Service<Request<Replay<B>>, Response = Response<R>> + Clone + Send + Sync + 'static,
    C::Error: Into<Error> + Send,
    C::Future: Send,
    B: Send + 'static,
    R: Body<Data = Bytes> + Send + 'static,
{
    type Output = Answer<R>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Answer<R>> {
        let mut state = self.project().state;
        loop {
            let next = match state.as_mut().project() {
                Projected::First { future, instead } => {
                    let answer = ready!(future.poll(cx)).map_err(Into::into);
                    let Some(instead) = instead.take() else {
                        return Poll::Ready(answer.map(|reply| reply.map(passed)));
                    };
                    if let Some(failed) = instead.failed(&answer) {
                        Box::pin(instead.run(answer, failed))
                    } else {
                        return Poll::Ready(answer.map(|reply| instead.keep(reply)));
                    }
                }
                Projected::Instead { answer } => return answer.as_mut().poll(cx),
            };
            state.set(State::Instead { answer: next });
        }
    }
}

fn passed<R>(body: R) -> FallbackBody<R>
where
    R: Body<Data = Bytes>,
{
    Teed::new(PassedOrWhole::passed(body), None)
}

/// What it takes to answer instead.
struct Instead<C, B> {
    shared: Arc<Shared>,
    clusters: Arc<[C]>,
    outgoing: Outgoing,
    wire: Wire,
    key: Option<Key>,
    request: Option<Request<Replay<B>>>,
}

impl<C, B> Instead<C, B> {
    /// How the call failed; `None` where it has not.
    fn failed<R>(&self, answer: &Result<Response<R>, Error>) -> Option<Failed> {
        let may_run_twice = self.outgoing.call.idempotent;
        match answer {
            Ok(reply) => {
                let outcome = outcome::of_head(reply.status(), reply.headers(), self.wire);
                let ended = reply.extensions().get::<Ended>();
                (outcome != Outcome::Success).then(|| Failed {
                    why: ended.map_or(Why::Attempts, |ended| ended.why),
                    may_have_run: ended.is_none_or(|ended| ended.ran),
                    may_run_twice,
                    over_share: over_share(reply, self.wire),
                })
            }
            Err(error) => Some(Failed {
                why: error.why().unwrap_or(Why::Attempts),
                may_have_run: error.may_have_run(),
                may_run_twice,
                over_share: false,
            }),
        }
    }

    fn keep<R: Body<Data = Bytes>>(self, reply: Response<R>) -> Response<FallbackBody<R>> {
        let keeping = self
            .shared
            .stale
            .as_ref()
            .zip(self.key)
            .and_then(|(store, key)| {
                Keeping::of(store, key, &reply, self.shared.clock.now()).map(Box::new)
            });
        reply.map(|body| Teed::new(PassedOrWhole::passed(body), keeping))
    }

    async fn run<R>(self, first: Result<Response<R>, Error>, failed: Failed) -> Answer<R>
    where
        C: Service<Request<Replay<B>>, Response = Response<R>> + Clone,
        C::Error: Into<Error>,
        R: Body<Data = Bytes>,
    {
        let mut from = 0;
        loop {
            let now = self.shared.clock.now();
            let stale = self.stale(now);
            let at_hand = AtHand {
                stale: stale.as_ref().map(|(_, age)| *age),
                typical: None,
            };
            let call = &self.outgoing.call;
            let chosen = (self.shared.fallbacks).choose(call, &failed, &at_hand, from, now);
            let Some((place, fallback)) = chosen else {
                return first.map(|reply| reply.map(passed));
            };
            let answer = match fallback {
                Fallback::Static => self.fixed(),
                Fallback::Stale => stale.map(|(answer, _)| {
                    let (parts, whole) = &*answer;
                    whole_reply(parts.clone(), whole.clone())
                }),
                Fallback::Cluster(n) => self.cluster(n).await,
            };
            if let Some(mut answer) = answer {
                self.shared.answered.fetch_add(1, Relaxed);
                answer.extensions_mut().insert(fallback);
                return Ok(answer);
            }
            from = place + 1;
        }
    }

    fn stale(&self, now: crate::Tick) -> Option<(Arc<(http::response::Parts, Whole)>, Duration)> {
        self.shared.stale.as_ref()?.get(self.key.as_ref()?, now)
    }

    fn fixed<R: Body<Data = Bytes>>(&self) -> Option<Response<FallbackBody<R>>> {
        let fixed = self.shared.fixed.as_ref()?;
        let (mut parts, ()) = Response::new(()).into_parts();
        parts.status = fixed.status;
        let kind = fixed.content_type.clone();
        parts.headers.insert(header::CONTENT_TYPE, kind);
        let whole = Whole {
            data: fixed.body.clone(),
            trailers: None,
        };
        Some(whole_reply(parts, whole))
    }

    async fn cluster<R>(&self, n: usize) -> Option<Response<FallbackBody<R>>>
    where
        C: Service<Request<Replay<B>>, Response = Response<R>> + Clone,
        C::Error: Into<Error>,
        R: Body<Data = Bytes>,
    {
        let cluster = self.clusters.get(n)?.clone();
        let request = self.request.as_ref().filter(|r| r.body().can_replay())?;
        let answer = cluster.oneshot(again(request)).await.map_err(Into::into);
        let failed = self.failed(&answer).is_some();
        answer
            .ok()
            .filter(|_| !failed)
            .map(|reply| reply.map(passed))
    }
}

fn whole_reply<R>(parts: http::response::Parts, whole: Whole) -> Response<FallbackBody<R>>
where
    R: Body<Data = Bytes>,
{
    Response::from_parts(parts, Teed::new(PassedOrWhole::whole(whole), None))
}
