//! `tracing` spans of sampled calls, as children of the call's own span.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use super::span::{FinishedSpan, SpanKind, SpanSink};
use crate::layer::Trace;

/// The most attributes of a span; what is recorded beyond is left out.
const MOST: usize = 32;
/// The most text of one.
const LONGEST: usize = 1 << 10;

/// Sends the `tracing` spans of sampled calls to a [`SpanSink`], the call's own span above them.
///
/// A span made while no call is sampled costs one look at what is ambient, and nothing is kept of
/// it. Only where a span is made counts: one that is made in a call and ends after it still belongs
/// to it.
///
/// ```
/// use seawall::telemetry::{FinishedSpan, SpanLayer, SpanSink};
/// use tracing_subscriber::layer::SubscriberExt;
///
/// #[derive(Debug)]
/// struct Print;
///
/// impl SpanSink for Print {
///     fn export(&self, span: FinishedSpan) {
///         println!("{span:?}");
///     }
/// }
///
/// let subscriber = tracing_subscriber::registry().with(SpanLayer::new(std::sync::Arc::new(Print)));
/// # drop(subscriber);
/// ```
#[derive(Clone, Debug)]
pub struct SpanLayer {
    sink: Arc<dyn SpanSink>,
}

impl SpanLayer {
    /// To this sink; the one of the [`Stack`](crate::layer::Stack).
    #[must_use]
    pub fn new(sink: Arc<dyn SpanSink>) -> Self {
        Self { sink }
    }
}

/// A span under way, kept with `tracing`'s.
struct Open {
    trace: Trace,
    start: SystemTime,
    failed: bool,
    attributes: Vec<(&'static str, Cow<'static, str>)>,
}

impl<S> Layer<S> for SpanLayer
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(trace) = Trace::current().filter(|trace| trace.is_sampled()) else {
            return;
        };
        let Some(span) = context.span(id) else { return };
        let above = span.parent().and_then(|above| {
            let above = above.extensions().get::<Open>()?.trace;
            // Of another call where a span outlives its own.
            (above.trace_id == trace.trace_id).then_some(above)
        });
        let mut open = Open {
            trace: above.unwrap_or(trace).child(fastrand::u64(..)),
            start: SystemTime::now(),
            failed: false,
            attributes: Vec::new(),
        };
        attributes.record(&mut open);
        span.extensions_mut().insert(open);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(open) = span.extensions_mut().get_mut::<Open>()
        {
            values.record(open);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        if *event.metadata().level() == Level::ERROR
            && let Some(span) = context.event_span(event)
            && let Some(open) = span.extensions_mut().get_mut::<Open>()
        {
            open.failed = true;
        }
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let Some(span) = context.span(&id) else {
            return;
        };
        let Some(open) = span.extensions_mut().remove::<Open>() else {
            return;
        };
        self.sink.export(FinishedSpan {
            name: span.name().into(),
            kind: SpanKind::Internal,
            trace: open.trace,
            start: open.start,
            end: SystemTime::now(),
            failed: open.failed,
            attributes: open.attributes,
        });
    }
}

impl Visit for Open {
    fn record_str(&mut self, field: &Field, value: &str) {
        if self.attributes.len() < MOST {
            let text = &value[..value.floor_char_boundary(LONGEST)];
            self.attributes.push((field.name(), text.to_owned().into()));
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}
