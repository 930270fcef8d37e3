//! Callers who mean harm.

use ::echo::{Echo, v1};
use bytes::Bytes;
use echo::v1::{All, CountReply, CountRequest, FailRequest, SayReply, SayRequest};
use http::HeaderMap;
use http_body_util::BodyExt;
use hyper::body::Frame;
use seawall::api::{Code, Error, Messages, Method, Replies, Request, Streaming};
use seawall::layer::settings::{MethodSettings, Settings};
use seawall::layer::{Methods, Stack};
use tower::{Layer, ServiceExt};

use crate::server::{serve, serve_of};

/// One frame of gRPC: flag, length, content.
fn frame(flag: u8, len: u32, content: &[u8]) -> Bytes {
    let mut frame = vec![flag];
    frame.extend(len.to_be_bytes());
    frame.extend(content);
    frame.into()
}

/// `text: "a"` of a `SayRequest`.
const SAY: &[u8] = &[0x0a, 1, b'a'];

/// They would else count as failures of the service: in its limit, its log and its callers' breakers.
#[tokio::test]
async fn frames_that_make_no_sense_are_their_senders_fault() {
    let served = serve().await;
    let malformed = [
        vec![frame(0, 1, &[0xff])],
        vec![frame(1, 3, SAY)],
        vec![frame(7, 3, SAY)],
        vec![frame(0, 100, SAY)],
        vec![Bytes::from_static(&[0, 0])],
    ];
    for method in ["Say", "Count", "Join"] {
        for body in &malformed {
            let frames = body.iter().cloned().map(Frame::data).collect();
            let raw = served.frames(method, frames, &[]).await;
            let error = Error::from(raw.status.clone());
            let told = (error.code(), error.reason());
            assert_eq!(
                told,
                (Code::InvalidArgument, "BODY_MALFORMED"),
                "{method} {body:?}: {raw:?}"
            );
        }
        let frames = vec![Frame::data(frame(0, u32::MAX, SAY))];
        let error = Error::from(served.frames(method, frames, &[]).await.status);
        assert_eq!(
            (error.code(), error.reason()),
            (Code::OutOfRange, "BODY_TOO_LARGE")
        );
    }
    for method in ["Say", "Count"] {
        let twice = || Frame::data(frame(0, 0, &[]));
        for frames in [vec![], vec![twice(), twice()]] {
            let error = Error::from(served.frames(method, frames, &[]).await.status);
            assert_eq!(
                (error.code(), error.reason()),
                (Code::InvalidArgument, "BODY_MALFORMED")
            );
        }
    }
    let good = vec![Frame::data(frame(0, 3, SAY))];
    assert_eq!(
        served.frames("Say", good, &[]).await.status.code(),
        Code::Ok
    );
}

/// Says who calls.
struct Who;

impl v1::Echo for Who {
    async fn say(&self, request: Request<SayRequest>) -> Result<SayReply, Error> {
        let text = |h: &http::HeaderValue| h.to_str().unwrap().to_owned();
        let all = request.headers().get_all("x-user").iter().map(text);
        let text = all.collect::<Vec<_>>().join(",");
        Ok(SayReply { text })
    }

    async fn everything(&self, request: Request<All>) -> Result<All, Error> {
        Echo.everything(request).await
    }

    async fn fail(&self, request: Request<FailRequest>) -> Result<SayReply, Error> {
        Echo.fail(request).await
    }

    async fn count(&self, request: Request<CountRequest>) -> Result<Replies<CountReply>, Error> {
        Echo.count(request).await
    }

    async fn join(&self, request: Request<Messages<SayRequest>>) -> Result<SayReply, Error> {
        Echo.join(request).await
    }

    async fn chat(
        &self,
        request: Request<Messages<SayRequest>>,
    ) -> Result<Replies<SayReply>, Error> {
        Echo.chat(request).await
    }
}

/// A layer or a proxy above has looked at the headers, and at nothing else.
#[tokio::test]
async fn trailers_of_a_request_are_no_headers() {
    let served = serve_of(Who).await;
    let mut trailers = HeaderMap::new();
    trailers.insert("x-user", "admin".parse().unwrap());
    let frames = vec![Frame::data(frame(0, 3, SAY)), Frame::trailers(trailers)];
    let raw = served.frames("Say", frames, &[("x-user", "guest")]).await;
    assert_eq!(raw.status.code(), Code::Ok);
    assert!(raw.body.ends_with(b"guest"), "{raw:?}");
    assert_eq!(raw.headers["content-type"], "application/grpc");
}

/// A long name comes back in an error, which by gRPC is a header: too long a one breaks the
/// connection, and with it the calls of others.
#[tokio::test]
async fn an_error_is_no_longer_than_a_header_may_be() {
    let served = serve().await;
    let key = "\u{e4}".repeat(1 << 19);
    let inner = v1::Inner {
        name: "x".repeat(65),
        ..v1::Inner::default()
    };
    let message = All {
        by_name: [(key.clone(), inner)].into(),
        ..All::default()
    };
    let status = served
        .grpc()
        .await
        .everything(message.clone())
        .await
        .unwrap_err();
    let error = Error::from(status.clone());
    assert_eq!(error.reason(), "RULES_VIOLATED", "{status:?}");
    assert_eq!(error.violations()[0].rule, "max_len");
    let body = serde_json::to_vec(&message).unwrap();
    let reply = served.post("/v1/everything", body).await;
    assert_eq!(reply.status, 400);
    assert!(reply.body.len() < 4_096, "{}", reply.body.len());
    let unknown = format!("{{\"{key}\": 1}}");
    let reply = served.post("/v1/say", unknown).await;
    assert_eq!(reply.json()["reason"], "FIELD_UNKNOWN");
    assert!(reply.body.len() < 4_096, "{}", reply.body.len());
}

/// What a status can hold, whatever was put into the error.
#[tokio::test]
async fn a_status_is_bounded() {
    let long = "\u{e4}\n".repeat(100_000);
    let mut error = Error::new(Code::NotFound, "LONG", long.clone());
    for i in 0..100 {
        error = error.with(format!("key{i}"), long.clone());
    }
    let mut headers = HeaderMap::new();
    tonic::Status::from(error).add_header(&mut headers).unwrap();
    let len: usize = headers
        .iter()
        .map(|(k, v)| k.as_str().len() + v.len())
        .sum();
    assert!(len < 8_000, "{len}");
    let read = Error::from(tonic::Status::from_header_map(&headers).unwrap());
    assert_eq!((read.code(), read.reason()), (Code::NotFound, "LONG"));
    assert!(read.text().starts_with("\u{e4}\n\u{e4}"));
    assert!(read.metadata()["key0"].starts_with("\u{e4}\n"));
}

/// What another server answers is not taken at its word.
#[test]
fn a_failure_is_no_success_whatever_a_server_says() {
    let body = br#"{"code": 200, "status": "OK", "reason": "FINE", "message": "all is well"}"#;
    let mut headers = HeaderMap::new();
    let far = u64::MAX.to_string();
    headers.insert("retry-after", far.parse().unwrap());
    for status in [101, 200, 204, 302, 304, 500, 999] {
        let status = http::StatusCode::from_u16(status).unwrap();
        let error = Error::from_http(status, &headers, body);
        assert_ne!(error.code(), Code::Ok, "{status}");
        assert_eq!(error.reason(), "FINE");
        assert!(
            error.status().is_client_error() || error.status().is_server_error(),
            "{status}"
        );
        assert!(error.retry_after().unwrap().as_secs() <= 3_600);
        assert_ne!(tonic::Status::from(error.clone()).code(), Code::Ok);
        assert!(error.into_http().status().as_u16() >= 400);
    }
    let error = Error::from(tonic::Status::ok("all is well"));
    assert_eq!(error.code(), Code::Unknown);
    let late = Error::new(Code::Unavailable, "A", "b").retry_in(std::time::Duration::MAX);
    assert_eq!(late.into_http().status(), 503);
}

const METHODS: [Method; 2] = [
    Method::new(
        "echo.v1.Echo/Say",
        &[("POST", "/v1/say"), ("GET", "/v1/say/{text}")],
        Streaming::NONE,
        false,
    ),
    Method::new(
        "echo.v1.Echo/Everything",
        &[("POST", "/v1/everything")],
        Streaming::NONE,
        false,
    ),
];

fn limited() -> Settings {
    let mut settings = Settings::default();
    let small = MethodSettings {
        max_body: Some(64),
        ..MethodSettings::default()
    };
    settings
        .methods
        .insert("echo.v1.Echo/Everything".to_owned(), small);
    settings
}

/// A length that is not told beforehand is counted.
#[tokio::test]
async fn a_chunked_body_is_no_longer_than_its_method_takes() {
    let methods = Methods::new(&METHODS).unwrap();
    let stack = Stack::builder(methods).settings(limited()).build().unwrap();
    let service = v1::echo::service(Echo);
    let http = stack.layer(service.http);
    let body = || axum::body::Body::from(format!("{{\"string\": \"{}\"}}", "x".repeat(100)));
    let request = http::Request::post("/v1/everything").body(body()).unwrap();
    let reply = http.oneshot(request).await.unwrap();
    assert_eq!(reply.status(), 413);
    let body = reply.into_body().collect().await.unwrap().to_bytes();
    assert!(String::from_utf8_lossy(&body).contains("BODY_TOO_LARGE"));
}

/// The server finds a method by its path alone: with another content type the settings of the
/// method, whether it needs a token among them, are to be no others.
#[tokio::test]
async fn a_content_type_does_not_change_whose_settings_hold() {
    let methods = Methods::new(&METHODS).unwrap();
    for (verb, path, kind) in [
        ("GET", "/v1/say/a", "application/grpc"),
        ("GET", "/v1/say/a", "application/grpc+proto"),
        ("POST", "/echo.v1.Echo/Say", "application/json"),
        ("POST", "/echo.v1.Echo/Say", ""),
    ] {
        let request = http::Request::builder().method(verb).uri(path);
        let request = request.header("content-type", kind).body(()).unwrap();
        assert_eq!(
            methods.name_of(&request),
            "echo.v1.Echo/Say",
            "{verb} {path} {kind}"
        );
    }
}
