//! Why there is no TLS with an upstream, in words that say what to do.

use std::io;

use rustls::pki_types::UnixTime;
use rustls::{AlertDescription, CertificateError, Error};

use super::connector::Offer;
use super::validity::Date;

/// Why there is no TLS with an upstream.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsFailure {
    #[error("the origin's certificate has expired{0}: it must be renewed there")]
    Expired(String),
    #[error("the origin's certificate does not hold yet{0}: see whether the clocks are right")]
    NotYet(String),
    #[error(
        "the origin's certificate is not for `{expected}`{presented}: set `tls.server_name` to a name that it is for"
    )]
    WrongName { expected: String, presented: String },
    #[error(
        "the origin's certificate is issued by an authority that is not trusted: name it by `tls.ca`"
    )]
    UnknownAuthority,
    #[error("the origin's certificate is not accepted: {0}")]
    Certificate(Error),
    #[error("the origin wants another certificate from us ({0:?}): see `tls.cert`")]
    Refused(AlertDescription),
    #[error("the origin does not speak TLS on this port: is it http://?")]
    NotTls,
    #[error("the origin closed during the TLS handshake: does it speak TLS on this port?")]
    Closed,
    #[error("the origin does not offer HTTP/2")]
    NoHttp2,
    #[error("no TLS with the origin: {0}")]
    Other(io::Error),
}

impl TlsFailure {
    /// Why a handshake that offered `offer` failed.
    pub(super) fn of(error: io::Error, offer: Offer) -> Self {
        let known = error.get_ref().and_then(|e| e.downcast_ref::<Error>());
        match known {
            Some(Error::InvalidCertificate(why)) => Self::certificate(why),
            Some(Error::AlertReceived(AlertDescription::NoApplicationProtocol))
                if offer == Offer::Http2 =>
            {
                Self::NoHttp2
            }
            Some(Error::AlertReceived(alert)) if is_of_certificate(*alert) => Self::Refused(*alert),
            Some(Error::InvalidMessage(_)) => Self::NotTls,
            None if error.kind() == io::ErrorKind::UnexpectedEof => Self::Closed,
            _ => Self::Other(error),
        }
    }

    /// In TLS 1.3 the upstream looks at our certificate after we have begun to send: it may be the
    /// cause of an error that came later.
    pub(crate) fn behind(error: &(dyn std::error::Error + 'static)) -> Option<Self> {
        let mut cause = Some(error);
        while let Some(error) = cause {
            let inner = error
                .downcast_ref::<io::Error>()
                .and_then(io::Error::get_ref);
            if let Some(Error::AlertReceived(alert)) = inner.and_then(|e| e.downcast_ref())
                && is_of_certificate(*alert)
            {
                return Some(Self::Refused(*alert));
            }
            cause = error.source();
        }
        None
    }

    fn certificate(why: &CertificateError) -> Self {
        let on = |time: &UnixTime| {
            let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
            format!(" ({})", Date(seconds))
        };
        match why {
            CertificateError::Expired => Self::Expired(String::new()),
            CertificateError::ExpiredContext { not_after, .. } => Self::Expired(on(not_after)),
            CertificateError::NotValidYet => Self::NotYet(String::new()),
            CertificateError::NotValidYetContext { not_before, .. } => Self::NotYet(on(not_before)),
            CertificateError::NotValidForName => Self::WrongName {
                expected: "its host".to_owned(),
                presented: String::new(),
            },
            CertificateError::NotValidForNameContext {
                expected,
                presented,
            } => Self::WrongName {
                expected: expected.to_str().into_owned(),
                presented: for_names(presented),
            },
            CertificateError::UnknownIssuer => Self::UnknownAuthority,
            other => Self::Certificate(Error::InvalidCertificate(other.clone())),
        }
    }
}

/// Some of the names; a certificate may be for a hundred.
fn for_names(names: &[String]) -> String {
    let more = if names.len() > 3 { ", …" } else { "" };
    let shown: Vec<&str> = names.iter().take(3).map(|name| bare(name)).collect();
    if shown.is_empty() {
        String::new()
    } else {
        format!(" but for {}{more}", shown.join(", "))
    }
}

/// `DnsName("shop.internal")` without what is around it.
fn bare(name: &str) -> &str {
    let inner = name.split_once('(').map_or(name, |(_, inner)| inner);
    inner.trim_end_matches(')').trim_matches('"')
}

fn is_of_certificate(alert: AlertDescription) -> bool {
    matches!(
        alert,
        AlertDescription::CertificateRequired
            | AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_found_behind_other_errors() {
        let received = |alert| io::Error::other(Error::AlertReceived(alert));
        let refused = received(AlertDescription::CertificateRequired);
        let found = TlsFailure::behind(&refused).map(|failure| failure.to_string());
        assert_eq!(
            found.as_deref(),
            Some(
                "the origin wants another certificate from us (CertificateRequired): see `tls.cert`"
            )
        );
        for other in [
            received(AlertDescription::InternalError),
            io::ErrorKind::ConnectionReset.into(),
        ] {
            assert!(TlsFailure::behind(&other).is_none());
        }
    }

    #[test]
    fn of_many_names_some_are_shown() {
        let names = ["a", "b", "c", "d"].map(str::to_owned);
        assert_eq!(for_names(&names), " but for a, b, c, …");
        assert_eq!(for_names(&names[..2]), " but for a, b");
        assert_eq!(for_names(&[]), "");
        let names = ["DnsName(\"a.b\")", "IpAddress(127.0.0.1)"].map(str::to_owned);
        assert_eq!(for_names(&names), " but for a.b, 127.0.0.1");
    }
}
