//! What a host says of itself on its responses, for callers that choose among several by it.

use std::io::Write as _;
use std::time::Duration;

use http::{HeaderMap, HeaderValue};
use seawall_policy::balance::Load;

use super::names;

/// Where a host answers what its load is, with `204 No Content`: see
/// [`LoadLayer`](crate::layer::LoadLayer).
pub const LOAD_PATH: &str = "/.well-known/seawall-load";

/// `seawall-load` for a response: `in_flight=12; latency_us=3400`.
///
/// ```
/// use seawall::context::{load, load_value, names};
/// use seawall_policy::balance::Load;
/// use std::time::Duration;
///
/// let busy = Load { in_flight: 12, latency: Duration::from_micros(3_400) };
/// let mut headers = http::HeaderMap::new();
/// headers.insert(names::LOAD, load_value(busy));
/// assert_eq!(load(&headers), Some(busy));
/// ```
#[must_use]
pub fn load_value(load: Load) -> HeaderValue {
    let mut text = [0u8; 64];
    let mut rest = &mut text[..];
    let micros = u64::try_from(load.latency.as_micros()).unwrap_or(u64::MAX);
    // 10 + 10 + 14 + 20 at most.
    let _ = write!(rest, "in_flight={}; latency_us={micros}", load.in_flight);
    let free = rest.len();
    let length = text.len() - free;
    HeaderValue::from_bytes(&text[..length]).unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// What a response says of its host's load; `None` where it says nothing, or nothing that makes
/// sense.
#[must_use]
pub fn load(headers: &HeaderMap) -> Option<Load> {
    let text = headers.get(names::LOAD)?.to_str().ok()?;
    let (mut in_flight, mut micros) = (None, None);
    for part in text.split(';') {
        match part.trim().split_once('=')? {
            ("in_flight", count) => in_flight = Some(count.parse().ok()?),
            ("latency_us", latency) => micros = Some(latency.parse().ok()?),
            _ => {}
        }
    }
    Some(Load {
        in_flight: in_flight?,
        latency: Duration::from_micros(micros?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(in_flight: u32, micros in 0..=u64::MAX / 1_000) {
            let said = Load { in_flight, latency: Duration::from_micros(micros) };
            let headers = HeaderMap::from_iter([(names::LOAD, load_value(said))]);
            prop_assert_eq!(load(&headers), Some(said));
        }

        #[test]
        fn nothing_panics(text in "[ -~]{0,60}") {
            if let Ok(value) = HeaderValue::from_str(&text) {
                let _ = load(&HeaderMap::from_iter([(names::LOAD, value)]));
            }
        }
    }

    #[test]
    fn what_makes_no_sense_is_none() {
        for text in [
            "",
            "in_flight=1",
            "latency_us=1",
            "in_flight=-1; latency_us=1",
            "x",
        ] {
            let value = HeaderValue::from_static(text);
            assert_eq!(
                load(&HeaderMap::from_iter([(names::LOAD, value)])),
                None,
                "{text}"
            );
        }
    }
}
