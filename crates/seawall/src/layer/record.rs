//! One call, from its head to its last byte, as metrics, the access log and traces tell of it.
//!
//! The three are one observer: they start at the same moment, wait for the same end and want the
//! same facts, so a call has one record and its end reads the clock once. Whatever becomes of the
//! call, it is told of exactly once: at the last byte, at a body's error, or when it is dropped.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, Method as Verb, Response};

use super::answer::{Code, FailureReason, Refusal};
use super::context::Arrival;
use super::methods::Known;
use super::stack::Shared;
use super::trace::Trace;
use crate::context::{Wire, names};
use crate::telemetry::{CallEntry, FinishedSpan};
use crate::{Criticality, Reason};
use crate::{Outcome, Tick};

/// A call under way.
pub(super) struct Record {
    shared: Shared,
    criticality: Criticality,
    at: Tick,
    wire: Wire,
    index: u16,
    trace: Trace,
    /// Whether its line is written however it ends.
    logged: bool,
    pub(super) head_only: bool,
    code: Option<Code>,
    rejected: Option<&'static str>,
    reason: Option<FailureReason>,
    told: bool,
}

impl Record {
    pub(super) fn begin(
        shared: Shared,
        arrival: Arrival,
        (index, trace): (u16, Trace),
        logged: bool,
        verb: &Verb,
    ) -> Self {
        shared.methods.known(index).counters.begun();
        Self {
            shared,
            criticality: arrival.call.criticality,
            at: arrival.at,
            wire: arrival.wire,
            index,
            trace,
            logged,
            head_only: *verb == Verb::HEAD,
            code: None,
            rejected: None,
            reason: None,
            told: false,
        }
    }

    pub(super) fn wire(&self) -> Wire {
        self.wire
    }

    fn known(&self) -> &Known {
        self.shared.methods.known(self.index)
    }

    /// The head has come; `own`: of a layer, and not of the handler.
    pub(super) fn head<B>(&mut self, response: &Response<B>, own: bool) {
        let (wire, status) = (self.wire, response.status());
        self.code = Code::of_head(wire, status, response.headers());
        if self
            .code
            .is_some_and(|code| code.outcome() != Outcome::Success)
        {
            self.failed(response, own);
        }
    }

    #[cold]
    fn failed<B>(&mut self, response: &Response<B>, own: bool) {
        self.reason = response.extensions().get::<FailureReason>().cloned();
        if own && let Some(reason) = rejection(response.headers()) {
            self.known().counters.rejected(reason, self.criticality);
            self.rejected = Some(reason.as_str());
        }
    }

    /// A refusal of the stack's own.
    pub(super) fn refused(&mut self, refusal: Refusal) {
        self.code = Some(match self.wire {
            Wire::Http => Code::Http(refusal.status.as_u16()),
            Wire::Grpc => Code::Grpc(refusal.code as i32 as u8),
        });
        self.reason = Some(FailureReason(refusal.reason.into()));
    }

    pub(super) fn trailers(&mut self, trailers: &HeaderMap) {
        if self.wire == Wire::Grpc {
            self.code = Code::of_trailers(trailers).or(self.code);
        }
    }

    pub(super) fn broke(&mut self) {
        self.code = Some(Code::broken(self.wire));
        self.end();
    }

    /// The last byte has come.
    pub(super) fn complete(&mut self) {
        self.end();
    }

    fn end(&mut self) {
        if std::mem::replace(&mut self.told, true) {
            return;
        }
        let wire = self.wire;
        let code = self.code.unwrap_or_else(|| Code::broken(wire));
        let took = self.shared.clock().now().since(self.at);
        self.known().counters.ended(code, took);
        let failed = code.outcome() == Outcome::Failure;
        if self.logged || failed {
            self.log(code, took);
        }
        if self.trace.is_sampled() {
            self.export(code, took, failed);
        }
    }

    #[cold]
    fn log(&self, code: Code, took: Duration) {
        let Some(log) = &self.shared.log else { return };
        let (status, name) = told(code);
        log.call(CallEntry {
            time: SystemTime::now() - took,
            method: self.known().method.name,
            transport: transport(self.wire),
            status,
            code: name,
            duration: took,
            criticality: self.criticality,
            rejected: self.rejected,
            reason: self.reason.clone().map(|reason| reason.0),
            trace_id: self.trace.trace_id,
            span_id: self.trace.span_id,
        });
    }

    #[cold]
    fn export(&self, code: Code, took: Duration, failed: bool) {
        let Some(spans) = &self.shared.spans else {
            return;
        };
        let (status, name) = told(code);
        let end = SystemTime::now();
        spans.export(FinishedSpan {
            name: self.known().method.name.into(),
            kind: crate::telemetry::SpanKind::Server,
            trace: self.trace,
            start: end - took,
            end,
            failed,
            attributes: vec![
                ("rpc.method", self.known().method.name.into()),
                ("rpc.system.name", transport(self.wire).into()),
                (
                    "rpc.response.status_code",
                    name.map_or_else(|| status.to_string().into(), Into::into),
                ),
                ("seawall.criticality", self.criticality.as_str().into()),
            ],
        });
    }
}

impl Drop for Record {
    /// Nobody waits any more.
    fn drop(&mut self) {
        if !self.told {
            self.code = Some(Code::gone(self.wire));
            self.end();
        }
    }
}

const fn transport(wire: Wire) -> &'static str {
    match wire {
        Wire::Http => "http",
        Wire::Grpc => "grpc",
    }
}

/// The number and, of gRPC, the name of a code.
fn told(code: Code) -> (u16, Option<&'static str>) {
    match code {
        Code::Http(status) => (status, None),
        Code::Grpc(number) => (u16::from(number), Some(code.grpc_name())),
    }
}

/// The reason in a refusal's `seawall-reject`.
fn rejection(headers: &HeaderMap) -> Option<Reason> {
    let told = headers.get(names::REJECT)?.to_str().ok()?;
    let told = told.strip_prefix("reason=")?.split(';').next()?;
    Reason::ALL
        .into_iter()
        .find(|reason| reason.as_str() == told)
}
