//! Both transports against the definition, over real sockets.

#![allow(clippy::unwrap_used)]

mod agree;
mod errors;
mod fields;
mod hostile;
mod server;
mod streams;
mod words;
