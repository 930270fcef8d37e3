//! Both transports against the definition, over real sockets.

#![allow(clippy::unwrap_used)]

mod agree;
mod calls;
mod errors;
mod fields;
mod methods;
mod server;
mod strangers;
mod streams;
mod words;
