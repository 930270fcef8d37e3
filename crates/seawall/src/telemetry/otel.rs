//! Spans to a collector, over OTLP by gRPC.
//!
//! OpenTelemetry's SDK is used for what it is good at, which is batching, retrying and the protocol;
//! making and sampling spans is not asked of it, as that would cost every call what now only the
//! sampled ones pay. Its processor has a bounded queue and a thread of its own; what finds the queue
//! full is dropped.

use std::time::Duration;

use opentelemetry::trace::{
    SpanContext, SpanId, SpanKind as Kind, Status, TraceFlags, TraceId, TraceState,
};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_otlp::{SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{BatchSpanProcessor, SpanData, SpanProcessor};

use super::span::{FinishedSpan, SpanKind, SpanSink};

/// Exports spans to a collector.
///
/// ```no_run
/// use std::sync::Arc;
/// use seawall::layer::{Methods, Stack};
/// use seawall::telemetry::Otlp;
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let otlp = Arc::new(Otlp::start("http://127.0.0.1:4317", "shop", "1.2.0")?);
/// let stack = Stack::builder(Methods::new(&[])?).spans(otlp.clone()).build()?;
/// // … and when the program ends:
/// otlp.shutdown().await;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Otlp {
    processor: std::sync::Arc<BatchSpanProcessor>,
    scope: InstrumentationScope,
}

/// Why spans cannot be exported.
#[derive(Debug, thiserror::Error)]
#[error("`trace.endpoint`: spans cannot be sent to `{endpoint}`: {problem}")]
pub struct OtlpError {
    endpoint: String,
    problem: String,
}

impl Otlp {
    /// To the collector at `endpoint` (`http://host:4317`), as of this service and version. The
    /// collector need not be there yet.
    ///
    /// # Errors
    /// The endpoint makes no sense.
    ///
    /// # Panics
    /// Outside of a tokio runtime, on which the connection lives.
    pub fn start(endpoint: &str, service: &str, version: &str) -> Result<Self, OtlpError> {
        let exporter = SpanExporter::builder()
            .with_tonic()
            .with_endpoint(endpoint)
            .with_timeout(Duration::from_secs(5))
            .build();
        let exporter = exporter.map_err(|error| OtlpError {
            endpoint: endpoint.to_owned(),
            problem: error.to_string(),
        })?;
        let mut processor = BatchSpanProcessor::builder(exporter).build();
        let resource = Resource::builder()
            .with_service_name(service.to_owned())
            .with_attribute(KeyValue::new("service.version", version.to_owned()));
        processor.set_resource(&resource.build());
        Ok(Self {
            processor: std::sync::Arc::new(processor),
            scope: InstrumentationScope::builder("seawall").build(),
        })
    }

    /// Sends what waits, for 5 s at the most; what comes afterwards is dropped.
    pub async fn shutdown(&self) {
        let processor = self.processor.clone();
        // It blocks its thread, and the connection needs this one.
        let ended = tokio::task::spawn_blocking(move || processor.shutdown()).await;
        if let Ok(Err(error)) = ended {
            tracing::warn!(%error, "the last spans were not sent");
        }
    }
}

impl SpanSink for Otlp {
    fn export(&self, span: FinishedSpan) {
        let trace = span.trace;
        let trace_id = TraceId::from(trace.trace_id);
        let context = SpanContext::new(
            trace_id,
            SpanId::from(trace.span_id),
            TraceFlags::SAMPLED,
            false,
            TraceState::NONE,
        );
        let server = span.kind == SpanKind::Server;
        let attributes = span.attributes.into_iter();
        self.processor.on_end(SpanData {
            span_context: context,
            parent_span_id: SpanId::from(trace.parent_id),
            parent_span_is_remote: server,
            span_kind: if server { Kind::Server } else { Kind::Internal },
            name: span.name,
            start_time: span.start,
            end_time: span.end,
            attributes: attributes
                .map(|(name, value)| KeyValue::new(name, value.into_owned()))
                .collect(),
            dropped_attributes_count: 0,
            events: Default::default(),
            links: Default::default(),
            status: if span.failed {
                Status::error("")
            } else {
                Status::Unset
            },
            instrumentation_scope: self.scope.clone(),
        });
    }
}
