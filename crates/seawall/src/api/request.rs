//! What a handler is given.

use http::{Extensions, HeaderMap};

use super::Method;
use crate::Call;

/// The longest message that is read where a request's extensions hold no [`MaxBody`]: 4 MiB, on
/// both transports.
pub(super) const MAX_BODY: usize = 4 << 20;

/// The longest message of this call, in bytes. Put among the request's extensions by a layer above
/// the adapters; a longer one is refused with 413, or `OUT_OF_RANGE` by gRPC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaxBody(pub usize);

impl MaxBody {
    pub(super) fn of(extensions: &Extensions) -> usize {
        let told = extensions.get::<Self>().map(|max| max.0);
        // What the method's settings say, where a `Stack` stands above.
        let set = || usize::try_from(crate::layer::stack::max_body(extensions)?).ok();
        told.or_else(set).unwrap_or(MAX_BODY)
    }
}

/// A call's message and what came with it, by whichever transport.
#[derive(Debug)]
pub struct Request<T> {
    message: T,
    headers: HeaderMap,
    extensions: Extensions,
    method: &'static Method,
}

impl<T> Request<T> {
    /// For generated code, and tests of handlers.
    pub fn new(
        method: &'static Method,
        message: T,
        headers: HeaderMap,
        extensions: Extensions,
    ) -> Self {
        Self {
            message,
            headers,
            extensions,
            method,
        }
    }

    /// What is asked.
    pub fn message(&self) -> &T {
        &self.message
    }

    /// What is asked: to read on a stream of messages.
    pub fn message_mut(&mut self) -> &mut T {
        &mut self.message
    }

    /// What is asked, and nothing else.
    pub fn into_message(self) -> T {
        self.message
    }

    /// Headers of the HTTP request, metadata of the gRPC call.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// What the layers above left.
    pub fn extensions(&self) -> &Extensions {
        &self.extensions
    }

    /// The method that is called.
    pub fn method(&self) -> &'static Method {
        self.method
    }

    /// The call's context: deadline, criticality, tenant, ...
    pub fn call(&self) -> Option<Call> {
        crate::layer::current()
    }
}
