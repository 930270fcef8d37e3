//! Many messages, there and back.

use echo::v1::{CountRequest, SayRequest};
use futures_util::{StreamExt, stream};
use seawall::api::{Code, Error};
use serde_json::{Value, json};

use crate::server::serve;

fn say(text: &str) -> SayRequest {
    SayRequest {
        text: text.into(),
        style: None,
    }
}

fn lines(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[tokio::test]
async fn replies_by_the_line() {
    let served = serve().await;
    let reply = served.get("/v1/count/3").await;
    assert_eq!(reply.header("content-type"), "application/x-ndjson");
    let expected: Vec<_> = (1..=3).map(|n| json!({"result": {"number": n}})).collect();
    assert_eq!(lines(reply.text()), expected);
    let reply = served.get("/v1/count/3?failAt=2").await;
    let told = lines(reply.text());
    assert_eq!(told.len(), 2);
    assert_eq!(told[1]["error"]["reason"], "TOO_LOUD");
    // Before the first reply it is an answer like any.
    assert_eq!(served.get("/v1/count/-1").await.status, 400);
}

#[tokio::test]
async fn replies_as_events() {
    let served = serve().await;
    let accept = [("accept", "text/event-stream")];
    let reply = served
        .call("GET", "/v1/count/2?fail_at=2", &accept, "")
        .await;
    assert_eq!(reply.header("content-type"), "text/event-stream");
    let (first, last) = reply.text().split_once("\n\n").unwrap();
    assert_eq!(first, r#"data: {"number":1}"#);
    assert!(
        last.starts_with("event: error\ndata: {\"code\":400,"),
        "{last}"
    );
    assert!(last.ends_with("}\n\n"), "{last}");
}

#[tokio::test]
async fn replies_by_grpc() {
    let served = serve().await;
    let mut client = served.grpc().await;
    let request = CountRequest { to: 3, fail_at: 3 };
    let mut replies = client.count(request).await.unwrap().into_inner();
    assert_eq!(replies.next().await.unwrap().unwrap().number, 1);
    assert_eq!(replies.next().await.unwrap().unwrap().number, 2);
    let error = Error::from(replies.next().await.unwrap().unwrap_err());
    assert_eq!(
        (error.code(), error.reason()),
        (Code::FailedPrecondition, "TOO_LOUD")
    );
    assert!(replies.next().await.is_none());
}

#[tokio::test]
async fn messages_by_both() {
    let served = serve().await;
    let lines = [("content-type", "application/x-ndjson")];
    let body = "{\"text\":\"a\"}\n\n{\"text\":\"b\"}\r\n{\"text\":\"c\"}";
    let reply = served.call("POST", "/v1/join", &lines, body).await;
    assert_eq!(reply.json(), json!({"text": "abc"}));
    let mut client = served.grpc().await;
    let reply = client
        .join(stream::iter(["a", "b", "c"].map(say)))
        .await
        .unwrap();
    assert_eq!(reply.into_inner().text, "abc");
    // Each is checked, the first that is not right ends it.
    let reply = served
        .call("POST", "/v1/join", &lines, "{\"text\":\"a\"}\n{}\n")
        .await;
    assert_eq!(
        (reply.status.as_u16(), &reply.json()["reason"]),
        (400, &json!("RULES_VIOLATED"))
    );
    let status = client
        .join(stream::iter(["a", ""].map(say)))
        .await
        .unwrap_err();
    assert_eq!(Error::from(status).reason(), "RULES_VIOLATED");
    let long = "x".repeat(5 << 20);
    let reply = served.call("POST", "/v1/join", &lines, long).await;
    assert_eq!(reply.status, 413);
}

#[tokio::test]
async fn both_ways_by_both() {
    let served = serve().await;
    let body = "{\"text\":\"a\"}\n{\"text\":\"b\",\"style\":{\"loud\":true}}\n{\"text\":";
    let reply = served.call("POST", "/v1/chat", &[], body).await;
    let told = lines(reply.text());
    assert_eq!(
        told[..2],
        [
            json!({"result": {"text": "a"}}),
            json!({"result": {"text": "B"}})
        ]
    );
    assert_eq!(told[2]["error"]["reason"], "BODY_MALFORMED");
    assert_eq!(told.len(), 3);
    let mut client = served.grpc().await;
    let replies = client
        .chat(stream::iter(["a", "b"].map(say)))
        .await
        .unwrap()
        .into_inner();
    let told: Vec<_> = replies.map(|r| r.unwrap().text).collect().await;
    assert_eq!(told, ["a", "b"]);
}
