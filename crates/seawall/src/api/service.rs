//! A service ready to be served.

use super::{Method, Routes};

/// A service, by both transports. Made by generated code; served by an `App`.
#[derive(Debug)]
pub struct Service {
    /// Package and name: `shop.v1.Orders`.
    pub name: &'static str,
    /// Its methods.
    pub methods: &'static [Method],
    /// gRPC. Of several services the axum routers are merged, each after its `reset_fallback`.
    pub grpc: tonic::service::Routes,
    /// JSON over HTTP. Several are put together with [`Routes::merge`].
    pub http: Routes,
    /// The file descriptor set it was made from, for reflection.
    pub descriptors: &'static [u8],
    /// OpenAPI 3.1, as JSON; holds the whole of the proto package's services.
    pub openapi: &'static str,
}
