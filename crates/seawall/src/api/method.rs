//! A method of a service, as its definition tells it.

/// Whether one message goes a way, or many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Streaming {
    /// The caller sends many.
    pub client: bool,
    /// The service sends many.
    pub server: bool,
}

impl Streaming {
    /// One there, one back.
    pub const NONE: Self = Self {
        client: false,
        server: false,
    };
}

/// A method of a service. Static: generated code holds one for each.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Method {
    /// Service and method as configuration, metrics and traces name them: `shop.v1.Orders/Place`.
    /// With a slash in front it is the path of the gRPC call.
    pub name: &'static str,
    /// Verbs and path templates of `google.api.http`: `("GET", "/v1/orders/{id}")`.
    pub http: &'static [(&'static str, &'static str)],
    /// What goes in many messages.
    pub streaming: Streaming,
    /// Safe to call twice (`idempotency_level`, or all its verbs are GET).
    pub idempotent: bool,
}

impl Method {
    /// For generated code.
    #[must_use]
    pub const fn new(
        name: &'static str,
        http: &'static [(&'static str, &'static str)],
        streaming: Streaming,
        idempotent: bool,
    ) -> Self {
        Self {
            name,
            http,
            streaming,
            idempotent,
        }
    }
}
