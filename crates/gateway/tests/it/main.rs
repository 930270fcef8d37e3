//! The gateway as its clients and origins see it: real sockets, small origins.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test ends where its ground is missing"
)]

mod access;
mod admin;
mod bad_hosts;
mod bad_input;
mod cache;
mod discovery;
mod faults;
mod h2;
mod overload;
mod pass_through;
mod reload;
mod support;
mod time_limits;
mod tls;
mod upstream;
