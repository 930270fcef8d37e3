//! An [`Error`] as a gRPC status, and back: the details are those of `google.rpc`.

use std::collections::HashMap;
use std::time::Duration;

use http::{HeaderMap, HeaderValue};
use seawall_policy::Advice;
use tonic::metadata::MetadataMap;
use tonic::{Code, Status};
use tonic_types::{ErrorDetail, ErrorInfo, FieldViolation, RetryInfo, StatusExt};

use super::error::{Error, OURS, Violation, cut, reason_of};
use crate::context::{MAX_RETRY_AFTER, advice, names};

/// A status is headers, and its receiver breaks the connection where they are too many: some take
/// 8 KiB. In bytes: its message, a value of its metadata, and all of these; all violations.
const LONGEST_MESSAGE: usize = 512;
const LONGEST_VALUE: usize = 256;
const MOST_METADATA: usize = 1_536;
const MOST_VIOLATIONS: usize = 1_536;

impl From<Error> for Status {
    /// Longer texts than a header can hold are cut, and what is left of metadata and violations
    /// beyond some 1.5 KiB each does not go along.
    fn from(error: Error) -> Self {
        let inner = *error.inner;
        let value = |(key, value): (String, String)| (key, cut(&value, LONGEST_VALUE).into_owned());
        let size = |(key, value): &(String, String)| key.len() + value.len();
        let metadata = inner.metadata.into_iter().map(value);
        let metadata: HashMap<_, _> = within(metadata, MOST_METADATA, size).collect();
        let mut details: Vec<ErrorDetail> = Vec::with_capacity(3);
        details.push(ErrorInfo::new(inner.reason, inner.domain, metadata).into());
        if !inner.violations.is_empty() {
            let size = |v: &Violation| v.field.len() + v.rule.len() + v.message.len();
            let all = within(inner.violations.into_iter(), MOST_VIOLATIONS, size);
            let fields: Vec<_> = all.map(field).collect();
            details.push(tonic_types::BadRequest::new(fields).into());
        }
        let mut headers = HeaderMap::new();
        if let Some(wait) = inner.retry_after {
            details.push(RetryInfo::new(Some(wait)).into());
            let millis = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
            headers.insert(names::GRPC_PUSHBACK, HeaderValue::from(millis));
        }
        let metadata = MetadataMap::from_headers(headers);
        let message = cut(&inner.message, LONGEST_MESSAGE);
        Self::with_error_details_vec_and_metadata(inner.code, message, details, metadata)
    }
}

/// As many from the first on as have `most` bytes together.
fn within<T>(
    all: impl Iterator<Item = T>,
    most: usize,
    size: impl Fn(&T) -> usize,
) -> impl Iterator<Item = T> {
    let mut left = most;
    all.take_while(move |one| {
        let fits = left.checked_sub(size(one));
        left = fits.unwrap_or(0);
        fits.is_some()
    })
}

fn field(violation: Violation) -> FieldViolation {
    FieldViolation {
        field: violation.field,
        description: violation.message,
        reason: violation.rule.into_owned(),
        localized_message: None,
    }
}

impl From<Status> for Error {
    /// What another service answered. A rejection of Seawall's keeps its reason, scope and advice;
    /// a status without details gets its code's name as reason.
    fn from(status: Status) -> Self {
        let message = status.message().to_owned();
        let mut error = Self::new(status.code(), code_name(status.code()), message);
        for detail in status.get_error_details_vec() {
            match detail {
                ErrorDetail::ErrorInfo(info) => {
                    error.inner.reason = info.reason.into();
                    error.inner.domain = info.domain.into();
                    error.inner.metadata = info.metadata.into_iter().collect();
                }
                ErrorDetail::BadRequest(bad) => {
                    let fields = bad.field_violations.into_iter();
                    error.inner.violations = fields.map(violation).collect();
                }
                ErrorDetail::RetryInfo(info) => {
                    error.inner.retry_after = info.retry_delay.map(|w| w.min(MAX_RETRY_AFTER));
                }
                _ => {}
            }
        }
        let mut error = error.rejected(status.metadata().as_ref());
        if std::error::Error::source(&status).is_some() {
            error = error.because(status);
        }
        error
    }
}

fn violation(field: FieldViolation) -> Violation {
    Violation {
        field: field.field,
        rule: field.reason.into(),
        message: field.description,
    }
}

impl Error {
    /// Takes over what `seawall-reject` on a reply says.
    pub(super) fn rejected(mut self, headers: &HeaderMap) -> Self {
        let Some(text) = headers.get(names::REJECT).and_then(|v| v.to_str().ok()) else {
            return self;
        };
        self.inner.domain = OURS.into();
        for part in text.split(';') {
            match part.trim().split_once('=') {
                Some(("reason", name)) => self.inner.reason = reason_of(name).into(),
                Some((key @ ("scope" | "retry"), value)) => self = self.with(key, value),
                _ => {}
            }
        }
        if let Some(Advice::After(wait)) = advice(headers) {
            self.inner.retry_after = Some(wait);
        }
        self
    }

    /// The wait that `retry-after` tells, in whole seconds; an hour at the most.
    pub(super) fn waited_for(headers: &HeaderMap) -> Option<Duration> {
        let text = headers.get(http::header::RETRY_AFTER)?.to_str().ok()?;
        let wait = text.trim().parse().ok().map(Duration::from_secs);
        wait.map(|wait| wait.min(MAX_RETRY_AFTER))
    }
}

/// A code's name as `google.rpc.Code` has it.
pub(super) const fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

/// The code of a name; `None` for what is none.
pub(super) fn code_of(name: &str) -> Option<Code> {
    (0..17).map(Code::from).find(|c| code_name(*c) == name)
}
