//! Both transports against the definition, over real sockets.

mod agree;
mod errors;
mod fields;
mod server;
mod streams;
mod words;
