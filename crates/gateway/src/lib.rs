//! The HTTP data plane: what stands between clients and an origin.
//!
//! One thread with a runtime of its own per CPU accepts, serves and keeps its own connections to
//! the origin ([`Gateway::start`]). A request goes through context, deadline, admission and lane to
//! the origin, in the order of rising cost; its response passes back as it comes, with the
//! client's back-pressure. Admission, limits and lanes are shared by all cores and live in
//! [`seawall::admission`]; here is what moves the bytes.
//!
//! hyper parses and writes both protocols. What is ours: the pool of origin connections, with a
//! hard cap and one stated rule for trying again; time limits that are swept rather than timed one
//! by one; what a proxy must do to headers.

mod access;
mod address;
mod admin;
mod answer;
mod attempt;
mod attempts;
mod body;
mod breakers;
mod cache;
mod client;
mod collect;
mod condition;
mod core;
mod counters;
mod deliver;
mod exchange;
mod fallback;
mod fleet;
mod forward;
mod framing;
mod headers;
mod listen;
mod notice;
mod origin;
mod pace;
mod plan;
mod pool;
mod probe;
mod recent;
mod reload;
mod router;
mod send;
mod serve;
mod server;
mod setup;
mod signals;
mod site;
mod socket;
mod stall;
mod sweep;
mod tls;
mod trailers;
mod tries;
mod tunnel;
mod under_way;
mod way;
mod writers;

pub use reload::ReloadError;
pub use server::{Gateway, Running, StartError};
pub use tls::{FileError, FileProblem, Finding, check_certificates};
