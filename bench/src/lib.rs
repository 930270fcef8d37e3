//! Open-loop load generation, a limited origin, and comparisons with peers.
//!
//! Closed-loop generators (wrk, hey) wait for an answer before they send the next request, so an
//! overloaded server slows its own load down and its collapse stays hidden. [`load`] keeps
//! offering at the stated rate whatever comes back, and counts latency from the instant each
//! request was *due*. [`origin`] is a server whose capacity is known exactly and can change while
//! it runs; together they show what a gateway in between does to goodput.

#![allow(
    clippy::print_stderr,
    reason = "a developer's terminal is where it is read"
)]

pub mod alarm;
pub mod bare;
pub mod compare;
pub mod load;
pub mod origin;
pub mod peers;
pub mod system;
