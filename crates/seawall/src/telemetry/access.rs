//! The access log.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::{HeaderValue, Method, Uri};
use seawall_policy::{Criticality, Rejection};

use super::line::{begin, member};
use crate::config::{AccessLogConfig, AccessLogMode};

/// One request, as it was answered. Made without formatting or copying text: names are shared, and
/// a `Uri` or `HeaderValue` is cloned by counting.
#[derive(Clone, Debug)]
pub struct AccessEntry {
    /// When it arrived, by the wall clock.
    pub time: SystemTime,
    /// Which listener took it.
    pub listener: Arc<str>,
    /// Who asked.
    pub client: IpAddr,
    /// The method.
    pub method: Method,
    /// Its target. Only the path is written: a query may hold secrets.
    pub uri: Uri,
    /// The status that was sent.
    pub status: u16,
    /// Bytes of body received.
    pub received: u64,
    /// Bytes of body sent.
    pub sent: u64,
    /// From arrival to the last byte.
    pub duration: Duration,
    /// Of that, in our queue.
    pub queued: Duration,
    /// Of that, waiting for the head of the origin's reply; `None` where it was not asked.
    pub origin: Option<Duration>,
    /// The route's name.
    pub route: Arc<str>,
    /// How much it mattered.
    pub criticality: Criticality,
    /// Why it was turned away, if it was.
    pub rejection: Option<Rejection>,
    /// `traceparent`, to find the rest of the story.
    pub trace: Option<HeaderValue>,
    /// What the response cache had to do with it, where its route has one.
    pub cache: Option<&'static str>,
}

impl AccessEntry {
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        begin(out, self.time, "INFO", "access");
        member(out, "listener", &*self.listener);
        member(out, "client", self.client);
        member(out, "method", self.method.as_str());
        member(out, "path", self.uri.path());
        member(out, "status", self.status);
        member(out, "received", self.received);
        member(out, "sent", self.sent);
        member(out, "duration_ms", millis(self.duration));
        member(out, "queued_ms", millis(self.queued));
        if let Some(origin) = self.origin {
            member(out, "origin_ms", millis(origin));
        }
        member(out, "route", &*self.route);
        member(out, "criticality", self.criticality.as_str());
        if let Some(cache) = self.cache {
            member(out, "cache", cache);
        }
        if let Some(rejection) = self.rejection {
            member(out, "rejected", rejection.reason.as_str());
            member(out, "scope", rejection.scope.as_str());
        }
        if let Some(trace) = self.trace.as_ref().and_then(|t| t.to_str().ok()) {
            member(out, "traceparent", trace);
        }
        out.extend_from_slice(b"}\n");
    }
}

/// Milliseconds with three places.
pub(super) fn millis(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}

/// Which requests are logged.
///
/// ```
/// use seawall::config::{AccessLogConfig, AccessLogMode};
/// use seawall::telemetry::Sampler;
///
/// let all = Sampler::new(&AccessLogConfig { mode: AccessLogMode::All, sample: 0.01 });
/// assert!(all.keeps(u64::MAX));
/// assert!(!Sampler::default().keeps(0)); // off
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Sampler {
    /// Kept below this of 2⁶⁴ equally likely numbers.
    below: u128,
}

impl Sampler {
    /// As the configuration says.
    #[must_use]
    pub fn new(config: &AccessLogConfig) -> Self {
        let share = match config.mode {
            AccessLogMode::Off => 0.0,
            AccessLogMode::Sampled => config.sample.clamp(0.0, 1.0),
            AccessLogMode::All => 1.0,
        };
        Self::share(share)
    }

    /// This share of requests: 0 and less is none, 1 and more is all.
    #[must_use]
    pub fn share(share: f64) -> Self {
        Self {
            below: (share.clamp(0.0, 1.0) * (u64::MAX as f64 + 1.0)) as u128,
        }
    }

    /// Whether nothing is ever kept, so that no entry needs to be made.
    #[must_use]
    pub const fn is_off(self) -> bool {
        self.below == 0
    }

    /// Whether the request that drew these 64 random bits is logged.
    #[must_use]
    pub const fn keeps(self, random: u64) -> bool {
        (random as u128) < self.below
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use seawall_policy::{Advice, Reason, Scope};

    #[test]
    fn an_entry_is_a_line() {
        let entry = AccessEntry {
            time: SystemTime::UNIX_EPOCH,
            listener: "public".into(),
            client: "10.0.0.1".parse().unwrap(),
            method: Method::GET,
            uri: "/search?q=secret".parse().unwrap(),
            status: 503,
            received: 0,
            sent: 31,
            duration: Duration::from_micros(1_234),
            queued: Duration::ZERO,
            origin: None,
            route: "search".into(),
            criticality: Criticality::Sheddable,
            rejection: Some(Rejection {
                reason: Reason::QueueFull,
                scope: Scope::Host,
                advice: Advice::No,
            }),
            trace: None,
            cache: Some("hit"),
        };
        let mut out = Vec::new();
        entry.write(&mut out);
        let text = String::from_utf8(out).unwrap();
        assert!(!text.contains("secret") && text.ends_with("}\n"));
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(json["path"], "/search");
        assert_eq!(json["duration_ms"], 1.234);
        assert_eq!(json["rejected"], "queue-full");
    }

    #[test]
    fn a_sample_keeps_its_share() {
        let sampler = |mode, sample| Sampler::new(&AccessLogConfig { mode, sample });
        let third = sampler(AccessLogMode::Sampled, 1.0 / 3.0);
        let kept = (0..3_000u64)
            .filter(|n| third.keeps(n * (u64::MAX / 3_000)))
            .count();
        assert!((999..=1_001).contains(&kept), "{kept}");
        assert!(sampler(AccessLogMode::Off, 1.0).is_off());
        assert!(sampler(AccessLogMode::Sampled, 1.0).keeps(u64::MAX));
    }
}
