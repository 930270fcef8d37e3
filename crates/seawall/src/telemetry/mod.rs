//! What is written: log and access lines, in lanes that cannot drown one another.
//!
//! The moment a log matters most, a flood of lines is what usually buries it: the queue in front of
//! the writer is full of "request served" when the error comes. So each class has a bounded
//! [lane](LogLane) of its own and one thread serves them, errors first. A caller never waits: a line
//! that finds its lane full is dropped and counted, and the count is itself written. Where the
//! output stalls, an error waits for at most the one buffer that was being written.
//!
//! Lines are JSON objects, one each, or [texts](LogFormat::Text) for people. [`Log::layer`] is a `tracing` layer; [`Log::access`] takes an
//! [`AccessEntry`], which is made into text on the writer's thread, not on the request's. Which
//! levels are written, a [`LevelHandle`] changes while the program runs.

mod access;
mod call;
mod layer;
mod levels;
mod line;
#[cfg(feature = "otel")]
mod otel;
#[cfg(feature = "api")]
mod span;
#[cfg(feature = "api")]
mod spans;
mod text;
mod writer;

pub use access::{AccessEntry, Sampler};
pub use call::CallEntry;
pub use layer::LogLayer;
pub use levels::{ForATime, LevelHandle, Levels, LevelsError, LevelsFilter, MAX_TARGETS};
#[cfg(feature = "otel")]
pub use otel::{Otlp, OtlpError};
#[cfg(feature = "api")]
pub use span::{FinishedSpan, SpanKind, SpanSink};
#[cfg(feature = "api")]
pub use spans::SpanLayer;
pub use writer::{Log, LogFormat, LogGuard, LogLane, LogSettings};
