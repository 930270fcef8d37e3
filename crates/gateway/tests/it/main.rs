//! The gateway as its clients and origins see it: real sockets, small origins.

mod admin;
mod bad_input;
mod faults;
mod h2;
mod overload;
mod pass_through;
mod support;
mod time_limits;
