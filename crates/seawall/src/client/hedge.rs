//! Sends a second copy of a call that takes unusually long.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use http::{Request, Response};
use pin_project_lite::pin_project;
use seawall_policy::retry::{Budget, Hedge, HedgeSettings, Latencies};
use tower::{Layer, Service};

use super::error::Error;
use super::outgoing::Outgoing;
use super::replay::Replay;
use super::retry::again;
use crate::Tick;
use crate::clock::Clock;

/// Sends another copy of a call when the first has lasted as long as all but a few calls last. The
/// first answer wins, and the others are cancelled.
///
/// Only what may run twice is copied, and only when its body has been read to its end; each copy is
/// paid from the budget that retries are paid from, so hedges cannot double the load when
/// everything is slow. It stands below retries, which take the copies for one attempt.
///
/// A call that is not copied costs two allocations and a timer; with hedges off, nothing.
///
/// ```
/// use seawall::client::HedgeLayer;
/// use seawall::clock::Clock;
/// use seawall_policy::retry::{Budget, BudgetSettings, HedgeSettings, Latencies, LatencySettings};
/// use std::sync::Arc;
///
/// let latencies = Arc::new(Latencies::new(&LatencySettings::default()));
/// let budget = Arc::new(Budget::new(&BudgetSettings::default()));
/// let layer = HedgeLayer::new(HedgeSettings::default(), latencies, budget, Clock::system());
/// assert_eq!(layer.sent(), 0);
/// ```
#[derive(Clone, Debug, Default)]
pub struct HedgeLayer(Option<Arc<Shared>>);

#[derive(Debug)]
struct Shared {
    hedge: Hedge,
    budget: Arc<Budget>,
    latencies: Arc<Latencies>,
    clock: Clock,
    sent: AtomicU64,
}

impl HedgeLayer {
    /// Hedges when `latencies` say so, which it tells how long its copies take.
    #[must_use]
    pub fn new(
        settings: HedgeSettings,
        latencies: Arc<Latencies>,
        budget: Arc<Budget>,
        clock: Clock,
    ) -> Self {
        Self(Some(Arc::new(Shared {
            hedge: Hedge::new(settings),
            budget,
            latencies,
            clock,
            sent: AtomicU64::new(0),
        })))
    }

    /// Lets everything pass.
    #[must_use]
    pub fn off() -> Self {
        Self::default()
    }

    /// Copies that were sent beside the first.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.0
            .as_ref()
            .map_or(0, |shared| shared.sent.load(Relaxed))
    }
}

impl<S> Layer<S> for HedgeLayer {
    type Service = HedgeService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        HedgeService {
            inner,
            shared: self.0.clone(),
        }
    }
}

/// A service below a [`HedgeLayer`].
#[derive(Clone, Debug)]
pub struct HedgeService<S> {
    inner: S,
    shared: Option<Arc<Shared>>,
}

impl<S, B, R> Service<Request<Replay<B>>> for HedgeService<S>
where
    S: Service<Request<Replay<B>>, Response = Response<R>> + Clone + Send + 'static,
    S::Error: Into<Error>,
    S::Future: Send,
    B: Send + 'static,
    R: Send + 'static,
{
    type Response = Response<R>;
    type Error = Error;
    type Future = HedgeFuture<S::Future, R>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Request<Replay<B>>) -> Self::Future {
        let state = match &self.shared {
            None => State::Plain {
                future: self.inner.call(request),
            },
            Some(shared) => State::Hedged {
                copies: Box::pin(copies(shared.clone(), self.inner.clone(), request)),
            },
        };
        HedgeFuture { state }
    }
}

type Copies<R> = Pin<Box<dyn Future<Output = Result<Response<R>, Error>> + Send>>;

pin_project! {
    /// The future of a [`HedgeService`].
    pub struct HedgeFuture<F, R> {
        #[pin]
        state: State<F, R>,
    }
}

pin_project! {
    #[project = Projected]
    enum State<F, R> {
        Plain { #[pin] future: F },
        Hedged { copies: Copies<R> },
    }
}

impl<F, R, E> Future for HedgeFuture<F, R>
where
    F: Future<Output = Result<Response<R>, E>>,
    E: Into<Error>,
{
    type Output = Result<Response<R>, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            Projected::Plain { future } => future.poll(cx).map_err(Into::into),
            Projected::Hedged { copies } => copies.as_mut().poll(cx),
        }
    }
}

/// Tells how long a copy took, also of one that lost: without the losers the tail would shrink by
/// every hedge that helps.
struct Timed<'a> {
    shared: &'a Shared,
    /// Another copy has won.
    won: &'a AtomicBool,
    started: Tick,
    answered: bool,
}

impl Drop for Timed<'_> {
    fn drop(&mut self) {
        if self.answered || self.won.load(Relaxed) {
            let now = self.shared.clock.now();
            self.shared.latencies.record(now.since(self.started), now);
        }
    }
}

async fn copies<S, B, R>(
    shared: Arc<Shared>,
    mut inner: S,
    mut request: Request<Replay<B>>,
) -> Result<Response<R>, Error>
where
    S: Service<Request<Replay<B>>, Response = Response<R>> + Clone,
    S::Error: Into<Error>,
{
    let mut now = shared.clock.now();
    let mut outgoing = Outgoing::of(&request, now);
    let call = outgoing.call;
    if outgoing.tried.is_none() {
        // Copies go to different hosts.
        outgoing.tried = Some(Arc::default());
        request.extensions_mut().insert(outgoing);
    }
    let spare = call.idempotent.then(|| again(&request));
    let won = AtomicBool::new(false);
    let mut copies = FuturesUnordered::new();
    let timed = async |answer: S::Future, started: Tick| {
        let mut timed = Timed {
            shared: &shared,
            won: &won,
            started,
            answered: false,
        };
        let answer = answer.await.map_err(Into::into);
        // What failed fast says nothing of how long work takes.
        timed.answered = answer.is_ok();
        won.fetch_or(timed.answered, Relaxed);
        answer
    };
    copies.push(timed(inner.call(request), now));
    let mut sent = 1;
    loop {
        let due = spare.as_ref().and_then(|_| {
            let latencies = &shared.latencies;
            shared.hedge.due(&call, true, sent, latencies, now)
        });
        let Some((due, spare)) = due.zip(spare.as_ref()) else {
            return last(&mut copies).await;
        };
        let first = tokio::time::timeout(due.since(now), copies.next()).await;
        if let Ok(Some(answer)) = first {
            if answer.is_ok() || copies.is_empty() {
                return answer;
            }
            return last(&mut copies).await;
        }
        now = shared.clock.now();
        let (latencies, budget) = (&shared.latencies, &shared.budget);
        let may = spare.body().is_whole();
        if (shared.hedge.send(&call, may, sent, latencies, budget, now)).is_none() {
            return last(&mut copies).await;
        }
        std::future::poll_fn(|cx| inner.poll_ready(cx))
            .await
            .map_err(Into::into)?;
        shared.sent.fetch_add(1, Relaxed);
        copies.push(timed(inner.call(again(spare)), now));
        sent = sent.saturating_add(1);
    }
}

/// The first answer of the copies that are under way, or the last error.
async fn last<F, R>(copies: &mut FuturesUnordered<F>) -> Result<Response<R>, Error>
where
    F: Future<Output = Result<Response<R>, Error>>,
{
    loop {
        match copies.next().await {
            Some(Err(_)) if !copies.is_empty() => {}
            Some(answer) => return answer,
            None => return Err(Error::failed("no copy was sent")),
        }
    }
}
