//! Whole programs: configuration, life cycle, servers, workers, jobs.
//!
//! [`App`] reads the command line and the configuration and runs one function, the composition root,
//! which puts the program together by hand with what [`Setup`] offers: constructor injection, read
//! from top to bottom. Then everything goes one way:
//!
//! ```text
//!  configure ─ set up ─ before-start ─ start ─ register ─ after-start ─┐
//!                                                                      │ ready, serving
//!  clean up ─ after-stop ─ stop ─ drain ─ before-stop ─ delay ─ deregister ─ not ready ◄─ signal
//! ```
//!
//! Decisions:
//!
//! - *Not ready first.* Whoever asks for health hears it before the registry does, and both before
//!   anything stops. Then the program serves on for `drain.delay`: callers hear late, and a caller
//!   that has not heard must not be refused.
//! - *What had started is stopped, in reverse, and nothing else*, whatever failed: a step, a panic,
//!   a signal in between, a drain without end. So the stop of each part is registered with
//!   [`Shutdown`](crate::sync::Shutdown) at the moment when it has started, and not remembered by
//!   the code that may fail.
//! - *Servers drain first*, since what they still serve needs the parts below.
//! - *Readiness is the phase and nothing else.* Replicas that say "not ready" because of a
//!   dependency that they share take the whole service away.
//! - *A configuration is taken whole or refused whole*, at the start and while it runs.

pub(crate) mod admin;
#[expect(
    clippy::module_inception,
    reason = "it is the one type that the module is named after"
)]
mod app;
mod assemble;
mod command;
mod config;
mod follow;
mod health;
mod job;
mod lifecycle;
mod metrics;
mod openapi;
mod part;
mod registration;
mod running;
mod server;
pub mod settings;
mod setup;
mod spans;
mod stack;
mod upstream;
mod worker;

pub use admin::log_level;
pub use app::{App, NotStarted, Running};
pub use assemble::Addresses;
pub use config::{Configuration, Fault, Faults, Place, Secret};
pub use job::{Job, JobTotals, Schedule, ScheduleError};
pub use lifecycle::Phase;
pub use part::{BoxError, Part};
pub use settings::Settings;
pub use setup::Setup;
