//! How a call of a service fails.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use tonic::Code;

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
#[derive(Clone, Debug)]
pub struct Error {
    inner: Box<Inner>,
}

#[derive(Clone, Debug)]
struct Inner {
    code: Code,
    domain: Cow<'static, str>,
    reason: Cow<'static, str>,
    message: Cow<'static, str>,
    metadata: BTreeMap<String, String>,
    violations: Vec<Violation>,
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
                code,
                domain: Cow::Borrowed(""),
                reason: reason.into(),
                message: message.into(),
                metadata: BTreeMap::new(),
                violations: Vec::new(),
            }),
        }
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

    /// Whether it failed for this reason.
    pub fn is<R: Reason>(&self, reason: R) -> bool {
        self.inner.reason == reason.reason() && self.inner.domain == R::DOMAIN
    }

    /// What it is to a caller that does not know the reason.
    #[must_use]
    pub fn code(&self) -> Code {
        self.inner.code
    }

    /// The reason's name.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.inner.reason
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
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.inner.reason, self.inner.message)
    }
}

impl std::error::Error for Error {}
