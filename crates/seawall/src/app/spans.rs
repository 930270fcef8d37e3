//! Where the spans of sampled calls go: to the collector that `trace.endpoint` names.
//!
//! The subscriber is there before the runtime, and the exporter needs the runtime. So the subscriber's
//! layer is given a sink that is filled later; what ends before then is told to nobody.

use std::sync::{Arc, OnceLock};

use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer;
use tracing_subscriber::registry::LookupSpan;

use super::part::BoxError;
use super::settings::TraceSettings;
use crate::sync::shutdown::Life;
use crate::telemetry::{FinishedSpan, SpanLayer, SpanSink};

/// Whether spans can be sent there.
pub(super) fn check(trace: &TraceSettings) -> Result<(), String> {
    let Some(endpoint) = &trace.endpoint else {
        return Ok(());
    };
    if cfg!(not(feature = "otel")) {
        return Err(
            "this program cannot send spans: it was built without the feature `otel`; add it to \
             seawall's features, or leave the setting out"
                .to_owned(),
        );
    }
    let whole = endpoint.parse::<http::Uri>().ok().filter(|uri| {
        uri.scheme_str() == Some("http") && uri.authority().is_some() && uri.path() == "/"
    });
    match whole {
        Some(_) => Ok(()),
        None => Err(format!(
            "`{endpoint}` is no address of a collector: write \"http://HOST:4317\""
        )),
    }
}

/// A sink that is filled when there is a runtime. Clones are the same one.
#[derive(Clone, Debug, Default)]
pub(super) struct Spans(Arc<OnceLock<Arc<dyn SpanSink>>>);

impl SpanSink for Spans {
    fn export(&self, span: FinishedSpan) {
        if let Some(sink) = self.0.get() {
            sink.export(span);
        }
    }
}

impl Spans {
    /// What follows `tracing`'s spans from `info` on, whichever lines are written; nothing where no
    /// spans are sent.
    pub(super) fn layer<S>(&self, trace: &TraceSettings) -> Option<impl Layer<S> + use<S>>
    where
        S: tracing::Subscriber + for<'a> LookupSpan<'a>,
    {
        let layer = || SpanLayer::new(Arc::new(self.clone())).with_filter(LevelFilter::INFO);
        trace.endpoint.as_ref().map(|_| layer())
    }

    /// Begins to send, where a collector is named; what waits at the end of the program is sent then.
    pub(super) fn start(
        &self,
        trace: &TraceSettings,
        name: &str,
        version: &str,
        life: &Life,
    ) -> Result<Option<Arc<dyn SpanSink>>, BoxError> {
        let Some(endpoint) = &trace.endpoint else {
            return Ok(None);
        };
        let sink = sink(endpoint, name, version, life)?;
        // It is set once, as there is one start.
        let _ = self.0.set(sink.clone());
        Ok(Some(sink))
    }
}

#[cfg(feature = "otel")]
fn sink(
    endpoint: &str,
    name: &str,
    version: &str,
    life: &Life,
) -> Result<Arc<dyn SpanSink>, BoxError> {
    let otlp = Arc::new(crate::telemetry::Otlp::start(endpoint, name, version)?);
    let last = otlp.clone();
    // Registered before everything else, and so the last of all.
    life.on_exit("spans", async move { last.shutdown().await });
    Ok(otlp)
}

#[cfg(not(feature = "otel"))]
fn sink(_: &str, _: &str, _: &str, _: &Life) -> Result<Arc<dyn SpanSink>, BoxError> {
    Err("trace.endpoint: built without the feature `otel`; add it to seawall's features".into())
}
