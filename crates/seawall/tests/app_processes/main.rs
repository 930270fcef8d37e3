//! Whole programs as processes: killed at each step of their start and end, and restarted in turn
//! under load.
//!
//! `SEAWALL_RESTARTS` is how often each instance is restarted, 1 by default; the figures in
//! docs/app.md are of more.

#![cfg(all(feature = "app", feature = "etcd"))]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "../app_support/mod.rs"]
mod app_support;
#[path = "../etcd_support/mod.rs"]
#[allow(dead_code, reason = "some of it is for tests of etcd alone")]
mod etcd_support;
mod instance;
mod load;
mod rolling;
mod steps;

/// What [`instance::Instance`] starts; nothing where nobody has told it to be one.
#[test]
fn program() {
    instance::program();
}
