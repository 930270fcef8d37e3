//! The bindings of services, as one tower service.

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use http::{HeaderValue, Request, Response, StatusCode, header};

use super::paths::{Clash, Found, Paths, Variables};
use super::{Binding, Code};
use crate::api::error::Error;

/// A call's answer, whatever method it is of.
pub type Answer = Pin<Box<dyn Future<Output = Response<Body>> + Send>>;

/// A request with what its path says.
#[derive(Debug)]
pub struct HttpCall {
    pub(super) request: Request<Body>,
    pub(super) variables: Variables,
}

type Endpoint = Arc<dyn Fn(HttpCall) -> Answer + Send + Sync>;

/// The methods of services by their verbs and paths, with the stated answer where none matches:
/// `ROUTE_NOT_FOUND` (404), `VERB_NOT_ALLOWED` (405, with `allow`). Cheap to clone.
///
/// A tower service by itself, or an axum router ([`into_router`](Self::into_router)).
#[derive(Clone, Default)]
pub struct Routes(Arc<Paths<Endpoint>>);

impl Routes {
    /// Without any.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// For generated code: the build has seen that templates are sound and do not clash.
    #[must_use]
    pub fn with<A, B>(
        mut self,
        binding: &'static Binding<A, B>,
        endpoint: impl Fn(HttpCall) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let verb = http::Method::from_bytes(binding.verb.as_bytes()).unwrap_or_default();
        let paths = Arc::make_mut(&mut self.0);
        if let Err(clash) = paths.insert(verb, binding.template, Arc::new(endpoint)) {
            tracing::error!(method = binding.method.name, "not served by HTTP: {clash}");
        }
        self
    }

    /// Those of both.
    ///
    /// # Errors
    ///
    /// Where one of each matches the same paths.
    pub fn merge(mut self, other: Self) -> Result<Self, Clash> {
        let paths = Arc::make_mut(&mut self.0);
        for (verb, template, endpoint) in Arc::unwrap_or_clone(other.0).into_all() {
            paths.insert(verb, &template, endpoint)?;
        }
        Ok(self)
    }

    /// An axum router which has these as its fallback: what else is routed goes before them.
    pub fn into_router(self) -> axum::Router {
        axum::Router::new().fallback_service(self)
    }

    /// Verbs and templates.
    pub fn templates(&self) -> impl Iterator<Item = (&http::Method, &str)> {
        self.0.templates()
    }

    fn answer(&self, request: Request<Body>) -> Routed {
        let reply = match self.0.find(request.method(), request.uri().path()) {
            Found::Here(endpoint, variables) => {
                return Routed::Under(endpoint(HttpCall { request, variables }));
            }
            Found::OtherVerb(verbs) => other_verb(&request, &verbs),
            Found::Nowhere => nowhere(&request),
        };
        Routed::At(Some(Box::new(reply)))
    }
}

#[cold]
fn nowhere(request: &Request<Body>) -> Response<Body> {
    let text = format!("there is nothing at {}", request.uri().path());
    Error::ours(Code::NotFound, "ROUTE_NOT_FOUND", text).into_http()
}

#[cold]
fn other_verb(request: &Request<Body>, verbs: &[&http::Method]) -> Response<Body> {
    let names: Vec<&str> = verbs.iter().map(|v| v.as_str()).collect();
    let names = names.join(", ");
    let (verb, path) = (request.method(), request.uri().path());
    let text = format!("{verb} does not go with {path}: {names}");
    let error = Error::ours(Code::Unimplemented, "VERB_NOT_ALLOWED", text);
    let mut reply = error
        .http_status(StatusCode::METHOD_NOT_ALLOWED)
        .into_http();
    if let Ok(value) = HeaderValue::from_str(&names) {
        reply.headers_mut().insert(header::ALLOW, value);
    }
    reply
}

impl fmt::Debug for Routes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.templates()).finish()
    }
}

impl tower::Service<Request<Body>> for Routes {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Routed;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Routed {
        self.answer(request)
    }
}

/// A call under way.
pub enum Routed {
    /// At its method.
    Under(Answer),
    /// Answered already.
    At(Option<Box<Response<Body>>>),
}

impl Future for Routed {
    type Output = Result<Response<Body>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut *self {
            Self::Under(answer) => answer.as_mut().poll(context).map(Ok),
            Self::At(reply) => Poll::Ready(Ok(*reply.take().unwrap_or_default())),
        }
    }
}

impl fmt::Debug for Routed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Routed")
    }
}
