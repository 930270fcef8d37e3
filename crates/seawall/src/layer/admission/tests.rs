//! What each end of a call counts as, and how long its place is held.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use parking_lot::Mutex;
use seawall_policy::limit::{Limit, Step, Window};
use tower::{Layer, Service, service_fn};

use super::AdmissionLayer;
use crate::admission::{Admission, GateSettings};
use crate::clock::Clock;
use crate::layer::ContextLayer;

const WINDOW: Duration = Duration::from_millis(100);

/// A limit of two places that keeps what it is told.
#[derive(Debug)]
struct Recorder(Arc<Mutex<Window>>);

impl Limit for Recorder {
    fn start(&self) -> Step {
        Step {
            limit: 2,
            after: WINDOW,
        }
    }

    fn update(&mut self, window: &Window) -> Step {
        *self.0.lock() = *window;
        self.start()
    }

    fn name(&self) -> &'static str {
        "recorder"
    }
}

struct Bench {
    admission: Admission,
    clock: Clock,
    window: Arc<Mutex<Window>>,
}

impl Bench {
    fn new() -> Self {
        let clock = Clock::manual();
        let window = Arc::new(Mutex::new(Window::default()));
        let settings = GateSettings {
            limit: Box::new(Recorder(window.clone())),
            ..GateSettings::default()
        };
        let admission = Admission::new(settings, clock.clone());
        Self {
            admission,
            clock,
            window,
        }
    }

    /// The server around a handler that answers with `response`.
    fn server<B>(
        &self,
        handler: impl AsyncFn() -> Result<Response<B>, &'static str> + Clone,
    ) -> impl Service<
        Request<()>,
        Response = Response<crate::layer::ResponseBody<B>>,
        Error = &'static str,
    >
    where
        B: Body<Data = Bytes>,
    {
        let inner = service_fn(move |_: Request<()>| {
            let handler = handler.clone();
            async move { handler().await }
        });
        let admitted = AdmissionLayer::new(self.admission.clone()).layer(inner);
        ContextLayer::internal()
            .clock(self.clock.clone())
            .layer(admitted)
    }

    /// Succeeded, failed, overloaded and ignored since the last time.
    fn counted(&self) -> [u32; 4] {
        assert_eq!(self.admission.snapshot().inflight, 0);
        self.clock.advance(WINDOW);
        self.admission.tick();
        let window = *self.window.lock();
        [
            window.succeeded,
            window.failed,
            window.overloaded,
            window.ignored,
        ]
    }
}

/// Gives these frames; `None` is a pause that nobody ends.
struct Frames(VecDeque<Option<Frame<Bytes>>>);

impl Frames {
    fn new(frames: impl IntoIterator<Item = Option<Frame<Bytes>>>) -> Self {
        Self(frames.into_iter().collect())
    }
}

impl Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.0.front() {
            None => Poll::Ready(None),
            Some(None) => Poll::Pending,
            Some(_) => Poll::Ready(self.0.pop_front().flatten().map(Ok)),
        }
    }
}

fn data() -> Option<Frame<Bytes>> {
    Some(Frame::data(Bytes::from_static(b"some")))
}

fn trailers(status: &'static str) -> Option<Frame<Bytes>> {
    let status = HeaderValue::from_static(status);
    let name = crate::context::names::GRPC_STATUS;
    Some(Frame::trailers(HeaderMap::from_iter([(name, status)])))
}

fn request(headers: &[(&'static str, &'static str)]) -> Request<()> {
    let mut request = Request::new(());
    for (name, value) in headers {
        let value = HeaderValue::from_static(value);
        request.headers_mut().insert(*name, value);
    }
    request
}

const GRPC: (&str, &str) = ("content-type", "application/grpc");

#[tokio::test]
async fn by_status() {
    let bench = Bench::new();
    for (status, counted) in [
        (200, [1, 0, 0, 0]),
        (404, [1, 0, 0, 0]),
        (500, [0, 1, 0, 0]),
        (503, [0, 0, 1, 0]),
        (429, [0, 0, 1, 0]),
    ] {
        let mut server = bench.server(async move || {
            let body = Frames::new([data()]);
            Ok(Response::builder().status(status).body(body).unwrap())
        });
        let response = server.call(request(&[])).await.unwrap();
        assert_eq!(bench.admission.snapshot().inflight, 1, "to the last byte");
        response.collect().await.unwrap();
        assert_eq!(bench.counted(), counted, "{status}");
    }
}

#[tokio::test]
async fn by_grpcs_trailers() {
    let bench = Bench::new();
    for (status, counted) in [
        ("0", [1, 0, 0, 0]),
        ("5", [1, 0, 0, 0]),
        ("13", [0, 1, 0, 0]),
        ("14", [0, 0, 1, 0]),
    ] {
        let mut server =
            bench.server(async move || Ok(Response::new(Frames::new([data(), trailers(status)]))));
        let response = server.call(request(&[GRPC])).await.unwrap();
        response.collect().await.unwrap();
        assert_eq!(bench.counted(), counted, "{status}");
    }
}

#[tokio::test]
async fn an_error_of_the_service_is_a_failure() {
    let bench = Bench::new();
    let mut server = bench.server::<Frames>(async || Err("broken"));
    assert!(server.call(request(&[])).await.is_err());
    assert_eq!(bench.counted(), [0, 1, 0, 0]);
}

#[tokio::test]
async fn the_announced_length_is_an_end_too() {
    let bench = Bench::new();
    let mut server = bench.server(async || {
        let body = Frames::new([data(), None]);
        Ok(Response::builder()
            .header("content-length", "4")
            .body(body)
            .unwrap())
    });
    let mut response = server.call(request(&[])).await.unwrap();
    response.frame().await.unwrap().unwrap();
    drop(response);
    assert_eq!(bench.counted(), [1, 0, 0, 0]);
}

#[tokio::test]
async fn a_client_that_leaves_counts_for_nothing() {
    let bench = Bench::new();
    let mut server = bench.server::<Frames>(async || std::future::pending().await);
    let mut call = Box::pin(server.call(request(&[("seawall-timeout-ms", "50")])));
    assert!(poll_once(call.as_mut()).is_pending());
    drop(call);
    assert_eq!(bench.counted(), [0, 0, 0, 1]);

    let mut server = bench.server(async || Ok(Response::new(Frames::new([data(), data()]))));
    let mut response = server.call(request(&[])).await.unwrap();
    response.frame().await.unwrap().unwrap();
    drop(response);
    assert_eq!(bench.counted(), [0, 0, 0, 1]);
}

#[tokio::test]
async fn one_dropped_at_its_deadline_is_a_failure() {
    let bench = Bench::new();
    let mut server = bench.server::<Frames>(async || std::future::pending().await);
    let mut call = Box::pin(server.call(request(&[("seawall-timeout-ms", "50")])));
    assert!(poll_once(call.as_mut()).is_pending());
    bench.clock.advance(Duration::from_millis(50));
    drop(call);
    assert_eq!(bench.counted(), [0, 1, 0, 0]);
}

#[tokio::test(start_paused = true)]
async fn what_goes_on_for_long_becomes_a_stream() {
    let bench = Bench::new();
    let mut server = bench.server(async || Ok(Response::new(Frames::new([data(), None]))));
    let mut response = server.call(request(&[])).await.unwrap();
    let silent = tokio::time::timeout(Duration::from_secs(3), async {
        response.frame().await.unwrap().unwrap();
        response.frame().await
    });
    assert!(silent.await.is_err(), "it is not cut");
    assert_eq!(bench.admission.snapshot().streams, 1);
    assert_eq!(bench.admission.snapshot().inflight, 0);
    drop(response);
    assert_eq!(bench.admission.snapshot().streams, 0);
}

#[tokio::test]
async fn events_are_a_stream_at_once() {
    let bench = Bench::new();
    let mut server = bench.server(async || {
        let response = Response::builder().header("content-type", "text/event-stream");
        Ok(response.body(Frames::new([None])).unwrap())
    });
    let response = server.call(request(&[])).await.unwrap();
    assert_eq!(bench.admission.snapshot().streams, 1);
    assert_eq!(bench.admission.snapshot().inflight, 0);
    drop(response);
}

#[tokio::test]
async fn who_leaves_the_queue_never_reaches_the_handler() {
    let bench = Bench::new();
    let begun = Arc::new(Mutex::new(0));
    let count = begun.clone();
    let mut server = bench.server::<Frames>(async move || {
        *count.lock() += 1;
        std::future::pending().await
    });
    let mut calls: Vec<_> = (0..4)
        .map(|_| Box::pin(server.call(request(&[]))))
        .collect();
    for call in &mut calls {
        assert!(poll_once(call.as_mut()).is_pending());
    }
    assert_eq!((*begun.lock(), bench.admission.snapshot().queued), (2, 2));
    // The third leaves; the first's place goes to the fourth.
    drop(calls.remove(2));
    drop(calls.remove(0));
    let last = calls.last_mut().unwrap();
    assert!(poll_once(last.as_mut()).is_pending());
    assert_eq!((*begun.lock(), bench.admission.snapshot().queued), (3, 0));
    drop(calls);
    bench.counted();
}

/// Polls once, with nobody to wake.
fn poll_once<F: Future + ?Sized>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(std::task::Waker::noop()))
}
