//! What messages and calls have in common.

use std::time::Duration;

use seawall::api::Error;
use seawall::api::types::Timestamp;
use seawall::client::Repeatable;
use seawall::data;

use super::{Failure, Time};

/// As it is on the wire.
const CRITICALITY: &str = "seawall-criticality";

/// A call that may be made again: all of the shop's are.
pub fn call<T>(message: T) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    request.extensions_mut().insert(Repeatable);
    request
}

/// A call that is not worth waiting for: the first to be turned away, and soon given up.
pub fn call_if_easy<T>(message: T, patience: Duration) -> tonic::Request<T> {
    let mut request = call(message);
    request.set_timeout(patience);
    let sheddable = tonic::metadata::MetadataValue::from_static("sheddable");
    request.metadata_mut().insert(CRITICALITY, sheddable);
    request
}

/// What callers are told of what broke: to come back where the database was too busy or away, and
/// nothing but that it broke otherwise.
#[must_use]
pub fn failed(failure: Failure) -> Error {
    match failure.into_inner().downcast::<data::Error>() {
        Ok(error) => Error::from(*error),
        Err(other) => Error::internal(other),
    }
}

/// As messages say it.
#[must_use]
pub fn timestamp(time: Time) -> Timestamp {
    let millis = time.millis();
    Timestamp {
        seconds: i64::try_from(millis / 1_000).unwrap_or(i64::MAX),
        nanos: i32::try_from(millis % 1_000 * 1_000_000).unwrap_or(0),
    }
}

/// As the shop says it; what was before 1970 is 1970.
#[must_use]
pub fn time(timestamp: &Timestamp) -> Time {
    let seconds = u64::try_from(timestamp.seconds).unwrap_or(0);
    let nanos = u64::try_from(timestamp.nanos).unwrap_or(0);
    Time::from_millis(
        seconds
            .saturating_mul(1_000)
            .saturating_add(nanos / 1_000_000),
    )
}

/// Cents as messages say them: [`Money::MOST`](super::Money::MOST) is less than what fits.
#[must_use]
pub fn cents(cents: u64) -> u32 {
    u32::try_from(cents).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use seawall::api::Code;
    use seawall::{Advice, Reason, Rejection, Scope};

    use super::*;

    #[test]
    fn a_time_comes_back_as_it_went() {
        for millis in [0, 1, 999, 1_000, 1_700_000_000_123] {
            let there = Time::from_millis(millis);
            assert_eq!(time(&timestamp(there)), there);
        }
        let before = Timestamp {
            seconds: -5,
            nanos: -1,
        };
        assert_eq!(time(&before), Time::default());
    }

    #[test]
    fn a_database_that_is_too_busy_is_no_internal_error() {
        let wait = Duration::from_millis(20);
        let busy = data::Error::Rejected {
            server: "primary".into(),
            pool: "write".into(),
            rejection: Rejection {
                reason: Reason::QueueFull,
                scope: Scope::Host,
                advice: Advice::After(wait),
            },
        };
        for (error, code, reason) in [
            (busy, Code::Unavailable, "QUEUE_FULL"),
            (
                data::Error::Deadline,
                Code::DeadlineExceeded,
                "DEADLINE_EXCEEDED",
            ),
            (data::Error::Nested, Code::Internal, "INTERNAL"),
        ] {
            let told = failed(Failure::new(error));
            assert_eq!((told.code(), told.reason()), (code, reason));
        }
        let told = failed(Failure::new("no state of a notice: 7"));
        assert_eq!((told.code(), told.reason()), (Code::Internal, "INTERNAL"));
    }
}
