//! The kit: request context, admission, signals, tower layers, configuration, telemetry.

pub mod admission;
#[cfg(feature = "api")]
pub mod api;
#[cfg(feature = "app")]
pub mod app;
pub mod client;
pub mod clock;
pub mod config;
pub mod context;
#[cfg(any(feature = "mysql", feature = "sqlite"))]
pub mod data;
pub mod discovery;
pub mod layer;
#[cfg(feature = "profile")]
pub mod profile;
pub mod signals;
pub mod telemetry;

/// The decisions and their settings: what a client's builder takes, among others.
pub use seawall_policy as policy;
/// Tasks, flights, snapshots, pools, pipelines: what services are built from.
pub use seawall_sync as sync;

#[cfg(feature = "client")]
pub use client::Client;
pub use seawall_policy::{Advice, Call, Criticality, Outcome, Reason, Rejection, Scope, Tick};
