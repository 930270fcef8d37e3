//! What a service defined in protobuf stands on, whichever transport a call came by.
//!
//! `seawall-build` makes from a definition a trait to implement and a [`Service`] to serve: the same
//! handler answers gRPC and JSON over HTTP, takes a [`Request`] and fails with an [`Error`], which
//! both transports carry whole, so that a caller matches on a reason and not on text.

mod error;
mod method;
mod request;
mod service;

pub use error::{Error, Reason, Violation};
pub use method::{Method, Streaming};
pub use request::Request;
pub use service::Service;
pub use tonic::Code;
