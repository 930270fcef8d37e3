//! One call for many that ask the same at once.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http::response::Parts;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use http_body::Body;
use parking_lot::Mutex;
use pin_project_lite::pin_project;
use seawall_sync::Flight;
use tower::{Layer, Service, ServiceExt as _};

use super::error::{Error, ErrorKind};
use super::key::Key;
use super::outgoing::Outgoing;
use super::whole::{PassedOrWhole, Whole};
use crate::Tick;
use crate::clock::Clock;
use crate::layer::context::Kept;

/// How large an answer may be to be shared, unless said otherwise: 64 KiB.
pub const SHARED_LIMIT: u64 = 64 * 1024;

/// Sends one call for all that ask the same at the same time.
///
/// *The same*: GET or HEAD without a body, of one authority, URI, tenant and criticality, and alike
/// in every header but those of tracing and time. So `authorization`, `cookie`, `accept*` and
/// `range` tell requests apart, and whatever else a service has made up to name its users.
///
/// *Shared* is an answer whose length is known and at most the limit, without `set-cookie` and
/// `cache-control: no-store`; it is read as a whole first. Any other answer goes to one of the callers as it comes, and the rest go alone. Errors are
/// shared, too, or a failing origin would be asked by all at once; but for time that was up, which
/// is the time of whoever's call it was.
///
/// Cancel-safe: the call belongs to all that wait for it, and ends with the last of them.
///
/// Costs the key (its headers are reference counts, its list an allocation) and an entry of a
/// [`Flight`], for reads alone.
///
/// ```
/// use http::{Request, Response};
/// use seawall::client::{Body, CoalesceLayer, Replay, ReplayLayer};
/// use tower::{Layer, ServiceExt, service_fn};
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
///
/// let origin = service_fn(|_: Request<Replay<Body>>| async {
///     tokio::task::yield_now().await;
///     Ok::<_, std::convert::Infallible>(Response::new(Body::from("answer")))
/// });
/// let layer = CoalesceLayer::default();
/// let service = ReplayLayer::default().layer(layer.of::<Body>().layer(origin));
/// let get = || service.clone().oneshot(Request::new(Body::empty()));
/// let (a, b) = tokio::join!(get(), get());
/// assert!(a.is_ok() && b.is_ok());
/// assert_eq!(layer.followed(), 1);
/// # });
/// ```
#[derive(Clone, Debug)]
pub struct CoalesceLayer {
    limit: u64,
    clock: Clock,
    followed: Arc<AtomicU64>,
}

impl Default for CoalesceLayer {
    fn default() -> Self {
        Self::new(SHARED_LIMIT)
    }
}

impl CoalesceLayer {
    /// Shares answers of up to so many bytes; 0 shares nothing, and reads go alone.
    #[must_use]
    pub fn new(limit: u64) -> Self {
        Self {
            limit,
            clock: Clock::system(),
            followed: Arc::default(),
        }
    }

    /// The clock; the system's by default.
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Calls that got the answer to another's.
    #[must_use]
    pub fn followed(&self) -> u64 {
        self.followed.load(Relaxed)
    }
}

impl<S, R> Layer<S> for CoalesceLayerOf<R>
where
    R: Send + 'static,
{
    type Service = CoalesceService<S, R>;

    fn layer(&self, inner: S) -> Self::Service {
        CoalesceService {
            inner,
            layer: self.0.clone(),
            flight: Flight::new(),
        }
    }
}

/// A [`CoalesceLayer`] for answers of one body type.
#[derive(Debug)]
pub struct CoalesceLayerOf<R>(CoalesceLayer, std::marker::PhantomData<fn() -> R>);

impl CoalesceLayer {
    /// For answers whose body is an `R`. Each service that it makes shares among its own clones.
    #[must_use]
    pub fn of<R>(&self) -> CoalesceLayerOf<R> {
        CoalesceLayerOf(self.clone(), std::marker::PhantomData)
    }
}

/// A service below a [`CoalesceLayer`].
#[derive(Debug)]
pub struct CoalesceService<S, R> {
    inner: S,
    layer: CoalesceLayer,
    flight: Flight<Key, Landed<R>>,
}

impl<S: Clone, R> Clone for CoalesceService<S, R> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            layer: self.layer.clone(),
            flight: self.flight.clone(),
        }
    }
}

/// What came of a shared call.
struct Landed<R> {
    /// That of whoever's call it was.
    deadline: Tick,
    retried: bool,
    answer: Result<Answer<R>, Error>,
}

enum Answer<R> {
    Shared(Arc<(Parts, Whole)>),
    /// For whoever takes it first.
    Single(Arc<Mutex<Option<Response<R>>>>),
}

impl<R> Clone for Answer<R> {
    fn clone(&self) -> Self {
        match self {
            Self::Shared(shared) => Self::Shared(shared.clone()),
            Self::Single(single) => Self::Single(single.clone()),
        }
    }
}

impl<R> Clone for Landed<R> {
    fn clone(&self) -> Self {
        Self {
            deadline: self.deadline,
            retried: self.retried,
            answer: self.answer.clone(),
        }
    }
}

impl<S, B, R> Service<Request<B>> for CoalesceService<S, R>
where
    S: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
    S::Error: Into<Error> + Send,
    S::Future: Send,
    B: Body + Again + Send + Sync + 'static,
    R: Body<Data = Bytes> + Send + 'static,
    R::Error: Into<Error>,
{
    type Response = Response<PassedOrWhole<R>>;
    type Error = Error;
    type Future = CoalesceFuture<S::Future, R>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let key = (self.layer.limit > 0).then(|| {
            let outgoing = Outgoing::of(&request, self.layer.clock.now());
            let key = Key::of(&request, &outgoing)?;
            Some((key, outgoing))
        });
        let state = match key.flatten() {
            None => State::Alone {
                future: self.inner.call(request),
            },
            Some((key, outgoing)) => {
                let reading = Reading {
                    inner: self.inner.clone(),
                    layer: self.layer.clone(),
                    flight: self.flight.clone(),
                    key,
                    outgoing,
                };
                State::Together {
                    reading: Box::pin(reading.run(request)),
                }
            }
        };
        CoalesceFuture { state }
    }
}

/// A body that can be made once more: that of a read, which has none.
pub trait Again {
    /// Another of the same.
    #[must_use]
    fn again(&self) -> Self;
}

impl<B> Again for super::replay::Replay<B> {
    fn again(&self) -> Self {
        Self::again(self)
    }
}

type Together<R> = Pin<Box<dyn Future<Output = Result<Response<PassedOrWhole<R>>, Error>> + Send>>;

pin_project! {
    /// The future of a [`CoalesceService`].
    pub struct CoalesceFuture<F, R> {
        #[pin]
        state: State<F, R>,
    }
}

pin_project! {
    #[project = Projected]
    enum State<F, R> {
        Alone { #[pin] future: F },
        Together { reading: Together<R> },
    }
}

impl<F, R, E> Future for CoalesceFuture<F, R>
where
    F: Future<Output = Result<Response<R>, E>>,
    E: Into<Error>,
{
    type Output = Result<Response<PassedOrWhole<R>>, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            Projected::Alone { future } => future
                .poll(cx)
                .map_ok(|reply| reply.map(PassedOrWhole::passed))
                .map_err(Into::into),
            Projected::Together { reading } => reading.as_mut().poll(cx),
        }
    }
}

/// A read that may have company.
struct Reading<S, R> {
    inner: S,
    layer: CoalesceLayer,
    flight: Flight<Key, Landed<R>>,
    key: Key,
    outgoing: Outgoing,
}

impl<S, R> Reading<S, R> {
    async fn run<B>(self, request: Request<B>) -> Result<Response<PassedOrWhole<R>>, Error>
    where
        S: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
        S::Error: Into<Error> + Send,
        S::Future: Send,
        B: Again + Send + Sync + 'static,
        R: Body<Data = Bytes> + Send + 'static,
        R::Error: Into<Error>,
    {
        let (parts, body) = request.into_parts();
        let request = || Request::from_parts(parts.clone(), body.again());
        loop {
            let began = Arc::new(AtomicBool::new(false));
            let work = self.work(request(), began.clone());
            let landed = self.flight.run(self.key.clone(), work).await;
            let landed = landed.map_err(Error::failed)?;
            if !began.load(Relaxed) {
                self.layer.followed.fetch_add(1, Relaxed);
            }
            if landed.retried
                && let Some(kept) = &self.outgoing.kept
            {
                kept.retried.store(true, Relaxed);
            }
            // Another's time was up, which may not be ours.
            let theirs = landed.deadline < self.outgoing.call.deadline;
            if theirs && landed.is_late() && self.layer.clock.now() >= landed.deadline {
                continue;
            }
            match landed.answer {
                Ok(Answer::Shared(shared)) => {
                    let (parts, whole) = &*shared;
                    let body = PassedOrWhole::whole(whole.clone());
                    return Ok(Response::from_parts(parts.clone(), body));
                }
                Ok(Answer::Single(single)) => {
                    if let Some(reply) = { single.lock().take() } {
                        return Ok(reply.map(PassedOrWhole::passed));
                    }
                    let reply = self.inner.clone().oneshot(request()).await;
                    return match reply {
                        Ok(reply) => Ok(reply.map(PassedOrWhole::passed)),
                        Err(error) => Err(error.into()),
                    };
                }
                // Another's time was up, not ours.
                Err(error) => return Err(error),
            }
        }
    }

    /// The call itself, as whoever began it would have made it alone.
    fn work<B>(
        &self,
        mut request: Request<B>,
        began: Arc<AtomicBool>,
    ) -> impl Future<Output = Landed<R>> + Send + use<S, R, B>
    where
        S: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
        S::Error: Into<Error> + Send,
        S::Future: Send,
        B: Send + 'static,
        R: Body<Data = Bytes> + Send + 'static,
        R::Error: Into<Error>,
    {
        let (inner, limit) = (self.inner.clone(), self.layer.limit);
        let deadline = self.outgoing.call.deadline;
        // Whether it was retried is for all of them to know.
        let mut outgoing = self.outgoing.clone();
        let marks = Arc::new(Kept {
            headers: outgoing
                .kept
                .as_ref()
                .map_or_else(Vec::new, |kept| kept.headers.clone()),
            ..Kept::default()
        });
        outgoing.kept = Some(marks.clone());
        request.extensions_mut().insert(outgoing);
        async move {
            began.store(true, Relaxed);
            let answer = match inner.oneshot(request).await {
                Ok(reply) => read(reply, limit).await,
                Err(error) => Err(error.into()),
            };
            Landed {
                deadline,
                retried: marks.retried.load(Relaxed),
                answer,
            }
        }
    }
}

impl<R> Landed<R> {
    fn is_late(&self) -> bool {
        use ErrorKind::{AttemptTimeout, Deadline, TooLate};
        match &self.answer {
            Ok(Answer::Shared(shared)) => shared.0.status == StatusCode::GATEWAY_TIMEOUT,
            Ok(Answer::Single(_)) => false,
            Err(error) => matches!(error.kind(), TooLate | Deadline | AttemptTimeout),
        }
    }
}

/// Whether an answer with these headers was made for one caller, whatever the request says.
pub(super) fn is_personal(headers: &HeaderMap) -> bool {
    let no_store = |value: &HeaderValue| {
        let mut said = value.as_bytes().split(|byte| *byte == b',');
        said.any(|said| said.trim_ascii().eq_ignore_ascii_case(b"no-store"))
    };
    headers.contains_key(header::SET_COOKIE)
        || headers.get_all(header::CACHE_CONTROL).iter().any(no_store)
}

async fn read<R>(reply: Response<R>, limit: u64) -> Result<Answer<R>, Error>
where
    R: Body<Data = Bytes>,
    R::Error: Into<Error>,
{
    let length = reply.body().size_hint().exact();
    if length.is_none_or(|length| length > limit) || is_personal(reply.headers()) {
        return Ok(Answer::Single(Arc::new(Mutex::new(Some(reply)))));
    }
    let (parts, body) = reply.into_parts();
    let whole = collect(body, limit).await?;
    Ok(Answer::Shared(Arc::new((parts, whole))))
}

/// A body as a whole; an error where it has more than `limit` bytes.
pub(super) async fn collect<B>(body: B, limit: u64) -> Result<Whole, Error>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Error>,
{
    let mut body = std::pin::pin!(body);
    let mut whole = Whole::default();
    let mut more: Option<BytesMut> = None;
    let mut size = 0;
    while let Some(frame) = std::future::poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
        let frame = frame.map_err(Into::into)?;
        match frame.into_data() {
            Ok(data) => {
                size += data.len() as u64;
                if size > limit {
                    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
                    return Err(ErrorKind::BodyTooLarge(limit).into());
                }
                match &mut more {
                    Some(more) => more.extend_from_slice(&data),
                    // Most bodies are one frame, which needs no copy.
                    None if whole.data.is_empty() => whole.data = data,
                    None => {
                        let mut all = BytesMut::from(&whole.data[..]);
                        all.extend_from_slice(&data);
                        more = Some(all);
                    }
                }
            }
            Err(frame) => whole.trailers = frame.into_trailers().ok(),
        }
    }
    if let Some(more) = more {
        whole.data = more.freeze();
    }
    Ok(whole)
}
