//! Names the lane and the route of what is below.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Extensions, HeaderMap, Method, Request, Uri};
use tower::{Layer, Service};

use crate::admission::Lane;

/// What a [`LaneLayer`] and a [`HashKey`](crate::client::HashKey) know of a request.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Head<'a> {
    /// Its method.
    pub method: &'a Method,
    /// What it asks for.
    pub uri: &'a Uri,
    /// Its headers.
    pub headers: &'a HeaderMap,
    /// Its extensions: axum's `MatchedPath`, the [`Arrival`](super::Arrival), ...
    pub extensions: &'a Extensions,
}

/// The names, on their way to the [`AdmissionLayer`](super::AdmissionLayer).
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    pub(super) lane: Option<Lane>,
    pub(super) route: Option<Arc<str>>,
}

type Choose = dyn Fn(&Head<'_>) -> Option<Lane> + Send + Sync;

/// Names the lane of the requests that pass, and the route that the gate learns their latency of.
/// Stands outside the [`AdmissionLayer`](super::AdmissionLayer), which reads the names.
///
/// Where nothing is named the gate goes by what it learned: a route is the method and the path
/// with its ids collapsed, and one that turned out slow moves into the slow lane by itself. So
/// name a lane for what must not depend on that, and a route where ids are words
/// (`/articles/how-to-swim`). Of nested layers the innermost that names something holds.
///
/// ```
/// use seawall::admission::Lane;
/// use seawall::layer::LaneLayer;
///
/// const REPORTS: Lane = Lane(Lane::FIRST_NAMED);
/// let reports = LaneLayer::fixed(REPORTS);
/// let by_path = LaneLayer::by(|head| head.uri.path().starts_with("/reports/").then_some(REPORTS));
/// let articles = LaneLayer::default().route("/articles/{slug}");
/// ```
#[derive(Clone, Default)]
pub struct LaneLayer {
    names: Names,
    by: Option<Arc<Choose>>,
}

impl fmt::Debug for LaneLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LaneLayer")
            .field("names", &self.names)
            .field("by", &self.by.is_some())
            .finish()
    }
}

impl LaneLayer {
    /// Everything below is of this lane.
    #[must_use]
    pub fn fixed(lane: Lane) -> Self {
        Self {
            names: Names {
                lane: Some(lane),
                route: None,
            },
            by: None,
        }
    }

    /// Asks `choose` for each request; `None` leaves it to the gate.
    #[must_use]
    pub fn by(choose: impl Fn(&Head<'_>) -> Option<Lane> + Send + Sync + 'static) -> Self {
        Self {
            names: Names::default(),
            by: Some(Arc::new(choose)),
        }
    }

    /// Everything below is one route per method, whatever its path; `template` is its name.
    #[must_use]
    pub fn route(mut self, template: &str) -> Self {
        self.names.route = Some(template.into());
        self
    }

    fn names_nothing(&self) -> bool {
        self.by.is_none() && self.names.lane.is_none() && self.names.route.is_none()
    }

    fn lane<B>(&self, request: &Request<B>) -> Option<Lane> {
        let chosen = self.by.as_ref().and_then(|choose| {
            choose(&Head {
                method: request.method(),
                uri: request.uri(),
                headers: request.headers(),
                extensions: request.extensions(),
            })
        });
        chosen.or(self.names.lane)
    }
}

impl<S> Layer<S> for LaneLayer {
    type Service = LaneService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        LaneService {
            inner,
            layer: self.clone(),
        }
    }
}

/// A service below a [`LaneLayer`].
#[derive(Clone, Debug)]
pub struct LaneService<S> {
    inner: S,
    layer: LaneLayer,
}

impl<S, B> Service<Request<B>> for LaneService<S>
where
    S: Service<Request<B>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        if !self.layer.names_nothing() {
            let lane = self.layer.lane(&request);
            let names = request.extensions_mut().get_or_insert_with(Names::default);
            names.lane = lane.or(names.lane);
            if let Some(route) = &self.layer.names.route {
                names.route = Some(route.clone());
            }
        }
        self.inner.call(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;
    use tower::service_fn;

    async fn names<L>(layer: L) -> Option<Names>
    where
        L: Layer<LaneService<NamesOf>>,
        L::Service: Service<Request<()>, Response = Option<Names>, Error = Infallible>,
    {
        let inner: LaneService<NamesOf> = LaneLayer::fixed(Lane(5)).layer(NamesOf);
        let request = Request::get("/a/b").body(()).unwrap();
        let Ok(names) = layer.layer(inner).call(request).await;
        names
    }

    /// Answers with the names that it was given.
    #[derive(Clone)]
    struct NamesOf;

    impl Service<Request<()>> for NamesOf {
        type Response = Option<Names>;
        type Error = Infallible;
        type Future = std::future::Ready<Result<Option<Names>, Infallible>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, request: Request<()>) -> Self::Future {
            std::future::ready(Ok(request.extensions().get().cloned()))
        }
    }

    #[tokio::test]
    async fn the_innermost_that_names_something_holds() {
        let outer = LaneLayer::fixed(Lane(4)).route("/a/*");
        let names = names(outer).await.unwrap();
        assert_eq!(names.lane, Some(Lane(5)));
        assert_eq!(names.route.as_deref(), Some("/a/*"));
    }

    #[tokio::test]
    async fn a_closure_chooses_or_leaves_it() {
        for (path, lane) in [("/slow/1", Some(Lane(4))), ("/fast", None)] {
            let layer =
                LaneLayer::by(|head| head.uri.path().starts_with("/slow/").then_some(Lane(4)));
            let request = Request::get(path).body(()).unwrap();
            let Ok(names) = layer.layer(NamesOf).call(request).await;
            assert_eq!(names.and_then(|names| names.lane), lane, "{path}");
        }
        let plain = LaneLayer::default().layer(service_fn(async |request: Request<()>| {
            Ok::<_, Infallible>(request.extensions().is_empty())
        }));
        let Ok(untouched) = { plain }.call(Request::new(())).await;
        assert!(untouched);
    }
}
