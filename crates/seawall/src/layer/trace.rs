//! The trace that a call is part of: W3C Trace Context in and out.
//!
//! Every call has ids, sampled or not, so that its log lines can be found by them and the next hop
//! continues the same trace. They are two numbers beside the call: a header is made from them only
//! when a call goes out, and a span only when the call is sampled.
//!
//! Who decides: a trusted caller, by the flag of its `traceparent`; else the share of
//! [`TraceSettings::sample`](super::settings::TraceSettings::sample), by numbers of our own. A
//! stranger's trace id goes on, as it helps to find what they complain of, but not their wish to be
//! traced, which would let anyone fill the collector.

use http::{HeaderMap, HeaderName, HeaderValue};

use super::context::Surroundings;
use crate::context::Trust;
use crate::telemetry::Sampler;

pub(crate) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
pub(crate) const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// `00-` 32 digits `-` 16 digits `-` 2 digits.
const LENGTH: usize = 55;
const SAMPLED: u8 = 1;
/// The flags that version 00 knows, sampled and random; others are not passed on.
const KNOWN_FLAGS: u8 = 3;

/// Where a call stands in its trace.
///
/// ```
/// use seawall::layer::Trace;
///
/// let header = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
/// let trace = Trace::parse(header.as_bytes()).ok_or("malformed")?;
/// assert!(trace.is_sampled());
/// assert_eq!(trace.value(), header);
/// # Ok::<(), &str>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trace {
    /// The same for all that one request brings about; never 0.
    pub trace_id: u128,
    /// This call's; never 0.
    pub span_id: u64,
    /// The caller's; 0 where the trace begins here.
    pub parent_id: u64,
    flags: u8,
}

impl Trace {
    /// The trace of the call that the running task is part of; `None` outside of a
    /// [`Stack`](super::Stack).
    #[must_use]
    pub fn current() -> Option<Self> {
        Surroundings::current().and_then(|surroundings| surroundings.kept.trace)
    }

    /// What a `traceparent` says: its span is the caller's. `None` where it makes no sense.
    #[must_use]
    pub fn parse(header: &[u8]) -> Option<Self> {
        let version = hex(header.get(..2)?)?;
        // Later versions may say more, behind another dash.
        let whole = match version {
            0 => header.len() == LENGTH,
            255 => false,
            _ => header.len() == LENGTH || header.get(LENGTH) == Some(&b'-'),
        };
        let dashes = [2, 35, 52].iter().all(|at| header.get(*at) == Some(&b'-'));
        if !whole || !dashes {
            return None;
        }
        let trace_id = hex(&header[3..35])?;
        let span_id = hex(&header[36..52])? as u64;
        let flags = hex(&header[53..55])? as u8;
        (trace_id != 0 && span_id != 0).then_some(Self {
            trace_id,
            span_id,
            parent_id: 0,
            flags: flags & KNOWN_FLAGS,
        })
    }

    /// As a header, by which the next hop continues the trace.
    #[must_use]
    pub fn value(self) -> HeaderValue {
        let mut text = [b'-'; LENGTH];
        digits(&mut text[..2], 0);
        digits(&mut text[3..35], self.trace_id);
        digits(&mut text[36..52], u128::from(self.span_id));
        digits(&mut text[53..], u128::from(self.flags));
        HeaderValue::from_bytes(&text).unwrap_or_else(|_| HeaderValue::from_static(""))
    }

    /// Whether its spans are exported.
    #[must_use]
    pub const fn is_sampled(self) -> bool {
        self.flags & SAMPLED != 0
    }

    /// A span below this one.
    #[must_use]
    pub fn child(self, random: u64) -> Self {
        Self {
            span_id: random.max(1),
            parent_id: self.span_id,
            ..self
        }
    }

    /// That of a call with these headers. A `traceparent` that makes no sense, or several of them,
    /// is as none.
    pub(super) fn of(headers: &HeaderMap, trust: Trust, share: Sampler) -> Self {
        let mut sent = headers.get_all(TRACEPARENT).iter();
        let parent = sent.next().and_then(|value| Self::parse(value.as_bytes()));
        let parent = parent.filter(|_| sent.next().is_none());
        let sampled = |random| if share.keeps(random) { SAMPLED } else { 0 };
        match parent {
            Some(parent) => {
                let mut trace = parent.child(fastrand::u64(..));
                if trust == Trust::Edge {
                    trace.flags = trace.flags & !SAMPLED | sampled(fastrand::u64(..));
                }
                trace
            }
            None => Self {
                trace_id: fastrand::u128(..).max(1),
                span_id: fastrand::u64(1..),
                parent_id: 0,
                // All of the id is random, which others may sample by.
                flags: 2 | sampled(fastrand::u64(..)),
            },
        }
    }
}

/// `tracestate`, whose lists may come in several headers.
pub(super) fn state(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut sent = headers.get_all(TRACESTATE).iter();
    let first = sent.next()?;
    let rest: Vec<_> = sent.collect();
    if rest.is_empty() {
        return Some(first.clone());
    }
    let all: Vec<_> = std::iter::once(first)
        .chain(rest)
        .map(HeaderValue::as_bytes)
        .collect();
    HeaderValue::from_bytes(&all.join(&b","[..])).ok()
}

/// Lower case, as the specification has it; at most 32 digits.
fn hex(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0u128, |sum, digit| {
        let digit = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(sum << 4 | u128::from(digit))
    })
}

fn digits(text: &mut [u8], mut value: u128) {
    for digit in text.iter_mut().rev() {
        *digit = b"0123456789abcdef"[(value & 15) as usize];
        value >>= 4;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn what_makes_no_sense_is_as_none() {
        let zero_trace = "00-00000000000000000000000000000000-b7ad6b7169203331-01";
        let zero_span = "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01";
        let long = format!("{GOOD}-more");
        let shouted = GOOD.to_uppercase();
        for bad in [
            "",
            "00",
            &GOOD[..54],
            zero_trace,
            zero_span,
            &long,
            &shouted,
        ] {
            assert_eq!(Trace::parse(bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(Trace::parse(GOOD.replacen("00", "ff", 1).as_bytes()), None);
        // A later version is read as far as this one goes.
        let later = long.replacen("00", "01", 1);
        assert!(Trace::parse(later.as_bytes()).is_some_and(Trace::is_sampled));
    }

    #[test]
    fn two_parents_are_none() {
        let mut headers = HeaderMap::new();
        let good = || HeaderValue::from_static(GOOD);
        headers.append(TRACEPARENT, good());
        let of = |headers: &HeaderMap| Trace::of(headers, Trust::Internal, Sampler::default());
        assert_eq!(of(&headers).parent_id, 0xb7ad_6b71_6920_3331);
        headers.append(TRACEPARENT, good());
        assert_eq!(of(&headers).parent_id, 0);
    }

    #[test]
    fn lists_of_state_are_joined() {
        let mut headers = HeaderMap::new();
        assert_eq!(state(&headers), None);
        headers.append(TRACESTATE, HeaderValue::from_static("a=1"));
        assert_eq!(state(&headers).unwrap(), "a=1");
        headers.append(TRACESTATE, HeaderValue::from_static("b=2,c=3"));
        assert_eq!(state(&headers).unwrap(), "a=1,b=2,c=3");
    }

    #[test]
    fn a_stranger_does_not_decide_and_a_parent_does() {
        let headers = HeaderMap::from_iter([(TRACEPARENT, HeaderValue::from_static(GOOD))]);
        let none = Sampler::share(0.0);
        let inside = Trace::of(&headers, Trust::Internal, none);
        let outside = Trace::of(&headers, Trust::Edge, none);
        assert!(inside.is_sampled() && !outside.is_sampled());
        assert_eq!(inside.trace_id, outside.trace_id);
        let unsampled = GOOD.replace("-01", "-00").parse().unwrap();
        let headers = HeaderMap::from_iter([(TRACEPARENT, unsampled)]);
        let all = Sampler::share(1.0);
        assert!(!Trace::of(&headers, Trust::Internal, all).is_sampled());
        assert!(Trace::of(&headers, Trust::Edge, all).is_sampled());
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(id in 1u128.., span in 1u64.., flags in 0u8..4) {
            let trace = Trace { trace_id: id, span_id: span, parent_id: 0, flags };
            prop_assert_eq!(Trace::parse(trace.value().as_bytes()), Some(trace));
        }

        #[test]
        fn garbage_is_no_trace_and_no_panic(text in prop::collection::vec(any::<u8>(), 0..70)) {
            if let Some(trace) = Trace::parse(&text) {
                prop_assert!(trace.trace_id != 0 && trace.span_id != 0);
            }
        }

        #[test]
        fn a_child_stays_in_its_trace(id in 1u128.., span in 1u64.., random: u64) {
            let trace = Trace { trace_id: id, span_id: span, parent_id: 7, flags: 1 };
            let child = trace.child(random);
            prop_assert_eq!((child.trace_id, child.parent_id), (id, span));
            prop_assert!(child.span_id != 0 && child.is_sampled());
        }
    }
}
