//! What a handler is given.

use http::{Extensions, HeaderMap};

use super::Method;
use crate::Call;

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
