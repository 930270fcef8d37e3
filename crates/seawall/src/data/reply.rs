//! How work at a database fails, as callers of a service are told.

use super::Error;
use crate::api;
use crate::api::Code;

impl From<Error> for api::Error {
    /// For `?` in a service. A rejection keeps its reason, scope and advice, and is not logged, as
    /// there are many of them when there are any. That a row is missing, or is there already, means
    /// something to the business alone: until that says what, it is `INTERNAL`.
    ///
    /// | error | code | reason |
    /// |---|---|---|
    /// | no connection was free | `UNAVAILABLE` | that of the rejection: `QUEUE_FULL` |
    /// | unreachable | `UNAVAILABLE` | `UNREACHABLE` |
    /// | the deadline has passed | `DEADLINE_EXCEEDED` | `DEADLINE_EXCEEDED` |
    /// | in conflict with another transaction | `ABORTED` | `CONFLICT` |
    /// | broken off in the middle | `UNKNOWN` | `OUTCOME_UNKNOWN`: done or not, so not to be tried again blindly |
    /// | all others | `INTERNAL` | `INTERNAL`, and the error in the log |
    fn from(error: Error) -> Self {
        match error {
            Error::Deadline => Self::ours(
                Code::DeadlineExceeded,
                "DEADLINE_EXCEEDED",
                "deadline exceeded",
            ),
            Error::Conflict(_) => Self::ours(
                Code::Aborted,
                "CONFLICT",
                "in conflict with another change: nothing was done",
            ),
            Error::Lost(_) => Self::ours(
                Code::Unknown,
                "OUTCOME_UNKNOWN",
                "broken off: it may have been done or not",
            )
            .because(error),
            error => match error.rejection() {
                Some(rejection) => Self::from(rejection),
                None => Self::internal(error),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Advice, Reason, Rejection, Scope};
    use std::time::Duration;

    #[test]
    fn callers_learn_what_to_do() {
        let wait = Duration::from_millis(20);
        let rejection = Rejection {
            reason: Reason::QueueFull,
            scope: Scope::Host,
            advice: Advice::After(wait),
        };
        let full = Error::Rejected {
            server: "primary".into(),
            pool: "write".into(),
            rejection,
        };
        let told = api::Error::from(full);
        assert_eq!(
            (told.code(), told.reason()),
            (Code::Unavailable, "QUEUE_FULL")
        );
        assert_eq!(told.retry_after(), Some(wait));
        assert_eq!(told.metadata()["scope"], "host");

        let gone = || sqlx::Error::Io(std::io::ErrorKind::BrokenPipe.into());
        let unreachable = Error::Unreachable {
            server: "primary".into(),
            source: std::sync::Arc::new(gone()),
        };
        for (error, code, reason) in [
            (unreachable, Code::Unavailable, "UNREACHABLE"),
            (Error::Deadline, Code::DeadlineExceeded, "DEADLINE_EXCEEDED"),
            (Error::Conflict(gone()), Code::Aborted, "CONFLICT"),
            (Error::Lost(gone()), Code::Unknown, "OUTCOME_UNKNOWN"),
            (
                Error::Query(sqlx::Error::RowNotFound),
                Code::Internal,
                "INTERNAL",
            ),
            (Error::Nested, Code::Internal, "INTERNAL"),
        ] {
            let said = error.to_string();
            let told = api::Error::from(error);
            assert_eq!((told.code(), told.reason()), (code, reason), "{said}");
            assert!(!told.text().contains("primary"), "nothing of ours goes out");
        }
    }
}
