//! The kit: request context, admission, signals, tower layers, configuration, telemetry.

pub mod context;
