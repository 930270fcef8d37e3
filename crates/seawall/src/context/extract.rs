//! Reading a [`Call`] out of request headers.

use std::time::Duration;

use http::{HeaderMap, HeaderValue, Method, header::HeaderName};
use seawall_policy::{Call, Criticality, Tick};

use super::names;
use super::tenant::{TENANT_SEED, tenant_hash};
use super::timeout::{parse_go, parse_grpc, parse_millis};

/// The greatest cost that is believed; more is cut to it.
pub const MAX_COST: u32 = 10_000;

/// Whether what a listener's callers say of themselves is believed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Trust {
    /// Anyone may call: no context header is believed, and none is passed on, but for time limits.
    /// One that is shorter than ours holds, since it harms nobody but who sent it. The default.
    #[default]
    Edge,
    /// Only our own services call: all of them are believed.
    Internal,
}

/// A header that belongs to the request context.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ContextHeader {
    /// `grpc-timeout`
    GrpcTimeout = 0,
    /// `seawall-timeout-ms`
    TimeoutMs = 1,
    /// `x-envoy-expected-rq-timeout-ms`
    EnvoyTimeoutMs = 2,
    /// `go-timeout`
    GoTimeout = 3,
    /// `seawall-criticality`
    Criticality = 4,
    /// `seawall-tenant`
    Tenant = 5,
    /// `seawall-cost`
    Cost = 6,
    /// `seawall-attempt`
    Attempt = 7,
    /// `seawall-under-way`
    UnderWay = 8,
}

impl ContextHeader {
    /// Every one; an array index is `self as usize`.
    pub const ALL: [Self; 9] = [
        Self::GrpcTimeout,
        Self::TimeoutMs,
        Self::EnvoyTimeoutMs,
        Self::GoTimeout,
        Self::Criticality,
        Self::Tenant,
        Self::Cost,
        Self::Attempt,
        Self::UnderWay,
    ];

    /// Whether it says how long the caller waits. Even a stranger is taken at their word there: it
    /// only ever shortens.
    const fn is_time(self) -> bool {
        (self as u16) <= Self::GoTimeout as u16
    }

    /// Its name on the wire.
    #[must_use]
    pub const fn name(self) -> HeaderName {
        match self {
            Self::GrpcTimeout => names::GRPC_TIMEOUT,
            Self::TimeoutMs => names::TIMEOUT_MS,
            Self::EnvoyTimeoutMs => names::ENVOY_TIMEOUT_MS,
            Self::GoTimeout => names::GO_TIMEOUT,
            Self::Criticality => names::CRITICALITY,
            Self::Tenant => names::TENANT,
            Self::Cost => names::COST,
            Self::Attempt => names::ATTEMPT,
            Self::UnderWay => names::UNDER_WAY,
        }
    }

    /// Which one `name` (lower case) is. One or two comparisons where it is none of them.
    #[inline]
    fn of(name: &str) -> Option<Self> {
        // Their lengths tell all but two apart, and few other headers have one of these first letters.
        match (name.len(), name.as_bytes().first()?) {
            (12, b'g') if name == "grpc-timeout" => Some(Self::GrpcTimeout),
            (18, b's') if name == "seawall-timeout-ms" => Some(Self::TimeoutMs),
            (30, b'x') if name == "x-envoy-expected-rq-timeout-ms" => Some(Self::EnvoyTimeoutMs),
            (10, b'g') if name == "go-timeout" => Some(Self::GoTimeout),
            (19, b's') if name == "seawall-criticality" => Some(Self::Criticality),
            (14, b's') if name == "seawall-tenant" => Some(Self::Tenant),
            (12, b's') if name == "seawall-cost" => Some(Self::Cost),
            (15, b's') if name == "seawall-attempt" => Some(Self::Attempt),
            (17, b's') if name == "seawall-under-way" => Some(Self::UnderWay),
            _ => None,
        }
    }
}

/// A set of [`ContextHeader`]s.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ContextHeaders(u16);

impl ContextHeaders {
    /// Whether `header` is among them.
    #[inline]
    #[must_use]
    pub const fn contains(self, header: ContextHeader) -> bool {
        self.0 & (1 << header as u16) != 0
    }

    /// Whether there are none.
    #[inline]
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Those in the set.
    pub fn iter(self) -> impl Iterator<Item = ContextHeader> {
        ContextHeader::ALL
            .into_iter()
            .filter(move |h| self.contains(*h))
    }

    #[inline]
    const fn insert(&mut self, header: ContextHeader) {
        self.0 |= 1 << header as u16;
    }
}

/// How a listener (or a route of it) reads the context.
#[derive(Clone, Copy, Debug)]
pub struct Reader {
    /// Whether callers are believed.
    pub trust: Trust,
    /// What a call is that does not say how much it matters, or is not believed.
    pub criticality: Criticality,
    /// The longest that anyone waits here, whatever the caller says; `None` for no limit of ours.
    pub timeout: Option<Duration>,
    /// Turns a tenant's name into a number; the same on every replica.
    pub tenant_seed: u64,
}

impl Default for Reader {
    /// An edge: nobody believed, `critical`, no limit of its own.
    fn default() -> Self {
        Self {
            trust: Trust::Edge,
            criticality: Criticality::Critical,
            timeout: None,
            tenant_seed: TENANT_SEED,
        }
    }
}

/// What the headers of one request said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extracted {
    /// What the policies read. `under_way` is never set here: a mark is verified only under
    /// overload, see [`UnderWayKeys::verify`](super::UnderWayKeys::verify).
    pub call: Call,
    /// Context headers that were there, believed or not. [`forward`](super::forward) needs it.
    pub seen: ContextHeaders,
    /// Those of them that were believed in principle and made no sense. Each was ignored as if it
    /// had not been sent; count them.
    pub malformed: ContextHeaders,
}

impl Extracted {
    /// Whether the caller's time was up on arrival: refuse with
    /// [`deadline_passed`](super::deadline_passed) before the call costs anything.
    #[inline]
    #[must_use]
    pub fn expired(&self, now: Tick) -> bool {
        self.call.deadline <= now
    }
}

impl Reader {
    /// Reads the context of a request that arrived at `now`.
    ///
    /// One pass over the names, no allocation. Where several time limits are sent, or one is sent
    /// several times, the shortest holds: each is a promise that nobody waits longer. Of other
    /// headers sent several times the last valid one holds.
    ///
    /// | header says | result |
    /// |---|---|
    /// | time limit zero or negative | [`Extracted::expired`] |
    /// | time limit above [`MAX_TIMEOUT`](super::MAX_TIMEOUT) | that maximum |
    /// | cost zero, above [`MAX_COST`] | 1, that maximum |
    /// | attempt above 255 | 255 |
    /// | anything that is not of the form | ignored, in [`Extracted::malformed`] |
    ///
    /// ```
    /// use http::{HeaderMap, HeaderValue, Method};
    /// use seawall::context::{Reader, Trust};
    /// use seawall_policy::{Criticality, Tick};
    ///
    /// let mut headers = HeaderMap::new();
    /// headers.insert("seawall-timeout-ms", HeaderValue::from_static("250"));
    /// headers.insert("seawall-criticality", HeaderValue::from_static("sheddable"));
    ///
    /// let now = Tick::from_millis(1_000);
    /// let inside = Reader { trust: Trust::Internal, ..Reader::default() };
    /// let call = inside.read(&Method::GET, &headers, now).call;
    /// assert_eq!(call.deadline, Tick::from_millis(1_250));
    /// assert_eq!(call.criticality, Criticality::Sheddable);
    ///
    /// let outside = Reader::default().read(&Method::GET, &headers, now);
    /// assert_eq!(outside.call.criticality, Criticality::Critical); // nobody outside is believed
    /// assert_eq!(outside.call.deadline, Tick::from_millis(1_250)); // but who does not wait, does not
    /// ```
    #[must_use]
    pub fn read(&self, method: &Method, headers: &HeaderMap, now: Tick) -> Extracted {
        let mut read = Extracted {
            call: Call {
                deadline: self.timeout.map_or(Tick::MAX, |t| now + t),
                criticality: self.criticality,
                idempotent: method.is_idempotent(),
                ..Call::default()
            },
            seen: ContextHeaders::default(),
            malformed: ContextHeaders::default(),
        };
        for (name, value) in headers {
            if let Some(header) = ContextHeader::of(name.as_str()) {
                read.seen.insert(header);
                if (self.trust == Trust::Internal || header.is_time())
                    && self.believe(&mut read.call, header, value, now).is_none()
                {
                    read.malformed.insert(header);
                }
            }
        }
        read
    }

    /// `None` where the value makes no sense; `call` is then as it was.
    fn believe(
        &self,
        call: &mut Call,
        header: ContextHeader,
        value: &HeaderValue,
        now: Tick,
    ) -> Option<()> {
        let value = value.as_bytes();
        let timeout = match header {
            ContextHeader::GrpcTimeout => parse_grpc(value)?,
            ContextHeader::TimeoutMs | ContextHeader::EnvoyTimeoutMs => parse_millis(value)?,
            ContextHeader::GoTimeout => parse_go(value)?,
            ContextHeader::Criticality => {
                call.criticality = Criticality::parse(std::str::from_utf8(value).ok()?.trim())?;
                return Some(());
            }
            ContextHeader::Tenant => {
                call.tenant = match value.trim_ascii() {
                    b"" => return None,
                    name => tenant_hash(name, self.tenant_seed),
                };
                return Some(());
            }
            ContextHeader::Cost => {
                call.cost = u32::try_from(number(value)?)
                    .unwrap_or(MAX_COST)
                    .clamp(1, MAX_COST);
                return Some(());
            }
            ContextHeader::Attempt => {
                call.attempt = u8::try_from(number(value)?).unwrap_or(u8::MAX);
                return Some(());
            }
            ContextHeader::UnderWay => return Some(()),
        };
        call.deadline = call.deadline.min(now + timeout);
        Some(())
    }
}

/// Plain digits; saturates.
fn number(value: &[u8]) -> Option<u64> {
    let digits = value.trim_ascii();
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(digits.iter().fold(0u64, |n, d| {
        n.saturating_mul(10).saturating_add(u64::from(d - b'0'))
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::MAX_TIMEOUT;
    use proptest::prelude::*;

    const NOW: Tick = Tick::from_millis(1_000);
    const INSIDE: Reader = Reader {
        trust: Trust::Internal,
        criticality: Criticality::Critical,
        timeout: None,
        tenant_seed: 1,
    };

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        map
    }

    fn inside(pairs: &[(&'static str, &str)]) -> Extracted {
        INSIDE.read(&Method::GET, &headers(pairs), NOW)
    }

    fn left(pairs: &[(&'static str, &str)]) -> Duration {
        inside(pairs).call.deadline.since(NOW)
    }

    #[test]
    fn every_name_is_recognised_and_no_other() {
        for header in ContextHeader::ALL {
            assert_eq!(ContextHeader::of(header.name().as_str()), Some(header));
        }
        for other in [
            "host",
            "seawall-retried",
            "seawall-timeout",
            "grpc-encoding",
            "seawall-cast",
            "te",
            "x",
        ] {
            assert_eq!(ContextHeader::of(other), None, "{other}");
        }
    }

    #[test]
    fn nothing_said() {
        let read = inside(&[("host", "a"), ("accept", "*/*")]);
        assert_eq!(
            read.call,
            Call {
                idempotent: true,
                ..Call::default()
            }
        );
        assert!(read.seen.is_empty() && read.malformed.is_empty() && !read.expired(NOW));
        let post = INSIDE.read(&Method::POST, &HeaderMap::new(), NOW);
        assert!(!post.call.idempotent);
    }

    #[test]
    fn all_said() {
        let call = inside(&[
            ("seawall-timeout-ms", "250"),
            ("seawall-criticality", "Sheddable-Plus"),
            ("seawall-tenant", "acme"),
            ("seawall-cost", "7"),
            ("seawall-attempt", "2"),
            ("seawall-under-way", "anything"),
        ])
        .call;
        let expected = Call {
            deadline: Tick::from_millis(1_250),
            criticality: Criticality::SheddablePlus,
            tenant: tenant_hash(b"acme", 1),
            cost: 7,
            attempt: 2,
            idempotent: true,
            under_way: false, // claimed, not verified
        };
        assert_eq!(call, expected);
    }

    #[test]
    fn the_shortest_time_limit_holds() {
        let all = [
            ("grpc-timeout", "3S"),
            ("seawall-timeout-ms", "900"),
            ("x-envoy-expected-rq-timeout-ms", "800"),
            ("go-timeout", "0.7s"),
        ];
        for n in 1..=all.len() {
            assert_eq!(left(&all[..n]).as_millis(), [3_000, 900, 800, 700][n - 1]);
        }
        assert_eq!(
            left(&[
                ("seawall-timeout-ms", "900"),
                ("seawall-timeout-ms", "100"),
                ("seawall-timeout-ms", "500")
            ])
            .as_millis(),
            100
        );
        let short = Reader {
            timeout: Some(Duration::from_millis(50)),
            ..INSIDE
        };
        assert_eq!(
            short.read(&Method::GET, &headers(&all), NOW).call.deadline,
            Tick::from_millis(1_050)
        );
    }

    #[test]
    fn a_deadline_of_zero_negative_huge_or_garbage() {
        for up in ["0", "-1", "-99999999999999999999999"] {
            assert!(inside(&[("seawall-timeout-ms", up)]).expired(NOW), "{up}");
        }
        assert_eq!(
            left(&[("seawall-timeout-ms", "99999999999999999999999")]),
            MAX_TIMEOUT
        );
        let garbage = inside(&[("seawall-timeout-ms", "NaN"), ("grpc-timeout", "1S")]);
        assert_eq!(garbage.call.deadline, Tick::from_millis(2_000));
        assert_eq!(
            garbage.malformed.iter().collect::<Vec<_>>(),
            [ContextHeader::TimeoutMs]
        );
    }

    #[test]
    fn an_edge_believes_nothing_but_impatience_and_sees_all() {
        let forged = headers(&[
            ("seawall-timeout-ms", "99999999"),
            ("seawall-criticality", "critical-plus"),
            ("seawall-tenant", "victim"),
            ("seawall-cost", "0"),
            ("seawall-under-way", "forged"),
            ("go-timeout", "garbage"),
        ]);
        let edge = Reader {
            criticality: Criticality::Sheddable,
            timeout: Some(Duration::from_secs(5)),
            ..Reader::default()
        };
        let read = edge.read(&Method::GET, &forged, NOW);
        assert_eq!(
            read.call,
            Call {
                criticality: Criticality::Sheddable,
                idempotent: true,
                deadline: NOW + Duration::from_secs(5),
                ..Call::default()
            },
            "a limit of ours is not extended"
        );
        assert_eq!(read.seen.iter().count(), 6);
        assert_eq!(
            read.malformed.iter().collect::<Vec<_>>(),
            [ContextHeader::GoTimeout]
        );
        for (name, value, ms) in [
            ("grpc-timeout", "40m", 40),
            ("seawall-timeout-ms", "30", 30),
            ("x-envoy-expected-rq-timeout-ms", "20", 20),
            ("go-timeout", "10ms", 10),
        ] {
            let read = edge.read(&Method::GET, &headers(&[(name, value)]), NOW);
            assert_eq!(
                read.call.deadline,
                NOW + Duration::from_millis(ms),
                "{name}"
            );
        }
    }

    #[test]
    fn costs_and_attempts_are_bounded() {
        assert_eq!(inside(&[("seawall-cost", "0")]).call.cost, 1);
        assert_eq!(
            inside(&[("seawall-cost", "99999999999999999999")])
                .call
                .cost,
            MAX_COST
        );
        assert_eq!(inside(&[("seawall-attempt", "300")]).call.attempt, 255);
        let bad = inside(&[
            ("seawall-cost", "-1"),
            ("seawall-attempt", "two"),
            ("seawall-tenant", " "),
            ("seawall-criticality", "highest"),
        ]);
        assert_eq!(
            bad.call,
            Call {
                idempotent: true,
                ..Call::default()
            }
        );
        assert_eq!(bad.malformed.iter().count(), 4);
    }

    proptest! {
        #[test]
        fn no_value_panics(values in prop::collection::vec((0usize..9, prop::collection::vec(any::<u8>(), 0..40)), 0..20), now: u64) {
            let mut map = HeaderMap::new();
            for (name, value) in values {
                if let Ok(value) = HeaderValue::from_bytes(&value) {
                    map.append(ContextHeader::ALL[name].name(), value);
                }
            }
            let now = Tick(now);
            let read = INSIDE.read(&Method::GET, &map, now);
            prop_assert!(read.call.deadline >= now);
            prop_assert!((1..=MAX_COST).contains(&read.call.cost));
            prop_assert!(!read.call.under_way);
        }
    }
}
