//! What a service defined in protobuf stands on, whichever transport a call came by.
//!
//! `seawall-build` makes from a definition a trait to implement and a [`Service`] to serve: the same
//! handler answers gRPC and JSON over HTTP, takes a [`Request`] and fails with an [`Error`], which
//! both transports carry whole, so that a caller matches on a reason and not on text.
//!
//! The adapters ([`grpc`], [`rest`]) are generic functions that generated code calls with its own
//! types: one boxed future a call, nothing looked up by name, no reflection. JSON goes from the
//! body's bytes into the message, and from the message into the reply's bytes. docs/api.md states
//! the format.

mod error;
pub mod grpc;
mod method;
mod problem;
mod request;
pub mod rest;
pub mod rules;
mod service;
mod status;
mod streams;
pub mod types;
mod validate;

pub use error::{Error, Reason, Violation};
pub use method::{Method, Streaming};
pub use request::{MaxBody, Request};
pub use rest::{Clash, Found, Paths, Routes};
pub use service::Service;
pub use streams::{Messages, Replies};
/// For callers, whose `Request`, `Status` and `Code` are those of generated clients.
pub use tonic;
pub use tonic::Code;
pub use validate::{Path, Validate, Violations};

/// What generated code names, so that a service's crate depends on `seawall` alone. Not for others.
#[doc(hidden)]
pub mod private {
    pub use crate::__with_client as with_client;
    pub use {axum, bytes, http, pbjson, prost, serde, serde_json, tonic, tonic_prost, tower};
}

/// What generated code has where there is a [`Client`](crate::Client) to have it with.
#[cfg(feature = "client")]
#[macro_export]
#[doc(hidden)]
macro_rules! __with_client {
    ($($code:tt)*) => { $($code)* };
}

/// What generated code has where there is a `Client` to have it with.
#[cfg(not(feature = "client"))]
#[macro_export]
#[doc(hidden)]
macro_rules! __with_client {
    ($($code:tt)*) => {};
}

/// The code that `seawall-build` made from a proto package, in the module where this stands:
/// `seawall::api::include_proto!("shop.v1")`. Without a name, of all packages, each in the modules
/// of its name: `shop::v1`.
#[macro_export]
#[doc(hidden)]
macro_rules! __include_proto {
    () => {
        include!(concat!(env!("OUT_DIR"), "/seawall.rs"));
    };
    ($package:literal) => {
        include!(concat!(env!("OUT_DIR"), "/", $package, ".rs"));
    };
}

pub use crate::__include_proto as include_proto;
