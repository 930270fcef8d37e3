//! Puts requests on the board of what is being worked on.

use std::task::{Context, Poll};

use http::{HeaderName, Request};
use tower::{Layer, Service};

use super::context::Arrival;
use crate::Tick;
use crate::clock::Clock;
use crate::sync::tasks::{self, About, Kind, Tracked};

/// By which name a request is on the [board](crate::sync::tasks): the method's. Among the request's
/// extensions; whoever routes puts it there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestName(pub &'static str);

/// Tells of every request being handled: by which name, since when, until when, of which trace, how
/// often polled. What `/tasks` of the admin listener shows, and what its watch on blocking
/// polls sees.
///
/// Below a [`ContextLayer`](super::ContextLayer) since and deadline are those of the
/// [`Arrival`]; without one the deadline is unknown. Costs some 25 ns a request and 1 ns a poll, and
/// a look at one extension and one header; allocates nothing.
///
/// Until the head of the reply: what a body still takes is not seen. A `Stack` does all this by itself,
/// with the feature `profile`; the layer is for what has none.
///
/// ```
/// use seawall::layer::RequestsLayer;
/// use tower::{Layer, Service, ServiceExt, service_fn};
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let handler = service_fn(async |_: http::Request<()>| {
///     let all = seawall::sync::tasks::all();
///     Ok::<_, std::convert::Infallible>(all.iter().any(|seen| seen.about.name == "page"))
/// });
/// let mut service = RequestsLayer::named("page").layer(handler);
/// assert_eq!(service.call(http::Request::new(())).await, Ok(true));
/// # });
/// ```
#[derive(Clone, Debug, Default)]
pub struct RequestsLayer {
    name: Option<&'static str>,
    clock: Clock,
}

impl RequestsLayer {
    /// Requests by their [`RequestName`], or by their verb where they have none.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Requests of one name: for a route.
    #[must_use]
    pub fn named(name: &'static str) -> Self {
        Self {
            name: Some(name),
            clock: Clock::system(),
        }
    }

    /// The clock; that of the [`ContextLayer`](super::ContextLayer) above, where it is not the
    /// system's.
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    fn about<B>(&self, request: &Request<B>) -> About {
        let extensions = request.extensions();
        let name = self
            .name
            .or_else(|| extensions.get().map(|name: &RequestName| name.0));
        let name = name.unwrap_or_else(|| verb(request.method()));
        let trace = trace_id(request).unwrap_or(0);
        about(name, Arrival::of(extensions), &self.clock, trace)
    }
}

/// What the board is told of a request.
fn about(name: &'static str, arrival: Option<Arrival>, clock: &Clock, trace: u128) -> About {
    let instant = |tick: Tick| clock.instant(tick).map(tokio::time::Instant::into_std);
    let since = arrival.and_then(|arrival| instant(arrival.at));
    let since = since.unwrap_or_else(std::time::Instant::now);
    let mut about = About::new(Kind::Request, name, since);
    about.until = arrival.and_then(|arrival| instant(arrival.call.deadline));
    about.trace = trace;
    about
}

/// The future of a request, on the board where there is somebody to look at it.
#[cfg(feature = "profile")]
pub(super) type OnBoard<F> = Tracked<F>;
#[cfg(all(feature = "api", not(feature = "profile")))]
pub(super) type OnBoard<F> = F;

/// Puts a call's future on the board: by its method, its arrival and its trace, which the stack knows
/// already.
#[cfg(feature = "profile")]
#[inline]
pub(super) fn on_board<F: Future>(
    name: &'static str,
    arrival: Arrival,
    clock: &Clock,
    trace: u128,
    future: impl FnOnce() -> F,
) -> OnBoard<F> {
    let entry = tasks::enter(about(name, Some(arrival), clock, trace));
    let future = future();
    entry.track(future)
}

#[cfg(all(feature = "api", not(feature = "profile")))]
#[inline]
pub(super) fn on_board<F: Future>(
    _: &'static str,
    _: Arrival,
    _: &Clock,
    _: u128,
    future: impl FnOnce() -> F,
) -> OnBoard<F> {
    future()
}

fn verb(method: &http::Method) -> &'static str {
    match *method {
        http::Method::GET => "GET",
        http::Method::POST => "POST",
        http::Method::PUT => "PUT",
        http::Method::DELETE => "DELETE",
        http::Method::HEAD => "HEAD",
        http::Method::PATCH => "PATCH",
        http::Method::OPTIONS => "OPTIONS",
        _ => "(another verb)",
    }
}

/// The trace's 32 hexadecimal digits after the version, as W3C Trace Context has it.
fn trace_id<B>(request: &Request<B>) -> Option<u128> {
    static TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
    let value = request.headers().get(&TRACEPARENT)?.as_bytes();
    if value.get(2) != Some(&b'-') || value.get(35) != Some(&b'-') {
        return None;
    }
    let (high, low) = (half(value.get(3..19)?)?, half(value.get(19..35)?)?);
    Some(u128::from(high) << 64 | u128::from(low))
}

fn half(digits: &[u8]) -> Option<u64> {
    let mut wrong = false;
    let number = digits.iter().fold(0_u64, |number, digit| {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => {
                wrong = true;
                0
            }
        };
        number << 4 | u64::from(value)
    });
    (!wrong).then_some(number)
}

impl<S> Layer<S> for RequestsLayer {
    type Service = RequestsService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        RequestsService {
            inner,
            layer: self.clone(),
        }
    }
}

/// A service below a [`RequestsLayer`].
#[derive(Clone, Debug)]
pub struct RequestsService<S> {
    inner: S,
    layer: RequestsLayer,
}

impl<S, B> Service<Request<B>> for RequestsService<S>
where
    S: Service<Request<B>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Tracked<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let entry = tasks::enter(self.layer.about(&request));
        entry.track(self.inner.call(request))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layer::ContextLayer;
    use crate::sync::tasks::Seen;
    use std::convert::Infallible;
    use std::time::Duration;
    use tower::service_fn;

    async fn seen(layer: RequestsLayer, request: Request<()>, name: &str) -> Option<Seen> {
        let handler = service_fn(async |_: Request<()>| {
            let all = tasks::all();
            let seen = all.into_iter().find(|seen| seen.about.name == name);
            Ok::<_, Infallible>(http::Response::new(seen))
        });
        let mut service = ContextLayer::internal().layer(layer.layer(handler));
        let Ok(answer) = service.call(request).await;
        assert!(!tasks::all().iter().any(|seen| seen.about.name == name));
        answer.into_body()
    }

    #[tokio::test]
    async fn a_request_is_told_of_while_it_is_handled() {
        let mut request = Request::new(());
        request
            .extensions_mut()
            .insert(RequestName("requests.Test/One"));
        let headers = request.headers_mut();
        let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        headers.insert("traceparent", trace.parse().unwrap());
        headers.insert("seawall-timeout-ms", "1500".parse().unwrap());
        let seen = seen(RequestsLayer::new(), request, "requests.Test/One").await;
        let about = seen.unwrap().about;
        assert_eq!(about.kind, Kind::Request);
        assert_eq!(about.trace, 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c);
        let whole = about.until.unwrap() - about.since;
        assert_eq!(whole, Duration::from_millis(1_500));
    }

    #[cfg(feature = "profile")]
    #[tokio::test]
    async fn a_stack_puts_its_calls_on_the_board() {
        use crate::api::{Method, Streaming};
        use crate::layer::{Methods, Stack, Trace};

        const SEEN: Method = Method::new(
            "board.v1.Board/Seen",
            &[("GET", "/seen")],
            Streaming::NONE,
            true,
        );
        let handler = service_fn(async |_: Request<()>| {
            let mut all = tasks::all().into_iter();
            let seen = all.find(|seen| seen.about.name == SEEN.name).unwrap();
            assert_eq!(seen.about.kind, Kind::Request);
            assert_eq!(Some(seen.about.trace), Trace::current().map(|t| t.trace_id));
            let left = seen.about.until.unwrap() - seen.about.since;
            assert_eq!((left, seen.polls), (Duration::from_millis(1_500), 1));
            Ok::<_, Infallible>(http::Response::new(http_body_util::Empty::new()))
        });
        let stack = Stack::new(Methods::new(&[SEEN]).unwrap());
        let mut service = stack.layer(handler);
        let request = Request::get("/seen").header("seawall-timeout-ms", "1500");
        let answer = service.call(request.body(()).unwrap()).await.unwrap();
        assert_eq!(answer.status(), 200);
        assert!(!tasks::all().iter().any(|seen| seen.about.name == SEEN.name));
    }

    #[test]
    fn what_is_no_trace_is_none() {
        for bad in [
            "",
            "00-",
            "00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319-b7ad6b7169203331-01",
            "€",
        ] {
            let mut request = Request::new(());
            let value = http::HeaderValue::from_bytes(bad.as_bytes()).unwrap();
            request.headers_mut().insert("traceparent", value);
            assert_eq!(trace_id(&request), None, "{bad}");
        }
    }
}
