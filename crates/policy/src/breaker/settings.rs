//! What a window breaker can be told.

use std::time::Duration;

use super::tally::Slide;
use super::{nanos, sound};
use crate::Scope;

/// Buckets of a time window: it slides by a tenth of itself.
const BUCKETS: u64 = 10;
/// Chunks that a count window is cut in, so that not every call moves it.
const CHUNKS: u64 = 16;

/// What a [`Window`](super::Window) looks back on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Span {
    /// The calls of this time, 10 ms to an hour; slides by tenths of it.
    Time(Duration),
    /// The latest so many calls, at least 1, and up to an eighth more. A window of fewer
    /// than 32 calls a shard takes the lock at each call: 40 ns instead of 10. Prefer time.
    Calls(u32),
}

/// When a [`Window`](super::Window) opens because calls are slow.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Slow {
    /// A call that takes as long is slow.
    pub after: Duration,
    /// The share of slow calls at which it opens, 0 to 1.
    pub ratio: f64,
}

/// Settings of [`Window`](super::Window). A value out of range counts as the nearest one in range,
/// and one that is no number as the default.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WindowSettings {
    /// What the ratios are of. Default 10 s, as in linkerd; Polly has 30 s, resilience4j 100 calls.
    pub span: Span,
    /// The share of failures at which it opens, 0 to 1. Default 0.5, as in resilience4j; Polly has
    /// 0.1, linkerd 0.8. `None`: this never opens it.
    pub failure_ratio: Option<f64>,
    /// Calls that a ratio takes, at least 1, and of a count window at most all of it. Default 20;
    /// Polly and resilience4j have 100, which a host of one in ten does not see at 80 calls/s in 10 s.
    pub min_calls: u32,
    /// So many failures one after another open it, at least 1. Default 10; Envoy has 5, linkerd 7,
    /// which come by chance every 100 s at 1,000 calls/s of which a fifth fails; 10 every 3 hours.
    /// `None`: this never opens it.
    pub consecutive: Option<u32>,
    /// Opens it by the share of slow calls. Default `None`: what is slow, only its user knows.
    pub slow: Option<Slow>,
    /// Whether a refusal for overload is a failure. Default yes: a 503 and a gRPC UNAVAILABLE are
    /// also what a proxy says of a dead host. No, where the origin sheds load by itself: opening
    /// would turn away also what it serves.
    pub overload_fails: bool,
    /// A call that was given up after this time is a failure, not nothing. Default 5 s;
    /// [`Duration::MAX`] for never. Where slow calls count, at most `slow.after`.
    pub patience: Duration,
    /// Probes that half-open lets through at once, and that must succeed for it to close, 1 to
    /// 1,023. Default 1; resilience4j has 10.
    pub probes: u32,
    /// Whatever the penalty, a probe goes to the origin once in this time, at least 1 ms; and a
    /// probe that has not reported by then holds up no other. Default 500 ms.
    pub probe_every: Duration,
    /// The first penalty: how long it stays open, unless a probe within that time succeeds. Half of
    /// it is jitter. It doubles with each failed round of probes. Default 1 s, as in linkerd.
    pub penalty: Duration,
    /// The longest penalty. Default 60 s, as in linkerd; Envoy has 300 s.
    pub max_penalty: Duration,
    /// So much time closed takes one doubling back, at least 1 ms. Default 10 s, as long as Envoy's
    /// sweeps are apart: an origin that fails again at once is trusted less than one that failed
    /// yesterday.
    pub forgive: Duration,
    /// What a rejection speaks for. Default [`Scope::Host`].
    pub scope: Scope,
    /// Copies of what every call writes: the threads that call. Default 1.
    pub shards: usize,
}

impl Default for WindowSettings {
    fn default() -> Self {
        Self {
            span: Span::Time(Duration::from_secs(10)),
            failure_ratio: Some(0.5),
            min_calls: 20,
            consecutive: Some(10),
            slow: None,
            overload_fails: true,
            patience: Duration::from_secs(5),
            probes: 1,
            probe_every: Duration::from_millis(500),
            penalty: Duration::from_secs(1),
            max_penalty: Duration::from_secs(60),
            forgive: Duration::from_secs(10),
            scope: Scope::Host,
            shards: 1,
        }
    }
}

/// The settings, within their ranges and in the units that a call is judged in.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) failure_ratio: Option<f64>,
    pub(super) slow_ratio: Option<f64>,
    pub(super) slow_after: Duration,
    pub(super) min_calls: u64,
    pub(super) consecutive: u64,
    pub(super) overload_fails: bool,
    pub(super) patience: Duration,
    pub(super) penalty: u64,
    pub(super) max_penalty: u64,
    pub(super) forgive: u64,
    pub(super) scope: Scope,
    pub(super) slide: Slide,
    /// Every so many calls on a shard a count window is moved; never where it is time.
    pub(super) mask: u64,
}

impl Rule {
    pub(super) fn new(settings: &WindowSettings, shards: u64) -> Self {
        let (slide, mask, most) = match settings.span {
            Span::Time(span) => {
                let span = span.clamp(Duration::from_millis(10), Duration::from_secs(3_600));
                let (width, keep) = (nanos(span) / BUCKETS, BUCKETS);
                (Slide::Time { width, keep }, u64::MAX, u32::MAX)
            }
            Span::Calls(calls) => {
                let calls = calls.max(1);
                let chunk = (u64::from(calls) / CHUNKS / shards).max(1);
                let chunk = 1 << chunk.ilog2();
                let slide = Slide::Count {
                    calls: u64::from(calls),
                    chunk,
                };
                (slide, chunk - 1, calls)
            }
        };
        let penalty = nanos(settings.penalty);
        let slow_after = settings.slow.map_or(Duration::MAX, |s| s.after);
        Self {
            failure_ratio: settings.failure_ratio.map(|r| sound(r, 0.0, 1.0, 0.5)),
            slow_ratio: settings.slow.map(|s| sound(s.ratio, 0.0, 1.0, 1.0)),
            slow_after,
            min_calls: u64::from(settings.min_calls.clamp(1, most)),
            consecutive: settings.consecutive.map_or(u64::MAX, |n| n.max(1).into()),
            overload_fails: settings.overload_fails,
            patience: settings.patience.min(slow_after),
            penalty,
            max_penalty: nanos(settings.max_penalty).max(penalty),
            forgive: nanos(settings.forgive.max(Duration::from_millis(1))),
            scope: settings.scope,
            slide,
            mask,
        }
    }
}
