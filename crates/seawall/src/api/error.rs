//! How a call of a service fails.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use tonic::Code;

/// Whose reasons those of this module are: what the kit itself says.
pub(super) const OURS: &str = "seawall";

/// A reason as a definition states it: a value of an enum marked as errors.
///
/// Implemented by generated code.
pub trait Reason: Copy {
    /// Whose reasons these are: the proto package.
    const DOMAIN: &'static str;
    /// The name on the wire, as in the definition: `ORDER_NOT_FOUND`.
    fn reason(&self) -> &'static str;
    /// What it is to a caller that does not know the reason.
    fn code(&self) -> Code;
    /// What a person is told where nothing else is said.
    fn message(&self) -> &'static str;
}

/// A field that is not as its rules ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Its path in the request: `items[2].quantity`.
    pub field: String,
    /// The rule, by its name in the definition: `max_len`.
    pub rule: Cow<'static, str>,
    /// What is asked, in words.
    pub message: String,
}

/// How a call of a service failed: the same on both transports.
///
/// Code, reason, domain, message, metadata, violations and the wait before another try go over the
/// wire, there and back; the source stays here, and is logged by the adapter that sends the error.
///
/// ```
/// use seawall::api::{Code, Error};
///
/// let error = Error::new(Code::NotFound, "ORDER_NOT_FOUND", "there is no order 7").with("order", "7");
/// let status = tonic::Status::from(error);
/// let back = Error::from(status);
/// assert_eq!((back.code(), back.reason()), (Code::NotFound, "ORDER_NOT_FOUND"));
/// assert_eq!(back.metadata()["order"], "7");
/// ```
#[derive(Clone, Debug)]
pub struct Error {
    pub(super) inner: Box<Inner>,
}

#[derive(Clone, Debug)]
pub(super) struct Inner {
    pub(super) code: Code,
    /// Where HTTP has a status of its own for it: 405, 413, 415.
    pub(super) status: Option<StatusCode>,
    pub(super) domain: Cow<'static, str>,
    pub(super) reason: Cow<'static, str>,
    pub(super) message: Cow<'static, str>,
    pub(super) metadata: BTreeMap<String, String>,
    pub(super) violations: Vec<Violation>,
    pub(super) retry_after: Option<Duration>,
    source: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// An error of the definition, with the message of now.
    pub fn of<R: Reason>(reason: R) -> Self {
        let message = reason.message();
        Self::new(reason.code(), reason.reason(), message).domain(R::DOMAIN)
    }

    /// An error without a definition.
    pub fn new(
        code: Code,
        reason: impl Into<Cow<'static, str>>,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            inner: Box::new(Inner {
                // A failure that said so would be taken for a success by whoever reads it.
                code: if code == Code::Ok {
                    Code::Unknown
                } else {
                    code
                },
                status: None,
                domain: Cow::Borrowed(""),
                reason: reason.into(),
                message: message.into(),
                metadata: BTreeMap::new(),
                violations: Vec::new(),
                retry_after: None,
                source: None,
            }),
        }
    }

    /// Something broke that the caller cannot help: `INTERNAL` on the wire, `source` in our log.
    pub fn internal(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::new(Code::Internal, "INTERNAL", "internal error")
            .domain(OURS)
            .because(source)
    }

    /// What the kit itself says.
    pub(crate) fn ours(
        code: Code,
        reason: &'static str,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self::new(code, reason, message).domain(OURS)
    }

    /// Fields that are not as their rules ask.
    #[must_use]
    pub fn invalid(violations: Vec<Violation>) -> Self {
        let message = match violations.as_slice() {
            [one] => format!("{}: {}", one.field, one.message).into(),
            _ => Cow::Borrowed("several fields are not as their rules ask"),
        };
        let mut error = Self::ours(Code::InvalidArgument, "RULES_VIOLATED", message);
        error.inner.violations = violations;
        error
    }

    /// Whose reason it is.
    #[must_use]
    pub fn domain(mut self, domain: impl Into<Cow<'static, str>>) -> Self {
        self.inner.domain = domain.into();
        self
    }

    /// What a person is told.
    #[must_use]
    pub fn message(mut self, message: impl Into<Cow<'static, str>>) -> Self {
        self.inner.message = message.into();
        self
    }

    /// A fact that goes along.
    #[must_use]
    pub fn with(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.inner.metadata.insert(key.into(), value.into());
        self
    }

    /// When another try makes sense. Sent as `RetryInfo` and `grpc-retry-pushback-ms`, or as
    /// `retry-after`, in whole seconds.
    #[must_use]
    pub fn retry_in(mut self, wait: Duration) -> Self {
        self.inner.retry_after = Some(wait);
        self
    }

    /// What it comes from: for our log, never for the wire.
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.inner.source = Some(Arc::from(source.into()));
        self
    }

    pub(crate) fn http_status(mut self, status: StatusCode) -> Self {
        self.inner.status = Some(status);
        self
    }

    pub(super) fn violating(mut self, violation: Violation) -> Self {
        self.inner.violations.push(violation);
        self
    }

    /// Whether it failed for this reason.
    pub fn is<R: Reason>(&self, reason: R) -> bool {
        self.inner.reason == reason.reason() && self.inner.domain == R::DOMAIN
    }

    /// What it is to a caller that does not know the reason; never [`Code::Ok`].
    #[must_use]
    pub fn code(&self) -> Code {
        self.inner.code
    }

    /// The reason's name.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.inner.reason
    }

    /// Whose reason it is; empty where none was told.
    #[must_use]
    pub fn reason_domain(&self) -> &str {
        &self.inner.domain
    }

    /// What a person is told.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.inner.message
    }

    /// The facts that go along.
    #[must_use]
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.inner.metadata
    }

    /// The fields at fault.
    #[must_use]
    pub fn violations(&self) -> &[Violation] {
        &self.inner.violations
    }

    /// When another try makes sense, if that was told.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.inner.retry_after
    }

    /// Writes down what the wire is not told. The adapters call it once an error.
    pub(super) fn log(&self, method: &'static str) {
        let Some(source) = &self.inner.source else {
            return;
        };
        let (reason, error) = (&*self.inner.reason, Chain(&**source));
        if self.inner.code == Code::Cancelled {
            // Whoever calls can bring it about as often as they like.
            tracing::debug!(method, reason, %error, "{}", self.inner.message);
        } else {
            tracing::error!(method, reason, %error, "{}", self.inner.message);
        }
    }
}

/// An error with those it comes from.
struct Chain<'a>(&'a (dyn std::error::Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut next = self.0.source();
        while let Some(source) = next {
            write!(f, ": {source}")?;
            next = source.source();
        }
        Ok(())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.inner.reason, self.inner.message)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.inner.source.as_deref().map(|s| s as _)
    }
}

impl From<crate::Rejection> for Error {
    /// A rejection by a part of the service itself: a lane, a pool, a quota.
    fn from(rejection: crate::Rejection) -> Self {
        let code = match rejection.scope {
            crate::Scope::Tenant => Code::ResourceExhausted,
            _ => Code::Unavailable,
        };
        let reason = reason_of(rejection.reason.as_str());
        let mut error = Self::new(code, reason, "overloaded")
            .domain(OURS)
            .with("scope", rejection.scope.as_str());
        match rejection.advice {
            crate::Advice::No => error = error.with("retry", "no"),
            crate::Advice::Elsewhere => error = error.with("retry", "elsewhere"),
            crate::Advice::After(wait) => error = error.retry_in(wait),
        }
        error
    }
}

/// At most about `most` bytes of it: a text that came from outside and goes back there.
pub(super) fn cut(text: &str, most: usize) -> Cow<'_, str> {
    if text.len() <= most {
        return Cow::Borrowed(text);
    }
    Cow::Owned(format!(
        "{}\u{2026}",
        &text[..text.floor_char_boundary(most)]
    ))
}

/// A rejection's reason as reasons are written here: `queue-full` is `QUEUE_FULL`.
pub(super) fn reason_of(name: &str) -> String {
    name.to_ascii_uppercase().replace('-', "_")
}
