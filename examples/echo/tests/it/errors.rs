//! How calls fail, by both transports.

use echo::v1::{All, EchoError, FailRequest, SayRequest, Style};
use seawall::api::{Code, Error};
use serde_json::json;

use crate::server::{Reply, serve};

fn read(reply: &Reply) -> Error {
    Error::from_http(reply.status, &reply.headers, &reply.body)
}

#[tokio::test]
async fn a_reason_is_the_same_by_both() {
    let served = serve().await;
    let http = served.get("/v1/fail/NOBODY_THERE").await;
    assert_eq!(http.status, 404);
    assert_eq!(
        http.json(),
        json!({
            "code": 404, "status": "NOT_FOUND", "reason": "NOBODY_THERE", "domain": "echo.v1",
            "message": "nobody is there", "metadata": {"reason": "NOBODY_THERE"},
        })
    );
    let request = FailRequest {
        reason: EchoError::NobodyThere.into(),
        internal: false,
    };
    let status = served.grpc().await.fail(request).await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound);
    for error in [read(&http), Error::from(status)] {
        assert!(error.is(EchoError::NobodyThere) && !error.is(EchoError::TooLoud));
        assert_eq!(
            (error.code(), error.text()),
            (Code::NotFound, "nobody is there")
        );
        assert_eq!(error.metadata()["reason"], "NOBODY_THERE");
    }
    // By its number, which no caller has to know; the HTTP status alone would be ambiguous.
    let error = read(&served.get("/v1/fail/2").await);
    assert_eq!(
        (error.code(), error.status().as_u16()),
        (Code::FailedPrecondition, 400)
    );
}

#[tokio::test]
async fn what_broke_inside_is_not_told() {
    let served = serve().await;
    let http = served.get("/v1/fail/NOBODY_THERE?internal=true").await;
    assert_eq!(http.status, 500);
    let request = FailRequest {
        internal: true,
        ..FailRequest::default()
    };
    let status = served.grpc().await.fail(request).await.unwrap_err();
    assert_eq!(status.code(), Code::Internal);
    for told in [http.text().to_owned(), format!("{status:?}")] {
        assert!(
            told.contains("internal error") && !told.contains("hunter2"),
            "{told}"
        );
    }
}

#[tokio::test]
async fn every_rule_that_is_broken_is_told_at_once() {
    let served = serve().await;
    let http = served.post("/v1/say", r#"{"style":{"times":11}}"#).await;
    assert_eq!(http.status, 400);
    let request = SayRequest {
        text: String::new(),
        style: Some(Style {
            loud: false,
            times: 11,
        }),
    };
    let status = served.grpc().await.say(request).await.unwrap_err();
    for error in [read(&http), Error::from(status)] {
        assert_eq!(
            (error.code(), error.reason()),
            (Code::InvalidArgument, "RULES_VIOLATED")
        );
        let told: Vec<_> = error
            .violations()
            .iter()
            .map(|v| (&*v.field, &*v.rule))
            .collect();
        assert_eq!(told, [("text", "min_len"), ("style.times", "lte")]);
    }
}

#[tokio::test]
async fn rules_reach_into_lists_maps_and_oneofs() {
    let served = serve().await;
    let long = "x".repeat(65);
    let body = json!({
        "strings": ["a", "a", "x".repeat(21)], "byName": {"": {"name": long}}, "maybe": "nobody",
        "word": "ABC", "type": "c", "inners": [{}, {"name": long}],
        "again": {"maybe": "", "number": 3},
    });
    let told = |error: &Error| -> Vec<String> {
        error
            .violations()
            .iter()
            .map(|v| format!("{} {}", v.field, v.rule))
            .collect()
    };
    let expected = [
        "strings[1] unique",
        "strings[2] max_len",
        "inners[1].name max_len",
        "by_name[\"\"] min_len",
        "by_name[\"\"].name max_len",
        "maybe email",
        "word pattern",
        "type in",
        "again.maybe email",
    ];
    assert_eq!(
        told(&read(
            &served.post("/v1/everything", body.to_string()).await
        )),
        expected
    );
    // A value that the enum does not state can come by gRPC alone: JSON of it is malformed.
    let mut message: All = serde_json::from_value(body).unwrap();
    message.color = 9;
    message.colors = vec![1, 9];
    let status = served.grpc().await.everything(message).await.unwrap_err();
    let by_grpc = told(&Error::from(status));
    let both = |rule: &&String| !rule.ends_with(" defined");
    assert_eq!(by_grpc.iter().filter(both).collect::<Vec<_>>(), expected);
    assert_eq!(
        (&*by_grpc[0], &*by_grpc[3]),
        ("color defined", "colors[1] defined")
    );
}

#[tokio::test]
async fn bodies_that_are_none() {
    let served = serve().await;
    let told = async |body: &str| {
        let reply = served.post("/v1/say", body.to_owned()).await;
        let error = read(&reply);
        (
            reply.status.as_u16(),
            error.reason().to_owned(),
            error.text().to_owned(),
        )
    };
    let (status, reason, text) = told(r#"{"txt":"a"}"#).await;
    assert_eq!((status, &*reason), (400, "FIELD_UNKNOWN"));
    assert!(
        text.contains("line 1 column") && text.contains("did you mean `text`?"),
        "{text}"
    );
    let (status, reason, text) = told("{\n  \"text\": oops}").await;
    assert_eq!((status, &*reason), (400, "BODY_MALFORMED"));
    assert!(text.contains("line 2 column 11"), "{text}");
    let (status, reason, _) = told(r#"{"text": 5}"#).await;
    assert_eq!((status, &*reason), (400, "FIELD_MALFORMED"));
    let (_, reason, _) = told(&"[".repeat(100_000)).await;
    assert_eq!(reason, "FIELD_MALFORMED");

    let form = [("content-type", "application/x-www-form-urlencoded")];
    let reply = served.call("POST", "/v1/say", &form, "text=a").await;
    assert_eq!(
        (reply.status.as_u16(), read(&reply).reason()),
        (415, "CONTENT_TYPE")
    );
    let large = format!("{{\"text\":\"{}\"}}", "x".repeat(5 << 20));
    let reply = served.post("/v1/say", large).await;
    assert_eq!(
        (reply.status.as_u16(), read(&reply).reason()),
        (413, "BODY_TOO_LARGE")
    );
    let reply = served.post("/v1/say?text=a", r#"{"text":"b"}"#).await;
    assert_eq!(read(&reply).reason(), "FIELD_UNKNOWN");
}

#[tokio::test]
async fn paths_and_queries_that_are_none() {
    let served = serve().await;
    let told = async |path: &str| {
        let error = read(&served.get(path).await);
        (
            error.status().as_u16(),
            error.reason().to_owned(),
            error.text().to_owned(),
        )
    };
    let (status, reason, text) = told("/v1/everything?colour=COLOR_RED").await;
    assert_eq!((status, &*reason), (400, "FIELD_UNKNOWN"));
    assert!(text.contains("did you mean `color`?"), "{text}");
    for (query, what) in [
        ("int32=x", "whole number"),
        ("color=BLUE", "value of the enum"),
        ("at=yesterday", "`at`"),
        ("bytes=%25", "base64"),
        ("inner=x", "name one of its fields"),
        ("int32.x=1", "no field"),
        ("string=%ff", "UTF-8"),
        ("by_name.x=1", "map"),
    ] {
        let (status, _, text) = told(&format!("/v1/everything?{query}")).await;
        assert_eq!(status, 400, "{query}: {text}");
        assert!(text.contains(what), "{query}: {text}");
    }
    let deep = "again.".repeat(5_000);
    let (status, _, _) = told(&format!("/v1/everything?{deep}int32=1")).await;
    assert_eq!(status, 400);
    let (status, reason, _) = told("/v1/count/many").await;
    assert_eq!((status, &*reason), (400, "FIELD_MALFORMED"));
}

#[tokio::test]
async fn what_is_not_there_is_told_alike() {
    let served = serve().await;
    let reply = served.get("/v2/say").await;
    assert_eq!(
        (reply.status.as_u16(), read(&reply).reason()),
        (404, "ROUTE_NOT_FOUND")
    );
    let reply = served.call("DELETE", "/v1/say/x", &[], "").await;
    assert_eq!(
        (reply.status.as_u16(), read(&reply).reason()),
        (405, "VERB_NOT_ALLOWED")
    );
    assert_eq!(reply.header("allow"), "GET");
    for path in ["/v1/say/", "/v1//x", "//", "/v1/say/a/b"] {
        assert_eq!(served.get(path).await.status, 404, "{path}");
    }
}
