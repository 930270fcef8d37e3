//! Why a call has no answer.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode};

use crate::context::{Wire, deadline_passed, names, reply};
use crate::{Advice, Reason, Rejection, Scope};
use seawall_policy::retry::Why;

/// An error of somebody else's, shared by those whose calls were one.
pub type Source = Arc<dyn StdError + Send + Sync>;

/// Why a call has no answer. Cheap to clone.
///
/// An answer with a failing status is an answer, and no error.
///
/// ```
/// use seawall::client::{Error, ErrorKind};
/// use seawall::context::Wire;
///
/// let error = Error::from(ErrorKind::Deadline);
/// assert!(error.may_have_run());
/// assert_eq!(error.reply(Wire::Http).status(), 504);
/// ```
#[derive(Clone, Debug)]
pub struct Error {
    kind: ErrorKind,
    /// An earlier attempt may have run.
    pub(super) ran: bool,
    pub(super) retried: bool,
    pub(super) why: Option<Why>,
}

/// What went wrong.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Turned away on this side, and not sent: a breaker is open, or the gutter is full.
    #[error("not sent: {0}")]
    Rejected(Rejection),
    /// The time was up before it was sent.
    #[error("not sent: the deadline had passed")]
    TooLate,
    /// The time ran out before the answer was complete.
    #[error("the deadline passed before there was an answer")]
    Deadline,
    /// One attempt's time ran out.
    #[error("no answer within the time of one attempt")]
    AttemptTimeout,
    /// Discovery knows no host.
    #[error("no host to send it to: {0}")]
    NoHost(Source),
    /// No connection came about.
    #[error("no connection: {0}")]
    Connect(Source),
    /// The host refused to begin with it (REFUSED_STREAM, GOAWAY).
    #[error("the host did not begin with it: {0}")]
    Refused(Source),
    /// It was sent and broke off: what came of it at the host is not known.
    #[error("broke off: {0}")]
    Failed(Source),
    /// The URI cannot be called.
    #[error("`{0}` cannot be called: write /path, or http://host/path")]
    Uri(Arc<str>),
    /// The body is larger than the reader allows.
    #[error("the body is larger than {0} bytes: read it in parts, or allow more")]
    BodyTooLarge(usize),
    /// The body is not what it was read as.
    #[error("the body makes no sense: {0}")]
    BadBody(Source),
}

impl Error {
    /// What went wrong.
    #[must_use]
    pub const fn kind(&self) -> &ErrorKind {
        &self.kind
    }

    /// Whether a host may have begun to work on it, at whichever attempt.
    #[must_use]
    pub const fn may_have_run(&self) -> bool {
        self.ran || self.attempt_may_have_run()
    }

    const fn attempt_may_have_run(&self) -> bool {
        !matches!(
            self.kind,
            ErrorKind::Rejected(_)
                | ErrorKind::TooLate
                | ErrorKind::NoHost(_)
                | ErrorKind::Connect(_)
                | ErrorKind::Refused(_)
                | ErrorKind::Uri(_)
        )
    }

    /// Whether it was retried in vain, so that nobody above is to retry.
    #[must_use]
    pub const fn is_retried(&self) -> bool {
        self.retried
    }

    /// Why it was not tried again, where there was somebody to try.
    #[must_use]
    pub const fn why(&self) -> Option<Why> {
        self.why
    }

    /// What to tell one's own caller: a rejection as it is, 504 for what took too long, 502 for
    /// what failed at the host; gRPC UNAVAILABLE or DEADLINE_EXCEEDED.
    #[must_use]
    pub fn reply(&self, wire: Wire) -> Response<Bytes> {
        let mut reply = match &self.kind {
            ErrorKind::Rejected(rejection) => reply(*rejection, wire, fastrand::u64(..)),
            ErrorKind::TooLate | ErrorKind::Deadline | ErrorKind::AttemptTimeout => {
                deadline_passed(wire)
            }
            _ => {
                let rejection = Rejection {
                    reason: Reason::Unreachable,
                    scope: Scope::Cluster,
                    advice: Advice::Elsewhere,
                };
                let mut reply = reply(rejection, wire, 0);
                if wire == Wire::Http {
                    *reply.status_mut() = StatusCode::BAD_GATEWAY;
                }
                if self.may_have_run() {
                    // A rejection would say that nothing has run.
                    reply.headers_mut().remove(names::REJECT);
                }
                reply
            }
        };
        if self.retried {
            let mark = HeaderValue::from_static("1");
            reply.headers_mut().insert(names::RETRIED, mark);
        }
        reply
    }

    pub(super) fn failed(error: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        ErrorKind::Failed(error.into().into()).into()
    }
}

impl From<ErrorKind> for Error {
    fn from(kind: ErrorKind) -> Self {
        Self {
            kind,
            ran: false,
            retried: false,
            why: None,
        }
    }
}

impl From<std::convert::Infallible> for Error {
    fn from(never: std::convert::Infallible) -> Self {
        match never {}
    }
}

/// One that is an [`Error`] comes out; any other broke off.
impl From<Box<dyn StdError + Send + Sync>> for Error {
    fn from(error: Box<dyn StdError + Send + Sync>) -> Self {
        match error.downcast::<Self>() {
            Ok(error) => *error,
            Err(other) => Self::failed(other),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.kind.fmt(f)?;
        match self.why {
            Some(why) if self.retried => write!(f, " (retried in vain: {})", why.as_str()),
            _ => Ok(()),
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match &self.kind {
            ErrorKind::NoHost(source)
            | ErrorKind::Connect(source)
            | ErrorKind::Refused(source)
            | ErrorKind::Failed(source)
            | ErrorKind::BadBody(source) => source.source(),
            _ => None,
        }
    }
}
