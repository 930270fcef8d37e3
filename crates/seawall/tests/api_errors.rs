//! An error is the same after a way over either transport.

#![cfg(feature = "api")]
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use http::StatusCode;
use proptest::prelude::*;
use seawall::api::{Code, Error, Violation};
use seawall::context::{Wire, reply};
use seawall::{Advice, Reason, Rejection, Scope};

fn a_violation() -> impl Strategy<Value = Violation> {
    ("[a-z.]{1,12}", "[a-z_]{1,8}", "\\PC{0,20}").prop_map(|(field, rule, message)| Violation {
        field,
        rule: rule.into(),
        message,
    })
}

prop_compose! {
    fn an_error()(
        code in 1i32..17,
        reason in "[A-Z_]{1,20}",
        domain in "[a-z.]{0,12}",
        message in "\\PC{0,40}",
        metadata in proptest::collection::btree_map("[a-z]{1,8}", "\\PC{0,12}", 0..4),
        violations in proptest::collection::vec(a_violation(), 0..4),
        wait in proptest::option::of(1u64..3_600),
    ) -> Error {
        let base = if violations.is_empty() {
            Error::new(Code::from(code), reason, message).domain(domain)
        } else {
            Error::invalid(violations)
        };
        let error = metadata.into_iter().fold(base, |error, (key, value)| error.with(key, value));
        match wait {
            Some(seconds) => error.retry_in(Duration::from_secs(seconds)),
            None => error,
        }
    }
}

fn same(a: &Error, b: &Error) -> Result<(), TestCaseError> {
    prop_assert_eq!(a.code(), b.code());
    prop_assert_eq!(a.status(), b.status());
    prop_assert_eq!(
        (a.reason(), a.reason_domain()),
        (b.reason(), b.reason_domain())
    );
    prop_assert_eq!(a.text(), b.text());
    prop_assert_eq!(a.metadata(), b.metadata());
    prop_assert_eq!(a.violations(), b.violations());
    prop_assert_eq!(a.retry_after(), b.retry_after());
    Ok(())
}

proptest! {
    #[test]
    fn by_grpc_and_back(error in an_error()) {
        let reply = tonic::Status::from(error.clone()).into_http::<()>();
        let status = tonic::Status::from_header_map(reply.headers()).unwrap();
        same(&error, &Error::from(status))?;
    }

    #[test]
    fn by_http_and_back(error in an_error()) {
        let reply = error.clone().into_http();
        prop_assert_eq!(reply.headers()["content-type"].as_bytes(), b"application/json");
        same(&error, &Error::from_http(reply.status(), reply.headers(), &error.body()))?;
    }

    #[test]
    fn no_answer_panics(status in 100u16..1_000, body: Vec<u8>) {
        let status = StatusCode::from_u16(status).unwrap();
        let error = Error::from_http(status, &http::HeaderMap::new(), &body);
        prop_assert!(!error.reason().is_empty());
    }
}

#[test]
fn a_rejection_keeps_reason_and_advice() {
    for (advice, wait) in [
        (
            Advice::After(Duration::from_millis(1_500)),
            Some(Duration::from_millis(1_500)),
        ),
        (Advice::No, None),
        (Advice::Elsewhere, None),
    ] {
        let rejection = Rejection {
            reason: Reason::QueueFull,
            scope: Scope::Host,
            advice,
        };
        let http = reply(rejection, Wire::Http, 0);
        let grpc = reply(rejection, Wire::Grpc, 0);
        let status = tonic::Status::from_header_map(grpc.headers()).unwrap();
        let by_http = Error::from_http(http.status(), http.headers(), http.body());
        for error in [by_http, Error::from(status), Error::from(rejection)] {
            assert_eq!(
                (error.code(), error.reason()),
                (Code::Unavailable, "QUEUE_FULL")
            );
            assert_eq!(
                (error.reason_domain(), &*error.metadata()["scope"]),
                ("seawall", "host")
            );
            assert_eq!(error.retry_after(), wait, "{error:?}");
            let says = error.metadata().get("retry").map(String::as_str);
            let expected = match advice {
                Advice::No => Some("no"),
                Advice::Elsewhere => Some("elsewhere"),
                Advice::After(_) => None,
            };
            assert_eq!(says, expected);
        }
    }
}

#[test]
fn what_it_comes_from_stays_here() {
    let error = Error::internal("the password is hunter2");
    assert!(std::error::Error::source(&error).is_some());
    let body = String::from_utf8(error.body()).unwrap();
    let status = format!("{:?}", tonic::Status::from(error).into_http::<()>());
    assert!(
        !body.contains("hunter2") && !status.contains("hunter2"),
        "{body} {status}"
    );
}
