//! What a rejection on the wire advises: the reading side of [`reply`](super::reply).

use std::time::Duration;

use http::HeaderMap;
use seawall_policy::Advice;

use super::names;

/// The longest wait that is taken for one.
const LONGEST: Duration = Duration::from_secs(3_600);

/// What `seawall-reject` on a reply says of trying again; `None` where the reply is no typed
/// rejection, or makes no sense. What is unknown in it is passed over, so later versions may say
/// more.
///
/// ```
/// use http::{HeaderMap, HeaderValue};
/// use seawall::{Advice, context::advice};
/// use std::time::Duration;
///
/// let mut headers = HeaderMap::new();
/// let says = "reason=queue-full; scope=host; after_ms=1200";
/// headers.insert("seawall-reject", HeaderValue::from_static(says));
/// assert_eq!(advice(&headers), Some(Advice::After(Duration::from_millis(1_200))));
/// ```
#[must_use]
pub fn advice(headers: &HeaderMap) -> Option<Advice> {
    let text = headers.get(names::REJECT)?.to_str().ok()?;
    text.split(';')
        .find_map(|part| match part.trim().split_once('=')? {
            ("after_ms", wait) => {
                let wait = Duration::from_millis(wait.parse().ok()?);
                Some(Advice::After(wait.min(LONGEST)))
            }
            ("retry", "no") => Some(Advice::No),
            ("retry", "elsewhere") => Some(Advice::Elsewhere),
            _ => None,
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::{Wire, reply};
    use http::HeaderValue;
    use seawall_policy::{Reason, Rejection, Scope};

    #[test]
    fn what_is_written_is_read() {
        let wait = Duration::from_secs(2);
        for advice in [Advice::No, Advice::Elsewhere, Advice::After(wait)] {
            let rejection = Rejection {
                reason: Reason::Admission,
                scope: Scope::Host,
                advice,
            };
            let told = super::advice(reply(rejection, Wire::Http, 0).headers());
            assert_eq!(told, Some(advice));
        }
    }

    #[test]
    fn what_makes_no_sense_is_none() {
        for text in [
            "",
            "retry",
            "after_ms=-1",
            "after_ms=x; scope=host",
            "retry=maybe",
        ] {
            let value = HeaderValue::from_static(text);
            let headers = HeaderMap::from_iter([(names::REJECT, value)]);
            assert_eq!(advice(&headers), None, "{text}");
        }
        assert_eq!(advice(&HeaderMap::new()), None);
    }
}
