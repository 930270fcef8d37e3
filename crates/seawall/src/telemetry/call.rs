//! The access log of a service's calls.

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use seawall_policy::Criticality;

use super::access::millis;
use super::line::{begin, member};

/// One call of a service, as it was answered. Made without formatting text.
#[derive(Clone, Debug)]
pub struct CallEntry {
    /// When it arrived, by the wall clock.
    pub time: SystemTime,
    /// Service and method: `shop.v1.Orders/Place`.
    pub method: &'static str,
    /// `grpc` or `http`.
    pub transport: &'static str,
    /// The HTTP status, or the number of the gRPC code.
    pub status: u16,
    /// The gRPC code's name.
    pub code: Option<&'static str>,
    /// From its head to the answer's last byte.
    pub duration: Duration,
    /// How much it mattered.
    pub criticality: Criticality,
    /// Why admission or the deadline turned it away, if they did.
    pub rejected: Option<&'static str>,
    /// By which reason it failed, where it says.
    pub reason: Option<Cow<'static, str>>,
    /// The trace that it was part of.
    pub trace_id: u128,
    /// Its span in the trace.
    pub span_id: u64,
}

impl CallEntry {
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        begin(out, self.time, "INFO", "access");
        member(out, "method", self.method);
        member(out, "transport", self.transport);
        member(out, "status", self.status);
        if let Some(code) = self.code {
            member(out, "code", code);
        }
        if let Some(reason) = &self.reason {
            member(out, "reason", reason);
        }
        member(out, "duration_ms", millis(self.duration));
        member(out, "criticality", self.criticality.as_str());
        if let Some(rejected) = self.rejected {
            member(out, "rejected", rejected);
        }
        member(out, "trace_id", format_args!("{:032x}", self.trace_id));
        member(out, "span_id", format_args!("{:016x}", self.span_id));
        out.extend_from_slice(b"}\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_a_line() {
        let entry = CallEntry {
            time: SystemTime::UNIX_EPOCH,
            method: "shop.v1.Orders/Place",
            transport: "grpc",
            status: 14,
            code: Some("UNAVAILABLE"),
            duration: Duration::from_micros(1_234),
            criticality: Criticality::Sheddable,
            rejected: Some("queue-full"),
            reason: None,
            trace_id: 0xAB,
            span_id: 0xCD,
        };
        let mut out = Vec::new();
        entry.write(&mut out);
        let json: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(json["method"], "shop.v1.Orders/Place");
        assert_eq!(json["rejected"], "queue-full");
        assert_eq!(json["trace_id"], format!("{:032x}", 0xAB));
        assert!(json.get("reason").is_none());
    }
}
