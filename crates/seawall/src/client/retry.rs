//! Sends a failed call again, where that helps and somebody pays for it.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};

use http::{HeaderValue, Request, Response, StatusCode, header};
use seawall_policy::retry::{
    Budget, Latencies, Pushback, Rejected, Reply, Retry, RetrySettings, Verdict, Why, Withdrawal,
};
use tokio::time::sleep;
use tower::{Layer, Service, ServiceExt as _};

use super::error::{Error, ErrorKind};
use super::outgoing::{Outgoing, Tried};
use super::replay::Replay;
use crate::admission::outcome;
use crate::clock::Clock;
use crate::context::{Wire, advice, names};
use crate::{Outcome, Rejection, Tick};

/// Sends a failed call again as [`Retry`] decides: within a [`Budget`], in time, to another host,
/// and never what must not run twice, nor after the answer's head was passed on.
///
/// An answer that it hands on in vain carries `seawall-retried`, and an error says so
/// ([`Error::is_retried`]); the reply of the server that made the call is then marked as well
/// ([`ContextLayer`](crate::layer::ContextLayer)), so that no tier above retries it.
///
/// An attempt that serves as the probe of an ejected host ends sooner than others
/// ([`Choice::probe_limit`](seawall_policy::balance::Choice::probe_limit)), and what follows it is
/// sent whatever is left of the budget.
///
/// It begins nothing that is too late, but what has begun is for a
/// [`DeadlineLayer`](super::DeadlineLayer) above to end.
///
/// Costs one allocation a call, one more for each attempt but the first; 200 bytes while it lasts.
///
/// ```
/// use seawall::client::RetryLayer;
/// use seawall_policy::retry::{Budget, BudgetSettings, RetrySettings, Why};
/// use std::sync::Arc;
///
/// let budget = Arc::new(Budget::new(&BudgetSettings::default()));
/// let layer = RetryLayer::new(RetrySettings { attempts: 2, ..Default::default() }, budget);
/// assert_eq!(layer.totals().retries, 0);
/// assert_eq!(layer.totals().stopped(Why::Budget), 0);
/// ```
#[derive(Clone, Debug)]
pub struct RetryLayer(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    retry: Retry,
    budget: Arc<Budget>,
    latencies: Option<Arc<Latencies>>,
    records: bool,
    clock: Clock,
    counts: Counts,
}

/// Written only when something failed, so not sharded.
#[derive(Debug, Default)]
struct Counts {
    retries: AtomicU64,
    stopped: [AtomicU64; Why::ALL.len()],
    too_large: AtomicU64,
}

/// What a [`RetryLayer`] did so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RetryTotals {
    /// Attempts beyond the first.
    pub retries: u64,
    /// Calls that failed and were not sent again because their body is too large to keep.
    pub too_large: u64,
    stopped: [u64; Why::ALL.len()],
}

impl RetryTotals {
    /// Calls that failed for good for this reason.
    #[must_use]
    pub const fn stopped(&self, why: Why) -> u64 {
        self.stopped[why as usize]
    }
}

impl RetryLayer {
    /// Paid from this budget, to be shared by all that calls the same upstream.
    #[must_use]
    pub fn new(settings: RetrySettings, budget: Arc<Budget>) -> Self {
        Self(Arc::new(Shared {
            retry: Retry::new(settings),
            budget,
            latencies: None,
            records: false,
            clock: Clock::system(),
            counts: Counts::default(),
        }))
    }

    /// Begins no retry that usually takes longer than the time left; `records` tells them how long
    /// attempts take, unless a [`HedgeLayer`](super::HedgeLayer) below does. Set before use.
    #[must_use]
    pub fn latencies(self, latencies: Arc<Latencies>, records: bool) -> Self {
        self.change(|shared| {
            shared.latencies = Some(latencies);
            shared.records = records;
        })
    }

    /// The clock; the system's by default. Set before use.
    #[must_use]
    pub fn clock(self, clock: Clock) -> Self {
        self.change(|shared| shared.clock = clock)
    }

    /// What all clones of this layer did so far.
    #[must_use]
    pub fn totals(&self) -> RetryTotals {
        let counts = &self.0.counts;
        RetryTotals {
            retries: counts.retries.load(Relaxed),
            too_large: counts.too_large.load(Relaxed),
            stopped: std::array::from_fn(|n| counts.stopped[n].load(Relaxed)),
        }
    }

    fn change(self, change: impl FnOnce(&mut Shared)) -> Self {
        let mut shared = Shared {
            retry: self.0.retry,
            budget: self.0.budget.clone(),
            latencies: self.0.latencies.clone(),
            records: self.0.records,
            clock: self.0.clock.clone(),
            counts: Counts::default(),
        };
        change(&mut shared);
        Self(Arc::new(shared))
    }
}

impl<S> Layer<S> for RetryLayer {
    type Service = RetryService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        RetryService {
            inner,
            shared: self.0.clone(),
        }
    }
}

/// A service below a [`RetryLayer`].
#[derive(Clone, Debug)]
pub struct RetryService<S> {
    inner: S,
    shared: Arc<Shared>,
}

/// The future of a [`RetryService`].
pub type RetryFuture<R> = Pin<Box<dyn Future<Output = Result<Response<R>, Error>> + Send>>;

impl<S, B, R> Service<Request<Replay<B>>> for RetryService<S>
where
    S: Service<Request<Replay<B>>, Response = Response<R>> + Clone + Send + 'static,
    S::Error: Into<Error> + Send,
    S::Future: Send,
    B: Send + 'static,
    R: Send + 'static,
{
    type Response = Response<R>;
    type Error = Error;
    type Future = RetryFuture<R>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Replay<B>>) -> Self::Future {
        let now = self.shared.clock.now();
        // Here, where what is ambient is the caller's.
        let mut outgoing = Outgoing::of(&request, now);
        outgoing.call.idempotent = self.shared.retry.may_run_twice(&outgoing.call);
        let calling = Calling {
            shared: self.shared.clone(),
            outgoing,
            ran: false,
            wire: Wire::of(request.headers()),
        };
        Box::pin(calling.run(self.inner.clone(), request, now))
    }
}

/// A call with all its attempts.
struct Calling {
    shared: Arc<Shared>,
    outgoing: Outgoing,
    wire: Wire,
    /// An attempt may have run.
    ran: bool,
}

impl Calling {
    async fn run<S, B, R>(
        mut self,
        inner: S,
        mut request: Request<Replay<B>>,
        mut now: Tick,
    ) -> Result<Response<R>, Error>
    where
        S: Service<Request<Replay<B>>, Response = Response<R>> + Clone,
        S::Error: Into<Error>,
    {
        let shared = self.shared.clone();
        shared.budget.deposit(now);
        let attempts = shared.retry.settings().attempts.max(1);
        if attempts > 1 {
            self.outgoing.tried = Some(Arc::new(Tried::default()));
        }
        let mut reply = Reply::new(Outcome::Success);
        loop {
            let next = (reply.attempts < attempts).then(|| again(&request));
            request.extensions_mut().insert(self.attempt(&reply, now));
            let started = now;
            let spare = next.as_ref().map(Request::body);
            let answer = self.attempted(inner.clone(), request, spare, now).await;
            now = shared.clock.now();
            self.judge(&mut reply, &answer);
            self.learn(&reply, started, now);
            if reply.outcome == Outcome::Success {
                return answer;
            }
            self.ran |= reply.may_have_run && reply.rejected == Rejected::No;
            let (call, budget) = (&self.outgoing.call, &shared.budget);
            let typical = shared.latencies.as_ref().and_then(|l| l.typical());
            let random = fastrand::u64(..);
            let verdict = (shared.retry).decide(call, &reply, typical, budget, now, random);
            let (wait, paid) = match verdict {
                Verdict::Stop(why) => return self.stop(answer, &reply, why),
                Verdict::After(wait, paid) => (wait, Paid::new(budget, paid)),
            };
            let Some(next) = next.filter(|next| next.body().can_replay()) else {
                shared.counts.too_large.fetch_add(1, Relaxed);
                return self.stop(answer, &reply, Why::Unsafe);
            };
            drop(answer);
            if !wait.is_zero() {
                sleep(wait).await;
                now = shared.clock.now();
            }
            paid.spent();
            shared.counts.retries.fetch_add(1, Relaxed);
            reply.attempts += 1;
            reply.waited = wait;
            request = next;
        }
    }

    /// What the next attempt is told of itself.
    fn attempt(&self, reply: &Reply, now: Tick) -> Outgoing {
        let mut outgoing = self.outgoing.clone();
        let earlier = reply.attempts - 1;
        outgoing.call.attempt = outgoing.call.attempt.saturating_add(earlier);
        outgoing.call.deadline = self.shared.retry.limit(&outgoing.call, now);
        outgoing
    }

    async fn attempted<S, B, R>(
        &self,
        inner: S,
        request: Request<Replay<B>>,
        spare: Option<&Replay<B>>,
        now: Tick,
    ) -> Result<Response<R>, Error>
    where
        S: Service<Request<Replay<B>>, Response = Response<R>>,
        S::Error: Into<Error>,
    {
        let call = &self.outgoing.call;
        if call.deadline <= now {
            return Err(ErrorKind::TooLate.into());
        }
        let answer = self.unless_probe(inner.oneshot(request), spare, now);
        let limit = self.shared.retry.limit(call, now);
        if limit == call.deadline {
            return answer.await;
        }
        let timed = tokio::time::timeout(limit.since(now), answer).await;
        timed.unwrap_or_else(|_| Err(ErrorKind::AttemptTimeout.into()))
    }

    /// Gives up an attempt that turns out to be a probe of an ejected host, and goes on for longer
    /// than such a one may, if it can be sent again and no hedge of it is under way.
    async fn unless_probe<F, B, R, E>(
        &self,
        answer: F,
        spare: Option<&Replay<B>>,
        now: Tick,
    ) -> Result<Response<R>, Error>
    where
        F: Future<Output = Result<Response<R>, E>>,
        E: Into<Error>,
    {
        let tried = self.outgoing.tried.as_deref();
        let may_leave = || spare.is_some_and(Replay::can_replay);
        let (mut answer, mut timer) = (pin!(answer), None);
        poll_fn(|cx| {
            if let Poll::Ready(answer) = answer.as_mut().poll(cx) {
                return Poll::Ready(answer.map_err(Into::into));
            }
            let Some((tried, until)) = tried.and_then(|tried| Some((tried, tried.probe()?))) else {
                return Poll::Pending;
            };
            if !tried.is_alone() || !may_leave() {
                return Poll::Pending;
            }
            let timer = timer.get_or_insert_with(|| Box::pin(sleep(until.since(now))));
            let late = timer.as_mut().poll(cx);
            late.map(|()| Err(ErrorKind::AttemptTimeout.into()))
        })
        .await
    }

    fn judge<R>(&self, reply: &mut Reply, answer: &Result<Response<R>, Error>) {
        let (attempts, waited) = (reply.attempts, reply.waited);
        let tried = self.outgoing.tried.as_ref();
        let probe = tried.is_some_and(|tried| tried.end_probe());
        let judged = match answer {
            Ok(answer) => of_answer(answer, self.wire),
            Err(error) => of_error(error),
        };
        *reply = Reply {
            attempts,
            waited,
            probe,
            ..judged
        };
    }

    fn learn(&self, reply: &Reply, started: Tick, now: Tick) {
        let Some(latencies) = &self.shared.latencies else {
            return;
        };
        // What failed fast says nothing of how long work takes.
        if self.shared.records && reply.outcome == Outcome::Success {
            latencies.record(now.since(started), now);
        }
    }

    fn stop<R>(
        &self,
        answer: Result<Response<R>, Error>,
        reply: &Reply,
        why: Why,
    ) -> Result<Response<R>, Error> {
        self.shared.counts.stopped[why as usize].fetch_add(1, Relaxed);
        let mark = self.shared.retry.must_mark(reply, why);
        if let (true, Some(kept)) = (mark, &self.outgoing.kept) {
            kept.retried.store(true, Relaxed);
        }
        match answer {
            Ok(mut answer) => {
                if mark {
                    let value = HeaderValue::from_static("1");
                    answer.headers_mut().insert(names::RETRIED, value);
                }
                let ran = self.ran;
                answer.extensions_mut().insert(Ended { why, ran });
                Ok(answer)
            }
            Err(mut error) => {
                error.retried |= mark;
                error.ran |= self.ran;
                error.why = Some(why);
                Err(error)
            }
        }
    }
}

/// Why a failing answer was not tried again; among its extensions.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ended {
    pub(super) why: Why,
    /// An attempt may have run.
    pub(super) ran: bool,
}

/// A withdrawal that is given back unless it is spent.
struct Paid<'a>(&'a Budget, Option<Withdrawal>);

impl<'a> Paid<'a> {
    fn new(budget: &'a Budget, paid: Withdrawal) -> Self {
        Self(budget, Some(paid))
    }

    fn spent(mut self) {
        self.1 = None;
    }
}

impl Drop for Paid<'_> {
    fn drop(&mut self) {
        if let Some(paid) = self.1.take() {
            self.0.refund(paid);
        }
    }
}

/// The same request from its body's beginning.
pub(super) fn again<B>(request: &Request<Replay<B>>) -> Request<Replay<B>> {
    let mut again = Request::new(request.body().again());
    *again.method_mut() = request.method().clone();
    *again.uri_mut() = request.uri().clone();
    *again.version_mut() = request.version();
    *again.headers_mut() = request.headers().clone();
    *again.extensions_mut() = request.extensions().clone();
    again
}

fn of_answer<R>(answer: &Response<R>, wire: Wire) -> Reply {
    let headers = answer.headers();
    let outcome = outcome::of_head(answer.status(), headers, wire);
    if outcome == Outcome::Success {
        return Reply::new(outcome);
    }
    let pushback = match wire {
        Wire::Grpc => headers
            .get(names::GRPC_PUSHBACK)
            .map(|value| Pushback::from_grpc(value.as_bytes())),
        Wire::Http => headers
            .get(header::RETRY_AFTER)
            .map(|value| Pushback::from_retry_after(value.as_bytes())),
    };
    Reply {
        marked: headers.contains_key(names::RETRIED),
        rejected: advice(headers).map_or(Rejected::No, Rejected::There),
        pushback: pushback.unwrap_or_default(),
        ..Reply::new(outcome)
    }
}

fn of_error(error: &Error) -> Reply {
    match error.kind() {
        ErrorKind::Rejected(Rejection { advice, .. }) => Reply {
            rejected: Rejected::Here(*advice),
            marked: error.retried,
            ..Reply::new(Outcome::Overloaded)
        },
        ErrorKind::Uri(_) => Reply::new(Outcome::Ignored),
        _ if error.may_have_run() => Reply {
            marked: error.retried,
            ..Reply::new(Outcome::Failure)
        },
        _ => Reply {
            marked: error.retried,
            ..Reply::not_sent()
        },
    }
}

/// Whether the caller was over its own share.
pub(super) fn over_share<R>(answer: &Response<R>, wire: Wire) -> bool {
    match wire {
        Wire::Http => answer.status() == StatusCode::TOO_MANY_REQUESTS,
        Wire::Grpc => {
            let code = answer.headers().get(names::GRPC_STATUS);
            code.is_some_and(|code| code.as_bytes() == b"8")
        }
    }
}
