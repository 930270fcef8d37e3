//! The HTTP data plane: listeners, the origin pool, forwarding, admin.

mod answer;
mod body;
mod client;
mod core;
mod exchange;
mod forward;
mod headers;
mod limits;
mod listen;
mod origin;
mod pool;
mod serve;
mod server;
mod sweep;

pub use server::{Gateway, Running};
