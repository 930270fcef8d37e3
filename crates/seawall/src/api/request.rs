//! What a handler is given.

use http::{Extensions, HeaderMap};

use super::Method;
use crate::Call;
use crate::layer::stack;

/// The longest message that is read where a request's extensions hold no [`MaxBody`]: 4 MiB, on
/// both transports.
pub(super) const MAX_BODY: usize = 4 << 20;

/// The longest message of this call, in bytes, however it comes: of a known length or in pieces. Put
/// among the request's extensions by a layer above the adapters; without it what
/// `methods.NAME.max_body` says holds. A longer one is refused with 413, or `OUT_OF_RANGE` by gRPC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaxBody(pub usize);

impl MaxBody {
    pub(super) fn of(extensions: &Extensions) -> usize {
        match extensions.get::<Self>() {
            Some(max) => max.0,
            None => stack::max_body(extensions)
                .map_or(MAX_BODY, |max| usize::try_from(max).unwrap_or(usize::MAX)),
        }
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
