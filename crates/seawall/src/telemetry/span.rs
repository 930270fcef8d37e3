//! Spans that are done, on their way to who exports them.

use std::borrow::Cow;
use std::fmt;
use std::time::SystemTime;

use crate::layer::Trace;

/// Whose side of a call a span tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanKind {
    /// A call that was answered here.
    Server,
    /// Work within one.
    Internal,
}

/// A span that is done. Made of sampled calls alone.
#[derive(Clone, Debug)]
pub struct FinishedSpan {
    /// `shop.v1.Orders/Place`.
    pub name: Cow<'static, str>,
    /// Whose side it tells.
    pub kind: SpanKind,
    /// Its ids.
    pub trace: Trace,
    /// When it began, by the wall clock.
    pub start: SystemTime,
    /// When it ended.
    pub end: SystemTime,
    /// Whether it ended in a failure of ours.
    pub failed: bool,
    /// Facts, by the names of OpenTelemetry where it has one.
    pub attributes: Vec<(&'static str, Cow<'static, str>)>,
}

/// Takes spans that are done.
///
/// Called where a call ends, so it never blocks: what it cannot take it drops and counts.
pub trait SpanSink: fmt::Debug + Send + Sync {
    /// Takes a span.
    fn export(&self, span: FinishedSpan);
}
