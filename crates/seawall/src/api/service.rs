//! A service ready to be served.

use super::Method;

/// A service, by both transports. Made by generated code; served by an `App`.
#[derive(Debug)]
pub struct Service {
    /// Package and name: `shop.v1.Orders`.
    pub name: &'static str,
    /// Its methods.
    pub methods: &'static [Method],
    /// gRPC.
    pub grpc: tonic::service::Routes,
    /// JSON over HTTP.
    pub http: axum::Router,
    /// The file descriptor set it was made from, for reflection.
    pub descriptors: &'static [u8],
    /// OpenAPI 3.1, as JSON; holds the whole of the proto package's services.
    pub openapi: &'static str,
}
