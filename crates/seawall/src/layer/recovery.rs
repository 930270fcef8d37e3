//! A panic of a handler is an answer, not the end of a connection.
//!
//! The catch stands right around the handler, below everything else, and not outermost: there the
//! panic would have torn through the layers between, and none of them would have told of the call.
//! Here it becomes an ordinary failure, which gives its place back, counts, is logged and ends its
//! span like any other. Handler and body are caught alike. What a panic has left half done in the
//! handler's own shared state, only the handler can know; a lock of `std` says so by its poison.
//!
//! A panic tells its place to the hook alone, so one is put in front of the process's own, once: a
//! panic within a handler is written down and goes to the log with method and trace, every other
//! goes on to the hook that was there. Built with `panic = "abort"` there is nothing to catch.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::panic::{self, AssertUnwindSafe};
use std::pin::Pin;
use std::sync::Once;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tower::Service;

use super::answer::Refusal;
use super::context::Arrival;
use super::methods::Shared;
use super::trace::Trace;
use crate::context::Wire;

/// The error of a body.
pub(super) type BoxError = Box<dyn std::error::Error + Send + Sync>;

thread_local! {
    static WITHIN: Cell<bool> = const { Cell::new(false) };
    /// Where the last panic was.
    static PLACE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Has panics within handlers written down instead of printed.
pub(super) fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if WITHIN.try_with(Cell::get).unwrap_or(false) {
                let place = info.location().map(ToString::to_string);
                let _ = PLACE.try_with(|slot| slot.replace(place));
            } else {
                before(info);
            }
        }));
    });
}

/// Runs what may panic.
fn guarded<R>(run: impl FnOnce() -> R) -> Result<R, Box<dyn Any + Send>> {
    struct Back(bool);
    impl Drop for Back {
        fn drop(&mut self) {
            WITHIN.set(self.0);
        }
    }
    let back = Back(WITHIN.replace(true));
    // What was left half done is not looked at again: the caller drops it.
    let ran = panic::catch_unwind(AssertUnwindSafe(run));
    drop(back);
    ran
}

/// Whose panic it would be.
#[derive(Clone, Debug)]
pub(super) struct Whose {
    methods: Shared,
    index: u16,
    trace: Option<Trace>,
    wire: Wire,
}

impl Whose {
    #[cold]
    fn report(&self, payload: Box<dyn Any + Send>) {
        let place = PLACE
            .try_with(|slot| slot.borrow_mut().take())
            .ok()
            .flatten();
        let text = payload.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| payload.downcast_ref::<&str>().copied());
        let known = self.methods.known(self.index);
        known.counters.panicked();
        tracing::error!(
            method = known.method.name,
            panic = text.unwrap_or("a payload that is no text"),
            place = place.as_deref().unwrap_or("unknown"),
            trace_id = self.trace.map(|trace| format!("{:032x}", trace.trace_id)),
            "a handler panicked"
        );
        // The payload's own destructor may panic in its turn; that one is let go of.
        if let Err(another) = guarded(|| drop(payload)) {
            std::mem::forget(another);
        }
    }

    #[cold]
    fn answer<B>(&self, payload: Box<dyn Any + Send>) -> Response<RecoveredBody<B>> {
        self.report(payload);
        let kind = |text| RecoveredBody {
            kind: Kind::Own { text },
            whose: None,
        };
        Refusal::PANIC.response(self.wire).map(kind)
    }
}

/// A handler whose panics are answers.
#[derive(Clone, Debug)]
pub struct Recover<S> {
    inner: S,
    methods: Shared,
}

impl<S> Recover<S> {
    pub(super) fn new(inner: S, methods: Shared) -> Self {
        Self { inner, methods }
    }
}

impl<S, B, R> Service<Request<B>> for Recover<S>
where
    S: Service<Request<B>, Response = Response<R>>,
{
    type Response = Response<RecoveredBody<R>>;
    type Error = S::Error;
    type Future = RecoverFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let arrival = request.extensions().get::<Arrival>();
        let known = arrival.and_then(|arrival| arrival.known.as_ref());
        let whose = Whose {
            methods: self.methods.clone(),
            index: known.map_or(u16::MAX, |known| known.index),
            trace: known.map(|known| known.trace),
            wire: arrival.map_or_else(|| Wire::of(request.headers()), |arrival| arrival.wire),
        };
        let state = match guarded(|| self.inner.call(request)) {
            Ok(future) => State::Running { future },
            Err(payload) => State::Panicked {
                payload: Some(payload),
            },
        };
        RecoverFuture {
            state,
            whose: Some(whose),
        }
    }
}

pin_project! {
    /// The future of a [`Recover`].
    pub struct RecoverFuture<F> {
        #[pin]
        state: State<F>,
        whose: Option<Whose>,
    }

    impl<F> PinnedDrop for RecoverFuture<F> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            let ended = guarded(|| this.state.set(State::Done));
            report(ended, this.whose.as_ref());
        }
    }
}

/// Tells of a panic on the way out, when nobody is left to answer.
fn report(ended: Result<(), Box<dyn Any + Send>>, whose: Option<&Whose>) {
    match (ended, whose) {
        (Err(payload), Some(whose)) => whose.report(payload),
        (Err(payload), None) => std::mem::forget(payload),
        (Ok(()), _) => {}
    }
}

pin_project! {
    #[project = Projected]
    enum State<F> {
        Running { #[pin] future: F },
        Panicked { payload: Option<Box<dyn Any + Send>> },
        Done,
    }
}

impl<F, R, E> Future for RecoverFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
{
    type Output = Result<Response<RecoveredBody<R>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let payload = match this.state.as_mut().project() {
            Projected::Running { future } => match guarded(|| future.poll(cx)) {
                Ok(Poll::Pending) => return Poll::Pending,
                Ok(Poll::Ready(answer)) => {
                    let whose = this.whose.take();
                    let kind = |body| RecoveredBody {
                        kind: Kind::Running { body },
                        whose,
                    };
                    return Poll::Ready(answer.map(|response| response.map(kind)));
                }
                Err(payload) => Some(payload),
            },
            Projected::Panicked { payload } => payload.take(),
            Projected::Done => None,
        };
        // The handler's future ends here, and may panic once more.
        let ended = guarded(|| this.state.set(State::Done));
        report(ended, this.whose.as_ref());
        match (payload, this.whose.take()) {
            (Some(payload), Some(whose)) => Poll::Ready(Ok(whose.answer(payload))),
            _ => Poll::Pending,
        }
    }
}

pin_project! {
    /// A body whose panics are its end: by gRPC trailers that say INTERNAL, by HTTP an error, which
    /// breaks the response off, since its status is long gone.
    pub struct RecoveredBody<B> {
        #[pin]
        kind: Kind<B>,
        whose: Option<Whose>,
    }

    impl<B> PinnedDrop for RecoveredBody<B> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            let ended = guarded(|| this.kind.set(Kind::Done));
            report(ended, this.whose.as_ref());
        }
    }
}

pin_project! {
    #[project = ProjectedBody]
    enum Kind<B> {
        Own { text: Bytes },
        Running { #[pin] body: B },
        Done,
    }
}

/// A body that panicked.
#[derive(Debug, thiserror::Error)]
#[error("the body of the answer panicked")]
struct Panicked;

impl<B> Body for RecoveredBody<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.project();
        let mut kind = this.kind;
        match kind.as_mut().project() {
            ProjectedBody::Own { text } if text.is_empty() => return Poll::Ready(None),
            ProjectedBody::Own { text } => {
                return Poll::Ready(Some(Ok(Frame::data(std::mem::take(text)))));
            }
            ProjectedBody::Running { body } => match guarded(|| body.poll_frame(cx)) {
                Ok(polled) => {
                    return polled.map(|frame| frame.map(|frame| frame.map_err(Into::into)));
                }
                Err(payload) => report(Err(payload), this.whose.as_ref()),
            },
            ProjectedBody::Done => return Poll::Ready(None),
        }
        let ended = guarded(|| kind.set(Kind::Done));
        report(ended, this.whose.as_ref());
        let grpc = this
            .whose
            .as_ref()
            .is_some_and(|whose| whose.wire == Wire::Grpc);
        Poll::Ready(Some(if grpc {
            Ok(Frame::trailers(Refusal::PANIC.trailers()))
        } else {
            Err(Panicked.into())
        }))
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Own { text } => text.is_empty(),
            Kind::Running { body } => body.is_end_stream(),
            Kind::Done => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Own { text } => SizeHint::with_exact(text.len() as u64),
            Kind::Running { body } => body.size_hint(),
            Kind::Done => SizeHint::with_exact(0),
        }
    }
}
